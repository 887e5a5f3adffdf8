//! Redis, a database and perhaps NATS, with nothing in them, and the pods on them.

use super::resp::Resp;
use super::script;
use crate::http::Client;
use crate::load::Failure;
use crate::load::target::Target;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};
use testbed::{Aof, Database, MariaDb, Nats, Redis};

/// A pod is ready within this time, or never.
const READY: Duration = Duration::from_secs(20);

/// The outbox is stored within this time.
const STORED: Duration = Duration::from_secs(180);

/// What pods sign sessions with.
const SECRET: &str = "a secret of the load test";

/// What pods stand on.
pub(in crate::load) struct Bed {
    pub(in crate::load) redis: Redis,
    pub(in crate::load) database: Database,
    pub(in crate::load) nats: Option<Nats>,
    maru: Option<PathBuf>,
}

/// How events go between pods.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::load) enum Carrier {
    Redis,
    Nats,
}

impl Bed {
    pub(in crate::load) fn new(maria: &MariaDb, aof: Aof, carrier: Carrier, maru: Option<PathBuf>) -> Self {
        let nats = (carrier == Carrier::Nats).then(Nats::start);
        Self { redis: Redis::with(aof, &[]), database: maria.database(), nats, maru }
    }

    /// A pod that is ready.
    pub(in crate::load) fn pod(&self) -> Result<Target, Failure> {
        let redis = self.redis.url();
        let mut args = vec!["--redis", &redis, "--mysql", self.database.url(), "--secret", SECRET];
        args.extend(["--ack", "buffered", "--rate-limit", "off", "--drain", "1s"]);
        let nats = self.nats.as_ref().map(Nats::url);
        args.extend(nats.iter().flat_map(|url| ["--nats", url]));
        let pod = Target::maru(self.maru.as_deref(), &args, false)?;
        let deadline = Instant::now() + READY;
        loop {
            let answer = Client::new(pod.address()).get("/readyz");
            match answer {
                Ok(answer) if answer.status == 200 => return Ok(pod),
                _ if Instant::now() > deadline => {
                    return Err(pod.explain(Failure::Late(format!("a pod is not ready in {READY:?}"))));
                }
                _ => thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// So many pods, all of them ready.
    pub(in crate::load) fn pods(&self, count: usize) -> Result<Vec<Target>, Failure> {
        (0..count).map(|_| self.pod()).collect()
    }

    /// Entries in all outboxes.
    pub(in crate::load) fn outbox(&self) -> Result<u64, Failure> {
        let mut resp = Resp::connect(self.redis.port())?;
        let place = script::agreed(&mut resp)?;
        script::outbox(&mut resp, &place)
    }

    /// Waits until all that was taken is stored.
    pub(in crate::load) fn wait_stored(&self) -> Result<(), Failure> {
        let deadline = Instant::now() + STORED;
        loop {
            let left = self.outbox()?;
            if left == 0 {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(Failure::Late(format!("{left} entries are not stored in {STORED:?}")));
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// What each speaker said is in the database once, and nothing else is. Speakers number their messages from 0:
    /// [`crowd::text`](crate::load::crowd::text).
    pub(in crate::load) fn check(&self, said: &[u64]) -> Result<(), Failure> {
        let rows = self.database.sql(
            "SELECT CAST(SUBSTRING(text, 2, 4) AS UNSIGNED), COUNT(*), COUNT(DISTINCT SUBSTRING(text, 7, 8)),
             CAST(MAX(SUBSTRING(text, 7, 8)) AS UNSIGNED) + 1 FROM messages GROUP BY 1 ORDER BY 1",
        );
        let mut expected = String::new();
        for (speaker, said) in said.iter().enumerate().filter(|(_, said)| **said > 0) {
            expected += &format!("{speaker}\t{said}\t{said}\t{said}\n");
        }
        if rows.trim_end() == expected.trim_end() {
            return Ok(());
        }
        let strange = rows.lines().zip(expected.lines()).find(|(row, expected)| row != expected);
        let (is, was) = (rows.lines().count(), expected.lines().count());
        Err(Failure::Wrong(format!(
            "of {was} speakers the database knows {is}; the first that differs (speaker, rows, different ones, \
             highest): {strange:?}"
        )))
    }
}
