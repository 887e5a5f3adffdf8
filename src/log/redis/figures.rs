//! What the log of many pods counts.

use prometheus_client::metrics::{counter::Counter, histogram::Histogram};

use crate::clock;

/// What is counted here.
#[derive(Debug)]
pub struct RedisFigures {
    /// Appends, from here to the server and back.
    pub append_seconds: Histogram,
    /// Requests that met a server that is not the one agreed on.
    pub fenced: Counter,
    /// Appends whose outcome is unknown.
    pub unknown: Counter,
    /// Events that could not be handed on to be published.
    pub unsaid: Counter,
}

impl RedisFigures {
    pub(super) fn new() -> Self {
        RedisFigures {
            append_seconds: clock::latency(),
            fenced: Counter::default(),
            unknown: Counter::default(),
            unsaid: Counter::default(),
        }
    }
}
