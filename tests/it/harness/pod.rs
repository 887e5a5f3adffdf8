//! One process: the real binary, a free port, a throw-away directory.

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, Read},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use loadtest::http::Client;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use testbed::Port;

use super::{PATIENCE, deadline, run};

/// How a pod is started.
#[derive(Clone)]
pub struct Start {
    /// What runs the program, such as `ip netns exec …`; it has to become it.
    pub tool: Vec<String>,
    pub program: PathBuf,
    pub args: Vec<String>,
    pub envs: Vec<(String, String)>,
    /// Where it listens: the loopback, unless its network is another.
    pub host: IpAddr,
    /// Where its data is, if that is no throw-away directory.
    pub data: Option<PathBuf>,
}

impl Start {
    pub(super) fn of(program: &Path, args: Vec<String>) -> Self {
        let host = Ipv4Addr::LOCALHOST.into();
        Start { tool: Vec::new(), program: program.to_owned(), args, envs: Vec::new(), host, data: None }
    }

    /// A flag has this value.
    pub fn set(&mut self, flag: &str, value: &str) {
        let at = self.args.iter().position(|arg| arg == flag).expect("it has that flag");
        value.clone_into(&mut self.args[at + 1]);
    }
}

/// A running maru.
pub struct Pod {
    start: Start,
    data: TempDir,
    child: Child,
    port: Port,
    pub greeting: Vec<String>,
    log: Arc<Mutex<String>>,
    log_reader: Option<JoinHandle<()>>,
}

impl Pod {
    pub(super) fn start(start: Start) -> Self {
        let data = TempDir::new().expect("a directory can be made");
        let port = Port::any();
        let log = Arc::default();
        let address = (start.host, port.number()).into();
        let folder = start.data.as_deref().unwrap_or(data.path());
        let launched = launch(&start, address, folder, &log).unwrap_or_else(|e| panic!("{e}"));
        let Launched { child, greeting, log_reader } = launched;
        Pod { start, data, child, port, greeting, log, log_reader: Some(log_reader) }
    }

    pub fn address(&self) -> SocketAddr {
        (self.start.host, self.port.number()).into()
    }

    pub fn data(&self) -> &Path {
        self.start.data.as_deref().unwrap_or(self.data.path())
    }

    pub fn client(&self) -> Client {
        Client::new(self.address())
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it can be waited for");
    }

    /// Starts it again on the same port and data.
    pub fn restart(&mut self) {
        let launched =
            launch(&self.start, self.address(), self.data(), &self.log).unwrap_or_else(|e| panic!("{e}"));
        let log_reader;
        Launched { child: self.child, greeting: self.greeting, log_reader } = launched;
        self.log_reader = Some(log_reader);
    }

    /// From the next start on it has other arguments.
    pub(super) fn set_args(&mut self, args: Vec<String>) {
        self.start.args = args;
    }

    /// What it has said on standard error so far; all of it once it has ended.
    pub fn log(&self) -> String {
        self.log.lock().expect("no panic while locked").clone()
    }

    /// Its number at the kernel.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// A signal, without waiting for what comes of it.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// Waits until it has ended by itself.
    pub fn ended(&mut self) -> ExitStatus {
        let until = deadline() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                if let Some(reader) = self.log_reader.take() {
                    reader.join().expect("its log can be read");
                }
                return status;
            }
            assert!(Instant::now() < until, "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Another command of the program, with the settings of this pod; to its end.
    pub fn command(&self, words: &[&str]) -> Output {
        let (listen, data) = (self.address().to_string(), self.data().to_str().expect("a path in UTF-8"));
        let settings = self.start.args.iter().map(String::as_str);
        let all: Vec<_> =
            words.iter().copied().chain(["--listen", &listen, "--data", data]).chain(settings).collect();
        run(&all, &[])
    }

    /// A figure of its `/metrics`.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.client().get("/metrics").expect("an answer").text();
        let line = text.lines().find(|line| line.split_whitespace().next() == Some(name));
        line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
            .unwrap_or_else(|| panic!("no {name} in {text}"))
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        // It may have been killed already.
        _ = self.child.kill();
        _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the log of {}:\n{}", self.address(), self.log());
        }
    }
}

struct Launched {
    child: Child,
    greeting: Vec<String>,
    log_reader: JoinHandle<()>,
}

fn launch(
    start: &Start,
    listen: SocketAddr,
    data: &Path,
    log: &Arc<Mutex<String>>,
) -> Result<Launched, String> {
    let words: Vec<_> = start.tool.iter().map(OsStr::new).chain([start.program.as_os_str()]).collect();
    let mut child = Command::new(words[0])
        .args(&words[1..])
        .args(["--listen", &listen.to_string(), "--data"])
        .arg(data)
        .args(&start.args)
        .envs(start.envs.iter().cloned())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let errors = BufReader::new(child.stderr.take().expect("it is piped"));
    let kept = Arc::clone(log);
    let log_reader = std::thread::spawn(move || {
        for line in errors.lines().map_while(Result::ok) {
            kept.lock().expect("no panic while locked").push_str(&(line + "\n"));
        }
    });
    let mut out = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut greeting = Vec::new();
    // The greeting ends with the limit of streams.
    while !greeting.last().is_some_and(|line: &String| line.contains("streams at once")) {
        let mut line = String::new();
        if out.read_line(&mut line).expect("text") == 0 {
            let status = child.wait();
            log_reader.join().expect("its log can be read");
            let said = log.lock().expect("no panic while locked").clone();
            return Err(format!("it ended before it listened: {status:?} {greeting:?}\n{said}"));
        }
        greeting.push(line.trim_end().to_owned());
    }
    // Whatever else it says is read, so that it never waits for us.
    std::thread::spawn(move || std::io::copy(&mut out.by_ref(), &mut std::io::sink()));
    Ok(Launched { child, greeting, log_reader })
}
