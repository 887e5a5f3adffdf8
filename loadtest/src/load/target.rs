//! What is measured: a maru, started here or running already, the floor, or another server with all its processes.

use super::peers::{Dialect, Start};
use super::readers::{Foreign, Opening};
use super::voices::{Post, Tongue, Voice, Way};
use super::{Failure, Server};
use crate::http::Client;
use crate::proc;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use std::{env, fs, thread};
use testbed::{Port, Redis};

/// The core of the measured process, and that of the load.
const CORES: [usize; 2] = [0, 1];

/// A server may take so long to say where it listens.
const START: Duration = Duration::from_secs(10);

/// And so long to end after SIGTERM, before it is killed.
const END: Duration = Duration::from_secs(5);

/// Which one it is.
enum Kind {
    /// A floor, which sends chunks of so many bytes.
    Floor,
    Maru,
    /// Another server, and the message that is sent to it.
    Peer(&'static Dialect, String),
}

/// A server that readers can listen to.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) pid: u32,
    /// All processes whose CPU and memory are its own.
    pids: Vec<u32>,
    address: SocketAddr,
    kind: Kind,
    child: Option<Kept>,
}

/// A child and its directory: both gone when dropped, and then what it stands on.
struct Kept {
    child: Child,
    directory: Option<PathBuf>,
    _port: Option<Port>,
    _redis: Option<Redis>,
}

impl Target {
    /// The server that the arguments name, or one of our own with `extra` arguments.
    pub(crate) fn server(which: &Server, extra: &[&str]) -> Result<Self, Failure> {
        if which.pin {
            pin(std::process::id(), CORES[1])?;
        }
        let (Some(url), Some(pid)) = (&which.url, which.pid) else { return Self::start_maru(which, extra) };
        let address = address_in(url)?;
        if which.pin {
            pin(pid, CORES[0])?;
        }
        Ok(Self { name: "maru", pid, pids: vec![pid], address, kind: Kind::Maru, child: None })
    }

    fn start_maru(which: &Server, extra: &[&str]) -> Result<Self, Failure> {
        Self::maru(which.server.as_deref(), extra, which.pin)
    }

    /// One of our own at `path`, or the one beside this program, with `extra` arguments.
    pub(crate) fn maru(path: Option<&Path>, extra: &[&str], pinned: bool) -> Result<Self, Failure> {
        let beside = env::current_exe()?.with_file_name("maru");
        let path = path.unwrap_or(&beside);
        if !path.exists() {
            let what = format!("no server at {}: cargo build --release, or say where it is", path.display());
            return Err(Failure::Setup(what));
        }
        let directory = throw_away()?;
        let mut command = Command::new(path);
        command.args(["--listen", "127.0.0.1:0", "--data"]).arg(directory.join("data")).args(extra);
        // What this shell has set for a server of its own is not meant for this one.
        env::vars_os().filter(|(k, _)| k.to_string_lossy().starts_with("MARU_")).for_each(|(k, _)| {
            command.env_remove(k);
        });
        command.stderr(fs::File::create(directory.join("stderr"))?);
        Self::start("maru", command, Kind::Maru, Some(directory), pinned)
    }

    /// A floor: this very program in another role.
    pub(crate) fn floor(pinned: bool) -> Result<Self, Failure> {
        let mut command = Command::new(env::current_exe()?);
        command.arg(super::floor::PROGRAM);
        Self::start("floor", command, Kind::Floor, None, pinned)
    }

    fn start(
        name: &'static str,
        mut command: Command,
        kind: Kind,
        directory: Option<PathBuf>,
        pinned: bool,
    ) -> Result<Self, Failure> {
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let child = on_its_core(pinned, || Ok(command.spawn()?))?;
        let mut kept = Kept { child, directory, _port: None, _redis: None };
        let said = kept.child.stdout.take().and_then(where_it_listens);
        let Some(url) = said else {
            let said = kept.directory.as_deref().map(last_words).unwrap_or_default();
            return Err(Failure::Setup(format!("{name} did not say where it listens in {START:?}. {said}")));
        };
        let address = address_in(&url)?;
        let pid = kept.child.id();
        Ok(Self { name, pid, pids: vec![pid], address, kind, child: Some(kept) })
    }

