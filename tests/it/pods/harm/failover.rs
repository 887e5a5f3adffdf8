//! Another Redis takes the place of the one that is gone.

use crate::{
    harness::{Maru, Servers, stage, wait_for},
    trial::{Progress, Trial, harmed_on},
};

fn with_failover() -> Maru {
    Maru::on(Servers::with_failover(stage()), &[])
}

/// The master is killed; when this returns, its replica is the master and it is the replica.
fn master_is_killed(maru: &mut Maru) {
    let servers = maru.servers_mut();
    servers.redis.kill();
    let failover = servers.failover.as_mut().expect("it was started with one");
    wait_for("the replica is the master", || failover.replica.is_master());
    std::mem::swap(&mut servers.redis, &mut failover.replica);
    failover.replica.follow(&servers.redis);
    failover.replica.start_again();
    wait_for("the old master has followed", || failover.replica.has_caught_up());
}

#[test]
fn redis_is_killed_and_its_replica_takes_its_place() {
    harmed_on(
        with_failover,
        "Redis is killed and Sentinel puts a replica in its place, twice",
        |maru, progress| {
            for _ in 0..2 {
                master_is_killed(maru);
                progress.go_on(100);
            }
        },
        Trial::assert_all_is_given_back,
    );
}

/// The replica is cut off from its master while more is said: it lacks the tail.
fn replica_falls_behind(maru: &Maru, progress: &Progress) {
    let servers = maru.servers();
    let failover = servers.failover.as_ref().expect("it was started with one");
    failover.replica.hang();
    // What is on the way to it already would be read when it goes on.
    servers.redis.command(&["CLIENT", "KILL", "TYPE", "replica"]);
    progress.go_on(60);
}

#[test]
fn redis_is_killed_and_a_replica_that_lacks_the_tail_takes_its_place() {
    harmed_on(
        with_failover,
        "Redis is killed and Sentinel puts a replica in its place that lacks the tail",
        |maru, progress| {
            replica_falls_behind(maru, progress);
            maru.servers_mut().redis.hang();
            let failover = maru.servers().failover.as_ref().expect("it was started with one");
            failover.replica.go_on();
            master_is_killed(maru);
        },
        Trial::assert_all_answered_is_given_back,
    );
}
