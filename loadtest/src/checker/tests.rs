mod inbox;
mod leaving;
mod model;

use super::*;
use crate::cursor::Cursor;
use model::{at, correct, data, ms};

/// Changes a correct history and says what is found first.
fn found(seed: u64, harm: impl FnOnce(&mut History)) -> Vec<(Promise, Kind)> {
    let mut history = correct(seed);
    harm(&mut history);
    check(&history).violations.iter().map(|v| (v.promise, v.kind)).collect()
}

fn places_of_events(reader: &ReaderLog) -> Vec<usize> {
    let event = |s: &Seen| matches!(s.what, Sight::Event { .. });
    (0..reader.seen.len()).filter(|&i| event(&reader.seen[i])).collect()
}

/// The reader's first event after a resumption by cursor.
fn first_resumed(reader: &ReaderLog) -> usize {
    let resumed = reader.seen.iter().position(|s| matches!(s.what, Sight::Connected(Asked::Own(_)))).unwrap();
    *places_of_events(reader).iter().find(|&&i| i > resumed).unwrap()
}

fn hello(seen: &Seen) -> Option<Cursor> {
    match seen.what {
        Sight::Hello(cursor) => Some(cursor),
        _ => None,
    }
}

fn first_ack(history: &mut History) -> &mut Ack {
    let ack = history.attempts.iter_mut().find_map(|a| match &mut a.outcome {
        Outcome::Acknowledged(ack) => Some(ack),
        _ => None,
    });
    ack.unwrap()
}

#[test]
fn correct_histories_pass() {
    for seed in 0..300 {
        let history = correct(seed);
        let verdict = check(&history);
        verdict.assert_holds();
        assert!(verdict.counts.deliveries > 100 && verdict.counts.connections > 20);
        assert!(verdict.counts.unknown > 0 && verdict.counts.acknowledged > 20, "{:?}", verdict.counts);
    }
}

#[test]
fn an_event_left_out_is_a_hole() {
    for seed in 0..50 {
        let kinds = found(seed, |h| {
            let reader = &mut h.readers[1];
            let place = places_of_events(reader)[5];
            reader.seen.remove(place);
        });
        // Where the event was the last of its connection, it is the way back that gives the omission away.
        let one = [(Promise::P1, Kind::Hole), (Promise::P5, Kind::Hole), (Promise::Stream, Kind::BadRecord)];
        assert!(one.contains(&kinds[0]), "{seed} {kinds:?}");
    }
}

#[test]
fn resuming_off_by_one_is_found_both_ways() {
    for seed in 0..50 {
        let kinds = found(seed, |h| {
            let place = first_resumed(&h.readers[0]);
            h.readers[0].seen.remove(place);
        });
        assert!(matches!(kinds[0], (Promise::P5, Kind::Hole) | (_, Kind::BadRecord)), "{seed} {kinds:?}");
        let kinds = found(seed, |h| {
            let reader = &mut h.readers[0];
            let place = first_resumed(reader);
            let before = places_of_events(reader).into_iter().rfind(|&i| i < place);
            let again = before.map_or_else(
                || Seen {
                    at: reader.seen[place].at,
                    what: event(reader.seen[..place].iter().find_map(hello).unwrap()),
                },
                |before| reader.seen[before].clone(),
            );
            reader.seen.insert(place, again);
        });
        assert!(kinds.contains(&(Promise::P5, Kind::Repeat)), "{seed} {kinds:?}");
    }
}

#[test]
fn a_repeat_without_a_break_is_found() {
    let kinds = found(1, |h| {
        let reader = &mut h.readers[2];
        let place = places_of_events(reader)[7];
        let again = reader.seen[place].clone();
        reader.seen.insert(place, again);
    });
    assert_eq!(kinds, [(Promise::P1, Kind::Repeat)]);
}

#[test]
fn a_repeat_across_connections_is_found_though_the_reader_asked_well() {
    // Cut after event n, back with cursor n, and the server sends n-1, n, n+1.
    let kinds = found(2, |h| {
        let reader = &mut h.readers[0];
        let place = first_resumed(reader);
        let events = places_of_events(reader);
        let i = events.iter().position(|&p| p == place).unwrap();
        let again: Vec<_> = events[i.saturating_sub(2)..i].iter().map(|&p| reader.seen[p].clone()).collect();
        reader.seen.splice(place..place, again);
    });
    assert!(kinds.contains(&(Promise::P5, Kind::Repeat)), "{kinds:?}");
}

