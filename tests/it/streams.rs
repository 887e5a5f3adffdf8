//! Streams: how they begin, what they carry, and the ways to get one.

use std::time::Duration;

use loadtest::{
    http::Request,
    stream::{Listen, Next, Stream},
};
use serde_json::{Value, json};

use crate::harness::{Maru, deadline, wait_for};

fn seqs(stream: &mut Stream, count: usize) -> Vec<u64> {
    (0..count).map(|_| seq(&stream.wait_for("message", deadline()).unwrap().data)).collect()
}

fn seq(data: &str) -> u64 {
    serde_json::from_str::<Value>(data).unwrap()["seq"].as_u64().unwrap()
}

fn fill(maru: &Maru, room: &str, count: usize) {
    let (token, _) = maru.sign_in("Filler");
    let mut client = maru.client_as(&token);
    for i in 1..=count {
        assert_eq!(client.post(&format!("/r/{room}"), "text/plain", format!("m{i}")).unwrap().status, 201);
    }
}

#[test]
fn the_head_says_what_proxies_must_know() {
    let maru = Maru::start();
    let stream = maru.listen("/r/lobby");
    let headers = stream.headers();
    assert_eq!(headers.get("content-type"), Some("text/event-stream"));
    assert_eq!(headers.get("cache-control"), Some("no-store, no-transform"));
    assert_eq!(headers.get("x-accel-buffering"), Some("no"));
    assert_eq!(headers.get("connection"), Some("close"));
    assert!(headers.get("vary").unwrap().contains("Accept"));
    assert!(headers.get("set-cookie").unwrap().starts_with("maru_session="));
}

#[test]
fn hello_comes_first_and_live_when_the_replay_is_done() {
    let maru = Maru::start();
    fill(&maru, "lobby", 3);
    let mut stream = Listen::to("/r/lobby?name=Ann").open(maru.address()).unwrap();
    let Next::Event(hello) = stream.next_event(deadline()).unwrap() else { panic!("no event") };
    assert_eq!((hello.name.as_str(), hello.id.as_deref()), ("hello", Some("1-0")));
    assert!((1000..=3000).contains(&stream.retry().unwrap()), "{:?}", stream.retry());
    let data: Value = serde_json::from_str(&hello.data).unwrap();
    assert_eq!((&data["user"]["name"], &data["user"]["kind"]), (&json!("Ann"), &json!("guest")));
    assert_eq!((&data["tip"], &data["resumed"], &data["online"]), (&json!("1-3"), &json!(false), &json!(1)));
    for expected in 1..=3 {
        let Next::Event(event) = stream.next_event(deadline()).unwrap() else { panic!("no event") };
        assert_eq!((event.name.as_str(), event.id), ("message", Some(format!("1-{expected}"))));
    }
    let Next::Event(live) = stream.next_event(deadline()).unwrap() else { panic!("no event") };
    assert_eq!((live.name.as_str(), live.id), ("live", None));
    assert_eq!(serde_json::from_str::<Value>(&live.data).unwrap()["tip"], "1-3");
    assert!(stream.faults().is_empty(), "{:?}", stream.faults());
}

#[test]
fn retry_is_drawn_for_each_client() {
    let maru = Maru::start();
    let mut drawn: Vec<_> = (0..12).map(|_| maru.listen_live("/r/lobby").retry().unwrap()).collect();
    drawn.sort_unstable();
    drawn.dedup();
    assert!(drawn.len() > 3, "{drawn:?}");
}

#[test]
fn a_stream_starts_where_it_is_asked_to() {
    let maru = Maru::start();
    fill(&maru, "lobby", 60);
    let starts = [
        ("/r/lobby", 11),
        ("/r/lobby?since=all", 1),
        ("/r/lobby?since=1-58", 59),
        ("/r/lobby?last_event_id=1-57", 58),
        ("/r/lobby?last_event_id=1-57&since=all", 58),
        ("/r/lobby?last_event_id=&since=1-20", 21),
        ("/r/lobby?history=3", 58),
        ("/r/lobby?history=1000", 1),
        ("/api/chat/lobby/events?since=1-59", 60),
        ("/api/chat/LOBBY/events/?since=1-59", 60),
    ];
    for (target, first) in starts {
        assert_eq!(seqs(&mut maru.listen(target), 1), [first], "{target}");
    }
    // The header wins over the query; an empty header is as none.
    assert_eq!(
        seqs(&mut Listen::to("/r/lobby?since=all").after("1-30").open(maru.address()).unwrap(), 1),
        [31]
    );
    assert_eq!(seqs(&mut Listen::to("/r/lobby?since=1-40").after("").open(maru.address()).unwrap(), 1), [41]);
    // Nothing old: the next is the first.
    for target in ["/r/lobby?since=live", "/r/lobby?history=0", "/r/lobby?since=1-60"] {
        let mut stream = maru.listen_live(target);
        let next = maru.say("lobby", "next").json()["seq"].as_u64().unwrap();
        // Streams opened later in this loop start at a later tip.
        if target != "/r/lobby?since=1-60" {
            assert_eq!(seqs(&mut stream, 1), [next], "{target}");
        }
    }
}

