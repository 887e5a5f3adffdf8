//! Programs that other people write: the examples of `docs/clients.md`, taken out of the document, and clients for
//! Server-Sent Events from npm, PyPI and crates.io (`tests/clients`). Each is cut off in every way that a network and a
//! server have, while people speak, and prints each message once, in order.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, OnceLock},
    thread,
    time::{Duration, Instant},
};

use loadtest::speak::whole_log;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;
use tempfile::TempDir;
use testbed::{Fault, FaultProxy, Port, Way, Whom};

use crate::harness::{Maru, program, wait_for};

const DOCUMENT: &str = include_str!("../../../docs/clients.md");

/// Where the server of a test is reached by the program that it is about.
struct Place {
    base: String,
    token: String,
    page: Port,
    folder: TempDir,
}

/// A running program that prints what is said in the lobby.
struct Listening {
    child: Child,
    printed: Arc<Mutex<Vec<String>>>,
    complaints: Arc<Mutex<Vec<String>>>,
}

impl Listening {
    fn start(mut command: Command) -> Self {
        // In a group of its own, with the programs that it begins.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}; ./test installs what it needs"));
        let printed = collected(child.stdout.take().expect("it is piped"));
        let complaints = collected(child.stderr.take().expect("it is piped"));
        Listening { child, printed, complaints }
    }

    /// The texts that it has printed: of the examples, behind names or in JSON.
    fn texts(&self) -> Vec<String> {
        let printed = self.printed.lock().expect("no panic while locked");
        let text = |line: &String| match serde_json::from_str::<Value>(line) {
            Ok(said) => said["text"].as_str().expect("a text").to_owned(),
            Err(_) => line.rsplit(": ").next().expect("there is a last").to_owned(),
        };
        printed.iter().map(text).collect()
    }

    fn has_printed(&self, text: &str) -> bool {
        self.texts().iter().any(|printed| printed == text)
    }

    /// Has it say something.
    fn type_in(&mut self, text: &str) {
        let input = self.child.stdin.as_mut().expect("it is piped");
        writeln!(input, "{text}").expect("it reads");
        input.flush().expect("it reads");
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let group = Pid::from_child(&self.child);
        // Whoever began a browser ends it too.
        _ = kill_process_group(group, Signal::TERM);
        let until = Instant::now() + Duration::from_secs(5);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < until {
            thread::sleep(Duration::from_millis(10));
        }
        _ = kill_process_group(group, Signal::KILL);
        _ = self.child.wait();
        if thread::panicking() {
            eprintln!("it printed {:?}", self.printed.lock());
            eprintln!("and complained {:#?}", self.complaints.lock());
        }
    }
}

/// The lines that come, as they come.
fn collected(source: impl std::io::Read + Send + 'static) -> Arc<Mutex<Vec<String>>> {
    let lines = Arc::<Mutex<Vec<String>>>::default();
    let kept = Arc::clone(&lines);
    thread::spawn(move || {
        for line in BufReader::new(source).lines().map_while(Result::ok) {
            kept.lock().expect("no panic while locked").push(line);
        }
    });
    lines
}

