//! Section 8, row by row: what is allowed just so, what is one too much, and how that is said.

use std::{
    thread,
    time::{Duration, Instant},
};

use loadtest::{
    http::{Client, Request, Response},
    stream::{Listen, Next},
};
use serde_json::{Value, json};

use crate::harness::{Pod, Raw, assert_problem, assert_sent_off, deadline, run, wait_for};

fn events(pod: &Pod, room: &str) -> Vec<Value> {
    let page = pod.client().get(&format!("/api/history?room={room}&limit=200")).unwrap().json();
    page["events"].as_array().unwrap().clone()
}

/// Asks again and again until the answer is 429; gives the number of those before, and the 429.
fn until_limited(mut ask: impl FnMut() -> Response) -> (u32, Response) {
    let until = deadline();
    let mut passed = 0;
    loop {
        let answer = ask();
        if answer.status == 429 {
            return (passed, answer);
        }
        assert!(answer.status < 300, "{}", answer.text());
        passed += 1;
        assert!(Instant::now() < until, "it is never limited: {passed} passed");
    }
}

/// No more than the rate allows, and no less than the burst.
fn assert_rate(passed: u32, took: Duration, per_second: u32, burst: u32) {
    let most = f64::from(burst) + f64::from(per_second) * took.as_secs_f64() + 1.0;
    assert!(passed >= burst, "only {passed} passed, of {burst} at once");
    assert!(f64::from(passed) <= most, "{passed} passed within {took:?}");
}

/// Waits as long as it says; gives the answer to asking once more.
fn after_waiting(limited: &Response, ask: impl FnOnce() -> Response) -> Response {
    let seconds = limited.headers.get("retry-after").unwrap().parse().unwrap();
    assert!(seconds <= 10, "Retry-After is {seconds}");
    thread::sleep(Duration::from_secs(seconds));
    ask()
}

#[test]
fn a_text_has_up_to_4096_bytes() {
    let pod = Pod::start();
    let full = "x".repeat(4096);
    let korean = format!("{}x", "한".repeat(1365));
    let too_long = [format!("{full}x"), format!("{full}\n\n"), format!("{korean}x")];
    // The last newline of a plain body is no part of the text.
    for text in [&full, &format!("{full}\n"), &format!("{full}\r\n"), &korean] {
        assert_eq!(pod.say("lobby", text).status, 201, "{} bytes", text.len());
    }
    for text in &too_long {
        assert_problem(&pod.say("lobby", text), 413, "too_large");
    }
    let post = |text: &str| pod.client().post_json("/r/lobby", &json!({"text": text})).unwrap();
    assert_eq!(post(&full).status, 201);
    assert_problem(&post(&format!("{full}\n")), 413, "too_large");
    // An edit is a text too.
    let (token, _) = pod.sign_in("Ann");
    let mut ann = pod.client_as(&token);
    let seq = ann.post("/r/lobby", "text/plain", "short").unwrap().json()["seq"].clone();
    let edit = |text: String| Request::new("PATCH", &format!("/api/chat/lobby/messages/{seq}")).body(text);
    assert_problem(&ann.send(&edit(format!("{full}x"))).unwrap(), 413, "too_large");
    assert_eq!(ann.send(&edit(full)).unwrap().status, 200);
}

#[test]
fn a_text_has_at_least_one_byte() {
    let pod = Pod::start();
    for empty in ["", "\n", "\r\n"] {
        assert_problem(&pod.say("lobby", empty), 400, "bad_request");
    }
    assert_problem(&pod.client().post_json("/r/lobby", &json!({"text": ""})).unwrap(), 400, "bad_request");
    assert!(events(&pod, "lobby").is_empty());
}

#[test]
fn a_body_has_up_to_16_kib() {
    let pod = Pod::start();
    let padded = |bytes: usize| {
        let empty = json!({"text": "hi", "pad": ""}).to_string();
        json!({"text": "hi", "pad": "x".repeat(bytes - empty.len())}).to_string()
    };
    let post = |bytes| pod.client().post("/r/lobby", "application/json", padded(bytes)).unwrap();
    assert_eq!(post(16 << 10).status, 201);
    assert_problem(&post((16 << 10) + 1), 413, "too_large");
    // In chunks its length is known only as it comes.
    let mut chunked = Raw::saying(&pod, "POST /r/lobby HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..17 {
        chunked.try_send(format!("400\r\n{}\r\n", "x".repeat(1024)));
    }
    chunked.try_send("0\r\n\r\n");
    let answers = chunked.answers();
    assert_eq!(answers.len(), 1);
    assert_problem(&answers[0], 413, "too_large");
    assert_eq!(events(&pod, "lobby").len(), 1);
}

