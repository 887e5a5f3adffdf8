//! Redis is killed, hung and cut off, and comes back with all it had.

use std::{thread, time::Duration};

use loadtest::http::Client;
use testbed::Aof;

use super::a_while;
use crate::{
    harness::{Maru, Servers, assert_problem, stage, wait_for},
    trial::{Trial, harmed, harmed_on},
};

#[test]
fn redis_is_stopped_and_comes_back_with_all_it_had() {
    harmed(
        "Redis is stopped and comes back",
        |maru, _| {
            maru.servers_mut().redis.stop();
            maru.servers_mut().redis.start_again();
        },
        Trial::assert_holds,
    );
}

/// A connection that nothing is sent on does not notice that the server has gone.
#[test]
fn a_pod_that_was_idle_while_redis_was_restarted_takes_messages() {
    let mut maru = Maru::on_servers_of_its_own(&[], None);
    let speak = |maru: &Maru, n: usize| {
        let answer = Client::new(maru.pods()[n].address()).post("/r/lobby", "text/plain", "hello");
        answer.is_ok_and(|answer| answer.status == 201)
    };
    for n in 0..maru.pods().len() {
        assert!(speak(&maru, n));
    }
    wait_for("it is stored", || maru.servers().outboxes() == 0);
    let before = maru.metric("maru_fences_total");
    maru.servers_mut().redis.stop();
    maru.servers_mut().redis.start_again();
    maru.wait_for_metric("maru_fences_total", |fences| fences > before);
    // By now all pods have taken it up, and nobody has spoken.
    thread::sleep(Duration::from_secs(3));
    for n in 0..maru.pods().len() {
        wait_for("the pod takes messages", || speak(&maru, n));
    }
}

#[test]
fn redis_is_killed_and_comes_back_with_all_it_answered_for() {
    harmed(
        "Redis is killed and comes back with all it answered for",
        |maru, _| {
            maru.servers_mut().redis.kill();
            maru.servers_mut().redis.start_again();
        },
        Trial::assert_holds,
    );
}

/// It had written down most, or nothing: what is missing is in the pods.
#[test]
fn redis_is_killed_and_comes_back_with_what_it_wrote_each_second() {
    harmed_on(
        || Maru::on(Servers::with_aof(stage(), Aof::EverySecond), &[]),
        "Redis is killed and comes back with what it wrote each second",
        |maru, _| {
            maru.servers_mut().redis.kill();
            maru.servers_mut().redis.start_again();
        },
        Trial::assert_all_answered_is_given_back,
    );
}

#[test]
fn a_redis_that_writes_nothing_down_is_killed_and_comes_back() {
    harmed_on(
        || Maru::on(Servers::with_aof(stage(), Aof::Off), &[]),
        "a Redis that writes nothing down is killed and comes back",
        |maru, progress| {
            for _ in 0..2 {
                maru.servers_mut().redis.kill();
                maru.servers_mut().redis.start_again();
                progress.go_on(100);
            }
        },
        Trial::assert_all_answered_is_given_back,
    );
}

#[test]
fn subscriptions_are_cut() {
    harmed(
        "subscriptions to Redis are cut",
        |maru, progress| {
            for _ in 0..5 {
                maru.servers().redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
                progress.go_on(50);
            }
        },
        Trial::assert_nothing_is_missing,
    );
}

#[test]
fn every_connection_to_redis_is_cut() {
    harmed(
        "every connection to Redis is cut",
        |maru, progress| {
            for _ in 0..5 {
                for kind in ["pubsub", "normal"] {
                    maru.servers().redis.command(&["CLIENT", "KILL", "TYPE", kind]);
                }
                progress.go_on(50);
            }
        },
        Trial::assert_holds,
    );
}

#[test]
fn scripts_are_forgotten() {
    harmed(
        "Redis forgets the scripts",
        |maru, progress| {
            for _ in 0..5 {
                maru.servers().redis.command(&["SCRIPT", "FLUSH"]);
                progress.go_on(50);
            }
        },
        Trial::assert_nothing_is_missing,
    );
}

#[test]
fn redis_hangs() {
    harmed(
        "Redis hangs",
        |maru, _| {
            maru.servers().redis.hang();
            thread::sleep(a_while());
            maru.servers().redis.go_on();
        },
        Trial::assert_holds,
    );
}

/// Redis has so many bytes left, and then none: waits until every pod says so, and takes nothing more.
fn fill(maru: &Maru, left: u64) {
    let memory = maru.servers().redis.command(&["INFO", "memory"]);
    let used = memory.lines().find_map(|line| line.strip_prefix("used_memory:")).expect("a number");
    let most = used.trim().parse::<u64>().expect("a number") + left;
    maru.servers().redis.command(&["CONFIG", "SET", "maxmemory", &most.to_string()]);
    for pod in maru.pods() {
        wait_for("the pod refuses", || {
            let answer = pod.client().post("/r/full", "text/plain", "x".repeat(4000)).expect("an answer");
            match answer.status {
                201 => false,
                _ => {
                    assert_problem(&answer, 503, "store_unavailable");
                    true
                }
            }
        });
    }
}

#[test]
fn redis_is_full_until_it_is_given_more() {
    harmed(
        "Redis is full until it is given more",
        |maru, _| {
            fill(maru, 0);
            thread::sleep(a_while());
            maru.servers().redis.command(&["CONFIG", "SET", "maxmemory", "0"]);
        },
        Trial::assert_nothing_is_missing,
    );
}

/// It is full of what MariaDB lacks, and nobody gives it more: what is archived makes room.
#[test]
fn redis_is_full_while_mariadb_is_away() {
    harmed(
        "Redis is full while MariaDB is away",
        |maru, _| {
            maru.servers_mut().maria().kill();
            fill(maru, 4 << 20);
            maru.servers_mut().maria().start_again();
        },
        Trial::assert_nothing_is_missing,
    );
}