/// Through everything that happens to connections. `speaks`: what is typed into it is said too.
fn misses_nothing(speaks: Speaks, command: impl FnOnce(&Place) -> Command) {
    let page = Port::any();
    let origin = format!("http://{}", page.address());
    let args = ["--rate-limit", "off", "--drain", "300ms", "--origin", &origin];
    let mut maru = Maru::of_one(&args);
    let proxy = FaultProxy::to(maru.one_pod().address());
    let token = maru.one_pod().command(&["token", "--name", "Bot"]).stdout;
    let token = String::from_utf8(token).expect("text").trim_end().to_owned();
    let folder = TempDir::new().expect("a directory can be made");
    let place = Place { base: format!("http://{}", proxy.address()), token, page, folder };

    let mut said = 0;
    let mut typed = 0;
    // What somebody else says; gives the last of it.
    let mut say = |maru: &Maru, times: u32| {
        for _ in 0..times {
            said += 1;
            assert_eq!(maru.say("lobby", &format!("said-{said}")).status, 201);
        }
        format!("said-{said}")
    };
    let first = say(&maru, 3);
    let mut listening = Listening::start(command(&place));
    wait_for("it has what was said before", || listening.has_printed(&first));
    let mut type_in = |listening: &mut Listening| {
        if speaks == Speaks::Yes {
            typed += 1;
            listening.type_in(&format!("typed-{typed}"));
        }
    };
    type_in(&mut listening);
    let last = say(&maru, 3);
    wait_for("it hears what is said now", || listening.has_printed(&last));

    // A reset while events come, and more is said while it is away; what it says itself loses its answer, perhaps.
    proxy.harm(Whom::ToCome, Fault::ResetAfter(700));
    type_in(&mut listening);
    proxy.harm(Whom::There, Fault::ResetAfter(150));
    let last = say(&maru, 5);
    proxy.heal();
    wait_for("it is back after a reset", || listening.has_printed(&last));

    // An end without a reset, in the middle of the answer.
    proxy.harm(Whom::There, Fault::HalfClose(Way::Down));
    let last = say(&maru, 5);
    wait_for("it is back after its connection was closed", || listening.has_printed(&last));

    // A restart: bye, the end of the answer, and for a while nobody is there.
    maru.tell_to_end();
    assert!(maru.ended().success());
    type_in(&mut listening);
    maru.restart();
    let last = say(&maru, 5);
    wait_for("it is back after a restart", || listening.has_printed(&last));
    type_in(&mut listening);
    wait_for("it has said all", || (1..=typed).all(|n| listening.has_printed(&format!("typed-{n}"))));
    let log = whole_log(&mut maru.client(), "lobby").expect("the log can be read");
    let text = |data| {
        serde_json::from_str::<Value>(data).expect("JSON")["text"].as_str().expect("a text").to_owned()
    };
    let log: Vec<_> = log.iter().map(|event| text(&event.data)).collect();
    assert_eq!(listening.texts(), log);
    // What it said is there once, and in its order.
    let own: Vec<_> = log.iter().filter(|text| text.starts_with("typed-")).cloned().collect();
    assert_eq!(own, (1..=typed).map(|n| format!("typed-{n}")).collect::<Vec<_>>());
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Speaks {
    Yes,
    No,
}

/// The example in this language, as a file.
fn example(place: &Place, language: &str, name: &str) -> PathBuf {
    let fence = format!("\n```{language}\n");
    let blocks = DOCUMENT.split(&fence).skip(1).filter_map(|rest| rest.split("\n```\n").next());
    let mut examples = blocks.filter(|block| block.lines().take(2).any(|line| line.contains(name)));
    let example = examples.next().unwrap_or_else(|| panic!("no {name} in the document"));
    let path = place.folder.path().join(name);
    fs::write(&path, format!("{example}\n")).expect("it can be written");
    path
}

fn chat(mut command: Command, place: &Place) -> Command {
    command.args([&place.base, "lobby"]).env("MARU_TOKEN", &place.token);
    command
}

fn script(name: impl AsRef<std::ffi::OsStr>, arg: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(name);
    command.arg(arg);
    command
}

/// Where `./test` puts what it installs, and where the tests build.
fn target() -> &'static Path {
    program().ancestors().nth(2).expect("target/debug/maru")
}

fn clients(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(path)
}

fn python() -> PathBuf {
    target().join("tools/sse/bin/python3")
}

/// A program of `tests/clients/rust`.
fn rust(name: &str) -> PathBuf {
    static BUILT: OnceLock<()> = OnceLock::new();
    let folder = target().join("clients");
    BUILT.get_or_init(|| {
        let status = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--locked", "--manifest-path"])
            .arg(clients("rust/Cargo.toml"))
            .arg("--target-dir")
            .arg(&folder)
            .status()
            .expect("cargo runs");
        assert!(status.success(), "the clients in Rust were not built");
    });
    folder.join("debug").join(name)
}

