//! The scenarios of the binary: thousands of readers in one thread, the floor beside every figure.
//!
//! [`fanout`] and [`rooms`] measure what a delivery costs, [`peers`] does so on other servers, [`growth`] over readers,
//! rooms, pods, sizes and rates. [`idle`] and [`hold`] are what silent readers cost, [`storm`] what it costs to come back, [`stuck`]
//! what readers cost that take nothing, [`transports`] what TLS and HTTP/2 cost, [`speak`] what a POST costs. [`floor`] is the bare `send()` loop that both the
//! figures and the loader are held against. [`pods`] starts many pods with their Redis and database
//! and holds them against those two alone. Underneath: `readers` (one epoll, one buffer), `counter`
//! (what one reader keeps of its stream), `voices` (who speaks), `run` (speaking and waiting for the last reader),
//! `target` (the processes).

mod commits;
mod counter;
mod crowd;
pub mod endure;
pub mod fanout;
pub mod floor;
pub mod growth;
pub mod hold;
pub mod idle;
pub mod peers;
mod plan;
pub mod plot;
pub mod pods;
mod readers;
pub mod report;
pub mod rooms;
mod run;
pub mod speak;
pub mod storm;
pub mod stuck;
mod tally;
mod target;
pub mod transports;
pub mod verify;
mod voices;

use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why a scenario has no result.
#[derive(Debug)]
pub enum Failure {
    /// Something was lost, repeated, out of order or malformed: the server is at fault.
    Wrong(String),
    /// Something did not come in time: lost, or far too slow.
    Late(String),
    /// The server does not keep up with the rate that was asked for.
    Behind(String),
    /// The scenario cannot be run here.
    Setup(String),
    /// A system call failed.
    Io(io::Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wrong(what) => write!(f, "WRONG: {what}"),
            Self::Late(what) => write!(f, "LOST OR LATE: {what}"),
            Self::Behind(what) | Self::Setup(what) => write!(f, "{what}"),
            Self::Io(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for Failure {}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<crate::http::Error> for Failure {
    fn from(error: crate::http::Error) -> Self {
        match error.kind {
            crate::http::ErrorKind::Framing => Self::Wrong(error.what),
            _ => Self::Late(error.to_string()),
        }
    }
}

/// Which server is measured.
#[derive(Clone, Debug, clap::Args)]
pub struct Server {
    /// A server that runs already, such as http://127.0.0.1:8080 (with --pid); else one is started
    #[arg(long, requires = "pid")]
    pub url: Option<String>,
    /// Its process, for CPU and memory
    #[arg(long, requires = "url")]
    pub pid: Option<u32>,
    /// The maru to start; default: the one beside this program
    #[arg(long)]
    pub server: Option<PathBuf>,
    /// The server on core 0, the load on core 1
    #[arg(long)]
    pub pin: bool,
}

/// A bar on stderr, or nothing where stderr is no terminal or only JSON is wanted.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    pub(crate) fn new(what: &str, total: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(10));
        let style = ProgressStyle::with_template("{msg:28} {bar:40} {pos}/{len} {elapsed}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message(what.to_owned());
        Self(bar)
    }

    pub(crate) fn set(&self, done: u64) {
        self.0.set_position(done);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// For latencies in nanoseconds: three digits, up to a minute, which is more than anything takes that does not stall.
fn histogram() -> Result<Histogram<u64>, Failure> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).map_err(|e| Failure::Setup(e.to_string()))
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0), |(sum, count), value| (sum + value, count + 1));
    sum / f64::from(count)
}

/// A quantile of such a histogram, in milliseconds.
fn ms(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    histogram.value_at_quantile(quantile) as f64 / 1e6
}

/// Fails with a sentence where this process or the server could not hold so many readers.
fn check_open_files(readers: usize) -> Result<(), Failure> {
    // Listener, database, epolls, pipes, speakers: a few hundred at most.
    const SPARE: u64 = 600;
    let limit = crate::proc::open_files_limit();
    if readers as u64 + SPARE > limit {
        let most = limit.saturating_sub(SPARE);
        let what =
            format!("{readers} readers do not fit under the limit of {limit} open files (at most {most})");
        return Err(Failure::Setup(what));
    }
    Ok(())
}
