//! All readers are dropped at once and come back, each with events to catch up on: how long until all are current,
//! beside a bare server that accepts and writes.

use super::plot::{Chart, Charts, Line};
use super::readers::{PER_ADDRESS, REST, Readers};
use super::run::{Pace, mark, run};
use super::target::Target;
use super::voices::Voices;
use super::{Failure, Progress, Server, check_open_files, mean, ms};
use crate::proc;
use serde::Serialize;
use std::fmt;
use std::time::{Duration, Instant};

/// Of the curve.
const QUANTILES: [f64; 9] = [0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0];

/// What to measure.
#[derive(Clone, Debug, clap::Args)]
pub struct Storm {
    #[command(flatten)]
    server: Server,
    /// Readers, in all rooms together
    #[arg(long, default_value_t = 15_000)]
    readers: usize,
    /// Rooms that they are in
    #[arg(long, default_value_t = 1)]
    rooms: usize,
    /// Events that each has missed when it comes back
    #[arg(long, default_value_t = 50)]
    missed: u64,
    /// Connections that are under way at once: fewer than the listener's backlog, so that no SYN is dropped
    #[arg(long, default_value_t = 1000)]
    at_once: usize,
    /// Length of a message's text (bytes)
    #[arg(long, default_value_t = 40)]
    text: usize,
    /// How often floor and server are measured, in turns
    #[arg(long, default_value_t = 2)]
    rounds: usize,
}

/// One storm.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    target: &'static str,
    round: usize,
    readers: usize,
    rooms: usize,
    /// From the first connection until the last reader was current (ms).
    all_current_ms: f64,
    /// From when a reader connected until it was current (ms).
    current_p50_ms: f64,
    current_p99_ms: f64,
    /// The same at each of [`QUANTILES`] (ms).
    current_ms: Vec<f64>,
    /// Server CPU per reader (µs).
    cpu_us: f64,
    /// Bytes to each reader.
    bytes: f64,
    /// Cores that the loader used.
    loader_cores: f64,
    /// Times that the server read its log; the floor has none.
    log_reads: Option<u64>,
}

/// All storms.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    scenario: &'static str,
    machine: String,
    missed: u64,
    runs: Vec<Measured>,
    /// The server's mean time until all were current by the floor's.
    ratio: f64,
}

/// Readers are dropped and come back; the bare server first, then maru, in turns.
///
/// # Errors
/// When an event is lost, repeated or out of order, or a reader does not come back, or nothing can be set up.
pub fn storm(args: &Storm) -> Result<Report, Failure> {
    check_open_files(args.readers)?;
    if args.rooms == 0 || args.readers < args.rooms || args.missed == 0 || args.at_once == 0 {
        return Err(Failure::Setup("there is nothing to measure with these numbers".to_owned()));
    }
    let server = Target::server(&args.server, &["--rate-limit", "off"])?;
    let floor = Target::floor(args.server.pin)?;
    let (mut runs, mut chunk) = (Vec::new(), 300);
    for round in 1..=args.rounds {
        // Maru first, because the floor's events are made as large as its were.
        for target in [&server, &floor] {
            let measured = one(args, target, round, chunk).map_err(|e| target.explain(e))?;
            if target.name == server.name {
                chunk = (measured.bytes / args.missed as f64) as usize;
            }
            eprintln!("{measured}");
            runs.push(measured);
        }
    }
    let of = |name| mean(runs.iter().filter(|run| run.target == name).map(|run| run.all_current_ms));
    let ratio = of(server.name) / of(floor.name);
    Ok(Report { scenario: "storm", machine: proc::machine(), missed: args.missed, runs, ratio })
}