    /// Another server, which gets `message` with a seq of ours in it.
    pub(crate) fn peer(
        name: &'static str,
        pinned: bool,
        message: &str,
        prepare: impl FnOnce(&Path) -> Result<Start, Failure>,
    ) -> Result<Self, Failure> {
        let directory = throw_away()?;
        // Whatever it stands on runs on the same core.
        let started = on_its_core(pinned, || {
            let start = prepare(&directory)?;
            let mut command = start.command();
            command.stdin(Stdio::null()).stdout(Stdio::null());
            command.stderr(fs::File::create(directory.join("stderr"))?);
            let child =
                command.spawn().map_err(|e| Failure::Setup(format!("{name} cannot be started: {e}")))?;
            Ok((start, child))
        });
        let (start, child) = started.inspect_err(|_| _ = fs::remove_dir_all(&directory))?;
        let (address, pid) = (start.port.address(), child.id());
        let redis = start.redis.as_ref().map(Redis::pid);
        let (port, directory) = (Some(start.port), Some(directory));
        let mut kept = Kept { child, directory, _port: port, _redis: start.redis };
        kept.wait_until_it_answers(name, address)?;
        // Those that an answer needs run now.
        let pids = proc::family(pid)?.into_iter().chain(redis).collect();
        let kind = Kind::Peer(start.dialect, message.to_owned());
        Ok(Self { name, pid, pids, address, kind, child: Some(kept) })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The token of a guest of this maru.
    pub(crate) fn token(&self) -> Result<String, Failure> {
        guest(self.address, "loadtest")
    }

    /// Someone who can speak in these rooms, over as many connections as are asked for.
    pub(crate) fn speaker(&self, rooms: &[String], chunk: usize) -> Result<Speaker, Failure> {
        let head = |target: &str, fields: &str| {
            format!("POST {target} HTTP/1.1\r\nHost: {}\r\n{fields}", self.address)
        };
        let (tongue, ways) = match &self.kind {
            Kind::Floor => {
                let line = |room| Way::Line(format!("/r/{room}\n"));
                (Tongue::Floor(format!("T{chunk}\n")), rooms.iter().map(line).collect())
            }
            Kind::Maru => {
                let fields =
                    format!("Authorization: Bearer {}\r\nContent-Type: text/plain\r\n", self.token()?);
                let way = |room| Way::Head(head(&format!("/r/{room}"), &fields));
                (Tongue::Http, rooms.iter().map(way).collect())
            }
            Kind::Peer(dialect, message) => {
                rooms.iter().try_for_each(|room| (dialect.make_room)(self.address, room))?;
                let way = |room: &String| {
                    let (target, fields) = (dialect.post)(room);
                    Way::Post(Post::new(head(&target, &fields), &(dialect.body)(room, message)))
                };
                (Tongue::Foreign(dialect.accepts), rooms.iter().map(way).collect())
            }
        };
        Ok(Speaker { address: self.address, tongue, ways })
    }

    /// How readers of `room` open their streams, from now on.
    pub(crate) fn listening(&self, room: &str, per_address: usize) -> Opening {
        let (target, foreign) = match &self.kind {
            Kind::Floor | Kind::Maru => (format!("/r/{room}?since=live"), None),
            Kind::Peer(Dialect { listen, rest, steps, .. }, _) => {
                (listen(room), Some(Foreign { rest, steps, order: Arc::default() }))
            }
        };
        Opening { server: self.address, target, per_address, foreign }
    }

    /// How often this maru has read its log for streams (`maru_replay_reads_total`); others have no such figure.
    pub(crate) fn log_reads(&self) -> Result<Option<u64>, Failure> {
        if !matches!(self.kind, Kind::Maru) {
            return Ok(None);
        }
        let text = Client::new(self.address).get("/metrics")?.text();
        Ok(text.lines().find_map(|line| line.strip_prefix("maru_replay_reads_total ")?.parse().ok()))
    }

    pub(crate) fn cpu(&self) -> Result<proc::Cpu, Failure> {
        Ok(proc::Cpu::of_all(&self.pids)?)
    }

    /// Resident memory of all its processes (bytes).
    pub(crate) fn resident(&self) -> Result<u64, Failure> {
        self.pids.iter().try_fold(0, |sum, &pid| Ok(sum + proc::Memory::of(pid)?.resident))
    }

    /// Waits until the process does next to nothing (leaving readers have been seen off, say).
    pub(crate) fn wait_idle(&self) -> Result<(), Failure> {
        const WINDOW: Duration = Duration::from_millis(300);
        let deadline = Instant::now() + Duration::from_secs(15);
        let mut before = self.cpu()?;
        let mut calm = 0;
        while calm < 3 && Instant::now() < deadline {
            thread::sleep(WINDOW);
            let now = self.cpu()?;
            calm = if now.since(&before) < WINDOW / 100 { calm + 1 } else { 0 };
            before = now;
        }
        Ok(())
    }

    /// Adds what the process said last to a failure.
    pub(crate) fn explain(&self, failure: Failure) -> Failure {
        let directory = self.child.as_ref().and_then(|kept| kept.directory.as_deref());
        let said = directory.map(last_words).unwrap_or_default();
        match failure {
            Failure::Wrong(what) => Failure::Wrong(format!("{what} {said}")),
            Failure::Late(what) => Failure::Late(format!("{what} {said}")),
            other => other,
        }
    }
}

/// The token of a new guest of the maru there.
pub(crate) fn guest(server: SocketAddr, name: &str) -> Result<String, Failure> {
    let answer = Client::new(server).post_json("/api/session", &serde_json::json!({ "name": name }))?;
    match answer.json()["token"].as_str() {
        Some(token) if answer.status == 201 => Ok(token.to_owned()),
        _ => Err(Failure::Wrong(format!("no session: {} {}", answer.status, answer.text()))),
    }
}

/// Opens voices of one speaker.
pub(crate) struct Speaker {
    address: SocketAddr,
    tongue: Tongue,
    /// By room.
    pub(crate) ways: Vec<Way>,
}

impl Speaker {
    pub(crate) fn voice(&self) -> Result<Voice, Failure> {
        Ok(Voice::new(TcpStream::connect(self.address)?, self.tongue.clone())?)
    }
}

impl Kept {
    /// Whatever the answer is: somebody is there who gives it.
    fn wait_until_it_answers(&mut self, name: &str, address: SocketAddr) -> Result<(), Failure> {
        let deadline = Instant::now() + START;
        while Client::new(address).timeout(Duration::from_secs(1)).get("/").is_err() {
            let has_ended = self.child.try_wait()?.is_some();
            if has_ended || Instant::now() > deadline {
                let said = self.directory.as_deref().map(last_words).unwrap_or_default();
                let what = if has_ended { "ended" } else { "does not answer" };
                return Err(Failure::Setup(format!("{name} {what}. {said}")));
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let terminate = || {
            let pid = rustix::process::Pid::from_child(&self.child);
            rustix::process::kill_process(pid, rustix::process::Signal::TERM)
        };
        if terminate().is_ok() {
            let deadline = Instant::now() + END;
            while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(10));
            }
        }
        // Both fail only where the child has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(directory) = &self.directory {
            let _ = fs::remove_dir_all(directory);
        }
    }
}