#[test]
fn a_body_that_is_said_to_be_too_large_is_not_waited_for() {
    let pod = Pod::start();
    let answers =
        Raw::saying(&pod, "POST /r/lobby HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\nx").answers();
    assert_eq!(answers.len(), 1);
    assert_problem(&answers[0], 413, "too_large");
}

#[test]
fn a_head_has_up_to_16_kib_and_64_fields() {
    let pod = Pod::start();
    let head = |bytes: usize| {
        let start = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Pad: ";
        format!("{start}{}\r\n\r\n", "x".repeat(bytes - start.len() - 4))
    };
    assert_eq!(Raw::saying(&pod, head(16 << 10)).answers()[0].status, 200);
    let answers = Raw::saying(&pod, head((16 << 10) + 1)).answers();
    assert_eq!(answers.len(), 1);
    assert_problem(&answers[0], 431, "head_too_large");

    let fields = |count: usize| {
        let more: String = (2..count).map(|n| format!("X-{n}: {n}\r\n")).collect();
        format!("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{more}\r\n")
    };
    assert_eq!(Raw::saying(&pod, fields(64)).answers()[0].status, 200);
    let answers = Raw::saying(&pod, fields(65)).answers();
    assert_eq!(answers.len(), 1);
    assert_problem(&answers[0], 431, "head_too_large");
}

#[test]
fn a_uri_has_up_to_4_kib() {
    let pod = Pod::start();
    let target = |bytes: usize| format!("/healthz?{}", "x".repeat(bytes - "/healthz?".len()));
    assert_eq!(pod.client().get(&target(4 << 10)).unwrap().status, 200);
    assert_problem(&pod.client().get(&target((4 << 10) + 1)).unwrap(), 414, "uri_too_long");
}

#[test]
fn silent_and_slow_connections_are_closed_after_10_s() {
    let pod = Pod::start();
    let took = |begun: Instant| {
        let took = begun.elapsed();
        assert!((9.5..14.0).contains(&took.as_secs_f64()), "closed after {took:?}");
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            let begun = Instant::now();
            assert!(Raw::to(&pod).answers().is_empty(), "nothing was asked");
            took(begun);
        });
        // It never pauses for long, but the whole of its head takes too long.
        scope.spawn(|| {
            let begun = Instant::now();
            let mut slow = Raw::saying(&pod, "GET /healthz HTTP/1.1\r\nHost: x\r\n");
            while begun.elapsed() < Duration::from_secs(9) {
                slow.send("X: y\r\n");
                thread::sleep(Duration::from_millis(500));
            }
            let answers = slow.answers();
            assert_eq!(answers.len(), 1);
            assert_problem(&answers[0], 408, "request_timeout");
            took(begun);
        });
        scope.spawn(|| {
            let begun = Instant::now();
            let mut slow = Raw::saying(&pod, "POST /r/lobby HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n");
            while begun.elapsed() < Duration::from_secs(9) {
                slow.send("x");
                thread::sleep(Duration::from_millis(500));
            }
            let answers = slow.answers();
            assert_eq!(answers.len(), 1);
            assert_problem(&answers[0], 408, "request_timeout");
            took(begun);
        });
    });
    assert!(events(&pod, "lobby").is_empty());
}

#[test]
fn a_later_head_on_a_connection_has_its_time_too() {
    let pod = Pod::with(&["--limit", "head-time=1,body-time=1"]);
    let mut kept = Raw::saying(&pod, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(kept.answer().unwrap().status, 200);
    // Between requests it may be quiet.
    thread::sleep(Duration::from_millis(1500));
    kept.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /heal");
    assert_eq!(kept.answer().unwrap().status, 200);
    let late = kept.answers();
    assert_eq!(late.len(), 1);
    assert_problem(&late[0], 408, "request_timeout");
    // A slow body, with its time made short.
    let answers = Raw::saying(&pod, "POST /r/lobby HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhal").answers();
    assert_eq!(answers.len(), 1);
    assert_problem(&answers[0], 408, "request_timeout");
    assert!(events(&pod, "lobby").is_empty());
}

#[test]
fn a_client_that_stops_sending_still_gets_its_answer() {
    let pod = Pod::start();
    let mut raw = Raw::saying(&pod, "POST /r/lobby HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello");
    raw.socket().shutdown(std::net::Shutdown::Write).unwrap();
    let answers = raw.answers();
    assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [201]);
}

