//! P2 and P6: what speakers were told, against the log at the end and against each other.

use super::log::Log;
use super::{Ack, Act, Attempt, Findings, History, Kind, Outcome, Promise};
use crate::cursor::Cursor;
use std::collections::HashMap;
use std::time::Duration;

pub(super) fn check(history: &History, log: &Log<'_>, findings: &mut Findings) {
    let said = Said::gather(&history.attempts);
    for one in &said {
        one.answers_agree(findings);
        one.is_kept(log, findings);
    }
    one_event_each(&said, findings);
    real_time_order(&said, findings);
    refused_stays_out(&said, log, findings);
}

/// All attempts to say one thing: those of one person with one `client_id`, or one attempt without.
struct Said<'a> {
    attempts: Vec<&'a Attempt>,
}

impl<'a> Said<'a> {
    fn gather(attempts: &'a [Attempt]) -> Vec<Self> {
        let mut keys: HashMap<(&str, &str), usize> = HashMap::new();
        let mut all: Vec<Self> = Vec::new();
        for attempt in attempts {
            let key = attempt.client_id.as_deref().map(|id| (attempt.person.as_str(), id));
            match key.and_then(|key| keys.get(&key)) {
                Some(&place) => all[place].attempts.push(attempt),
                None => {
                    keys.extend(key.map(|key| (key, all.len())));
                    all.push(Self { attempts: vec![attempt] });
                }
            }
        }
        all.iter_mut().for_each(|said| said.attempts.sort_by_key(|a| a.sent));
        all
    }

    fn acks(&self) -> impl Iterator<Item = (&'a Attempt, &'a Ack)> {
        self.attempts.iter().filter_map(|a| match &a.outcome {
            Outcome::Acknowledged(ack) => Some((*a, ack)),
            _ => None,
        })
    }

    fn context(&self) -> Vec<String> {
        self.attempts.iter().take(8).map(|a| line(a)).collect()
    }

    fn answers_agree(&self, findings: &mut Findings) {
        let Some((_, first)) = self.acks().next() else { return };
        let mut find = |kind, at, what| findings.add(Promise::P6, kind, at, what, self.context());
        for (attempt, ack) in self.acks() {
            if (ack.cursor, &ack.id, ack.ts) != (first.cursor, &first.id, first.ts) {
                let what =
                    format!("one client_id was answered with {} and with {}", first.cursor, ack.cursor);
                find(Kind::TwoAnswers, attempt.answered, what);
            }
            // Somebody must have been first: without another attempt under way there is nothing to repeat.
            let alone =
                !self.attempts.iter().any(|a| !std::ptr::eq(*a, attempt) && a.sent < attempt.answered);
            if ack.duplicate && alone {
                let what = format!("{} is called a duplicate and is the first", ack.cursor);
                find(Kind::FalseDuplicate, attempt.answered, what);
            }
        }
        let mut firsts = self.acks().filter(|(_, ack)| !ack.duplicate).skip(1);
        if let Some((attempt, ack)) = firsts.next() {
            find(Kind::TwoAnswers, attempt.answered, format!("{} was answered twice as new", ack.cursor));
        }
    }

    fn is_kept(&self, log: &Log<'_>, findings: &mut Findings) {
        if !log.known {
            return;
        }
        let mut find = |kind, at, what| findings.add(Promise::P2, kind, at, what, self.context());
        for (attempt, ack) in self.acks() {
            let at = attempt.answered;
            let Some((kept, fields)) = log.events.get(&ack.cursor) else {
                let elsewhere =
                    log.by_id.get(&ack.id).map_or(String::new(), |c| format!("; its id is at {c}"));
                find(
                    Kind::Lost,
                    at,
                    format!("{} was acknowledged and is not in the log{elsewhere}", ack.cursor),
                );
                continue;
            };
            if fields.id != ack.id {
                find(
                    Kind::WrongId,
                    at,
                    format!("{} was acknowledged as {} and is {}", ack.cursor, ack.id, fields.id),
                );
                continue;
            }
            if fields.ts != ack.ts {
                find(Kind::WrongId, at, format!("ts {} was acknowledged and {} is kept", ack.ts, fields.ts));
            }
            let changed_since = fields.scrubbed || fields.edited;
            if let (Act::Say(text), false) = (&attempt.act, changed_since)
                && fields.text.as_ref() != Some(text)
            {
                find(Kind::WrongText, at, format!("{text:?} was acknowledged and {} is kept", kept.data));
            }
        }
    }
}

