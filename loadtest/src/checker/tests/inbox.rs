//! An inbox, right and wrong.

use super::model::{at, ms};
use super::*;

fn data(room: &str, seq: u64, text: &str) -> String {
    let (id, ts) = (format!("{room}-{seq}"), 1000 + seq);
    serde_json::json!({
        "room": room, "epoch": 1, "seq": seq, "id": id, "type": "message",
        "user": {"id": "u"}, "text": text, "ts": ts, "client_id": null,
    })
    .to_string()
}

fn event(place: u64, room: &str, seq: u64) -> Sight {
    Sight::Event { cursor: at(place), data: data(room, seq, "hi") }
}

/// Two rooms, one of which was joined when it had two messages; a reader that stays, and one that comes back.
fn correct() -> Inbox {
    let room = |room: &str, from| InboxRoom {
        room: room.to_owned(),
        from,
        log: (1..=5).map(|seq| Kept { cursor: at(seq), data: data(room, seq, "hi") }).collect(),
    };
    let entries = [("a", 1), ("b", 3), ("a", 2), ("b", 4), ("a", 3), ("a", 4), ("b", 5), ("a", 5)];
    let events: Vec<_> = (1..).zip(entries).map(|(place, (room, seq))| event(place, room, seq)).collect();
    let mut stays = ReaderLog::new("stays");
    stays.connected(ms(1), Asked::Fresh);
    stays.note(ms(2), Sight::Hello(at(0)));
    events.iter().for_each(|event| stays.note(ms(3), event.clone()));
    stays.reads_to_the_end();
    let mut comes_back = ReaderLog::new("comes back");
    comes_back.connected(ms(1), Asked::Fresh);
    comes_back.note(ms(2), Sight::Hello(at(0)));
    events[..4].iter().for_each(|event| comes_back.note(ms(3), event.clone()));
    comes_back.ended(ms(4), End::Cut);
    comes_back.connected(ms(5), Asked::Own(at(4)));
    comes_back.note(ms(6), Sight::Hello(at(4)));
    events[4..].iter().for_each(|event| comes_back.note(ms(7), event.clone()));
    comes_back.reads_to_the_end();
    let (person, rooms) = ("Ann".to_owned(), vec![room("a", 1), room("b", 3)]);
    Inbox { person, rooms, readers: vec![stays, comes_back], gaps: Gaps::Forbidden }
}

fn found(harm: impl FnOnce(&mut Inbox)) -> Vec<(Promise, Kind)> {
    let mut inbox = correct();
    harm(&mut inbox);
    check_inbox(&inbox).violations.iter().map(|v| (v.promise, v.kind)).collect()
}

#[test]
fn a_correct_inbox_passes() {
    let verdict = check_inbox(&correct());
    verdict.assert_holds();
    assert_eq!((verdict.counts.deliveries, verdict.counts.connections, verdict.counts.kept), (16, 3, 10));
}

#[test]
fn what_one_reader_lacks_is_found_by_what_the_other_has() {
    assert_eq!(found(|inbox| drop(inbox.readers[0].seen.remove(4))), [(Promise::P1, Kind::Hole)]);
    // The first after the way back.
    assert_eq!(found(|inbox| drop(inbox.readers[1].seen.remove(9))), [(Promise::P5, Kind::Hole)]);
}

#[test]
fn what_nobody_was_given_is_found_by_the_rooms() {
    let kinds = found(|inbox| {
        for reader in &mut inbox.readers {
            reader.seen.retain(|seen| !matches!(seen.what, Sight::Event { cursor, .. } if cursor == at(3)));
        }
    });
    assert_eq!(kinds, [(Promise::P2, Kind::Lost)]);
}

#[test]
fn repeats_and_another_order_are_found() {
    let again = found(|inbox| {
        let event = inbox.readers[1].seen[5].clone();
        inbox.readers[1].seen.insert(9, event);
    });
    assert_eq!(again[0], (Promise::P5, Kind::Repeat));
    // One event at two places.
    let twice = found(|inbox| inbox.readers.iter_mut().for_each(|r| r.note(ms(9), event(9, "a", 5))));
    assert_eq!(twice, [(Promise::P1, Kind::Repeat)]);
    let older = found(|inbox| inbox.readers.iter_mut().for_each(|r| r.note(ms(9), event(9, "a", 2))));
    assert_eq!(older, [(Promise::P1, Kind::OutOfOrder)]);
}

#[test]
fn what_is_not_the_persons_is_found() {
    let sees = |sight: Sight| {
        let show = |inbox: &mut Inbox| inbox.readers.iter_mut().for_each(|r| r.note(ms(9), sight.clone()));
        found(show)
    };
    assert_eq!(sees(event(9, "c", 1)), [(Promise::P9, Kind::Foreign)]);
    assert!(sees(event(9, "b", 2)).contains(&(Promise::P9, Kind::Foreign)));
    assert_eq!(sees(event(9, "a", 6)), [(Promise::P3, Kind::Phantom)]);
}

#[test]
fn other_bytes_are_found_and_a_deletion_is_none() {
    let other = |text: &'static str, status: &'static str| {
        move |inbox: &mut Inbox| {
            let Sight::Event { data, .. } = &mut inbox.readers[0].seen[3].what else { unreachable!() };
            let mut json: serde_json::Value = serde_json::from_str(data).unwrap();
            json["text"] = text.into();
            json["status"] = status.into();
            *data = json.to_string();
        }
    };
    assert!(found(other("ho", "")).contains(&(Promise::P1, Kind::DifferentBytes)));
    let deleted = found(|inbox| {
        other("", "deleted")(inbox);
        let Sight::Event { data, .. } = inbox.readers[0].seen[3].what.clone() else { unreachable!() };
        inbox.rooms[1].log[2].data = data;
    });
    assert_eq!(deleted, []);
}

#[test]
fn a_gap_is_only_where_something_may_be_lost() {
    let gap = || Sight::Gap { cursor: at(8), data: "{}".to_owned() };
    assert_eq!(found(|inbox| inbox.readers[0].note(ms(9), gap())), [(Promise::P4, Kind::FalseGap)]);
    let lost = |inbox: &mut Inbox| {
        inbox.gaps = Gaps::Allowed;
        for reader in &mut inbox.readers {
            reader.seen.truncate(2);
            reader.note(ms(9), gap());
        }
    };
    assert_eq!(found(lost), []);
}

#[test]
fn a_reader_without_the_end_is_found() {
    assert_eq!(
        found(|inbox| {
            let mut short = ReaderLog::new("short");
            inbox.readers[0].seen[..5].iter().for_each(|seen| short.note(seen.at, seen.what.clone()));
            short.reads_to_the_end();
            inbox.readers[0] = short;
        }),
        [(Promise::P2, Kind::LacksTheEnd)]
    );
}
