//! Rooms with members, people and bans.

use std::collections::BTreeMap;

use proptest::{prelude::*, test_runner::TestRunner};

use super::*;
use crate::event::{Ban, Banned, ListPlace, Membership, Name, NameQuery, NewRoom, Role, Shape, User, UserId};

fn person(n: u128) -> User {
    User { id: UserId(Uuid::from_u128(n)), name: format!("P{n}").parse().unwrap(), kind: UserKind::Guest }
}

fn group(n: u128, others: &[u128]) -> NewRoom {
    NewRoom {
        id: RoomId(Uuid::from_u128(n << 64)),
        shape: Shape::Group,
        name: Some("수다".parse::<Name>().unwrap()),
        maker: person(1),
        others: others.iter().map(|n| person(*n).id).collect(),
    }
}

fn change(room: &Room, seq: u64, kind: EventKind, who: u128, by: Option<u128>) -> Entry {
    let mut entry = said(room, seq, "");
    entry.event.kind = kind;
    entry.event.text = None;
    entry.event.user = person(who);
    entry.event.by = by.map(person);
    entry
}

async fn know(bed: &Bed, people: &[u128]) {
    for n in people {
        bed.archive.know(&person(*n), None).await.unwrap();
    }
}

#[tokio::test]
async fn a_room_is_made_once_whoever_asks() {
    let bed = Bed::new().await;
    know(&bed, &[2, 3]).await;
    assert_eq!(bed.archive.make_room(&group(9, &[2, 8])).await.unwrap(), None, "nobody knows 8");
    let made = (0..8).map(|_| {
        let archive = bed.archive.clone();
        tokio::spawn(async move { archive.make_room(&group(9, &[2, 3, 1])).await.unwrap() })
    });
    let mut firsts = 0;
    for made in made.collect::<Vec<_>>() {
        firsts += usize::from(made.await.unwrap().unwrap());
    }
    assert_eq!(firsts, 1);
    let room = group(9, &[]).id;
    let gathering = bed.archive.gathering(room).await.unwrap().unwrap();
    assert_eq!((gathering.shape, gathering.name.unwrap().as_str()), (Shape::Group, "수다"));
    let mut roles: Vec<_> =
        gathering.members.iter().map(|it| (it.user.0.as_u128(), it.membership, it.read)).collect();
    roles.sort_unstable_by_key(|(user, ..)| *user);
    let member = |user, role| (user, Membership { role, from: Seq(1) }, Seq(0));
    assert_eq!(roles, [member(1, Role::Owner), member(2, Role::Member), member(3, Role::Member)]);
    assert_eq!(bed.archive.gathering(RoomId(Uuid::nil())).await.unwrap(), None);
    assert_eq!(bed.archive.members(RoomId(Uuid::nil())).await.unwrap(), None);
    let extent = bed.archive.extent(room).await.unwrap();
    assert_eq!(extent, Extent::empty(0));
}

#[tokio::test]
async fn joins_and_leaves_are_kept_with_who_brought_them_about() {
    let bed = Bed::new().await;
    know(&bed, &[2]).await;
    bed.archive.make_room(&group(9, &[2])).await.unwrap();
    let room = Room::of_members(group(9, &[]).id);
    let batch = [
        change(&room, 1, EventKind::Join, 1, None),
        change(&room, 2, EventKind::Join, 3, Some(2)),
        change(&room, 3, EventKind::Leave, 2, Some(1)),
    ];
    bed.store(&batch).await;
    assert_eq!(bed.all(&room).await, events(&batch));
    let member = |n: u128| bed.archive.membership(room.id, person(n).id);
    assert_eq!(member(1).await.unwrap(), Some(Membership { role: Role::Owner, from: Seq(1) }));
    assert_eq!(member(2).await.unwrap(), None);
    assert_eq!(member(3).await.unwrap(), Some(Membership { role: Role::Member, from: Seq(2) }));
    assert_eq!(bed.archive.contacts(person(1).id, 10).await.unwrap(), [person(3).id]);
}

/// What happens in a group of three, of whom two are in it from the beginning: a join, a leave or a message of somebody,
/// where it can be.
fn log(room: &Room, wishes: &[(u8, u128)]) -> Vec<Entry> {
    let mut entries = vec![change(room, 1, EventKind::Join, 1, None)];
    let mut members = vec![1, 2];
    for (wish, who) in wishes {
        let seq = entries.len() as u64 + 1;
        match (wish, members.iter().position(|member| member == who)) {
            (0, None) => {
                members.push(*who);
                entries.push(change(room, seq, EventKind::Join, *who, None));
            }
            (1, Some(at)) => {
                members.remove(at);
                entries.push(change(room, seq, EventKind::Leave, *who, None));
            }
            (2, Some(_)) => {
                let mut entry = said(room, seq, "x");
                entry.event.user = person(*who);
                entries.push(entry);
            }
            _ => {}
        }
    }
    entries
}

