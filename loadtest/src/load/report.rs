//! What was measured, for people and as JSON.

use super::plan::Shape;
use super::plot::{Chart, Charts, Line};
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
    /// Over how many processes its readers are spread.
    pub pods: usize,
    /// Which of the rounds, from 1.
    pub round: usize,
    /// Who listens where.
    #[serde(flatten)]
    pub shape: Shape,
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

/// The mean of all rounds of one target in one shape.
#[derive(Clone, Debug, Serialize)]
pub struct Mean {
    pub(super) target: &'static str,
    #[serde(flatten)]
    pub(super) shape: Shape,
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
    #[serde(flatten)]
    pub(super) shape: Shape,
    pub(super) cost: f64,
    pub(super) last_reader_p50: f64,
    pub(super) last_reader_p99: f64,
}

impl Report {
    pub(super) fn new(scenario: &'static str, pace: Pace, runs: Vec<Measured>) -> Self {
        let mut means: Vec<Mean> = Vec::new();
        for run in &runs {
            if !means.iter().any(|m| (m.target, m.shape) == (run.target, run.shape)) {
                means.push(Mean::of(&runs, run.target, run.shape));
            }
        }
        let floors = means.iter().filter(|m| m.target == "floor");
        let ratios = floors.flat_map(|floor| {
            let others = means.iter().filter(|m| m.target != "floor" && m.shape == floor.shape);
            others.map(|m| m.by(floor))
        });
        let ratios = ratios.collect();
        Self { scenario, machine: proc::machine(), pace: format!("{pace:?}"), runs, means, ratios }
    }

    pub(super) fn into_means(self) -> Vec<Mean> {
        self.means
    }

    /// What was measured, where and how.
    pub(super) fn headline(&self) -> String {
        format!("{} on {}, {}, {} runs", self.scenario, self.machine, self.pace, self.runs.len())
    }
}

impl Charts for Report {
    /// Cost and latency over what differs between the shapes.
    fn charts(&self) -> Vec<Chart> {
        let differs = |what: fn(&Shape) -> usize| {
            let first = self.means.first().map(|mean| what(&mean.shape));
            self.means.iter().any(|mean| Some(what(&mean.shape)) != first)
        };
        let (x, axis): (fn(&Shape) -> usize, _) = if differs(|shape| shape.rooms) {
            (|shape| shape.rooms, "rooms")
        } else if differs(|shape| shape.beside) {
            (|shape| shape.beside, "rooms besides")
        } else {
            (|shape| shape.readers, "readers of a room")
        };
        let mut targets: Vec<_> = self.means.iter().map(|mean| mean.target).collect();
        targets.sort_unstable_by_key(|target| (*target != "floor", *target));
        targets.dedup();
        let line = |target: &'static str, words: &str, y: fn(&Mean) -> f64| {
            let of = self.means.iter().filter(|mean| mean.target == target);
            let mut points: Vec<_> = of.map(|mean| (x(&mean.shape) as f64, y(mean))).collect();
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            Line { name: format!("{target}{words}"), points }
        };
        let chart = |what: &str, y, lines| {
            let name = format!("{}-{what}", self.scenario);
            Chart { title: format!("{}: {what}", self.scenario), name, x: axis, y, lines }
        };
        let cost = targets.iter().map(|target| line(target, "", |mean| mean.cost_us)).collect();
        let p50 = targets.iter().map(|target| line(target, " p50", |mean| mean.last_reader_p50_ms));
        let p99 = targets.iter().map(|target| line(target, " p99", |mean| mean.last_reader_p99_ms));
        vec![
            chart("cost", "CPU per delivery (µs)", cost),
            chart("latency", "POST to last reader (ms)", p50.chain(p99).collect()),
        ]
    }
}

impl Mean {
    pub(super) fn of(runs: &[Measured], target: &'static str, shape: Shape) -> Self {
        let of = || runs.iter().filter(|r| (r.target, r.shape) == (target, shape));
        let mean = |what: fn(&Measured) -> f64| of().map(what).sum::<f64>() / of().count() as f64;
        Self {
            target,
            shape,
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
            shape: self.shape,
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
            "{:5} round {} {}: {:.3} µs per delivery, last reader p50 {:.2} p99 {:.2} ms \
             ({} × {:.0} bytes, {:.2} M/s, speaking {:.0} µs each, cores: loader {:.2}, elsewhere {:.2})",
            self.target,
            self.round,
            self.shape,
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
        let Self { target, to, shape, cost, last_reader_p50: p50, last_reader_p99: p99 } = self;
        write!(f, "{shape}, {target} / {to}: {cost:.3} × per delivery, p50 {p50:.2} × p99 {p99:.2} ×")
    }
}

impl fmt::Display for Report {
    /// The summary; the single runs were shown when they ended, and are in the JSON.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.headline())?;
        for mean in &self.means {
            let Mean { target, shape, cost_us, last_reader_p50_ms: p50, last_reader_p99_ms: p99, .. } = mean;
            writeln!(f, "  {shape}, {target:5}: {cost_us:.3} µs per delivery, p50 {p50:.2} p99 {p99:.2} ms")?;
        }
        for ratio in &self.ratios {
            writeln!(f, "  {ratio}")?;
        }
        write!(f, "  nothing lost, repeated or out of order")
    }
}
