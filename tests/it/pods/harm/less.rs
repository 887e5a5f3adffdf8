//! Redis comes back with less than it had.

use std::time::Duration;

use loadtest::{
    checker::{Kind, Sight},
    http::Client,
    stream::Listen,
};

use crate::{
    harness::{Maru, at_length, deadline, wait_for},
    trial::{Trial, harmed},
};

#[test]
fn redis_comes_back_with_less_and_the_pods_give_it_back() {
    harmed(
        "Redis comes back with less",
        |maru, progress| {
            let older = maru.servers().redis.copy_of_data();
            progress.go_on(100);
            maru.servers_mut().redis.come_back_with(&older);
        },
        Trial::assert_all_answered_is_given_back,
    );
}

#[test]
fn redis_comes_back_with_less_while_the_archive_is_behind() {
    harmed(
        "Redis comes back with less while MariaDB is behind",
        |maru, progress| {
            let older = maru.servers().redis.copy_of_data();
            maru.servers_mut().maria().hang();
            progress.go_on_for(Duration::from_secs(2), 100);
            maru.servers_mut().redis.come_back_with(&older);
            maru.servers_mut().maria().go_on();
        },
        Trial::assert_all_answered_is_given_back,
    );
}

#[test]
fn redis_comes_back_with_nothing_and_the_pods_give_it_back() {
    harmed(
        "Redis comes back with nothing",
        |maru, _| {
            let redis = &mut maru.servers_mut().redis;
            redis.kill();
            redis.wipe();
            redis.start_again();
        },
        Trial::assert_all_answered_is_given_back,
    );
}

#[test]
fn redis_is_emptied_while_it_runs() {
    harmed(
        "Redis is emptied while it runs",
        |maru, progress| {
            // Again and again, since what is lost depends on where the writers are just then.
            for _ in 0..at_length(3) {
                maru.servers().redis.command(&["FLUSHALL"]);
                progress.go_on(100);
            }
        },
        Trial::assert_all_is_given_back,
    );
}

#[test]
fn redis_comes_back_with_less_and_the_pod_that_had_it_is_dead_too() {
    harmed(
        "two at once: Redis comes back with less, and the pod that had it is dead",
        |maru, progress| {
            let older = maru.servers().redis.copy_of_data();
            maru.servers_mut().maria().hang();
            progress.go_on_for(Duration::from_secs(2), 100);
            maru.pod(0).kill();
            maru.servers_mut().redis.come_back_with(&older);
            maru.servers_mut().maria().go_on();
            // As long as its lease runs it might come back with what it had.
            wait_for("its lease has ended", || maru.pods()[1].metric("maru_pods") == 2.0);
            maru.pod(0).restart();
        },
        |trial| {
            // Two faults at once: what was lost is lost, also between what was not; readers who had heard it go
            // back to where the old epoch ends now; and everybody is told.
            trial.assert_holds_but_for(&[Kind::Lost, Kind::Phantom, Kind::LogBroken, Kind::ResumedElsewhere]);
            assert!(trial.epochs().all(|epoch| epoch > 1), "a room goes on as if nothing were lost");
            for reader in trial.readers() {
                let gaps = reader.seen().iter().filter(|seen| matches!(seen.what, Sight::Gap { .. }));
                assert!(gaps.count() >= 1, "a reader was not told");
            }
        },
    );
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
    maru.servers_mut().redis.come_back_with(&older);
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
