//! Where a stream starts: what the client asks for, against what the log has.

use crate::event::{Cursor, Epoch, Extent, Gap, GapReason, Seq};

/// How many events a stream begins with when nobody says otherwise, and after a cursor that says nothing.
pub const DEFAULT_HISTORY: usize = 50;

/// What the client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// Everything there is.
    All,
    /// Nothing old.
    Live,
    /// The newest so many.
    Last(usize),
    /// What comes after this cursor.
    After(Cursor),
    /// A cursor was given, but it is none.
    Malformed,
}

/// What is to be done for a [`Start`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Go on after this place, which is sure to be in the log's range.
    After(Cursor),
    /// Announce the gap, then go on after this place.
    GapThenAfter(Gap, Cursor),
    /// Give the newest so many.
    Last(usize),
    /// Announce a gap from this cursor (if it is one) to where the newest [`DEFAULT_HISTORY`] begin, then give
    /// those.
    GapThenLast(Option<Cursor>),
}

/// Decides where a stream starts.
pub fn plan(start: &Start, log: &Extent) -> Plan {
    match start {
        Start::All => Plan::After(log.before(log.first)),
        Start::Live => Plan::After(log.tip()),
        Start::Last(count) => Plan::Last(*count),
        Start::Malformed => Plan::GapThenLast(None),
        Start::After(cursor) => after(*cursor, log),
    }
}

fn after(cursor: Cursor, log: &Extent) -> Plan {
    let Some(end) = end_of(cursor.epoch, log) else {
        return Plan::GapThenLast(Some(cursor));
    };
    let is_present = cursor.epoch == log.epoch;
    let start = start_of(cursor.epoch, log);
    if cursor.seq < start || (is_present && cursor.seq > end) {
        return Plan::GapThenLast(Some(cursor));
    }
    let oldest = log.before(log.first);
    if cursor.seq < oldest.seq {
        let gap = Gap { from: Some(cursor), to: oldest, reason: GapReason::Retention };
        return Plan::GapThenAfter(gap, oldest);
    }
    if cursor.seq > end {
        // It saw events of an older epoch that the store has lost since: there is nothing after its place but the
        // next epoch.
        let next = log.past.iter().map(|(past, _)| *past).find(|past| *past > cursor.epoch);
        let epoch = next.unwrap_or(log.epoch);
        let to = Cursor { epoch, seq: start_of(epoch, log) };
        return Plan::GapThenAfter(Gap { from: Some(cursor), to, reason: GapReason::Epoch }, to);
    }
    Plan::After(cursor)
}

/// The last seq given in an epoch, if the log had that epoch.
pub(super) fn end_of(epoch: Epoch, log: &Extent) -> Option<Seq> {
    if epoch == log.epoch {
        return Some(log.tip);
    }
    log.past.iter().find(|(past, _)| *past == epoch).map(|(_, seqs)| Seq(*seqs.end()))
}

fn start_of(epoch: Epoch, log: &Extent) -> Seq {
    let past = log.past.iter().find(|(past, _)| *past == epoch);
    past.map_or(log.base, |(_, seqs)| Seq(seqs.start() - 1))
}

/// The gaps to announce between a reader's place and the next event (or, at the end of the log, the present
/// epoch): one for each epoch that begins in between.
pub fn crossings(at: Cursor, next: Epoch, log: &Extent) -> Vec<Gap> {
    let mut gaps = Vec::new();
    let mut from = at;
    for epoch in at.epoch.0 + 1..=next.0 {
        let epoch = Epoch(epoch);
        if end_of(epoch, log).is_some() {
            let to = Cursor { epoch, seq: start_of(epoch, log) };
            gaps.push(Gap { from: Some(from), to, reason: GapReason::Epoch });
            from = to;
        }
    }
    gaps
}

/// The gaps to announce between a reader's place and the next event that the log gives: new epochs, and what
/// is not there any more.
pub fn gaps_before(at: Cursor, next: Cursor, log: &Extent) -> Vec<Gap> {
    gaps_to(at, Cursor { seq: next.seq.before(), ..next }, log)
}

/// The gaps to announce so that a reader stands at `place`, which has nothing before it that can be given.
pub fn gaps_to(at: Cursor, place: Cursor, log: &Extent) -> Vec<Gap> {
    let mut gaps = crossings(at, place.epoch, log);
    let from = gaps.last().map_or(at, |gap| gap.to);
    if place.seq > from.seq {
        // Retention takes from the beginning on; what is missing above it the store has lost.
        let reason = if place.seq < log.first { GapReason::Retention } else { GapReason::Epoch };
        gaps.push(Gap { from: Some(from), to: place, reason });
    }
    gaps
}

