//! A Redis Sentinel.

use std::process::Command;

use tempfile::TempDir;

use crate::{
    Redis,
    port::Port,
    process::{Process, inside},
    redis::ask,
};

/// `redis-server --sentinel`: with others it sees that a master has gone, and makes a replica the master.
#[derive(Debug)]
pub struct Sentinel {
    process: Process,
    _data: TempDir,
}

impl Sentinel {
    /// That watches this master, which is `maru` to it; two have to agree that it has gone, for a second.
    ///
    /// # Panics
    /// When it cannot be started, as all here.
    pub fn of(master: &Redis) -> Self {
        let data = TempDir::new().expect("a directory can be made");
        let config = inside(data.path(), "sentinel.conf");
        let port = Port::any();
        let settings = format!(
            "port {}\nbind 127.0.0.1\ndir {}\nsentinel monitor maru 127.0.0.1 {} 2\n\
             sentinel down-after-milliseconds maru 1000\nsentinel failover-timeout maru 5000\n",
            port.number(),
            data.path().display(),
            master.port(),
        );
        // It writes down there what it finds.
        std::fs::write(&config, settings).expect("it can be written");
        let mut process = Process::new("redis-server", inside(data.path(), "log"), port);
        let mut command = Command::new("redis-server");
        command.arg(config).arg("--sentinel");
        let address = process.address();
        process.start(command, || Process::listens(address));
        Sentinel { process, _data: data }
    }

    /// Does it know so many replicas, and so many sentinels with itself?
    pub fn knows(&self, replicas: usize, sentinels: usize) -> bool {
        let known = format!("slaves={replicas},sentinels={sentinels}");
        ask(self.process.port(), &["INFO", "sentinel"]).is_ok_and(|said| said.contains(&known))
    }
}
