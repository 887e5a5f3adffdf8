//! People who speak and listen at many servers at once, and go from one to another, as a number says.

use crate::checker::{Attempt, Outcome};
use crate::speak::Speaker;
use crate::stream::Reader;
use rand::RngExt;
use rand::rngs::StdRng;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

/// How long a message may be said again and again until it is answered. Healing takes a lease of 10 s at most.
pub const SAYING: Duration = Duration::from_secs(60);

/// How people behave.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// Whether readers leave and come back to another server all the time, and speakers go from server to server.
    pub wanders: bool,
    /// Between two messages of one person, on average.
    pub pause: Duration,
}

/// One of these.
///
/// # Panics
/// Where there is none.
pub fn any(servers: &[SocketAddr], rng: &mut StdRng) -> SocketAddr {
    servers[rng.random_range(0..servers.len())]
}

/// Says `1:n` to `m:n` as person n, each again and again until it is answered, and asks after each whether to go on: by how many
/// were. Ends when one is not answered for a minute.
#[must_use]
pub fn speak(
    servers: &[SocketAddr],
    mut speaker: Speaker,
    n: usize,
    manner: Manner,
    mut rng: StdRng,
    mut goes_on: impl FnMut(u64) -> bool,
) -> Vec<Attempt> {
    let mut said = 0;
    while goes_on(said) {
        let until = Instant::now() + SAYING;
        loop {
            let outcome = speaker.say_as(&format!("{n}:{said}"), &format!("{n}-{said}"));
            if matches!(outcome, Outcome::Acknowledged(_)) {
                break;
            }
            if Instant::now() > until {
                return speaker.into_attempts();
            }
            speaker.move_to(any(servers, &mut rng));
            thread::sleep(Duration::from_millis(rng.random_range(2..10)));
        }
        said += 1;
        thread::sleep(manner.pause.mul_f64(rng.random_range(0.0..2.0)));
        if manner.wanders && rng.random_range(0..20) == 0 {
            speaker.move_to(any(servers, &mut rng));
        }
    }
    speaker.into_attempts()
}

/// Listens while it is told to go on; what is there then may still be read.
#[must_use]
pub fn listen(
    servers: &[SocketAddr],
    mut reader: Reader,
    manner: Manner,
    mut rng: StdRng,
    goes_on: impl Fn() -> bool,
) -> Reader {
    while goes_on() {
        if reader.stream().is_none() && reader.connect().is_err() {
            thread::sleep(Duration::from_millis(20));
            reader.move_to(any(servers, &mut rng));
            continue;
        }
        // Some cuts fall into the replay, some after the hand-over.
        let most = [1, 3, 30, 300][rng.random_range(0..4)];
        let events = if manner.wanders { rng.random_range(0..most) } else { 1000 };
        for _ in 0..events {
            if !goes_on() {
                break;
            }
            reader.next(Instant::now() + Duration::from_millis(20));
            if reader.stream().is_none() {
                break;
            }
        }
        if manner.wanders {
            reader.cut();
            reader.move_to(any(servers, &mut rng));
        }
    }
    reader
}
