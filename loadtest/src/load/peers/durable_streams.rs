//! Durable Streams, a server in Rust with the nearest purpose: a stream is a file, live readers hang on epoll threads.

use super::{Dialect, Installed, Peer, Peers, Start, bare, is_success, on_path};
use crate::http::{Client, Request};
use crate::load::Failure;
use crate::load::readers::EVENT_STREAM;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use testbed::Port;

pub(super) const PEER: Peer = Peer {
    name: "durable-streams",
    how_to_get: "cargo install durable-streams",
    configuration: "--durability memory (no write-ahead log); streams of text/plain, which it frames least; \
        the rest as it comes, for it says so itself. Each event brings a control event. It ends every stream \
        after 60 s, so a measurement must be shorter",
    find,
    start,
};

const DIALECT: Dialect = Dialect {
    listen: |room| format!("/{room}?offset=now&live=sse"),
    rest: EVENT_STREAM,
    steps: &[(b"\"upToDate\":true", b"")],
    make_room,
    post: |room| (format!("/{room}"), "Content-Type: text/plain\r\n".to_owned()),
    body: bare,
    accepts: is_success,
};

fn find(_: &Peers) -> Option<Installed> {
    let program = on_path("durable-streams-server")?;
    // It does not say it itself; cargo wrote it down beside the folder of the programs.
    let installs = program.parent().and_then(Path::parent).map(|root| root.join(".crates.toml"));
    let installs = installs.and_then(|file| fs::read_to_string(file).ok()).unwrap_or_default();
    let entry = installs.lines().find_map(|line| line.strip_prefix("\"durable-streams "));
    let version = entry.and_then(|rest| rest.split(' ').next()).unwrap_or("of unknown version");
    Some(Installed { program, version: format!("durable-streams {version}") })
}

fn start(installed: &Installed, directory: &Path) -> Result<Start, Failure> {
    let port = Port::any();
    let (number, data) = (port.number().to_string(), directory.join("data").display().to_string());
    let arguments = ["--host", "127.0.0.1", "--port", &number, "--data-dir", &data, "--durability", "memory"];
    Ok(Start::new(&installed.program, port, &DIALECT).arguments(arguments))
}

fn make_room(server: SocketAddr, room: &str) -> Result<(), Failure> {
    let request = Request::new("PUT", &format!("/{room}")).header("Content-Type", "text/plain").body("");
    let answer = Client::new(server).send(&request)?;
    match answer.status {
        200 | 201 => Ok(()),
        status => Err(Failure::Wrong(format!("no stream could be made: {status} {}", answer.text()))),
    }
}
