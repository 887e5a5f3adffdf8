//! Redis: what it is, what it is set to, and whether the user may do what pods do.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use redis::{AsyncConnectionConfig, Client, Pipeline, RedisResult, Value, aio::MultiplexedConnection, cmd};

use super::{PATIENCE, clocks, report::Report};
use crate::{clock, log};

const ABOUT: &str = "redis";
/// An answer that takes longer makes everybody wait: each message asks once.
const SLOW: Duration = Duration::from_millis(20);
/// From here on its memory is about to be full, in percent.
const NEARLY_FULL: u64 = 80;

pub(super) async fn examine(url: &str, report: &mut Report) {
    let mut connection = match connect(url).await {
        Ok(connection) => connection,
        Err(e) => {
            let advice = "Is it running, does --redis lead to it, and are name and password right?";
            return report.fail(ABOUT, format!("it cannot be spoken to: {e}. {advice}"));
        }
    };
    let info: RedisResult<String> = cmd("INFO").query_async(&mut connection).await;
    match info {
        Ok(info) => settings(&fields(&info), &mut connection, report).await,
        Err(e) => report.fail(ABOUT, format!("INFO is not answered: {e}. The user needs +info")),
    }
    rights(&mut connection, report).await;
    time(&mut connection, report).await;
}

async fn connect(url: &str) -> RedisResult<MultiplexedConnection> {
    _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let config = AsyncConnectionConfig::new()
        .set_response_timeout(Some(PATIENCE))
        .set_connection_timeout(Some(PATIENCE));
    Client::open(url)?.get_multiplexed_async_connection_with_config(&config).await
}

/// `INFO`: lines of `name:value`.
fn fields(info: &str) -> HashMap<&str, &str> {
    info.lines().filter_map(|line| line.trim_end().split_once(':')).collect()
}

async fn settings(info: &HashMap<&str, &str>, connection: &mut MultiplexedConnection, report: &mut Report) {
    let is = |name: &str| info.get(name).copied().unwrap_or_default();
    let version = is("redis_version");
    if log::redis::is_old(version) {
        report.fail(ABOUT, format!("it is version {version}: maru needs 7 or newer"));
    } else {
        report.ok(ABOUT, format!("it is version {version}"));
    }
    if is("cluster_enabled") == "1" {
        report.fail(ABOUT, "it is a Redis Cluster, of which maru speaks to one node alone: use a single server with a replica");
    }
    if is("role") == "slave" {
        report.fail(
            ABOUT,
            "it is a replica, which takes nothing: name the master, or a proxy that leads to it",
        );
    }
    if is("loading") == "1" {
        report.fail(ABOUT, "it is still loading its data: ask again when it has");
    }
    for (name, what) in
        [("aof_last_write_status", "its append-only file"), ("rdb_last_bgsave_status", "a snapshot")]
    {
        if is(name) == "err" {
            report.fail(
                ABOUT,
                format!("it could not write {what} ({name}): it may refuse messages. Is its disk full?"),
            );
        }
    }
    match is("maxmemory_policy") {
        "noeviction" => report.ok(ABOUT, "maxmemory-policy is noeviction"),
        policy => report.fail(
            ABOUT,
            format!("maxmemory-policy is {policy}: it may throw messages away. CONFIG SET maxmemory-policy noeviction"),
        ),
    }
    let (used, most) = (is("used_memory").parse().unwrap_or(0), is("maxmemory").parse().unwrap_or(0));
    if most > 0 && used > most / 100 * NEARLY_FULL {
        report.warn(
            ABOUT,
            format!("{} of {} MiB of its memory are used: give it more", used >> 20, most >> 20),
        );
    }
    append_only(is("aof_enabled") == "1", connection, report).await;
}

