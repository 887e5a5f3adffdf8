//! How cost and latency grow: over readers, rooms, pods, message size and rate, each curve with the floor where it has
//! one.

use super::plan::{How, Plan, Shape, compare};
use super::plot::{Chart, Charts, Line};
use super::pods::{Bed, Carrier};
use super::readers::PER_ADDRESS;
use super::report::Mean;
use super::target::Target;
use super::{Failure, Server, mean};
use crate::proc;
use clap::ValueEnum;
use serde::Serialize;
use std::fmt;
use testbed::{Aof, MariaDb};

/// Readers where something else grows.
const READERS: usize = 1000;

/// What to measure.
#[derive(Clone, Debug, clap::Args)]
pub struct Growth {
    #[command(flatten)]
    server: Server,
    /// Which curves; default: all
    #[arg(long, value_enum, value_delimiter = ',')]
    curve: Vec<Curve>,
    /// Deliveries of each point
    #[arg(long, default_value_t = 500_000)]
    deliveries: u64,
    /// How often each point is measured
    #[arg(long, default_value_t = 2)]
    rounds: usize,
    /// The last point of each curve at most
    #[arg(long)]
    up_to: Option<usize>,
}

/// What grows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
enum Curve {
    /// Readers of one room
    Readers,
    /// Rooms of ten readers
    Rooms,
    /// Rooms that nobody listens to, beside one of 1,000 readers
    Beside,
    /// Pods that 1,000 readers of one room are spread over
    Pods,
    /// Bytes of a text, to 1,000 readers
    Size,
    /// Messages a second, to 1,000 readers
    Rate,
}

impl Curve {
    fn points(self) -> &'static [usize] {
        match self {
            Self::Readers => &[10, 30, 100, 300, 1000, 3000, 10_000],
            Self::Rooms => &[1, 10, 100, 1000],
            Self::Beside => &[1, 10, 100, 1000, 10_000, 100_000],
            Self::Pods => &[1, 2, 4],
            Self::Size => &[50, 100, 200, 500, 1000, 2000, 4000],
            Self::Rate => &[10, 30, 100, 300, 1000, 2000],
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Readers => "readers",
            Self::Rooms => "rooms",
            Self::Beside => "beside",
            Self::Pods => "pods",
            Self::Size => "size",
            Self::Rate => "rate",
        }
    }

    /// With its unit.
    fn axis(self) -> &'static str {
        match self {
            Self::Readers => "readers of one room",
            Self::Rooms => "rooms of ten readers",
            Self::Beside => "rooms in the log, one of them with 1,000 readers",
            Self::Pods => "pods, 1,000 readers of one room spread over them",
            Self::Size => "bytes of a text, 1,000 readers",
            Self::Rate => "messages a second, 1,000 readers",
        }
    }
}

/// All curves.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    scenario: &'static str,
    machine: String,
    rounds: usize,
    curves: Vec<Grown>,
}

/// One curve.
#[derive(Clone, Debug, Serialize)]
struct Grown {
    curve: Curve,
    points: Vec<Point>,
}

#[derive(Clone, Debug, Serialize)]
struct Point {
    x: usize,
    #[serde(flatten)]
    mean: Mean,
}

/// Measures the curves, one after the other.
///
/// # Errors
/// When anything is lost, repeated or out of order, does not keep up, or cannot be set up.
///
/// # Panics
/// When Redis or MariaDB cannot be started, as [`testbed`] has it.
pub fn growth(args: &Growth) -> Result<Report, Failure> {
    let wanted = if args.curve.is_empty() { Curve::value_variants() } else { &args.curve };
    let mut curves = Vec::new();
    for &curve in wanted {
        let xs: Vec<_> =
            curve.points().iter().copied().filter(|&x| args.up_to.is_none_or(|last| x <= last)).collect();
        let grown = Grown { curve, points: args.measure(curve, &xs)? };
        eprintln!("{grown}");
        curves.push(grown);
    }
    Ok(Report { scenario: "growth", machine: proc::machine(), rounds: args.rounds, curves })
}

