//! Speaking, and waiting each time until the last reader has it.

use super::readers::Readers;
use super::voices::Voices;
use super::{Failure, Progress};
use crate::cursor::Cursor;
use hdrhistogram::Histogram;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Nothing moved for so long: lost.
const STALLED: Duration = Duration::from_secs(10);

/// When messages are sent.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Pace {
    /// The next when the last reader has the one before.
    OneInFlight,
    /// So many a second, come what may: lateness counts from when a message was due.
    PerSecond(f64),
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

/// Sends `count` messages and waits until all readers have all of them. Every acknowledged event must reach every
/// reader; that each reader gets them in order and once is seen where they are read.
pub(crate) fn run(
    readers: &mut Readers,
    voices: &mut Voices,
    count: u64,
    pace: Pace,
    text: &str,
    progress: &Progress,
) -> Result<Latencies, Failure> {
    // Three digits, up to a minute: more than anything that does not stall takes.
    let histogram =
        || Histogram::new_with_bounds(1, 60_000_000_000, 3).map_err(|e| Failure::Setup(e.to_string()));
    let (mut answer, mut last_reader, mut after_answer) = (histogram()?, histogram()?, histogram()?);
    let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let start = Instant::now();
    let (mut sent, mut done) = (0, 0);
    // Acknowledged, and not with all readers yet.
    let mut waiting: VecDeque<(Cursor, Instant, Instant)> = VecDeque::new();
    let mut moved = (start, 0, 0);
    while done < count {
        let now = Instant::now();
        let mut wait = STALLED;
        while sent < count {
            let due = match pace {
                Pace::OneInFlight if voices.under_way() == 0 && waiting.is_empty() => Instant::now(),
                Pace::OneInFlight => break,
                Pace::PerSecond(rate) => start + Duration::from_secs_f64(sent as f64 / rate),
            };
            if due > now && pace != Pace::OneInFlight {
                wait = due - now;
                break;
            }
            voices.speak(text, due, readers)?;
            sent += 1;
        }
        readers.poll(wait, |token| {
            if let Some((cursor, due)) = voices.hear(token)? {
                let answered = Instant::now();
                answer.saturating_record(nanoseconds(answered - due));
                waiting.push_back((cursor, due, answered));
            }
            Ok(())
        })?;
        while let Some((cursor, due, answered)) = waiting.front().copied() {
            let Some(at) = readers.complete(cursor) else { break };
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
            let what = waiting.front().map_or("a POST has no answer".to_owned(), |(cursor, ..)| {
                format!(
                    "{cursor} has reached {} of {} readers",
                    readers.tally.readers_of(*cursor),
                    readers.len()
                )
            });
            return Err(Failure::Late(format!("{what}, and nothing moved for {STALLED:?}")));
        }
    }
    Ok(Latencies { answer, last_reader, after_answer, wall: start.elapsed() })
}

/// Sends one message and says where it is: what comes after it can be watched.
pub(crate) fn mark(readers: &mut Readers, voices: &mut Voices, text: &str) -> Result<Cursor, Failure> {
    voices.speak(text, Instant::now(), readers)?;
    let deadline = Instant::now() + STALLED;
    let mut at = None;
    while at.is_none() {
        if Instant::now() > deadline {
            return Err(Failure::Late(format!("a POST has no answer for {STALLED:?}")));
        }
        readers.poll(Duration::from_millis(100), |token| {
            at = voices.hear(token)?.map(|(cursor, _)| cursor);
            Ok(())
        })?;
    }
    let at = at.ok_or_else(|| Failure::Late("no answer".to_owned()))?;
    readers.tally.watch_after(at);
    Ok(at)
}
