//! What the reading room counts, for whoever shows it.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Why;

macro_rules! stats {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counters over all reader threads. They are added to after each slice of work and not at each send, so
        /// they may lag by some ms.
        #[derive(Debug, Default)]
        pub struct Stats {
            $($(#[$doc])* pub $name: AtomicU64,)*
            ended: [AtomicU64; Why::COUNT],
        }

        /// One thread's changes since they were last given to [`Stats`].
        #[derive(Default)]
        pub(crate) struct Tally {
            $(pub(crate) $name: i64,)*
            pub(crate) ended: [u64; Why::COUNT],
        }

        impl Tally {
            /// Adds everything to `stats` and begins anew.
            pub(crate) fn hand_in(&mut self, stats: &Stats) {
                // A gauge that goes down wraps around, here and in the atomic alike.
                $(if self.$name != 0 {
                    stats.$name.fetch_add(self.$name as u64, Ordering::Relaxed);
                })*
                for (ended, n) in stats.ended.iter().zip(self.ended) {
                    if n != 0 {
                        ended.fetch_add(n, Ordering::Relaxed);
                    }
                }
                *self = Tally::default();
            }
        }
    };
}

stats! {
    /// Gauge: seats taken, those of ended streams with bytes in flight included.
    readers,
    /// Gauge: logs that some thread has readers of, counted once per thread.
    rings,
    /// Gauge: bytes that rings hold for readers who lack them.
    ring_bytes,
    /// Events and asides put into rings.
    appended,
    /// Chunks of which a reader's socket took the last byte: events, asides, pings, the end of a stream.
    deliveries,
    /// `send(2)` calls that took something.
    sends,
    /// Bytes that they took.
    bytes,
    /// `send(2)` calls that took less than they were given, or nothing.
    short_writes,
    /// Times a ring's readers were gone over.
    sweeps,
    /// Times a sweep waited because its ring was hot.
    pauses,
    /// Pings sent.
    pings,
}

impl Stats {
    /// How many streams ended for this reason.
    pub fn ended(&self, why: Why) -> u64 {
        self.ended[why.index()].load(Ordering::Relaxed)
    }
}

impl Why {
    const COUNT: usize = 7;

    /// Every reason with the word that a metric's label has for it.
    pub const ALL: [(Why, &'static str); Why::COUNT] = [
        (Why::Left, "left"),
        (Why::TooSlow, "too_slow"),
        (Why::Stuck, "stuck"),
        (Why::Expired, "expired"),
        (Why::Lost, "lost"),
        (Why::Draining(std::time::Duration::ZERO), "draining"),
        (Why::Told, "told"),
    ];

    pub(crate) fn index(self) -> usize {
        match self {
            Why::Left => 0,
            Why::TooSlow => 1,
            Why::Stuck => 2,
            Why::Expired => 3,
            Why::Lost => 4,
            Why::Draining(_) => 5,
            Why::Told => 6,
        }
    }
}
