//! What holds of every backplane, and what each does when its server fails.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use testbed::{Nats, Redis};
use tokio::{sync::watch, time::timeout};
use uuid::Uuid;

use super::{Backplane, Bus, Ear, Figures, Inbound, channel, log_of_channel, log_of_subject, subject};
use crate::event::LogId;

mod conformance;
mod faults;

/// How long anything may take. Nothing waits this long unless it fails.
const DEADLINE: Duration = Duration::from_secs(30);

/// What a pod has heard so far.
#[derive(Debug, Default)]
struct Heard {
    said: Vec<(LogId, Bytes)>,
    missed: usize,
}

impl Heard {
    fn has(&self, log: LogId, bytes: &[u8]) -> bool {
        self.said.iter().any(|(l, b)| *l == log && b == bytes)
    }
}

/// A backplane, and somebody who notes what it brings.
struct Pod {
    backplane: Backplane,
    heard: watch::Receiver<Heard>,
}

impl Pod {
    fn new(make: impl FnOnce(Ear) -> Backplane) -> Self {
        let (noted, heard) = watch::channel(Heard::default());
        let backplane = make(Arc::new(move |inbound| {
            noted.send_modify(|heard| match inbound {
                Inbound::Said(log, bytes) => heard.said.push((log, bytes)),
                Inbound::Missed => heard.missed += 1,
            });
        }));
        Pod { backplane, heard }
    }

    fn local(bus: &Bus) -> Self {
        Pod::new(|ear| Backplane::on(bus, move |inbound| ear(inbound)))
    }

    /// Connected: its first `Missed` has come.
    async fn redis(url: &str) -> Self {
        let pod = Pod::new(|ear| Backplane::redis(url, move |inbound| ear(inbound)).expect("a URL"));
        pod.until("it is connected", |heard| heard.missed == 1).await;
        pod
    }

    /// Connected: its first `Missed` has come.
    async fn nats(url: &str) -> Self {
        let pod = Pod::new(|ear| Backplane::nats(url, move |inbound| ear(inbound)).expect("a URL"));
        pod.until("it is connected", |heard| heard.missed == 1).await;
        pod
    }

    async fn until(&self, what: &str, is_so: impl Fn(&Heard) -> bool) {
        let mut heard = self.heard.clone();
        let waited = timeout(DEADLINE, heard.wait_for(|heard| is_so(heard))).await;
        assert!(waited.is_ok(), "waited for: {what}; {:?}", self.backplane.figures());
    }

    async fn until_figures(&self, what: &str, are_so: impl Fn(Figures) -> bool) {
        until(what, async || are_so(self.backplane.figures())).await;
    }

    async fn hears(&self, log: LogId, bytes: &'static str) {
        self.until(bytes, |heard| heard.has(log, bytes.as_bytes())).await;
    }

    async fn say(&self, log: LogId, bytes: &'static str) {
        self.backplane.publish(vec![(log, Bytes::from_static(bytes.as_bytes()))]).await.expect("it is whole");
    }

    /// Until it is taken.
    async fn say_at_last(&self, log: LogId, bytes: &'static str) {
        let said = vec![(log, Bytes::from_static(bytes.as_bytes()))];
        until("it can be said", async || self.backplane.publish(said.clone()).await.is_ok()).await;
    }

    fn missed(&self) -> usize {
        self.heard.borrow().missed
    }
}

/// Looks until it is so: for what cannot be awaited.
async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is_so().await {
        assert!(Instant::now() < deadline, "waited for: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn some_log() -> LogId {
    LogId(Uuid::new_v4())
}

#[test]
fn channels_and_subjects_read_back_as_their_log() {
    for _ in 0..1000 {
        let log = some_log();
        assert_eq!(log_of_channel(&channel(log)), Some(log));
        assert_eq!(log_of_subject(&subject(log)), Some(log));
    }
    let log = LogId(Uuid::from_u128(0xff));
    assert_eq!(channel(log), "maru:{127}:say:000000000000000000000000000000ff");
    assert_eq!(subject(log), "maru.127.000000000000000000000000000000ff");
}

#[test]
fn names_that_are_not_a_logs_are_nobodys() {
    for name in [
        "",
        "maru:{127}:say:",
        "maru:{1}:say:000000000000000000000000000000ff",
        "maru:{127}:say:00000000-0000-0000-0000-0000000000ff",
        "maru:{127}:log:000000000000000000000000000000ff",
        "maru.1.000000000000000000000000000000ff",
        "maru.127.ff",
    ] {
        assert_eq!((log_of_channel(name), log_of_subject(name)), (None, None), "{name}");
    }
}

#[tokio::test]
async fn urls_that_are_wrong_are_refused_at_once() {
    for url in ["", "nats://h", "redis://h:port", "http://h"] {
        assert!(Backplane::redis(url, |_| {}).is_err(), "{url}");
    }
    for url in ["", "redis://h", "nats://h:port", "ws://h"] {
        assert!(Backplane::nats(url, |_| {}).is_err(), "{url}");
    }
}