#[test]
fn names_have_1_to_32_characters_and_nothing_that_deceives() {
    let pod = Pod::start();
    let good = [
        ("a", "a"),
        ("  Ann  ", "Ann"),
        ("Ａｎｎ", "Ann"),
        ("\u{1112}\u{1161}\u{1102}\u{1173}\u{11af}", "하늘"),
        ("Zoë\u{301}\u{302}", "Zoë\u{301}\u{302}"),
        ("<b>\"'&", "<b>\"'&"),
    ];
    for (asked, kept) in good {
        let session = pod.client().post_json("/api/session", &json!({"name": asked})).unwrap();
        assert_eq!((session.status, &session.json()["user"]["name"]), (201, &json!(kept)), "{asked:?}");
    }
    let longest = "한".repeat(32);
    assert_eq!(pod.client().post_json("/api/session", &json!({"name": longest})).unwrap().status, 201);
    let (token, _) = pod.sign_in("Ann");
    let bad = [
        "", " ", "\u{3000}", "a\nb", "a\0", "a\u{7f}", "a\u{85}b", "a\u{202e}b", "a\u{2066}b", "a\u{61c}b", "a\u{200b}b",
        "a\u{200d}b", "a\u{2060}b", "\u{feff}a", "a\u{ad}b", "q\u{301}\u{302}\u{303}\u{304}",
        &"한".repeat(33),
        &"ﷺ".repeat(2), // 2 characters that NFKC makes 36 of
        &"x".repeat(2000),
    ];
    for bad in bad {
        let body = json!({"name": bad});
        assert_problem(&pod.client().post_json("/api/session", &body).unwrap(), 400, "bad_request");
        let rename = Request::new("PATCH", "/api/session").header("Content-Type", "application/json");
        assert_problem(&pod.client_as(&token).send(&rename.body(body.to_string())).unwrap(), 400, "bad_request");
        let name = loadtest::speak::percent_encoded(bad);
        let spoken = pod.client().post(&format!("/r/lobby?name={name}"), "text/plain", "hi").unwrap();
        assert_problem(&spoken, 400, "bad_request");
        // It would be no better next time, so a stream is not asked to come back.
        assert_problem(&pod.client().get(&format!("/r/lobby?name={name}")).unwrap(), 400, "bad_request");
    }
    assert!(events(&pod, "lobby").is_empty());
}

#[test]
fn a_stream_may_begin_with_up_to_1000_events() {
    let pod = Pod::start();
    pod.say("lobby", "hi");
    for (history, is_good) in
        [("0", true), ("1000", true), ("1001", false), ("-1", false), ("x", false), ("99999999999999999999", false)]
    {
        let target = format!("/r/lobby?history={history}");
        if is_good {
            pod.listen_live(&target);
        } else {
            assert_problem(&pod.client().get(&target).unwrap(), 400, "bad_request");
        }
    }
}

#[test]
fn a_person_has_up_to_30_streams_in_all_rooms_and_formats() {
    let pod = Pod::with(&["--limit", "address-guests=1000"]);
    let (token, _) = pod.sign_in("Ann");
    let bearer = format!("Bearer {token}");
    let listen = |target: &str| Listen::to(target).header("Authorization", &bearer);
    let mut streams: Vec<_> = (0..30)
        .map(|n| {
            let mut stream = listen(&format!("/r/room{}", n % 3)).open(pod.address()).unwrap();
            stream.wait_for("live", deadline()).unwrap();
            stream
        })
        .collect();
    assert_sent_off(&mut listen("/r/lobby").open(pod.address()).unwrap(), "rate_limited");
    let lines = Request::new("GET", "/r/lobby").header("Accept", "application/x-ndjson");
    let sent_off = pod.client_as(&token).send(&lines).unwrap();
    assert_eq!((sent_off.status, sent_off.headers.get("content-type")), (200, Some("application/x-ndjson")));
    let bye: Value = serde_json::from_str(sent_off.text().strip_suffix('\n').unwrap()).unwrap();
    assert_eq!((&bye["event"], &bye["code"]), (&json!("bye"), &json!("rate_limited")));
    assert!(bye["retry"].as_u64().is_some_and(|ms| ms >= 1000), "{bye}");
    assert_problem(&pod.client_as(&token).get("/r/lobby?poll=1").unwrap(), 429, "rate_limited");
    // Others are not concerned, and may speak and listen.
    pod.listen_live("/r/lobby");
    assert_eq!(pod.client_as(&token).post("/r/lobby", "text/plain", "hi").unwrap().status, 201);
    // One goes, one comes.
    streams.pop();
    wait_for("there is room for another", || {
        let mut stream = listen("/r/lobby").open(pod.address()).unwrap();
        matches!(stream.next_event(deadline()).unwrap(), Next::Event(event) if event.name == "hello")
    });
}

