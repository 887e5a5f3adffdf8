//! What tests speak to: maru as it is deployed, alone or as many pods, with real servers of the test's own.
//!
//! `MARU_TEST_ON` says how: `alone` (one process and SQLite; so without it), `redis` (three pods on Redis and
//! MariaDB) or `nats` (three pods on NATS, Redis and MariaDB). A test does not ask: it says and hears by whatever
//! pod it is given. Which pods those are is drawn; `MARU_TEST_SEED` draws the same again.

mod failover;
mod maru;
pub mod person;
mod pod;
mod servers;
mod ways;

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use loadtest::{
    http::Response,
    stream::{Next, Stream},
};
use serde_json::Value;
use tempfile::TempDir;

pub use self::{
    maru::{Doors, Maru},
    person::Person,
    pod::{Pod, Start},
    servers::{Server, Servers, Stage, stage},
    ways::{To, Ways},
};

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

/// The program that tests are about.
pub fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_maru"))
}

/// Builds, once, the program that has faults to choose from.
pub fn faulty_build() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| build(&["--features", "faults", "--bin", "maru-faulty"], "maru-faulty"))
}

/// Builds, once, the load test.
pub fn loadtest_build() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| build(&["-p", "loadtest", "--bin", "loadtest"], "loadtest"))
}

fn build(what: &[&str], name: &str) -> PathBuf {
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet"])
        .args(what)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .expect("cargo runs");
    assert!(status.success(), "{name} was not built");
    program().with_file_name(name)
}
