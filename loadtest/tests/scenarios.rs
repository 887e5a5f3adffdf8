//! The binary itself: on the floor, and on made-up servers that break their promises.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
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
        let block = format!("id: 1-{}\ndata: {{}}\n\n", self.seq);
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

fn fanout(manner: Manner) -> Output {
    let url = fake(manner);
    // The made-up server's own CPU is this test's, which is never idle; a sleeper stands in for it.
    let mut sleeper = Command::new("sleep").arg("60").spawn().unwrap();
    let pid = sleeper.id().to_string();
    let fixed = ["--json", "fanout", "--readers", "20", "--messages", "50", "--rounds", "1"];
    let output = loadtest(&[&fixed[..], &["--url", &url, "--pid", &pid]].concat());
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
    output
}

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
