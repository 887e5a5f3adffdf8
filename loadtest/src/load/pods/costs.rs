//! Whose CPU a stretch of time took.

use crate::load::Failure;
use crate::proc::{self, Cpu};
use serde::Serialize;
use std::fmt;
use std::time::{Duration, Instant};

/// Who takes part, by their processes.
#[derive(Clone, Default)]
pub(super) struct Cast {
    pub(super) redis: Option<u32>,
    pub(super) nats: Option<u32>,
    pub(super) maria: Option<u32>,
    pub(super) pods: Vec<u32>,
}

/// CPU for each thing that was done (µs), and cores.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Costs {
    /// Of Redis.
    pub(super) redis_us: f64,
    /// Of NATS.
    pub(super) nats_us: f64,
    /// Of the database.
    pub(super) maria_us: f64,
    /// Of all pods together.
    pub(super) pods_us: f64,
    /// Of this program.
    pub(super) loader_us: f64,
    /// Cores that Redis used: near 1 it is the bottleneck.
    pub(super) redis_cores: f64,
    /// Cores that none of these used.
    pub(super) elsewhere_cores: f64,
}

/// A measurement that runs.
pub(super) struct Watch {
    cast: Cast,
    start: Instant,
    busy: Duration,
    before: Vec<Cpu>,
}

impl Cast {
    pub(super) fn watch(&self) -> Result<Watch, Failure> {
        let before = self.all().map(Cpu::of).collect::<Result<_, _>>()?;
        Ok(Watch { cast: self.clone(), start: Instant::now(), busy: proc::busy()?, before })
    }

    fn all(&self) -> impl Iterator<Item = u32> {
        let own = std::process::id();
        [own]
            .into_iter()
            .chain(self.redis)
            .chain(self.nats)
            .chain(self.maria)
            .chain(self.pods.iter().copied())
    }
}

impl Watch {
    /// Ends it; `count` things were done.
    pub(super) fn stop(self, count: u64) -> Result<Costs, Failure> {
        let (wall, busy) = (self.start.elapsed().as_secs_f64(), (proc::busy()? - self.busy).as_secs_f64());
        let mut spent = Vec::new();
        for (pid, before) in self.cast.all().zip(&self.before) {
            spent.push((pid, Cpu::of(pid)?.since(before).as_secs_f64()));
        }
        let of = |whose: &[u32]| -> f64 {
            spent.iter().filter(|(pid, _)| whose.contains(pid)).map(|(_, time)| time).sum()
        };
        let each = |time: f64| time * 1e6 / count.max(1) as f64;
        let redis = of(self.cast.redis.as_slice());
        Ok(Costs {
            redis_us: each(redis),
            nats_us: each(of(self.cast.nats.as_slice())),
            maria_us: each(of(self.cast.maria.as_slice())),
            pods_us: each(of(&self.cast.pods)),
            loader_us: each(of(&[std::process::id()])),
            redis_cores: redis / wall,
            elsewhere_cores: (busy - spent.iter().map(|(_, time)| time).sum::<f64>()).max(0.0) / wall,
        })
    }
}

impl fmt::Display for Costs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "µs each: redis {:.1}", self.redis_us)?;
        let others = [("nats", self.nats_us), ("mariadb", self.maria_us), ("pods", self.pods_us)];
        for (who, us) in others.into_iter().filter(|(_, us)| *us > 0.0) {
            write!(f, ", {who} {us:.1}")?;
        }
        write!(f, ", loader {:.1}; cores: redis {:.2}", self.loader_us, self.redis_cores)?;
        write!(f, ", elsewhere {:.2}", self.elsewhere_cores)
    }
}
