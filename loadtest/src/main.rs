//! `loadtest`: arguments → scenario → report → exit code.

#![forbid(unsafe_code)]

use clap::{Parser, Subcommand};
use loadtest::load::plot::{self, Charts};
use loadtest::load::{
    Failure, endure, fanout, floor, growth, hold, idle, peers, pods, rooms, speak, storm, stuck, transports,
    verify,
};
use loadtest::matrix;
use std::fmt::Display;
use std::path::PathBuf;
use std::process::ExitCode;

/// Shows what a maru does on this machine, beside what the machine can do at best.
///
/// Everything goes over loopback. Each scenario checks order and completeness and ends with exit code 1 when
/// something is lost, repeated or out of order.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    scenario: Scenario,
    #[command(flatten)]
    shown: Shown,
}

/// How the report is shown.
#[derive(clap::Args)]
struct Shown {
    /// The report as JSON on stdout
    #[arg(long, global = true)]
    json: bool,
    /// Curves as SVG files in this directory
    #[arg(long, global = true, value_name = "DIR")]
    plot: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Scenario {
    /// N readers of one room: CPU per delivery, latency to the last reader, and the floor beside both
    Fanout(fanout::Fanout),
    /// R rooms of k readers, and rooms that nobody listens to
    Rooms(rooms::Rooms),
    /// How cost and latency grow over readers, rooms, pods, message size and rate
    Growth(growth::Growth),
    /// Fanout on other servers too, those that are installed: nchan, Centrifugo, Mercure, Durable Streams, Socket.IO, Node
    Peers(peers::Peers),
    /// N silent readers, each a guest of its own: memory and CPU each
    Idle(idle::Idle),
    /// Silent readers of many servers at once, more than one process may have
    Hold(hold::Hold),
    /// All readers are dropped at once and come back, each with events to catch up on
    Storm(storm::Storm),
    /// Some readers of a busy room stop reading
    Stuck(stuck::Stuck),
    /// Readers over plain HTTP/1.1, TLS and HTTP/2: CPU per delivery and memory of each
    Transports(transports::Transports),
    /// POSTs a second, beside a loop that only commits the same rows
    Speak(speak::Speak),
    /// Many pods over Redis and MySQL, started here: appends, draining and the backplane, each beside its floor
    Pods(pods::Pods),
    /// What came of faults, as a table: of the file that MARU_TEST_RESULTS named when tests were run
    Matrix {
        /// A run each line
        file: PathBuf,
    },
    /// People speak, listen, leave and come back, at one server or many, and the checker decides whether all promises held
    Verify(verify::Verify),
    /// Near its capacity for ten minutes, while some clients fail: memory, open files and lateness
    Endure(endure::Endure),
    /// Only the floor: a bare loop of one send() per reader
    Floor(fanout::FloorAlone),
    /// The floor itself, started by the others
    #[command(name = floor::PROGRAM, hide = true)]
    FloorProgram,
}

fn main() -> ExitCode {
    let Arguments { scenario, shown } = Arguments::parse();
    match run(&scenario, &shown) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("loadtest: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(scenario: &Scenario, shown: &Shown) -> Result<(), Failure> {
    match scenario {
        Scenario::Fanout(args) => shown.show(&fanout::fanout(args)?),
        Scenario::Rooms(args) => shown.show(&rooms::rooms(args)?),
        Scenario::Growth(args) => shown.show(&growth::growth(args)?),
        Scenario::Peers(args) => {
            let report = peers::peers(args)?;
            shown.show(&report)?;
            report.verdict()
        }
        Scenario::Idle(args) => shown.show(&idle::idle(args)?),
        Scenario::Hold(args) => shown.show(&hold::hold(args)?),
        Scenario::Storm(args) => shown.show(&storm::storm(args)?),
        Scenario::Stuck(args) => shown.show(&stuck::stuck(args)?),
        Scenario::Transports(args) => shown.show(&transports::transports(args)?),
        Scenario::Speak(args) => shown.show(&speak::speak(args)?),
        Scenario::Pods(args) => shown.show(&pods::pods(args)?),
        Scenario::Matrix { file } => {
            print!("{}", matrix::table(&matrix::read(file).map_err(Failure::Setup)?));
            Ok(())
        }
        Scenario::Verify(args) => shown.show(&verify::verify(args)?),
        Scenario::Endure(args) => shown.show(&endure::endure(args)?),
        Scenario::Floor(args) => shown.show(&fanout::floor(args)?),
        Scenario::FloorProgram => Ok(floor::program()?),
    }
}

impl Shown {
    fn show(&self, report: &(impl Display + serde::Serialize + Charts)) -> Result<(), Failure> {
        if self.json {
            let text = serde_json::to_string_pretty(report).map_err(|e| Failure::Setup(e.to_string()))?;
            println!("{text}");
        } else {
            println!("{report}");
        }
        self.plot.as_ref().map_or(Ok(()), |directory| plot::draw(directory, &report.charts()))
    }
}
