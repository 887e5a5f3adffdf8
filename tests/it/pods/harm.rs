//! What is done to pods and servers while people speak and listen, and what must be true after it.

use std::{thread, time::Duration};

use loadtest::{checker::Kind, http::Client, stream::Listen};

use super::trial::{Cast, Progress, Trial};
use crate::harness::{Maru, at_length, deadline, wait_for};

/// How long a server hangs.
pub fn a_while() -> Duration {
    Duration::from_secs(if std::env::var_os("MARU_TEST_LONG").is_some() { 10 } else { 2 })
}

/// Something is done after a hundred messages, and three hundred more are said after it.
pub fn harmed(harm: impl FnOnce(&mut Maru, &Progress)) -> Trial {
    Trial::run(Maru::on_servers_of_its_own(&[], None), &Cast::SMALL, |maru, progress| {
        progress.go_on(100);
        harm(maru, progress);
        progress.go_on(300);
    })
}

#[test]
fn a_pod_is_killed_and_comes_back() {
    let trial = harmed(|maru, progress| {
        for n in 0..maru.pods().len() {
            maru.pod(n).kill();
            progress.go_on(100);
            maru.pod(n).restart();
        }
    });
    trial.assert_holds();
}

#[test]
fn redis_is_stopped_and_comes_back_with_all_it_had() {
    let trial = harmed(|maru, _| {
        maru.servers_mut().redis.stop();
        maru.servers_mut().redis.start_again();
    });
    trial.assert_holds();
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
    let trial = harmed(|maru, _| {
        maru.servers_mut().redis.kill();
        maru.servers_mut().redis.start_again();
    });
    trial.assert_holds();
}

#[test]
fn subscriptions_are_cut() {
    let trial = harmed(|maru, progress| {
        for _ in 0..5 {
            maru.servers().redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
            progress.go_on(50);
        }
    });
    trial.assert_holds();
    trial.assert_no_gaps();
}

#[test]
fn every_connection_to_redis_is_cut() {
    let trial = harmed(|maru, progress| {
        for _ in 0..5 {
            for kind in ["pubsub", "normal"] {
                maru.servers().redis.command(&["CLIENT", "KILL", "TYPE", kind]);
            }
            progress.go_on(50);
        }
    });
    trial.assert_holds();
}

#[test]
fn scripts_are_forgotten() {
    let trial = harmed(|maru, progress| {
        for _ in 0..5 {
            maru.servers().redis.command(&["SCRIPT", "FLUSH"]);
            progress.go_on(50);
        }
    });
    trial.assert_holds();
    trial.assert_no_gaps();
}

#[test]
fn redis_hangs() {
    let trial = harmed(|maru, _| {
        maru.servers().redis.hang();
        thread::sleep(a_while());
        maru.servers().redis.go_on();
    });
    trial.assert_holds();
}

#[test]
fn mariadb_hangs() {
    let trial = harmed(|maru, progress| {
        maru.servers_mut().maria().hang();
        progress.go_on_for(a_while(), u64::MAX / 2);
        maru.servers_mut().maria().go_on();
    });
    trial.assert_holds();
    trial.assert_no_gaps();
}

#[test]
fn a_pod_hangs() {
    let trial = harmed(|maru, progress| {
        maru.pods()[0].signal(rustix::process::Signal::STOP);
        // Longer than its lease: the others may go on without it.
        progress.go_on_for(a_while() * 6, u64::MAX / 2);
        maru.pods()[0].signal(rustix::process::Signal::CONT);
    });
    trial.assert_holds();
}

#[test]
fn mariadb_is_killed_and_comes_back() {
    let trial = harmed(|maru, progress| {
        maru.servers_mut().maria().kill();
        // Speaking goes on without it: Redis buffers.
        progress.go_on(200);
        maru.servers_mut().maria().start_again();
    });
    trial.assert_holds();
    trial.assert_no_gaps();
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
    harmed(pods_and_mariadb_are_killed).assert_holds();
}

#[test]
fn redis_comes_back_with_less_and_the_pods_give_it_back() {
    let trial = harmed(|maru, progress| {
        let older = maru.servers().redis.copy_of_data();
        progress.go_on(100);
        let redis = &mut maru.servers_mut().redis;
        redis.kill();
        redis.put_back(&older);
        redis.start_again();
    });
    trial.assert_holds();
    assert_epoch(&trial, |epoch| epoch == 1);
}

#[test]
fn redis_comes_back_with_less_while_the_archive_is_behind() {
    let trial = harmed(|maru, progress| {
        let older = maru.servers().redis.copy_of_data();
        maru.servers_mut().maria().hang();
        progress.go_on_for(Duration::from_secs(2), 100);
        let redis = &mut maru.servers_mut().redis;
        redis.kill();
        redis.put_back(&older);
        redis.start_again();
        maru.servers_mut().maria().go_on();
    });
    trial.assert_holds();
    assert_epoch(&trial, |epoch| epoch == 1);
}

