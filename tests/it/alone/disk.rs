//! Disks that are full, that fail, and whose power is cut: SQLite's files, and nothing that was answered for lost.

use std::{
    cell::Cell,
    fs,
    io::Write,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use loadtest::{checker::Outcome, stream::Listen};
use tempfile::TempDir;

use crate::{
    harness::{Maru, assert_problem, at_length, deadline, run, wait_for},
    trial::{Progress, Trial, harmed_on},
};

/// What is to be well again so soon after a fault (P10).
const HEALED: Duration = Duration::from_secs(5);

/// A disk of which it is known what is on it, by `disk/disk.c`.
struct Disk {
    folder: TempDir,
}

impl Disk {
    fn new() -> Self {
        let disk = Disk { folder: TempDir::new().expect("a directory can be made") };
        let source = disk.folder.path().join("disk.c");
        fs::write(&source, include_str!("disk/disk.c")).expect("it can be written");
        let mut made = Command::new("cc");
        made.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).arg(disk.model()).arg(source);
        let made = made.arg("-ldl").output().expect("cc is not installed here; ./test installs it");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        disk
    }

    fn model(&self) -> PathBuf {
        self.folder.path().join("disk.so")
    }

    fn envs(&self) -> Vec<(String, String)> {
        let path = |path: PathBuf| path.to_str().expect("a path in UTF-8").to_owned();
        vec![
            ("LD_PRELOAD".to_owned(), path(self.model())),
            ("MARU_TEST_DISK_FAILS".to_owned(), path(self.switch())),
        ]
    }

    /// maru on it.
    fn start(&self) -> Maru {
        Maru::each_begun_as(|_, _, start| start.envs = self.envs())
    }

    fn switch(&self) -> PathBuf {
        self.folder.path().join("fails")
    }

    /// From now on nothing is written to it.
    fn fail(&self) {
        fs::write(self.switch(), "").expect("it can be written");
    }

    fn work_again(&self) {
        fs::remove_file(self.switch()).expect("it failed");
    }
}

/// The power is cut: what was not synced is gone. It starts again.
fn power_cut(maru: &mut Maru) {
    maru.kill();
    let data = maru.one_pod().data();
    for name in ["maru.db", "maru.db-wal"] {
        let synced = data.join(format!("{name}.synced"));
        assert!(synced.exists(), "nothing of {name} was ever synced");
        fs::copy(synced, data.join(name)).expect("it can be copied");
    }
    // It is made anew of the others.
    fs::remove_file(data.join("maru.db-shm")).expect("it was there");
    maru.restart();
}

fn say(maru: &Maru) -> loadtest::http::Response {
    maru.client().post("/r/lobby", "text/plain", "hello").expect("an answer")
}

/// Waits until nothing is taken any more, and says what the answer was.
fn is_refused(maru: &Maru) -> loadtest::http::Response {
    let mut refused = None;
    wait_for("nothing is taken", || {
        let answer = say(maru);
        if answer.status != 201 {
            refused = Some(answer);
        }
        refused.is_some()
    });
    refused.expect("it was refused")
}

/// Something is taken again, and soon.
fn is_healed(maru: &Maru) {
    let since = Instant::now();
    wait_for("it is taken", || say(maru).status == 201);
    assert!(since.elapsed() < HEALED, "it took {:?}", since.elapsed());
}

fn all_holds(trial: &Trial) {
    trial.assert_holds();
    trial.assert_no_gaps();
}

#[test]
fn a_power_cut_takes_nothing_that_was_answered_for() {
    let disk = Disk::new();
    let harm = |maru: &mut Maru, progress: &Progress| {
        for _ in 0..at_length(3) {
            power_cut(maru);
            progress.go_on(100);
        }
    };
    harmed_on(|| disk.start(), "the power is cut", harm, all_holds);
}

