//! A proxy in front of pods, as `deploy/` says how to run it.

use std::{fs, net::SocketAddr, process::Command};

use tempfile::TempDir;

use crate::{
    port::Port,
    process::{Process, inside},
};

/// Which proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `nginx`, from Debian's package.
    Nginx,
    /// `haproxy`, from Debian's package.
    Haproxy,
    /// `caddy`.
    Caddy,
}

/// A running proxy.
#[derive(Debug)]
pub struct Front {
    process: Process,
    _folder: TempDir,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 3] = [Kind::Nginx, Kind::Haproxy, Kind::Caddy];

    fn name(self) -> &'static str {
        match self {
            Kind::Nginx => "nginx",
            Kind::Haproxy => "haproxy",
            Kind::Caddy => "caddy",
        }
    }

    /// Its configuration, as users copy it.
    fn config(self) -> &'static str {
        match self {
            Kind::Nginx => include_str!("../../deploy/nginx.conf"),
            Kind::Haproxy => include_str!("../../deploy/haproxy.cfg"),
            Kind::Caddy => include_str!("../../deploy/Caddyfile"),
        }
    }
}

impl Front {
    /// In front of these pods, on a free port of 127.0.0.1; with these words of the configuration in place of others,
    /// each of which must be there.
    ///
    /// # Panics
    /// When it cannot be started, as all here.
    pub fn start(kind: Kind, pods: &[SocketAddr], instead: &[(&str, &str)]) -> Self {
        let folder = TempDir::new().expect("a directory can be made");
        let port = Port::any();
        let address = port.address();
        let path = folder.path().display();
        let mut config = kind.config().to_owned();
        let mut put = |old: &str, new: &str| {
            assert!(config.contains(old), "{} does not say {old:?}", kind.name());
            config = config.replace(old, new);
        };
        instead.iter().for_each(|(old, new)| put(old, new));
        match kind {
            Kind::Nginx => {
                put("listen 80;", &format!("listen {address};"));
                put("worker_rlimit_nofile 200000;", &format!("daemon off; pid {path}/pid;"));
                put("worker_connections 65536;", "worker_connections 4096;");
                let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                    .map(|kind| format!("{kind}_temp_path {path}/{kind};"));
                put("http {\n", &format!("http {{\n{}\n", temporary.join("\n")));
            }
            Kind::Haproxy => put("bind :80\n", &format!("bind {address}\n")),
            Kind::Caddy => put(
                "chat.example.com {",
                // Whatever name it is asked by, as the others.
                &format!("{{\n\tadmin off\n}}\nhttp://:{} {{\n\tbind {}", address.port(), address.ip()),
            ),
        }
        Front::begin(kind, port, &with_pods(&config, pods), folder)
    }

    /// With a configuration of the caller's own, in which something binds that port.
    ///
    /// # Panics
    /// As [`Front::start`].
    pub fn with(kind: Kind, port: Port, config: &str) -> Self {
        Front::begin(kind, port, config, TempDir::new().expect("a directory can be made"))
    }

    fn begin(kind: Kind, port: Port, config: &str, folder: TempDir) -> Self {
        let address = port.address();
        let file = inside(folder.path(), "config");
        fs::write(&file, config).expect("it can be written");
        let mut command = Command::new(kind.name());
        match kind {
            Kind::Nginx => command.args(["-e", "stderr", "-p"]).arg(folder.path()).arg("-c").arg(&file),
            Kind::Haproxy => command.arg("-db").arg("-f").arg(&file),
            Kind::Caddy => command
                .env("HOME", folder.path())
                .args(["run", "--adapter", "caddyfile", "--config"])
                .arg(&file),
        };
        let mut process = Process::new(kind.name(), inside(folder.path(), "log"), port);
        process.start(command, || Process::listens(address));
        Front { process, _folder: folder }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.process.address()
    }
}

/// The configuration with these pods in place of the two that stand there.
fn with_pods(config: &str, pods: &[SocketAddr]) -> String {
    const ONE: &str = "127.0.0.1:8081";
    const OTHER: &str = "127.0.0.1:8082";
    let both = format!("{ONE} {OTHER}");
    let lines = config.lines().flat_map(|line| {
        let for_each = |(n, pod): (usize, &SocketAddr)| {
            line.replace("pod1", &format!("pod{}", n + 1)).replace(ONE, &pod.to_string())
        };
        if line.contains(&both) {
            let all: Vec<_> = pods.iter().map(ToString::to_string).collect();
            vec![line.replace(&both, &all.join(" "))]
        } else if line.contains(ONE) {
            pods.iter().enumerate().map(for_each).collect()
        } else if line.contains(OTHER) {
            Vec::new()
        } else {
            vec![line.to_owned()]
        }
    });
    lines.map(|line| line + "\n").collect()
}