/// Who is in it after that, from where on, and how far they have read.
fn members_after(entries: &[Entry]) -> Vec<(u128, u64, u64)> {
    let mut members = vec![(1, 1, 0), (2, 1, 0)];
    let mut read = [0; 4];
    for entry in &entries[1..] {
        let (who, seq) = (entry.event.user.id.0.as_u128(), entry.event.seq.0);
        match entry.event.kind {
            EventKind::Join => {
                members.push((who, seq, 0));
                read[who as usize] = seq - 1;
            }
            EventKind::Leave => members.retain(|(member, ..)| *member != who),
            _ => read[who as usize] = seq,
        }
    }
    members.iter_mut().for_each(|(who, _, mark)| *mark = read[*who as usize]);
    members.sort_unstable();
    members
}

async fn members_now(bed: &Bed, room: &Room) -> Vec<(u128, u64, u64)> {
    let members = bed.archive.members(room.id).await.unwrap().unwrap();
    let one = |it: &Participant| (it.user.0.as_u128(), it.membership.from.0, it.read.0);
    let mut members: Vec<_> = members.iter().map(one).collect();
    members.sort_unstable();
    members
}

async fn in_any_order(bed: &Bed, n: u128, wishes: &[(u8, u128)], batches: &[(usize, usize)], by_fence: bool) {
    bed.archive.make_room(&group(n, &[2])).await.unwrap();
    let room = Room::of_members(group(n, &[]).id);
    let entries = log(&room, wishes);
    let some = || {
        let slices = batches.iter().map(|(at, len)| entries.get(*at..(at + len).min(entries.len())));
        slices.flatten().filter(|slice| !slice.is_empty())
    };
    for batch in some() {
        bed.store(batch).await;
    }
    if by_fence {
        let mut guard = bed.archive.lock_fence().await.unwrap().unwrap();
        guard.begin("another").await.unwrap();
        bed.archive.give_back(&entries).await.unwrap();
        guard.agree(Lost::Nothing).await.unwrap();
        guard.release().await.unwrap();
    }
    for entry in entries.iter().rev() {
        bed.store(std::slice::from_ref(entry)).await;
    }
    assert_eq!(members_now(bed, &room).await, members_after(&entries));
    for batch in some() {
        bed.store(batch).await;
    }
    assert_eq!(members_now(bed, &room).await, members_after(&entries));
}

#[test]
fn members_are_those_of_the_log_in_whatever_order_it_comes() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let bed = runtime.block_on(Bed::new());
    runtime.block_on(know(&bed, &[1, 2, 3]));
    let rooms = std::sync::atomic::AtomicU64::new(100);
    let wishes = proptest::collection::vec((0u8..3, 1u128..4), 1..12);
    let batches = proptest::collection::vec((0usize..12, 1usize..5), 0..6);
    let mut runner = TestRunner::new(ProptestConfig::with_cases(40));
    let outcome = runner.run(&(wishes, batches, any::<bool>()), |(wishes, batches, by_fence)| {
        let n = rooms.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        runtime.block_on(in_any_order(&bed, n.into(), &wishes, &batches, by_fence));
        Ok(())
    });
    outcome.unwrap();
}

#[tokio::test]
async fn marks_go_forward_only_and_to_the_end_at_most() {
    let bed = Bed::new().await;
    know(&bed, &[2]).await;
    bed.archive.make_room(&group(9, &[2])).await.unwrap();
    let room = Room::of_members(group(9, &[]).id);
    let one = person(1).id;
    bed.store(&[change(&room, 1, EventKind::Join, 1, None), said(&room, 2, "x"), said(&room, 3, "x")]).await;
    // Whoever said it, person 1, has read it.
    assert_eq!(bed.archive.mark_one(room.id, one, Seq(3)).await.unwrap(), Some(None));
    let two = person(2).id;
    assert_eq!(bed.archive.mark_one(room.id, two, Seq(2)).await.unwrap(), Some(Some(Seq(2))));
    assert_eq!(bed.archive.mark_one(room.id, two, Seq(1)).await.unwrap(), Some(None));
    assert_eq!(bed.archive.mark_one(room.id, two, Seq(9)).await.unwrap(), Some(Some(Seq(3))));
    assert_eq!(bed.archive.mark_one(room.id, person(3).id, Seq(9)).await.unwrap(), None);
    let marks: Marks = [((room.id, two), Seq(1)), ((room.id, person(3).id), Seq(3))].into();
    bed.archive.mark(&marks).await.unwrap();
    assert_eq!(members_now(&bed, &room).await, [(1, 1, 3), (2, 1, 3)]);
}

