//! Centrifugo 6, in Go: channels with publishers over an HTTP API and subscribers over `uni_sse`.

use super::{Dialect, Installed, Peer, Peers, Start, first_line, no_room_to_make, on_path};
use crate::load::Failure;
use crate::load::readers::EVENT_STREAM;
use crate::speak::percent_encoded;
use std::fs;
use std::path::Path;
use testbed::Port;

pub(super) const PEER: Peer = Peer {
    name: "centrifugo",
    how_to_get: "a release of Centrifugo 6 on PATH, or --centrifugo PATH",
    configuration: "uni_sse, subscribed by cf_connect; engine in memory, channels without history or presence; \
        client.connection_limit 0; pings an hour apart; log level error; an API without keys",
    find,
    start,
};

const DIALECT: Dialect = Dialect {
    listen: |room| {
        let connect = format!("{{\"subs\":{{\"{room}\":{{}}}}}}");
        format!("/connection/uni_sse?cf_connect={}", percent_encoded(&connect))
    },
    rest: EVENT_STREAM,
    steps: &[(b"{\"connect\":{", b"")],
    make_room: no_room_to_make,
    post: |_| ("/api/publish".to_owned(), "Content-Type: application/json\r\n".to_owned()),
    body: |room, message| format!("{{\"channel\":\"{room}\",\"data\":{message}}}"),
    accepts,
};

fn find(args: &Peers) -> Option<Installed> {
    let program = args.centrifugo.clone().or_else(|| on_path("centrifugo"))?;
    let version = first_line(&program, &["version"])?;
    Some(Installed { program, version })
}

fn start(installed: &Installed, directory: &Path) -> Result<Start, Failure> {
    let port = Port::any();
    let configuration = serde_json::json!({
        "http_server": { "address": "127.0.0.1", "port": port.number() },
        "log": { "level": "error" },
        "usage_stats": { "disabled": true },
        "client": { "insecure": true, "connection_limit": 0, "ping_interval": "1h" },
        "http_api": { "insecure": true },
        "uni_sse": { "enabled": true },
    });
    let file = directory.join("config.json");
    fs::write(&file, configuration.to_string())?;
    let file = file.display().to_string();
    Ok(Start::new(&installed.program, port, &DIALECT).arguments(["--config", &file]))
}

/// A refusal comes as 200 too, with an error in it.
fn accepts(status: u16, body: &[u8]) -> bool {
    let answer: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    status == 200 && answer["result"].is_object()
}
