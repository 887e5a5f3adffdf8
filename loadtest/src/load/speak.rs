//! POSTs a second, acknowledged, with nobody listening; and beside them a loop that only commits the same rows.

use super::commits::commit;
use super::crowd::Crowd;
use super::plot::{Chart, Charts, Line};
use super::target::Target;
use super::{Failure, Server, mean, ms};
use crate::proc::{self, Cpu};
use clap::ValueEnum;
use serde::Serialize;
use std::fmt;
use std::time::{Duration, Instant};

/// What comes first makes rooms and sessions, and warms caches.
const WARM_UP: Duration = Duration::from_millis(500);

/// What to measure.
#[derive(Clone, Debug, clap::Args)]
pub struct Speak {
    #[command(flatten)]
    server: Server,
    /// Connections to speak over, each of a person of its own; several counts are measured one after the other
    #[arg(long, value_delimiter = ',', default_value = "1,16,64,256")]
    speakers: Vec<usize>,
    /// Messages that each has under way
    #[arg(long, default_value_t = 1)]
    depth: usize,
    /// Rooms that are spoken in
    #[arg(long, default_value_t = 16)]
    rooms: usize,
    /// What each POST waits for; default: what the server's --ack says
    #[arg(long, value_enum)]
    ack: Option<Ack>,
    /// How long each measurement takes (seconds)
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// How often everything is measured, in turns
    #[arg(long, default_value_t = 2)]
    rounds: usize,
}

/// `?ack=`
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Ack {
    Buffered,
    Stored,
}

/// One measurement.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    round: usize,
    speakers: usize,
    /// POSTs acknowledged.
    posts: u64,
    /// POSTs acknowledged a second.
    per_second: f64,
    /// Rows a second that the bare loop commits, as many at a time as there are messages under way.
    commits_per_second: f64,
    /// POST until its answer (ms).
    answer_p50_ms: f64,
    answer_p99_ms: f64,
    /// Server CPU for each (µs).
    cpu_us: f64,
    /// Cores that the loader used.
    loader_cores: f64,
}

/// All measurements.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    scenario: &'static str,
    machine: String,
    rooms: usize,
    depth: usize,
    runs: Vec<Measured>,
}

/// Measures the server, and the bare loop beside it on the same disk.
///
/// # Errors
/// When an acknowledged message is not in the log, or is twice or out of its order, or nothing can be set up.
pub fn speak(args: &Speak) -> Result<Report, Failure> {
    let is_sane = |&speakers: &usize| (1..10_000).contains(&speakers);
    if args.rooms == 0 || args.depth == 0 || !args.speakers.iter().all(is_sane) {
        return Err(Failure::Setup("there is nothing to measure with these numbers".to_owned()));
    }
    let mut runs = Vec::new();
    for round in 1..=args.rounds {
        for &speakers in &args.speakers {
            // Both on an empty store.
            let server = Target::server(&args.server, &["--rate-limit", "off"])?;
            let measured = one(args, &server, round, speakers).map_err(|e| server.explain(e))?;
            eprintln!("{measured}");
            runs.push(measured);
        }
    }
    let (rooms, depth) = (args.rooms, args.depth);
    Ok(Report { scenario: "speak", machine: proc::machine(), rooms, depth, runs })
}

fn one(args: &Speak, server: &Target, round: usize, speakers: usize) -> Result<Measured, Failure> {
    let time = Duration::from_secs(args.seconds.max(1));
    let name = |n| format!("speak-{}-{speakers}-{round}-{n}", std::process::id());
    let rooms: Vec<_> = (0..args.rooms).map(name).collect();
    let query = match args.ack {
        None => "",
        Some(Ack::Buffered) => "?ack=buffered",
        Some(Ack::Stored) => "?ack=stored",
    };
    let mut crowd = Crowd::new(speakers, &[server.address()], &rooms, query)?;
    crowd.speak(WARM_UP, args.depth)?;
    let (start, before, own) = (Instant::now(), server.cpu()?, Cpu::of(std::process::id())?);
    let spoken = crowd.speak(time, args.depth)?;
    let (wall, cpu) = (start.elapsed(), server.cpu()?.since(&before));
    let own = Cpu::of(std::process::id())?.since(&own);
    crowd.check(server.address(), &rooms)?;

    let under_way = (speakers * args.depth) as u64;
    let folder = tempfile::tempdir()?;
    let committed = commit(&folder.path().join("store"), under_way, args.rooms, time)?;
    Ok(Measured {
        round,
        speakers,
        posts: spoken.acknowledged,
        per_second: spoken.acknowledged as f64 / spoken.wall.as_secs_f64(),
        commits_per_second: committed.rows as f64 / committed.wall.as_secs_f64(),
        answer_p50_ms: ms(&spoken.answer, 0.5),
        answer_p99_ms: ms(&spoken.answer, 0.99),
        cpu_us: cpu.as_secs_f64() * 1e6 / spoken.acknowledged.max(1) as f64,
        loader_cores: own.as_secs_f64() / wall.as_secs_f64(),
    })
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "speak round {} {:4} speakers: {:.0} POSTs/s, answer p50 {:.2} p99 {:.2} ms, {:.1} µs of CPU each \
             (bare commits {:.0}/s; loader {:.2} cores)",
            self.round,
            self.speakers,
            self.per_second,
            self.answer_p50_ms,
            self.answer_p99_ms,
            self.cpu_us,
            self.commits_per_second,
            self.loader_cores,
        )
    }
}

impl Report {
    /// All that were measured, ascending.
    fn counts(&self) -> Vec<usize> {
        let mut counts: Vec<_> = self.runs.iter().map(|run| run.speakers).collect();
        counts.sort_unstable();
        counts.dedup();
        counts
    }

    /// Over all rounds.
    fn mean(&self, speakers: usize, what: fn(&Measured) -> f64) -> f64 {
        mean(self.runs.iter().filter(|run| run.speakers == speakers).map(what))
    }
}

impl Charts for Report {
    fn charts(&self) -> Vec<Chart> {
        let line = |name, what: fn(&Measured) -> f64| {
            let mean = |count| (count as f64, self.mean(count, what));
            Line::new(name, self.counts().into_iter().map(mean))
        };
        let rates =
            vec![line("bare commits", |run| run.commits_per_second), line("POSTs", |run| run.per_second)];
        let answers = vec![line("p50", |run| run.answer_p50_ms), line("p99", |run| run.answer_p99_ms)];
        vec![
            Chart::new("speak-rate", "POSTs acknowledged", "speakers", "a second", rates),
            Chart::new("speak-latency", "POST to its answer", "speakers", "ms", answers),
        ]
    }
}

impl fmt::Display for Report {
    /// Means of all rounds; the single runs were shown when they ended, and are in the JSON.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scenario, machine, rooms, depth, .. } = self;
        writeln!(f, "{scenario} on {machine}, {rooms} rooms, {depth} under way for each speaker")?;
        for count in self.counts() {
            let of = |what| self.mean(count, what);
            let (posts, commits) = (of(|run| run.per_second), of(|run| run.commits_per_second));
            writeln!(
                f,
                "  {count:4} speakers: {posts:.0} POSTs/s, p50 {:.2} p99 {:.2} ms; bare commits {commits:.0}/s, \
                 POSTs / commits {:.2} ×",
                of(|run| run.answer_p50_ms),
                of(|run| run.answer_p99_ms),
                posts / commits,
            )?;
        }
        write!(f, "  every acknowledged message is in the log, once and in its order")
    }
}