async fn append_only(is_on: bool, connection: &mut MultiplexedConnection, report: &mut Report) {
    if !is_on {
        let text = "appendonly is no: when it restarts, what MySQL does not have yet must come back from the pods, and when all \
                    end together it is lost. CONFIG SET appendonly yes";
        return report.warn(ABOUT, text);
    }
    let asked: RedisResult<HashMap<String, String>> =
        cmd("CONFIG").arg("GET").arg("appendfsync").query_async(connection).await;
    match asked.ok().and_then(|mut config| config.remove("appendfsync")).as_deref() {
        Some("no") => report.warn(
            ABOUT,
            "appendfsync is no: a power cut may take half a minute of it. CONFIG SET appendfsync everysec",
        ),
        Some(how) => report.ok(ABOUT, format!("appendonly is yes, appendfsync {how}")),
        None => report.ok(ABOUT, "appendonly is yes (how often it is synced may not be asked: +config|get)"),
    }
}

/// Commands that pods send, one of each kind, with keys and channels as theirs are.
const COMMANDS: [&[&str]; 22] = [
    &["EVAL", "return 1", "1", KEY],
    &["SCRIPT", "LOAD", "return 1"],
    &["HSET", KEY, "f", "v"],
    &["HGETALL", KEY],
    &["HDEL", KEY, "f"],
    &["XADD", KEY, "1-0", "f", "v"],
    &["XRANGE", KEY, "-", "+"],
    &["XTRIM", KEY, "MINID", "1-0"],
    &["SADD", KEY, "m"],
    &["SREM", KEY, "m"],
    &["ZADD", KEY, "1", "m"],
    &["ZRANGE", KEY, "0", "1"],
    &["EXISTS", KEY],
    &["SET", KEY, "v"],
    &["PEXPIRE", KEY, "1"],
    &["DEL", KEY],
    &["UNLINK", KEY],
    &["SCAN", "0"],
    &["TIME"],
    &["INFO"],
    &["PUBLISH", CHANNEL, "m"],
    &["SUBSCRIBE", CHANNEL],
];
const KEY: &str = "maru:{0}:doctor";
const CHANNEL: &str = "maru:{0}:say:doctor";

/// Rights are looked at when a command is queued, so a transaction that is thrown away asks for all of them and does nothing.
async fn rights(connection: &mut MultiplexedConnection, report: &mut Report) {
    const ADVICE: &str = "schema/redis.md says what its user needs";
    let began: RedisResult<Value> = cmd("MULTI").query_async(connection).await;
    if let Err(e) = began {
        return report.fail(ABOUT, format!("the user may not begin a transaction: {e}. {ADVICE}"));
    }
    let mut asked = Pipeline::new();
    for command in COMMANDS {
        asked.cmd(command[0]).arg(&command[1..]);
    }
    let answers: RedisResult<Vec<RedisResult<Value>>> = asked.ignore_errors().query_async(connection).await;
    let thrown: RedisResult<Value> = cmd("DISCARD").query_async(connection).await;
    match (answers, thrown) {
        (Ok(answers), Ok(_)) => {
            let refused = COMMANDS.iter().zip(&answers).filter(|(_, answer)| answer.is_err());
            let refused: Vec<_> = refused.map(|(command, _)| command[0]).collect();
            if refused.is_empty() {
                report.ok(ABOUT, "the user may do all that pods do");
            } else {
                report.fail(ABOUT, format!("the user may not {} on maru:*: {ADVICE}", refused.join(", ")));
            }
        }
        (Err(e), _) | (_, Err(e)) => report.fail(ABOUT, format!("its rights could not be asked for: {e}")),
    }
}

async fn time(connection: &mut MultiplexedConnection, report: &mut Report) {
    let since = Instant::now();
    let told: RedisResult<(i64, i64)> = cmd("TIME").query_async(connection).await;
    let took = since.elapsed();
    let Ok((seconds, micros)) = told else { return };
    clocks::compare(ABOUT, seconds * 1000 + micros / 1000, clock::millis(), took, report);
    if took > SLOW {
        report.warn(
            ABOUT,
            format!(
                "an answer takes {} ms, and each message waits for one: bring it nearer",
                took.as_millis()
            ),
        );
    }
}
