//! Pods are killed, hung and ended.

use std::time::Duration;

use rustix::process::Signal;

use super::a_while;
use crate::{
    harness::Maru,
    trial::{Progress, Trial, harmed, harmed_on},
};

#[test]
fn a_pod_is_killed_and_comes_back() {
    harmed(
        "each pod is killed and comes back",
        |maru, progress| {
            for n in 0..maru.pods().len() {
                maru.pod(n).kill();
                progress.go_on(100);
                maru.pod(n).restart();
            }
        },
        Trial::assert_holds,
    );
}

#[test]
fn a_pod_hangs() {
    harmed(
        "a pod hangs, longer than its lease",
        |maru, progress| {
            maru.pods()[0].signal(Signal::STOP);
            // Longer than its lease: the others may go on without it.
            progress.go_on_for(a_while() * 6, u64::MAX / 2);
            maru.pods()[0].signal(Signal::CONT);
        },
        Trial::assert_holds,
    );
}

/// Only Redis has what was said last.
pub fn pods_and_mariadb_are_killed(maru: &mut Maru, progress: &Progress) {
    maru.servers_mut().maria().kill();
    progress.go_on_for(Duration::from_secs(3), 300);
    maru.kill();
    maru.servers_mut().maria().start_again();
    maru.restart();
}

#[test]
fn all_pods_are_killed_while_mariadb_is_down() {
    harmed(
        "all pods and MariaDB are killed, and come back",
        pods_and_mariadb_are_killed,
        Trial::assert_holds,
    );
}

/// As a new version is put in place. The checker judges how each pod took its leave.
#[test]
fn pods_are_ended_and_begun_again_one_after_another() {
    harmed_on(
        || Maru::on_servers_of_its_own(&["--drain", "1s"], None),
        "pods are ended and begun again, one after another",
        |maru, progress| {
            for n in 0..maru.pods().len() {
                progress.end(maru.pod(n), Duration::from_secs(1));
                maru.pod(n).restart();
                progress.go_on(50);
            }
        },
        Trial::assert_nothing_is_missing,
    );
}
