//! More silent readers than one process may have: many pairs of a server and a loader, each within the limit of open
//! files, all held at once.

use super::plot::{Chart, Charts, Line};
use super::{Failure, Progress, idle, mean};
use crate::proc;
use serde::Serialize;
use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

/// Readers at which memory is read first: what comes above is their slope.
const FROM: usize = 1000;

/// What to measure.
#[derive(Clone, Debug, clap::Args)]
pub struct Hold {
    /// Readers in all
    #[arg(long, default_value_t = 500_000)]
    readers: usize,
    /// Readers of one server
    #[arg(long, default_value_t = 18_000)]
    each: usize,
    /// How long all of them listen at once (seconds)
    #[arg(long, default_value_t = 60)]
    hold: u64,
    /// The maru to start; default: the one beside this program
    #[arg(long)]
    server: Option<PathBuf>,
}

/// What they cost.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    scenario: &'static str,
    machine: String,
    readers: usize,
    servers: usize,
    /// Memory of the whole machine that went with each reader, both ends and the kernel's part included (bytes).
    machine_per_reader: f64,
    /// Slope of the servers' resident memory, mean (bytes).
    resident_per_reader: f64,
    /// Servers' CPU, per second and reader (µs).
    cpu_us_per_second: f64,
    /// `ping`s per reader.
    pings_per_reader: f64,
    /// Of each server: readers, and the slope of its resident memory (bytes).
    slopes: Vec<(usize, f64)>,
}

/// Starts the pairs one after the other, and holds all readers at once.
///
/// # Errors
/// When a reader is lost, a heartbeat or the message at the end misses, or nothing can be set up.
pub fn hold(args: &Hold) -> Result<Report, Failure> {
    if args.each <= FROM || args.readers < args.each {
        return Err(Failure::Setup(format!("each server needs more than {FROM} readers")));
    }
    let servers = args.readers.div_ceil(args.each);
    let available = proc::available_memory()?;
    let progress = Progress::new("opening", args.readers as u64);
    let mut pairs = Vec::new();
    let mut readers = 0;
    for number in 0..servers {
        let up_to = args.readers * (number + 1) / servers;
        pairs.push(Pair::start(args, up_to - readers)?);
        readers = up_to;
        progress.set(readers as u64);
        eprintln!("{readers} readers of {} servers", pairs.len());
    }
    drop(progress);
    let used = available.saturating_sub(proc::available_memory()?);
    for pair in &mut pairs {
        pair.go_on()?;
    }
    let found = pairs.into_iter().map(Pair::report).collect::<Result<Vec<_>, _>>()?;
    let of = |what: fn(&idle::Report) -> f64| mean(found.iter().map(what));
    Ok(Report {
        scenario: "hold",
        machine: proc::machine(),
        readers,
        servers,
        machine_per_reader: used as f64 / readers as f64,
        resident_per_reader: of(|report| report.resident_end_to_end),
        cpu_us_per_second: of(|report| report.cpu_us_per_second),
        pings_per_reader: of(|report| report.pings_per_reader),
        slopes: found.iter().map(|report| (report.readers(), report.resident_end_to_end)).collect(),
    })
}

/// This very program as the loader of one server of its own.
struct Pair {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Pair {
    /// Waits until all its readers are there.
    fn start(args: &Hold, readers: usize) -> Result<Self, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["idle", "--json", "--wait", "--hold", &args.hold.to_string()]);
        command.args([
            "--from",
            &FROM.to_string(),
            "--to",
            &readers.to_string(),
            "--step",
            &readers.to_string(),
        ]);
        if let Some(server) = &args.server {
            command.arg("--server").arg(server);
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let said = child.stdout.take().ok_or_else(|| Failure::Setup("no pipe".to_owned()))?;
        let mut pair = Self { child, said: BufReader::new(said) };
        let mut line = String::new();
        pair.said.read_line(&mut line)?;
        if line.trim() != idle::OPEN {
            return Err(Failure::Late(format!("{readers} readers could not be opened; see above")));
        }
        Ok(pair)
    }

    fn go_on(&mut self) -> Result<(), Failure> {
        let mut stdin = self.child.stdin.take().ok_or_else(|| Failure::Setup("no pipe".to_owned()))?;
        Ok(stdin.write_all(b"\n")?)
    }

    fn report(mut self) -> Result<idle::Report, Failure> {
        let mut text = String::new();
        self.said.read_to_string(&mut text)?;
        if !self.child.wait()?.success() {
            return Err(Failure::Wrong("a loader failed; see above".to_owned()));
        }
        serde_json::from_str(&text).map_err(|e| Failure::Setup(e.to_string()))
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        // A loader whose stdin ends sees its server off and ends; one that holds already does so when it has held. Killed, it
        // would leave its server behind.
        drop(self.child.stdin.take());
        _ = self.child.wait();
    }
}

impl Charts for Report {
    fn charts(&self) -> Vec<Chart> {
        let points = self.slopes.iter().zip(1..).map(|((_, slope), number)| (f64::from(number), *slope));
        let lines = vec![Line::new("maru", points)];
        vec![Chart::new("hold-memory", "Memory of a reader, by server", "server", "bytes", lines)]
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scenario, machine, readers, servers, .. } = self;
        writeln!(f, "{scenario} on {machine}, {readers} readers at {servers} servers, all at once")?;
        writeln!(
            f,
            "  each: {:.0} bytes of its server, {:.0} of the machine with both ends and the kernel",
            self.resident_per_reader, self.machine_per_reader
        )?;
        writeln!(
            f,
            "  {:.3} µs of server CPU per second and reader, {:.2} pings each",
            self.cpu_us_per_second, self.pings_per_reader
        )?;
        write!(f, "  one message reached all readers of each server; nobody was lost")
    }
}
