//! NATS killed and hung, and one that has no patience. Only where there is NATS.

mod ways;

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use loadtest::stream::Listen;
use rustix::process::Signal;

use super::harm::a_while;
use crate::{
    harness::{Maru, Servers, stage, wait_for},
    trial::{Trial, harmed, harmed_on},
};

fn nats(maru: &mut Maru) -> &mut testbed::Nats {
    maru.servers_mut().nats.as_mut().expect("these tests are for MARU_TEST_ON=nats")
}

#[test]
fn nats_is_killed_and_comes_back() {
    harmed(
        "NATS is killed and comes back",
        |maru, progress| {
            for _ in 0..2 {
                nats(maru).kill();
                progress.go_on_for(Duration::from_secs(1), 50);
                nats(maru).start_again();
                progress.go_on(50);
            }
        },
        Trial::assert_nothing_is_missing,
    );
}

#[test]
fn nats_hangs() {
    harmed(
        "NATS hangs",
        |maru, _| {
            nats(maru).hang();
            thread::sleep(a_while());
            nats(maru).go_on();
        },
        Trial::assert_nothing_is_missing,
    );
}

/// A server lets go of a client that does not take what it is sent: here a pod that hangs while much is said.
#[test]
fn nats_cuts_off_a_pod_that_does_not_keep_up() {
    const IMPATIENT: &str = "max_payload: 65536, max_pending: 131072, write_deadline: \"200ms\"";
    harmed_on(
        || Maru::on(Servers::with_nats(stage(), IMPATIENT), &[]),
        "NATS cuts off a pod that does not keep up",
        |maru, _| {
            let slow = &maru.pods()[0];
            let reader = Listen::to("/r/loud").open(slow.address()).expect("a stream");
            slow.signal(Signal::STOP);
            let is_cut = AtomicBool::new(false);
            thread::scope(|scope| {
                for pod in &maru.pods()[1..] {
                    let is_cut = &is_cut;
                    scope.spawn(move || {
                        let mut client = pod.client();
                        while !is_cut.load(Ordering::Relaxed) {
                            client.post("/r/loud", "text/plain", "x".repeat(4000)).expect("an answer");
                        }
                    });
                }
                wait_for("it is cut off", || {
                    let log = maru.servers().nats.as_ref().expect("there is one").log();
                    is_cut.store(log.contains("Slow Consumer"), Ordering::Relaxed);
                    is_cut.load(Ordering::Relaxed)
                });
            });
            slow.signal(Signal::CONT);
            drop(reader);
        },
        Trial::assert_nothing_is_missing,
    );
}
