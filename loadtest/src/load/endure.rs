//! A server near its capacity for long, while some of its clients fail as clients do: whether memory, files and lateness stay
//! where they are.

use super::plot::{Chart, Charts, Line};
use super::readers::{PER_ADDRESS, REST, Readers};
use super::run::{Pace, mark, run};
use super::target::Target;
use super::voices::Voices;
use super::{Failure, Progress, Server, check_open_files, mean, ms};
use crate::proc::{self, Memory};
use serde::Serialize;
use socket2::SockRef;
use std::collections::VecDeque;
use std::fmt;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Messages from which the capacity is taken, with so many in flight.
const TRIAL: u64 = 5000;
const IN_FLIGHT: u64 = 64;
/// Clients that take nothing, at once.
const STUCK: usize = 20;
/// Until all that clients left behind is cleared away. A stream that takes nothing is ended after 30 s.
const CLEARING: Duration = Duration::from_secs(90);
/// Memory may grow by so much over the second half, beside which its own noise is small.
const GROWTH: f64 = 0.1;
/// And by so much in any case (bytes).
const SLACK: f64 = 16e6;

/// What to try.
#[derive(Clone, Debug, clap::Args)]
pub struct Endure {
    #[command(flatten)]
    server: Server,
    /// Rooms that are spoken in, by turns
    #[arg(long, default_value_t = 10)]
    rooms: usize,
    /// Readers of each
    #[arg(long, default_value_t = 20)]
    readers: usize,
    /// How much of what the server can take (percent)
    #[arg(long, default_value_t = 80)]
    share: u32,
    /// Clients that fail, for each hundred messages
    #[arg(long, default_value_t = 1)]
    faults: u32,
    /// How long (seconds)
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// Between two looks at the server (seconds)
    #[arg(long, default_value_t = 30)]
    every: u64,
}

/// One look.
#[derive(Clone, Debug, Serialize)]
pub struct Look {
    /// Seconds since the start.
    at: f64,
    /// Messages since the look before.
    messages: u64,
    /// POST, from when it was due, until its answer (ms).
    answer_p99_ms: f64,
    /// The same until the last reader had it (ms).
    last_reader_p50_ms: f64,
    last_reader_p99_ms: f64,
    /// Server memory.
    #[serde(flatten)]
    memory: Memory,
    /// Files that the server holds open.
    open_files: usize,
}

/// All looks.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    scenario: &'static str,
    machine: String,
    rooms: usize,
    /// Of each room.
    readers: usize,
    /// Messages a second that it took with as many in flight as it would.
    capacity: f64,
    /// Messages a second that were sent.
    rate: f64,
    /// Clients that failed.
    faults: u64,
    looks: Vec<Look>,
    /// Files open before, and when all was over.
    files: [usize; 2],
    /// Resident memory in the last quarter by that in the second.
    growth: f64,
}

/// Speaks at a share of the capacity, with clients that fail beside it.
///
/// # Errors
/// When an event is lost, repeated or out of order, a file stays open, memory grows, or nothing can be set up.
pub fn endure(args: &Endure) -> Result<Report, Failure> {
    check_open_files(args.rooms * args.readers + STUCK)?;
    if args.rooms == 0 || args.readers == 0 || args.every == 0 || args.seconds < 4 * args.every {
        return Err(Failure::Setup(
            "there is nothing to see with these numbers: four looks at least".to_owned(),
        ));
    }
    let target = Target::server(&args.server, &["--rate-limit", "off"])?;
    let report = measure(args, &target).map_err(|e| target.explain(e))?;
    let [before, after] = report.files;
    if after > before {
        return Err(Failure::Wrong(format!(
            "{before} files were open before, and {after} when all was over"
        )));
    }
    let (second, last) = quarters(&report.looks);
    if last > second * (1.0 + GROWTH) + SLACK {
        let [second, last] = [second, last].map(|bytes| bytes / 1e6);
        return Err(Failure::Wrong(format!(
            "memory grows: {second:.1} MB in the second quarter, {last:.1} MB in the last"
        )));
    }
    Ok(report)
}

