//! Section 8, row by row: what is allowed just so, what is one too much, and how that is said. How many and how
//! often is in `rates`.

use std::{
    thread,
    time::{Duration, Instant},
};

use loadtest::{
    http::{Client, Request},
    stream::Listen,
};
use serde_json::{Value, json};

use crate::{
    harness::{Maru, assert_problem, assert_sent_off, deadline},
    rates::{assert_rate, until_limited},
    raw::Raw,
};

pub fn events(maru: &Maru, room: &str) -> Vec<Value> {
    let page = maru.client().get(&format!("/api/history?room={room}&limit=200")).unwrap().json();
    page["events"].as_array().unwrap().clone()
}

#[test]
fn a_text_has_up_to_4096_bytes() {
    let maru = Maru::start();
    let full = "x".repeat(4096);
    let korean = format!("{}x", "한".repeat(1365));
    let too_long = [format!("{full}x"), format!("{full}\n\n"), format!("{korean}x")];
    // The last newline of a plain body is no part of the text.
    for text in [&full, &format!("{full}\n"), &format!("{full}\r\n"), &korean] {
        assert_eq!(maru.say("lobby", text).status, 201, "{} bytes", text.len());
    }
    for text in &too_long {
        assert_problem(&maru.say("lobby", text), 413, "too_large");
    }
    let post = |text: &str| maru.client().post_json("/r/lobby", &json!({"text": text})).unwrap();
    assert_eq!(post(&full).status, 201);
    assert_problem(&post(&format!("{full}\n")), 413, "too_large");
    // An edit is a text too.
    let (token, _) = maru.sign_in("Ann");
    let mut ann = maru.client_as(&token);
    let seq = ann.post("/r/lobby", "text/plain", "short").unwrap().json()["seq"].clone();
    let edit = |text: String| Request::new("PATCH", &format!("/api/chat/lobby/messages/{seq}")).body(text);
    assert_problem(&ann.send(&edit(format!("{full}x"))).unwrap(), 413, "too_large");
    assert_eq!(ann.send(&edit(full)).unwrap().status, 200);
}

#[test]
fn a_text_has_at_least_one_byte() {
    let maru = Maru::start();
    for empty in ["", "\n", "\r\n"] {
        assert_problem(&maru.say("lobby", empty), 400, "bad_request");
    }
    assert_problem(&maru.client().post_json("/r/lobby", &json!({"text": ""})).unwrap(), 400, "bad_request");
    assert!(events(&maru, "lobby").is_empty());
}

#[test]
fn a_body_has_up_to_16_kib() {
    let maru = Maru::start();
    let padded = |bytes: usize| {
        let empty = json!({"text": "hi", "pad": ""}).to_string();
        json!({"text": "hi", "pad": "x".repeat(bytes - empty.len())}).to_string()
    };
    let post = |bytes| maru.client().post("/r/lobby", "application/json", padded(bytes)).unwrap();
    assert_eq!(post(16 << 10).status, 201);
    assert_problem(&post((16 << 10) + 1), 413, "too_large");
    // In chunks its length is known only as it comes.
    let mut chunked = Raw::saying(
        &maru,
        "POST /r/lobby HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    for _ in 0..17 {
        chunked.try_send(format!("400\r\n{}\r\n", "x".repeat(1024)));
    }
    chunked.try_send("0\r\n\r\n");
    let answers = chunked.answers();
    assert_eq!(answers.len(), 1);
    assert_problem(&answers[0], 413, "too_large");
    assert_eq!(events(&maru, "lobby").len(), 1);
}

#[test]
fn a_body_that_is_said_to_be_too_large_is_not_waited_for() {
    let maru = Maru::start();
    let answers =
        Raw::saying(&maru, "POST /r/lobby HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\nx")
            .answers();
    assert_eq!(answers.len(), 1);
    assert_problem(&answers[0], 413, "too_large");
}

#[test]
fn a_head_has_up_to_16_kib_and_64_fields() {
    let maru = Maru::start();
    let head = |bytes: usize| {
        let start = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Pad: ";
        format!("{start}{}\r\n\r\n", "x".repeat(bytes - start.len() - 4))
    };
    assert_eq!(Raw::saying(&maru, head(16 << 10)).answers()[0].status, 200);
    let answers = Raw::saying(&maru, head((16 << 10) + 1)).answers();
    assert_eq!(answers.len(), 1);
    assert_problem(&answers[0], 431, "head_too_large");

    let fields = |count: usize| {
        let more: String = (2..count).map(|n| format!("X-{n}: {n}\r\n")).collect();
        format!("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{more}\r\n")
    };
    assert_eq!(Raw::saying(&maru, fields(64)).answers()[0].status, 200);
    let answers = Raw::saying(&maru, fields(65)).answers();
    assert_eq!(answers.len(), 1);
    assert_problem(&answers[0], 431, "head_too_large");
}

