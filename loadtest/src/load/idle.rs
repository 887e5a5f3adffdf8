//! Many silent readers, each a guest of its own and with all limits on: what one costs in memory, and all in CPU.

use super::plot::{Chart, Charts, Line};
use super::readers::{REST, Readers, TRIGGERS};
use super::run::{Pace, mark, run};
use super::target::Target;
use super::voices::Voices;
use super::{Failure, Progress, Server, check_open_files};
use crate::proc::{self, Memory};
use serde::{Deserialize, Serialize};
use std::io;
use std::time::{Duration, Instant};

/// Readers that share a source address: an address may make 10 guests a second.
const PER_ADDRESS: usize = 10;

/// A `ping` comes after 15 s ± 20 % of quiet; this much later it is missing.
const PING_AT_MOST: f64 = 18.0 + 2.0;

/// What to measure.
#[derive(Clone, Debug, clap::Args)]
pub struct Idle {
    #[command(flatten)]
    server: Server,
    /// Readers at the first step
    #[arg(long, default_value_t = 1000)]
    from: usize,
    /// Readers at the last step
    #[arg(long, default_value_t = 15_000)]
    to: usize,
    /// Readers that come at each step
    #[arg(long, default_value_t = 2000)]
    step: usize,
    /// How long all of them listen in the end, for the CPU and the heartbeats (seconds)
    #[arg(long, default_value_t = 60)]
    hold: u64,
    /// The room
    #[arg(long, default_value = "idle")]
    room: String,
    /// When all are there, says so and holds them from a line on stdin on, as [`hold`](super::hold) wants it
    #[arg(long, hide = true)]
    wait: bool,
}

/// What is said when all are there.
pub(super) const OPEN: &str = "open";

/// Memory with so many readers.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Step {
    readers: usize,
    #[serde(flatten)]
    memory: Memory,
}

/// What idle readers cost.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    scenario: String,
    machine: String,
    steps: Vec<Step>,
    /// Slope of `VmRSS` over the readers, by least squares (bytes).
    resident_per_reader: f64,
    /// Slope of `RssAnon` over the readers, by least squares (bytes).
    anonymous_per_reader: f64,
    /// The same from the first step to the last alone.
    pub(super) resident_end_to_end: f64,
    /// How long the readers only listened (seconds).
    held_s: f64,
    /// Server CPU in that time, per second and reader (µs).
    pub(super) cpu_us_per_second: f64,
    /// `ping`s per reader in that time.
    pub(super) pings_per_reader: f64,
    /// `presence`s per reader in that time.
    presence_per_reader: f64,
    /// One message at the end: until the last reader had it (ms).
    last_reader_ms: f64,
}

/// Opens readers step by step, watches the server's memory, holds them, and sees that one message reaches them all.
///
/// # Errors
/// When a reader is lost, a heartbeat or the message misses, or nothing can be set up.
pub fn idle(args: &Idle) -> Result<Report, Failure> {
    check_open_files(args.to)?;
    let target = Target::server(&args.server, &[])?;
    measure(args, &target).map_err(|e| target.explain(e))
}

fn measure(args: &Idle, target: &Target) -> Result<Report, Failure> {
    let mut readers = Readers::new()?;
    let opening = target.listening(&args.room, PER_ADDRESS);
    let progress = Progress::new("opening", args.to as u64);
    let mut steps = Vec::new();
    let mut count = args.from;
    loop {
        readers.open(0, count, &opening, &progress)?;
        readers.settle(REST, Duration::from_secs(60))?;
        let memory = settled_memory(target, &mut readers)?;
        steps.push(Step { readers: count, memory });
        eprintln!("{}", steps[steps.len() - 1]);
        if count >= args.to {
            break;
        }
        count = (count + args.step.max(1)).min(args.to);
    }
    drop(progress);
    if args.wait {
        wait_for_a_line(&mut readers)?;
    }

    let (pings, presence) = (readers.tally.pings, readers.tally.presence);
    let (start, before) = (Instant::now(), target.cpu()?);
    let progress = Progress::new("holding", args.hold);
    while start.elapsed().as_secs() < args.hold {
        readers.idle(Duration::from_millis(500))?;
        progress.set(start.elapsed().as_secs());
    }
    drop(progress);
    let (held, cpu) = (start.elapsed().as_secs_f64(), target.cpu()?.since(&before));
    let per_reader = |n: u64| n as f64 / readers.len() as f64;
    let pings = per_reader(readers.tally.pings - pings);
    let presence = per_reader(readers.tally.presence - presence);
    if pings < (held / PING_AT_MOST).floor() {
        return Err(Failure::Late(format!("{pings:.2} pings per reader in {held:.0} s of quiet")));
    }

    let mut voices = Voices::new(target.speaker(std::slice::from_ref(&args.room), 0)?);
    let progress = Progress::new("one message to all", 1);
    mark(&mut readers, &mut voices, "first")?;
    let late = run(&mut readers, &mut voices, 1, Pace::ONE, "is everybody here?", &progress)?;
    let expected = 2 * readers.len() as u64;
    if readers.tally.deliveries != expected {
        let came = readers.tally.deliveries;
        return Err(Failure::Wrong(format!("{expected} deliveries were due and {came} came")));
    }
    Ok(Report {
        scenario: "idle".to_owned(),
        machine: proc::machine(),
        resident_per_reader: slope(&steps, |m| m.resident),
        anonymous_per_reader: slope(&steps, |m| m.anonymous),
        resident_end_to_end: slope(&[steps[0], steps[steps.len() - 1]], |m| m.resident),
        steps,
        held_s: held,
        cpu_us_per_second: cpu.as_secs_f64() * 1e6 / held / readers.len() as f64,
        pings_per_reader: pings,
        presence_per_reader: presence,
        last_reader_ms: late.last_reader.max() as f64 / 1e6,
    })
}

