//! What was measured of all of them, for people and as JSON.

use super::{Contestant, Peer};
use crate::load::Failure;
use crate::load::plan::Shape;
use crate::load::plot::{Chart, Charts};
use crate::load::report::{self, Mean, Measured, Ratio};
use crate::load::run::Pace;
use serde::Serialize;
use std::fmt;

/// A server that delivers less than this part of what was asked for does not keep up.
const KEEPS_UP: f64 = 0.95;

/// A peer, as it was measured.
#[derive(Clone, Debug, Serialize)]
struct Described {
    name: &'static str,
    version: String,
    command: String,
    configuration: &'static str,
}

/// A peer that was not measured.
#[derive(Clone, Debug, Serialize)]
struct Missing {
    name: &'static str,
    how_to_get: &'static str,
}

/// A turn that has no figure.
#[derive(Clone, Debug, Serialize)]
struct Failed {
    target: &'static str,
    #[serde(flatten)]
    shape: Shape,
    round: usize,
    /// It was only too slow for the rate that was asked for.
    is_behind: bool,
    what: String,
}

/// A turn whose deliveries came later than the rate asked for.
#[derive(Clone, Debug, Serialize)]
struct Behind {
    target: &'static str,
    #[serde(flatten)]
    shape: Shape,
    /// Messages a second that came through.
    per_second: f64,
}

/// All measurements, and how the servers compare.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    #[serde(flatten)]
    all: report::Report,
    /// Maru by the peer whose deliveries cost least, of those that keep up.
    best: Vec<Ratio>,
    peers: Vec<Described>,
    missing: Vec<Missing>,
    behind: Vec<Behind>,
    failed: Vec<Failed>,
}

/// What the turns brought so far.
#[derive(Default)]
pub(super) struct Turns {
    runs: Vec<Measured>,
    peers: Vec<Described>,
    failed: Vec<Failed>,
}

impl Turns {
    /// Notes how a turn ended, and shows a failure.
    ///
    /// # Errors
    /// When maru or the floor failed: then there is nothing to compare with.
    pub(super) fn take(
        &mut self,
        contestant: &Contestant<'_>,
        command: String,
        shape: Shape,
        round: usize,
        outcome: Result<Measured, Failure>,
    ) -> Result<(), Failure> {
        if let Contestant::Peer(Peer { name, configuration, .. }, installed) = *contestant
            && !self.peers.iter().any(|peer| peer.name == *name)
        {
            self.peers.push(Described { name, version: installed.version.clone(), command, configuration });
        }
        match outcome {
            Ok(measured) => self.runs.push(measured),
            Err(failure) => {
                let is_behind = matches!(failure, Failure::Behind(_));
                if !is_behind && !matches!(contestant, Contestant::Peer(..)) {
                    return Err(failure);
                }
                let target = contestant.name();
                let failed = Failed { target, shape, round, is_behind, what: failure.to_string() };
                eprintln!("{failed}");
                self.failed.push(failed);
            }
        }
        Ok(())
    }
}

impl Report {
    pub(super) fn new(pace: Pace, rate: Option<f64>, turns: Turns, missing: &[&Peer]) -> Self {
        let Turns { runs, peers, failed } = turns;
        let all = report::Report::new("peers", pace, runs);
        let came_through = |mean: &Mean| mean.per_second / mean.shape.readers as f64;
        let keeps_up = |mean: &Mean| rate.is_none_or(|rate| came_through(mean) > rate * KEEPS_UP);
        let best = all.means.iter().filter(|mean| mean.target == "maru").filter_map(|maru| {
            let is_peer = |mean: &&Mean| !matches!(mean.target, "floor" | "maru") && keeps_up(mean);
            let peers = all.means.iter().filter(|mean| mean.shape == maru.shape).filter(is_peer);
            Some(maru.by(peers.min_by(|a, b| a.cost_us.total_cmp(&b.cost_us))?))
        });
        let best = best.collect();
        let behind = all.means.iter().filter(|mean| !keeps_up(mean)).map(|mean| {
            let Mean { target, shape, .. } = *mean;
            Behind { target, shape, per_second: came_through(mean) }
        });
        let behind = behind.collect();
        let missing = missing.iter().map(|peer| Missing { name: peer.name, how_to_get: peer.how_to_get });
        Self { best, behind, missing: missing.collect(), all, peers, failed }
    }

    /// Nothing, if every peer delivered everything.
    ///
    /// # Errors
    /// When one lost, repeated or reordered something, or could not be measured. Being slow is no failure.
    pub fn verdict(&self) -> Result<(), Failure> {
        let wrong: Vec<_> = self.failed.iter().filter(|failed| !failed.is_behind).collect();
        match wrong.first() {
            None => Ok(()),
            Some(first) => Err(Failure::Wrong(format!("{} turns failed, first {first}", wrong.len()))),
        }
    }
}

impl Charts for Report {
    fn charts(&self) -> Vec<Chart> {
        self.all.charts()
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { target, shape, round, what, .. } = self;
        write!(f, "{target} round {round}, {shape}: NO FIGURE: {what}")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.all.headline())?;
        writeln!(
            f,
            "  readers  {:16} {:>11} {:>8} {:>9} {:>9} {:>7} {:>12}",
            "server", "µs/delivery", "× floor", "p50 ms", "p99 ms", "bytes", "bytes/reader"
        )?;
        for mean in &self.all.means {
            let ratio = |r: &&Ratio| (r.target, r.shape) == (mean.target, mean.shape);
            let ratio = self.all.ratios.iter().find(ratio).map_or(1.0, |ratio| ratio.cost);
            writeln!(
                f,
                "  {:7}  {:16} {:11.3} {ratio:8.3} {:9.2} {:9.2} {:7.0} {:12.0}",
                mean.shape.readers,
                mean.target,
                mean.cost_us,
                mean.last_reader_p50_ms,
                mean.last_reader_p99_ms,
                mean.bytes,
                mean.memory_per_reader
            )?;
        }
        for ratio in &self.best {
            writeln!(f, "  {ratio} (the best peer)")?;
        }
        for Behind { target, shape, per_second } in &self.behind {
            writeln!(f, "  {shape}, {target} does not keep up: {per_second:.0} messages/s")?;
        }
        for Described { name, version, command, configuration } in &self.peers {
            writeln!(f, "  {name}: {version}\n    {command}\n    {configuration}")?;
        }
        for Missing { name, how_to_get } in &self.missing {
            writeln!(f, "  {name} was not measured: {how_to_get}")?;
        }
        for failed in &self.failed {
            writeln!(f, "  {failed}")?;
        }
        match self.failed.iter().filter(|failed| !failed.is_behind).count() {
            0 => write!(f, "  nothing lost, repeated or out of order"),
            n => write!(f, "  {n} turns failed"),
        }
    }
}