#[test]
fn two_events_in_the_wrong_order_are_found() {
    let kinds = found(3, |h| {
        let reader = &mut h.readers[3];
        let events = places_of_events(reader);
        reader.seen.swap(events[8], events[9]);
    });
    assert!(kinds.contains(&(Promise::P1, Kind::Hole)), "{kinds:?}");
    assert!(kinds.contains(&(Promise::P1, Kind::OutOfOrder)), "{kinds:?}");
}

#[test]
fn other_bytes_for_one_cursor_are_found() {
    let kinds = found(4, |h| {
        let reader = &mut h.readers[1];
        let place = places_of_events(reader)[4];
        let Sight::Event { data, .. } = &mut reader.seen[place].what else { unreachable!() };
        *data = data.replace(":", ": ");
    });
    assert_eq!(kinds, [(Promise::P1, Kind::DifferentBytes)]);
}

#[test]
fn the_scrub_of_a_deletion_is_the_one_exception() {
    let scrub = |data: &str| {
        let mut json: serde_json::Value = serde_json::from_str(data).unwrap();
        json["text"] = "".into();
        json["status"] = "deleted".into();
        json.to_string()
    };
    let kinds = found(5, |h| {
        let place = places_of_events(&h.readers[1])[4];
        let Sight::Event { data, cursor } = &mut h.readers[1].seen[place].what else { unreachable!() };
        *data = scrub(data);
        let kept = &mut h.end.as_mut().unwrap()[cursor.seq as usize - 1];
        kept.data = scrub(&kept.data);
    });
    assert_eq!(kinds, []);
}

#[test]
fn a_reader_without_the_end_is_found() {
    let kinds = found(6, |h| {
        let place = places_of_events(&h.readers[0]).pop().unwrap();
        h.readers[0].seen.truncate(place);
    });
    assert_eq!(kinds, [(Promise::P2, Kind::LacksTheEnd)]);
}

#[test]
fn an_acknowledged_event_that_is_not_kept_is_found() {
    let kinds = found(7, |h| {
        let lost = first_ack(h).cursor;
        h.end.as_mut().unwrap().retain(|kept| kept.cursor != lost);
    });
    assert!(kinds.contains(&(Promise::P2, Kind::Lost)), "{kinds:?}");
    let seen_or_broken = |k: &Kind| matches!(k, Kind::Phantom | Kind::LogBroken);
    assert!(kinds.iter().any(|(_, k)| seen_or_broken(k)), "{kinds:?}");
}

#[test]
fn a_tail_lost_after_its_acknowledgement_is_found() {
    let mut history = correct(8);
    let log = history.end.as_mut().unwrap();
    log.pop();
    log.pop();
    history.readers.clear();
    let verdict = check(&history);
    assert_eq!(verdict.first().unwrap().kind, Kind::Lost);
}

#[test]
fn another_id_or_text_at_the_acknowledged_place_is_found() {
    assert!(found(9, |h| first_ack(h).id = "other".to_owned()).contains(&(Promise::P2, Kind::WrongId)));
    let kinds = found(9, |h| {
        let attempt = h.attempts.iter_mut().find(|a| matches!(a.outcome, Outcome::Acknowledged(_))).unwrap();
        attempt.act = Act::Say("something else".to_owned());
    });
    assert!(kinds.contains(&(Promise::P2, Kind::WrongText)), "{kinds:?}");
}

#[test]
fn an_event_kept_twice_is_found() {
    let kinds = found(10, |h| {
        let log = h.end.as_mut().unwrap();
        let (last, seq) = (log.last().unwrap().cursor.next(), log.len() as u64);
        let data = log[3].data.replace("\"seq\":4", &format!("\"seq\":{}", seq + 1)).replace("1002", "1100");
        log.push(Kept { cursor: last, data });
        h.readers.clear();
    });
    assert!(kinds.contains(&(Promise::P2, Kind::KeptTwice)), "{kinds:?}");
}

