//! The checker is checked: on a build that breaks a promise, it must say so.

use loadtest::checker::{Promise, check};

use crate::{
    harness::Maru,
    resume::{Run, run},
};

/// Runs until the checker has found something, or gives up.
pub fn finds(fault: &str, kills: u64) -> Vec<Promise> {
    for _ in 0..15 {
        let mut maru = Maru::faulty(fault);
        let history = run(&mut maru, &Run { readers: 10, speakers: 4, messages: 150, kills });
        let found: Vec<_> = check(&history).violations.iter().map(|violation| violation.promise).collect();
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
