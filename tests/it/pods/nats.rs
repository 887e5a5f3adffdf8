//! NATS killed and hung. Only where there is NATS.

use std::{thread, time::Duration};

use super::harm::a_while;
use crate::{
    harness::Maru,
    trial::{Trial, harmed},
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