#[test]
fn one_client_id_with_two_events_or_two_answers_is_found() {
    let say = |sent, cursor, duplicate| Attempt {
        person: "u1".to_owned(),
        client_id: Some("c".to_owned()),
        server: String::new(),
        act: Act::Say("hi".to_owned()),
        sent: ms(sent),
        answered: ms(sent + 5),
        outcome: Outcome::Acknowledged(Ack { cursor, id: format!("id-{cursor}"), ts: 1000, duplicate }),
    };
    let kinds = |attempts: Vec<Attempt>, end: Vec<Cursor>| -> Vec<Kind> {
        let kept = end.iter().map(|&cursor| Kept { cursor, data: data(cursor, "u1", Some("c"), "hi") });
        let history = History { attempts, end: Some(kept.collect()), ..History::default() };
        check(&history).violations.iter().map(|v| v.kind).collect()
    };
    assert_eq!(kinds(vec![say(0, at(1), false), say(10, at(1), true)], vec![at(1)]), []);
    assert_eq!(kinds(vec![say(0, at(1), false), say(10, at(1), false)], vec![at(1)]), [Kind::TwoAnswers]);
    assert_eq!(kinds(vec![say(0, at(1), true)], vec![at(1)]), [Kind::FalseDuplicate]);
    let twice = kinds(vec![say(0, at(1), false), say(10, at(2), false)], vec![at(1), at(2)]);
    assert!(twice.contains(&Kind::TwoAnswers) && twice.contains(&Kind::TwoEvents), "{twice:?}");
    // The same key of another person is another key.
    let mut other = say(10, at(2), false);
    other.person = "u2".to_owned();
    let mut history = History { attempts: vec![say(0, at(1), false), other], ..History::default() };
    history.end = Some(vec![
        Kept { cursor: at(1), data: data(at(1), "u1", Some("c"), "hi") },
        Kept { cursor: at(2), data: data(at(2), "u2", Some("c"), "hi").replace("1001", "1000") },
    ]);
    check(&history).assert_holds();
}

#[test]
fn two_posts_given_one_event_are_found() {
    let kinds = found(11, |h| {
        let mut acks =
            h.attempts.iter_mut().filter(|a| a.client_id.is_none()).filter_map(|a| match &mut a.outcome {
                Outcome::Acknowledged(ack) => Some(ack),
                _ => None,
            });
        let first = acks.next().unwrap().clone();
        *acks.next().unwrap() = first;
    });
    assert!(kinds.contains(&(Promise::P2, Kind::SharedEvent)), "{kinds:?}");
}

#[test]
fn an_order_against_real_time_is_found() {
    let kinds = found(12, |h| {
        let acked: Vec<usize> = (0..h.attempts.len())
            .filter(|&i| h.attempts[i].client_id.is_none())
            .filter(|&i| matches!(h.attempts[i].outcome, Outcome::Acknowledged(_)))
            .collect();
        let (a, b) = (acked[2], acked[3]);
        let (times_a, times_b) =
            ((h.attempts[a].sent, h.attempts[a].answered), (h.attempts[b].sent, h.attempts[b].answered));
        (h.attempts[a].sent, h.attempts[a].answered) = times_b;
        (h.attempts[b].sent, h.attempts[b].answered) = times_a;
    });
    assert!(kinds.contains(&(Promise::P1, Kind::RealTimeOrder)), "{kinds:?}");
}

#[test]
fn something_refused_that_is_kept_is_found() {
    let kinds = found(13, |h| {
        let attempt = h.attempts.iter_mut().rfind(|a| matches!(a.outcome, Outcome::Acknowledged(_))).unwrap();
        attempt.client_id = None;
        attempt.act = Act::Say(format!("text {}", h.end.as_ref().unwrap().len() - 1));
        attempt.outcome = Outcome::Refused { status: 429, code: String::new() };
        let text = attempt.act.clone();
        let place = h.attempts.iter().position(|a| a.act == text).unwrap();
        h.attempts = h
            .attempts
            .drain(..)
            .enumerate()
            .filter(|(i, a)| *i == place || a.act != text)
            .map(|(_, a)| a)
            .collect();
        h.attempts[place].client_id = None;
        h.attempts[place].outcome = Outcome::Refused { status: 429, code: String::new() };
    });
    assert!(kinds.contains(&(Promise::P3, Kind::RefusedButKept)), "{kinds:?}");
}

#[test]
fn a_phantom_is_found() {
    let kinds = found(14, |h| {
        let cursor = h.end.as_ref().unwrap().last().unwrap().cursor.next();
        let data = data(cursor, "u1", None, "never kept");
        h.readers[0].note(ms(1_000_000), Sight::Event { cursor, data });
    });
    assert!(kinds.contains(&(Promise::P3, Kind::Phantom)), "{kinds:?}");
}

/// One reader's sights, judged against a log of ten events (and three of a second epoch).
fn judged(gaps: Gaps, sights: Vec<Sight>) -> Vec<(Promise, Kind)> {
    let mut reader = ReaderLog::new("r");
    for (i, sight) in sights.into_iter().enumerate() {
        reader.note(ms(100 + i as u64), sight);
    }
    let first = (1..=10).map(at);
    let second = (21..=23).map(|seq| Cursor::new(2, seq));
    let kept = first.chain(second).map(|cursor| Kept { cursor, data: data(cursor, "u", None, "x") });
    let end = match gaps {
        Gaps::Forbidden => kept.take(10).collect(),
        Gaps::Allowed => kept.collect(),
    };
    let history = History { readers: vec![reader], end: Some(end), gaps, ..History::default() };
    check(&history).violations.iter().map(|v| (v.promise, v.kind)).collect()
}

