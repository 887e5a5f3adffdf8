//! The process that is measured: a maru, started here or running already, or the floor.

use super::readers::Opening;
use super::voices::Voice;
use super::{Failure, Server};
use crate::http::Client;
use crate::proc;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

/// The core of the measured process, and that of the load.
const CORES: [usize; 2] = [0, 1];

/// A server may take so long to say where it listens.
const START: Duration = Duration::from_secs(10);

/// And so long to end after SIGTERM, before it is killed.
const END: Duration = Duration::from_secs(5);

/// How one speaks to a target.
enum Tongue {
    /// A floor, which sends chunks of so many bytes.
    Floor,
    Maru,
}

/// A process that readers can listen to.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) pid: u32,
    address: SocketAddr,
    tongue: Tongue,
    child: Option<Kept>,
}

/// A child and its directory: both gone when dropped.
struct Kept {
    child: Child,
    directory: Option<PathBuf>,
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
        Ok(Self { name: "maru", pid, address, tongue: Tongue::Maru, child: None })
    }

    fn start_maru(which: &Server, extra: &[&str]) -> Result<Self, Failure> {
        Self::maru(which.server.as_deref(), extra, which.pin)
    }

    /// One of our own at `path`, or the one beside this program, with `extra` arguments.
    pub(crate) fn maru(path: Option<&Path>, extra: &[&str], pinned: bool) -> Result<Self, Failure> {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let beside = env::current_exe()?.with_file_name("maru");
        let path = path.unwrap_or(&beside);
        if !path.exists() {
            let what = format!("no server at {}: cargo build --release, or say where it is", path.display());
            return Err(Failure::Setup(what));
        }
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let directory = env::temp_dir().join(format!("maru-loadtest-{}-{number}", std::process::id()));
        fs::create_dir_all(&directory)?;
        let mut command = Command::new(path);
        command.args(["--listen", "127.0.0.1:0", "--data"]).arg(directory.join("data")).args(extra);
        // What this shell has set for a server of its own is not meant for this one.
        env::vars_os().filter(|(k, _)| k.to_string_lossy().starts_with("MARU_")).for_each(|(k, _)| {
            command.env_remove(k);
        });
        command.stderr(fs::File::create(directory.join("stderr"))?);
        Self::start("maru", command, Tongue::Maru, Some(directory), pinned)
    }

    /// A floor: this very program in another role.
    pub(crate) fn floor(pinned: bool) -> Result<Self, Failure> {
        let mut command = Command::new(env::current_exe()?);
        command.arg(super::floor::PROGRAM);
        Self::start("floor", command, Tongue::Floor, None, pinned)
    }

    fn start(
        name: &'static str,
        mut command: Command,
        tongue: Tongue,
        directory: Option<PathBuf>,
        pinned: bool,
    ) -> Result<Self, Failure> {
        // A child inherits the core of its parent, from its first thread on; so it also sees one core only.
        if pinned {
            pin(std::process::id(), CORES[0])?;
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        if pinned {
            pin(std::process::id(), CORES[1])?;
        }
        let mut kept = Kept { child: child?, directory };
        let said = kept.child.stdout.take().and_then(where_it_listens);
        let Some(url) = said else {
            let said = kept.directory.as_deref().map(last_words).unwrap_or_default();
            return Err(Failure::Setup(format!("{name} did not say where it listens in {START:?}. {said}")));
        };
        let address = address_in(&url)?;
        Ok(Self { name, pid: kept.child.id(), address, tongue, child: Some(kept) })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Someone who can speak in these rooms, over as many connections as are asked for.
    pub(crate) fn speaker(&self, rooms: &[String], chunk: usize) -> Result<Speaker, Failure> {
        let floor_opening = matches!(self.tongue, Tongue::Floor).then(|| format!("T{chunk}\n"));
        let starts = match self.tongue {
            Tongue::Floor => rooms.iter().map(|room| format!("/r/{room}\n")).collect(),
            Tongue::Maru => {
                let answer = Client::new(self.address)
                    .post_json("/api/session", &serde_json::json!({ "name": "loadtest" }))?;
                let session = answer.json();
                let Some(token) = session["token"].as_str().filter(|_| answer.status == 201) else {
                    return Err(Failure::Wrong(format!("no session: {} {}", answer.status, answer.text())));
                };
                let start = |room| {
                    format!(
                        "POST /r/{room} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\nContent-Type: text/plain\r\n",
                        self.address
                    )
                };
                rooms.iter().map(start).collect()
            }
        };
        Ok(Speaker { address: self.address, floor_opening, starts })
    }

    /// How readers of `room` open their streams, from now on.
    pub(crate) fn listening(&self, room: &str, per_address: usize) -> Opening {
        Opening { server: self.address, target: format!("/r/{room}?since=live"), per_address }
    }

    /// How often the server has read its log for streams (`maru_replay_reads_total`); the floor has no log.
    pub(crate) fn log_reads(&self) -> Result<Option<u64>, Failure> {
        if matches!(self.tongue, Tongue::Floor) {
            return Ok(None);
        }
        let text = Client::new(self.address).get("/metrics")?.text();
        Ok(text.lines().find_map(|line| line.strip_prefix("maru_replay_reads_total ")?.parse().ok()))
    }

    pub(crate) fn cpu(&self) -> Result<proc::Cpu, Failure> {
        Ok(proc::Cpu::of(self.pid)?)
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

/// Opens voices of one speaker.
pub(crate) struct Speaker {
    address: SocketAddr,
    floor_opening: Option<String>,
    /// By room: the line or the head that a message begins with.
    pub(crate) starts: Vec<String>,
}

impl Speaker {
    pub(crate) fn voice(&self) -> Result<Voice, Failure> {
        let socket = TcpStream::connect(self.address)?;
        Ok(match &self.floor_opening {
            Some(opening) => Voice::floor(socket, opening)?,
            None => Voice::http(socket)?,
        })
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

/// Waits for the line with the URL and goes on emptying the pipe behind it, so that the child never waits for us.
fn where_it_listens(stdout: ChildStdout) -> Option<String> {
    let (tell, told) = mpsc::sync_channel(1);
    thread::spawn(move || {
        let mut stdout = BufReader::new(stdout);
        let mut line = String::new();
        while stdout.read_line(&mut line).is_ok_and(|n| n > 0) {
            if let Some(url) = line.split_whitespace().find(|word| word.starts_with("http://")) {
                // Nobody waits any more after the time-out.
                let _ = tell.send(url.to_owned());
                break;
            }
            line.clear();
        }
        std::io::copy(&mut stdout.by_ref(), &mut std::io::sink())
    });
    told.recv_timeout(START).ok()
}

fn address_in(url: &str) -> Result<SocketAddr, Failure> {
    let bad = || Failure::Setup(format!("{url:?} is not like http://127.0.0.1:8080"));
    let rest = url.strip_prefix("http://").ok_or_else(bad)?;
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
