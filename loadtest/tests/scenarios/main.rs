//! The binary itself: on the floor, on made-up servers that break their promises, and on the real ones of others.

mod made_up;

use made_up::{Manner, READERS};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::thread;

fn loadtest(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_loadtest")).args(arguments).output().expect("it runs")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs a scenario, once, against a made-up server that breaks its promise with this message of a room.
fn against(manner: Manner, harmed: usize, scenario: &[&str]) -> Output {
    at_made_up(manner, harmed, &[scenario, &["--rounds", "1"]].concat())
}

fn at_made_up(manner: Manner, harmed: usize, scenario: &[&str]) -> Output {
    let url = made_up::start(manner, harmed);
    // The made-up server's own CPU is this test's, which is never idle; a sleeper stands in for it.
    let mut sleeper = Command::new("sleep").arg("60").spawn().unwrap();
    let pid = sleeper.id().to_string();
    let output = loadtest(&[scenario, &["--json", "--url", &url, "--pid", &pid]].concat());
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
    output
}

/// The message comes far into the measurement: the speaking without readers and the warm-up are before it.
fn fanout(manner: Manner) -> Output {
    against(manner, 360, &["fanout", "--readers", "20", "--messages", "50"])
}

/// What they missed is messages 2 to 31.
fn storm(manner: Manner) -> Output {
    against(manner, 17, &["storm", "--readers", "20", "--missed", "30"])
}

fn report(output: &Output) -> serde_json::Value {
    assert!(output.status.success(), "{}", said(output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Of other servers, beside a correct one.
fn peers(arguments: &[&str]) -> (Output, serde_json::Value) {
    let output =
        against(Manner::Correct, 0, &[&["peers", "--readers", "20", "--messages", "20"], arguments].concat());
    let report = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output, report)
}

/// A program in this folder that passes for another server.
fn pretender(folder: &Path, text: &str) -> String {
    let path = folder.join("pretender");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Takes what is meant for Centrifugo and gives it to all readers, but one message to the last of them twice.
const UNFAITHFUL: &str = r#"#!/usr/bin/env node
const fs = require("node:fs"), http = require("node:http"), readers = [];
if (process.argv[2] === "version") { console.log("Unfaithful 1"); process.exit(); }
const config = JSON.parse(fs.readFileSync(process.argv[process.argv.indexOf("--config") + 1]));
http.createServer((request, response) => {
    if (request.method === "GET" && request.url !== "/") {
        response.writeHead(200, { "content-type": "text/event-stream" });
        response.write('data: {"connect":{}}\n\n');
        return readers.push(response);
    }
    let body = "";
    request.on("data", (part) => body += part);
    request.on("end", () => {
        response.end('{"result":{}}');
        if (request.method !== "POST") return;
        const { data } = JSON.parse(body);
        const event = `data: ${JSON.stringify({ pub: { data } })}\n\n`;
        readers.forEach((reader, i) => reader.write(data.seq === 340 && i === 19 ? event + event : event));
    });
}).listen(config.http_server.port, "127.0.0.1");
"#;

#[test]
fn the_floor_is_measured() {
    let output = loadtest(&["floor", "--readers", "30", "--messages", "50", "--rounds", "1", "--json"]);
    assert!(output.status.success(), "{}", said(&output));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["runs"][0]["deliveries"], 1500);
    assert!(report["runs"][0]["last_reader_p50_ms"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_correct_server_is_put_beside_the_floor() {
    let report = report(&fanout(Manner::Correct));
    assert!(report["ratios"][0]["cost"].is_number());
}

#[test]
fn many_rooms_are_put_beside_the_floor() {
    let rooms = ["rooms", "--rooms", "3", "--readers", "4", "--beside", "0,2", "--messages", "30"];
    let report = report(&against(Manner::Correct, 0, &rooms));
    let runs = report["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 4);
    assert!(runs.iter().all(|run| run["rooms"] == 3 && run["deliveries"] == 120), "{report}");
    assert_eq!((&runs[1]["beside"], &runs[3]["beside"]), (&0.into(), &2.into()));
}

#[test]
fn growth_is_measured_and_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let drawn = folder.path().to_str().unwrap();
    let growth =
        ["growth", "--curve", "readers,size", "--up-to", "50", "--deliveries", "600", "--plot", drawn];
    let report = report(&against(Manner::Correct, 0, &growth));
    let points = |curve: usize| {
        let points = report["curves"][curve]["points"].as_array().unwrap();
        points.iter().map(|point| (point["target"].as_str().unwrap(), &point["x"])).collect::<Vec<_>>()
    };
    let (ten, thirty, fifty) = (10.into(), 30.into(), 50.into());
    let both = |x| [("floor", x), ("maru", x)];
    assert_eq!(points(0), [both(&ten), both(&thirty)].concat());
    assert_eq!(points(1), both(&fifty));
    for name in ["readers-cost", "readers-latency", "size-cost", "size-latency"] {
        assert!(folder.path().join(name).with_extension("svg").is_file(), "{name}");
    }
}

#[test]
fn whoever_is_lost_in_a_storm_fails_the_run_loudly() {
    let correct = thread::spawn(|| storm(Manner::Correct));
    let wrong = [Manner::Loses, Manner::Repeats].map(|manner| thread::spawn(move || storm(manner)));
    let report = report(&correct.join().unwrap());
    assert!(report["runs"].as_array().unwrap().iter().all(|run| run["readers"] == READERS), "{report}");
    assert!(report["ratio"].as_f64().unwrap() > 0.0);
    for run in wrong {
        let output = run.join().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(said(&output).contains("lost, repeated or out of order"), "{}", said(&output));
    }
}

#[test]
fn silent_readers_are_counted_and_have_all_to_hear_the_last_message() {
    let idle = |manner| {
        let scene = ["idle", "--from", "10", "--to", "20", "--step", "10", "--hold", "1"];
        at_made_up(manner, 2, &scene)
    };
    let report = report(&idle(Manner::Correct));
    assert_eq!((&report["steps"][0]["readers"], &report["steps"][1]["readers"]), (&10.into(), &20.into()));
    assert_eq!(report["pings_per_reader"], 0.0);
    let output = idle(Manner::Loses);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("19 of 20 readers"), "{}", said(&output));
}

#[test]
fn those_that_were_stuck_get_everything_too() {
    let stuck = |manner| {
        let scene = ["stuck", "--readers", "20", "--rate", "100", "--seconds", "1"];
        against(manner, 150, &scene)
    };
    let report = report(&stuck(Manner::Correct));
    assert_eq!((&report["runs"][0]["stuck"], &report["runs"][1]["stuck"]), (&0.into(), &2.into()));
    // The last of the readers is one of those that are stuck when the message comes.
    let output = stuck(Manner::Loses);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("lost, repeated or out of order"), "{}", said(&output));
}

#[test]
fn what_was_acknowledged_is_looked_for_in_the_log() {
    let speak =
        |manner| against(manner, 200, &["speak", "--speakers", "4", "--rooms", "2", "--seconds", "1"]);
    let report = report(&speak(Manner::Correct));
    let run = &report["runs"][0];
    assert!(run["posts"].as_u64() > Some(0) && run["commits_per_second"].as_f64() > Some(0.0), "{report}");
    let output = speak(Manner::Swallows);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("WRONG"), "{}", said(&output));
}

#[test]
fn a_server_that_loses_repeats_or_swallows_fails_the_run_loudly() {
    // Side by side, for a loss shows only when nothing has moved for ten seconds.
    let harms =
        [(Manner::Loses, "19 of 20 readers"), (Manner::Repeats, "repeated"), (Manner::Swallows, "0 of 20")];
    let runs = harms.map(|(manner, words)| (thread::spawn(move || fanout(manner)), words));
    for (run, words) in runs {
        let output = run.join().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(said(&output).contains(words), "{}", said(&output));
    }
}

#[test]
fn load_goes_to_this_machine_only() {
    let output = loadtest(&["fanout", "--url", "http://192.0.2.1:80", "--pid", "1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("loopback"), "{}", said(&output));
}

#[test]
fn nchan_and_two_servers_in_node_are_put_beside_the_floor() {
    let (output, report) = peers(&["--only", "nchan,node-sse,socket.io"]);
    assert!(output.status.success(), "{}", said(&output));
    let targets: Vec<_> =
        report["runs"].as_array().unwrap().iter().map(|run| run["target"].as_str().unwrap()).collect();
    assert_eq!(targets, ["floor", "maru", "nchan", "node-sse", "socket.io"]);
    for run in report["runs"].as_array().unwrap() {
        assert_eq!(run["deliveries"], 400, "{run}");
        assert!(run["bytes"].as_f64().unwrap() > 20.0 && run["last_reader_p50_ms"].as_f64().unwrap() > 0.0);
    }
    for peer in report["peers"].as_array().unwrap() {
        let words = |key: &str| peer[key].as_str().unwrap().to_owned();
        assert!(words("version").contains('.') && words("command").contains(' '), "{peer}");
    }
    let best = &report["best"][0];
    assert!(best["target"] == "maru" && targets[2..].contains(&best["to"].as_str().unwrap()), "{best}");
}

#[test]
fn a_peer_that_repeats_something_has_no_figure_and_the_others_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let program = pretender(folder.path(), UNFAITHFUL);
    let (output, report) = peers(&["--only", "centrifugo,node-sse", "--centrifugo", &program]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let failed = &report["failed"][0];
    assert!(failed["target"] == "centrifugo" && failed["is_behind"] == false, "{failed}");
    assert!(failed["what"].as_str().unwrap().contains("repeated"), "{failed}");
    assert_eq!((&report["runs"][2]["target"], &report["runs"][3]), (&"node-sse".into(), &().into()));
}

#[test]
fn a_peer_that_does_not_start_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let program = pretender(folder.path(), "#!/bin/sh\necho Mute 1\necho no way >&2\n[ $1 != run ]\n");
    let (output, report) = peers(&["--only", "mercure", "--mercure", &program]);
    assert_eq!(output.status.code(), Some(1));
    assert!(report["failed"][0]["what"].as_str().unwrap().contains("no way"), "{report}");
    assert_eq!(report["peers"][0]["version"], "Mute 1");
}

#[test]
fn a_peer_that_was_asked_for_and_is_not_there_is_an_error() {
    let nowhere = ["--only", "mercure", "--mercure", "/nowhere/mercure"];
    assert!(said(&peers(&nowhere).0).contains("no program at /nowhere/mercure"));
    let mut alone = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    let output = alone.args(["peers", "--only", "durable-streams"]).env("PATH", "/nowhere").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("cargo install durable-streams"), "{}", said(&output));
}
