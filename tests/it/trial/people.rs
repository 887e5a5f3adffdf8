//! Who speaks and who listens in a trial.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use loadtest::{
    checker::{Attempt, Clock, Outcome},
    http::Client,
    speak::Speaker,
    stream::{Listen, Reader},
};
use rand::{RngExt, rngs::StdRng};

use super::{Cast, Progress, SAYING, room_name};
use crate::harness::Doors;

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(3);

/// Says something again and again until it is answered, and then the next.
pub(super) fn speak(
    doors: &Doors,
    clock: Clock,
    n: usize,
    cast: &Cast,
    mut rng: StdRng,
    harmed: &AtomicBool,
    progress: &Progress,
) -> Vec<Attempt> {
    let room = room_name(n % cast.rooms);
    let client = Client::new(doors.all()[n % doors.all().len()]).timeout(ANSWER);
    let mut speaker = Speaker::guest(client, clock, &room, &format!("Speaker {n}")).expect("a session");
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
            speaker.move_to(doors.drawn(&mut rng));
            thread::sleep(Duration::from_millis(rng.random_range(2..10)));
        }
        progress.acknowledged.fetch_add(1, Ordering::Relaxed);
        said += 1;
        thread::sleep(cast.pause.mul_f64(rng.random_range(0.0..2.0)));
        if cast.wanders && rng.random_range(0..20) == 0 {
            speaker.move_to(doors.drawn(&mut rng));
        }
    }
    speaker.into_attempts()
}

/// Listens until all has been said; the rest is read when it is known what that is.
pub(super) fn listen(
    doors: &Doors,
    clock: Clock,
    n: usize,
    cast: &Cast,
    mut rng: StdRng,
    said: &AtomicBool,
) -> Reader {
    let listen = Listen::to(&format!("/r/{}?since=all", room_name(n % cast.rooms)));
    let home = doors.all()[n % doors.all().len()];
    let mut reader = Reader::new(&format!("reader {n}"), clock, home, listen.timeout(ANSWER));
    while !said.load(Ordering::Relaxed) {
        if reader.stream().is_none() && reader.connect().is_err() {
            thread::sleep(Duration::from_millis(20));
            reader.move_to(doors.drawn(&mut rng));
            continue;
        }
        // Some cuts fall into the replay, some after the hand-over.
        let most = [1, 3, 30, 300][rng.random_range(0..4)];
        let events = if cast.wanders { rng.random_range(0..most) } else { 1000 };
        for _ in 0..events {
            if said.load(Ordering::Relaxed) {
                break;
            }
            reader.next(Instant::now() + Duration::from_millis(20));
            if reader.stream().is_none() {
                break;
            }
        }
        if cast.wanders {
            reader.cut();
            reader.move_to(doors.drawn(&mut rng));
        }
    }
    reader
}
