//! The checker is checked: on a build that breaks a promise, it must say so.

use std::time::Duration;

use loadtest::{
    checker::{Promise, check},
    http::Request,
    stream::Listen,
};

use crate::{
    harness::{Maru, deadline, person::replayed},
    trial::{Cast, Trial},
};

/// Runs until the checker has found something, or gives up.
pub fn finds(fault: &str, kills: u64) -> Vec<Promise> {
    let cast =
        Cast { rooms: 1, speakers: 4, readers: 10, messages: 150, wanders: true, pause: Duration::ZERO };
    for _ in 0..15 {
        let trial = Trial::run(Maru::faulty(fault), &cast, |maru, progress| {
            for _ in 0..kills {
                progress.go_on(100);
                maru.kill();
                maru.restart();
            }
        });
        let violations = trial.histories().iter().flat_map(|history| check(history).violations);
        let found: Vec<_> = violations.map(|violation| violation.promise).collect();
        if !found.is_empty() {
            return found;
        }
    }
    panic!("the checker does not see {fault}");
}

#[test]
fn resuming_one_event_too_late_is_found() {
    let found = finds("ResumeOffByOne", 0);
    assert!(found.contains(&Promise::P5), "{found:?}");
}

#[test]
fn a_replay_that_is_not_joined_to_what_follows_is_found() {
    let found = finds("NoSeam", 0);
    assert!(found.contains(&Promise::P5) || found.contains(&Promise::P1), "{found:?}");
}

/// Does any pod replay a text after its deletion, from the memory that it has of the room because somebody listens?
fn gives_a_deleted_text(maru: &Maru) -> bool {
    let listening = Listen::to("/r/lobby?since=all");
    let mut listeners: Vec<_> =
        maru.doors().all().iter().map(|pod| listening.open(*pod).expect("a stream")).collect();
    let (token, _) = maru.sign_in("Ann");
    assert_eq!(maru.client_as(&token).post("/r/lobby", "text/plain", "a secret").unwrap().status, 201);
    let delete = Request::new("DELETE", "/api/chat/lobby/messages/1");
    assert_eq!(maru.client_as(&token).send(&delete).unwrap().status, 200);
    for listener in &mut listeners {
        while !listener.wait_for("message", deadline()).unwrap().data.contains(r#""type":"delete""#) {}
    }
    maru.doors().all().iter().any(|pod| {
        let events = replayed(&mut listening.open(*pod).expect("a stream"));
        assert_eq!(events.len(), 2, "{events:?}");
        events.iter().any(|(_, event)| event["text"] == "a secret")
    })
}

#[test]
fn a_deleted_text_that_is_replayed_from_memory_is_found() {
    assert!(!gives_a_deleted_text(&Maru::start()));
    assert!(gives_a_deleted_text(&Maru::faulty("NoScrub")));
}
