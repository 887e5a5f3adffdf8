//! The inbox stream: everything that happens in one's rooms, over one connection, and exactly so.

use std::{
    thread,
    time::{Duration, Instant},
};

use loadtest::{
    http::Request,
    stream::{Next, Stream},
};
use serde_json::{Value, json};

use crate::harness::{
    Maru, Person, assert_problem, deadline,
    person::{next, next_where, replayed},
    wait_for,
};

const INBOX: &str = "/api/events";

fn seq_of(cursor: &str) -> u64 {
    cursor.split_once('-').unwrap().1.parse().unwrap()
}

/// Nothing comes for a while but, perhaps, a heartbeat, and that somebody read what they said themselves.
fn assert_quiet(stream: &mut Stream) {
    let until = Instant::now() + Duration::from_millis(400);
    while let Next::Event(event) = stream.next_event(until).unwrap() {
        assert!(matches!(event.name.as_str(), "read" | "ping"), "{event:?}");
    }
}

#[test]
fn everything_in_my_rooms_comes_over_one_stream() {
    let maru = Maru::start();
    let [ann, bob, cho] = Person::several(&maru, ["Ann", "Bob", "Cho"]);
    let mut stream = bob.listen(&maru, INBOX);
    let hello = next(&mut stream, "hello");
    assert_eq!((hello.get("room"), hello.get("online")), (None, None));
    assert_eq!((&hello["user"]["id"], &hello["resumed"]), (&json!(bob.id), &json!(false)));
    stream.wait_for("live", deadline()).unwrap();
    // A room is there when somebody makes it.
    let mut joined = |room: String| {
        let join = next(&mut stream, "message");
        assert_eq!((&join["type"], &join["room"], &join["seq"]), (&json!("join"), &json!(room), &json!(1)));
        room
    };
    let pair = joined(ann.room_with(&maru, &[&bob], None));
    let group = joined(cho.room_with(&maru, &[&bob, &ann], Some("Trip")));
    let said = ann.say(&maru, &pair, "hi");
    let event = next(&mut stream, "message");
    assert_eq!((&event["text"], &event["user"]["name"]), (&json!("hi"), &json!("Ann")));
    let message = format!("/api/chat/{pair}/messages/{said}");
    assert_eq!(ann.patch(&maru, &message, &json!({"text": "hello"})).status, 200);
    assert_eq!(ann.delete(&maru, &message).status, 200);
    let types: Vec<_> = (0..2).map(|_| next(&mut stream, "message")["type"].clone()).collect();
    assert_eq!(types, ["edit", "delete"]);
    assert_eq!(cho.delete(&maru, &format!("/api/chat/{group}/members/me")).status, 204);
    assert_eq!(next(&mut stream, "message")["type"], "leave");
    // What he says himself comes to his other devices.
    bob.say(&maru, &group, "alone");
    assert_eq!(next(&mut stream, "message")["user"]["id"], bob.id);
    // Nothing of open rooms, and nothing of other people's.
    maru.say("lobby", "hi");
    ann.room_with(&maru, &[&cho], None);
    assert_quiet(&mut stream);
    assert!(stream.faults().is_empty(), "{:?}", stream.faults());
    assert_problem(&maru.client().get(INBOX).unwrap(), 401, "unauthenticated");
    assert_problem(&maru.client().get("/api/events?poll=1").unwrap(), 401, "unauthenticated");
}

#[test]
fn an_inbox_speaks_every_format() {
    let maru = Maru::start();
    let [ann, bob] = Person::several(&maru, ["Ann", "Bob"]);
    let room = ann.room_with(&maru, &[&bob], None);
    ann.say(&maru, &room, "one");
    bob.has_in_inbox(&maru, 2);
    let polled = bob.get(&maru, "/api/events?poll=1").json();
    assert_eq!(polled["events"].as_array().unwrap().len(), 2);
    let cursor = polled["cursor"].as_str().unwrap().to_owned();
    let waiting = {
        let mut client = bob.client(&maru);
        thread::spawn(move || client.get(&format!("/api/events?poll=1&since={cursor}")).unwrap().json())
    };
    let lines = Request::new("GET", "/api/events").header("Accept", "application/x-ndjson");
    let (head, mut body) = bob.client(&maru).open(&lines).unwrap();
    assert_eq!(head.status, 200);
    maru.wait_for_metric("maru_streams", |streams| streams == 2.0);
    ann.say(&maru, &room, "two");
    let answer = waiting.join().unwrap();
    assert_eq!(answer["events"][0]["text"], "two");
    let mut seen = String::new();
    while !seen.contains("\"two\"") {
        seen.push_str(&String::from_utf8(body.read(deadline()).unwrap().unwrap()).unwrap());
    }
    let events: Vec<Value> = seen.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert_eq!((&events[0]["event"], events[0].get("room")), (&json!("hello"), None));
    let texts: Vec<_> = events.iter().filter_map(|event| event["text"].as_str()).collect();
    assert_eq!(texts, ["one", "two"]);
    // A ticket reads it too, and only that.
    let ticket = bob.post(&maru, "/api/session/ticket", &json!({"path": INBOX})).json()["ticket"].clone();
    let target = format!("{INBOX}?ticket={}", ticket.as_str().unwrap());
    maru.listen(&target).wait_for("live", deadline()).unwrap();
}