/// No two things said were given the same place or the same id.
fn one_event_each(said: &[Said<'_>], findings: &mut Findings) {
    let mut places: HashMap<Cursor, usize> = HashMap::new();
    let mut ids: HashMap<&str, usize> = HashMap::new();
    for (i, one) in said.iter().enumerate() {
        let Some((attempt, ack)) = one.acks().next() else { continue };
        let twin = places.insert(ack.cursor, i).or_else(|| ids.get(ack.id.as_str()).copied());
        ids.insert(&ack.id, i);
        if let Some(twin) = twin {
            let what = format!("two POSTs were both given {} ({})", ack.cursor, ack.id);
            let context = said[twin].context().into_iter().chain(one.context()).collect();
            findings.add(Promise::P2, Kind::SharedEvent, attempt.answered, what, context);
        }
    }
}

/// If A was acknowledged before B was first sent, A stands before B.
fn real_time_order(said: &[Said<'_>], findings: &mut Findings) {
    let times = said.iter().filter_map(|one| {
        let answered = one.acks().map(|(a, _)| a.answered).min()?;
        let (_, ack) = one.acks().next()?;
        Some((one, one.attempts[0].sent, answered, ack.cursor))
    });
    let by_sent: Vec<_> = sorted(times.clone(), |&(_, sent, ..)| sent);
    let by_answer: Vec<_> = sorted(times, |&(_, _, answered, _)| answered);
    let mut answers = by_answer.into_iter().peekable();
    let mut highest: Option<(&Said<'_>, Cursor)> = None;
    for (one, sent, answered, cursor) in by_sent {
        while let Some((before, _, _, place)) = answers.next_if(|&(_, _, answered, _)| answered < sent) {
            if highest.is_none_or(|(_, top)| place > top) {
                highest = Some((before, place));
            }
        }
        if let Some((before, top)) = highest.filter(|(_, top)| *top > cursor) {
            let what = format!("{cursor} was sent after {top} had been acknowledged");
            let context = before.context().into_iter().chain(one.context()).collect();
            findings.add(Promise::P1, Kind::RealTimeOrder, answered, what, context);
        }
    }
}

fn sorted<T>(items: impl Iterator<Item = T>, key: impl Fn(&T) -> Duration) -> Vec<T> {
    let mut items: Vec<T> = items.collect();
    items.sort_by_key(|item| key(item));
    items
}

/// Nothing that was refused, and never left open, is in the log. Known by its `client_id`, or else by its text.
fn refused_stays_out(said: &[Said<'_>], log: &Log<'_>, findings: &mut Findings) {
    let mut uses: HashMap<&str, usize> = HashMap::new();
    for attempt in said.iter().flat_map(|one| &one.attempts) {
        if let Act::Say(text) | Act::Edit { text, .. } = &attempt.act {
            *uses.entry(text).or_default() += 1;
        }
    }
    let mut kept: HashMap<&str, Cursor> = HashMap::new();
    for (cursor, (_, fields)) in &log.events {
        kept.extend(fields.text.as_deref().filter(|t| !t.is_empty()).map(|text| (text, *cursor)));
    }
    for one in said {
        let refused = |a: &&Attempt| matches!(a.outcome, Outcome::Refused { .. });
        let (Some(last), true) = (one.attempts.last(), one.attempts.iter().all(refused)) else { continue };
        let Act::Say(text) = &last.act else { continue };
        let own = uses.get(text.as_str()) == Some(&one.attempts.len());
        if let Some(cursor) = kept.get(text.as_str()).filter(|_| own) {
            let what = format!("{text:?} was refused and is kept at {cursor}");
            findings.add(Promise::P3, Kind::RefusedButKept, last.answered, what, one.context());
        }
    }
}

pub(super) fn line(attempt: &Attempt) -> String {
    let Attempt { person, client_id, server, act, sent, answered, outcome } = attempt;
    let (sent, answered) = (sent.as_secs_f64(), answered.as_secs_f64());
    let line = format!("{sent:.6}–{answered:.6} s {person} {client_id:?} at {server:?} {act:?}: {outcome:?}");
    line.chars().take(400).collect()
}
