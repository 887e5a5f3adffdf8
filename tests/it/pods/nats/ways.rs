//! A network that fails between one pod and NATS. What it does not hear it finds in the log, and others find what it
//! cannot say.

use std::time::Duration;

use testbed::{Fault, Way, Whom};

use crate::{
    harness::{Maru, Server, To, Ways, at_length},
    pods::ways::{is_healed, reader},
    trial::{Progress, harmed_on},
};

#[test]
fn a_pod_that_hears_nothing_of_nats_is_repaired_from_the_log() {
    let ways = Ways::default();
    let harm = |maru: &mut Maru, progress: &Progress| {
        for _ in 0..at_length(1) {
            let mut reader = reader(maru);
            let lane = [Way::Both, Way::Down, Way::Up][progress.any(0..3) as usize];
            ways.to(To::Server(0, Server::Nats)).harm(Whom::All, Fault::Silence(lane));
            // Before anything is healed.
            is_healed(maru, &mut reader);
            progress.go_on_for(Duration::from_secs(2), u64::MAX);
            ways.heal();
            is_healed(maru, &mut reader);
        }
    };
    harmed_on(
        || ways.to_servers(),
        "NATS falls silent for one pod",
        harm,
        |trial| {
            trial.assert_holds();
            trial.assert_no_gaps();
        },
    );
}