fn measure(args: &Endure, target: &Target) -> Result<Report, Failure> {
    let rooms: Vec<_> = (0..args.rooms).map(|n| format!("endure-{}-{n}", std::process::id())).collect();
    let mut readers = Readers::new()?;
    let mut voices = Voices::new(target.speaker(&rooms, 0)?);
    let text = "x".repeat(40);
    mark(&mut readers, &mut voices, &text)?;
    let all = (args.rooms * args.readers) as u64;
    let progress = Progress::new("opening", all);
    for (n, room) in rooms.iter().enumerate() {
        readers.open(n, args.readers, &target.listening(room, PER_ADDRESS), &progress)?;
    }
    readers.settle(REST, Duration::from_secs(60))?;
    mark(&mut readers, &mut voices, &text)?;
    let files = proc::open_files(target.pid)?;
    let progress = Progress::new("capacity", TRIAL);
    let trial = run(&mut readers, &mut voices, TRIAL, Pace::InFlight(IN_FLIGHT), &text, &progress)?;
    let capacity = TRIAL as f64 / trial.wall.as_secs_f64();
    let rate = capacity * f64::from(args.share) / 100.0;

    let over = AtomicBool::new(false);
    let per_second = rate * f64::from(args.faults) / 100.0;
    let (looks, faults) = thread::scope(|scope| {
        let trouble = scope.spawn(|| trouble(target.address(), &rooms[0], per_second, &over));
        let looks = looks(args, target, &mut readers, &mut voices, rate, &text);
        over.store(true, Ordering::Relaxed);
        (looks, trouble.join().unwrap_or_default())
    });
    let looks = looks?;
    drop(voices);
    let until = Instant::now() + CLEARING;
    while proc::open_files(target.pid)? > files && Instant::now() < until {
        readers.idle(Duration::from_millis(200))?;
    }
    let (second, last) = quarters(&looks);
    Ok(Report {
        scenario: "endure",
        machine: proc::machine(),
        rooms: args.rooms,
        readers: args.readers,
        capacity,
        rate,
        faults,
        growth: last / second,
        looks,
        files: [files, proc::open_files(target.pid)?],
    })
}

/// Speaks, and looks at the server now and then.
fn looks(
    args: &Endure,
    target: &Target,
    readers: &mut Readers,
    voices: &mut Voices,
    rate: f64,
    text: &str,
) -> Result<Vec<Look>, Failure> {
    let (start, messages) = (Instant::now(), (rate * args.every as f64) as u64);
    let mut looks = Vec::new();
    for n in 1..=args.seconds / args.every {
        let progress = Progress::new(&format!("{} s of {}", n * args.every, args.seconds), messages);
        let late = run(readers, voices, messages, Pace::PerSecond(rate), text, &progress)?;
        drop(progress);
        let look = Look {
            at: start.elapsed().as_secs_f64(),
            messages,
            answer_p99_ms: ms(&late.answer, 0.99),
            last_reader_p50_ms: ms(&late.last_reader, 0.5),
            last_reader_p99_ms: ms(&late.last_reader, 0.99),
            memory: Memory::of(target.pid)?,
            open_files: proc::open_files(target.pid)?,
        };
        eprintln!("{look}");
        looks.push(look);
    }
    Ok(looks)
}

/// Resident memory in the second quarter and in the last (bytes): the first fills caches.
fn quarters(looks: &[Look]) -> (f64, f64) {
    let quarter = looks.len() / 4;
    let resident = |looks: &[Look]| mean(looks.iter().map(|look| look.memory.resident as f64));
    (resident(&looks[quarter..2 * quarter]), resident(&looks[looks.len() - quarter..]))
}

