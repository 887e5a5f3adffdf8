//! The binary itself: on the floor, on made-up servers that break their promises, and on the real ones of others.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::thread;

fn loadtest(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_loadtest")).args(arguments).output().expect("it runs")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What a made-up server does with the third message of a room.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    Correct,
    /// One reader does not get it.
    Loses,
    /// One reader gets it twice.
    Repeats,
    /// Nobody gets it, though it was acknowledged.
    Swallows,
}

#[derive(Default)]
struct Room {
    seq: u64,
    readers: Vec<TcpStream>,
}

/// A chat server with a thread per connection and one room for all.
fn fake(manner: Manner) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let room = Arc::new(Mutex::new(Room::default()));
    thread::spawn(move || {
        for socket in listener.incoming() {
            let room = room.clone();
            // A connection that the load closed is nothing to speak of.
            thread::spawn(move || {
                let socket = socket?;
                socket.set_nodelay(true)?;
                serve(&socket, &room, manner)
            });
        }
    });
    url
}

fn serve(mut socket: &TcpStream, room: &Mutex<Room>, manner: Manner) -> std::io::Result<()> {
    let mut input = BufReader::new(socket);
    loop {
        let mut lines = Vec::new();
        for line in input.by_ref().lines() {
            match line? {
                line if line.is_empty() => break,
                line => lines.push(line),
            }
        }
        let Some(first) = lines.first() else { return Ok(()) };
        if first.starts_with("GET") {
            let mut room = room.lock().unwrap();
            let head =
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
            let hello =
                format!("event: hello\nid: 1-{}\ndata: {{}}\n\nevent: live\ndata: {{}}\n\n", room.seq);
            write!(socket, "{head}{:x}\r\n{hello}\r\n", hello.len())?;
            room.readers.push(socket.try_clone()?);
            return Ok(());
        }
        let length =
            lines.iter().find_map(|l| l.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        input.read_exact(&mut vec![0; length.unwrap_or(0)])?;
        let answer = if first.contains("/api/session") {
            r#"{"token":"t","user":{"id":"u"}}"#.to_owned()
        } else {
            let seq = room.lock().unwrap().say(manner)?;
            format!(r#"{{"cursor":"1-{seq}","duplicate":false}}"#)
        };
        write!(socket, "HTTP/1.1 201 Created\r\nContent-Length: {}\r\n\r\n{answer}", answer.len())?;
    }
}

impl Room {
    fn say(&mut self, manner: Manner) -> std::io::Result<u64> {
        self.seq += 1;
        let block = format!("id: 1-{0}\ndata: {{\"seq\":{0},\"text\":\"x\"}}\n\n", self.seq);
        let chunk = format!("{:x}\r\n{block}\r\n", block.len());
        // Far into the measurement: the probe, the speaking without readers and the warm-up come before.
        let harmed = self.seq == 660;
        for (i, mut reader) in self.readers.iter().enumerate() {
            let last = i + 1 == self.readers.len();
            let times = match manner {
                Manner::Swallows if harmed => 0,
                Manner::Loses if harmed && last => 0,
                Manner::Repeats if harmed && last => 2,
                _ => 1,
            };
            // The probe's reader has gone by now.
            let _ = reader.write_all(chunk.repeat(times).as_bytes());
        }
        Ok(self.seq)
    }
}

/// Runs a scenario against a made-up server, with twenty readers.
fn against(manner: Manner, scenario: &[&str]) -> Output {
    let url = fake(manner);
    // The made-up server's own CPU is this test's, which is never idle; a sleeper stands in for it.
    let mut sleeper = Command::new("sleep").arg("60").spawn().unwrap();
    let pid = sleeper.id().to_string();
    let fixed = ["--readers", "20", "--rounds", "1", "--json", "--url", &url, "--pid", &pid];
    let output = loadtest(&[scenario, &fixed].concat());
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
    output
}

fn fanout(manner: Manner) -> Output {
    against(manner, &["fanout", "--messages", "50"])
}

/// Of other servers, beside a correct one.
fn peers(arguments: &[&str]) -> (Output, serde_json::Value) {
    let output = against(Manner::Correct, &[&["peers", "--messages", "20"], arguments].concat());
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
    let output = fanout(Manner::Correct);
    assert!(output.status.success(), "{}", said(&output));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report["ratios"][0]["cost"].is_number());
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
