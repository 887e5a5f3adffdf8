//! The checker is checked: on a build that breaks a promise, it must say so.

use loadtest::checker::{Promise, check};

use crate::{
    harness::Pod,
    resume::{Run, run},
};

/// Runs until the checker has found something, or gives up.
fn finds(fault: &str, kills: u64) -> Vec<Promise> {
    for _ in 0..5 {
        let mut pod = Pod::faulty(fault);
        let history = run(&mut pod, &Run { readers: 10, speakers: 4, messages: 150, kills });
        let found: Vec<_> = check(&history).violations.iter().map(|violation| violation.promise).collect();
        if !found.is_empty() {
            return found;
        }
    }
    panic!("the checker does not see {fault}");
}

#[test]
fn answering_before_the_commit_is_found() {
    let found = finds("AnswerBeforeCommit", 2);
    assert!(found.contains(&Promise::P2), "{found:?}");
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
