//! MariaDB is killed and hung, away, full of others, and does not take what it is given.

use std::time::Duration;

use super::a_while;
use crate::{
    harness::{Maru, at_length, wait_for},
    trial::{Progress, Trial, harmed, harmed_on},
};

#[test]
fn mariadb_hangs() {
    harmed(
        "MariaDB hangs",
        |maru, progress| {
            maru.servers_mut().maria().hang();
            progress.go_on_for(a_while(), u64::MAX / 2);
            maru.servers_mut().maria().go_on();
        },
        Trial::assert_nothing_is_missing,
    );
}

#[test]
fn mariadb_is_killed_and_comes_back() {
    harmed(
        "MariaDB is killed and comes back",
        |maru, progress| {
            maru.servers_mut().maria().kill();
            // Speaking goes on without it: Redis buffers.
            progress.go_on(200);
            maru.servers_mut().maria().start_again();
        },
        Trial::assert_nothing_is_missing,
    );
}

/// Where a commit is broken off nobody is told whether it happened.
fn killed_in_commits(maru: &mut Maru, progress: &Progress) {
    for _ in 0..4 {
        progress.go_on(60);
        maru.servers_mut().maria().kill();
        maru.servers_mut().maria().start_again();
    }
}

#[test]
fn mariadb_is_killed_again_and_again_while_it_commits() {
    harmed(
        "MariaDB is killed while it commits, four times",
        killed_in_commits,
        Trial::assert_nothing_is_missing,
    );
}

#[test]
fn mariadb_is_killed_while_it_commits_what_people_wait_for() {
    harmed_on(
        || Maru::on_servers_of_its_own(&["--ack", "stored"], None),
        "MariaDB is killed while it commits, four times, with --ack stored",
        killed_in_commits,
        Trial::assert_nothing_is_missing,
    );
}

#[test]
fn mariadb_is_away_for_long() {
    harmed(
        "MariaDB is away for long",
        |maru, progress| {
            maru.servers_mut().maria().stop();
            progress.go_on_for(Duration::from_secs(at_length(6)), u64::MAX / 2);
            maru.servers_mut().maria().start_again();
        },
        Trial::assert_nothing_is_missing,
    );
}

#[test]
fn mariadb_is_read_only() {
    harmed(
        "MariaDB is read-only",
        |maru, progress| {
            let database = maru.servers().database.clone();
            database.sql("SET GLOBAL read_only = 1");
            // Who is connected notices at once: it is asked for with each statement.
            progress.go_on_for(a_while(), u64::MAX / 2);
            maru.wait_for_metric("maru_store_failures_total", |failures| failures > 0.0);
            database.sql("SET GLOBAL read_only = 0");
        },
        Trial::assert_nothing_is_missing,
    );
}

/// Whoever asks for a connection is refused, and who had one has lost it.
#[test]
fn mariadb_has_no_connections_left() {
    harmed(
        "MariaDB has no connections left",
        |maru, progress| {
            let database = maru.servers().database.clone();
            // An administrator may come in all the same.
            database.sql("SET GLOBAL max_connections = 10; CREATE USER others@localhost");
            let mut others = Vec::new();
            wait_for("others have them all", || {
                others.push(database.idler("others"));
                database.cut_off();
                database.sql("SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'others'")
                    == "10"
            });
            progress.go_on_for(a_while(), u64::MAX / 2);
            maru.wait_for_metric("maru_store_failures_total", |failures| failures > 0.0);
            drop(others);
            database.sql("SET GLOBAL max_connections = 150");
        },
        Trial::assert_nothing_is_missing,
    );
}

/// The rest goes on; what it refuses keeps its place, and is put aside.
#[test]
fn mariadb_refuses_a_row_among_others() {
    harmed(
        "MariaDB refuses rows among others",
        |maru, _| {
            // The 45th of each speaker, which comes later.
            maru.servers().database.sql(
                "DELIMITER //\n\
                 CREATE TRIGGER poison BEFORE INSERT ON messages FOR EACH ROW BEGIN \
                 IF NEW.text LIKE '%:45' THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no'; END IF; END//",
            );
        },
        |trial| {
            trial.assert_nothing_is_missing();
            let database = &trial.maru.servers().database;
            let refused = database.sql("SELECT COUNT(*) FROM messages WHERE status = 'deleted'");
            assert_eq!(database.sql("SELECT COUNT(*) FROM quarantine"), refused);
            assert_eq!(refused, "6");
            // A new owner of a partition may have to put aside once more what the old one was about to trim.
            assert!(trial.maru.metric("maru_quarantined_total") >= 6.0);
        },
    );
}