fn event(cursor: Cursor) -> Sight {
    Sight::Event { cursor, data: data(cursor, "u", None, "x") }
}

const fn gap(cursor: Cursor) -> Sight {
    Sight::Gap { cursor, data: String::new() }
}

#[test]
fn a_new_epoch_comes_after_the_rest_of_the_old_one_and_a_gap() {
    let start = || vec![Sight::Connected(Asked::Fresh), Sight::Hello(at(8)), event(at(9))];
    let with = |more: Vec<Sight>| judged(Gaps::Allowed, start().into_iter().chain(more).collect());
    let new = Cursor::new(2, 20);
    assert_eq!(with(vec![event(at(10)), gap(new), event(new.next())]), []);
    assert_eq!(with(vec![event(at(10)), event(new.next())]), [(Promise::P1, Kind::SilentEpoch)]);
    assert_eq!(with(vec![gap(new), event(new.next())]), [(Promise::P4, Kind::FalseGap)], "10 was kept");
    assert_eq!(with(vec![gap(at(4))]), [(Promise::P1, Kind::GapBack)]);
}

#[test]
fn a_gap_is_false_where_nothing_was_lost() {
    let sights = vec![Sight::Connected(Asked::Fresh), Sight::Hello(at(3)), gap(at(4)), event(at(5))];
    assert_eq!(judged(Gaps::Forbidden, sights), [(Promise::P4, Kind::FalseGap)]);
}

#[test]
fn a_cursor_that_means_nothing_needs_a_gap() {
    for asked in ["what", "1-999", "7-1"].map(|text| Asked::Chosen(text.to_owned())) {
        let start = || vec![Sight::Connected(asked.clone()), Sight::Hello(at(6))];
        let with = |more: Vec<Sight>| judged(Gaps::Forbidden, start().into_iter().chain(more).collect());
        assert_eq!(with(vec![gap(at(6)), event(at(7)), event(at(8))]), [], "{asked:?}");
        assert_eq!(with(vec![event(at(7))]).len(), 1, "{asked:?}");
    }
}

#[test]
fn a_chosen_cursor_that_is_real_is_resumed_exactly() {
    let known = || {
        vec![Sight::Connected(Asked::Fresh), Sight::Hello(at(0)), event(at(1)), event(at(2)), event(at(3))]
    };
    let with = |more: Vec<Sight>| judged(Gaps::Forbidden, known().into_iter().chain(more).collect());
    let asked = || Sight::Connected(Asked::Chosen("1-1".to_owned()));
    assert_eq!(with(vec![asked(), Sight::Hello(at(1)), event(at(2))]), []);
    assert_eq!(with(vec![asked(), Sight::Hello(at(1)), event(at(3))]), [(Promise::P5, Kind::Hole)]);
    assert_eq!(with(vec![asked(), Sight::Hello(at(1)), event(at(1))]), [(Promise::P5, Kind::Repeat)]);
    assert_eq!(
        with(vec![asked(), Sight::Hello(at(2)), event(at(2))]),
        [(Promise::P5, Kind::ResumedElsewhere)]
    );
    assert_eq!(
        with(vec![asked(), Sight::Hello(at(1)), gap(at(1)), event(at(2))]),
        [(Promise::P4, Kind::FalseGap)]
    );
}

#[test]
fn a_stream_that_breaks_its_own_shape_is_found() {
    let lone = vec![Sight::Connected(Asked::Fresh), event(at(3))];
    assert_eq!(judged(Gaps::Forbidden, lone), [(Promise::Stream, Kind::NoHello)]);
    let fault = vec![Sight::Connected(Asked::Fresh), Sight::Hello(at(3)), Sight::Fault("x".to_owned())];
    assert_eq!(judged(Gaps::Forbidden, fault), [(Promise::Stream, Kind::Fault)]);
    let misplaced = Sight::Event { cursor: at(4), data: data(at(5), "u", None, "x") };
    let kinds = judged(Gaps::Forbidden, vec![Sight::Connected(Asked::Fresh), Sight::Hello(at(3)), misplaced]);
    assert!(kinds.contains(&(Promise::P1, Kind::WrongPlace)), "{kinds:?}");
}

#[test]
fn the_first_violation_is_printed_with_what_was_around_it() {
    let mut history = correct(15);
    let reader = &mut history.readers[1];
    let inner = |&i: &usize| matches!(reader.seen[i + 1].what, Sight::Event { .. });
    let place = places_of_events(reader).into_iter().skip(3).find(inner).unwrap();
    reader.seen.remove(place);
    let text = check(&history).to_string();
    assert!(text.contains("reader r1 of lobby") && text.contains('→') && text.contains("missing"), "{text}");
}
