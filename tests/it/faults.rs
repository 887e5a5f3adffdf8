//! The checker is checked: on a build that breaks a promise, it must say so.

use std::time::Duration;

use loadtest::checker::{Promise, check};

use crate::{
    harness::Maru,
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