#[test]
fn what_could_not_be_synced_is_not_answered_for() {
    let disk = Disk::new();
    // Whoever's turn it was when it failed.
    let was_unknown = Cell::new(false);
    let harm = |maru: &mut Maru, progress: &Progress| {
        for _ in 0..at_length(2) {
            disk.fail();
            let first = is_refused(maru);
            assert_eq!(first.status, 503, "{}", first.text());
            was_unknown.set(was_unknown.get() || first.json()["code"] == "outcome_unknown");
            // Until everything was written anew nothing is even tried.
            wait_for("it is known that the disk fails", || say(maru).json()["code"] == "store_unavailable");
            assert_problem(&say(maru), 503, "store_unavailable");
            // What was said before is still given.
            let mut reader = Listen::to("/r/room0?since=all").open(maru.address()).expect("a stream");
            reader.wait_for("message", deadline()).expect("what was said before");
            disk.work_again();
            is_healed(maru);
            power_cut(maru);
            progress.go_on(50);
        }
        let said = maru.log();
        assert_eq!(said.matches("a batch could not be stored").count() as u64, at_length(2), "{said}");
        assert!(said.contains("the store works again"), "{said}");
    };
    harmed_on(
        || disk.start(),
        "a sync fails",
        harm,
        |trial| {
            all_holds(trial);
            let attempts = trial.histories().iter().flat_map(|history| &history.attempts);
            let unknown = Outcome::Unknown("503 outcome_unknown".to_owned());
            assert!(was_unknown.take() || attempts.clone().any(|attempt| attempt.outcome == unknown));
        },
    );
}

#[test]
fn a_process_that_starts_where_a_sync_failed_takes_nothing_for_written() {
    let disk = Disk::new();
    let harm = |maru: &mut Maru, progress: &Progress| {
        for _ in 0..at_length(3) {
            disk.fail();
            is_refused(maru);
            maru.kill();
            let data = maru.one_pod().data().to_str().expect("a path in UTF-8").to_owned();
            let envs = disk.envs();
            let envs: Vec<_> = envs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let ended = run(&["--listen", "127.0.0.1:0", "--data", &data], &envs);
            let said = String::from_utf8_lossy(&ended.stderr).into_owned();
            assert!(!ended.status.success() && said.contains("cannot write to"), "{said}");
            disk.work_again();
            maru.restart();
            progress.go_on(50);
            power_cut(maru);
            progress.go_on(50);
        }
    };
    harmed_on(|| disk.start(), "a sync fails, and the process is killed", harm, all_holds);
}

/// A small file system in memory, gone when it is dropped.
struct Small(TempDir);

impl Small {
    /// Of so many bytes; a sentence where the machine does not allow it, which takes root.
    fn new(size: u64) -> Result<Self, String> {
        let folder = TempDir::new().expect("a directory can be made");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "maru-test"])
            .arg(folder.path())
            .output()
            .map_err(|e| format!("mount cannot be run: {e}"))?;
        match mount.status.success() {
            true => Ok(Small(folder)),
            false => Err(String::from_utf8_lossy(&mount.stderr).trim().to_owned()),
        }
    }

    fn ballast(&self) -> PathBuf {
        self.0.path().join("ballast")
    }

    /// Takes what is left of it.
    fn fill(&self) {
        let mut ballast = fs::File::create(self.ballast()).expect("a file");
        while ballast.write_all(&[7; 4096]).is_ok() {}
    }

    fn give_back(&self) {
        fs::remove_file(self.ballast()).expect("it is there");
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_refuses_all_and_goes_on_when_there_is_room_again() {
    let small = match Small::new(32 << 20) {
        Ok(small) => small,
        Err(why) => return eprintln!("not tried here: {why}"),
    };
    let started = Cell::new(0);
    let start = || {
        started.set(started.get() + 1);
        let data = small.0.path().join(started.get().to_string());
        Maru::each_begun_as(|_, _, start| start.data = Some(data.clone()))
    };
    let harm = |maru: &mut Maru, progress: &Progress| {
        for _ in 0..at_length(3) {
            small.fill();
            assert_problem(&is_refused(maru), 503, "store_unavailable");
            let mut reader = Listen::to("/r/room0?since=all").open(maru.address()).expect("a stream");
            reader.wait_for("message", deadline()).expect("what was said before");
            small.give_back();
            is_healed(maru);
            progress.go_on(30);
        }
    };
    harmed_on(start, "the disk is full", harm, all_holds);
}
