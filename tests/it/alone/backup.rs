//! A backup of a running server, put back while people speak and listen.

use std::fs;

use loadtest::checker::{Kind, Sight};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::{
    harness::{Maru, run},
    trial::{Progress, harmed},
};

/// A copy as SQLite makes it, of a database in use.
fn backup(maru: &Maru, to: &TempDir) {
    let running = Connection::open(maru.one_pod().data().join("maru.db")).expect("there is a database");
    let to = to.path().join("maru.db");
    running.execute("VACUUM INTO ?1", [to.to_str().expect("a path in UTF-8")]).expect("it can be copied");
}

/// Kills it and has the copy in place of its data.
fn put_back(maru: &mut Maru, from: &TempDir) {
    maru.kill();
    let data = maru.one_pod().data();
    for name in ["maru.db-wal", "maru.db-shm"] {
        fs::remove_file(data.join(name)).expect("it was there");
    }
    fs::copy(from.path().join("maru.db"), data.join("maru.db")).expect("it can be copied");
}

#[test]
fn a_backup_is_put_back_and_everybody_is_told_what_is_gone() {
    let harm = |maru: &mut Maru, progress: &Progress| {
        let copy = TempDir::new().expect("a directory can be made");
        backup(maru, &copy);
        progress.go_on(100);
        put_back(maru, &copy);
        let data = maru.one_pod().data().to_str().expect("a path in UTF-8").to_owned();
        let ended = run(&["--data", &data, "--new-epoch"], &[]);
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        maru.restart();
    };
    harmed("a backup is put back", harm, |trial| {
        // What was said after it was made is lost; no place is given twice, and whoever had heard it is told.
        trial.assert_holds_but_for(&[Kind::Lost, Kind::Phantom, Kind::LogBroken, Kind::ResumedElsewhere]);
        assert!(trial.epochs().all(|epoch| epoch == 2));
        for reader in trial.readers() {
            let gaps = reader.seen().iter().filter(|seen| matches!(seen.what, Sight::Gap { .. }));
            assert!(gaps.count() >= 1, "a reader was not told");
        }
    });
}

/// That it is older than what was there nobody can see; but whoever comes with a cursor from the lost time is told, for as
/// long as the log has not reached it again.
#[test]
fn without_a_new_epoch_a_cursor_beyond_the_end_is_a_gap() {
    let mut maru = Maru::start();
    maru.say("lobby", "kept");
    let copy = TempDir::new().expect("a directory can be made");
    backup(&maru, &copy);
    assert_eq!(maru.say("lobby", "lost").json()["cursor"], "1-2");
    put_back(&mut maru, &copy);
    maru.restart();
    let seen = crate::keeping::after(&maru, "lobby", "1-2");
    assert_eq!(seen[0], ("gap".to_owned(), "1-0".to_owned()), "{seen:?}");
    assert_eq!(maru.say("lobby", "another").json()["cursor"], "1-2");
}
