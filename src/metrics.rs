//! What is counted, as OpenMetrics text for Prometheus.

use std::{
    net::IpAddr,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hyper::{HeaderMap, Method, StatusCode};
use ipnet::IpNet;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use crate::{chat::Chat, clock, log::Placed, readers::Why};

mod many;
mod process;

pub use many::Many;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answer {
    method: &'static str,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Code {
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Version {
    version: &'static str,
}

/// The counters of a pod.
pub struct Metrics {
    many: Option<Many>,
    /// When it began to count, in seconds since 1970.
    began: u64,
    answers: Family<Answer, Counter>,
    messages: Counter,
    duplicates: Counter,
    speak_seconds: Histogram,
    refused_streams: Family<Code, Counter>,
    /// Heads that were refused before they became requests.
    pub refused_heads: Counter,
    /// Connections on which no TLS came about.
    pub failed_handshakes: Counter,
    /// HTTP/2 connections that were dropped because too many streams were given up.
    pub http2_floods: Counter,
    /// Gaps that were announced.
    pub gaps: Counter,
    /// Reads of the log for streams and polls that asked for more than is in memory.
    pub replay_reads: Counter,
    warned: AtomicBool,
    scrape: Mutex<()>,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

impl Metrics {
    /// All at 0.
    pub fn new(many: Option<Many>) -> Self {
        Metrics {
            many,
            began: clock::seconds(),
            answers: Family::default(),
            messages: Counter::default(),
            duplicates: Counter::default(),
            speak_seconds: clock::latency(),
            refused_streams: Family::default(),
            refused_heads: Counter::default(),
            failed_handshakes: Counter::default(),
            http2_floods: Counter::default(),
            gaps: Counter::default(),
            replay_reads: Counter::default(),
            warned: AtomicBool::default(),
            scrape: Mutex::default(),
        }
    }

    /// A request was answered.
    pub fn answered(&self, method: &Method, status: StatusCode) {
        let method = match method.as_str() {
            "GET" => "GET",
            "POST" => "POST",
            "PATCH" => "PATCH",
            "DELETE" => "DELETE",
            "HEAD" => "HEAD",
            "OPTIONS" => "OPTIONS",
            _ => "other",
        };
        self.answers.get_or_create(&Answer { method, status: status.as_u16() }).inc();
    }

    /// Somebody spoke, and the log took so long.
    pub fn spoke(&self, placed: &Placed, took: Duration) {
        if placed.duplicate { &self.duplicates } else { &self.messages }.inc();
        self.speak_seconds.observe(took.as_secs_f64());
    }

    /// A stream was answered with a `bye` of this code.
    pub fn refused_stream(&self, code: &'static str) {
        self.refused_streams.get_or_create(&Code { code }).inc();
    }

    /// Says once, in the log, that a proxy on a private address is not believed.
    pub fn warn_of_untrusted_proxy(&self, peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) {
        let is_private = match peer {
            IpAddr::V4(peer) => peer.is_private() || peer.is_loopback(),
            IpAddr::V6(peer) => peer.is_unique_local() || peer.is_loopback(),
        };
        if is_private
            && headers.contains_key("x-forwarded-for")
            && !trusted.iter().any(|network| network.contains(&peer))
            && !self.warned.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                %peer,
                "a peer on a private address sends X-Forwarded-For and is not believed: everybody behind it counts as \
                 one address. If it is your proxy, name it with --trusted-proxy"
            );
        }
    }

    /// Everything, as text.
    pub async fn text(&self, chat: &Chat) -> String {
        let backlog = match &self.many {
            Some(many) => many.backlog().await,
            None => None,
        };
        // Gauges are read as they are asked for; one at a time is enough.
        let _one = self.scrape.lock().expect("no panic while locked");
        let mut all = Registry::default();
        process::register(&mut all, self.began);
        let registry = all.sub_registry_with_prefix("maru");
        let build = Family::<Version, Gauge>::default();
        build.get_or_create(&Version { version: env!("CARGO_PKG_VERSION") }).set(1);
        registry.register("build_info", "1, for the version that runs", build);
        registry.register("http_answers", "Answers by method and status", self.answers.clone());
        registry.register("messages", "Messages taken", self.messages.clone());
        registry.register("duplicates", "Messages that were known already", self.duplicates.clone());
        registry.register(
            "speak_seconds",
            "Messages, from the body's last byte until they are as safe as was asked for",
            self.speak_seconds.clone(),
        );
        registry.register(
            "refused_heads",
            "Heads that were refused before they became requests",
            self.refused_heads.clone(),
        );
        registry.register(
            "failed_handshakes",
            "Connections on which no TLS came about",
            self.failed_handshakes.clone(),
        );
        registry.register(
            "http2_floods",
            "HTTP/2 connections dropped because too many streams were given up",
            self.http2_floods.clone(),
        );
        registry.register(
            "refused_streams",
            "Streams answered with a bye, by its code",
            self.refused_streams.clone(),
        );
        registry.register("gaps", "Gaps announced", self.gaps.clone());
        registry.register(
            "replay_reads",
            "Reads of the log for streams and polls that asked for more than is in memory",
            self.replay_reads.clone(),
        );

        let stats = chat.reading().stats();
        let (rooms, hub) = chat.figures();
        let now = |value: &std::sync::atomic::AtomicU64| value.load(Ordering::Relaxed);
        for (name, help, value) in [
            ("streams", "Streams open", chat.doors().streams() as u64),
            ("rooms", "Rooms open", rooms as u64),
            ("feeds", "Logs with readers", hub.feeds as u64),
            ("tail_bytes", "Newest events in memory, in bytes", hub.tail_bytes as u64),
            ("readers", "Streams in the reading room", now(&stats.readers)),
            ("rings", "Rings in the reading room", now(&stats.rings)),
            ("ring_bytes", "Bytes in rings", now(&stats.ring_bytes)),
        ] {
            let gauge = Gauge::<i64>::default();
            gauge.set(value.cast_signed());
            registry.register(name, help, gauge);
        }
        for (name, help, value) in [
            ("repairs", "Holes read from the log", hub.repairs),
            ("live_gaps", "Gaps found by a log's feed and told to all its live readers", hub.gaps),
            ("deliveries", "Chunks delivered to readers", now(&stats.deliveries)),
            ("sends", "send(2) calls that took something", now(&stats.sends)),
            ("sent_bytes", "Bytes that they took", now(&stats.bytes)),
            ("short_writes", "send(2) calls that took less than given", now(&stats.short_writes)),
            ("sweeps", "Times a ring's readers were gone over", now(&stats.sweeps)),
            ("pings", "Pings sent", now(&stats.pings)),
        ] {
            let counter = Counter::<u64>::default();
            counter.inc_by(value);
            registry.register(name, help, counter);
        }
        let ended = Family::<Reason, Counter>::default();
        for (why, reason) in Why::ALL {
            ended.get_or_create(&Reason { reason }).inc_by(stats.ended(why));
        }
        registry.register("ended", "Streams ended in the reading room, by reason", ended);

        if let Some(many) = &self.many {
            many.register(registry, backlog);
        }

        let mut text = String::new();
        encode(&mut text, &all).expect("writing to a string does not fail");
        text
    }
}