/// Clients that fail, so many a second, until it is over; gives how many.
fn trouble(server: SocketAddr, room: &str, per_second: f64, over: &AtomicBool) -> u64 {
    let (start, mut done) = (Instant::now(), 0);
    let mut stuck = VecDeque::new();
    while !over.load(Ordering::Relaxed) {
        if start.elapsed().as_secs_f64() * per_second < done as f64 + 1.0 {
            thread::sleep(Duration::from_millis(2));
            continue;
        }
        // One that cannot even connect has failed as well.
        if let Ok(Some(silent)) = fail(server, room, done) {
            stuck.push_back(silent);
        }
        if stuck.len() > STUCK {
            stuck.pop_front();
        }
        done += 1;
    }
    done
}

/// One client that fails, each in another way; one that goes on taking nothing is given back.
fn fail(server: SocketAddr, room: &str, nth: u64) -> std::io::Result<Option<TcpStream>> {
    let mut socket = TcpStream::connect(server)?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    let post = format!("POST /r/{room} HTTP/1.1\r\nHost: x\r\n");
    let get = format!("GET /r/{room}?history=50 HTTP/1.1\r\nHost: x\r\n\r\n");
    let said = match nth % 6 {
        0 => "GET /r/".to_owned(),
        1 | 5 => get,
        2 => format!("{post}Content-Length: 100\r\n\r\nhalf of it"),
        3 => format!("{post}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
        _ => format!("{post}Content-Type: application/json\r\nContent-Length: 8\r\n\r\n{{\"text\":"),
    };
    socket.write_all(said.as_bytes())?;
    if matches!(nth % 6, 1 | 3 | 4) {
        // Of a stream the head, of the others the refusal.
        _ = socket.read(&mut [0; 1024])?;
    }
    if nth % 6 == 5 {
        return Ok(Some(socket));
    }
    if nth.is_multiple_of(2) {
        // A reset, in place of an end.
        SockRef::from(&socket).set_linger(Some(Duration::ZERO))?;
    }
    Ok(None)
}

impl fmt::Display for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, messages, answer_p99_ms, last_reader_p50_ms, last_reader_p99_ms, memory, open_files } =
            self;
        write!(
            f,
            "endure {at:6.0} s: {messages} messages, answer p99 {answer_p99_ms:.2} ms, last reader p50 {last_reader_p50_ms:.2} p99 \
             {last_reader_p99_ms:.2} ms, {:.1} MB resident, {open_files} files",
            memory.resident as f64 / 1e6
        )
    }
}

impl fmt::Display for Report {
    /// The summary; the single looks were shown when they were taken, and are in the JSON.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scenario, machine, rooms, readers, capacity, rate, faults, looks, files, growth } = self;
        let worst = looks.iter().map(|look| look.last_reader_p99_ms).fold(0.0, f64::max);
        let seconds = looks.last().map_or(0.0, |look| look.at);
        writeln!(f, "{scenario} on {machine}: {rooms} rooms of {readers} readers, {seconds:.0} s")?;
        writeln!(
            f,
            "  {rate:.0} messages a second, of {capacity:.0} that it could take; {faults} clients failed"
        )?;
        writeln!(f, "  p99 to the last reader: {worst:.1} ms at worst")?;
        writeln!(
            f,
            "  memory, last quarter by second: {growth:.3}; files open before and after: {} and {}",
            files[0], files[1]
        )?;
        write!(f, "  nothing lost, repeated or out of order")
    }
}

impl Charts for Report {
    fn charts(&self) -> Vec<Chart> {
        let line = |name, value: fn(&Look) -> f64| {
            Line::new(name, self.looks.iter().map(|look| (look.at, value(look))))
        };
        let late =
            vec![line("p50", |look| look.last_reader_p50_ms), line("p99", |look| look.last_reader_p99_ms)];
        let memory = vec![line("resident", |look| look.memory.resident as f64 / 1e6)];
        vec![
            Chart::new("endure-latency", "POST to the last reader", "s", "ms", late),
            Chart::new("endure-memory", "Memory of the server", "s", "MB", memory),
        ]
    }
}
