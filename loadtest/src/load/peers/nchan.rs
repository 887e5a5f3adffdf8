//! nchan, a module of nginx: publishers and EventSource subscribers of channels, kept in nginx's shared memory.

use super::{Dialect, Installed, Peer, Peers, Start, bare, first_line, is_success, no_room_to_make, on_path};
use crate::load::Failure;
use crate::load::readers::EVENT_STREAM;
use crate::proc;
use std::fs;
use std::path::Path;
use testbed::Port;

pub(super) const PEER: Peer = Peer {
    name: "nchan",
    how_to_get: "apt-get install nginx libnginx-mod-nchan (Debian); its service need not run",
    configuration: "one worker, memory only; no access log; a buffer of 100 messages, none of them replayed; \
        no pings; connections kept",
    find,
    start,
};

const MODULE: &str = "/usr/lib/nginx/modules/ngx_nchan_module.so";

const DIALECT: Dialect = Dialect {
    listen: |room| format!("/sub/{room}"),
    rest: EVENT_STREAM,
    steps: &[(b": hi\n", b"")],
    make_room: no_room_to_make,
    post: |room| (format!("/pub/{room}"), "Content-Type: application/json\r\n".to_owned()),
    body: bare,
    accepts: is_success,
};

fn find(_: &Peers) -> Option<Installed> {
    let program = on_path("nginx").filter(|_| Path::new(MODULE).exists())?;
    let nginx = first_line(&program, &["-v"])?;
    let dpkg = on_path("dpkg-query");
    let nchan = dpkg.and_then(|dpkg| first_line(&dpkg, &["-W", "-f=${Version}", "libnginx-mod-nchan"]));
    let version = format!(
        "{}, nchan {}",
        nginx.trim_start_matches("nginx version: "),
        nchan.as_deref().unwrap_or("of unknown version")
    );
    Some(Installed { program, version })
}

fn start(installed: &Installed, directory: &Path) -> Result<Start, Failure> {
    let port = Port::any();
    let (number, folder) = (port.number(), directory.display());
    let open_files = proc::open_files_limit().min(100_000);
    let connections = open_files - 100;
    let configuration = format!(
        "load_module {MODULE};
daemon off;
pid {folder}/pid;
error_log stderr error;
worker_processes 1;
worker_rlimit_nofile {open_files};
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_timeout 1h;
    keepalive_requests 1000000000;
    nchan_shared_memory_size 128M;
    server {{
        listen 127.0.0.1:{number} backlog=4096;
        location ~ ^/pub/(.+)$ {{
            nchan_publisher;
            nchan_channel_id $1;
            nchan_message_buffer_length 100;
            nchan_message_timeout 1m;
        }}
        location ~ ^/sub/(.+)$ {{
            nchan_subscriber eventsource;
            nchan_channel_id $1;
            nchan_subscriber_first_message newest;
            nchan_eventsource_ping_interval 0;
        }}
    }}
}}
"
    );
    let file = directory.join("nginx.conf");
    fs::write(&file, configuration)?;
    let (file, prefix) = (file.display().to_string(), directory.display().to_string());
    let arguments = ["-e", "stderr", "-p", &prefix, "-c", &file];
    Ok(Start::new(&installed.program, port, &DIALECT).arguments(arguments))
}