#[test]
fn an_address_has_up_to_1000_streams() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let pod = Pod::with(&["--limit", "address-guests=100000"]);
    let ask = "GET /r/lobby HTTP/1.1\r\nHost: x\r\n\r\n";
    let streams: Vec<_> = (0..1000).map(|_| Raw::saying(&pod, ask)).collect();
    pod.wait_for_metric("maru_streams", |streams| streams == 1000.0);
    assert_sent_off(&mut pod.listen("/r/attic"), "rate_limited");
    assert_sent_off(&mut pod.listen("/r/lobby"), "rate_limited");
    let mut neighbour = Listen::to("/r/lobby").from_source([127, 0, 0, 9].into()).open(pod.address()).unwrap();
    neighbour.wait_for("live", deadline()).unwrap();
    drop(streams);
    pod.wait_for_metric("maru_streams", |streams| streams == 1.0);
    pod.listen_live("/r/attic");
}

#[test]
fn a_person_says_5_messages_a_second_after_20_at_once() {
    let pod = Pod::with(&["--limit", "address-messages=1000"]);
    let (token, _) = pod.sign_in("Ann");
    let begun = Instant::now();
    let outcomes: Vec<_> = thread::scope(|scope| {
        let speakers: Vec<_> = (0..4)
            .map(|_| {
                let mut ann = pod.client_as(&token);
                scope.spawn(move || {
                    let mut ask = || ann.post("/r/lobby", "text/plain", "hi").unwrap();
                    let (passed, limited) = until_limited(&mut ask);
                    (passed, limited, (0..10).filter(|_| ask().status == 201).count())
                })
            })
            .collect();
        speakers.into_iter().map(|speaker| speaker.join().unwrap()).collect()
    });
    let took = begun.elapsed();
    let passed: u32 = outcomes.iter().map(|(passed, _, later)| passed + u32::try_from(*later).unwrap()).sum();
    assert_rate(passed, took, 5, 20);
    assert_eq!(events(&pod, "lobby").len(), passed as usize);
    for (_, limited, _) in &outcomes {
        assert_problem(limited, 429, "rate_limited");
    }
    // Editing and deleting is speaking too.
    let mut ann = pod.client_as(&token);
    let edit = Request::new("PATCH", "/api/chat/lobby/messages/1").body("ho");
    let (_, limited) = until_limited(|| ann.send(&edit).unwrap());
    assert_problem(&limited, 429, "rate_limited");
    // Others are not concerned, and Retry-After is true.
    assert_eq!(pod.say("lobby", "hello").status, 201);
    assert_eq!(after_waiting(&limited, || ann.post("/r/lobby", "text/plain", "ho").unwrap()).status, 201);
}

#[test]
fn an_address_says_50_messages_a_second() {
    let pod = Pod::with(&["--limit", "person-messages=1000,person-burst=1000"]);
    let (token, _) = pod.sign_in("Ann");
    let begun = Instant::now();
    let outcomes: Vec<_> = thread::scope(|scope| {
        let speakers: Vec<_> = (0..8)
            .map(|_| {
                let mut ann = pod.client_as(&token);
                scope.spawn(move || until_limited(|| ann.post("/r/lobby", "text/plain", "hi").unwrap()))
            })
            .collect();
        speakers.into_iter().map(|speaker| speaker.join().unwrap()).collect()
    });
    let passed = outcomes.iter().map(|(passed, _)| passed).sum();
    assert_rate(passed, begun.elapsed(), 50, 50);
    let (_, limited) = &outcomes[0];
    assert_problem(limited, 429, "rate_limited");
    // It is the address, not the person.
    let mut elsewhere = pod.client_as(&token).from_source([127, 0, 0, 9].into());
    assert_eq!(elsewhere.post("/r/lobby", "text/plain", "hi").unwrap().status, 201);
}

