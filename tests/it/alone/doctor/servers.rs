//! `maru doctor` and the servers that pods stand on: what is dangerous there is said, and no secret is.

use serde_json::Value;
use testbed::{Aof, MariaDb, Nats, Redis};

use crate::harness::{Servers, Stage, run};

const SECRET: &str = "9f0c1e6b7a2d4358c6e1f0a9b8d7e6f5";

/// What it found: the exit status, and `state about: text` of each.
struct Found {
    status: i32,
    lines: Vec<String>,
}

impl Found {
    fn with(args: &[&str]) -> Self {
        let output = run(&[&["doctor", "--json", "--secret", SECRET], args].concat(), &[]);
        let said = String::from_utf8(output.stdout).expect("text");
        let whole: Value = serde_json::from_str(&said).unwrap_or_else(|e| panic!("{e}: {said}"));
        let findings = whole["findings"].as_array().expect("a list");
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let line = |f: &Value| format!("{} {}: {}", text(&f["state"]), text(&f["about"]), text(&f["text"]));
        let lines: Vec<_> = findings.iter().map(line).collect();
        for state in ["ok", "warn", "fail"] {
            let count = lines.iter().filter(|line| line.starts_with(state)).count();
            assert_eq!(whole[state], count, "{said}");
        }
        assert!(!said.contains(SECRET) && !said.contains("secret@"), "{said}");
        Found { status: output.status.code().expect("it ends"), lines }
    }

    /// Something of this kind is said of this, with all these words.
    fn has(&self, kind: &str, words: &[&str]) {
        let is_it = |line: &&String| line.starts_with(kind) && words.iter().all(|word| line.contains(word));
        assert!(
            self.lines.iter().any(|line| is_it(&line)),
            "no {kind:?} with {words:?} in {:#?}",
            self.lines
        );
        assert_eq!(self.status, i32::from(self.lines.iter().any(|line| line.starts_with("fail"))));
    }

    fn is_about(&self, kind: &str) -> Vec<&String> {
        self.lines.iter().filter(|line| line.starts_with(kind)).collect()
    }
}

