//! One server process.

use std::{
    fs::File,
    io::ErrorKind,
    net::{SocketAddr, TcpStream},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::port::Port;

/// How long a server may take to start or to end. Nothing waits this long unless it fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// A process that serves a port.
#[derive(Debug)]
pub(crate) struct Process {
    name: &'static str,
    child: Option<Child>,
    log: PathBuf,
    port: Port,
}

impl Process {
    /// Nothing runs yet; what it says will be written to `log`.
    pub(crate) fn new(name: &'static str, log: PathBuf, port: Port) -> Self {
        Process { name, child: None, log, port }
    }

    /// Starts it and waits until `is_ready`.
    pub(crate) fn start(&mut self, mut command: Command, mut is_ready: impl FnMut() -> bool) {
        assert!(self.child.is_none(), "{} runs already", self.name);
        let log = File::options().create(true).append(true).open(&self.log).expect("a log can be written");
        command.stdin(Stdio::null()).stderr(log.try_clone().expect("a descriptor")).stdout(log);
        // What is typed into the terminal that the tests run in is not meant for it.
        command.process_group(0);
        let child = command.spawn().unwrap_or_else(|e| match e.kind() {
            ErrorKind::NotFound => panic!("{} is not installed here; ./test installs it", self.name),
            _ => panic!("{} cannot be started: {e}", self.name),
        });
        self.child = Some(child);
        let until = Instant::now() + PATIENCE;
        while !is_ready() {
            let ended =
                self.child.as_mut().expect("it was started").try_wait().expect("it can be waited for");
            assert!(ended.is_none(), "{} ended ({ended:?}):\n{}", self.name, self.said());
            assert!(Instant::now() < until, "{} does not come up:\n{}", self.name, self.said());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port.number()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Does anybody listen there?
    pub(crate) fn listens(address: SocketAddr) -> bool {
        TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    pub(crate) fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// `kill -STOP`: it hangs until [`Process::go_on`]; when this returns, it does.
    pub(crate) fn hang(&self) {
        self.signal(Signal::STOP);
        let until = Instant::now() + PATIENCE;
        // A thread stops when it next comes back from the kernel.
        while !self.threads().iter().all(|stat| is_stopped(stat)) {
            assert!(Instant::now() < until, "{} does not stop", self.name);
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// `/proc/<pid>/task/<tid>/stat` of all its threads.
    fn threads(&self) -> Vec<String> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid())).expect("it runs");
        let stat = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("stat")).ok();
        tasks.filter_map(|task| stat(task.ok()?)).collect()
    }

    /// `kill -CONT`.
    pub(crate) fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("it runs");
            child.wait().expect("it can be waited for");
        }
    }

    /// SIGTERM, and waits for the end.
    pub(crate) fn stop(&mut self) {
        if self.child.is_none() {
            return;
        }
        self.signal(Signal::TERM);
        let until = Instant::now() + PATIENCE;
        while self
            .child
            .as_mut()
            .is_some_and(|child| child.try_wait().expect("it can be waited for").is_none())
        {
            assert!(Instant::now() < until, "{} does not end:\n{}", self.name, self.said());
            std::thread::sleep(Duration::from_millis(5));
        }
        self.child = None;
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(self.child.as_ref().expect("it runs"));
        kill_process(pid, signal).expect("it runs");
    }

    /// What it has said so far.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // SIGKILL takes a process that hangs, too. It may have ended by itself.
        if let Some(mut child) = self.child.take() {
            _ = child.kill();
            _ = child.wait();
        }
    }
}

/// The state stands behind the name, which is in parentheses and may have any characters: proc_pid_stat(5).
fn is_stopped(stat: &str) -> bool {
    stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('T'))
}

/// A file beside others in a throw-away directory.
pub(crate) fn inside(folder: &Path, name: &str) -> PathBuf {
    folder.join(name)
}
