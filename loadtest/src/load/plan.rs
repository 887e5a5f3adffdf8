//! One measurement of delivering: readers come, rest, and are spoken to.
//!
//! Cost per delivery is the server's CPU with readers less its CPU for the same speaking without, per delivery.
//! Latency runs from when a POST was due to when the last reader has the event, commit included.

use super::readers::{PER_ADDRESS, REST, Readers};
use super::report::{Measured, Report};
use super::run::{Latencies, Pace, mark, run};
use super::target::Target;
use super::voices::Voices;
use super::{Failure, Progress, Server, check_open_files, ms};
use crate::proc;
use serde::Serialize;
use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

/// Messages sent before the measurement, at least: caches, buffers and TCP windows are warm then.
const WARM_UP: u64 = 20;

/// Messages of the same speaking without readers, for its cost: at least so many, and as many as with readers, for
/// where few listen the speaking is most of the cost.
const ALONE: u64 = 300;

/// How it is measured.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct How {
    /// Messages each time; default: as many as make --deliveries
    #[arg(long)]
    pub messages: Option<u64>,
    /// Deliveries each time, where --messages says nothing
    #[arg(long, default_value_t = 1_500_000)]
    pub deliveries: u64,
    /// Messages a second, whether the last reader has the one before or not
    #[arg(long, conflicts_with = "in_flight")]
    pub rate: Option<f64>,
    /// Messages in flight: the next is sent when the last reader has an earlier one
    #[arg(long, default_value_t = 1)]
    pub in_flight: u64,
    /// Length of a message's text (bytes)
    #[arg(long, default_value_t = 40)]
    pub text: usize,
    /// How often everything is measured, in turns
    #[arg(long, default_value_t = 2)]
    pub rounds: usize,
    /// Readers that share a source address
    #[arg(long, default_value_t = PER_ADDRESS)]
    pub per_address: usize,
    /// Leave the floor out
    #[arg(long)]
    pub no_floor: bool,
}

/// Who listens where.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Shape {
    /// Rooms that are spoken in, in turns.
    pub rooms: usize,
    /// Readers of each.
    pub readers: usize,
    /// Rooms that were spoken in once before, and have no readers.
    pub beside: usize,
}

impl Shape {
    /// One room.
    pub(super) fn one(readers: usize) -> Self {
        Self { rooms: 1, readers, beside: 0 }
    }

    fn all_readers(self) -> usize {
        self.rooms * self.readers
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rooms, readers, beside } = self;
        match rooms {
            1 => write!(f, "{readers:6} readers")?,
            _ => write!(f, "{rooms:5} × {readers:4} readers")?,
        }
        if *beside > 0 { write!(f, " beside {beside} rooms") } else { Ok(()) }
    }
}

/// What all measurements of a scenario share.
pub(super) struct Plan {
    how: How,
    pace: Pace,
    text: String,
}

/// Measures the server in these shapes, and the floor beside it.
pub(super) fn compare(
    scenario: &'static str,
    which: &Server,
    shapes: &[Shape],
    how: &How,
) -> Result<Report, Failure> {
    let plan = Plan::new(how, shapes)?;
    let floor = if how.no_floor { None } else { Some(Target::floor(which.pin)?) };
    let (mut runs, mut chunk) = (Vec::new(), None);
    for round in 1..=how.rounds {
        // One of its own for each round: rooms that are there are there for good.
        let server = Target::server(which, &["--rate-limit", "off"])?;
        let chunk = match chunk {
            Some(chunk) => chunk,
            None => *chunk.insert(plan.chunk(&server).map_err(|e| server.explain(e))?),
        };
        let mut there = 0;
        for &shape in shapes {
            let fresh = shape.beside.saturating_sub(there);
            plan.populate(&server, round, there, fresh).map_err(|e| server.explain(e))?;
            there += fresh;
            for target in floor.iter().chain([&server]) {
                runs.push(plan.measure(&[target], shape, round, chunk)?);
            }
        }
    }
    Ok(Report::new(scenario, plan.pace, runs))
}

