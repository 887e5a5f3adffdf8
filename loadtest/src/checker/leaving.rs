//! P11: what a server that was told to end did with those who spoke and listened there.

use super::speaking::line;
use super::{Drain, End, Findings, History, Kind, Outcome, Promise, ReaderLog, Seen, Sight};
use std::time::Duration;

/// To notice that one was told, and for whoever looks to see it.
const NOTICE: Duration = Duration::from_secs(2);
/// For connections that are there when all is over, and to write down what is held.
const CLOSING: Duration = Duration::from_secs(15);
/// Readers from whose leaves it can be told that they were spread.
const CROWD: usize = 8;

pub(super) fn check(history: &History, findings: &mut Findings) {
    for drain in &history.drains {
        ends(drain, findings);
        answers(drain, history, findings);
        sends_off(drain, history, findings);
    }
}

fn ends(drain: &Drain, findings: &mut Findings) {
    let Drain { server, told, accepts, window, unready, ended } = drain;
    let mut find = |kind, at, what| findings.add(Promise::P11, kind, at, what, Vec::new());
    if unready.is_none_or(|at| at > *told + NOTICE) {
        find(Kind::StillReady, *told, format!("{server} was told to end and unready only at {unready:?}"));
    }
    match ended {
        Some((at, _)) if *at > *told + *accepts + *window + CLOSING => {
            find(Kind::EndedLate, *at, format!("{server} took {:?} to end", *at - *told));
        }
        Some((at, status)) if *status != 0 => {
            find(Kind::EndedBadly, *at, format!("{server} ended with status {status}"));
        }
        Some(_) => {}
        None => find(Kind::EndedLate, *told, format!("{server} did not end")),
    }
}

/// What was sent while it still had to take everything was answered.
fn answers(drain: &Drain, history: &History, findings: &mut Findings) {
    let until = drain.told + drain.accepts;
    let concerns = |sent: Duration| (drain.told..until).contains(&sent);
    for attempt in history.attempts.iter().filter(|a| a.server == drain.server && concerns(a.sent)) {
        let kind = match &attempt.outcome {
            Outcome::Refused { status: 0, .. } => Kind::NotTaken,
            Outcome::Unknown(_) => Kind::NotAnswered,
            _ => continue,
        };
        let what = format!("{} was told to end, and had to go on as before until then", drain.server);
        findings.add(Promise::P11, kind, attempt.answered, what, vec![line(attempt)]);
    }
}

/// Whoever listened there when it was told, or came later, was sent off by `bye`, and not all at once.
fn sends_off(drain: &Drain, history: &History, findings: &mut Findings) {
    let mut leaves = Vec::new();
    for (reader, stay) in history.readers.iter().flat_map(stays) {
        let Some(Seen { at, what: Sight::Ended(how) }) = stay.last() else { continue };
        if !stay.iter().any(|seen| matches!(&seen.what, Sight::Reached(name) if *name == drain.server)) {
            continue;
        }
        let gone = drain.ended.map_or(Duration::MAX, |(at, _)| at);
        if *at < drain.told || stay[0].at > gone || *how == End::Cut {
            continue;
        }
        let bye = stay.iter().find(|seen| matches!(&seen.what, Sight::Other { name, .. } if name == "bye"));
        match bye {
            Some(bye) => leaves.push(bye.at),
            None => {
                let what = format!("{} let reader {} go without a word: {how:?}", drain.server, reader.name);
                findings.add(Promise::P11, Kind::NoFarewell, *at, what, Vec::new());
            }
        }
    }
    leaves.sort();
    if let (Some(first), Some(last)) = (leaves.first(), leaves.last())
        && leaves.len() >= CROWD
        && *last - *first < drain.window / 4
    {
        let (count, over) = (leaves.len(), *last - *first);
        let what = format!("{} sent off {count} readers within {over:?} of {:?}", drain.server, drain.window);
        findings.add(Promise::P11, Kind::AllAtOnce, *first, what, Vec::new());
    }
}

/// A reader's connections, each with all that was seen on it.
fn stays(reader: &ReaderLog) -> impl Iterator<Item = (&ReaderLog, &[Seen])> {
    let is_start = |seen: &Seen| matches!(seen.what, Sight::Connected(_));
    reader.seen.chunk_by(move |_, next| !is_start(next)).map(move |stay| (reader, stay))
}
