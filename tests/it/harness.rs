//! A pod of its own for each test: the real binary, a free port, a throw-away directory.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{Arc, Mutex, OnceLock},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use loadtest::{
    http::{Client, Response},
    stream::{Listen, Next, Stream},
};
use serde_json::Value;
use tempfile::TempDir;

/// How long a condition may take to come true. Nothing waits this long unless it fails.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// `n`, or ten times as much in the long form of the tests (`./test --long`).
pub fn at_length(n: u64) -> u64 {
    if std::env::var_os("MARU_TEST_LONG").is_some() { 10 * n } else { n }
}

/// When to give up waiting.
pub fn deadline() -> Instant {
    Instant::now() + PATIENCE
}

/// A running maru.
pub struct Pod {
    program: PathBuf,
    args: Vec<String>,
    envs: Vec<(String, String)>,
    data: TempDir,
    child: Child,
    address: SocketAddr,
    pub greeting: Vec<String>,
    log: Arc<Mutex<String>>,
    log_reader: Option<JoinHandle<()>>,
}

impl Pod {
    /// With nothing beside it, and no limits of rate: for tests that are about something else.
    pub fn start() -> Self {
        Pod::with(&["--rate-limit", "off"])
    }

    /// With these arguments.
    pub fn with(args: &[&str]) -> Self {
        Pod::of(Path::new(env!("CARGO_BIN_EXE_maru")), args, &[])
    }

    /// The build that has this fault.
    pub fn faulty(fault: &str) -> Self {
        Pod::of(faulty_build(), &["--rate-limit", "off"], &[("MARU_FAULT", fault)])
    }

    /// With these arguments and variables.
    pub fn with_envs(args: &[&str], envs: &[(&str, &str)]) -> Self {
        Pod::of(Path::new(env!("CARGO_BIN_EXE_maru")), args, envs)
    }

    /// With so many open files allowed.
    pub fn with_open_files(files: u32, args: &[&str]) -> Self {
        use std::os::unix::fs::OpenOptionsExt;

        let folder = TempDir::new().expect("a directory can be made");
        let script = folder.path().join("maru");
        let mut file =
            std::fs::File::options().create_new(true).write(true).mode(0o700).open(&script).expect("a file");
        write!(file, "#!/bin/sh\nulimit -n {files}\nexec {} \"$@\"\n", env!("CARGO_BIN_EXE_maru"))
            .expect("written");
        drop(file);
        Pod::of(&script, args, &[])
    }

    fn of(program: &Path, args: &[&str], envs: &[(&str, &str)]) -> Self {
        let data = TempDir::new().expect("a directory can be made");
        let args: Vec<_> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let envs: Vec<_> = envs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let any = "127.0.0.1:0".parse().expect("an address");
        let log = Arc::default();
        let (child, address, greeting, log_reader) = launch(program, any, data.path(), &args, &envs, &log);
        let log_reader = Some(log_reader);
        Pod { program: program.to_owned(), args, envs, data, child, address, greeting, log, log_reader }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn data(&self) -> &Path {
        self.data.path()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it can be waited for");
    }

    /// Starts it again on the same port and data.
    pub fn restart(&mut self) {
        let log_reader;
        (self.child, self.address, self.greeting, log_reader) =
            launch(&self.program, self.address, self.data.path(), &self.args, &self.envs, &self.log);
        self.log_reader = Some(log_reader);
    }

    /// Kills it and starts it with other arguments on the same port and data.
    pub fn restart_with(&mut self, args: &[&str]) {
        self.kill();
        self.args = args.iter().map(|arg| (*arg).to_owned()).collect();
        self.restart();
    }

    /// What it has said on standard error so far; all of it once it has ended.
    pub fn log(&self) -> String {
        self.log.lock().expect("no panic while locked").clone()
    }

    /// SIGTERM, without waiting.
    pub fn tell_to_end(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
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

    pub fn client(&self) -> Client {
        Client::new(self.address)
    }

    /// Says something as a new guest; gives the answer.
    pub fn say(&self, room: &str, text: &str) -> Response {
        let target = format!("/r/{}", loadtest::speak::percent_encoded(room));
        self.client().post(&target, "text/plain", text).expect("an answer")
    }

    /// Signs in; gives the token and the user.
    pub fn sign_in(&self, name: &str) -> (String, Value) {
        let answer =
            self.client().post_json("/api/session", &serde_json::json!({"name": name})).expect("an answer");
        assert_eq!(answer.status, 201, "{}", answer.text());
        let session = answer.json();
        (session["token"].as_str().expect("a token").to_owned(), session["user"].clone())
    }

    /// A client that carries a token.
    pub fn client_as(&self, token: &str) -> Client {
        self.client().header("Authorization", &format!("Bearer {token}"))
    }

    pub fn listen(&self, target: &str) -> Stream {
        Listen::to(target).open(self.address).expect("a stream")
    }

    /// A stream that has had its replay.
    pub fn listen_live(&self, target: &str) -> Stream {
        let mut stream = self.listen(target);
        stream.wait_for("live", deadline()).expect("the replay ends");
        stream
    }

    /// A figure of `/metrics`.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.client().get("/metrics").expect("an answer").text();
        let line = text.lines().find(|line| line.split_whitespace().next() == Some(name));
        line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
            .unwrap_or_else(|| panic!("no {name} in {text}"))
    }

    /// Waits until a figure of `/metrics` is as wanted.
    pub fn wait_for_metric(&self, name: &str, wanted: impl Fn(f64) -> bool) {
        wait_for(name, || wanted(self.metric(name)));
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        // It may have been killed already.
        _ = self.child.kill();
        _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("its log:\n{}", self.log());
        }
    }
}

