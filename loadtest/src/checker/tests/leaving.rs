//! A server that was told to end, well and badly.

use super::model::{correct, ms};
use super::*;

/// One that was told at 1 s, with readers enough and a message in each of its seconds, and does all it should.
fn drained() -> History {
    let readers = (0..10u64).map(|n| {
        let mut reader = ReaderLog::new(&format!("r{n}"));
        reader.connected(ms(n), Asked::Fresh);
        reader.reached(ms(n), "a".to_owned());
        reader.note(ms(2), Sight::Hello(Cursor::new(1, 0)));
        let bye = Sight::Other { name: "bye".to_owned(), data: r#"{"code":"draining"}"#.to_owned() };
        reader.note(ms(3_000 + 200 * n), bye);
        reader.ended(ms(3_001 + 200 * n), End::Ended);
        reader
    });
    let attempt = |sent: u64, server: &str, outcome| Attempt {
        person: "u1".to_owned(),
        client_id: None,
        server: server.to_owned(),
        act: Act::Say("hi".to_owned()),
        sent: ms(sent),
        answered: ms(sent + 5),
        outcome,
    };
    let refused = || Outcome::Refused { status: 0, code: String::new() };
    let busy = Outcome::Refused { status: 503, code: "overloaded".to_owned() };
    // Another server's, before it was told, while it takes them, and afterwards.
    let attempts = vec![
        attempt(1_500, "b", refused()),
        attempt(900, "a", Outcome::Unknown("closed".to_owned())),
        attempt(1_500, "a", busy),
        attempt(3_500, "a", refused()),
    ];
    let drain = Drain {
        server: "a".to_owned(),
        told: ms(1_000),
        accepts: ms(2_000),
        window: ms(2_000),
        unready: Some(ms(1_100)),
        ended: Some((ms(5_500), 0)),
    };
    History { readers: readers.collect(), attempts, drains: vec![drain], ..History::default() }
}

fn found(harm: impl FnOnce(&mut History)) -> Vec<Kind> {
    let mut history = drained();
    harm(&mut history);
    let violations = check(&history).violations;
    assert!(violations.iter().all(|v| v.promise == Promise::P11), "{violations:?}");
    violations.iter().map(|v| v.kind).collect()
}

#[test]
fn who_takes_leave_of_everybody_keeps_the_promise() {
    assert_eq!(found(|_| {}), []);
    // Whoever was never told has nothing to do with it.
    let mut history = correct(1);
    history.drains = Vec::new();
    check(&history).assert_holds();
}

#[test]
fn a_bad_or_late_end_is_found() {
    assert_eq!(found(|h| h.drains[0].ended = Some((ms(5_500), 137))), [Kind::EndedBadly]);
    assert_eq!(found(|h| h.drains[0].ended = Some((ms(60_000), 0))), [Kind::EndedLate]);
    assert_eq!(found(|h| h.drains[0].ended = None), [Kind::EndedLate]);
    assert_eq!(found(|h| h.drains[0].unready = None), [Kind::StillReady]);
    assert_eq!(found(|h| h.drains[0].unready = Some(ms(4_000))), [Kind::StillReady]);
}

#[test]
fn who_is_not_taken_or_not_answered_too_early_is_found() {
    let becomes = |outcome: Outcome| move |h: &mut History| h.attempts[2].outcome = outcome;
    let closed = Outcome::Refused { status: 0, code: "refused".to_owned() };
    assert_eq!(found(becomes(closed)), [Kind::NotTaken]);
    assert_eq!(found(becomes(Outcome::Unknown("closed".to_owned()))), [Kind::NotAnswered]);
}

#[test]
fn readers_that_are_dropped_or_sent_off_all_at_once_are_found() {
    let silent = found(|h| h.readers[3].seen.retain(|seen| !matches!(seen.what, Sight::Other { .. })));
    assert_eq!(silent, [Kind::NoFarewell]);
    let broken = found(|h| {
        h.readers[3].seen.truncate(3);
        h.readers[3].ended(ms(3_000), End::Broken("reset".to_owned()));
    });
    assert_eq!(broken, [Kind::NoFarewell]);
    // One that left by itself was not dropped.
    let cut = found(|h| {
        h.readers[3].seen.truncate(3);
        h.readers[3].ended(ms(3_000), End::Cut);
    });
    assert_eq!(cut, []);
    let at_once = found(|h| {
        for reader in &mut h.readers {
            for seen in reader.seen.iter_mut().filter(|seen| seen.at > ms(3_000)) {
                seen.at = ms(3_100);
            }
        }
    });
    assert_eq!(at_once, [Kind::AllAtOnce]);
}
