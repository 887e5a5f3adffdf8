//! Some readers of a busy room stop taking what they are sent: what the others notice, and what the server keeps.

use super::plot::{Chart, Charts, Line};
use super::readers::{Opening, PER_ADDRESS, REST, Readers};
use super::run::{Pace, mark, run, say};
use super::target::Target;
use super::voices::Voices;
use super::{Failure, Progress, Server, check_open_files, mean, ms};
use crate::proc::{self, Memory};
use serde::Serialize;
use std::fmt;
use std::slice;
use std::time::{Duration, Instant};

/// The readers that read on are group 0, which the speaking waits for; those that stop are group 1.
const OTHERS: usize = 0;
const STUCK: usize = 1;

/// Longest wait until those that were stuck have everything.
const RECOVERY: Duration = Duration::from_secs(60);

/// What to measure.
#[derive(Clone, Debug, clap::Args)]
pub struct Stuck {
    #[command(flatten)]
    server: Server,
    /// Readers of the room
    #[arg(long, default_value_t = 1000)]
    readers: usize,
    /// How many of them stop reading (percent)
    #[arg(long, default_value_t = 10)]
    share: usize,
    /// Messages a second
    #[arg(long, default_value_t = 100.0)]
    rate: f64,
    /// How long each measurement takes (seconds)
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Length of a message's text (bytes)
    #[arg(long, default_value_t = 1000)]
    text: usize,
    /// How often the others are measured, each time without and with readers that are stuck
    #[arg(long, default_value_t = 2)]
    rounds: usize,
}

/// The others' lateness, and the server's memory at the end.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    round: usize,
    stuck: usize,
    messages: u64,
    /// POST until the last reader that reads has the event (ms).
    last_reader_p50_ms: f64,
    last_reader_p99_ms: f64,
    /// Server memory at the end.
    #[serde(flatten)]
    memory: Memory,
    /// Readers that the server has ended by then.
    ended: usize,
    /// Cores that the loader used.
    loader_cores: f64,
}

/// All measurements.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    scenario: &'static str,
    machine: String,
    readers: usize,
    runs: Vec<Measured>,
    /// The others' mean p99 with readers that are stuck by that without.
    p99_ratio: f64,
    /// Resident memory with readers that are stuck less that without, mean (bytes).
    growth: f64,
}

/// Measures the others with and without readers that are stuck, and lets those catch up in between.
///
/// # Errors
/// When an event is lost, repeated or out of order (for those that were stuck too), or nothing can be set up.
pub fn stuck(args: &Stuck) -> Result<Report, Failure> {
    check_open_files(args.readers)?;
    let stuck = args.readers * args.share / 100;
    if stuck == 0 || stuck >= args.readers || args.rate <= 0.0 {
        return Err(Failure::Setup("there is nothing to measure with these numbers".to_owned()));
    }
    let target = Target::server(&args.server, &["--rate-limit", "off"])?;
    let runs = measure(args, stuck, &target).map_err(|e| target.explain(e))?;
    let of = |is_stuck: bool| runs.iter().filter(move |run| (run.stuck > 0) == is_stuck);
    let p99 = |is_stuck| mean(of(is_stuck).map(|run| run.last_reader_p99_ms));
    let resident = |is_stuck| mean(of(is_stuck).map(|run| run.memory.resident as f64));
    Ok(Report {
        scenario: "stuck",
        machine: proc::machine(),
        readers: args.readers,
        p99_ratio: p99(true) / p99(false),
        growth: resident(true) - resident(false),
        runs,
    })
}

