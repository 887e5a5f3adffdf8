//! What a pod among many counts.

use std::{sync::Arc, time::Duration};

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use tokio::time::timeout;

use crate::{
    backplane::Backplane,
    clock,
    log::{Backlog, RedisLog},
    pods::Pods,
    writer::Writer,
};

/// How long a scrape waits for Redis.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a pod among many stands on.
#[derive(Clone)]
pub struct Many {
    /// Redis, with the archive under it.
    pub log: Arc<RedisLog>,
    /// The others.
    pub pods: Arc<Pods>,
    /// From the outbox into the archive.
    pub writer: Arc<Writer>,
    /// How they hear each other.
    pub backplane: Backplane,
    /// From the publisher to the server.
    pub publish_seconds: Histogram,
    /// From an event's `ts` to its arrival here.
    pub lag_seconds: Histogram,
}

impl Many {
    /// What is on its way, if Redis says so in time.
    pub(super) async fn backlog(&self) -> Option<Backlog> {
        timeout(PATIENCE, self.log.backlog()).await.ok()?.ok()
    }

    pub(super) fn register(&self, registry: &mut Registry, backlog: Option<Backlog>) {
        let (log, writer, pods) = (self.log.figures(), self.writer.figures(), self.pods.figures());
        let backplane = self.backplane.figures();
        for (name, help, histogram) in [
            ("append_seconds", "Appends, from the pod to Redis and back", &log.append_seconds),
            ("publish_seconds", "Publishing by this pod, until the server has it", &self.publish_seconds),
            ("backplane_lag_seconds", "From an event's ts to its arrival here", &self.lag_seconds),
            ("batch_rows", "Rows of a batch stored", &writer.batch_rows),
            ("store_seconds", "Storing a batch, with all tries", &writer.store_seconds),
            ("inbox_lag_seconds", "From an event's ts to its place in all inboxes", &writer.inbox_seconds),
        ] {
            registry.register(name, help, histogram.clone());
        }
        for (name, help, counter) in [
            ("fenced", "Requests that met a Redis that was not the one agreed on", &log.fenced),
            ("appends_unknown", "Appends whose outcome is unknown", &log.unknown),
            ("unsaid", "Events that could not be handed on to be published", &log.unsaid),
            ("store_failures", "Tries to store a batch that failed", &writer.failures),
            ("quarantined", "Rows put aside because MySQL refuses them", &writer.quarantined),
            ("conflicts", "Places that MySQL has with another event", &writer.conflicts),
            ("fences", "Lives of Redis that this pod made all agree on", &pods.fences),
            ("left_out", "Lives of Redis that began without this pod", &pods.left_out),
        ] {
            registry.register(name, help, counter.clone());
        }
        for (name, help, value) in [
            ("backplane_messages", "Messages that the backplane brought", backplane.messages_in),
            ("backplane_unknown", "Messages of the backplane that say nothing", backplane.unknown),
            ("backplane_cuts", "Times the backplane's link was cut", backplane.cuts),
            ("backplane_drops", "Times the backplane let go of messages for a slow pod", backplane.dropped),
        ] {
            let counter = Counter::<u64>::default();
            counter.inc_by(value);
            registry.register(name, help, counter);
        }
        for (name, help, value) in [
            ("subscriptions", "Logs that this pod listens to", backplane.subscriptions as u64),
            ("backplane_connected", "1 while the backplane's link stands", u64::from(backplane.is_connected)),
            (
                "partitions",
                "Partitions whose outbox this pod writes to MySQL",
                self.writer.partitions() as u64,
            ),
            ("pods", "Pods that live", self.pods.live().borrow().len() as u64),
            (
                "redis_answers",
                "1 if Redis answered this look at it within a second",
                u64::from(backlog.is_some()),
            ),
            (
                "agreed",
                "1 while the pods agree on the Redis that they speak to: else nobody can speak here",
                u64::from(self.pods.agree()),
            ),
            (
                "held_bytes",
                "Events taken here that MySQL does not have yet, in bytes",
                self.log.held_bytes() as u64,
            ),
        ] {
            let gauge = Gauge::<i64>::default();
            gauge.set(value.cast_signed());
            registry.register(name, help, gauge);
        }
        let unseen = Gauge::<f64, std::sync::atomic::AtomicU64>::default();
        unseen.set(self.pods.renewed().elapsed().as_secs_f64());
        registry.register(
            "lease_age_seconds",
            "Since MySQL last took this pod's word that it lives, which it gives every 2 s",
            unseen,
        );
        if let Some(Backlog { entries, oldest, mail }) = backlog {
            for (name, help, value) in [
                ("outbox_entries", "Events on their way to MySQL", entries),
                ("mail_entries", "Events of rooms with members on their way to inboxes", mail),
            ] {
                let gauge = Gauge::<i64>::default();
                gauge.set(value.cast_signed());
                registry.register(name, help, gauge);
            }
            let age = oldest.map_or(0, |oldest| (clock::millis() - oldest).max(0));
            let gauge = Gauge::<f64, std::sync::atomic::AtomicU64>::default();
            #[expect(clippy::cast_precision_loss, reason = "ms of an age are few")]
            gauge.set(age as f64 / 1000.0);
            registry.register("outbox_oldest_seconds", "Age of the oldest of them", gauge);
        }
    }
}