/// A directory of its own, whose owner removes it.
fn throw_away() -> io::Result<PathBuf> {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let number = MADE.fetch_add(1, Ordering::Relaxed);
    let directory = env::temp_dir().join(format!("maru-loadtest-{}-{number}", std::process::id()));
    fs::create_dir_all(&directory)?;
    Ok(directory)
}

/// A child inherits the core of its parent, from its first thread on; so it also sees one core only.
fn on_its_core<T>(pinned: bool, start: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    if pinned {
        pin(std::process::id(), CORES[0])?;
    }
    let started = start();
    if pinned {
        pin(std::process::id(), CORES[1])?;
    }
    started
}

/// Waits for the line with the URL and goes on emptying the pipe behind it, so that the child never waits for us.
fn where_it_listens(stdout: ChildStdout) -> Option<String> {
    let (tell, told) = mpsc::sync_channel(1);
    thread::spawn(move || {
        let mut stdout = BufReader::new(stdout);
        let mut line = String::new();
        while stdout.read_line(&mut line).is_ok_and(|n| n > 0) {
            if let Some(url) = line.split_whitespace().find(|word| word.starts_with("http")) {
                // Nobody waits any more after the time-out.
                let _ = tell.send(url.to_owned());
                break;
            }
            line.clear();
        }
        io::copy(&mut stdout.by_ref(), &mut io::sink())
    });
    told.recv_timeout(START).ok()
}

pub(super) fn address_in(url: &str) -> Result<SocketAddr, Failure> {
    let bad = || Failure::Setup(format!("{url:?} is not like http://127.0.0.1:8080"));
    let rest = url.strip_prefix("http://").or(url.strip_prefix("https://")).ok_or_else(bad)?;
    let host = rest.split('/').next().ok_or_else(bad)?;
    let mut found = host.to_socket_addrs().map_err(|_| bad())?;
    let address = found.find(SocketAddr::is_ipv4).ok_or_else(bad)?;
    if !address.ip().is_loopback() {
        return Err(Failure::Setup(format!("{address} is not this machine: load goes to loopback only")));
    }
    Ok(address)
}

fn last_words(directory: &Path) -> String {
    let text = fs::read_to_string(directory.join("stderr")).unwrap_or_default();
    let lines: Vec<_> = text.lines().rev().take(5).collect();
    if lines.is_empty() {
        String::new()
    } else {
        format!("It said: {:?}", lines.iter().rev().collect::<Vec<_>>())
    }
}

fn pin(pid: u32, core: usize) -> Result<(), Failure> {
    proc::pin(pid, core).map_err(|e| Failure::Setup(format!("cannot pin {pid} to core {core}: {e}")))
}