/// Says that all are there, and reads on until a line comes on stdin; its end means that nobody wants to know any more.
fn wait_for_a_line(readers: &mut Readers) -> Result<(), Failure> {
    let stdin = io::stdin();
    readers.watch(&stdin, TRIGGERS)?;
    println!("{OPEN}");
    let mut has_come = false;
    while !has_come {
        readers.poll(Duration::from_secs(1), |_| {
            has_come = true;
            Ok(())
        })?;
    }
    readers.forget(&stdin)?;
    match stdin.read_line(&mut String::new())? {
        0 => Err(Failure::Setup("told to end".to_owned())),
        _ => Ok(()),
    }
}

/// Memory once it no longer moves from one second to the next, or after ten.
fn settled_memory(target: &Target, readers: &mut Readers) -> Result<Memory, Failure> {
    let mut before = Memory::of(target.pid)?;
    for _ in 0..10 {
        readers.idle(Duration::from_secs(1))?;
        let now = Memory::of(target.pid)?;
        if now == before {
            break;
        }
        before = now;
    }
    Ok(before)
}

/// Slope by least squares, in bytes per reader.
fn slope(steps: &[Step], what: fn(&Memory) -> u64) -> f64 {
    let n = steps.len() as f64;
    let mean = |f: &dyn Fn(&Step) -> f64| steps.iter().map(f).sum::<f64>() / n;
    let (x, y) = (|s: &Step| s.readers as f64, |s: &Step| what(&s.memory) as f64);
    let (mean_x, mean_y) = (mean(&x), mean(&y));
    let spread = mean(&|s| (x(s) - mean_x).powi(2));
    mean(&|s| (x(s) - mean_x) * (y(s) - mean_y)) / spread
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let Memory { resident, anonymous } = self.memory;
        write!(
            f,
            "{:6} readers: {:.2} MiB resident, {:.2} anonymous",
            self.readers,
            mib(resident),
            mib(anonymous)
        )
    }
}

impl Report {
    /// How many there were in the end.
    pub(super) fn readers(&self) -> usize {
        self.steps.last().map_or(0, |step| step.readers)
    }
}

impl Charts for Report {
    fn charts(&self) -> Vec<Chart> {
        let line = |name, what: fn(&Memory) -> u64| {
            let mib = |step: &Step| what(&step.memory) as f64 / f64::from(1 << 20);
            Line::new(name, self.steps.iter().map(|step| (step.readers as f64, mib(step))))
        };
        let lines = vec![line("anonymous", |m| m.anonymous), line("resident", |m| m.resident)];
        vec![Chart::new("idle-memory", "Memory of the server", "silent readers", "MiB", lines)]
    }
}

impl std::fmt::Display for Report {
    /// The summary; the steps were shown when they were taken, and are in the JSON.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let readers = self.readers();
        writeln!(f, "{} on {}, up to {readers} readers", self.scenario, self.machine)?;
        writeln!(
            f,
            "  memory per reader: {:.0} bytes resident ({:.0} anonymous; {:.0} from end to end)",
            self.resident_per_reader, self.anonymous_per_reader, self.resident_end_to_end
        )?;
        writeln!(
            f,
            "  held {:.0} s: {:.3} µs of CPU per second and reader, {:.2} pings and {:.2} presences each",
            self.held_s, self.cpu_us_per_second, self.pings_per_reader, self.presence_per_reader
        )?;
        write!(f, "  one message reached all of them in {:.1} ms; nobody was lost", self.last_reader_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_is_that_of_the_line_through_the_steps() {
        let step = |readers: usize| {
            let bytes = 5_000_000 + 300 * readers as u64;
            Step { readers, memory: Memory { resident: bytes, anonymous: bytes / 2 } }
        };
        let steps: Vec<_> = [1000, 3000, 9000, 15_000].map(step).to_vec();
        assert!((slope(&steps, |m| m.resident) - 300.0).abs() < 0.01);
        assert!((slope(&steps, |m| m.anonymous) - 150.0).abs() < 0.01);
    }
}