#[test]
fn a_bad_cursor_is_a_gap_and_never_an_error() {
    let maru = Maru::start();
    fill(&maru, "lobby", 60);
    for bad in ["x", "1-61", "2-1", "0-0", "1-x", "-", "１-1", "1-1-1", "99999999999-1", "\u{fffd}"] {
        let mut stream = Listen::to("/r/lobby").after(bad).open(maru.address()).unwrap();
        let hello = stream.wait_for("hello", deadline()).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&hello.data).unwrap()["resumed"], false);
        // Who is cut off before the gap comes back with what leads to it again.
        let back = hello.id.unwrap();
        assert!(back == bad || back == "0-0", "{back} for {bad}");
        let Next::Event(gap) = stream.next_event(deadline()).unwrap() else { panic!("no event") };
        assert_eq!((gap.name.as_str(), gap.id.as_deref()), ("gap", Some("1-10")), "{bad}");
        let data: Value = serde_json::from_str(&gap.data).unwrap();
        assert_eq!((&data["to"], &data["reason"]), (&json!("1-10"), &json!("unknown")));
        assert_eq!(seqs(&mut stream, 50), (11..=60).collect::<Vec<_>>());
        stream.wait_for("live", deadline()).unwrap();
    }
}

#[test]
fn resuming_at_the_tip_says_so() {
    let maru = Maru::start();
    fill(&maru, "lobby", 2);
    let mut stream = Listen::to("/r/lobby").after("1-2").open(maru.address()).unwrap();
    let hello: Value = serde_json::from_str(&stream.wait_for("hello", deadline()).unwrap().data).unwrap();
    assert_eq!((&hello["resumed"], &hello["cursor"]), (&json!(true), &json!("1-2")));
}

#[test]
fn http_1_0_gets_the_stream_without_chunks() {
    let maru = Maru::start();
    fill(&maru, "lobby", 1);
    let mut client = maru.client();
    let (head, mut body) = client.open(&Request::new("GET", "/r/lobby").http10()).unwrap();
    assert_eq!((head.status, head.headers.get("transfer-encoding")), (200, None));
    let mut seen = String::new();
    let mut read_until = |needle: &str| {
        while !seen.contains(needle) {
            seen.push_str(&String::from_utf8(body.read(deadline()).unwrap().expect("it goes on")).unwrap());
        }
    };
    read_until("event: live");
    maru.say("lobby", "and on");
    read_until("and on");
    assert!(seen.starts_with("event: hello\n"), "{seen}");
}

#[test]
fn ndjson_gives_the_same_events_a_line_each() {
    let maru = Maru::start();
    fill(&maru, "lobby", 2);
    let mut client = maru.client();
    let request = Request::new("GET", "/r/lobby").header("Accept", "application/x-ndjson");
    let (head, mut body) = client.open(&request).unwrap();
    assert_eq!(head.headers.get("content-type"), Some("application/x-ndjson"));
    let mut seen = String::new();
    let mut read_lines = |count: usize| {
        while seen.matches('\n').count() < count {
            seen.push_str(&String::from_utf8(body.read(deadline()).unwrap().expect("it goes on")).unwrap());
        }
        seen.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect::<Vec<_>>()
    };
    let lines = read_lines(4);
    let names: Vec<_> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(names, ["hello", "message", "message", "live"]);
    assert_eq!((&lines[1]["cursor"], &lines[1]["text"]), (&json!("1-1"), &json!("m1")));
    maru.say("lobby", "live too");
    assert_eq!(read_lines(5)[4]["text"], "live too");
}

