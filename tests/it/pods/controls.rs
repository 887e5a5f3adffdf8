//! The trials are tried: on a build that breaks a promise, they must complain.

use std::time::Duration;

use loadtest::http::Request;
use rustix::process::Signal;
use serde_json::json;

use super::harm::pods::pods_and_mariadb_are_killed;
use crate::{
    harness::{Maru, Pod, wait_for},
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
        maru.servers_mut().redis.come_back_with(&older);
        maru.servers_mut().maria().go_on();
    });
}

/// Somebody is shut out while a pod is cut off. Once that pod has asked again, does it know?
fn a_pod_that_was_cut_off_knows_of_a_ban(fault: Option<&str>) -> bool {
    const ADMIN: &str = "the operator's token";
    let mut maru = Maru::on_servers_of_its_own(&["--admin-token", ADMIN], fault);
    let as_admin = |pod: &Pod| pod.client().header("Authorization", &format!("Bearer {ADMIN}"));
    let (token, ann) = maru.sign_in("Ann");
    let says = |pod: &Pod| {
        let client = pod.client().header("Authorization", &format!("Bearer {token}"));
        let answer = { client }.post("/r/lobby", "text/plain", "x").unwrap();
        assert!(matches!(answer.status, 201 | 403), "{}", answer.text());
        answer.status == 201
    };
    assert!(maru.pods().iter().all(says));

    maru.pods()[0].signal(Signal::STOP);
    let ban = json!({"user": ann["id"], "seconds": 600});
    let answer = as_admin(&maru.pods()[1]).post_json("/api/chat/lobby/bans", &ban).unwrap();
    assert_eq!(answer.status, 201, "{}", answer.text());
    wait_for("the others know", || !maru.pods()[1..].iter().any(says));
    maru.servers_mut().maria().kill();
    maru.pods()[0].signal(Signal::CONT);
    // Who lets somebody in asks first who is shut out: here somebody who is not.
    let nobody = Request::new("DELETE", "/api/chat/lobby/bans/00000000-0000-4000-8000-000000000000");
    let asks = |maru: &Maru| as_admin(&maru.pods()[0]).send(&nobody).unwrap().status;
    wait_for("it asks in vain", || asks(&maru) == 503);
    maru.servers_mut().maria().start_again();
    wait_for("it has asked", || asks(&maru) == 204);
    !says(&maru.pods()[0])
}

#[test]
fn a_ban_that_a_pod_missed_while_it_was_cut_off_is_found() {
    assert!(a_pod_that_was_cut_off_knows_of_a_ban(None));
    assert!(!a_pod_that_was_cut_off_knows_of_a_ban(Some("MissedBans")));
}
