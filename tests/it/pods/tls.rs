//! Servers that are spoken to over TLS alone, and one whose certificate nobody vouches for.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    sync::mpsc,
};

use loadtest::stream::Listen;
use tempfile::TempDir;
use testbed::{Aof, MariaDb, Nats, Redis, Tls};

use crate::harness::{Maru, PATIENCE, deadline, program, wait_for};

#[test]
fn all_servers_are_spoken_to_over_tls() {
    let tls = Tls::new();
    let maru = Maru::over_tls(&tls);
    let listen = |pod| Listen::to("/r/lobby").open(pod).unwrap();
    let mut streams: Vec<_> = maru.doors().all().iter().map(|pod| listen(*pod)).collect();
    for stream in &mut streams {
        stream.wait_for("live", deadline()).unwrap();
    }
    for n in 1..=20 {
        assert_eq!(maru.say("lobby", &format!("over TLS {n}")).status, 201);
    }
    for stream in &mut streams {
        for n in 1..=20 {
            let event = stream.wait_for("message", deadline()).unwrap();
            assert!(event.data.contains(&format!("\"over TLS {n}\"")), "{event:?}");
        }
    }
    wait_for("everything is stored", || maru.servers().outboxes() == 0);
    assert_eq!(maru.servers().database.sql("SELECT COUNT(*) FROM messages"), "20");
}

#[test]
fn a_server_that_nobody_vouches_for_is_not_spoken_to_and_it_is_said_why() {
    let (tls, others) = (Tls::new(), Tls::new());
    let (open, maria) = (MariaDb::start(), MariaDb::over_tls(&tls));
    let redis = Redis::over_tls(Aof::Off, &["--user", "maru", "on", ">secret", "+@all", "~*", "&*"], &tls);
    let nats = Nats::over_tls(&tls);
    let (url, plain) = (redis.url_as("maru", "secret"), open.database());
    complains(&["--redis", &url, "--mysql", plain.url()], &others, "certificate");
    complains(&["--redis", &redis.url(), "--mysql", maria.database().url()], &others, "certificate");
    // async-nats keeps the reason to itself.
    let args = ["--redis", &redis.url(), "--mysql", plain.url(), "--nats", &nats.url()];
    complains(&args, &others, "the backplane has no link");
}

/// Started with these arguments, and with trust in these alone, it says this.
fn complains(args: &[&str], trusted: &Tls, cause: &str) {
    let data = TempDir::new().unwrap();
    let mut pod = Command::new(program())
        .args(["--listen", "127.0.0.1:0", "--secret", "the secret of the tests", "--data"])
        .arg(data.path())
        .args(args)
        .env("SSL_CERT_FILE", trusted.authority())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = BufReader::new(pod.stderr.take().unwrap());
    let (said, heard) = mpsc::sync_channel(100);
    std::thread::spawn(move || log.lines().map_while(Result::ok).try_for_each(|line| said.send(line)));
    let mut lines = Vec::new();
    while !lines.last().is_some_and(|line: &String| line.contains(cause)) {
        match heard.recv_timeout(PATIENCE) {
            Ok(line) => lines.push(line),
            Err(_) => break,
        }
    }
    pod.kill().unwrap();
    pod.wait().unwrap();
    assert!(lines.last().is_some_and(|line| line.contains(cause)), "{args:?}: {lines:#?}");
}