#[test]
fn a_poll_answers_with_what_there_is_or_waits_for_it() {
    let maru = Maru::start();
    fill(&maru, "lobby", 60);
    let poll = |query: &str| maru.client().get(&format!("/r/lobby?poll=1{query}")).unwrap().json();
    let first = poll("");
    assert_eq!(first["events"].as_array().unwrap().len(), 50);
    assert_eq!(first["cursor"], "1-60");
    assert_eq!(first["events"][0]["seq"], 11);
    let gap = poll("&since=7-7");
    assert_eq!((&gap["gap"]["reason"], &gap["cursor"]), (&json!("unknown"), &json!("1-60")));
    // It waits until somebody speaks.
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let mut client = maru.client().timeout(Duration::from_secs(40));
            client.get("/r/lobby?poll=1&since=1-60").unwrap().json()
        });
        maru.wait_for_metric("maru_streams", |streams| streams == 1.0);
        maru.say("lobby", "at last");
        let answer = waiting.join().unwrap();
        assert_eq!((&answer["events"][0]["text"], &answer["cursor"]), (&json!("at last"), &json!("1-61")));
    });
    // All of it, page after page.
    let mut cursor = "1-0".to_owned();
    let mut seen = Vec::new();
    while seen.len() < 61 {
        let page = poll(&format!("&since={cursor}"));
        seen.extend(page["events"].as_array().unwrap().iter().map(|event| event["seq"].as_u64().unwrap()));
        page["cursor"].as_str().unwrap().clone_into(&mut cursor);
    }
    assert_eq!(seen, (1..=61).collect::<Vec<_>>());
}

#[test]
fn live_events_reach_every_kind_of_reader_in_the_same_bytes() {
    let maru = Maru::start();
    let mut seated = maru.listen_live("/r/lobby");
    wait_for("it sits in the reading room", || maru.metric("maru_readers") == 1.0);
    let mut old = maru.client();
    let (_, mut old) = old.open(&Request::new("GET", "/r/lobby").http10()).unwrap();
    let mut seen = String::new();
    while !seen.contains("event: live") {
        seen.push_str(&String::from_utf8(old.read(deadline()).unwrap().unwrap()).unwrap());
    }
    fill(&maru, "lobby", 20);
    let seated: Vec<_> = (0..20).map(|_| seated.wait_for("message", deadline()).unwrap().data).collect();
    while !seen.contains("m20") || !seen.ends_with("\n\n") {
        seen.push_str(&String::from_utf8(old.read(deadline()).unwrap().unwrap()).unwrap());
    }
    for data in seated {
        assert!(seen.contains(&format!("data: {data}\n\n")), "{data} is not in {seen}");
    }
}

#[test]
fn a_page_and_a_stream_share_the_address() {
    let maru = Maru::start();
    let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    let page = maru.client().send(&Request::new("GET", "/r/lobby").header("Accept", browser)).unwrap();
    assert_eq!(page.headers.get("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.headers.get("vary").unwrap().contains("Accept"));
    assert!(page.headers.get("content-security-policy").unwrap().contains("default-src 'none'"));
    let head = maru.client().send(&Request::new("HEAD", "/r/lobby")).unwrap();
    assert_eq!((head.status, head.headers.get("content-type")), (200, Some("text/event-stream")));
}

#[test]
fn rooms_have_one_name_however_it_is_written() {
    let maru = Maru::start();
    maru.say("수다방", "안녕");
    for same in ["수다방", "\u{1109}\u{116e}\u{1103}\u{1161}\u{1107}\u{1161}\u{11bc}"] {
        let target = format!("/r/{}", loadtest::speak::percent_encoded(same));
        assert_eq!(seqs(&mut maru.listen(&target), 1), [1]);
    }
}

#[test]
fn a_reader_that_was_signed_out_is_ended_wherever_it_is() {
    let maru = Maru::start();
    let (token, _) = maru.sign_in("Ann");
    let bearer = format!("Bearer {token}");
    let mut seated = Listen::to("/r/lobby").header("Authorization", &bearer).open(maru.address()).unwrap();
    seated.wait_for("live", deadline()).unwrap();
    let mut client = maru.client();
    let request = Request::new("GET", "/r/lobby").header("Authorization", &bearer).http10();
    let (_, mut old) = client.open(&request).unwrap();
    let mut bystander = maru.listen_live("/r/lobby");
    wait_for("all are in", || maru.metric("maru_streams") == 3.0);
    assert_eq!(maru.client_as(&token).send(&Request::new("DELETE", "/api/session")).unwrap().status, 204);
    let bye = seated.wait_for("bye", deadline()).unwrap();
    assert_eq!(bye.data, r#"{"code":"signed_out"}"#);
    assert_eq!(seated.next_event(deadline()).unwrap(), Next::Ended);
    let mut seen = Vec::new();
    while let Some(bytes) = old.read(deadline()).unwrap() {
        seen.extend(bytes);
    }
    assert!(String::from_utf8(seen).unwrap().contains("event: bye"));
    // Its token is worth nothing; others go on.
    wait_for("it is worth nothing anywhere", || {
        maru.on_all(|client| {
            client.header("Authorization", &bearer).get("/api/session").unwrap().status == 401
        })
    });
    maru.say("lobby", "still here");
    bystander.wait_for("message", deadline()).unwrap();
}
