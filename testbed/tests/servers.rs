//! The servers start, keep what they are to keep, and start again.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use testbed::{
    Aof, MariaDb, Nats, Port, Redis, Sentinel,
    front::{Front, Kind},
};

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

#[test]
fn a_user_of_a_database_has_no_rights_elsewhere() {
    let server = MariaDb::start();
    let database = server.database();
    let (start, _) = database.url().rsplit_once('/').unwrap();
    assert!(start.starts_with("mysql://maru0:secret@127.0.0.1:"), "{start}");
    assert_eq!(
        server.sql("SELECT DISTINCT privilege_type FROM information_schema.user_privileges WHERE grantee LIKE '%maru0%'"),
        "USAGE"
    );
}

#[test]
fn sentinels_put_a_replica_in_the_place_of_its_master() {
    let mut master = Redis::start();
    master.command(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"]);
    master.command(&["SET", "key", "value"]);
    let replica = Redis::replica_of(&master, &[]);
    wait_for(|| replica.has_caught_up());
    let sentinels: Vec<_> = (0..3).map(|_| Sentinel::of(&master)).collect();
    wait_for(|| sentinels.iter().all(|one| one.knows(1, 3)));
    master.kill();
    wait_for(|| replica.is_master());
    assert_eq!(replica.command(&["GET", "key"]), "value");
    master.follow(&replica);
    master.start_again();
    wait_for(|| master.has_caught_up());
}

#[test]
fn haproxy_leads_to_a_server() {
    let redis = Redis::start();
    let port = Port::any();
    let config = format!(
        "defaults\n  mode tcp\n  timeout connect 1s\n  timeout client 1m\n  timeout server 1m\n\
         listen redis\n  bind {}\n  server redis 127.0.0.1:{}\n",
        port.address(),
        redis.port()
    );
    let haproxy = Front::with(Kind::Haproxy, port, &config);
    let mut stream = TcpStream::connect(haproxy.address()).unwrap();
    stream.write_all(b"PING\r\n").unwrap();
    let mut answer = [0; 7];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"+PONG\r\n");
}

fn wait_for(mut is_true: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !is_true() {
        assert!(Instant::now() < until, "it never came true");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn root_comes_in_where_others_have_taken_all_places() {
    let server = MariaDb::with(&["--max-connections=10"]);
    let database = server.database();
    server.sql("CREATE USER others@localhost");
    let mut others = Vec::new();
    let taken = "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'others'";
    wait_for(|| {
        others.push(database.idler("others"));
        database.sql(taken) == "10"
    });
    others.clear();
    wait_for(|| database.sql(taken) == "0");
}
