//! The order alone, against logs of one epoch; with epochs it is tested in `feed`.

use proptest::prelude::*;

use super::*;
use crate::{
    event::Epoch,
    hub::tests::{frame, frame_of},
};

fn seqs(frames: &[Frame]) -> Vec<u64> {
    frames.iter().map(|frame| frame.cursor.seq.0).collect()
}

fn log(first: u64, tip: u64) -> Extent {
    Extent { epoch: Epoch(1), base: Seq(0), tip: Seq(tip), first: Seq(first), past: vec![] }
}

fn opened(tip: u64) -> Order {
    let mut order = Order::opening();
    assert_eq!(order.open(Cursor::new(1, tip), &log(1, tip)), (vec![], false));
    order
}

fn read(order: &mut Order) -> Read {
    match order.look() {
        Look::Read(read) => read,
        other => panic!("nothing to read: {other:?}"),
    }
}

#[test]
fn the_next_is_delivered_and_the_known_dropped() {
    let mut order = opened(2);
    assert_eq!(order.observe(frame(2)), Verdict::Nothing);
    assert_eq!(order.observe(frame(3)), Verdict::Deliver(vec![frame(3)]));
    assert_eq!(order.observe(frame(3)), Verdict::Nothing);
}

#[test]
fn a_hole_that_fills_in_time_is_not_read() {
    let mut order = opened(0);
    assert_eq!(order.observe(frame(3)), Verdict::Wait);
    assert_eq!(order.observe(frame(2)), Verdict::Nothing);
    assert_eq!(order.look(), Look::Again);
    assert_eq!(order.observe(frame(1)), Verdict::Deliver(vec![frame(1), frame(2), frame(3)]));
    assert_eq!(order.look(), Look::Nothing);
    assert_eq!(order.observe(frame(5)), Verdict::Wait);
}

#[test]
fn each_hole_has_its_own_10_ms() {
    let mut order = opened(0);
    order.observe(frame(2));
    assert_eq!(order.look(), Look::Again);
    order.observe(frame(1));
    order.observe(frame(4));
    assert_eq!(order.look(), Look::Again);
    assert_eq!(read(&mut order).after, Cursor::new(1, 2));
}

#[test]
fn a_hole_that_stays_is_read() {
    let mut order = opened(0);
    assert_eq!(order.observe(frame(3)), Verdict::Wait);
    assert_eq!(order.look(), Look::Again);
    let read = read(&mut order);
    assert_eq!((read.after, read.afresh), (Cursor::new(1, 0), false));
    assert_eq!(order.observe(frame(4)), Verdict::Nothing);
    let (delivered, next) = order.settle(&read, vec![frame(1), frame(2), frame(3)], Seq::MAX, &log(1, 0));
    assert_eq!((seqs(&delivered), next), (vec![1, 2, 3, 4], Next::Done));
}

#[test]
fn more_than_can_wait_is_read_from_the_log() {
    let mut order = opened(0);
    let tip = PARKED as u64 + 100;
    for seq in 2..=tip {
        order.observe(frame(seq));
    }
    assert_eq!(order.look(), Look::Again);
    let first = read(&mut order);
    let (delivered, next) = order.settle(&first, vec![frame(1)], Seq(1), &log(1, 0));
    assert_eq!((delivered.len(), next), (PARKED + 1, Next::Look));
    let rest = read(&mut order);
    let (delivered, next) =
        order.settle(&rest, (rest.after.seq.0 + 1..=tip).map(frame).collect(), Seq::MAX, &log(1, 0));
    assert_eq!((delivered.last(), next), (Some(&frame(tip)), Next::Done));
}

#[test]
fn a_store_that_is_behind_is_asked_again() {
    let mut order = opened(0);
    order.observe(frame(2));
    order.look();
    let first = read(&mut order);
    assert_eq!(order.settle(&first, vec![], Seq::MAX, &log(1, 0)), (vec![], Next::Look));
    for _ in 0..3 {
        let again = read(&mut order);
        assert!(again.afresh);
        assert_eq!(order.settle(&again, vec![], Seq::MAX, &log(1, 2)), (vec![], Next::Retry));
    }
    // Meanwhile what is next is delivered.
    assert_eq!(order.observe(frame(1)), Verdict::Deliver(vec![frame(1), frame(2)]));
}

