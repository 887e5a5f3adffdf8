//! Whether the promises hold: people speak, listen, leave and come back, and the checker decides over all of it.

use super::plot::{Chart, Charts};
use super::target::{Target, address_in};
use super::{Failure, Progress};
use crate::checker::{Clock, Counts, History, check};
use crate::http::Client;
use crate::people::{self, Manner};
use crate::speak::{Speaker, whole_log};
use crate::stream::{Listen, Reader};
use crate::{checker::Kept, proc};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde::Serialize;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(3);
/// How long the servers may take to agree, and readers to have everything, when all has been said.
const SETTLING: Duration = Duration::from_secs(30);

/// What to try.
#[derive(Clone, Debug, clap::Args)]
pub struct Verify {
    /// Servers that run already, all of one deployment, such as http://127.0.0.1:8080; else one is started
    #[arg(long, value_delimiter = ',')]
    url: Vec<String>,
    /// The maru to start; default: the one beside this program
    #[arg(long, conflicts_with = "url")]
    server: Option<PathBuf>,
    /// Rooms, all of them new
    #[arg(long, default_value_t = 3)]
    rooms: usize,
    /// People who speak
    #[arg(long, default_value_t = 6)]
    speakers: usize,
    /// People who listen, and leave and come back
    #[arg(long, default_value_t = 12)]
    readers: usize,
    /// Between two messages of one person (ms)
    #[arg(long, default_value_t = 20)]
    pause: u64,
    /// How long people speak (seconds)
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Who goes where and when follows from this
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// That they held, and over how much.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    scenario: &'static str,
    machine: String,
    servers: usize,
    seed: u64,
    /// Of all rooms.
    counts: Counts,
}

/// Lets people speak and listen, and judges.
///
/// # Errors
/// With the first promise that was broken and what was around it, or when nothing can be set up.
pub fn verify(args: &Verify) -> Result<Report, Failure> {
    if args.rooms == 0 || args.speakers < args.rooms || args.readers < args.rooms {
        return Err(Failure::Setup(
            "each room needs somebody who speaks and somebody who listens".to_owned(),
        ));
    }
    let target = match args.url.is_empty() {
        true => Some(Target::maru(args.server.as_deref(), &["--rate-limit", "off"], false)?),
        false => None,
    };
    let servers: Vec<SocketAddr> = match &target {
        Some(target) => vec![target.address()],
        None => args.url.iter().map(|url| address_in(url)).collect::<Result<_, _>>()?,
    };
    let histories = histories(args, &servers);
    let mut counts = Counts::default();
    for history in match (histories, &target) {
        (Err(e), Some(target)) => Err(target.explain(e)),
        (histories, _) => histories,
    }? {
        let verdict = check(&history);
        if !verdict.holds() {
            return Err(Failure::Wrong(verdict.to_string()));
        }
        counts += verdict.counts;
    }
    Ok(Report {
        scenario: "verify",
        machine: proc::machine(),
        servers: servers.len(),
        seed: args.seed,
        counts,
    })
}

/// What was done and seen in each room.
fn histories(args: &Verify, servers: &[SocketAddr]) -> Result<Vec<History>, Failure> {
    let clock = Clock::start();
    let manner = Manner { wanders: true, pause: Duration::from_millis(args.pause) };
    // New ones, also where the same was done before.
    let nonce = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_micros();
    let room = |n: usize| format!("verify-{nonce}-{}", n % args.rooms);
    let home = |n: usize| servers[n % servers.len()];
    let dice = |kind: u64, n: usize| StdRng::seed_from_u64(args.seed * 1_000_003 + kind * 100_000 + n as u64);
    let speakers = (0..args.speakers)
        .map(|n| {
            let client = Client::new(home(n)).timeout(ANSWER);
            Speaker::guest(client, clock, &room(n), &format!("Speaker {n}"))
                .map_err(|e| Failure::Setup(format!("nobody can sign in at {}: {e}", home(n))))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let (end, said) = (Instant::now() + Duration::from_secs(args.seconds), AtomicBool::new(false));
    let (mut attempts, mut readers) = (Vec::new(), Vec::new());
    thread::scope(|scope| {
        let said = &said;
        let speaking: Vec<_> = (0..)
            .zip(speakers)
            .map(|(n, speaker)| {
                let goes_on = move |said| said == 0 || Instant::now() < end;
                scope.spawn(move || people::speak(servers, speaker, n, manner, dice(0, n), goes_on))
            })
            .collect();
        let listening: Vec<_> = (0..args.readers)
            .map(|n| {
                let listen = Listen::to(&format!("/r/{}?since=all", room(n))).timeout(ANSWER);
                let reader = Reader::new(&format!("reader {n}"), clock, home(n), listen);
                let goes_on = || !said.load(Ordering::Relaxed);
                scope.spawn(move || people::listen(servers, reader, manner, dice(1, n), goes_on))
            })
            .collect();
        let progress = Progress::new("speaking", args.seconds);
        while Instant::now() < end {
            thread::sleep(Duration::from_millis(100));
            progress
                .set(args.seconds.saturating_sub(end.saturating_duration_since(Instant::now()).as_secs()));
        }
        attempts.extend(speaking.into_iter().filter_map(|speaker| speaker.join().ok()));
        said.store(true, Ordering::Relaxed);
        readers.extend(listening.into_iter().filter_map(|reader| reader.join().ok()));
    });
    let mut histories: Vec<_> =
        (0..args.rooms).map(|n| History { room: room(n), ..History::default() }).collect();
    for (n, attempts) in attempts.into_iter().enumerate() {
        histories[n % args.rooms].attempts.extend(attempts);
    }
    for history in &mut histories {
        history.end = Some(agreed(servers, &history.room)?);
    }
    for (n, mut reader) in readers.into_iter().enumerate() {
        let history = &mut histories[n % args.rooms];
        if let Some(last) = history.end.iter().flatten().last() {
            reader.read_to(last.cursor, Instant::now() + SETTLING);
        }
        history.readers.push(reader.into_complete_log());
    }
    Ok(histories)
}

/// The log of a room, once all servers give the same.
fn agreed(servers: &[SocketAddr], room: &str) -> Result<Vec<Kept>, Failure> {
    let until = Instant::now() + SETTLING;
    loop {
        let logs = servers.iter().map(|server| whole_log(&mut Client::new(*server), room)).collect();
        let logs: Result<Vec<_>, _> = logs;
        let why = match logs {
            Ok(mut logs) if logs.windows(2).all(|two| two[0] == two[1]) => return Ok(logs.swap_remove(0)),
            Ok(_) => "the servers do not agree".to_owned(),
            Err(e) => e.to_string(),
        };
        if Instant::now() > until {
            return Err(Failure::Wrong(format!("{SETTLING:?} after all has been said in {room}: {why}")));
        }
        thread::sleep(Duration::from_millis(100));
    }
}

impl Charts for Report {
    fn charts(&self) -> Vec<Chart> {
        Vec::new()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { servers, seed, counts, .. } = self;
        let Counts { attempts, acknowledged, readers, connections, deliveries, kept, .. } = counts;
        writeln!(f, "verify    all promises held ({servers} servers, seed {seed})")?;
        writeln!(f, "  {attempts} POSTs, {acknowledged} acknowledged, {kept} events kept")?;
        write!(f, "  {readers} readers over {connections} connections got {deliveries} events")
    }
}
