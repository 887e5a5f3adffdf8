//! What an inbox gives, and what it keeps.

use super::*;
use crate::event::{FrameKind, MOST_ENTRIES, Right};

fn seqs(frames: &[Frame]) -> Vec<u64> {
    frames.iter().map(|frame| frame.cursor.seq.0).collect()
}

#[test]
fn what_happens_in_ones_rooms_is_given_live_and_later_alike() {
    let store = Store::new();
    let (ann, bob, cho) = (user("Ann"), user("Bob"), user("Cho"));
    let one = store.group(&ann, &[&bob]);
    let two = store.group(&cho, &[&ann]);
    store.append(&one, &bob, message("first", None)).unwrap();
    store.append(&two, &cho, message("second", None)).unwrap();
    store.append(&one, &bob, Draft::Edit { target: Seq(2), text: "1st".parse().unwrap() }).unwrap();
    store.append(&one, &ann, Draft::Join { member: cho.clone() }).unwrap();
    let again = store.append(&one, &ann, message("first", Some("k"))).unwrap();
    assert_eq!(store.append(&one, &ann, message("first", Some("k"))).unwrap().cursor, again.cursor);
    let inbox = Room::inbox(ann.id);
    let frames = store.frames(&inbox);
    assert_eq!((frames.clone(), seqs(&frames)), (store.told(inbox.id), (1..=7).collect()));
    assert_eq!(store.extent(&inbox).tip(), Cursor::new(1, 7));
    let last = store.runtime.block_on(store.log.last(inbox.clone(), 3)).unwrap();
    assert_eq!(last, frames[4..]);
    // Who joins sees what comes then; what came before is not theirs.
    let of_cho = store.told(LogId(cho.id.0));
    assert_eq!((of_cho.len(), store.frames(&Room::inbox(cho.id))), (4, of_cho));
    store.append(&one, &bob, Draft::Delete { target: Seq(2), right: Right::Author }).unwrap();
    let scrubbed = store.frames(&inbox);
    assert_eq!((&scrubbed[2], &scrubbed[4]), (&frames[2].scrubbed(), &frames[4].scrubbed()));
}

#[test]
fn who_leaves_keeps_the_places_but_not_what_was_there() {
    let store = Store::new();
    let (ann, bob) = (user("Ann"), user("Bob"));
    let room = store.group(&ann, &[&bob]);
    store.append(&room, &ann, message("x", None)).unwrap();
    store.append(&room, &bob, Draft::Leave { member: bob.clone() }).unwrap();
    store.append(&room, &ann, message("alone", None)).unwrap();
    let inbox = Room::inbox(bob.id);
    let told = store.told(inbox.id);
    let kinds = |frames: &[Frame]| frames.iter().map(|frame| frame.kind).collect::<Vec<_>>();
    let leave = FrameKind::Event(EventKind::Leave);
    let frames = store.frames(&inbox);
    assert_eq!(kinds(&frames), [FrameKind::Gone, FrameKind::Gone, leave]);
    assert_eq!((seqs(&frames), &frames[2]), (seqs(&told), &told[2]));
    store.append(&room, &ann, Draft::Join { member: bob.clone() }).unwrap();
    let join = FrameKind::Event(EventKind::Join);
    assert_eq!(kinds(&store.frames(&inbox)), [FrameKind::Gone, FrameKind::Gone, leave, join]);
}

#[test]
fn a_new_epoch_uses_no_place_twice() {
    let store = Store::new();
    let (ann, bob) = (user("Ann"), user("Bob"));
    let room = store.group(&ann, &[&bob]);
    let (inbox, none) = (Room::inbox(bob.id), Room::inbox(UserId::random()));
    let store = store.lost();
    let base = EPOCH_STRIDE + 1;
    let extent = store.extent(&inbox);
    assert_eq!((extent.tip(), extent.past), (Cursor::new(2, base), vec![(Epoch(1), 1..=1)]));
    assert_eq!(store.extent(&none).tip(), Cursor::new(2, EPOCH_STRIDE));
    store.append(&room, &ann, message("x", None)).unwrap();
    let cursors: Vec<_> = store.frames(&inbox).iter().map(|frame| frame.cursor).collect();
    assert_eq!(cursors, [Cursor::new(1, 1), Cursor::new(2, base + 1)]);
}

#[test]
fn the_newest_entries_are_kept() {
    let store = Store::new();
    let (ann, bob) = (user("Ann"), user("Bob"));
    let room = store.group(&ann, &[&bob]);
    let (inbox, most) = (Room::inbox(bob.id), MOST_ENTRIES as u64);
    store.runtime.block_on(async {
        for _ in 0..most + 99 {
            let draft = message("x", None);
            let who = Who(ann.id.0);
            let append = Append { room: room.clone(), user: ann.clone(), who, draft, ack: None };
            store.log.append(append).await.unwrap();
        }
    });
    let extent = store.extent(&inbox);
    assert!(extent.tip.0 == most + 100 && extent.first.0 > 36, "{extent:?}");
    let kept = seqs(&store.frames(&inbox));
    assert_eq!(kept, (extent.first.0..=extent.tip.0).collect::<Vec<_>>());
    assert!(kept.len() >= MOST_ENTRIES);
    let told = store.told.lock().unwrap();
    let trimmed = |notice: &Notice| matches!(notice, Notice::Trimmed(log, first) if *log == inbox.id.into() && *first == extent.first);
    assert!(told.iter().any(trimmed));
}

#[test]
fn retention_takes_the_entries_with_what_they_point_to() {
    let store = Store::new();
    let (ann, bob) = (user("Ann"), user("Bob"));
    let (one, two) = (store.group(&ann, &[&bob]), store.group(&ann, &[&bob]));
    store.append(&one, &ann, message("old", None)).unwrap();
    let horizon = store.append(&two, &ann, message("old", None)).unwrap().ts + 1;
    while crate::clock::millis() < horizon {
        std::thread::yield_now();
    }
    store.append(&two, &ann, message("new", None)).unwrap();
    store.runtime.block_on(store.log.trim(horizon)).unwrap();
    let inbox = Room::inbox(bob.id);
    assert_eq!((seqs(&store.frames(&inbox)), store.extent(&inbox).first), (vec![5], Seq(5)));
    assert_eq!(store.list(&bob, None, 9).iter().map(|listed| listed.unread).collect::<Vec<_>>(), [1, 0]);
    store.runtime.block_on(store.log.trim(i64::MAX)).unwrap();
    let extent = store.extent(&inbox);
    assert_eq!((extent.first, extent.tip), (Seq(6), Seq(5)));
    assert!(store.list(&bob, None, 9).iter().all(|listed| listed.last.is_none()));
    store.append(&one, &ann, message("anew", None)).unwrap();
    assert_eq!(seqs(&store.frames(&inbox)), [6]);
}
