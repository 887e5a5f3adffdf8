//! Socket.IO with its Redis adapter, over WebSocket: `loadtest/peers/socketio.mjs`.

use super::{
    Dialect, Installed, Peer, Peers, Start, bare, first_line, is_success, no_room_to_make, npm, on_path,
};
use crate::load::Failure;
use std::path::Path;
use testbed::{Aof, Port, Redis};

pub(super) const PEER: Peer = Peer {
    name: "socket.io",
    how_to_get: "Node 20, npm and redis-server (Debian: nodejs, npm, redis-server); the rest is installed here",
    configuration: "one process, NODE_ENV=production; WebSocket only, ws with bufferutil, no perMessageDeflate; \
        pings an hour apart; Redis adapter on a redis-server of its own, without persistence, whose CPU and \
        memory count as well",
    find,
    start,
};

const DIALECT: Dialect = Dialect {
    listen: |room| format!("/socket.io/?EIO=4&transport=websocket&room={room}"),
    rest: b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: bWFydSBsb2FkdGVzdCBrZQ==\r\n\r\n",
    // The transport is open: `40` connects, in a frame that is masked with four zeros. Then the room is joined.
    steps: &[(b"0{\"sid\"", b"\x81\x82\0\0\0\x0040"), (b"42[\"live\"]", b"")],
    make_room: no_room_to_make,
    post: |room| (format!("/{room}"), "Content-Type: application/json\r\n".to_owned()),
    body: bare,
    accepts: is_success,
};

fn find(_: &Peers) -> Option<Installed> {
    let program = on_path("node")?;
    let (_, redis) = (on_path("npm")?, on_path("redis-server")?);
    let redis = first_line(&redis, &["--version"])?;
    let redis = redis.split(' ').find_map(|word| word.strip_prefix("v=")).unwrap_or_default();
    let node = first_line(&program, &["--version"])?;
    Some(Installed { program, version: format!("{}, Node {node}, Redis {redis}", npm::versions()) })
}

fn start(installed: &Installed, _: &Path) -> Result<Start, Failure> {
    let folder = npm::packages()?;
    let port = Port::any();
    let redis = Redis::with(Aof::Off, &[]);
    let number = port.number().to_string();
    let file = folder.join("socketio.mjs").display().to_string();
    let mut start = Start::new(&installed.program, port, &DIALECT)
        .arguments([file])
        .environment("NODE_ENV", "production")
        .environment("PORT", number)
        .environment("REDIS", redis.url());
    start.redis = Some(redis);
    Ok(start)
}