#[test]
fn a_deleted_text_is_never_given_out_again() {
    let maru = Maru::start();
    let [ann, bob] = Person::several(&maru, ["Ann", "Bob"]);
    let room = ann.room_with(&maru, &[&bob], None);
    let mut live = bob.listen_live(&maru, INBOX);
    let seq = ann.say(&maru, &room, "the secret");
    let message = format!("/api/chat/{room}/messages/{seq}");
    assert_eq!(ann.patch(&maru, &message, &json!({"text": "the secret, edited"})).status, 200);
    assert_eq!(ann.delete(&maru, &message).status, 200);
    while next(&mut live, "message")["type"] != "delete" {}
    // From the memory of a pod that has it open, and from one that has not.
    for _ in 0..4 {
        let again = replayed(&mut bob.listen(&maru, "/api/events?since=all"));
        assert_eq!(again.len(), 4);
        assert!(!format!("{again:?}").contains("secret"), "{again:?}");
        assert_eq!((&again[1].1["status"], &again[1].1["text"]), (&json!("deleted"), &json!("")));
        assert!(!bob.get(&maru, "/api/events?poll=1&since=all").text().contains("secret"));
    }
    assert!(!bob.get(&maru, "/api/chat/").text().contains("secret"));
}

#[test]
fn what_happened_in_a_room_that_one_left_is_gone() {
    let maru = Maru::start();
    let [ann, bob] = Person::several(&maru, ["Ann", "Bob"]);
    let room = ann.room_with(&maru, &[&bob], Some("Trip"));
    let other = ann.room_with(&maru, &[&bob], None);
    ann.say(&maru, &room, "the secret");
    ann.say(&maru, &other, "kept");
    let before = bob.has_in_inbox(&maru, 4);
    let mut live = bob.listen_live(&maru, INBOX);
    assert_eq!(bob.delete(&maru, &format!("/api/chat/{room}/members/me")).status, 204);
    // He hears that he left, on all devices.
    let left = next(&mut live, "message");
    assert_eq!((&left["type"], &left["user"]["id"]), (&json!("leave"), &json!(bob.id)));
    ann.say(&maru, &room, "behind his back");
    ann.say(&maru, &other, "still");
    assert_eq!(next(&mut live, "message")["text"], "still");
    for _ in 0..4 {
        let after = replayed(&mut bob.listen(&maru, "/api/events?since=all"));
        // In the same places, with nothing in them.
        assert_eq!(
            after[..4].iter().map(|(at, _)| at).collect::<Vec<_>>(),
            before.iter().map(|(at, _)| at).collect::<Vec<_>>()
        );
        let gone = after.iter().filter(|(_, event)| *event == json!({"type": "gone"})).count();
        assert!(gone >= 2, "{after:?}");
        let text = format!("{after:?}");
        assert!(!text.contains("secret") && !text.contains("behind"), "{text}");
        assert!(text.contains("kept") && text.contains("still"), "{text}");
    }
    // Added again he sees what is said from there on.
    let members = format!("/api/chat/{room}/members");
    assert_eq!(ann.post(&maru, &members, &json!({"user": bob.id})).status, 201);
    assert_eq!(next(&mut live, "message")["type"], "join");
    ann.say(&maru, &room, "welcome");
    assert_eq!(next(&mut live, "message")["text"], "welcome");
    let text = format!("{:?}", replayed(&mut bob.listen(&maru, "/api/events?since=all")));
    assert!(text.contains("welcome") && !text.contains("secret") && !text.contains("behind"), "{text}");
}

#[test]
fn an_inbox_has_the_last_1000() {
    let maru = Maru::start();
    let [ann, bob] = Person::several(&maru, ["Ann", "Bob"]);
    let room = ann.room_with(&maru, &[&bob], None);
    let first = bob.has_in_inbox(&maru, 1)[0].0.clone();
    let mut live = bob.listen_live(&maru, INBOX);
    for n in 0..1010 {
        ann.say(&maru, &room, &format!("{n}"));
    }
    next_where(&mut live, |event| event["text"] == "1009");
    let mut stream = bob.listen(&maru, &format!("{INBOX}?since={first}"));
    let gap = stream.wait_for("gap", deadline()).unwrap();
    let told: Value = serde_json::from_str(&gap.data).unwrap();
    assert_eq!((&told["from"], &told["reason"]), (&json!(first), &json!("retention")));
    let events = replayed(&mut stream);
    assert_eq!(events.len(), 1000);
    assert_eq!(events.last().unwrap().1["text"], "1009");
    assert_eq!(seq_of(&events[0].0), seq_of(gap.id.as_deref().unwrap()) + 1);
}

