//! The trials are tried: on a build that breaks a promise, they must complain.

use std::time::Duration;

use super::harm::pods::pods_and_mariadb_are_killed;
use crate::{
    harness::Maru,
    trial::{Cast, Progress, Trial},
};

/// Runs until a complaint of this kind is found, or gives up.
fn is_found(fault: &str, sign: &str, harm: impl Fn(&mut Maru, &Progress)) {
    for _ in 0..3 {
        let maru = Maru::on_servers_of_its_own(&[], Some(fault));
        let trial = Trial::run(maru, &Cast::SMALL, |maru, progress| {
            progress.go_on(100);
            harm(maru, progress);
            progress.go_on(100);
        });
        if trial.complaints(&[]).iter().any(|complaint| complaint.contains(sign)) {
            return;
        }
    }
    panic!("nobody sees {fault}");
}

#[test]
fn a_lost_message_that_nobody_repairs_is_found() {
    is_found("NoRepair", "(Hole)", |maru, progress| {
        for _ in 0..5 {
            maru.servers().redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
            if let Some(nats) = &mut maru.servers_mut().nats {
                nats.kill();
                nats.start_again();
            }
            progress.go_on(30);
        }
    });
}

#[test]
fn trimming_before_the_archive_has_it_is_found() {
    is_found("BlindTrimming", "the table of", pods_and_mariadb_are_killed);
}

#[test]
fn not_giving_back_what_redis_lost_is_found() {
    is_found("NoFence", "P2 broken", |maru, progress| {
        let older = maru.servers().redis.copy_of_data();
        maru.servers_mut().maria().hang();
        // More than the writers have in memory, which they store in any case.
        progress.go_on_for(Duration::from_secs(2), 2000);
        let redis = &mut maru.servers_mut().redis;
        redis.kill();
        redis.put_back(&older);
        redis.start_again();
        maru.servers_mut().maria().go_on();
    });
}