fn measure(args: &Stuck, stuck: usize, target: &Target) -> Result<Vec<Measured>, Failure> {
    let room = format!("stuck-{}", std::process::id());
    let openings = [OTHERS, STUCK].map(|_| target.listening(&room, PER_ADDRESS));
    let text = "x".repeat(args.text.max(1));
    let mut readers = Readers::new()?;
    let mut voices = Voices::new(target.speaker(slice::from_ref(&room), 0)?);
    mark(&mut readers, &mut voices, &text)?;
    let progress = Progress::new("opening", args.readers as u64);
    readers.open(OTHERS, args.readers - stuck, &openings[OTHERS], &progress)?;
    readers.open(STUCK, stuck, &openings[STUCK], &progress)?;
    drop(progress);
    readers.settle(REST, Duration::from_secs(60))?;

    let messages = (args.rate * args.seconds as f64).max(1.0) as u64;
    let (mut runs, mut spoken) = (Vec::new(), 0);
    for round in 1..=args.rounds {
        for stuck in [0, stuck] {
            if stuck > 0 {
                readers.stop_taking(STUCK)?;
            }
            let progress = Progress::new(&format!("round {round}, {stuck} stuck"), messages);
            mark(&mut readers, &mut voices, &text)?;
            let (start, own) = (Instant::now(), proc::Cpu::of(std::process::id())?);
            let late =
                run(&mut readers, &mut voices, messages, Pace::PerSecond(args.rate), &text, &progress)?;
            let own = proc::Cpu::of(std::process::id())?.since(&own);
            let cores = own.as_secs_f64() / start.elapsed().as_secs_f64();
            let memory = Memory::of(target.pid)?;
            spoken += messages + 1;
            let mut ended = 0;
            if stuck > 0 {
                ended = recover(&mut readers, &mut voices, &openings, &text)?;
                spoken += 1;
            }
            let measured = Measured {
                round,
                stuck,
                messages,
                last_reader_p50_ms: ms(&late.last_reader, 0.5),
                last_reader_p99_ms: ms(&late.last_reader, 0.99),
                memory,
                ended,
                loader_cores: cores,
            };
            eprintln!("{measured}");
            runs.push(measured);
        }
    }
    let (due, came) = (spoken * args.readers as u64, readers.tally.deliveries);
    if due != came {
        return Err(Failure::Wrong(format!("{due} deliveries were due and {came} came")));
    }
    Ok(runs)
}

/// Those that were stuck read on, come back where the server has ended them, and get all that they lack. Gives how many
/// had been ended.
fn recover(
    readers: &mut Readers,
    voices: &mut Voices,
    openings: &[Opening],
    text: &str,
) -> Result<usize, Failure> {
    let tip = say(readers, voices, 0, text)?;
    readers.take_again(STUCK)?;
    let (deadline, mut ended) = (Instant::now() + RECOVERY, 0);
    while [OTHERS, STUCK].iter().any(|&group| readers.least(group) < Some(tip)) {
        if Instant::now() > deadline {
            return Err(Failure::Late(format!("not all have {tip} after {RECOVERY:?}")));
        }
        readers.poll(Duration::from_millis(100), |_| Ok(()))?;
        let away = readers.away(STUCK);
        if away > 0 {
            ended += away;
            readers.come_back(&[STUCK], openings, 64, &Progress::new("coming back", away as u64))?;
        }
    }
    Ok(ended)
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "stuck round {} {:5} stuck: last reader p50 {:.2} p99 {:.2} ms, {:.1} MiB resident, {} ended (loader {:.2} \
             cores)",
            self.round,
            self.stuck,
            self.last_reader_p50_ms,
            self.last_reader_p99_ms,
            self.memory.resident as f64 / f64::from(1 << 20),
            self.ended,
            self.loader_cores,
        )
    }
}

impl Charts for Report {
    fn charts(&self) -> Vec<Chart> {
        let line = |name, is_stuck: bool| {
            let of = self.runs.iter().filter(move |run| (run.stuck > 0) == is_stuck);
            Line::new(name, of.map(|run| (run.round as f64, run.last_reader_p99_ms)))
        };
        let lines = vec![line("all read", false), line("some are stuck", true)];
        vec![Chart::new("stuck-latency", "p99 to the last reader that reads", "round", "ms", lines)]
    }
}

impl fmt::Display for Report {
    /// The summary; the single runs were shown when they ended, and are in the JSON.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scenario, machine, readers, runs, p99_ratio, growth } = self;
        let stuck = runs.iter().map(|run| run.stuck).max().unwrap_or_default();
        writeln!(f, "{scenario} on {machine}, {stuck} of {readers} readers")?;
        writeln!(f, "  the others' p99 with / without: {p99_ratio:.2} ×")?;
        writeln!(
            f,
            "  memory of the server: {:+.1} KiB for each that is stuck",
            growth / 1024.0 / stuck as f64
        )?;
        write!(f, "  nothing lost, repeated or out of order, for those that were stuck either")
    }
}
