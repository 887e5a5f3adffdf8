//! What was measured, for people and as JSON.

use super::run::Pace;
use crate::proc;
use serde::Serialize;
use std::fmt;

/// Cores of the loader from which on it is suspected of being the bottleneck.
const LOADED: f64 = 0.95;

/// Cores taken by others from which on the figures are doubtful.
const ELSEWHERE: f64 = 0.15;

/// One measurement.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// `floor`, `maru` or the name of another server.
    pub target: &'static str,
    /// Which of the rounds, from 1.
    pub round: usize,
    /// Readers of the room.
    pub readers: usize,
    /// Messages sent.
    pub messages: u64,
    /// Entries of the log that readers got while it was measured.
    pub deliveries: u64,
    /// Other events that readers got in the same time (`ping`, `presence` …).
    pub others: u64,
    /// Bytes to each reader for one message.
    pub bytes: f64,
    /// Server CPU per delivery, that of the speaking taken away (µs).
    pub cost_us: f64,
    /// Server CPU per message without readers (µs).
    pub speaking_us: f64,
    /// Growth of the server's resident memory while the readers came, for each of them (bytes).
    pub memory_per_reader: f64,
    /// Deliveries a second.
    pub per_second: f64,
    /// Cores that the loader used: near 1 it is the bottleneck.
    pub loader_cores: f64,
    /// Cores that other programs used meanwhile: much of it, and the figures mean little.
    pub elsewhere_cores: f64,
    /// POST until its answer (ms).
    pub answer_p50_ms: f64,
    /// POST until its answer (ms).
    pub answer_p99_ms: f64,
    /// POST until the last reader has the event (ms).
    pub last_reader_p50_ms: f64,
    /// POST until the last reader has the event (ms).
    pub last_reader_p99_ms: f64,
}

/// All measurements, and the server as a multiple of the floor.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    scenario: &'static str,
    machine: String,
    pace: String,
    pub(super) runs: Vec<Measured>,
    pub(super) means: Vec<Mean>,
    pub(super) ratios: Vec<Ratio>,
}

/// The mean of all rounds of one target at one number of readers.
#[derive(Clone, Debug, Serialize)]
pub struct Mean {
    pub(super) target: &'static str,
    pub(super) readers: usize,
    pub(super) cost_us: f64,
    pub(super) last_reader_p50_ms: f64,
    pub(super) last_reader_p99_ms: f64,
    pub(super) bytes: f64,
    pub(super) memory_per_reader: f64,
    pub(super) per_second: f64,
}

/// The means of one by those of another.
#[derive(Clone, Debug, Serialize)]
pub struct Ratio {
    pub(super) target: &'static str,
    pub(super) to: &'static str,
    pub(super) readers: usize,
    pub(super) cost: f64,
    pub(super) last_reader_p50: f64,
    pub(super) last_reader_p99: f64,
}

impl Report {
    pub(super) fn new(scenario: &'static str, pace: Pace, runs: Vec<Measured>) -> Self {
        let mut means: Vec<Mean> = Vec::new();
        for run in &runs {
            if !means.iter().any(|m| (m.target, m.readers) == (run.target, run.readers)) {
                means.push(Mean::of(&runs, run.target, run.readers));
            }
        }
        let floors = means.iter().filter(|m| m.target == "floor");
        let ratios = floors.flat_map(|floor| {
            let others = means.iter().filter(|m| m.target != "floor" && m.readers == floor.readers);
            others.map(|m| m.by(floor))
        });
        let ratios = ratios.collect();
        Self { scenario, machine: proc::machine(), pace: format!("{pace:?}"), runs, means, ratios }
    }
}

impl Report {
    /// What was measured, where and how.
    pub(super) fn headline(&self) -> String {
        format!("{} on {}, {}, {} runs", self.scenario, self.machine, self.pace, self.runs.len())
    }
}

impl Mean {
    fn of(runs: &[Measured], target: &'static str, readers: usize) -> Self {
        let of = || runs.iter().filter(|r| (r.target, r.readers) == (target, readers));
        let mean = |what: fn(&Measured) -> f64| of().map(what).sum::<f64>() / of().count() as f64;
        Self {
            target,
            readers,
            cost_us: mean(|r| r.cost_us),
            last_reader_p50_ms: mean(|r| r.last_reader_p50_ms),
            last_reader_p99_ms: mean(|r| r.last_reader_p99_ms),
            bytes: mean(|r| r.bytes),
            memory_per_reader: mean(|r| r.memory_per_reader),
            per_second: mean(|r| r.per_second),
        }
    }

    /// As a multiple of another.
    pub(super) fn by(&self, other: &Self) -> Ratio {
        Ratio {
            target: self.target,
            to: other.target,
            readers: self.readers,
            cost: self.cost_us / other.cost_us,
            last_reader_p50: self.last_reader_p50_ms / other.last_reader_p50_ms,
            last_reader_p99: self.last_reader_p99_ms / other.last_reader_p99_ms,
        }
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:5} round {} {:6} readers: {:.3} µs per delivery, last reader p50 {:.2} p99 {:.2} ms \
             ({} × {:.0} bytes, {:.2} M/s, speaking {:.0} µs each, cores: loader {:.2}, elsewhere {:.2})",
            self.target,
            self.round,
            self.readers,
            self.cost_us,
            self.last_reader_p50_ms,
            self.last_reader_p99_ms,
            self.messages,
            self.bytes,
            self.per_second / 1e6,
            self.speaking_us,
            self.loader_cores,
            self.elsewhere_cores,
        )?;
        if self.loader_cores > LOADED {
            write!(f, "\n      the loader was busy all the time: it may have been the bottleneck")?;
        }
        if self.elsewhere_cores > ELSEWHERE {
            write!(f, "\n      other programs took part of the machine: measure again when it is quiet")?;
        }
        Ok(())
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { target, to, readers, cost, last_reader_p50: p50, last_reader_p99: p99 } = self;
        write!(
            f,
            "{readers:6} readers, {target} / {to}: {cost:.3} × per delivery, p50 {p50:.2} × p99 {p99:.2} ×"
        )
    }
}

impl fmt::Display for Report {
    /// The summary; the single runs were shown when they ended, and are in the JSON.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.headline())?;
        for mean in &self.means {
            let Mean { target, readers, cost_us, last_reader_p50_ms: p50, last_reader_p99_ms: p99, .. } =
                mean;
            writeln!(
                f,
                "  {readers:6} readers, {target:5}: {cost_us:.3} µs per delivery, p50 {p50:.2} p99 {p99:.2} ms"
            )?;
        }
        for ratio in &self.ratios {
            writeln!(f, "  {ratio}")?;
        }
        write!(f, "  nothing lost, repeated or out of order")
    }
}