impl Growth {
    fn measure(&self, curve: Curve, xs: &[usize]) -> Result<Vec<Point>, Failure> {
        let shape = |x: usize| match curve {
            Curve::Readers => Shape::one(x),
            Curve::Rooms => Shape { rooms: x, readers: 10, beside: 0 },
            Curve::Beside => Shape { rooms: 1, readers: READERS, beside: x - 1 },
            Curve::Pods | Curve::Size | Curve::Rate => Shape::one(READERS),
        };
        match curve {
            Curve::Readers | Curve::Rooms | Curve::Beside => {
                let shapes: Vec<_> = xs.iter().map(|&x| shape(x)).collect();
                let means = compare("growth", &self.server, &shapes, &self.how())?.into_means();
                let x = |mean: &Mean| xs[shapes.iter().position(|&shape| shape == mean.shape).unwrap_or(0)];
                Ok(means.into_iter().map(|mean| Point { x: x(&mean), mean }).collect())
            }
            Curve::Size => self.one_by_one(xs, |text| How { text, ..self.how() }),
            // The floor sends each event by itself, which no core does so often.
            Curve::Rate => self.one_by_one(xs, |rate| How {
                rate: Some(rate as f64),
                messages: Some((rate as u64 * 4).max(50)),
                no_floor: true,
                ..self.how()
            }),
            Curve::Pods => self.pods(xs),
        }
    }

    fn how(&self) -> How {
        How {
            messages: None,
            deliveries: self.deliveries,
            rate: None,
            in_flight: 1,
            text: 40,
            rounds: self.rounds,
            per_address: PER_ADDRESS,
            no_floor: false,
        }
    }

    fn one_by_one(&self, xs: &[usize], how: impl Fn(usize) -> How) -> Result<Vec<Point>, Failure> {
        let mut points = Vec::new();
        for &x in xs {
            let report = compare("growth", &self.server, &[Shape::one(READERS)], &how(x))?;
            points.extend(report.into_means().into_iter().map(|mean| Point { x, mean }));
        }
        Ok(points)
    }

    fn pods(&self, xs: &[usize]) -> Result<Vec<Point>, Failure> {
        let shape = Shape::one(READERS);
        let plan = Plan::new(&self.how(), &[shape])?;
        let maria = MariaDb::start();
        let mut points = Vec::new();
        for &x in xs {
            let mut runs = Vec::new();
            for round in 1..=self.rounds {
                let bed = Bed::new(&maria, Aof::EverySecond, Carrier::Redis, self.server.server.clone());
                let pods = bed.pods(x)?;
                runs.push(plan.measure(&pods.iter().collect::<Vec<&Target>>(), shape, round, 0)?);
                bed.wait_stored()?;
            }
            points.push(Point { x, mean: Mean::of(&runs, runs[0].target, shape) });
        }
        Ok(points)
    }
}

/// A curve: what stands behind its target's name, and what it shows.
type Figure = (&'static str, fn(&Mean) -> f64);

impl Charts for Report {
    fn charts(&self) -> Vec<Chart> {
        let chart = |grown: &Grown, what: &str, y, figures: &[Figure]| {
            let mut lines = Vec::new();
            for (words, figure) in figures {
                for target in ["floor", "maru"] {
                    let of = grown.points.iter().filter(|point| point.mean.target == target);
                    let points: Vec<_> = of.map(|point| (point.x as f64, figure(&point.mean))).collect();
                    if !points.is_empty() {
                        lines.push(Line { name: format!("{target}{words}"), points });
                    }
                }
            }
            let name = format!("{}-{what}", grown.curve.name());
            Chart {
                name,
                title: format!("{what} by {}", grown.curve.name()),
                x: grown.curve.axis(),
                y,
                lines,
            }
        };
        let charts = self.curves.iter().flat_map(|grown| {
            let cost: Figure = ("", |mean| mean.cost_us);
            let p50: Figure = (" p50", |mean| mean.last_reader_p50_ms);
            let p99: Figure = (" p99", |mean| mean.last_reader_p99_ms);
            [
                chart(grown, "cost", "CPU per delivery (µs)", &[cost]),
                chart(grown, "latency", "POST to last reader (ms)", &[p50, p99]),
            ]
        });
        charts.collect()
    }
}

impl fmt::Display for Grown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.curve.axis())?;
        for Point { x, mean } in &self.points {
            let Mean { target, cost_us, last_reader_p50_ms: p50, last_reader_p99_ms: p99, .. } = mean;
            write!(f, "\n  {x:6} {target:5}: {cost_us:.3} µs per delivery, p50 {p50:.2} p99 {p99:.2} ms")?;
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} on {}, means of {} rounds", self.scenario, self.machine, self.rounds)?;
        for grown in &self.curves {
            let costs = |target: &str| {
                let of = grown.points.iter().filter(|point| point.mean.target == target);
                of.map(|point| point.mean.cost_us).collect::<Vec<_>>()
            };
            let maru = costs("maru");
            writeln!(f, "{grown}")?;
            if let [first, .., last] = maru[..] {
                let mean = mean(maru.iter().copied());
                writeln!(f, "  maru's last by its first: {:.2} ×, mean {mean:.3} µs", last / first)?;
            }
        }
        write!(f, "  nothing lost, repeated or out of order")
    }
}
