//! Who speaks and who listens in a trial.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use loadtest::{
    checker::{Attempt, Clock},
    http::Client,
    people,
    speak::Speaker,
    stream::{Listen, Reader},
};
use rand::rngs::StdRng;

use super::{Cast, Progress, room_name};
use crate::harness::Doors;

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(3);

/// Says as much as the cast has to, and until all harm is done.
pub(super) fn speak(
    doors: &Doors,
    clock: Clock,
    n: usize,
    cast: &Cast,
    rng: StdRng,
    harmed: &AtomicBool,
    progress: &Progress,
) -> Vec<Attempt> {
    let room = room_name(n % cast.rooms);
    let client = Client::new(doors.all()[n % doors.all().len()]).timeout(ANSWER);
    let speaker = Speaker::guest(client, clock, &room, &format!("Speaker {n}")).expect("a session");
    people::speak(doors.all(), speaker, n, cast.manner(), rng, |said| {
        if said > 0 {
            progress.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
        said < cast.messages || !harmed.load(Ordering::Relaxed)
    })
}

/// Listens until all has been said; the rest is read when it is known what that is.
pub(super) fn listen(
    doors: &Doors,
    clock: Clock,
    n: usize,
    cast: &Cast,
    rng: StdRng,
    said: &AtomicBool,
) -> Reader {
    let listen = Listen::to(&format!("/r/{}?since=all", room_name(n % cast.rooms)));
    let home = doors.all()[n % doors.all().len()];
    let reader = Reader::new(&format!("reader {n}"), clock, home, listen.timeout(ANSWER));
    people::listen(doors.all(), reader, cast.manner(), rng, || !said.load(Ordering::Relaxed))
}
