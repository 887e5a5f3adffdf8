//! What pods stand on.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, Weak},
};

use testbed::{Aof, Database, MariaDb, Nats, Redis, Tls};

use super::failover::Failover;

/// What the suite runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// One process, and SQLite.
    Alone,
    /// Many, on Redis and MariaDB.
    Redis,
    /// Many, on NATS, Redis and MariaDB.
    Nats,
}

/// As `MARU_TEST_ON` says.
pub fn stage() -> Stage {
    match std::env::var("MARU_TEST_ON").as_deref() {
        Err(_) | Ok("alone") => Stage::Alone,
        Ok("redis") => Stage::Redis,
        Ok("nats") => Stage::Nats,
        Ok(other) => panic!("MARU_TEST_ON is alone, redis or nats, and not {other:?}"),
    }
}

/// One of the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    Redis,
    Maria,
    Nats,
}

/// `scheme://user:password@address/path`: the address.
fn address_in(url: &str) -> SocketAddr {
    let (_, rest) = url.split_once("://").expect("a URL");
    let authority = rest.split('/').next().expect("there is a first");
    let address = authority.rsplit('@').next().expect("there is a first");
    address.parse().unwrap_or_else(|_| panic!("no address in {url}"))
}

/// The user of Redis that pods are.
const USER: &str = "maru";

/// What that user may, as `schema/redis.md` says it.
fn rights() -> impl Iterator<Item = &'static str> {
    let schema = include_str!("../../../schema/redis.md");
    let (_, rights) = schema.split_once("## Rights").expect("it has that section");
    let quoted = rights.split('`').skip(1).step_by(2);
    quoted.flat_map(|quoted| quoted.split([' ', ',']).filter(|word| !word.is_empty()))
}

/// That user, with no more rights than are asked of whoever runs it.
fn user() -> Vec<&'static str> {
    ["--user", USER, "on", ">secret"].into_iter().chain(rights()).collect()
}

/// The servers of one deployment.
pub struct Servers {
    pub redis: Redis,
    pub nats: Option<Nats>,
    pub database: Database,
    maria: Maria,
    /// What takes the place of Redis when it is gone.
    pub failover: Option<Failover>,
}

enum Maria {
    /// Held, so that it ends with the last who uses it.
    Shared(#[expect(dead_code, reason = "holding it is the point")] Arc<MariaDb>),
    Own(MariaDb),
}

impl Servers {
    /// For tests that harm none of them: a database in a MariaDB that all tests of this process share.
    pub fn fast(stage: Stage) -> Self {
        static SHARED: Mutex<Weak<MariaDb>> = Mutex::new(Weak::new());

        let maria = {
            let mut shared = SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            shared.upgrade().unwrap_or_else(|| {
                // Nobody pulls a plug here.
                let new = Arc::new(MariaDb::with(&["--innodb-flush-log-at-trx-commit=0"]));
                *shared = Arc::downgrade(&new);
                new
            })
        };
        let database = maria.database();
        Servers::new(stage, Aof::Off, database, Maria::Shared(maria))
    }

    /// For tests that kill them: all their own, and what was answered is on the disk.
    pub fn safe(stage: Stage) -> Self {
        Servers::with_aof(stage, Aof::Always)
    }

    /// The same, with a Redis that writes down what it has at these times.
    pub fn with_aof(stage: Stage, aof: Aof) -> Self {
        let maria = MariaDb::start();
        let database = maria.database();
        Servers::new(stage, aof, database, Maria::Own(maria))
    }

    /// The same, with a NATS that is set up like this, if there is one.
    pub fn with_nats(stage: Stage, config: &str) -> Self {
        let nats = (stage == Stage::Nats).then(|| Nats::with(config));
        Servers { nats, ..Servers::safe(stage) }
    }

    /// The same, with a replica of Redis that Sentinel puts in its place.
    pub fn with_failover(stage: Stage) -> Self {
        let servers = Servers::safe(stage);
        let failover = Some(Failover::of(&servers.redis, &user()));
        Servers { failover, ..servers }
    }

    /// All of them spoken to over TLS alone, with certificates by this authority.
    pub fn over_tls(stage: Stage, tls: &Tls) -> Self {
        let maria = MariaDb::over_tls(tls);
        let database = maria.database();
        let redis = Redis::over_tls(Aof::Off, &user(), tls);
        let nats = (stage == Stage::Nats).then(|| Nats::over_tls(tls));
        Servers { redis, nats, database, maria: Maria::Own(maria), failover: None }
    }

    fn new(stage: Stage, aof: Aof, database: Database, maria: Maria) -> Self {
        let redis = Redis::with(aof, &user());
        let nats = (stage == Stage::Nats).then(Nats::start);
        Servers { redis, nats, database, maria, failover: None }
    }

    /// The MariaDB of this test alone.
    pub fn maria(&mut self) -> &mut MariaDb {
        match &mut self.maria {
            Maria::Own(maria) => maria,
            Maria::Shared(_) => panic!("other tests use it too"),
        }
    }

    /// What a pod has to be told.
    pub fn args(&self) -> Vec<String> {
        self.args_by(|_, address| address)
    }

    /// The same for a pod that reaches each of them at another address.
    pub fn args_by(&self, mut way: impl FnMut(Server, SocketAddr) -> SocketAddr) -> Vec<String> {
        let mut args = Vec::new();
        let mut add = |flag: &str, server, url: &str| {
            let (from, to) = (address_in(url), way(server, address_in(url)));
            args.extend([flag.to_owned(), url.replace(&from.to_string(), &to.to_string())]);
        };
        let redis = match &self.failover {
            Some(failover) => failover.url_as(USER, "secret"),
            None => self.redis.url_as(USER, "secret"),
        };
        add("--redis", Server::Redis, &redis);
        add("--mysql", Server::Maria, self.database.url());
        if let Some(nats) = &self.nats {
            add("--nats", Server::Nats, &nats.url());
        }
        args
    }

    /// Events that Redis has and the archive has not, in the outboxes of all partitions and generations.
    pub fn outboxes(&self) -> u64 {
        const SUM: &str = "local n = 0 for _, key in ipairs(redis.call('KEYS', 'maru:*:out')) do \
                           n = n + redis.call('XLEN', key) end return n";
        let said = self.redis.command(&["EVAL", SUM, "0"]);
        said.strip_prefix(':').and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("redis says {said}"))
    }
}
