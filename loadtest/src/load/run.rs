//! Speaking, and waiting each time until the last reader has it.

use super::readers::Readers;
use super::voices::Voices;
use super::{Failure, Progress, histogram, nanoseconds};
use crate::cursor::Cursor;
use hdrhistogram::Histogram;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Nothing moved for so long: lost.
const STALLED: Duration = Duration::from_secs(10);

/// When messages are sent.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Pace {
    /// The next when the last reader has one of so many before.
    InFlight(u64),
    /// So many a second, come what may: lateness counts from when a message was due.
    PerSecond(f64),
}

impl Pace {
    /// The next when the last reader has the one before.
    pub(crate) const ONE: Self = Self::InFlight(1);
}

/// Lateness in nanoseconds, from when a message was due.
pub(crate) struct Latencies {
    /// Until the POST was answered.
    pub(crate) answer: Histogram<u64>,
    /// Until the last reader had it.
    pub(crate) last_reader: Histogram<u64>,
    /// From the POST's answer until the last reader had it; nothing where the reader was first.
    pub(crate) after_answer: Histogram<u64>,
    /// From the first message to the last delivery.
    pub(crate) wall: Duration,
}

/// Sends `count` messages, to each room in its turn, and waits until the readers of each have all of theirs; the
/// readers of a room are the group of its number. Every acknowledged event must reach every reader; that each reader
/// gets them in order and once is seen where they are read.
pub(crate) fn run(
    readers: &mut Readers,
    voices: &mut Voices,
    count: u64,
    pace: Pace,
    text: &str,
    progress: &Progress,
) -> Result<Latencies, Failure> {
    let (mut answer, mut last_reader, mut after_answer) = (histogram()?, histogram()?, histogram()?);
    let start = Instant::now();
    let (mut sent, mut done) = (0, 0);
    // Acknowledged, and not with all readers yet.
    let mut waiting: VecDeque<(usize, Cursor, Instant, Instant)> = VecDeque::new();
    let mut moved = (start, 0, 0);
    while done < count {
        let now = Instant::now();
        let mut wait = STALLED;
        while sent < count {
            let due = match pace {
                Pace::InFlight(most) if sent - done < most => Instant::now(),
                Pace::InFlight(_) => break,
                Pace::PerSecond(rate) => start + Duration::from_secs_f64(sent as f64 / rate),
            };
            if matches!(pace, Pace::PerSecond(_)) && due > now {
                wait = due - now;
                break;
            }
            let room = sent as usize % voices.rooms();
            voices.speak(room, text, due, readers)?;
            sent += 1;
        }
        readers.poll(wait, |token| {
            if let Some((room, cursor, due)) = voices.hear(token)? {
                let answered = Instant::now();
                answer.saturating_record(nanoseconds(answered - due));
                waiting.push_back((room, cursor, due, answered));
            }
            Ok(())
        })?;
        while let Some((room, cursor, due, answered)) = waiting.front().copied() {
            let Some(at) = readers.tally.complete(room, cursor) else { break };
            last_reader.saturating_record(nanoseconds(at.saturating_duration_since(due)));
            after_answer.saturating_record(nanoseconds(at.saturating_duration_since(answered)));
            waiting.pop_front();
            done += 1;
            progress.set(done);
        }
        let state = (readers.tally.deliveries, done);
        if (moved.1, moved.2) != state {
            moved = (Instant::now(), state.0, state.1);
        } else if moved.0.elapsed() >= STALLED && sent > done {
            let what = waiting.front().map_or("a POST has no answer".to_owned(), |&(room, cursor, ..)| {
                format!(
                    "{cursor} has reached {} of {} readers",
                    readers.tally.readers_with(room, cursor),
                    readers.tally.readers_in(room)
                )
            });
            return Err(Failure::Late(format!("{what}, and nothing moved for {STALLED:?}")));
        }
    }
    Ok(Latencies { answer, last_reader, after_answer, wall: start.elapsed() })
}

/// Sends one message to each room, and watches what comes after it.
pub(crate) fn mark(readers: &mut Readers, voices: &mut Voices, text: &str) -> Result<(), Failure> {
    for room in 0..voices.rooms() {
        let at = say(readers, voices, room, text)?;
        readers.tally.watch_after(room, at);
    }
    Ok(())
}

/// Sends one message and says where it is, once it is acknowledged.
pub(crate) fn say(
    readers: &mut Readers,
    voices: &mut Voices,
    room: usize,
    text: &str,
) -> Result<Cursor, Failure> {
    voices.speak(room, text, Instant::now(), readers)?;
    let deadline = Instant::now() + STALLED;
    let mut at = None;
    loop {
        readers.poll(Duration::from_millis(100), |token| {
            at = voices.hear(token)?.map(|(_, cursor, _)| cursor);
            Ok(())
        })?;
        match at {
            Some(at) => return Ok(at),
            None if Instant::now() > deadline => {
                return Err(Failure::Late(format!("a POST has no answer for {STALLED:?}")));
            }
            None => {}
        }
    }
}
