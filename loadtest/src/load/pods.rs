//! Many pods over Redis and MySQL: what they reach of what these two can do, and how late events are on the way.
//!
//! Everything is started here: real servers by [`testbed`], with nothing in them for each measurement, and the pods.
//! What a figure is held against is measured in the same round, since machines have moods. Each measurement ends
//! with a look into the database: every message that was acknowledged is there once.
//!
//! - `appends`: POSTs a second by a `crowd`, against the server's own `script` called raw and pipelined;
//! - `drain`: rows a second from a full outbox into the database, against a hand-written loop of INSERTs;
//! - `backplane`: from a POST to its event at a reader, on one pod alone and over Redis and NATS.

mod appends;
mod backplane;
mod bed;
mod costs;
mod drain;
mod resp;
mod script;

pub(super) use bed::{Bed, Carrier};

use super::Failure;
use super::plot::{Chart, Charts};
use crate::proc;
use clap::ValueEnum;
use serde::Serialize;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;
use testbed::{Aof, MariaDb};

/// A database that has room for all that is measured, so that no measurement waits for another's pages.
const ROOMY: [&str; 2] = ["--innodb-buffer-pool-size=1G", "--innodb-log-file-size=1G"];

/// What to measure.
#[derive(Clone, Debug, clap::Args)]
pub struct Pods {
    /// Which of the measurements
    #[arg(long, value_enum, default_value = "all")]
    what: What,
    /// The maru to start; default: the one beside this program
    #[arg(long)]
    maru: Option<PathBuf>,
    /// How often everything is measured, in turns
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// How often Redis puts its append-only file on the disk
    #[arg(long, value_enum, default_value = "everysec")]
    fsync: Fsync,
    /// appends, backplane: how long each measurement takes (seconds)
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// appends: connections to speak over
    #[arg(long, default_value_t = 192)]
    speakers: usize,
    /// appends: messages that each speaker has under way
    #[arg(long, default_value_t = 1)]
    depth: usize,
    /// appends, drain: rooms, over all partitions (appends are measured in one room as well)
    #[arg(long, default_value_t = 256)]
    rooms: usize,
    /// drain: entries of the outbox
    #[arg(long, default_value_t = 200_000)]
    rows: u64,
    /// backplane: messages a second
    #[arg(long, value_delimiter = ',', default_value = "200,2000")]
    rate: Vec<f64>,
}

/// Which of the measurements.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum What {
    /// POSTs a second
    Appends,
    /// Rows a second into the database
    Drain,
    /// Lateness of events
    Backplane,
    /// All of these
    All,
}

/// `appendfsync`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Fsync {
    Always,
    Everysec,
}

/// The arguments, as the measurements want them.
struct Setting {
    maru: Option<PathBuf>,
    rounds: usize,
    aof: Aof,
    time: Duration,
    speakers: usize,
    depth: usize,
    rooms: usize,
    rows: u64,
    rates: Vec<f64>,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    scenario: &'static str,
    machine: String,
    fsync: String,
    rounds: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    appends: Option<appends::Report>,
    #[serde(skip_serializing_if = "Option::is_none")]
    drain: Option<drain::Report>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backplane: Option<backplane::Report>,
}

/// Starts servers and pods and measures them.
///
/// # Errors
/// When an acknowledged message is not stored, or is twice, or something cannot be set up.
///
/// # Panics
/// When Redis, NATS or MariaDB cannot be started, as [`testbed`] has it.
pub fn pods(args: &Pods) -> Result<Report, Failure> {
    // Four digits name a speaker in the texts.
    if args.rounds == 0 || args.rooms == 0 || !(1..10_000).contains(&args.speakers) || args.depth == 0 {
        return Err(Failure::Setup("there is nothing to measure with these numbers".to_owned()));
    }
    let setting = Setting {
        maru: args.maru.clone(),
        rounds: args.rounds,
        aof: match args.fsync {
            Fsync::Always => Aof::Always,
            Fsync::Everysec => Aof::EverySecond,
        },
        time: Duration::from_secs(args.seconds.max(1)),
        speakers: args.speakers,
        depth: args.depth,
        rooms: args.rooms,
        rows: args.rows,
        rates: args.rate.clone(),
    };
    let maria = MariaDb::with(&ROOMY);
    let is_wanted = |what: What| args.what == What::All || args.what == what;
    let appends = is_wanted(What::Appends).then(|| appends::measure(&setting, &maria)).transpose()?;
    let drain = is_wanted(What::Drain).then(|| drain::measure(&setting, &maria)).transpose()?;
    let backplane = is_wanted(What::Backplane).then(|| backplane::measure(&setting, &maria)).transpose()?;
    Ok(Report {
        scenario: "pods",
        machine: proc::machine(),
        fsync: format!("{:?}", args.fsync).to_lowercase(),
        rounds: args.rounds,
        appends,
        drain,
        backplane,
    })
}

impl Charts for Report {
    fn charts(&self) -> Vec<Chart> {
        let charts = [
            self.appends.as_ref().map(Charts::charts),
            self.drain.as_ref().map(Charts::charts),
            self.backplane.as_ref().map(Charts::charts),
        ];
        charts.into_iter().flatten().flatten().collect()
    }
}

impl fmt::Display for Report {
    /// Means of all rounds; the single runs were shown when they ended, and are in the JSON.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scenario, machine, fsync, rounds, .. } = self;
        writeln!(f, "{scenario} on {machine}, appendfsync {fsync}, means of {rounds} rounds")?;
        for part in [
            self.appends.as_ref().map(ToString::to_string),
            self.drain.as_ref().map(ToString::to_string),
            self.backplane.as_ref().map(ToString::to_string),
        ]
        .into_iter()
        .flatten()
        {
            writeln!(f, "{part}")?;
        }
        write!(f, "every acknowledged message is stored, once")
    }
}
