//! Section 8, how many and how often: streams, messages and guests, of a person, an address, a pod.
//!
//! Each pod counts what comes to itself, so there is one of them here.

use std::{
    thread,
    time::{Duration, Instant},
};

use loadtest::{
    http::{Request, Response},
    stream::{Listen, Next},
};
use serde_json::{Value, json};

use crate::{
    harness::{Maru, assert_problem, assert_sent_off, deadline, wait_for},
    limits::events,
    raw::Raw,
};

/// Asks again and again until the answer is 429; gives the number of those before, and the 429.
pub fn until_limited(mut ask: impl FnMut() -> Response) -> (u32, Response) {
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
pub fn assert_rate(passed: u32, took: Duration, per_second: u32, burst: u32) {
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
fn a_person_has_up_to_30_streams_in_all_rooms_and_formats() {
    let maru = Maru::of_one(&["--limit", "address-guests=1000"]);
    let (token, _) = maru.sign_in("Ann");
    let bearer = format!("Bearer {token}");
    let listen = |target: &str| Listen::to(target).header("Authorization", &bearer);
    let mut streams: Vec<_> = (0..30)
        .map(|n| {
            let mut stream = listen(&format!("/r/room{}", n % 3)).open(maru.address()).unwrap();
            stream.wait_for("live", deadline()).unwrap();
            stream
        })
        .collect();
    assert_sent_off(&mut listen("/r/lobby").open(maru.address()).unwrap(), "rate_limited");
    let lines = Request::new("GET", "/r/lobby").header("Accept", "application/x-ndjson");
    let sent_off = maru.client_as(&token).send(&lines).unwrap();
    assert_eq!((sent_off.status, sent_off.headers.get("content-type")), (200, Some("application/x-ndjson")));
    let bye: Value = serde_json::from_str(sent_off.text().strip_suffix('\n').unwrap()).unwrap();
    assert_eq!((&bye["event"], &bye["code"]), (&json!("bye"), &json!("rate_limited")));
    assert!(bye["retry"].as_u64().is_some_and(|ms| ms >= 1000), "{bye}");
    assert_problem(&maru.client_as(&token).get("/r/lobby?poll=1").unwrap(), 429, "rate_limited");
    // Others are not concerned, and may speak and listen.
    maru.listen_live("/r/lobby");
    assert_eq!(maru.client_as(&token).post("/r/lobby", "text/plain", "hi").unwrap().status, 201);
    // One goes, one comes.
    streams.pop();
    wait_for("there is room for another", || {
        let mut stream = listen("/r/lobby").open(maru.address()).unwrap();
        matches!(stream.next_event(deadline()).unwrap(), Next::Event(event) if event.name == "hello")
    });
}

#[test]
fn an_address_has_up_to_1000_streams() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let maru = Maru::of_one(&["--limit", "address-guests=100000"]);
    let ask = "GET /r/lobby HTTP/1.1\r\nHost: x\r\n\r\n";
    let streams: Vec<_> = (0..1000).map(|_| Raw::saying(&maru, ask)).collect();
    maru.wait_for_metric("maru_streams", |streams| streams == 1000.0);
    assert_sent_off(&mut maru.listen("/r/attic"), "rate_limited");
    assert_sent_off(&mut maru.listen("/r/lobby"), "rate_limited");
    let mut neighbour =
        Listen::to("/r/lobby").from_source([127, 0, 0, 9].into()).open(maru.address()).unwrap();
    neighbour.wait_for("live", deadline()).unwrap();
    drop(streams);
    maru.wait_for_metric("maru_streams", |streams| streams == 1.0);
    maru.listen_live("/r/attic");
}

#[test]
fn a_person_says_5_messages_a_second_after_20_at_once() {
    let maru = Maru::of_one(&["--limit", "address-messages=1000"]);
    let (token, _) = maru.sign_in("Ann");
    let begun = Instant::now();
    let outcomes: Vec<_> = thread::scope(|scope| {
        let speakers: Vec<_> = (0..4)
            .map(|_| {
                let mut ann = maru.client_as(&token);
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
    assert_eq!(events(&maru, "lobby").len(), passed as usize);
    for (_, limited, _) in &outcomes {
        assert_problem(limited, 429, "rate_limited");
    }
    // Editing and deleting is speaking too.
    let mut ann = maru.client_as(&token);
    let edit = Request::new("PATCH", "/api/chat/lobby/messages/1").body("ho");
    let (_, limited) = until_limited(|| ann.send(&edit).unwrap());
    assert_problem(&limited, 429, "rate_limited");
    // Others are not concerned, and Retry-After is true.
    assert_eq!(maru.say("lobby", "hello").status, 201);
    assert_eq!(after_waiting(&limited, || ann.post("/r/lobby", "text/plain", "ho").unwrap()).status, 201);
}

#[test]
fn an_address_says_50_messages_a_second() {
    let maru = Maru::of_one(&["--limit", "person-messages=1000,person-burst=1000"]);
    let (token, _) = maru.sign_in("Ann");
    let begun = Instant::now();
    let outcomes: Vec<_> = thread::scope(|scope| {
        let speakers: Vec<_> = (0..16)
            .map(|_| {
                let mut ann = maru.client_as(&token);
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
    let mut elsewhere = maru.client_as(&token).from_source([127, 0, 0, 9].into());
    assert_eq!(elsewhere.post("/r/lobby", "text/plain", "hi").unwrap().status, 201);
}

#[test]
fn an_address_has_10_new_guests_a_second() {
    let maru = Maru::of_one(&[]);
    let begun = Instant::now();
    let mut client = maru.client();
    let (passed, limited) = until_limited(|| client.post_json("/api/session", &json!({})).unwrap());
    assert_rate(passed, begun.elapsed(), 10, 10);
    assert_problem(&limited, 429, "rate_limited");
    assert_eq!(after_waiting(&limited, || client.post_json("/api/session", &json!({})).unwrap()).status, 201);
}

#[test]
fn guests_made_on_the_spot_are_counted_too() {
    let maru = Maru::of_one(&["--limit", "address-guests=1"]);
    let (_, limited) = until_limited(|| maru.say("lobby", "hi"));
    assert_problem(&limited, 429, "rate_limited");
    let (_, limited) = until_limited(|| maru.client().get("/r/lobby?poll=1&since=1-0").unwrap());
    assert_problem(&limited, 429, "rate_limited");
    // A stream is never refused by its status.
    wait_for("a stream is sent off", || {
        let mut stream = maru.listen("/r/lobby");
        let Ok(Next::Event(first)) = stream.next_event(deadline()) else { panic!("no event") };
        assert!(stream.retry().is_some());
        first.name == "bye" && first.data == r#"{"code":"rate_limited"}"#
    });
    // Whoever is known already, and the room next door, are not concerned.
    wait_for("a session can be had", || {
        let session = maru.client().post_json("/api/session", &json!({})).unwrap();
        let Some(token) = session.json()["token"].as_str().map(str::to_owned) else { return false };
        assert_eq!(maru.client_as(&token).post("/r/lobby", "text/plain", "hi").unwrap().status, 201);
        true
    });
    let neighbour =
        maru.client().from_source([127, 0, 0, 9].into()).post("/r/lobby", "text/plain", "hi").unwrap();
    assert_eq!(neighbour.status, 201);
}

#[test]
fn a_trusted_proxy_says_whose_address_it_is_and_ipv6_counts_by_its_network() {
    let maru = Maru::of_one(&["--trusted-proxy", "127.0.0.0/8", "--limit", "address-streams=1"]);
    let from = |address: &str| {
        Listen::to("/r/lobby").header("X-Forwarded-For", address).open(maru.address()).unwrap()
    };
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
    assert!(!maru.log().contains("X-Forwarded-For"), "{}", maru.log());
}

#[test]
fn a_proxy_that_nobody_named_is_not_believed_and_is_warned_of_once() {
    let mut maru = Maru::of_one(&["--limit", "address-streams=1"]);
    let from = |address: &str| {
        Listen::to("/r/lobby").header("X-Forwarded-For", address).open(maru.address()).unwrap()
    };
    let mut first = from("198.51.100.7");
    first.wait_for("live", deadline()).unwrap();
    for other in ["198.51.100.8", "2001:db8::1"] {
        assert_sent_off(&mut from(other), "rate_limited");
    }
    drop(first);
    maru.kill();
    maru.ended();
    let log = maru.log();
    assert_eq!(log.matches("X-Forwarded-For").count(), 1, "{log}");
    assert!(log.contains("--trusted-proxy"), "{log}");
}

#[test]
fn a_pod_has_as_many_streams_as_its_open_files_allow() {
    let maru = Maru::of_one_with_open_files(703, &["--rate-limit", "off"]);
    let most = maru.one_pod().greeting.iter().find(|line| line.contains("streams at once")).unwrap();
    assert!(most.contains(" 3 streams"), "{most}");
    let mut streams: Vec<_> = (0..3).map(|_| maru.listen_live("/r/lobby")).collect();
    assert_sent_off(&mut maru.listen("/r/lobby"), "overloaded");
    let poll = maru.client().get("/r/lobby?poll=1").unwrap();
    assert_problem(&poll, 503, "overloaded");
    assert_eq!(maru.say("lobby", "still").status, 201);
    streams[0].wait_for("message", deadline()).unwrap();
}
