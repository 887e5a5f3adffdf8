//! Networks that fail between one pod and the servers: the others go on, it says so, and agrees again when it is healed.

use std::time::{Duration, Instant};

use loadtest::{http::Client, stream::Listen};
use testbed::{Fault, Way, Whom};

use crate::{
    harness::{Maru, Pod, Server, To, Ways, at_length, deadline, wait_for},
    trial::{Progress, Trial, harmed_on},
};

/// How soon a pod that hears nothing of a server takes it for gone: 5 s, and what it takes to try again.
const NOTICED: Duration = Duration::from_secs(8);
/// What is to be well again so soon after a fault (P10).
const HEALED: Duration = Duration::from_secs(5);

fn say(pod: &Pod, text: &str) -> Option<u16> {
    let answer =
        Client::new(pod.address()).timeout(Duration::from_secs(15)).post("/r/room0", "text/plain", text);
    let answer = answer.ok()?;
    if answer.status != 201 {
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert!(answer.headers.get("retry-after").is_some(), "{}", answer.text());
        let code = answer.json()["code"].as_str().map(str::to_owned);
        assert!(matches!(code.as_deref(), Some("store_unavailable" | "outcome_unknown")), "{code:?}");
    }
    Some(answer.status)
}

/// The pod refuses, in time, while the others go on.
pub fn is_refused(maru: &Maru, progress: &Progress) {
    let since = Instant::now();
    wait_for("the pod refuses", || say(&maru.pods()[0], "refused") == Some(503));
    assert!(since.elapsed() < NOTICED, "it took {:?}", since.elapsed());
    let before = progress.acknowledged();
    wait_for("the others go on", || progress.acknowledged() > before + 20);
}

/// The pod takes messages again, in time, and who listened to it all the while hears them.
pub fn is_healed(maru: &Maru, reader: &mut loadtest::stream::Stream) {
    let since = Instant::now();
    let mut n = 0;
    wait_for("the pod takes messages", || {
        n += 1;
        say(&maru.pods()[0], &format!("healed {n}")) == Some(201)
    });
    assert!(since.elapsed() < HEALED, "it took {:?}", since.elapsed());
    let last = format!("healed {n}");
    while !reader.wait_for("message", deadline()).expect("it goes on").data.contains(&last) {}
    assert!(since.elapsed() < HEALED * 2, "it was heard after {:?}", since.elapsed());
}

/// One who listens to the pod that is cut off, all the time.
pub fn reader(maru: &Maru) -> loadtest::stream::Stream {
    Listen::to("/r/room0?since=live").open(maru.pods()[0].address()).expect("a stream")
}

fn harmed_on_the_way(fault: &str, harm: impl Fn(&Ways, &mut Maru, &Progress), judge: impl Fn(&Trial)) {
    let ways = Ways::default();
    let harm = |maru: &mut Maru, progress: &Progress| {
        harm(&ways, maru, progress);
        ways.heal();
    };
    harmed_on(|| ways.to_servers(), fault, harm, judge);
}

#[test]
fn a_pod_that_hears_nothing_of_redis_says_so_and_comes_back() {
    harmed_on_the_way(
        "Redis falls silent for one pod",
        |ways, maru, progress| {
            let lanes = [Way::Both, Way::Down, Way::Up];
            let first = progress.any(0..3) as usize;
            for n in 0..at_length(1) as usize {
                let mut reader = reader(maru);
                ways.to(To::Server(0, Server::Redis)).harm(Whom::All, Fault::Silence(lanes[(first + n) % 3]));
                is_refused(maru, progress);
                ways.heal();
                is_healed(maru, &mut reader);
            }
        },
        Trial::assert_holds,
    );
}

#[test]
fn a_pod_that_hears_nothing_of_mariadb_goes_on() {
    harmed_on_the_way(
        "MariaDB falls silent for one pod",
        |ways, maru, progress| {
            let mut reader = reader(maru);
            let lane = [Way::Both, Way::Down, Way::Up][progress.any(0..3) as usize];
            ways.to(To::Server(0, Server::Maria)).harm(Whom::All, Fault::Silence(lane));
            progress.go_on_for(Duration::from_secs(at_length(3)), u64::MAX);
            ways.heal();
            is_healed(maru, &mut reader);
        },
        |trial| {
            trial.assert_holds();
            trial.assert_no_gaps();
        },
    );
}

#[test]
fn bytes_of_servers_come_few_at_a_time() {
    harmed_on_the_way(
        "servers and pods are sent few bytes at a time",
        |ways, _, progress| {
            for n in 0..ways.count() {
                let bytes = progress.any(1..9) as usize;
                ways.nth(n).harm(Whom::All, Fault::Slices(Way::Both, bytes));
            }
            progress.go_on(at_length(100));
        },
        |trial| {
            trial.assert_holds();
            trial.assert_no_gaps();
        },
    );
}

#[test]
fn connections_to_servers_are_reset_at_any_byte() {
    harmed_on_the_way(
        "pods are cut off from servers by resets",
        |ways, _, progress| {
            for _ in 0..at_length(20) {
                let way = ways.nth(progress.any(0..ways.count()));
                let nth = progress.any(0..20) as usize;
                match progress.any(0..4) {
                    0 => way.harm(Whom::There, Fault::Reset),
                    1 => way.harm_one(nth, Fault::HalfClose(Way::Down)),
                    _ => way.harm_one(nth, Fault::ResetAfter(progress.any(0..5000))),
                }
                drop(way);
                progress.go_on(20);
            }
        },
        Trial::assert_holds,
    );
}