#[test]
fn typing_and_read_marks_reach_members_and_nobody_else() {
    let maru = Maru::start();
    let [ann, bob, eve] = Person::several(&maru, ["Ann", "Bob", "Eve"]);
    let room = ann.room_with(&maru, &[&bob], None);
    let said = ann.say(&maru, &room, "hi");
    // Eve knows them both, from elsewhere.
    eve.room_with(&maru, &[&ann, &bob], Some("Elsewhere"));
    eve.has_in_inbox(&maru, 1);
    bob.has_in_inbox(&maru, 3);
    let mut eves = eve.listen_live(&maru, INBOX);
    let mut bobs = bob.listen_live(&maru, INBOX);
    let mut anns = ann.listen_live(&maru, INBOX);
    let mut in_room = ann.listen_live(&maru, &format!("/api/chat/{room}/events"));
    maru.wait_for_metric("maru_readers", |readers| readers == 4.0);
    let typing = format!("/api/chat/{room}/typing");
    assert_eq!(bob.post(&maru, &typing, &json!({})).status, 204);
    let told = json!({"room": room, "user": bob.told()});
    assert_eq!(next(&mut anns, "typing"), told);
    assert_eq!(next(&mut in_room, "typing"), told);
    let read = bob.post(&maru, &format!("/api/chat/{room}/read"), &json!({"seq": said}));
    assert_eq!(read.json(), json!({"read": said}));
    let told = json!({"room": room, "user": bob.id, "seq": said});
    // His other devices too.
    for stream in [&mut anns, &mut in_room, &mut bobs] {
        assert_eq!(next(stream, "read"), told);
    }
    // Speaking moves the mark.
    let seq = bob.say(&maru, &room, "yes");
    let told = json!({"room": room, "user": bob.id, "seq": seq});
    for stream in [&mut anns, &mut in_room, &mut bobs] {
        assert_eq!(next(stream, "read"), told);
    }
    // A mark that does not move is not told again.
    assert_eq!(bob.post(&maru, &format!("/api/chat/{room}/read"), &json!({"seq": said})).status, 200);
    ann.say(&maru, &room, "bye");
    assert_eq!(next(&mut bobs, "read")["user"], ann.id);
    while let Next::Event(event) = eves.next_event(Instant::now() + Duration::from_millis(400)).unwrap() {
        assert_eq!(event.name, "presence", "{event:?}");
    }
}

#[test]
fn typing_is_told_in_open_rooms_and_no_more_than_every_2_s() {
    let maru = Maru::of_one(&[]);
    let [ann, bob] = Person::several(&maru, ["Ann", "Bob"]);
    let mut lobby = bob.listen_live(&maru, "/r/lobby");
    maru.wait_for_metric("maru_readers", |readers| readers == 1.0);
    let type_ = |room: &str| ann.post(&maru, &format!("/api/chat/{room}/typing"), &json!({}));
    let begun = Instant::now();
    assert_eq!(type_("lobby").status, 204);
    assert_eq!(next(&mut lobby, "typing"), json!({"room": "lobby", "user": ann.told()}));
    let limited = type_("lobby");
    assert_problem(&limited, 429, "rate_limited");
    assert_problem(&type_("attic"), 429, "rate_limited");
    wait_for("it passes", || type_("LOBBY").status == 204);
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(next(&mut lobby, "typing")["room"], "lobby");
    assert_problem(
        &maru.client().post_json("/api/chat/lobby/typing", &json!({})).unwrap(),
        401,
        "unauthenticated",
    );
}

#[test]
fn contacts_are_told_once_who_is_online_over_tabs_and_pods() {
    let maru = Maru::start();
    let [ann, bob, eve] = Person::several(&maru, ["Ann", "Bob", "Eve"]);
    let room = ann.room_with(&maru, &[&bob], None);
    let mut anns = ann.listen_live(&maru, INBOX);
    let mut eves = eve.listen_live(&maru, INBOX);
    maru.wait_for_metric("maru_readers", |readers| readers == 2.0);
    let tabs: Vec<_> = (0..4).map(|_| bob.listen_live(&maru, INBOX)).collect();
    assert_eq!(next(&mut anns, "presence"), json!({"joined": [bob.told()], "left": []}));
    let streams = |count: f64| maru.wait_for_metric("maru_streams", |streams| streams == count);
    streams(6.0);
    // Back within the grace is not away.
    drop(tabs);
    streams(2.0);
    let back = bob.listen_live(&maru, INBOX);
    streams(3.0);
    ann.say(&maru, &room, "hi");
    next_where(&mut anns, |event| event["text"] == "hi");
    assert_quiet(&mut anns);
    let gone = Instant::now();
    drop(back);
    assert_eq!(next(&mut anns, "presence"), json!({"joined": [], "left": [bob.told()]}));
    let after = gone.elapsed().as_secs_f64();
    assert!((9.9..20.0).contains(&after), "after {after} s");
    let again = bob.listen_live(&maru, INBOX);
    assert_eq!(next(&mut anns, "presence"), json!({"joined": [bob.told()], "left": []}));
    assert_quiet(&mut anns);
    assert_quiet(&mut eves);
    drop(again);
}
