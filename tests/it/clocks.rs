//! A clock that jumps by hours, forward and back, while people speak and listen. Of many pods it is one's.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use loadtest::stream::Listen;
use tempfile::TempDir;

use crate::{
    harness::{Maru, Pod, at_length, deadline, wait_for},
    trial::{Progress, harmed_on},
};

/// What is to be well again so soon after a fault (P10).
const HEALED: Duration = Duration::from_secs(5);
const HOUR: i64 = 3600;

/// libfaketime, wherever the package has it.
fn library() -> PathBuf {
    let listed = Command::new("dpkg").args(["-L", "libfaketime"]).output().expect("dpkg runs");
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let found = listed.lines().find(|line| line.ends_with("/libfaketimeMT.so.1"));
    found.expect("faketime is not installed here; ./test installs it").into()
}

/// A time of day that can be set.
struct TimeOfDay {
    folder: TempDir,
}

impl TimeOfDay {
    fn new() -> Self {
        let time = TimeOfDay { folder: TempDir::new().expect("a directory can be made") };
        time.set(0);
        time
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("offset")
    }

    /// So many seconds from the right one.
    fn set(&self, offset: i64) {
        let new = self.folder.path().join("new");
        fs::write(&new, format!("{offset:+}\n")).expect("it can be written");
        fs::rename(new, self.file()).expect("it can be put there");
    }

    fn envs(&self) -> Vec<(String, String)> {
        let path = |path: &Path| path.to_str().expect("a path in UTF-8").to_owned();
        let envs = [
            ("LD_PRELOAD", path(&library())),
            ("FAKETIME_TIMESTAMP_FILE", path(&self.file())),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            // What passes in between is measured by another clock, which no one sets.
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ];
        envs.map(|(name, value)| (name.to_owned(), value)).into()
    }
}

/// Seconds that the pod's clock is ahead, by a room where nobody else speaks.
fn ahead(pod: &Pod, room: &str) -> Option<i64> {
    let said = pod.client().post(&format!("/r/{room}"), "text/plain", "what time is it").expect("an answer");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs().cast_signed();
    (said.status == 201).then(|| said.json()["ts"].as_i64().expect("a time") / 1000 - now)
}

#[test]
fn a_clock_jumps_by_hours_and_nobody_is_thrown_out() {
    let time = TimeOfDay::new();
    let start = || {
        time.set(0);
        Maru::each_begun_as(|n, _, start| {
            if n == 0 {
                start.envs = time.envs();
            }
        })
    };
    let harm = |maru: &mut Maru, progress: &Progress| {
        let pod = &maru.pods()[0];
        let (token, _) = maru.sign_in("Ann");
        let mut reader = Listen::to("/r/quiet?since=live").open(pod.address()).expect("a stream");
        reader.wait_for("live", deadline()).expect("it is live");
        for n in 0..at_length(1) {
            for (step, hours) in [3, -4, 9, 0].into_iter().enumerate() {
                time.set(hours * HOUR);
                let since = Instant::now();
                // In a room of its own, since a room's time does not go back.
                let room = format!("{n}-{step}");
                wait_for("the clock has jumped", || {
                    ahead(pod, &room).is_some_and(|ahead| (ahead - hours * HOUR).abs() < HOUR / 2)
                });
                for other in maru.pods() {
                    wait_for("it takes messages", || ahead(other, "quiet").is_some());
                }
                assert!(since.elapsed() < HEALED, "it took {:?}", since.elapsed());
                reader.wait_for("message", deadline()).expect("who listens goes on listening");
                let session = maru.client_as(&token).get("/api/session").expect("an answer");
                assert_eq!(session.status, 200, "{}", session.text());
                progress.go_on(40);
            }
        }
    };
    harmed_on(start, "a clock jumps by hours", harm, |trial| {
        trial.assert_holds();
        trial.assert_no_gaps();
    });
}
