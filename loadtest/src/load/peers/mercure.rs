//! Mercure, a module of Caddy in Go: publishers by a form with a JWT, subscribers of topics over Server-Sent Events.
//!
//! Version 1 has another configuration than the ones before it, and readers ask with `match` instead of `topic`. The
//! program itself says which of the two it understands.

use super::{Dialect, Installed, Peer, Peers, Start, first_line, is_success, no_room_to_make, on_path};
use crate::load::Failure;
use crate::load::readers::EVENT_STREAM;
use crate::speak::percent_encoded;
use std::fs;
use std::path::Path;
use std::process::Command;
use testbed::Port;

pub(super) const PEER: Peer = Peer {
    name: "mercure",
    how_to_get: "a release of Mercure on PATH, or --mercure PATH",
    configuration: "transport local (no history), anonymous readers, no write_timeout, dispatch_timeout or \
        heartbeat; log level error; plain HTTP/1.1 without compression",
    find,
    start,
};

/// With this the token of the publisher is signed.
const KEY: &str = "loadtest-peers-publisher-key-of-32-bytes";

/// The publisher: may publish anywhere, by the claims of both versions, until the year 2100.
const TOKEN: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6ImF0K2p3dCJ9.eyJpc3MiOiJsb2FkdGVzdCIsImF1ZCI6Imh0dHA6Ly9sb2FkdGVzdC\
    IsImV4cCI6NDEwMjQ0NDgwMCwibWVyY3VyZSI6eyJwdWJsaXNoIjpbIioiXX0sImF1dGhvcml6YXRpb25fZGV0YWlscyI6W\
    3sidHlwZSI6Imh0dHBzOi8vbWVyY3VyZS5yb2Nrcy9hdXRob3JpemF0aW9uLWRldGFpbCIsImFjdGlvbnMiOlsicHVibGlz\
    aCJdLCJ0b3BpY3MiOlt7Im1hdGNoIjoiKiJ9XX1dfQ.ps-p0txOu_Sw3r7oqG6nfAbZM9by4gKJ_8L8PnW8Geg";

const DIALECT: Dialect = Dialect {
    listen: |room| format!("/.well-known/mercure?match={room}"),
    rest: EVENT_STREAM,
    steps: &[(b":\n", b"")],
    make_room: no_room_to_make,
    post: |_| {
        let fields =
            format!("Authorization: Bearer {TOKEN}\r\nContent-Type: application/x-www-form-urlencoded\r\n");
        ("/.well-known/mercure".to_owned(), fields)
    },
    body: |room, message| format!("topic={room}&data={}", percent_encoded(message)),
    accepts: is_success,
};

const BEFORE_1: Dialect = Dialect { listen: |room| format!("/.well-known/mercure?topic={room}"), ..DIALECT };

fn find(args: &Peers) -> Option<Installed> {
    let program = args.mercure.clone().or_else(|| on_path("mercure"))?;
    let version = first_line(&program, &["version"])?;
    Some(Installed { program, version })
}

fn start(installed: &Installed, directory: &Path) -> Result<Start, Failure> {
    let port = Port::any();
    let file = directory.join("Caddyfile");
    let home = directory.display().to_string();
    let publisher = format!(
        "issuer loadtest {{\n publisher {{\n jwt {KEY} HS256\n }}\n }}\n resource_identifier http://loadtest"
    );
    fs::write(&file, caddyfile(port.number(), &publisher))?;
    let path = file.display().to_string();
    let mut validate = Command::new(&installed.program);
    validate.args(["validate", "--adapter", "caddyfile", "--config", &path]).env("HOME", &home);
    let dialect = if validate.output()?.status.success() {
        &DIALECT
    } else {
        fs::write(&file, caddyfile(port.number(), &format!("publisher_jwt {KEY} HS256")))?;
        &BEFORE_1
    };
    let start = Start::new(&installed.program, port, dialect).environment("HOME", home);
    Ok(start.arguments(["run", "--adapter", "caddyfile", "--config", &path]))
}

fn caddyfile(port: u16, publisher: &str) -> String {
    format!(
        "{{
    admin off
    auto_https off
    persist_config off
    log {{
        level ERROR
    }}
    servers {{
        protocols h1
    }}
}}
http://127.0.0.1:{port} {{
    bind 127.0.0.1
    mercure {{
        {publisher}
        anonymous
        transport local
        write_timeout 0s
        dispatch_timeout 0s
        heartbeat 0s
    }}
}}
"
    )
}