/// Waits for a condition; panics when it does not come true.
pub fn wait_for(what: &str, mut is_true: impl FnMut() -> bool) {
    let until = deadline();
    while !is_true() {
        assert!(Instant::now() < until, "it never came true: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Runs maru to its end, which must come by itself; with a data directory of its own unless one is given.
pub fn run(args: &[&str], envs: &[(&str, &str)]) -> Output {
    let data = TempDir::new().expect("a directory can be made");
    let mut maru = Command::new(env!("CARGO_BIN_EXE_maru"));
    if !args.contains(&"--data") {
        maru.arg("--data").arg(data.path());
    }
    maru.args(args).envs(envs.iter().copied()).stdin(Stdio::null());
    let mut child = maru.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let until = deadline();
    while child.try_wait().expect("it can be waited for").is_none() {
        if Instant::now() > until {
            child.kill().expect("it runs");
            panic!("it does not end: {args:?} {:?}", child.wait_with_output());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().expect("its output can be read")
}

/// This answer is a problem document of this status and code, with all that such an answer carries.
pub fn assert_problem(answer: &Response, status: u16, code: &str) {
    let text = answer.text();
    assert_eq!(answer.status, status, "{text}");
    assert_eq!(answer.headers.get("content-type"), Some("application/problem+json"), "{text}");
    let problem = answer.json();
    let mut fields: Vec<_> = problem.as_object().expect("an object").keys().map(String::as_str).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["code", "detail", "status", "title", "type"], "{text}");
    assert_eq!((&problem["status"], &problem["code"]), (&status.into(), &code.into()), "{text}");
    for sentence in ["type", "title", "detail"] {
        assert!(problem[sentence].as_str().is_some_and(|s| !s.is_empty()), "no {sentence} in {text}");
    }
    let seconds = answer.headers.get("retry-after").map(|s| s.parse::<u32>().expect("seconds"));
    match status {
        401 => assert!(answer.headers.get("www-authenticate").is_some(), "{text}"),
        405 => assert!(answer.headers.get("allow").is_some(), "{text}"),
        429 | 503 => assert!(seconds.is_some_and(|s| s >= 1), "Retry-After is {seconds:?}: {text}"),
        _ => {}
    }
}

/// This stream is sent off at once: when to come back, why, and the end.
pub fn assert_sent_off(stream: &mut Stream, code: &str) {
    let Ok(Next::Event(bye)) = stream.next_event(deadline()) else { panic!("no event") };
    assert_eq!((bye.name.as_str(), bye.id), ("bye", None));
    assert_eq!(serde_json::from_str::<Value>(&bye.data).expect("JSON")["code"], code);
    assert!(stream.retry().is_some_and(|ms| ms >= 1000), "{:?}", stream.retry());
    assert_eq!(stream.next_event(deadline()).expect("an orderly end"), Next::Ended);
}

fn launch(
    program: &Path,
    listen: SocketAddr,
    data: &Path,
    args: &[String],
    envs: &[(String, String)],
    log: &Arc<Mutex<String>>,
) -> (Child, SocketAddr, Vec<String>, JoinHandle<()>) {
    let mut child = Command::new(program)
        .args(["--listen", &listen.to_string(), "--data"])
        .arg(data)
        .args(args)
        .envs(envs.iter().cloned())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let errors = BufReader::new(child.stderr.take().expect("it is piped"));
    let log = Arc::clone(log);
    let log_reader = std::thread::spawn(move || {
        for line in errors.lines().map_while(Result::ok) {
            log.lock().expect("no panic while locked").push_str(&(line + "\n"));
        }
    });
    let mut out = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut greeting = Vec::new();
    let mut address = None;
    // The greeting ends with the limit of streams.
    while !greeting.last().is_some_and(|line: &String| line.contains("streams at once")) {
        let mut line = String::new();
        if out.read_line(&mut line).expect("text") == 0 {
            panic!("it ended before it listened: {:?} {greeting:?}", child.wait());
        }
        address = address.or_else(|| line.split("http://").nth(1)?.trim().parse().ok());
        greeting.push(line.trim_end().to_owned());
    }
    // Whatever else it says is read, so that it never waits for us.
    std::thread::spawn(move || std::io::copy(&mut out.by_ref(), &mut std::io::sink()));
    (child, address.expect("it says where it listens"), greeting, log_reader)
}

/// Builds, once, the program that has faults to choose from.
fn faulty_build() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let status = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--features", "faults", "--bin", "maru-faulty"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()
            .expect("cargo runs");
        assert!(status.success(), "the build with faults failed");
        Path::new(env!("CARGO_BIN_EXE_maru")).with_file_name("maru-faulty")
    })
}