/// All of the log, and then what comes: what a client comes back with is stronger than what stands in the URL.
fn stream(place: &Place) -> String {
    format!("{}/r/lobby?since=all", place.base)
}

fn listener(mut command: Command, place: &Place) -> Command {
    command.arg(stream(place));
    command
}

#[test]
fn the_example_for_curl_misses_nothing() {
    misses_nothing(Speaks::Yes, |place| chat(script("bash", example(place, "sh", "chat.sh")), place));
}

#[test]
fn the_example_for_python_misses_nothing() {
    misses_nothing(Speaks::Yes, |place| chat(script(python(), example(place, "python", "chat.py")), place));
}

#[test]
fn the_example_for_node_misses_nothing() {
    misses_nothing(Speaks::Yes, |place| chat(script("node", example(place, "js", "chat.mjs")), place));
}

#[test]
fn the_example_for_go_misses_nothing() {
    misses_nothing(Speaks::Yes, |place| {
        let source = example(place, "go", "chat.go");
        let program = place.folder.path().join("chat");
        fs::write(place.folder.path().join("go.mod"), "module chat\n\ngo 1.19\n").expect("it can be written");
        let mut build = Command::new("go");
        build.current_dir(place.folder.path()).env("GOTOOLCHAIN", "local").args(["build", "-o"]);
        let built =
            build.arg(&program).arg(source).status().expect("go is not installed here; ./test installs it");
        assert!(built.success(), "the example in Go does not compile");
        chat(Command::new(program), place)
    });
}

#[test]
fn the_example_for_rust_misses_nothing() {
    misses_nothing(Speaks::Yes, |place| chat(Command::new(rust("chat")), place));
}

#[test]
fn the_example_for_browsers_misses_nothing() {
    misses_nothing(Speaks::Yes, |place| {
        let mut page = script("node", clients("node/page.mjs"));
        page.arg(example(place, "html", "chat.html")).arg(place.page.number().to_string());
        chat(page, place)
    });
}

#[test]
fn eventsource_of_npm_misses_nothing() {
    misses_nothing(Speaks::No, |place| listener(script("node", clients("node/eventsource.mjs")), place));
}

#[test]
fn eventsource_client_of_npm_misses_nothing() {
    misses_nothing(Speaks::No, |place| {
        listener(script("node", clients("node/eventsource-client.mjs")), place)
    });
}

#[test]
fn event_source_plus_of_npm_misses_nothing() {
    misses_nothing(Speaks::No, |place| {
        listener(script("node", clients("node/event-source-plus.mjs")), place)
    });
}

#[test]
fn requests_sse_of_pypi_misses_nothing() {
    misses_nothing(Speaks::No, |place| {
        listener(script(python(), clients("python/requests_sse_client.py")), place)
    });
}

#[test]
fn httpx_sse_of_pypi_misses_nothing() {
    misses_nothing(Speaks::No, |place| {
        listener(script(python(), clients("python/httpx_sse_client.py")), place)
    });
}

#[test]
fn eventsource_client_of_crates_io_misses_nothing() {
    misses_nothing(Speaks::No, |place| listener(Command::new(rust("eventsource_client")), place));
}

/// An example that nobody takes out would drift.
#[test]
fn every_example_of_the_document_is_tried() {
    let tried = ["chat.sh", "chat.html", "chat.py", "chat.go", "chat.mjs", "chat.rs"];
    let long = DOCUMENT.split("\n```").skip(1).step_by(2).filter(|block| block.lines().count() > 12);
    let named: Vec<_> = long.map(|block| tried.iter().find(|name| block.contains(**name))).collect();
    assert_eq!(named.iter().flatten().count(), tried.len(), "{named:?}");
    assert!(named.iter().all(Option::is_some), "a program that is not tried");
}
