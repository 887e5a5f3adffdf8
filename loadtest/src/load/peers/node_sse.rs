//! Server-Sent Events in plain Node: `loadtest/peers/node-sse.mjs`.

use super::{Dialect, Installed, Peer, Peers, Start, bare, first_line, is_success, no_room_to_make, on_path};
use crate::load::Failure;
use crate::load::readers::EVENT_STREAM;
use std::fs;
use std::path::Path;
use testbed::Port;

pub(super) const PEER: Peer = Peer {
    name: "node-sse",
    how_to_get: "Node 20 (Debian 13: nodejs)",
    configuration: "one process, NODE_ENV=production; each event made once as a Buffer, and written to each \
        reader without chunks around it",
    find,
    start,
};

const DIALECT: Dialect = Dialect {
    listen: |room| format!("/{room}"),
    rest: EVENT_STREAM,
    steps: &[(b": live\n", b"")],
    make_room: no_room_to_make,
    post: |room| (format!("/{room}"), "Content-Type: application/json\r\n".to_owned()),
    body: bare,
    accepts: is_success,
};

fn find(_: &Peers) -> Option<Installed> {
    let program = on_path("node")?;
    let version = format!("Node {}", first_line(&program, &["--version"])?);
    Some(Installed { program, version })
}

fn start(installed: &Installed, directory: &Path) -> Result<Start, Failure> {
    let port = Port::any();
    let file = directory.join("node-sse.mjs");
    fs::write(&file, include_str!("../../../peers/node-sse.mjs"))?;
    let number = port.number().to_string();
    let start = Start::new(&installed.program, port, &DIALECT).arguments([file.display().to_string()]);
    Ok(start.environment("NODE_ENV", "production").environment("PORT", number))
}
