//! One room, many readers: what a delivery costs the server, how late the last reader has it, and both beside the floor.
//!
//! Cost per delivery is the server's CPU with readers less its CPU for the same speaking without, per delivery.
//! Latency runs from when a POST was due to when the last reader has the event, commit included.

use super::readers::Readers;
use super::report::{Measured, Report};
use super::run::{Latencies, Pace, mark, run};
use super::target::Target;
use super::voices::Voices;
use super::{Failure, Progress, Server, check_open_files};
use crate::proc;
use std::thread;
use std::time::{Duration, Instant};

/// Messages sent before the measurement: caches, buffers and TCP windows are warm then.
const WARM_UP: u64 = 20;

/// Messages of the same speaking without readers, for its cost.
const ALONE: u64 = 300;

/// No one came or went for so long: the room is at rest. Digests of presence come once a second.
const REST: Duration = Duration::from_millis(2500);

/// What to measure.
#[derive(Clone, Debug, clap::Args)]
pub struct Fanout {
    #[command(flatten)]
    server: Server,
    /// Readers of the room; several counts are measured one after the other
    #[arg(long, value_delimiter = ',', default_value = "1000,10000")]
    readers: Vec<usize>,
    /// Messages each time; default: as many as make --deliveries
    #[arg(long)]
    messages: Option<u64>,
    /// Deliveries each time, where --messages says nothing
    #[arg(long, default_value_t = 1_500_000)]
    deliveries: u64,
    /// Messages a second, whether the last reader has the one before or not; default: one in flight
    #[arg(long)]
    rate: Option<f64>,
    /// Length of a message's text (bytes)
    #[arg(long, default_value_t = 40)]
    text: usize,
    /// How often floor and server are measured, in turns
    #[arg(long, default_value_t = 2)]
    rounds: usize,
    /// Readers that share a source address
    #[arg(long, default_value_t = 100)]
    per_address: usize,
    /// Leave the floor out
    #[arg(long)]
    no_floor: bool,
}

/// The floor alone.
#[derive(Clone, Debug, clap::Args)]
pub struct FloorAlone {
    /// Readers; several counts are measured one after the other
    #[arg(long, value_delimiter = ',', default_value = "1000,10000")]
    readers: Vec<usize>,
    /// Messages each time; default: as many as make --deliveries
    #[arg(long)]
    messages: Option<u64>,
    /// Deliveries each time, where --messages says nothing
    #[arg(long, default_value_t = 1_500_000)]
    deliveries: u64,
    /// Messages a second; default: one in flight
    #[arg(long)]
    rate: Option<f64>,
    /// Size of the chunk that each reader gets (bytes)
    #[arg(long, default_value_t = 300)]
    chunk: usize,
    /// How often
    #[arg(long, default_value_t = 2)]
    rounds: usize,
    /// The floor on core 0, the load on core 1
    #[arg(long)]
    pin: bool,
}

/// What all measurements of a scenario share.
pub(super) struct Plan {
    pub(super) messages: Option<u64>,
    pub(super) deliveries: u64,
    pub(super) pace: Pace,
    pub(super) text: String,
    pub(super) per_address: usize,
}

/// Measures the server, and the floor beside it.
///
/// # Errors
/// When anything is lost, repeated or out of order, or cannot be set up.
pub fn fanout(args: &Fanout) -> Result<Report, Failure> {
    args.readers.iter().try_for_each(|&readers| check_open_files(readers))?;
    let plan = Plan {
        messages: args.messages,
        deliveries: args.deliveries,
        pace: args.rate.map_or(Pace::OneInFlight, Pace::PerSecond),
        text: "x".repeat(args.text.max(1)),
        per_address: args.per_address.max(1),
    };
    let server = Target::server(&args.server, &["--rate-limit", "off"])?;
    let chunk = plan.chunk(&server).map_err(|e| server.explain(e))?;
    let floor = if args.no_floor { None } else { Some(Target::floor(args.server.pin)?) };
    let mut runs = Vec::new();
    for &readers in &args.readers {
        for round in 1..=args.rounds {
            for target in floor.iter().chain([&server]) {
                let measured = plan.measure(target, readers, round, chunk).map_err(|e| target.explain(e))?;
                eprintln!("{measured}");
                runs.push(measured);
            }
        }
    }
    Ok(Report::new("fanout", plan.pace, runs))
}

/// Measures the floor alone.
///
/// # Errors
/// As [`fanout`].
pub fn floor(args: &FloorAlone) -> Result<Report, Failure> {
    args.readers.iter().try_for_each(|&readers| check_open_files(readers))?;
    let plan = Plan {
        messages: args.messages,
        deliveries: args.deliveries,
        pace: args.rate.map_or(Pace::OneInFlight, Pace::PerSecond),
        text: "x".to_owned(),
        per_address: 100,
    };
    let floor = Target::floor(args.pin)?;
    let mut runs = Vec::new();
    for &readers in &args.readers {
        for round in 1..=args.rounds {
            let measured = plan.measure(&floor, readers, round, args.chunk)?;
            eprintln!("{measured}");
            runs.push(measured);
        }
    }
    Ok(Report::new("floor", plan.pace, runs))
}