#[test]
fn what_retention_took_is_a_gap() {
    let mut order = opened(0);
    order.observe(frame(5));
    order.look();
    let first = read(&mut order);
    assert_eq!(order.settle(&first, vec![frame(4)], Seq::MAX, &log(1, 0)).1, Next::Look);
    let again = read(&mut order);
    let (delivered, next) = order.settle(&again, vec![frame(4)], Seq::MAX, &log(4, 5));
    assert_eq!((seqs(&delivered), next), (vec![3, 4, 5], Next::Done));
    assert!(delivered[0].is_gap());
}

#[test]
fn what_the_log_never_had_is_given_up() {
    let mut order = opened(3);
    for phantom in [frame(7), frame_of(9, 4_000_000)] {
        assert_eq!(order.observe(phantom), Verdict::Wait);
        order.look();
        let mut next = Next::Look;
        for _ in 0..2 {
            if next == Next::Look {
                let read = read(&mut order);
                next = order.settle(&read, vec![], Seq::MAX, &log(1, 3)).1;
            }
        }
        assert_eq!(next, Next::Done);
    }
    assert_eq!(order.observe(frame(4)), Verdict::Deliver(vec![frame(4)]));
}

#[test]
fn what_an_epoch_ended_without_is_not_shown() {
    let mut order = opened(3);
    order.observe(frame(5));
    order.observe(frame_of(2, 1001));
    order.look();
    let read = read(&mut order);
    assert!(read.afresh);
    let past = vec![(Epoch(1), 1..=4)];
    let log = Extent { epoch: Epoch(2), base: Seq(1000), tip: Seq(1001), first: Seq(1), past };
    let (delivered, next) = order.settle(&read, vec![frame(4), frame_of(2, 1001)], Seq::MAX, &log);
    assert_eq!((seqs(&delivered), next), (vec![4, 1000, 1001], Next::Done));
    assert!(delivered[1].is_gap());
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Announce(u64),
    /// 10 ms pass, or a read comes back.
    Later,
    /// A read fails.
    Fail,
    Suspect,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1u64..40).prop_map(Step::Announce),
        4 => Just(Step::Later),
        1 => Just(Step::Fail),
        1 => Just(Step::Suspect),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Announcements come late, twice, in any order or not at all; the log has everything up to the highest.
    #[test]
    fn whatever_is_announced_each_event_is_delivered_once_in_order(
        start in 0u64..40,
        steps in proptest::collection::vec(step(), 0..100),
        at_once in 1usize..8,
    ) {
        let mut order = opened(start);
        let mut delivered = Vec::new();
        let mut highest = start;
        let mut reading = None;
        let mut is_looked_after = false;
        for step in steps.into_iter().chain([Step::Announce(40)]).chain([Step::Later; 120]) {
            match step {
                Step::Announce(seq) => {
                    // What is announced is in the log.
                    highest = highest.max(seq);
                    match order.observe(frame(seq)) {
                        Verdict::Deliver(frames) => delivered.extend(seqs(&frames)),
                        Verdict::Nothing => {}
                        Verdict::Wait => {
                            prop_assert!(!is_looked_after, "one looks after it at a time");
                            is_looked_after = true;
                        }
                    }
                }
                Step::Later => match reading.take() {
                    Some(read) => {
                        let read: Read = read;
                        let found = read.after.seq.0 + 1..=highest;
                        let found: Vec<_> = found.take(at_once).map(frame).collect();
                        let end = found.last().filter(|_| found.len() == at_once);
                        let covered = end.map_or(Seq::MAX, |last| last.cursor.seq);
                        let (now, next) = order.settle(&read, found, covered, &log(1, highest));
                        delivered.extend(seqs(&now));
                        is_looked_after = next != Next::Done;
                    }
                    None if is_looked_after => match order.look() {
                        Look::Nothing => is_looked_after = false,
                        Look::Again => {}
                        Look::Read(read) => reading = Some(read),
                    },
                    None => {}
                },
                Step::Fail => if reading.take().is_some() {
                    order.put_off();
                },
                Step::Suspect => is_looked_after |= order.suspect(),
            }
        }
        prop_assert!(!is_looked_after);
        prop_assert_eq!(delivered, (start + 1..=40.max(start)).collect::<Vec<_>>());
    }
}
