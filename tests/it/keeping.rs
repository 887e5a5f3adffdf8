//! What is kept: by one process at a time, for as long as is asked, and never under a place that was given before.

use loadtest::{
    http::Request,
    stream::{Listen, Next, Stream},
};
use serde_json::{Value, json};

use crate::harness::{Maru, assert_problem, deadline, wait_for};

pub fn parsed(data: &str) -> Value {
    serde_json::from_str(data).unwrap()
}

/// The events of the log and the gaps that a stream gives until it is live.
pub fn replayed(mut stream: Stream) -> Vec<(String, String)> {
    let mut seen = Vec::new();
    loop {
        match stream.next_event(deadline()).unwrap() {
            Next::Event(event) if event.name == "live" => return seen,
            Next::Event(event) if event.name != "hello" => {
                seen.push((event.name, event.id.unwrap_or_default()));
            }
            Next::Event(_) => {}
            other => panic!("{other:?} after {seen:?}"),
        }
    }
}

pub fn after(maru: &Maru, room: &str, cursor: &str) -> Vec<(String, String)> {
    replayed(Listen::to(&format!("/r/{room}")).after(cursor).open(maru.address()).unwrap())
}

pub fn messages(cursors: &[&str]) -> Vec<(String, String)> {
    cursors.iter().map(|cursor| ("message".to_owned(), (*cursor).to_owned())).collect()
}

#[test]
fn old_messages_go_and_who_is_behind_is_told() {
    let mut maru = Maru::with(&["--rate-limit", "off", "--keep", "2s"]);
    // In a room that somebody has open, and in one that nobody has.
    let mut live = maru.listen_live("/r/lobby");
    for room in ["lobby", "attic"] {
        for text in ["one", "two", "three"] {
            assert_eq!(maru.say(room, text).status, 201);
        }
    }
    let listed = |room: &str| {
        let page = maru.client().get(&format!("/api/history?room={room}")).unwrap().json();
        page["events"].as_array().unwrap().len()
    };
    wait_for("they are gone", || listed("lobby") + listed("attic") == 0);
    for room in ["lobby", "attic"] {
        for behind in ["1-0", "1-2"] {
            let mut stream = Listen::to(&format!("/r/{room}")).after(behind).open(maru.address()).unwrap();
            let hello = parsed(&stream.wait_for("hello", deadline()).unwrap().data);
            assert_eq!(hello["resumed"], false);
            let Next::Event(gap) = stream.next_event(deadline()).unwrap() else { panic!("no event") };
            assert_eq!((gap.name.as_str(), gap.id.as_deref()), ("gap", Some("1-3")), "{room} {behind}");
            assert_eq!(parsed(&gap.data), json!({"from": behind, "to": "1-3", "reason": "retention"}));
        }
        let page = maru.client().get(&format!("/r/{room}?poll=1&since=1-1")).unwrap().json();
        assert_eq!((&page["gap"]["reason"], &page["cursor"]), (&json!("retention"), &json!("1-3")));
        // Who has seen all, or asks for what there is, misses nothing.
        assert_eq!(after(&maru, room, "1-3"), []);
        assert_eq!(replayed(maru.listen(&format!("/r/{room}?since=all"))), []);
        assert_eq!(replayed(maru.listen(&format!("/r/{room}"))), []);
    }
    // A place is not given twice, also after a restart.
    assert_eq!(maru.say("lobby", "four").json()["cursor"], "1-4");
    for seq in 1..=4 {
        assert_eq!(live.wait_for("message", deadline()).unwrap().id, Some(format!("1-{seq}")));
    }
    drop(live);
    maru.kill();
    maru.restart();
    assert_eq!(maru.say("attic", "four").json()["cursor"], "1-4");
    // It cannot be changed any more.
    let (token, _) = maru.sign_in("Ann");
    let edit = Request::new("PATCH", "/api/chat/lobby/messages/1").body("new");
    assert_problem(&maru.client_as(&token).send(&edit).unwrap(), 404, "not_found");
}

#[test]
fn what_goes_during_a_replay_is_announced() {
    let maru = Maru::with(&["--rate-limit", "off", "--keep", "4s"]);
    // More than all buffers between the two ends take.
    std::thread::scope(|scope| {
        for _ in 0..8 {
            let token = maru.sign_in("Ann").0;
            let mut ann = maru.client_as(&token);
            scope.spawn(move || {
                for _ in 0..250 {
                    assert_eq!(ann.post("/r/lobby", "text/plain", "x".repeat(4000)).unwrap().status, 201);
                }
            });
        }
    });
    // Nobody reads while the messages go.
    let mut stream = maru.listen("/r/lobby?since=all");
    wait_for("they are gone", || {
        let page = maru.client().get("/api/history?room=lobby").unwrap().json();
        page["events"].as_array().unwrap().is_empty()
    });
    let last = maru.say("lobby", "last").json()["seq"].as_u64().unwrap();
    let mut at = None;
    while at != Some(last) {
        let Next::Event(event) = stream.next_event(deadline()).unwrap() else { break };
        let seq = |cursor: &str| cursor.strip_prefix("1-").unwrap().parse::<u64>().unwrap();
        match event.name.as_str() {
            "hello" => at = event.id.as_deref().map(seq),
            "message" => {
                let seq = seq(&event.id.unwrap());
                assert_eq!(Some(seq), at.map(|at| at + 1), "a silent gap");
                at = Some(seq);
            }
            "gap" => {
                let gap = parsed(&event.data);
                assert_eq!((gap["from"].as_str().map(seq), &gap["reason"]), (at, &json!("retention")));
                at = event.id.as_deref().map(seq);
            }
            _ => {}
        }
    }
    // If it was sent off instead, it comes back by its cursor and is told then.
    if at != Some(last) {
        let seen = after(&maru, "lobby", &format!("1-{}", at.unwrap()));
        assert_eq!(seen[0].0, "gap", "{seen:?}");
    }
}