fn one(args: &Storm, target: &Target, round: usize, chunk: usize) -> Result<Measured, Failure> {
    let name = format!("{} round {round}", target.name);
    let text = "x".repeat(args.text.max(1));
    let rooms: Vec<_> =
        (0..args.rooms).map(|n| format!("storm-{:07}-{round:02}-{n:05}", std::process::id())).collect();
    let openings: Vec<_> = rooms.iter().map(|room| target.listening(room, PER_ADDRESS)).collect();
    let mut readers = Readers::new()?;
    let speaker = || Ok::<_, Failure>(Voices::new(target.speaker(&rooms, chunk)?));
    mark(&mut readers, &mut speaker()?, &text)?;
    let progress = Progress::new(&format!("{name}: opening"), args.readers as u64);
    for (group, opening) in openings.iter().enumerate() {
        let count = args.readers * (group + 1) / args.rooms - args.readers * group / args.rooms;
        readers.open(group, count, opening, &progress)?;
    }
    drop(progress);
    readers.settle(REST, Duration::from_secs(60))?;

    (0..args.rooms).for_each(|group| readers.hang_up(group));
    let messages = args.missed * args.rooms as u64;
    let progress = Progress::new(&format!("{name}: what they miss"), messages);
    // Nobody is there, so nobody is waited for.
    run(&mut Readers::new()?, &mut speaker()?, messages, Pace::InFlight(50), &text, &progress)?;
    drop(progress);
    target.wait_idle()?;

    let before = (readers.tally.deliveries, readers.tally.bytes, target.log_reads()?);
    let (cpu, own) = (target.cpu()?, proc::Cpu::of(std::process::id())?);
    readers.until_live.reset();
    let progress = Progress::new(&format!("{name}: coming back"), args.readers as u64);
    let start = Instant::now();
    let all: Vec<_> = (0..args.rooms).collect();
    readers.come_back(&all, &openings, args.at_once, &progress)?;
    let wall = start.elapsed();
    let own = proc::Cpu::of(std::process::id())?.since(&own);
    let cpu = target.cpu()?.since(&cpu);
    let (due, came) = (args.missed * args.readers as u64, readers.tally.deliveries - before.0);
    if due != came {
        return Err(Failure::Wrong(format!("{due} deliveries were due and {came} came")));
    }
    let each = |what: f64| what / args.readers as f64;
    Ok(Measured {
        target: target.name,
        round,
        readers: args.readers,
        rooms: args.rooms,
        all_current_ms: wall.as_secs_f64() * 1e3,
        current_p50_ms: ms(&readers.until_live, 0.5),
        current_p99_ms: ms(&readers.until_live, 0.99),
        current_ms: QUANTILES.iter().map(|&quantile| ms(&readers.until_live, quantile)).collect(),
        cpu_us: each(cpu.as_secs_f64() * 1e6),
        bytes: each((readers.tally.bytes - before.1) as f64),
        loader_cores: own.as_secs_f64() / wall.as_secs_f64(),
        log_reads: target.log_reads()?.zip(before.2).map(|(now, before)| now - before),
    })
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:5} round {} {} readers of {} rooms: all current in {:.0} ms, each in p50 {:.1} p99 {:.1} ms \
             ({:.0} bytes and {:.1} µs of CPU each, loader {:.2} cores",
            self.target,
            self.round,
            self.readers,
            self.rooms,
            self.all_current_ms,
            self.current_p50_ms,
            self.current_p99_ms,
            self.bytes,
            self.cpu_us,
            self.loader_cores,
        )?;
        match self.log_reads {
            Some(reads) => write!(f, ", {reads} reads of the log)"),
            None => write!(f, ")"),
        }
    }
}

impl Charts for Report {
    fn charts(&self) -> Vec<Chart> {
        let line = |name| {
            let of = || self.runs.iter().filter(|run| run.target == name);
            let at = |n: usize| mean(of().map(|run| run.current_ms[n]));
            Line::new(name, QUANTILES.iter().enumerate().map(|(n, quantile)| (100.0 * quantile, at(n))))
        };
        let lines = vec![line("floor"), line("maru")];
        vec![Chart::new("storm-latency", "Connected until current", "% of the readers", "ms at most", lines)]
    }
}

impl fmt::Display for Report {
    /// The summary; the single runs were shown when they ended, and are in the JSON.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scenario, machine, missed, runs, ratio } = self;
        writeln!(f, "{scenario} on {machine}, {missed} events missed, {} runs", runs.len())?;
        for name in ["floor", "maru"] {
            let of = || runs.iter().filter(|run| run.target == name);
            let (all, cpu) = (mean(of().map(|run| run.all_current_ms)), mean(of().map(|run| run.cpu_us)));
            writeln!(f, "  {name:5}: all current in {all:.0} ms, {cpu:.1} µs of CPU per reader")?;
        }
        writeln!(f, "  maru / floor: {ratio:.2} ×")?;
        write!(f, "  nothing lost, repeated or out of order")
    }
}