fn of_servers(servers: &Servers) -> Found {
    let args = servers.args();
    Found::with(&args.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn servers_as_pods_want_them_are_in_order() {
    let servers = Servers::safe(Stage::Nats);
    let found = of_servers(&servers);
    // How much disk and how many files this machine has is its own affair.
    for about in ["redis", "mysql", "nats"] {
        let wrong: Vec<_> = found
            .lines
            .iter()
            .filter(|line| line.contains(&format!(" {about}: ")) && !line.starts_with("ok"))
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
    assert!(found.is_about("fail").is_empty(), "{:#?}", found.lines);
    for words in [
        &["redis", "version 7"][..],
        &["redis", "noeviction"],
        &["redis", "appendfsync always"],
        &["redis", "may do all that pods do"],
        &["redis", "clock"],
        &["mysql", "MariaDB"],
        &["mysql", "empty"],
        &["mysql", "strict"],
        &["mysql", "make and change"],
        &["mysql", "clock"],
        &["nats", "version 2", "without TLS"],
        &["nats", "is heard"],
    ] {
        found.has("ok", words);
    }
    // It looked, and that was all.
    assert_eq!(servers.database.sql("SHOW TABLES"), "");
    assert_eq!(servers.redis.command(&["DBSIZE"]), ":0");
}

#[test]
fn a_redis_that_throws_away_or_forgets_is_complained_of() {
    let servers = Servers::with_aof(Stage::Redis, Aof::Off);
    servers.redis.command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    let found = of_servers(&servers);
    found.has("fail redis", &["maxmemory-policy is allkeys-lru", "CONFIG SET maxmemory-policy noeviction"]);
    found.has("warn redis", &["appendonly is no"]);
    servers.redis.command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    servers.redis.command(&["CONFIG", "SET", "appendonly", "yes"]);
    servers.redis.command(&["CONFIG", "SET", "appendfsync", "no"]);
    servers.redis.command(&["ACL", "SETUSER", "maru", "-xadd", "-publish"]);
    let found = of_servers(&servers);
    found.has("warn redis", &["appendfsync is no"]);
    found.has("fail redis", &["may not XADD, PUBLISH", "schema/redis.md"]);
    assert_eq!(found.is_about("fail").len(), 1, "{:#?}", found.lines);
}

#[test]
fn a_replica_or_a_cluster_is_not_taken_for_a_server() {
    let maria = MariaDb::start();
    let database = maria.database();
    let master = Redis::start();
    let replica = Redis::replica_of(&master, &[]);
    Found::with(&["--redis", &replica.url(), "--mysql", database.url()]).has("fail redis", &["replica"]);
    let cluster = Redis::with(Aof::Always, &["--cluster-enabled", "yes"]);
    Found::with(&["--redis", &cluster.url(), "--mysql", database.url()]).has("fail redis", &["Cluster"]);
}

#[test]
fn whoever_cannot_come_in_is_told_so_and_nothing_of_the_password() {
    let mut servers = Servers::safe(Stage::Redis);
    let nats = Nats::with("authorization { user: maru, password: \"the word of nats\" }");
    let (redis, mysql) = (
        servers.redis.url_as("maru", "a-wrong-word"),
        servers.database.url().replace(":secret@", ":a-wrong-word@"),
    );
    let nats = nats.url().replace("nats://", "nats://maru:a-wrong-word@");
    let wrong = Found::with(&["--redis", &redis, "--mysql", &mysql, "--nats", &nats]);
    for about in ["fail redis", "fail mysql", "fail nats"] {
        wrong.has(about, &["cannot be spoken to"]);
    }
    assert!(wrong.lines.iter().all(|line| !line.contains("a-wrong-word")), "{:#?}", wrong.lines);
    servers.redis.kill();
    servers.maria().kill();
    let down = of_servers(&servers);
    down.has("fail redis", &["cannot be spoken to", "Is it running"]);
    down.has("fail mysql", &["cannot be spoken to", "Is it running"]);
}

#[test]
fn a_mysql_that_keeps_nothing_or_not_for_sure_is_complained_of() {
    let redis = Redis::start();
    let maria = MariaDb::with(&[
        "--innodb-flush-log-at-trx-commit=2",
        "--log-bin",
        "--sync-binlog=0",
        "--max-connections=20",
    ]);
    let database = maria.database();
    maria.sql("SET GLOBAL read_only = 1; REVOKE ALL ON maru0.* FROM maru0@'127.0.0.1'; GRANT SELECT, INSERT, CREATE ON maru0.* TO maru0@'127.0.0.1'");
    let found = Found::with(&["--redis", &redis.url(), "--mysql", database.url()]);
    found.has("fail mysql", &["read-only"]);
    found.has("fail mysql", &["no UPDATE, DELETE, ALTER, INDEX", "GRANT ALL"]);
    found.has("warn mysql", &["innodb_flush_log_at_trx_commit is 2"]);
    found.has("warn mysql", &["sync_binlog is not 1"]);
    found.has("warn mysql", &["of 20 connections"]);
    assert_eq!(found.is_about("fail").len(), 2, "{:#?}", found.lines);
}

#[test]
fn a_nats_that_takes_too_little_or_lets_nobody_hear_is_complained_of() {
    let servers = Servers::safe(Stage::Redis);
    let nats = Nats::with(
        "max_payload: 10000\nauthorization { users: [{ user: maru, password: secret, permissions: { publish: \"_INBOX.>\", subscribe: \">\" } }] }",
    );
    let url = nats.url().replace("nats://", "nats://maru:secret@");
    let args = servers.args();
    let args: Vec<_> = args.iter().map(String::as_str).chain(["--nats", &url]).collect();
    let found = Found::with(&args);
    found.has("warn nats", &["max_payload is 10000"]);
    found.has("fail nats", &["maru.> is not heard"]);
}