#[tokio::test]
async fn people_are_found_by_the_name_that_they_have_now() {
    let bed = Bed::new().await;
    let named = |n: u128, name: &str| User { name: name.parse().unwrap(), ..person(n) };
    let people = [named(1, "한국"), named(2, "한강"), named(3, "하늘"), named(4, "Hana"), named(5, "hannah")];
    for user in &people {
        bed.archive.know(user, None).await.unwrap();
    }
    let find = async |typed: &str, limit| {
        let found = bed.archive.search(person(1).id, &NameQuery::new(typed).unwrap(), limit).await.unwrap();
        found.into_iter().map(|user| user.id.0.as_u128()).collect::<Vec<_>>()
    };
    assert_eq!(find("하", 10).await, [3, 2], "never oneself");
    assert_eq!(find("ㅎㄱ", 10).await, [2]);
    assert_eq!(find("ㅎ", 10).await, [2, 3]);
    assert_eq!(find("HAN", 10).await, [4, 5]);
    assert_eq!(find("HAN", 1).await, [4]);
    bed.archive.know(&named(4, "\u{10ffff}_%"), Some("sub")).await.unwrap();
    assert_eq!((find("han", 10).await, find("\u{10ffff}", 10).await), (vec![5], vec![4]));
    // What was said before by the old name does not bring it back.
    let mut entry = said(&room("lobby"), 1, "x");
    entry.event.user = named(4, "Hana");
    bed.store(&[entry]).await;
    let now = bed.archive.people(&[person(4).id, person(9).id]).await.unwrap();
    assert_eq!(now, [named(4, "\u{10ffff}_%")]);
}

#[tokio::test]
async fn of_several_bans_of_one_person_the_last_counts() {
    let bed = Bed::new().await;
    let far = i64::MAX / 2;
    let ban = |whom, until| Ban { room: room("lobby").id, whom, until };
    let (ann, home) = (Banned::User(ann().id), Banned::Address(Uuid::from_u128(7)));
    for said in [ban(ann, far), ban(home, far - 1), ban(ann, far - 2)] {
        bed.archive.ban(said, Some(UserId(Uuid::nil())), Some("spam")).await.unwrap();
    }
    let all = bed.archive.bans(0).await.unwrap();
    assert_eq!(all.last().unwrap().1, ban(ann, far - 2));
    let lifted = ban(ann, 0);
    bed.archive.ban(lifted, None, None).await.unwrap();
    let news = bed.archive.bans(all.last().unwrap().0).await.unwrap();
    assert_eq!(news.iter().map(|(_, ban)| *ban).collect::<Vec<_>>(), [lifted]);
    // Whoever starts now hears of the ban that stands, and of nothing that would bring the other back.
    let stand: Vec<Ban> = bed.archive.bans(0).await.unwrap().into_iter().map(|(_, ban)| ban).collect();
    let now = crate::clock::seconds().cast_signed();
    let standing: Vec<&Ban> = stand.iter().filter(|ban| ban.until > now).collect();
    assert_eq!(standing, [&ban(home, far - 1)]);
    assert_eq!(stand.last(), Some(&lifted));
}

#[tokio::test]
async fn rooms_are_listed_by_their_last_activity_with_what_is_unread() {
    let bed = Bed::new().await;
    know(&bed, &[2, 3]).await;
    let me = person(2).id;
    let rooms: Vec<Room> = (1..=3).map(|n| Room::of_members(group(n, &[]).id)).collect();
    for n in 1..=3 {
        bed.archive.make_room(&group(n, &[2, 3])).await.unwrap();
    }
    let far = crate::clock::millis() * 2;
    for (n, room) in rooms.iter().enumerate() {
        let mut log = vec![change(room, 1, EventKind::Join, 1, None)];
        log.extend((2..=150).map(|seq| said(room, seq, "x")));
        log.extend([deleted(room, 151, 2), deleted(room, 152, 3)]);
        for entry in &mut log {
            entry.event.ts += far - n as i64;
        }
        bed.store(&log).await;
    }
    let marks: Marks = [((rooms[0].id, me), Seq(60)), ((rooms[1].id, me), Seq(50))].into();
    bed.archive.mark(&marks).await.unwrap();
    let mut listed = Vec::new();
    let mut after: Option<ListPlace> = None;
    loop {
        let pick = Pick { user: me, after, limit: 2, also: &[] };
        let mut rows = bed.archive.list(&pick).await.unwrap();
        rows.sort_by_key(|row| std::cmp::Reverse(row.place));
        let Some(last) = rows.last() else { break };
        after = Some(last.place);
        listed.extend(rows);
    }
    let above = [Seq(60), Seq(50), Seq(0)];
    let above: Vec<_> = rooms.iter().map(|room| room.id).zip(above).collect();
    let mut counts = BTreeMap::new();
    for (room, _) in bed.archive.unread(me, &above, 100).await.unwrap() {
        *counts.entry(room).or_insert(0) += 1;
    }
    // 61 to 150; 51 to 150; 4 to 150.
    assert_eq!(above.iter().map(|(room, _)| counts[room]).collect::<Vec<_>>(), [90, 100, 100]);
    assert_eq!(
        listed.iter().map(|row| row.place.room).collect::<Vec<_>>(),
        [1, 2, 3].map(|n| group(n, &[]).id)
    );
    assert!(listed.iter().all(|row| row.mine.as_ref().unwrap().last.as_ref().unwrap().seq == Seq(152)));
    assert!(listed.iter().all(|row| row.gathering.people.len() == 3 && row.tip == Cursor::new(1, 152)));
    let pick = Pick { user: person(9).id, after: None, limit: 2, also: &[rooms[1].id, RoomId(Uuid::nil())] };
    let rows = bed.archive.list(&pick).await.unwrap();
    assert_eq!((rows.len(), &rows[0].mine, rows[0].gathering.members.len()), (1, &None, 3));
}
