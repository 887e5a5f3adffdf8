//! P9: whoever may not hear any more hears nothing more, on streams that are open too, on every pod.

use std::{
    thread,
    time::{Duration, Instant},
};

use loadtest::{
    http::{Body, Request},
    stream::{Listen, Next, Stream},
};
use maru::{
    clock,
    event::{User, UserId, UserKind},
    identity::{Seal, Session},
};
use serde_json::{Value, json};

use crate::harness::{
    Maru, Person, assert_problem, deadline,
    person::{next, next_where},
};

/// How long it may take.
const SOON: Duration = Duration::from_secs(1);

/// A stream of each kind, on every pod.
struct Streams {
    seated: Vec<Stream>,
    courteous: Vec<Body>,
}

fn open_everywhere(maru: &Maru, bearer: &str, target: &str) -> Streams {
    let (mut seated, mut courteous) = (Vec::new(), Vec::new());
    for address in maru.doors().all() {
        let mut stream = Listen::to(target).header("Authorization", bearer).open(*address).unwrap();
        stream.wait_for("live", deadline()).unwrap();
        seated.push(stream);
        let mut client = loadtest::http::Client::new(*address);
        let lines = Request::new("GET", target).header("Accept", "application/x-ndjson");
        let (head, mut body) = client.open(&lines.header("Authorization", bearer)).unwrap();
        assert_eq!(head.status, 200);
        let mut seen = String::new();
        while !seen.contains("\"event\":\"live\"") {
            seen.push_str(&String::from_utf8(body.read(deadline()).unwrap().unwrap()).unwrap());
        }
        courteous.push(body);
    }
    let count = seated.len() as f64;
    maru.wait_for_metric("maru_readers", |readers| readers >= count);
    Streams { seated, courteous }
}

impl Streams {
    /// All end with this, and before it comes nothing that has this text.
    fn assert_end(self, since: Instant, code: &str, hidden: &str) {
        for mut stream in self.seated {
            loop {
                let Next::Event(event) = stream.next_event(deadline()).unwrap() else { panic!("no bye") };
                assert!(!event.data.contains(hidden), "{event:?}");
                if event.name == "bye" {
                    assert_eq!(event.data, format!("{{\"code\":\"{code}\"}}"));
                    break;
                }
            }
            assert!(since.elapsed() < SOON, "after {:?}", since.elapsed());
            assert_eq!(stream.next_event(deadline()).unwrap(), Next::Ended);
        }
        for mut body in self.courteous {
            let mut seen = String::new();
            while let Some(bytes) = body.read(deadline()).unwrap() {
                seen.push_str(&String::from_utf8(bytes).unwrap());
            }
            let bye: Value = serde_json::from_str(seen.lines().last().unwrap()).unwrap();
            assert_eq!((&bye["event"], &bye["code"]), (&json!("bye"), &json!(code)));
            assert!(!seen.contains(hidden), "{seen}");
            assert!(since.elapsed() < SOON, "after {:?}", since.elapsed());
        }
    }
}

#[test]
fn who_leaves_hears_nothing_more_of_the_room_on_any_pod() {
    let maru = Maru::start();
    let [ann, bob] = Person::several(&maru, ["Ann", "Bob"]);
    let room = ann.room_with(&maru, &[&bob], Some("Trip"));
    let target = format!("/api/chat/{room}/events");
    let bobs = open_everywhere(&maru, &bob.bearer, &target);
    let mut anns = ann.listen_live(&maru, &target);
    let mut inbox = bob.listen_live(&maru, "/api/events");
    let polls: Vec<_> = maru
        .doors()
        .all()
        .iter()
        .map(|address| {
            let mut client = loadtest::http::Client::new(*address).timeout(deadline() - Instant::now());
            let request = Request::new("GET", &format!("{target}?poll=1&since=live"))
                .header("Authorization", &bob.bearer);
            thread::spawn(move || client.send(&request).unwrap())
        })
        .collect();
    let streams = (2 * maru.doors().all().len() + 2 + polls.len()) as f64;
    maru.wait_for_metric("maru_streams", |open| open == streams);

    assert_eq!(bob.delete(&maru, &format!("/api/chat/{room}/members/me")).status, 204);
    let since = Instant::now();
    ann.say(&maru, &room, "behind his back");
    for poll in polls {
        let answer = poll.join().unwrap();
        assert_problem(&answer, 404, "not_found");
        assert!(since.elapsed() < SOON, "after {:?}", since.elapsed());
    }
    bobs.assert_end(since, "left", "behind");
    assert_problem(&bob.get(&maru, &target), 404, "not_found");
    while next(&mut anns, "message")["text"] != "behind his back" {}
    // His inbox goes on.
    next_where(&mut inbox, |event| event["type"] == "leave");
    ann.room_with(&maru, &[&bob], None);
    assert_eq!(next(&mut inbox, "message")["type"], "join");
}