#[test]
fn redis_comes_back_with_nothing_and_the_pods_give_it_back() {
    let trial = harmed(|maru, _| {
        let redis = &mut maru.servers_mut().redis;
        redis.kill();
        redis.wipe();
        redis.start_again();
    });
    trial.assert_holds();
    assert_epoch(&trial, |epoch| epoch == 1);
}

#[test]
fn redis_is_emptied_while_it_runs() {
    let trial = harmed(|maru, progress| {
        // Again and again, since what is lost depends on where the writers are just then.
        for _ in 0..at_length(3) {
            maru.servers().redis.command(&["FLUSHALL"]);
            progress.go_on(100);
        }
    });
    trial.assert_holds();
    assert_epoch(&trial, |epoch| epoch == 1);
}

#[test]
fn redis_comes_back_with_less_and_the_pod_that_had_it_is_dead_too() {
    let trial = harmed(|maru, progress| {
        let older = maru.servers().redis.copy_of_data();
        maru.servers_mut().maria().hang();
        progress.go_on_for(Duration::from_secs(2), 100);
        maru.pod(0).kill();
        let redis = &mut maru.servers_mut().redis;
        redis.kill();
        redis.put_back(&older);
        redis.start_again();
        maru.servers_mut().maria().go_on();
        // As long as its lease runs it might come back with what it had.
        wait_for("its lease has ended", || maru.pods()[1].metric("maru_pods") == 2.0);
        maru.pod(0).restart();
    });
    // Two faults at once: what was lost is lost, also between what was not; readers who had heard it go back to where
    // the old epoch ends now; and everybody is told.
    trial.assert_holds_but_for(&[Kind::Lost, Kind::Phantom, Kind::LogBroken, Kind::ResumedElsewhere]);
    assert_epoch(&trial, |epoch| epoch > 1);
    for reader in trial.readers() {
        let gaps =
            reader.seen().iter().filter(|seen| matches!(seen.what, loadtest::checker::Sight::Gap { .. }));
        assert!(gaps.count() >= 1, "a reader was not told");
    }
}

#[test]
fn what_only_a_dead_pod_and_a_lost_redis_had_is_announced() {
    let mut maru = Maru::on_servers_of_its_own(&[], None);
    for n in 1..=3 {
        assert_eq!(maru.say("lobby", &format!("{n}")).json()["cursor"], format!("1-{n}"));
    }
    wait_for("it is stored", || maru.servers().outboxes() == 0);
    let mut heard = Listen::to("/r/lobby?since=all").open(maru.pods()[1].address()).unwrap();
    let older = maru.servers().redis.copy_of_data();
    maru.servers_mut().maria().hang();
    let lost = Client::new(maru.pods()[0].address()).post("/r/lobby", "text/plain", "lost").unwrap().json();
    assert_eq!(lost["cursor"], "1-4");
    while heard.wait_for("message", deadline()).unwrap().id != Some("1-4".into()) {}
    maru.pod(0).kill();
    let redis = &mut maru.servers_mut().redis;
    redis.kill();
    redis.put_back(&older);
    redis.start_again();
    maru.servers_mut().maria().go_on();
    let mut next = None;
    wait_for("it goes on", || {
        let answer = Client::new(maru.pods()[2].address()).post("/r/lobby", "text/plain", "next");
        next = answer.ok().filter(|answer| answer.status == 201).map(|answer| answer.json());
        next.is_some()
    });
    let next = next.unwrap();
    assert_eq!(next["epoch"], 2, "{next}");
    // Who listened all the time, and who comes back with what is lost or with what is kept.
    let gap = heard.wait_for("gap", deadline()).unwrap();
    assert!(gap.data.contains(r#""reason":"epoch""#), "{}", gap.data);
    assert_eq!(heard.wait_for("message", deadline()).unwrap().id.as_deref(), next["cursor"].as_str());
    for cursor in ["1-4", "1-3", "1-1"] {
        for pod in &maru.pods()[1..] {
            let mut stream = Listen::to("/r/lobby").after(cursor).open(pod.address()).unwrap();
            stream.wait_for("gap", deadline()).unwrap();
            assert_eq!(
                stream.wait_for("message", deadline()).unwrap().id.as_deref(),
                next["cursor"].as_str()
            );
        }
    }
}

fn assert_epoch(trial: &Trial, is_right: impl Fn(u64) -> bool) {
    for history in trial.histories() {
        let epoch = history.end.as_ref().and_then(|end| end.last()).unwrap().cursor.epoch;
        assert!(is_right(epoch), "{} ends in epoch {epoch}", history.room);
    }
}