/// Measures the floor alone, with chunks of this size (bytes).
pub(super) fn floor_alone(
    shapes: &[Shape],
    how: &How,
    chunk: usize,
    pinned: bool,
) -> Result<Report, Failure> {
    let plan = Plan::new(how, shapes)?;
    let floor = Target::floor(pinned)?;
    let mut runs = Vec::new();
    for round in 1..=how.rounds {
        for &shape in shapes {
            runs.push(plan.measure(&[&floor], shape, round, chunk)?);
        }
    }
    Ok(Report::new("floor", plan.pace, runs))
}

impl Plan {
    pub(super) fn new(how: &How, shapes: &[Shape]) -> Result<Self, Failure> {
        shapes.iter().try_for_each(|shape| check_open_files(shape.all_readers()))?;
        if shapes.iter().any(|shape| shape.rooms == 0) || how.in_flight == 0 || how.per_address == 0 {
            return Err(Failure::Setup("there is nothing to measure with these numbers".to_owned()));
        }
        let pace = how.rate.map_or(Pace::InFlight(how.in_flight), Pace::PerSecond);
        Ok(Self { how: how.clone(), pace, text: "x".repeat(how.text.max(1)) })
    }

    pub(super) fn pace(&self) -> Pace {
        self.pace
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The bytes that one message brings a reader of this server.
    pub(super) fn chunk(&self, server: &Target) -> Result<usize, Failure> {
        let rooms = [room("probe", Shape::one(1), 0, 0)];
        let mut readers = Readers::new()?;
        let mut voices = Voices::new(server.speaker(&rooms, 0)?);
        let progress = Progress::new("probe", 1);
        // So far does a room get before it is measured; an event says its seq twice.
        mark(&mut readers, &mut voices, &self.text)?;
        run(&mut readers, &mut voices, ALONE, Pace::ONE, &self.text, &progress)?;
        readers.open(0, 1, &server.listening(&rooms[0], self.how.per_address), &progress)?;
        readers.settle(Duration::from_millis(300), REST)?;
        mark(&mut readers, &mut voices, &self.text)?;
        run(&mut readers, &mut voices, 1, Pace::ONE, &self.text, &progress)?;
        let before = readers.tally.bytes;
        run(&mut readers, &mut voices, 1, Pace::ONE, &self.text, &progress)?;
        Ok((readers.tally.bytes - before) as usize)
    }

    /// Speaks once in so many rooms that have no readers.
    fn populate(&self, server: &Target, round: usize, from: usize, count: usize) -> Result<(), Failure> {
        let name = |number| format!("beside-{:07}-{round}-{number}", std::process::id());
        let rooms: Vec<_> = (from..from + count).map(name).collect();
        if rooms.is_empty() {
            return Ok(());
        }
        let mut voices = Voices::new(server.speaker(&rooms, 0)?);
        let progress = Progress::new("rooms beside", count as u64);
        run(&mut Readers::new()?, &mut voices, count as u64, Pace::InFlight(200), &self.text, &progress)?;
        Ok(())
    }

    /// Measures these pods of one server (or the floor): the readers of each room are spread over them, and the first
    /// is spoken to.
    pub(super) fn measure(
        &self,
        pods: &[&Target],
        shape: Shape,
        round: usize,
        chunk: usize,
    ) -> Result<Measured, Failure> {
        let measured = self.measure_quietly(pods, shape, round, chunk).map_err(|e| pods[0].explain(e))?;
        eprintln!("{measured}");
        Ok(measured)
    }

    fn measure_quietly(
        &self,
        pods: &[&Target],
        shape: Shape,
        round: usize,
        chunk: usize,
    ) -> Result<Measured, Failure> {
        let target = pods[0];
        let name = format!("{} round {round}, {shape}", target.name);
        let rooms: Vec<_> = (0..shape.rooms).map(|number| room("load", shape, round, number)).collect();
        let mut readers = Readers::new()?;
        let mut voices = Voices::new(target.speaker(&rooms, chunk)?);
        // Each room's first messages cost more.
        let warm_up = WARM_UP.max(2 * shape.rooms as u64);
        let messages = self
            .how
            .messages
            .unwrap_or_else(|| (self.how.deliveries / shape.readers.max(1) as u64).clamp(50, 5000));
        let messages_alone = messages.max(ALONE);
        let quiet = Progress::new(&format!("{name}: alone"), messages_alone);
        pods.iter().try_for_each(|pod| pod.wait_idle())?;
        mark(&mut readers, &mut voices, &self.text)?;
        run(&mut readers, &mut voices, warm_up, self.pace, &self.text, &quiet)?;
        let (alone, _) =
            cpu_of(pods, || run(&mut readers, &mut voices, messages_alone, self.pace, &self.text, &quiet))?;
        drop(quiet);

        let count = shape.all_readers();
        let resident = || pods.iter().try_fold(0, |sum, pod| Ok::<_, Failure>(sum + pod.resident()?));
        let empty = resident()?;
        let progress = Progress::new(&format!("{name}: opening"), count as u64);
        for (group, room) in rooms.iter().enumerate() {
            for (number, pod) in pods.iter().enumerate() {
                let up_to = shape.readers * (number + 1) / pods.len();
                readers.open(group, up_to, &pod.listening(room, self.how.per_address), &progress)?;
            }
        }
        drop(progress);
        readers.settle(REST, Duration::from_secs(60))?;
        let memory = resident()?.saturating_sub(empty);
        let progress = Progress::new(&name, messages);
        mark(&mut readers, &mut voices, &self.text)?;
        run(&mut readers, &mut voices, warm_up, self.pace, &self.text, &progress)?;
        let before = (readers.tally.deliveries, readers.tally.bytes, others(&readers));
        let (start, own, busy) = (Instant::now(), proc::Cpu::of(std::process::id())?, proc::busy()?);
        let (spent, late) =
            cpu_of(pods, || run(&mut readers, &mut voices, messages, self.pace, &self.text, &progress))?;
        let own = proc::Cpu::of(std::process::id())?.since(&own);
        let elsewhere = (proc::busy()?.saturating_sub(busy)).saturating_sub(own + spent);
        let cores = |time: Duration| time.as_secs_f64() / start.elapsed().as_secs_f64();
        let deliveries = readers.tally.deliveries - before.0;
        let expected = messages * shape.readers as u64;
        if deliveries != expected {
            return Err(Failure::Wrong(format!("{expected} deliveries were due and {deliveries} came")));
        }
        let speaking = alone.div_f64(messages_alone as f64);
        let us = |time: Duration| time.as_secs_f64() * 1e6;
        let per_delivery = |time: f64| time / deliveries.max(1) as f64;
        Ok(Measured {
            target: target.name,
            pods: pods.len(),
            round,
            shape,
            messages,
            deliveries,
            others: others(&readers) - before.2,
            bytes: per_delivery((readers.tally.bytes - before.1) as f64),
            cost_us: per_delivery(us(spent) - us(speaking) * messages as f64),
            speaking_us: us(speaking),
            memory_per_reader: memory as f64 / count.max(1) as f64,
            per_second: deliveries as f64 / late.wall.as_secs_f64(),
            loader_cores: cores(own),
            elsewhere_cores: cores(elsewhere),
            answer_p50_ms: ms(&late.answer, 0.5),
            answer_p99_ms: ms(&late.answer, 0.99),
            last_reader_p50_ms: ms(&late.last_reader, 0.5),
            last_reader_p99_ms: ms(&late.last_reader, 0.99),
        })
    }
}

/// A room of its own for each measurement. All names have one length, because every event carries its room's.
fn room(what: &str, shape: Shape, round: usize, number: usize) -> String {
    let Shape { rooms, readers, beside } = shape;
    format!("{what:5}-{:07}-{readers:05}-{rooms:05}-{beside:06}-{round:02}-{number:05}", std::process::id())
        .replace(' ', "-")
}

/// What processes spend while something is done, its wake included.
fn cpu_of(
    pods: &[&Target],
    work: impl FnOnce() -> Result<Latencies, Failure>,
) -> Result<(Duration, Latencies), Failure> {
    const WAKE: Duration = Duration::from_millis(30);
    let now = || pods.iter().map(|pod| pod.cpu()).collect::<Result<Vec<_>, _>>();
    thread::sleep(WAKE);
    let before = now()?;
    let late = work()?;
    thread::sleep(WAKE);
    let spent = now()?.iter().zip(&before).map(|(now, before)| now.since(before)).sum();
    Ok((spent, late))
}

fn others(readers: &Readers) -> u64 {
    readers.tally.pings + readers.tally.presence + readers.tally.others
}