#[test]
fn an_address_has_10_new_guests_a_second() {
    let pod = Pod::with(&[]);
    let begun = Instant::now();
    let mut client = pod.client();
    let (passed, limited) = until_limited(|| client.post_json("/api/session", &json!({})).unwrap());
    assert_rate(passed, begun.elapsed(), 10, 10);
    assert_problem(&limited, 429, "rate_limited");
    assert_eq!(after_waiting(&limited, || client.post_json("/api/session", &json!({})).unwrap()).status, 201);
}

#[test]
fn guests_made_on_the_spot_are_counted_too() {
    let pod = Pod::with(&["--limit", "address-guests=1"]);
    let (_, limited) = until_limited(|| pod.say("lobby", "hi"));
    assert_problem(&limited, 429, "rate_limited");
    let (_, limited) = until_limited(|| pod.client().get("/r/lobby?poll=1&since=1-0").unwrap());
    assert_problem(&limited, 429, "rate_limited");
    // A stream is never refused by its status.
    wait_for("a stream is sent off", || {
        let mut stream = pod.listen("/r/lobby");
        let Ok(Next::Event(first)) = stream.next_event(deadline()) else { panic!("no event") };
        assert!(stream.retry().is_some());
        first.name == "bye" && first.data == r#"{"code":"rate_limited"}"#
    });
    // Whoever is known already, and the room next door, are not concerned.
    wait_for("a session can be had", || {
        let session = pod.client().post_json("/api/session", &json!({})).unwrap();
        let Some(token) = session.json()["token"].as_str().map(str::to_owned) else { return false };
        assert_eq!(pod.client_as(&token).post("/r/lobby", "text/plain", "hi").unwrap().status, 201);
        true
    });
    let neighbour = pod.client().from_source([127, 0, 0, 9].into()).post("/r/lobby", "text/plain", "hi").unwrap();
    assert_eq!(neighbour.status, 201);
}

#[test]
fn a_trusted_proxy_says_whose_address_it_is_and_ipv6_counts_by_its_network() {
    let pod = Pod::with(&["--trusted-proxy", "127.0.0.0/8", "--limit", "address-streams=1"]);
    let from = |address: &str| Listen::to("/r/lobby").header("X-Forwarded-For", address).open(pod.address()).unwrap();
    let mut streams = Vec::new();
    for (address, is_let_in) in [
        ("198.51.100.7", true),
        ("198.51.100.7", false),
        ("::ffff:198.51.100.7", false),
        ("10.9.9.9, 198.51.100.7", false), // what the client itself wrote
        ("198.51.100.8", true),
        ("2001:db8::1", true),
        ("2001:db8::ffff:2", false),
        ("2001:db8:0:1::1", true),
    ] {
        let mut stream = from(address);
        if is_let_in {
            stream.wait_for("live", deadline()).unwrap();
            streams.push(stream);
        } else {
            assert_sent_off(&mut stream, "rate_limited");
        }
    }
    assert!(!pod.log().contains("X-Forwarded-For"), "{}", pod.log());
}

#[test]
fn a_proxy_that_nobody_named_is_not_believed_and_is_warned_of_once() {
    let mut pod = Pod::with(&["--limit", "address-streams=1"]);
    let from = |address: &str| Listen::to("/r/lobby").header("X-Forwarded-For", address).open(pod.address()).unwrap();
    let mut first = from("198.51.100.7");
    first.wait_for("live", deadline()).unwrap();
    for other in ["198.51.100.8", "2001:db8::1"] {
        assert_sent_off(&mut from(other), "rate_limited");
    }
    drop(first);
    pod.kill();
    pod.ended();
    let log = pod.log();
    assert_eq!(log.matches("X-Forwarded-For").count(), 1, "{log}");
    assert!(log.contains("--trusted-proxy"), "{log}");
}