impl Plan {
    /// The bytes that one message brings a reader of this server.
    pub(super) fn chunk(&self, server: &Target) -> Result<usize, Failure> {
        let room = room(0, 0);
        let mut readers = Readers::new()?;
        let mut voices = Voices::new(server.speaker(&room, 0)?);
        let progress = Progress::new("probe", 1);
        // So far does a room get before it is measured; an event says its seq twice.
        mark(&mut readers, &mut voices, &self.text)?;
        run(&mut readers, &mut voices, ALONE, Pace::OneInFlight, &self.text, &progress)?;
        readers.open(1, &server.listening(&room, self.per_address), &progress)?;
        readers.settle(Duration::from_millis(300), REST)?;
        mark(&mut readers, &mut voices, &self.text)?;
        run(&mut readers, &mut voices, 1, Pace::OneInFlight, &self.text, &progress)?;
        let before = readers.tally.bytes;
        run(&mut readers, &mut voices, 1, Pace::OneInFlight, &self.text, &progress)?;
        Ok((readers.tally.bytes - before) as usize)
    }

    pub(super) fn measure(
        &self,
        target: &Target,
        count: usize,
        round: usize,
        chunk: usize,
    ) -> Result<Measured, Failure> {
        let name = format!("{} round {round}, {count} readers", target.name);
        let room = room(count, round);
        let mut readers = Readers::new()?;
        let mut voices = Voices::new(target.speaker(&room, chunk)?);
        let quiet = Progress::new(&format!("{name}: alone"), ALONE);
        target.wait_idle()?;
        mark(&mut readers, &mut voices, &self.text)?;
        run(&mut readers, &mut voices, WARM_UP, self.pace, &self.text, &quiet)?;
        let (alone, _) =
            cpu_of(target, || run(&mut readers, &mut voices, ALONE, self.pace, &self.text, &quiet))?;
        drop(quiet);

        let empty = target.resident()?;
        let progress = Progress::new(&format!("{name}: opening"), count as u64);
        readers.open(count, &target.listening(&room, self.per_address), &progress)?;
        drop(progress);
        readers.settle(REST, Duration::from_secs(60))?;
        let memory = target.resident()?.saturating_sub(empty);
        let messages =
            self.messages.unwrap_or_else(|| (self.deliveries / count.max(1) as u64).clamp(50, 5000));
        let progress = Progress::new(&name, messages);
        mark(&mut readers, &mut voices, &self.text)?;
        run(&mut readers, &mut voices, WARM_UP, self.pace, &self.text, &progress)?;
        let before = (readers.tally.deliveries, readers.tally.bytes, others(&readers));
        let (start, own, busy) = (Instant::now(), proc::Cpu::of(std::process::id())?, proc::busy()?);
        let (spent, late) =
            cpu_of(target, || run(&mut readers, &mut voices, messages, self.pace, &self.text, &progress))?;
        let own = proc::Cpu::of(std::process::id())?.since(&own);
        let elsewhere = (proc::busy()?.saturating_sub(busy)).saturating_sub(own + spent);
        let cores = |time: Duration| time.as_secs_f64() / start.elapsed().as_secs_f64();
        let deliveries = readers.tally.deliveries - before.0;
        let expected = messages * count as u64;
        if deliveries != expected {
            return Err(Failure::Wrong(format!("{expected} deliveries were due and {deliveries} came")));
        }
        let speaking = alone.div_f64(ALONE as f64);
        let us = |time: Duration| time.as_secs_f64() * 1e6;
        let per_delivery = |time: f64| time / deliveries.max(1) as f64;
        Ok(Measured {
            target: target.name,
            round,
            readers: count,
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
fn room(readers: usize, round: usize) -> String {
    format!("fanout-{:07}-{readers:05}-{round:02}", std::process::id())
}

/// What a process spends while something is done, its wake included.
fn cpu_of(
    target: &Target,
    work: impl FnOnce() -> Result<Latencies, Failure>,
) -> Result<(Duration, Latencies), Failure> {
    const WAKE: Duration = Duration::from_millis(30);
    thread::sleep(WAKE);
    let before = target.cpu()?;
    let late = work()?;
    thread::sleep(WAKE);
    Ok((target.cpu()?.since(&before), late))
}

fn others(readers: &Readers) -> u64 {
    readers.tally.pings + readers.tally.presence + readers.tally.others
}

fn ms(histogram: &hdrhistogram::Histogram<u64>, quantile: f64) -> f64 {
    histogram.value_at_quantile(quantile) as f64 / 1e6
}
