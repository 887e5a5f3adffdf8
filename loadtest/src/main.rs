//! `loadtest`: arguments → scenario → report → exit code.

#![forbid(unsafe_code)]

use clap::{Parser, Subcommand};
use loadtest::load::{Failure, fanout, floor, idle, peers, pods};
use std::fmt::Display;
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
    /// The report as JSON on stdout
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Scenario {
    /// N readers of one room: CPU per delivery, latency to the last reader, and the floor beside both
    Fanout(fanout::Fanout),
    /// Only the floor: a bare loop of one send() per reader
    Floor(fanout::FloorAlone),
    /// N silent readers, each a guest of its own: memory and CPU each
    Idle(idle::Idle),
    /// Fanout on other servers too, those that are installed: nchan, Centrifugo, Mercure, Durable Streams, Socket.IO, Node
    Peers(peers::Peers),
    /// Many pods over Redis and MySQL, started here: appends, draining and the backplane, each beside its floor
    Pods(pods::Pods),
    /// The floor itself, started by the others
    #[command(name = floor::PROGRAM, hide = true)]
    FloorProgram,
}

fn main() -> ExitCode {
    let Arguments { scenario, json } = Arguments::parse();
    let done = match scenario {
        Scenario::Fanout(args) => fanout::fanout(&args).and_then(|report| print(&report, json)),
        Scenario::Floor(args) => fanout::floor(&args).and_then(|report| print(&report, json)),
        Scenario::Idle(args) => idle::idle(&args).and_then(|report| print(&report, json)),
        Scenario::Peers(args) => peers::peers(&args).and_then(|report| {
            print(&report, json)?;
            report.verdict()
        }),
        Scenario::Pods(args) => pods::pods(&args).and_then(|report| print(&report, json)),
        Scenario::FloorProgram => floor::program().map_err(Failure::from),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("loadtest: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn print(report: &(impl Display + serde::Serialize), json: bool) -> Result<(), Failure> {
    if json {
        let text = serde_json::to_string_pretty(report).map_err(|e| Failure::Setup(e.to_string()))?;
        println!("{text}");
    } else {
        println!("{report}");
    }
    Ok(())
}