#[test]
fn a_uri_has_up_to_4_kib() {
    let maru = Maru::start();
    let target = |bytes: usize| format!("/healthz?{}", "x".repeat(bytes - "/healthz?".len()));
    assert_eq!(maru.client().get(&target(4 << 10)).unwrap().status, 200);
    assert_problem(&maru.client().get(&target((4 << 10) + 1)).unwrap(), 414, "uri_too_long");
}

#[test]
fn silent_and_slow_connections_are_closed_after_10_s() {
    let maru = Maru::start();
    let took = |begun: Instant| {
        let took = begun.elapsed();
        assert!((9.5..20.0).contains(&took.as_secs_f64()), "closed after {took:?}");
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            let begun = Instant::now();
            assert!(Raw::to(&maru).answers().is_empty(), "nothing was asked");
            took(begun);
        });
        // It never pauses for long, but the whole of its head takes too long.
        scope.spawn(|| {
            let begun = Instant::now();
            let mut slow = Raw::saying(&maru, "GET /healthz HTTP/1.1\r\nHost: x\r\n");
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
            let mut slow =
                Raw::saying(&maru, "POST /r/lobby HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n");
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
    assert!(events(&maru, "lobby").is_empty());
}

#[test]
fn a_later_head_on_a_connection_has_its_time_too() {
    let maru = Maru::with(&["--limit", "head-time=1,body-time=1"]);
    let mut kept = Raw::saying(&maru, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(kept.answer().unwrap().status, 200);
    // Between requests it may be quiet.
    thread::sleep(Duration::from_millis(1500));
    kept.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /heal");
    assert_eq!(kept.answer().unwrap().status, 200);
    let late = kept.answers();
    assert_eq!(late.len(), 1);
    assert_problem(&late[0], 408, "request_timeout");
    // A slow body, with its time made short.
    let answers =
        Raw::saying(&maru, "POST /r/lobby HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhal").answers();
    assert_eq!(answers.len(), 1);
    assert_problem(&answers[0], 408, "request_timeout");
    assert!(events(&maru, "lobby").is_empty());
}

#[test]
fn a_client_that_stops_sending_still_gets_its_answer() {
    let maru = Maru::start();
    let mut raw = Raw::saying(&maru, "POST /r/lobby HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello");
    raw.socket().shutdown(std::net::Shutdown::Write).unwrap();
    let answers = raw.answers();
    assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [201]);
}

#[test]
fn names_have_1_to_32_characters_and_nothing_that_deceives() {
    let maru = Maru::start();
    let good = [
        ("a", "a"),
        ("  Ann  ", "Ann"),
        ("Ａｎｎ", "Ann"),
        ("\u{1112}\u{1161}\u{1102}\u{1173}\u{11af}", "하늘"),
        ("Zoë\u{301}\u{302}", "Zoë\u{301}\u{302}"),
        ("<b>\"'&", "<b>\"'&"),
    ];
    for (asked, kept) in good {
        let session = maru.client().post_json("/api/session", &json!({"name": asked})).unwrap();
        assert_eq!((session.status, &session.json()["user"]["name"]), (201, &json!(kept)), "{asked:?}");
    }
    let longest = "한".repeat(32);
    assert_eq!(maru.client().post_json("/api/session", &json!({"name": longest})).unwrap().status, 201);
    let (token, _) = maru.sign_in("Ann");
    let bad = [
        "",
        " ",
        "\u{3000}",
        "a\nb",
        "a\0",
        "a\u{7f}",
        "a\u{85}b",
        "a\u{202e}b",
        "a\u{2066}b",
        "a\u{61c}b",
        "a\u{200b}b",
        "a\u{200d}b",
        "a\u{2060}b",
        "\u{feff}a",
        "a\u{ad}b",
        "q\u{301}\u{302}\u{303}\u{304}",
        &"한".repeat(33),
        &"ﷺ".repeat(2), // 2 characters that NFKC makes 36 of
        &"x".repeat(2000),
    ];
    for bad in bad {
        let body = json!({"name": bad});
        assert_problem(&maru.client().post_json("/api/session", &body).unwrap(), 400, "bad_request");
        let rename = Request::new("PATCH", "/api/session").header("Content-Type", "application/json");
        assert_problem(
            &maru.client_as(&token).send(&rename.body(body.to_string())).unwrap(),
            400,
            "bad_request",
        );
        let name = loadtest::speak::percent_encoded(bad);
        let spoken = maru.client().post(&format!("/r/lobby?name={name}"), "text/plain", "hi").unwrap();
        assert_problem(&spoken, 400, "bad_request");
        // It would be no better next time, so a stream is not asked to come back.
        assert_problem(&maru.client().get(&format!("/r/lobby?name={name}")).unwrap(), 400, "bad_request");
    }
    assert!(events(&maru, "lobby").is_empty());
}

#[test]
fn a_stream_may_begin_with_up_to_1000_events() {
    let maru = Maru::start();
    maru.say("lobby", "hi");
    for (history, is_good) in [
        ("0", true),
        ("1000", true),
        ("1001", false),
        ("-1", false),
        ("x", false),
        ("99999999999999999999", false),
    ] {
        let target = format!("/r/lobby?history={history}");
        if is_good {
            maru.listen_live(&target);
        } else {
            assert_problem(&maru.client().get(&target).unwrap(), 400, "bad_request");
        }
    }
}

#[test]
fn limits_are_what_they_are_set_to() {
    // Rates and streams are counted by each pod.
    let maru = Maru::of_one(&[
        "--limit",
        "text=10,body=60,head=500,fields=5,uri=100,history=5,person-streams=2",
        "--limit",
        "person-messages=1,person-burst=2,address-streams=3",
    ]);
    assert_eq!(maru.say("lobby", &"x".repeat(10)).status, 201);
    assert_problem(&maru.say("lobby", &"x".repeat(11)), 413, "too_large");
    let padded = |pad: usize| json!({"text": "hi", "pad": "x".repeat(pad)}).to_string();
    let post = |pad| maru.client().post("/r/lobby", "application/json", padded(pad)).unwrap();
    assert_eq!(post(60 - padded(0).len()).status, 201);
    assert_problem(&post(61 - padded(0).len()), 413, "too_large");
    let get = |target: &str| maru.client().get(target).unwrap();
    assert_eq!(get(&format!("/healthz?{}", "x".repeat(91))).status, 200);
    assert_problem(&get(&format!("/healthz?{}", "x".repeat(92))), 414, "uri_too_long");
    let padded = |pad: usize| {
        maru.client().send(&Request::new("GET", "/healthz").header("X", &"x".repeat(pad))).unwrap()
    };
    assert_eq!(padded(300).status, 200);
    assert_problem(&padded(500), 431, "head_too_large");
    let fields = |count: usize| {
        let request = Request::new("GET", "/healthz");
        maru.client().send(&(1..count).fold(request, |request, _| request.header("X", "y"))).unwrap()
    };
    assert_eq!(fields(5).status, 200);
    assert_problem(&fields(6), 431, "head_too_large");
    assert_problem(&get("/r/lobby?history=6"), 400, "bad_request");

    let (token, _) = maru.sign_in("Ann");
    let bearer = format!("Bearer {token}");
    let listen =
        || Listen::to("/r/lobby?history=5").header("Authorization", &bearer).open(maru.address()).unwrap();
    let mut mine: Vec<_> = (0..2).map(|_| listen()).collect();
    mine.iter_mut().for_each(|stream| drop(stream.wait_for("live", deadline()).unwrap()));
    assert_sent_off(&mut listen(), "rate_limited");
    let _third = maru.listen_live("/r/lobby");
    assert_sent_off(&mut maru.listen("/r/lobby"), "rate_limited");

    let begun = Instant::now();
    let mut ann: Client = maru.client_as(&token);
    let (passed, limited) = until_limited(|| ann.post("/r/lobby", "text/plain", "hi").unwrap());
    assert_rate(passed, begun.elapsed(), 1, 2);
    assert_problem(&limited, 429, "rate_limited");
}

#[test]
fn without_rates_the_sizes_are_limited_all_the_same() {
    let maru = Maru::with(&["--rate-limit", "off"]);
    let (token, _) = maru.sign_in("Ann");
    let mut ann = maru.client_as(&token);
    for _ in 0..60 {
        assert_eq!(ann.post("/r/lobby", "text/plain", "hi").unwrap().status, 201);
    }
    let bearer = format!("Bearer {token}");
    let _streams: Vec<_> = (0..40)
        .map(|_| {
            let mut stream =
                Listen::to("/r/lobby").header("Authorization", &bearer).open(maru.address()).unwrap();
            stream.wait_for("live", deadline()).unwrap();
            stream
        })
        .collect();
    assert_problem(&ann.post("/r/lobby", "text/plain", "x".repeat(4097)).unwrap(), 413, "too_large");
    assert_problem(&ann.get("/r/lobby?history=1001").unwrap(), 400, "bad_request");
}