#[test]
fn others_do_not_notice_that_somebody_left() {
    let maru = Maru::start();
    let [ann, bob, cho] = Person::several(&maru, ["Ann", "Bob", "Cho"]);
    let room = ann.room_with(&maru, &[&bob, &cho], None);
    let elsewhere = ann.room_with(&maru, &[&bob, &cho], None);
    let mut others = cho.listen_live(&maru, &format!("/api/chat/{room}/events"));
    let mut his = bob.listen_live(&maru, &format!("/api/chat/{elsewhere}/events"));
    assert_eq!(bob.delete(&maru, &format!("/api/chat/{room}/members/me")).status, 204);
    for (stream, room) in [(&mut others, &room), (&mut his, &elsewhere)] {
        ann.say(&maru, room, "on we go");
        while next(stream, "message")["text"] != "on we go" {}
    }
}

#[test]
fn who_leaves_in_the_midst_of_a_replay_gets_no_end_of_it() {
    let maru = Maru::start();
    let [ann, bob] = Person::several(&maru, ["Ann", "Bob"]);
    let room = ann.room_with(&maru, &[&bob], Some("Trip"));
    let text = "x".repeat(4000);
    for _ in 0..700 {
        ann.say(&maru, &room, &text);
    }
    // It takes nothing for now, so that the replay stands still.
    let mut stream = bob.listen(&maru, &format!("/api/chat/{room}/events?since=all"));
    stream.wait_for("hello", deadline()).unwrap();
    assert_eq!(bob.delete(&maru, &format!("/api/chat/{room}/members/me")).status, 204);
    thread::sleep(SOON);
    let mut seen = 0;
    let code = loop {
        let Next::Event(event) = stream.next_event(deadline()).unwrap() else { panic!("no bye") };
        match event.name.as_str() {
            "bye" => break event.data,
            "live" => panic!("it was replayed to its end"),
            _ => seen += 1,
        }
    };
    assert_eq!(code, r#"{"code":"left"}"#);
    assert!(seen < 700, "{seen}");
}

#[test]
fn an_inbox_ends_with_its_session() {
    let maru = Maru::start();
    let [ann, bob] = Person::several(&maru, ["Ann", "Bob"]);
    let room = ann.room_with(&maru, &[&bob], None);
    let bobs = open_everywhere(&maru, &bob.bearer, "/api/events");
    let in_room = open_everywhere(&maru, &bob.bearer, &format!("/api/chat/{room}/events"));
    assert_eq!(bob.delete(&maru, "/api/session").status, 204);
    let since = Instant::now();
    bobs.assert_end(since, "signed_out", "behind");
    in_room.assert_end(since, "signed_out", "behind");
    assert_problem(&bob.get(&maru, "/api/events"), 401, "unauthenticated");
    assert_problem(&bob.get(&maru, "/api/chat/"), 401, "unauthenticated");
}

#[test]
fn streams_and_polls_end_when_the_session_expires() {
    const SECRET: &str = "the secret of a test that signs itself";
    let maru = Maru::with(&["--rate-limit", "off", "--secret", SECRET]);
    let [ann, bob] = Person::several(&maru, ["Ann", "Bob"]);
    let room = ann.room_with(&maru, &[&bob], None);
    let user =
        User { id: bob.id.parse::<UserId>().unwrap(), name: "Bob".parse().unwrap(), kind: UserKind::Guest };
    let expires = clock::seconds() + 4;
    let session = Session { id: 7, user, issued: clock::seconds(), expires };
    let bearer = format!("Bearer {}", Seal::new(&[SECRET.as_bytes().to_vec()]).session(&session));
    let inbox = open_everywhere(&maru, &bearer, "/api/events");
    let in_room = open_everywhere(&maru, &bearer, &format!("/api/chat/{room}/events"));
    bob.has_in_inbox(&maru, 1);
    let request = Request::new("GET", "/api/events?poll=1&since=live").header("Authorization", &bearer);
    let poll = maru.client().timeout(deadline() - Instant::now()).send(&request).unwrap();
    assert_problem(&poll, 401, "unauthenticated");
    let left = (expires + 1).saturating_sub(clock::seconds());
    let since = Instant::now() + Duration::from_secs(left);
    inbox.assert_end(since, "expired", "behind");
    in_room.assert_end(since, "expired", "behind");
    crate::harness::wait_for("it is over", || clock::seconds() > expires);
    let request = Request::new("GET", "/api/events").header("Authorization", &bearer);
    assert_problem(&maru.client().send(&request).unwrap(), 401, "unauthenticated");
}
