//! A Redis that another takes the place of: a replica, three sentinels that make it the master, and an HAProxy that
//! leads to whoever is.

use testbed::{
    Port, Redis, Sentinel,
    front::{Front, Kind},
};

use super::wait_for;

/// What stands behind and before a Redis.
pub struct Failover {
    // Before those that it leads to, so that it ends before them.
    front: Front,
    _sentinels: Vec<Sentinel>,
    pub replica: Redis,
}

impl Failover {
    /// Waits until the replica has all and the sentinels know of each other.
    pub(super) fn of(master: &Redis, args: &[&str]) -> Self {
        master.command(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"]);
        let replica = Redis::replica_of(master, args);
        wait_for("the replica has all", || replica.has_caught_up());
        let sentinels: Vec<_> = (0..3).map(|_| Sentinel::of(master)).collect();
        wait_for("the sentinels know each other", || sentinels.iter().all(|one| one.knows(1, 3)));
        let port = Port::any();
        let config = config(&port, [master, &replica]);
        Failover { front: Front::with(Kind::Haproxy, port, &config), _sentinels: sentinels, replica }
    }

    /// As `--redis` takes it: always the same, whoever is the master.
    pub(super) fn url_as(&self, user: &str, password: &str) -> String {
        format!("redis://{user}:{password}@{}", self.front.address())
    }
}

/// Leads to the one that says it is the master, and cuts off who is led to one that is no more.
fn config(port: &Port, servers: [&Redis; 2]) -> String {
    let mut config = format!(
        "defaults\n  mode tcp\n  timeout connect 1s\n  timeout client 1h\n  timeout server 1h\n\
         listen redis\n  bind {}\n  option tcp-check\n\
         \x20 tcp-check send info\\ replication\\r\\n\n  tcp-check expect string role:master\n\
         \x20 default-server inter 100ms fall 1 rise 1 on-marked-down shutdown-sessions\n",
        port.address()
    );
    for (n, server) in servers.iter().enumerate() {
        config += &format!("  server redis{n} 127.0.0.1:{} check\n", server.port());
    }
    config
}
