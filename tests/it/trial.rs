//! A trial: people speak and listen everywhere, something is done to the servers, and then all is looked at.
//!
//! All that is drawn in it follows from one number, which is told when it fails: who goes where and when, how long
//! people read and pause, and after how many messages the fault strikes. (What threads and servers do meanwhile does
//! not.) `MARU_TEST_SEED` sets that number, else it is 1; `MARU_TEST_SEEDS=n` tries n of them one after another.

mod people;
mod results;
mod seeds;
mod table;

use std::{
    collections::BTreeSet,
    ops::Range,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use loadtest::{
    checker::{Attempt, Clock, Drain, Gaps, History, Kept, Kind, Outcome, ReaderLog, check},
    http::Client,
    people::{Manner, SAYING},
    speak::whole_log,
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use rustix::process::Signal;

pub use self::seeds::{harmed, harmed_on};
use crate::harness::{Doors, Maru, PATIENCE, Pod, wait_for};

/// Who takes part.
pub struct Cast {
    pub rooms: usize,
    pub speakers: usize,
    pub readers: usize,
    /// Messages of each speaker at least; they go on while something is done to the servers.
    pub messages: u64,
    /// Whether readers leave and come back to another pod all the time, and speakers go from pod to pod.
    pub wanders: bool,
    /// Between two messages of one person, on average.
    pub pause: Duration,
}

impl Cast {
    fn manner(&self) -> Manner {
        Manner { wanders: self.wanders, pause: self.pause }
    }

    /// For faults: pauses, so that a trial of seconds stays readable.
    pub const SMALL: Cast = Cast {
        rooms: 3,
        speakers: 6,
        readers: 6,
        messages: 50,
        wanders: true,
        pause: Duration::from_millis(3),
    };
}

/// How far the speakers are, and what is drawn about the fault.
pub struct Progress {
    clock: Clock,
    acknowledged: AtomicU64,
    rng: Mutex<StdRng>,
    drains: Mutex<Vec<Drain>>,
}

impl Progress {
    fn drawn_from(seed: u64, clock: Clock) -> Self {
        let rng = Mutex::new(StdRng::seed_from_u64(seed));
        Progress { clock, acknowledged: AtomicU64::new(0), rng, drains: Mutex::default() }
    }

    /// Ends a pod as those do who run it, by SIGTERM, and waits until it has ended: for the checker to judge. `drain` is
    /// what it was started with.
    pub fn end(&self, pod: &mut Pod, drain: Duration) {
        let server = pod.address().to_string();
        let mut client = Client::new(pod.address()).timeout(Duration::from_secs(1));
        pod.signal(Signal::TERM);
        let told = self.clock.now();
        let until = Instant::now() + PATIENCE;
        while client.get("/readyz").is_ok_and(|answer| answer.status == 200) && Instant::now() < until {
            thread::sleep(Duration::from_millis(5));
        }
        let unready = Some(self.clock.now());
        let status = pod.ended().code().unwrap_or(-1);
        let ended = Some((self.clock.now(), status));
        let accepts = drain.min(Duration::from_secs(5));
        let drain = Drain { server, told, accepts, window: drain, unready, ended };
        self.drains.lock().expect("no panic while locked").push(drain);
    }

    /// Messages that were acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// One of these.
    pub fn any(&self, of: Range<u64>) -> u64 {
        self.rng.lock().expect("no panic while locked").random_range(of)
    }

    /// Waits until about so many more messages were acknowledged: half as many, or half as many again.
    pub fn go_on(&self, more: u64) {
        let goal = self.acknowledged() + self.any(more / 2..more + more / 2 + 1);
        let until = Instant::now() + SAYING;
        while self.acknowledged() < goal {
            assert!(Instant::now() < until, "nobody is answered any more");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until so many more messages were acknowledged, or a time is over.
    pub fn go_on_for(&self, time: Duration, most: u64) {
        let (goal, until) = (self.acknowledged().saturating_add(most), Instant::now() + time);
        while self.acknowledged() < goal && Instant::now() < until {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// What was done and seen in each room, and what is left of it.
pub struct Trial {
    pub maru: Maru,
    histories: Vec<History>,
    /// What did not come true in time.
    late: Vec<String>,
    /// From the first word to the last look.
    took: Duration,
}

impl Trial {
    /// Speaks and listens until `harm` is done and everybody has said what they have to say. Drawn from the seed of `maru`.
    pub fn run(mut maru: Maru, cast: &Cast, harm: impl FnOnce(&mut Maru, &Progress)) -> Self {
        let seed = maru.seed();
        let clock = Clock::start();
        let (harmed, said) = (AtomicBool::new(false), AtomicBool::new(false));
        let progress = Progress::drawn_from(seed, clock);
        let doors = maru.doors();
        let (mut attempts, mut readers) = (Vec::new(), Vec::new());
        thread::scope(|scope| {
            let (doors, harmed, said, progress) = (&doors, &harmed, &said, &progress);
            let speakers: Vec<_> = (0..cast.speakers)
                .map(|n| {
                    let rng = of_one(seed, 0, n);
                    scope.spawn(move || people::speak(doors, clock, n, cast, rng, harmed, progress))
                })
                .collect();
            let listeners: Vec<_> = (0..cast.readers)
                .map(|n| {
                    let rng = of_one(seed, 1, n);
                    scope.spawn(move || people::listen(doors, clock, n, cast, rng, said))
                })
                .collect();
            let harmful = Harmful(harmed, said);
            harm(&mut maru, progress);
            harmed.store(true, Ordering::Relaxed);
            attempts.extend(speakers.into_iter().map(|s| s.join().expect("a speaker")));
            drop(harmful);
            readers.extend(listeners.into_iter().map(|r| r.join().expect("a reader")));
        });
        let mut trial = Trial { maru, histories: Vec::new(), late: Vec::new(), took: Duration::ZERO };
        trial.settle(cast, &doors);
        let mut histories: Vec<_> = (0..cast.rooms)
            .map(|room| History { room: room_name(room), gaps: Gaps::Allowed, ..History::default() })
            .collect();
        for (n, attempts) in attempts.into_iter().enumerate() {
            histories[n % cast.rooms].attempts.extend(attempts);
        }
        let drains = progress.drains.into_inner().expect("no panic while locked");
        for history in &mut histories {
            history.drains.clone_from(&drains);
            history.end = Some(log_of(doors.any(), &history.room));
        }
        for (n, mut reader) in readers.into_iter().enumerate() {
            let history = &mut histories[n % cast.rooms];
            let tip = history.end.as_ref().and_then(|end| end.last()).expect("something was said").cursor;
            let until = Instant::now() + PATIENCE;
            while !reader.read_to(tip, Instant::now() + Duration::from_secs(2)) && Instant::now() < until {
                reader.cut();
                reader.move_to(doors.any());
            }
            history.readers.push(reader.into_complete_log());
        }
        trial.histories = histories;
        trial.took = clock.now();
        trial
    }

    /// Waits until the pods agree, the archive has everything and Redis keeps nothing for it.
    fn settle(&mut self, cast: &Cast, doors: &Doors) {
        let until = Instant::now() + PATIENCE;
        loop {
            let late = self.unsettled(cast, doors);
            if late.is_empty() {
                return;
            }
            if Instant::now() > until {
                self.late = late;
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn unsettled(&self, cast: &Cast, doors: &Doors) -> Vec<String> {
        let mut late = Vec::new();
        match self.maru.outboxes() {
            0 => {}
            left => late.push(format!("{left} events are still in the outboxes")),
        }
        for room in (0..cast.rooms).map(room_name) {
            let logs: Vec<_> = doors.all().iter().map(|pod| log_of(*pod, &room)).collect();
            if let Some(n) = logs.iter().position(|log| *log != logs[0]) {
                late.push(format!("pods 0 and {n} differ about {room}: {}", difference(&logs[0], &logs[n])));
            }
            let (log, table) = (rows_of_log(&logs[0]), table::rows(&self.maru, &room));
            if log != table {
                let [more, less] = [table.difference(&log), log.difference(&table)]
                    .map(|rows| (rows.clone().count(), rows.take(3).cloned().collect::<Vec<_>>()));
                late.push(format!("the table of {room} has {more:?} more and lacks {less:?}"));
            }
        }
        if table::has_anything_twice(&self.maru) {
            late.push("the table has an id or a place twice".to_owned());
        }
        late
    }

    /// The histories, to look at what readers were told.
    pub fn histories(&self) -> &[History] {
        &self.histories
    }

    /// Everything that is not as promised, but for what a fault may do.
    pub fn complaints(&self, but_for: &[Kind]) -> Vec<String> {
        let mut all = self.late.clone();
        for history in &self.histories {
            let violations = check(history).violations;
            let counted = violations.iter().filter(|v| !but_for.contains(&v.kind));
            all.extend(counted.map(ToString::to_string));
            let answered = |a: &&Attempt| matches!(a.outcome, Outcome::Acknowledged(_));
            if !history.attempts.iter().any(|a| answered(&a)) {
                all.push(format!("nothing was acknowledged in {}", history.room));
            }
            all.extend(
                history.attempts.iter().filter(|a| is_unclear(&a.outcome)).map(|a| {
                    format!("in {} {:?} was answered with {:?}", history.room, a.client_id, a.outcome)
                }),
            );
            let silent = unanswered(history);
            if !silent.is_empty() {
                all.push(format!("in {} never answered: {silent:?}", history.room));
            }
        }
        all
    }

    /// Every promise holds, to the last message.
    pub fn assert_holds(&self) {
        self.assert_holds_but_for(&[]);
    }

    /// The same, where a fault may take something away.
    pub fn assert_holds_but_for(&self, kinds: &[Kind]) {
        let complaints = self.complaints(kinds);
        let first: Vec<_> = complaints.iter().take(5).cloned().collect();
        assert!(complaints.is_empty(), "{} complaints:\n{}", complaints.len(), first.join("\n"));
    }

    /// Every promise holds, and nobody was told of a gap.
    pub fn assert_nothing_is_missing(&self) {
        self.assert_holds();
        self.assert_no_gaps();
    }

    /// Every promise holds, and no room had to be begun anew.
    pub fn assert_all_is_given_back(&self) {
        self.assert_holds();
        assert!(self.epochs().all(|epoch| epoch == 1), "a room was begun anew");
    }

    /// Every promise holds. A place whose message was never answered for may be lost with the tail, from between others
    /// that were given back; then its room is begun anew, and readers are told.
    pub fn assert_all_answered_is_given_back(&self) {
        self.assert_holds_but_for(&[Kind::LogBroken]);
        for (history, epoch) in self.histories.iter().zip(self.epochs()) {
            assert!(check(history).holds() || epoch > 1, "{} goes on as if nothing were lost", history.room);
        }
    }

    /// Readers were told of no gap.
    pub fn assert_no_gaps(&self) {
        for history in &self.histories {
            assert_eq!(check(history).counts.gaps, 0, "a gap in {}", history.room);
        }
    }

    /// The number of the log's life in which each room ends.
    pub fn epochs(&self) -> impl Iterator<Item = u64> {
        let ends = self.histories.iter().filter_map(|history| history.end.as_ref()?.last());
        ends.map(|last| last.cursor.epoch)
    }

    /// Messages in all rooms.
    pub fn kept(&self) -> usize {
        self.histories.iter().map(|history| history.end.as_ref().map_or(0, Vec::len)).sum()
    }

    /// What readers got.
    pub fn readers(&self) -> impl Iterator<Item = &ReaderLog> {
        self.histories.iter().flat_map(|history| &history.readers)
    }
}

/// Lets everybody go, also when a test gives up.
struct Harmful<'a>(&'a AtomicBool, &'a AtomicBool);

impl Drop for Harmful<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        self.1.store(true, Ordering::Relaxed);
    }
}

pub fn room_name(n: usize) -> String {
    format!("room{n}")
}

fn key(attempt: &Attempt) -> String {
    attempt.client_id.clone().unwrap_or_default()
}

/// What was said and never answered, however often.
fn unanswered(history: &History) -> BTreeSet<String> {
    let answered = history.attempts.iter().filter(|a| matches!(a.outcome, Outcome::Acknowledged(_)));
    let answered: BTreeSet<_> = answered.map(key).collect();
    history.attempts.iter().map(key).filter(|key| !answered.contains(key)).collect()
}

/// A fault of a server is answered with 503, or with no answer; nothing else is anybody's fault here.
fn is_unclear(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Refused { status, .. } => !matches!(status, 0 | 503),
        Outcome::Unknown(what) => {
            what.starts_with(|c: char| c.is_ascii_digit()) && what != "503 outcome_unknown"
        }
        Outcome::Acknowledged(_) => false,
    }
}

/// What one of many draws from, so that who draws first changes nothing.
fn of_one(seed: u64, kind: u64, n: usize) -> StdRng {
    StdRng::seed_from_u64(seed.wrapping_mul(1_000_003) + kind * 100_000 + n as u64 + 1)
}

/// The log as a pod gives it, once it can.
fn log_of(pod: std::net::SocketAddr, room: &str) -> Vec<Kept> {
    let mut log = None;
    wait_for("the log can be read", || {
        log = whole_log(&mut Client::new(pod), room).ok();
        log.is_some()
    });
    log.expect("it was read")
}

fn rows_of_log(log: &[Kept]) -> BTreeSet<String> {
    let row = |kept: &Kept| {
        let event: serde_json::Value = serde_json::from_str(&kept.data).expect("JSON");
        format!("{} {}", kept.cursor, event["id"].as_str().expect("an id").replace('-', ""))
    };
    log.iter().map(row).collect()
}

fn difference(one: &[Kept], other: &[Kept]) -> String {
    let at =
        one.iter().zip(other).position(|(one, other)| one != other).unwrap_or(one.len().min(other.len()));
    format!("{} and {} events; {:?} and {:?}", one.len(), other.len(), one.get(at), other.get(at))
}
