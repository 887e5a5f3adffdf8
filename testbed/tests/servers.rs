//! The servers start, keep what they are to keep, and start again.

use testbed::{Aof, MariaDb, Nats, Redis};

#[test]
fn redis_keeps_its_append_only_file_and_takes_an_older_one() {
    let mut redis = Redis::start();
    redis.command(&["SET", "key", "old"]);
    let older = redis.copy_of_data();
    redis.command(&["SET", "key", "new"]);
    redis.kill();
    redis.start_again();
    assert_eq!(redis.command(&["GET", "key"]), "new");
    redis.stop();
    redis.put_back(&older);
    redis.start_again();
    assert_eq!(redis.command(&["GET", "key"]), "old");
    redis.kill();
    redis.wipe();
    redis.start_again();
    assert_eq!(redis.command(&["EXISTS", "key"]), ":0");
}

#[test]
fn redis_without_a_file_forgets() {
    let mut redis = Redis::with(Aof::Off, &[]);
    redis.command(&["SET", "key", "value"]);
    redis.kill();
    redis.start_again();
    assert_eq!(redis.command(&["EXISTS", "key"]), ":0");
}

#[test]
fn mariadb_has_databases_that_outlive_a_kill() {
    let mut server = MariaDb::start();
    let (one, other) = (server.database(), server.database());
    one.sql("CREATE TABLE t (x INT); INSERT INTO t VALUES (1), (2)");
    assert_eq!(other.sql("SHOW TABLES"), "");
    server.kill();
    server.start_again();
    assert_eq!(one.sql("SELECT x FROM t"), "1\n2");
}

#[test]
fn nats_starts_again_on_its_port() {
    let mut nats = Nats::start();
    let url = nats.url();
    nats.kill();
    nats.start_again();
    assert_eq!(nats.url(), url);
}