/// The log as it was at the end of an epoch, which is the present one or a past one.
pub(super) fn until(log: &Extent, epoch: Epoch) -> Extent {
    match log.past.iter().position(|(past, _)| *past == epoch) {
        Some(i) if epoch != log.epoch => {
            let seqs = &log.past[i].1;
            let (base, tip) = (Seq(seqs.start() - 1), Seq(*seqs.end()));
            Extent { epoch, base, tip, first: log.first.min(tip.next()), past: log.past[..i].to_vec() }
        }
        _ => log.clone(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Epoch 1 had 1–50, epoch 2 has 1,000,051–1,000,060.
    fn second_epoch() -> Extent {
        Extent {
            epoch: Epoch(2),
            base: Seq(1_000_050),
            tip: Seq(1_000_060),
            first: Seq(1),
            past: vec![(Epoch(1), 1..=50)],
        }
    }

    fn first_epoch(first: u64, tip: u64) -> Extent {
        Extent { epoch: Epoch(1), base: Seq(0), tip: Seq(tip), first: Seq(first), past: vec![] }
    }

    #[test]
    fn a_cursor_in_range_is_taken_as_it_is() {
        let log = first_epoch(1, 50);
        for seq in [0, 1, 49, 50] {
            let cursor = Cursor::new(1, seq);
            assert_eq!(plan(&Start::After(cursor), &log), Plan::After(cursor));
        }
    }

    #[test]
    fn unknown_future_and_malformed_cursors_give_the_last_50() {
        let log = first_epoch(1, 50);
        assert_eq!(plan(&Start::Malformed, &log), Plan::GapThenLast(None));
        for unknown in [Cursor::new(1, 51), Cursor::new(2, 1)] {
            assert_eq!(plan(&Start::After(unknown), &log), Plan::GapThenLast(Some(unknown)));
        }
        let never_given = Cursor::new(2, 60);
        assert_eq!(plan(&Start::After(never_given), &second_epoch()), Plan::GapThenLast(Some(never_given)));
    }

    #[test]
    fn what_retention_took_is_announced() {
        let log = first_epoch(11, 50);
        let to = Cursor::new(1, 10);
        let gap = |from| Gap { from: Some(from), to, reason: GapReason::Retention };
        assert_eq!(
            plan(&Start::After(Cursor::new(1, 9)), &log),
            Plan::GapThenAfter(gap(Cursor::new(1, 9)), to)
        );
        assert_eq!(plan(&Start::After(to), &log), Plan::After(to));
    }

    #[test]
    fn an_older_epoch_is_given_to_its_end_and_then_crossed() {
        let log = second_epoch();
        let cursor = Cursor::new(1, 40);
        assert_eq!(plan(&Start::After(cursor), &log), Plan::After(cursor));
        // It had seen what the backup has not.
        let lost = Cursor::new(1, 70);
        let to = Cursor::new(2, 1_000_050);
        let gap = |from| Gap { from: Some(from), to, reason: GapReason::Epoch };
        assert_eq!(plan(&Start::After(lost), &log), Plan::GapThenAfter(gap(lost), to));
        let end = Cursor::new(1, 50);
        let gap = gap(end);
        assert_eq!(crossings(end, Epoch(2), &log), vec![gap]);
        assert_eq!(crossings(Cursor::new(2, 1_000_055), Epoch(2), &log), vec![]);
    }

    #[test]
    fn what_retention_takes_on_the_way_is_announced_too() {
        let log = first_epoch(30, 50);
        let at = Cursor::new(1, 10);
        assert_eq!(gaps_before(at, Cursor::new(1, 11), &log), vec![]);
        let gap = Gap { from: Some(at), to: Cursor::new(1, 29), reason: GapReason::Retention };
        assert_eq!(gaps_before(at, Cursor::new(1, 30), &log), vec![gap]);
        let trimmed = Extent { first: Seq(1_000_053), ..second_epoch() };
        let crossed = gaps_before(at, Cursor::new(2, 1_000_053), &trimmed);
        let reasons: Vec<_> = crossed.iter().map(|gap| gap.reason).collect();
        assert_eq!(reasons, [GapReason::Epoch, GapReason::Retention]);
    }

    #[test]
    fn what_is_missing_above_the_oldest_was_lost() {
        let log = Extent { first: Seq(5), ..second_epoch() };
        let reason = |at, next| gaps_before(Cursor::new(1, at), Cursor::new(1, next), &log)[0].reason;
        assert_eq!(reason(2, 5), GapReason::Retention);
        assert_eq!(reason(2, 6), GapReason::Epoch);
        assert_eq!(reason(10, 20), GapReason::Epoch);
    }

    #[test]
    fn a_log_can_be_seen_as_it_was_when_an_epoch_ended() {
        let log = second_epoch();
        assert_eq!(until(&log, Epoch(2)), log);
        let then = Extent { epoch: Epoch(1), base: Seq(0), tip: Seq(50), first: Seq(1), past: vec![] };
        assert_eq!(until(&log, Epoch(1)), then);
    }

    proptest! {
        #[test]
        fn a_plan_never_starts_outside_the_log(epoch in 1u32..4, seq in 0u64..2_000_000, first in 1u64..60) {
            let log = Extent { first: Seq(first.min(51)), ..second_epoch() };
            match plan(&Start::After(Cursor::new(epoch, seq)), &log) {
                Plan::After(at) | Plan::GapThenAfter(_, at) => {
                    prop_assert!(at.seq <= log.tip && at.seq >= log.first.before());
                }
                Plan::GapThenLast(_) => {}
                Plan::Last(_) => prop_assert!(false, "nobody asked for that"),
            }
        }
    }
}