#[test]
fn limits_are_what_they_are_set_to() {
    let pod = Pod::with(&[
        "--limit",
        "text=10,body=60,head=500,fields=5,uri=100,history=5,person-streams=2",
        "--limit",
        "person-messages=1,person-burst=2,address-streams=3",
    ]);
    assert_eq!(pod.say("lobby", &"x".repeat(10)).status, 201);
    assert_problem(&pod.say("lobby", &"x".repeat(11)), 413, "too_large");
    let padded = |pad: usize| json!({"text": "hi", "pad": "x".repeat(pad)}).to_string();
    let post = |pad| pod.client().post("/r/lobby", "application/json", padded(pad)).unwrap();
    assert_eq!(post(60 - padded(0).len()).status, 201);
    assert_problem(&post(61 - padded(0).len()), 413, "too_large");
    let get = |target: &str| pod.client().get(target).unwrap();
    assert_eq!(get(&format!("/healthz?{}", "x".repeat(91))).status, 200);
    assert_problem(&get(&format!("/healthz?{}", "x".repeat(92))), 414, "uri_too_long");
    let padded = |pad: usize| pod.client().send(&Request::new("GET", "/healthz").header("X", &"x".repeat(pad))).unwrap();
    assert_eq!(padded(300).status, 200);
    assert_problem(&padded(500), 431, "head_too_large");
    let fields = |count: usize| {
        let request = Request::new("GET", "/healthz");
        pod.client().send(&(1..count).fold(request, |request, _| request.header("X", "y"))).unwrap()
    };
    assert_eq!(fields(5).status, 200);
    assert_problem(&fields(6), 431, "head_too_large");
    assert_problem(&get("/r/lobby?history=6"), 400, "bad_request");

    let (token, _) = pod.sign_in("Ann");
    let bearer = format!("Bearer {token}");
    let listen = || Listen::to("/r/lobby?history=5").header("Authorization", &bearer).open(pod.address()).unwrap();
    let mut mine: Vec<_> = (0..2).map(|_| listen()).collect();
    mine.iter_mut().for_each(|stream| drop(stream.wait_for("live", deadline()).unwrap()));
    assert_sent_off(&mut listen(), "rate_limited");
    let _third = pod.listen_live("/r/lobby");
    assert_sent_off(&mut pod.listen("/r/lobby"), "rate_limited");

    let begun = Instant::now();
    let mut ann: Client = pod.client_as(&token);
    let (passed, limited) = until_limited(|| ann.post("/r/lobby", "text/plain", "hi").unwrap());
    assert_rate(passed, begun.elapsed(), 1, 2);
    assert_problem(&limited, 429, "rate_limited");
}

#[test]
fn a_limit_that_is_none_is_refused_at_start() {
    for wrong in ["text=0", "text=", "text", "texts=1", "text=-1", "text=65537", "fields=1000"] {
        let output = run(&["--listen", "127.0.0.1:0", "--limit", wrong], &[]);
        assert!(!output.status.success(), "{wrong} was taken");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("--limit"), "{said}");
    }
}

#[test]
fn without_rates_the_sizes_are_limited_all_the_same() {
    let pod = Pod::with(&["--rate-limit", "off"]);
    let (token, _) = pod.sign_in("Ann");
    let mut ann = pod.client_as(&token);
    for _ in 0..60 {
        assert_eq!(ann.post("/r/lobby", "text/plain", "hi").unwrap().status, 201);
    }
    let bearer = format!("Bearer {token}");
    let _streams: Vec<_> = (0..40)
        .map(|_| {
            let mut stream = Listen::to("/r/lobby").header("Authorization", &bearer).open(pod.address()).unwrap();
            stream.wait_for("live", deadline()).unwrap();
            stream
        })
        .collect();
    assert_problem(&ann.post("/r/lobby", "text/plain", "x".repeat(4097)).unwrap(), 413, "too_large");
    assert_problem(&ann.get("/r/lobby?history=1001").unwrap(), 400, "bad_request");
}

#[test]
fn a_pod_has_as_many_streams_as_its_open_files_allow() {
    let pod = Pod::with_open_files(703, &["--rate-limit", "off"]);
    let most = pod.greeting.iter().find(|line| line.contains("streams at once")).unwrap();
    assert!(most.contains(" 3 streams"), "{most}");
    let mut streams: Vec<_> = (0..3).map(|_| pod.listen_live("/r/lobby")).collect();
    assert_sent_off(&mut pod.listen("/r/lobby"), "overloaded");
    let poll = pod.client().get("/r/lobby?poll=1").unwrap();
    assert_problem(&poll, 503, "overloaded");
    assert_eq!(pod.say("lobby", "still").status, 201);
    streams[0].wait_for("message", deadline()).unwrap();
}
