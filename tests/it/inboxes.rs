//! Inboxes under load, held against their rooms by the checker.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use loadtest::{
    checker::{Clock, Inbox, InboxRoom, Outcome, ReaderLog, check_inbox},
    http::Client,
    people::{self, Manner},
    speak::{Speaker, whole_log},
    stream::{Listen, Reader},
};
use rand::{SeedableRng, rngs::StdRng};
use serde_json::json;

use crate::harness::{Doors, Maru, PATIENCE, Person, at_length, wait_for};

/// Two readers for each of four people.
const READERS: usize = 8;

/// Four people speak in their three rooms and read their inboxes, from pod to pod, while something is done to these; then
/// each inbox is held against its rooms. `edits` says whether they change and delete messages, too.
fn trial(mut maru: Maru, edits: bool, harm: impl FnOnce(&mut Maru, &AtomicU64)) {
    let people = Person::several(&maru, ["Ann", "Bob", "Cho", "Dee"]);
    let [ann, bob, cho, dee] = &people;
    let rooms = [
        (ann.room_with(&maru, &[bob], None), vec![ann, bob]),
        (bob.room_with(&maru, &[cho], None), vec![bob, cho]),
        (cho.room_with(&maru, &[ann, bob, dee], None), vec![cho, ann, bob, dee]),
    ];
    let (clock, doors) = (Clock::start(), maru.doors());
    let (harmed, said, acknowledged) = (AtomicBool::new(false), AtomicBool::new(false), AtomicU64::new(0));
    let mut readers: Vec<Reader> = thread::scope(|scope| {
        let (doors, harmed, said, acknowledged) = (&doors, &harmed, &said, &acknowledged);
        let readers: Vec<_> = (0..READERS)
            .map(|n| {
                let who = &people[n % 4];
                scope.spawn(move || read(doors, clock, n, who, said))
            })
            .collect();
        let voices = rooms.iter().flat_map(|(room, members)| members.iter().map(move |who| (room, *who)));
        let speakers: Vec<_> = voices
            .map(|(room, who)| {
                scope.spawn(move || speak(doors, clock, room, who, edits, harmed, acknowledged))
            })
            .collect();
        harm(&mut maru, acknowledged);
        harmed.store(true, Ordering::Relaxed);
        speakers.into_iter().for_each(|speaker| speaker.join().expect("a speaker"));
        said.store(true, Ordering::Relaxed);
        readers.into_iter().map(|reader| reader.join().expect("a reader")).collect()
    });
    for (n, who) in people.iter().enumerate() {
        let mine = rooms.iter().filter(|(_, members)| members.iter().any(|member| member.id == who.id));
        let rooms: Vec<_> = mine
            .map(|(room, _)| InboxRoom { room: room.clone(), from: 1, log: log(&doors, who, room) })
            .collect();
        let total = rooms.iter().map(|room| room.log.len()).sum();
        let readers = readers.iter_mut().skip(n).step_by(4).map(|reader| to_the_end(reader, &doors, total));
        let inbox = Inbox { person: who.name.clone(), readers: readers.collect(), rooms, ..Inbox::default() };
        let verdict = check_inbox(&inbox);
        verdict.assert_holds();
        assert!(verdict.counts.connections > 4, "{:?}", verdict.counts);
    }
}

/// Says things, each again and again until it is answered, until enough was said and nothing more is done to the pods.
fn speak(
    doors: &Doors,
    clock: Clock,
    room: &str,
    who: &Person,
    edits: bool,
    harmed: &AtomicBool,
    acknowledged: &AtomicU64,
) {
    let client =
        || Client::new(doors.any()).timeout(Duration::from_secs(3)).header("Authorization", &who.bearer);
    let mut speaker = Speaker::member(client(), clock, room, &who.id);
    let mut n = 0;
    while n < at_length(40) || !harmed.load(Ordering::Relaxed) {
        let until = Instant::now() + 2 * PATIENCE;
        let seq = loop {
            let outcome = speaker.say_as(&format!("{n}"), &format!("{}-{n}", who.name));
            if let Outcome::Acknowledged(ack) = outcome {
                break ack.cursor.seq;
            }
            assert!(Instant::now() < until, "never answered: {outcome:?}");
            speaker.move_to(doors.any());
            thread::sleep(Duration::from_millis(5));
        };
        acknowledged.fetch_add(1, Ordering::Relaxed);
        let message = format!("/api/chat/{room}/messages/{seq}");
        let change = |method| {
            loadtest::http::Request::new(method, &message).header("Content-Type", "application/json")
        };
        let change_of_it = match n % 10 {
            3 if edits => Some(change("PATCH").body(json!({"text": "edited"}).to_string())),
            7 if edits => Some(change("DELETE")),
            _ => None,
        };
        if let Some(change) = change_of_it {
            assert_eq!(client().send(&change).expect("an answer").status, 200);
        }
        n += 1;
    }
}

/// Reads, cutting the connection at random, until all was said.
fn read(doors: &Doors, clock: Clock, n: usize, who: &Person, said: &AtomicBool) -> Reader {
    let listen = Listen::to("/api/events?since=all").header("Authorization", &who.bearer);
    let listen = listen.timeout(Duration::from_secs(3));
    let reader = Reader::new(&format!("{n}"), clock, doors.any(), listen);
    let manner = Manner { wanders: true, pause: Duration::ZERO };
    let goes_on = || !said.load(Ordering::Relaxed);
    people::listen(doors.all(), reader, manner, StdRng::seed_from_u64(n as u64), goes_on)
}

/// Reads on until it has so many events.
fn to_the_end(reader: &mut Reader, doors: &Doors, total: usize) -> ReaderLog {
    let until = Instant::now() + PATIENCE;
    while reader.log().events().count() < total && Instant::now() < until {
        if reader.stream().is_none() && reader.connect().is_err() {
            thread::sleep(Duration::from_millis(20));
            reader.move_to(doors.any());
            continue;
        }
        reader.next(Instant::now() + Duration::from_secs(1));
    }
    reader.cut();
    let mut log = reader.log().clone();
    log.reads_to_the_end();
    log
}

fn log(doors: &Doors, who: &Person, room: &str) -> Vec<loadtest::checker::Kept> {
    let mut log = None;
    wait_for("the log can be read", || {
        let mut client = Client::new(doors.any()).header("Authorization", &who.bearer);
        log = whole_log(&mut client, room).ok();
        log.is_some()
    });
    log.expect("it was read")
}

#[test]
fn readers_that_cut_at_random_miss_nothing_and_see_nothing_twice() {
    trial(Maru::start(), true, |_, _| {});
}

#[test]
fn pods_that_are_killed_lose_no_entry_of_an_inbox() {
    trial(Maru::on_servers_of_its_own(&[], None), false, |maru, acknowledged| {
        for n in 0..maru.pods().len() {
            let before = acknowledged.load(Ordering::Relaxed);
            wait_for("people are answered", || acknowledged.load(Ordering::Relaxed) > before + 50);
            maru.pod(n).kill();
            let before = acknowledged.load(Ordering::Relaxed);
            if maru.pods().len() > 1 {
                wait_for("others answer", || acknowledged.load(Ordering::Relaxed) > before + 50);
            }
            maru.pod(n).restart();
        }
    });
}
