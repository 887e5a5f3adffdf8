//! One room, many readers: what a delivery costs the server, how late the last reader has it, and both beside the floor.
//!
//! Cost per delivery is the server's CPU with readers less its CPU for the same speaking without, per delivery.
//! Latency runs from when a POST was due to when the last reader has the event, commit included.

use super::readers::Readers;
use super::run::{Latencies, Pace, mark, run};
use super::target::Target;
use super::voices::Voices;
use super::{Failure, Progress, Server, check_open_files};
use crate::proc;
use serde::Serialize;
use std::thread;
use std::time::Duration;

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

/// One measurement.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// `floor` or `maru`.
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
    /// Deliveries a second.
    pub per_second: f64,
    /// CPU of the loader per delivery (µs): where it comes near the wall time, the loader is the bottleneck.
    pub loader_us: f64,
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
    runs: Vec<Measured>,
    ratios: Vec<Ratio>,
}

/// The server by the floor at one number of readers; each the mean of all rounds.
#[derive(Clone, Debug, Serialize)]
pub struct Ratio {
    readers: usize,
    floor_us: f64,
    server_us: f64,
    cost: f64,
    last_reader_p50: f64,
    last_reader_p99: f64,
}

/// What all measurements of a scenario share.
struct Plan {
    messages: Option<u64>,
    deliveries: u64,
    pace: Pace,
    text: String,
    per_address: usize,
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
    fn chunk(&self, server: &Target) -> Result<usize, Failure> {
        let room = format!("probe-{}", std::process::id());
        let mut readers = Readers::new()?;
        let mut voices = Voices::new(server.speaker(&room, 0)?);
        let progress = Progress::new("probe", 1);
        readers.open(1, &server.listening(&room, self.per_address), &progress)?;
        readers.settle(Duration::from_millis(300), REST)?;
        mark(&mut readers, &mut voices, &self.text)?;
        run(&mut readers, &mut voices, 1, Pace::OneInFlight, &self.text, &progress)?;
        let before = readers.tally.bytes;
        run(&mut readers, &mut voices, 1, Pace::OneInFlight, &self.text, &progress)?;
        Ok((readers.tally.bytes - before) as usize)
    }

    fn measure(
        &self,
        target: &Target,
        count: usize,
        round: usize,
        chunk: usize,
    ) -> Result<Measured, Failure> {
        let name = format!("{} round {round}, {count} readers", target.name);
        let room = format!("fanout-{}-{count}-{round}", std::process::id());
        let mut readers = Readers::new()?;
        let mut voices = Voices::new(target.speaker(&room, chunk)?);
        let quiet = Progress::new(&format!("{name}: alone"), ALONE);
        target.wait_idle()?;
        mark(&mut readers, &mut voices, &self.text)?;
        run(&mut readers, &mut voices, WARM_UP, self.pace, &self.text, &quiet)?;
        let (alone, _) =
            cpu_of(target, || run(&mut readers, &mut voices, ALONE, self.pace, &self.text, &quiet))?;
        drop(quiet);

        let progress = Progress::new(&format!("{name}: opening"), count as u64);
        readers.open(count, &target.listening(&room, self.per_address), &progress)?;
        drop(progress);
        readers.settle(REST, Duration::from_secs(60))?;
        let messages =
            self.messages.unwrap_or_else(|| (self.deliveries / count.max(1) as u64).clamp(50, 5000));
        let progress = Progress::new(&name, messages);
        mark(&mut readers, &mut voices, &self.text)?;
        run(&mut readers, &mut voices, WARM_UP, self.pace, &self.text, &progress)?;
        let before = (readers.tally.deliveries, readers.tally.bytes, others(&readers));
        let own = proc::Cpu::of(std::process::id())?;
        let (spent, late) =
            cpu_of(target, || run(&mut readers, &mut voices, messages, self.pace, &self.text, &progress))?;
        let own = proc::Cpu::of(std::process::id())?.since(&own);
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
            per_second: deliveries as f64 / late.wall.as_secs_f64(),
            loader_us: per_delivery(us(own)),
            answer_p50_ms: ms(&late.answer, 0.5),
            answer_p99_ms: ms(&late.answer, 0.99),
            last_reader_p50_ms: ms(&late.last_reader, 0.5),
            last_reader_p99_ms: ms(&late.last_reader, 0.99),
        })
    }
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

impl Report {
    fn new(scenario: &'static str, pace: Pace, runs: Vec<Measured>) -> Self {
        let mut counts: Vec<usize> = runs.iter().map(|run| run.readers).collect();
        counts.dedup();
        let ratios = counts.into_iter().filter_map(|readers| ratio(&runs, readers)).collect();
        Self { scenario, machine: proc::machine(), pace: format!("{pace:?}"), runs, ratios }
    }
}

fn ratio(runs: &[Measured], readers: usize) -> Option<Ratio> {
    let mean = |target: &str, what: fn(&Measured) -> f64| {
        let of: Vec<f64> =
            runs.iter().filter(|r| r.target == target && r.readers == readers).map(what).collect();
        (!of.is_empty()).then(|| of.iter().sum::<f64>() / of.len() as f64)
    };
    let by_floor = |what: fn(&Measured) -> f64| Some(mean("maru", what)? / mean("floor", what)?);
    Some(Ratio {
        readers,
        floor_us: mean("floor", |r| r.cost_us)?,
        server_us: mean("maru", |r| r.cost_us)?,
        cost: by_floor(|r| r.cost_us)?,
        last_reader_p50: by_floor(|r| r.last_reader_p50_ms)?,
        last_reader_p99: by_floor(|r| r.last_reader_p99_ms)?,
    })
}

impl std::fmt::Display for Measured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:5} round {} {:6} readers: {:.3} µs per delivery, last reader p50 {:.2} p99 {:.2} ms \
             ({} messages of {:.0} bytes, speaking {:.0} µs, loader {:.2} µs, {:.2} M/s, others {})",
            self.target,
            self.round,
            self.readers,
            self.cost_us,
            self.last_reader_p50_ms,
            self.last_reader_p99_ms,
            self.messages,
            self.bytes,
            self.speaking_us,
            self.loader_us,
            self.per_second / 1e6,
            self.others,
        )
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{} on {}, {}", self.scenario, self.machine, self.pace)?;
        self.runs.iter().try_for_each(|run| writeln!(f, "  {run}"))?;
        for ratio in &self.ratios {
            writeln!(
                f,
                "  {:6} readers: {:.3} / {:.3} µs = {:.3} × floor; last reader p50 {:.2} ×, p99 {:.2} ×",
                ratio.readers,
                ratio.server_us,
                ratio.floor_us,
                ratio.cost,
                ratio.last_reader_p50,
                ratio.last_reader_p99
            )?;
        }
        write!(f, "  nothing lost, repeated or out of order")
    }
}
