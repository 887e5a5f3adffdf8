//! Pods behind proxies, each with the configuration that `deploy/` has for it.

use std::time::Duration;

use loadtest::checker::{End, Outcome, Sight};
use testbed::front::{Front, Kind};

use crate::{
    harness::{Maru, Pod},
    trial::{Cast, Trial},
};

/// How long a pod takes leave of its readers here.
const DRAIN: Duration = Duration::from_secs(2);

/// All pods are ended and begun again, one after another, while people speak and listen through the proxy.
fn is_not_noticed(kind: Kind) {
    let maru = Maru::on_servers_of_its_own(&["--drain", "2s"], None);
    let pods: Vec<_> = maru.pods().iter().map(Pod::address).collect();
    let front = Front::start(kind, &pods, &[]);
    let cast = Cast { wanders: false, readers: 12, ..Cast::SMALL };
    let trial = Trial::run(maru.reached_at(vec![front.address()]), &cast, |maru, progress| {
        for n in 0..pods.len() {
            progress.go_on(100);
            progress.end(maru.pod(n), DRAIN);
            maru.pod(n).restart();
        }
        progress.go_on(200);
    });
    trial.assert_nothing_is_missing();
    for attempt in trial.histories().iter().flat_map(|history| &history.attempts) {
        let is_answered = matches!(attempt.outcome, Outcome::Acknowledged(_));
        assert!(is_answered, "{kind:?} refused somebody: {attempt:?}");
    }
    let ends =
        trial.readers().flat_map(loadtest::checker::ReaderLog::seen).filter_map(|seen| match &seen.what {
            Sight::Ended(end) => Some(end),
            _ => None,
        });
    let ends: Vec<_> = ends.collect();
    assert!(ends.iter().filter(|end| ***end == End::Ended).count() >= 12, "nobody was sent off: {ends:?}");
    assert!(!ends.iter().any(|end| matches!(end, End::Broken(_))), "{kind:?} cut somebody off: {ends:?}");
}

#[test]
fn nobody_behind_nginx_notices_that_pods_are_restarted() {
    is_not_noticed(Kind::Nginx);
}

#[test]
fn nobody_behind_haproxy_notices_that_pods_are_restarted() {
    is_not_noticed(Kind::Haproxy);
}

#[test]
fn nobody_behind_caddy_notices_that_pods_are_restarted() {
    is_not_noticed(Kind::Caddy);
}
