//! A trial: people speak and listen everywhere, something is done to the servers, and then all is looked at.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use loadtest::{
    checker::{Attempt, Clock, Gaps, History, Kept, Kind, Outcome, ReaderLog, check},
    http::Client,
    speak::{Speaker, whole_log},
    stream::{Listen, Reader},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::Value;

use crate::harness::{Doors, Maru, PATIENCE, wait_for};

/// How long a message may be said again and again until it is answered. Healing takes a lease of 10 s at most.
const SAYING: Duration = Duration::from_secs(60);
/// Between two messages of one person, so that a trial of seconds stays readable.
const PAUSE: Duration = Duration::from_millis(3);

/// Who takes part.
pub struct Cast {
    pub rooms: usize,
    pub speakers: usize,
    pub readers: usize,
    /// Messages of each speaker at least; they go on while something is done to the servers.
    pub messages: u64,
    /// Whether readers leave and come back to another pod all the time, and speakers go from pod to pod.
    pub wanders: bool,
}

impl Cast {
    /// For faults.
    pub const SMALL: Cast = Cast { rooms: 3, speakers: 6, readers: 6, messages: 50, wanders: true };
}

/// How far the speakers are.
pub struct Progress(AtomicU64);

impl Progress {
    /// Waits until so many more messages were acknowledged.
    pub fn go_on(&self, more: u64) {
        let goal = self.0.load(Ordering::Relaxed) + more;
        let until = Instant::now() + SAYING;
        while self.0.load(Ordering::Relaxed) < goal {
            assert!(Instant::now() < until, "nobody is answered any more");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until so many more messages were acknowledged, or a time is over.
    pub fn go_on_for(&self, time: Duration, most: u64) {
        let (goal, until) = (self.0.load(Ordering::Relaxed) + most, Instant::now() + time);
        while self.0.load(Ordering::Relaxed) < goal && Instant::now() < until {
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
}

impl Trial {
    /// Speaks and listens until `harm` is done and everybody has said what they have to say.
    pub fn run(mut maru: Maru, cast: &Cast, harm: impl FnOnce(&mut Maru, &Progress)) -> Self {
        let clock = Clock::start();
        let (harmed, said) = (AtomicBool::new(false), AtomicBool::new(false));
        let progress = Progress(AtomicU64::new(0));
        let doors = maru.doors();
        let (mut attempts, mut readers) = (Vec::new(), Vec::new());
        thread::scope(|scope| {
            let (doors, harmed, said, progress) = (&doors, &harmed, &said, &progress);
            let speakers: Vec<_> = (0..cast.speakers)
                .map(|n| scope.spawn(move || speak(doors, clock, n, cast, harmed, progress)))
                .collect();
            let listeners: Vec<_> =
                (0..cast.readers).map(|n| scope.spawn(move || listen(doors, clock, n, cast, said))).collect();
            let harmful = Harmful(harmed, said);
            harm(&mut maru, progress);
            harmed.store(true, Ordering::Relaxed);
            attempts.extend(speakers.into_iter().map(|s| s.join().expect("a speaker")));
            drop(harmful);
            readers.extend(listeners.into_iter().map(|r| r.join().expect("a reader")));
        });
        let mut trial = Trial { maru, histories: Vec::new(), late: Vec::new() };
        trial.settle(cast, &doors);
        let mut histories: Vec<_> = (0..cast.rooms)
            .map(|room| History { room: room_name(room), gaps: Gaps::Allowed, ..History::default() })
            .collect();
        for (n, attempts) in attempts.into_iter().enumerate() {
            histories[n % cast.rooms].attempts.extend(attempts);
        }
        for history in &mut histories {
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
        let servers = self.maru.servers();
        match servers.outboxes() {
            0 => {}
            left => late.push(format!("{left} events are still in the outboxes")),
        }
        for room in (0..cast.rooms).map(room_name) {
            let logs: Vec<_> = doors.all().iter().map(|pod| log_of(*pod, &room)).collect();
            if let Some(n) = logs.iter().position(|log| *log != logs[0]) {
                late.push(format!("pods 0 and {n} differ about {room}: {}", difference(&logs[0], &logs[n])));
            }
            let (log, table) = (rows_of_log(&logs[0]), self.rows_of_table(&room));
            if log != table {
                let [more, less] = [table.difference(&log), log.difference(&table)]
                    .map(|rows| (rows.clone().count(), rows.take(3).cloned().collect::<Vec<_>>()));
                late.push(format!("the table of {room} has {more:?} more and lacks {less:?}"));
            }
        }
        let twice =
            "SELECT COUNT(*) - COUNT(DISTINCT id), COUNT(*) - COUNT(DISTINCT room_id, seq) FROM messages";
        match servers.database.sql(twice).as_str() {
            "0\t0" => {}
            other => late.push(format!("the table has ids, places twice: {other}")),
        }
        late
    }

    fn rows_of_table(&self, room: &str) -> BTreeSet<String> {
        let rows = self.maru.servers().database.sql(&format!(
            "SELECT CONCAT(m.epoch, '-', m.seq, ' ', LOWER(HEX(m.id))) FROM messages m JOIN rooms r \
             ON r.id = m.room_id WHERE r.slug = '{room}'"
        ));
        rows.lines().map(str::to_owned).collect()
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
            let silent = said(history).difference(&answered_of(history)).cloned().collect::<Vec<_>>();
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

    /// Readers were told of no gap.
    pub fn assert_no_gaps(&self) {
        for history in &self.histories {
            assert_eq!(check(history).counts.gaps, 0, "a gap in {}", history.room);
        }
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

fn said(history: &History) -> BTreeSet<String> {
    history.attempts.iter().map(key).collect()
}

fn answered_of(history: &History) -> BTreeSet<String> {
    let answered = history.attempts.iter().filter(|a| matches!(a.outcome, Outcome::Acknowledged(_)));
    answered.map(key).collect()
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
        let event: Value = serde_json::from_str(&kept.data).expect("JSON");
        format!("{} {}", kept.cursor, event["id"].as_str().expect("an id").replace('-', ""))
    };
    log.iter().map(row).collect()
}

fn difference(one: &[Kept], other: &[Kept]) -> String {
    let at =
        one.iter().zip(other).position(|(one, other)| one != other).unwrap_or(one.len().min(other.len()));
    format!("{} and {} events; {:?} and {:?}", one.len(), other.len(), one.get(at), other.get(at))
}

/// Says something again and again until it is answered, and then the next.
fn speak(
    doors: &Doors,
    clock: Clock,
    n: usize,
    cast: &Cast,
    harmed: &AtomicBool,
    progress: &Progress,
) -> Vec<Attempt> {
    let room = room_name(n % cast.rooms);
    let client = Client::new(doors.all()[n % doors.all().len()]).timeout(Duration::from_secs(3));
    let mut speaker = Speaker::guest(client, clock, &room, &format!("Speaker {n}")).expect("a session");
    let mut rng = StdRng::seed_from_u64(n as u64);
    let mut said = 0;
    while said < cast.messages || !harmed.load(Ordering::Relaxed) {
        let until = Instant::now() + SAYING;
        loop {
            let outcome = speaker.say_as(&format!("{n}:{said}"), &format!("{n}-{said}"));
            if matches!(outcome, Outcome::Acknowledged(_)) {
                break;
            }
            if Instant::now() > until {
                return speaker.into_attempts();
            }
            speaker.move_to(doors.any());
            thread::sleep(PAUSE * 2);
        }
        progress.0.fetch_add(1, Ordering::Relaxed);
        said += 1;
        if cast.wanders {
            thread::sleep(PAUSE);
            if rng.random_range(0..20) == 0 {
                speaker.move_to(doors.any());
            }
        }
    }
    speaker.into_attempts()
}

/// Listens until all has been said; the rest is read when it is known what that is.
fn listen(doors: &Doors, clock: Clock, n: usize, cast: &Cast, said: &AtomicBool) -> Reader {
    let mut rng = StdRng::seed_from_u64(1000 + n as u64);
    let listen = Listen::to(&format!("/r/{}?since=all", room_name(n % cast.rooms)));
    let home = doors.all()[n % doors.all().len()];
    let mut reader = Reader::new(&format!("reader {n}"), clock, home, listen.timeout(Duration::from_secs(3)));
    while !said.load(Ordering::Relaxed) {
        if reader.stream().is_none() && reader.connect().is_err() {
            thread::sleep(Duration::from_millis(20));
            reader.move_to(doors.any());
            continue;
        }
        let events = if cast.wanders { [3, 30, 300][rng.random_range(0..3)] } else { 1000 };
        for _ in 0..events {
            if said.load(Ordering::Relaxed) {
                break;
            }
            reader.next(Instant::now() + Duration::from_millis(100));
            if reader.stream().is_none() {
                break;
            }
        }
        if cast.wanders {
            reader.cut();
            reader.move_to(doors.any());
        }
    }
    reader
}
