//! Rooms with members against lists that are written by hand.

use std::collections::BTreeMap;

use super::*;
use crate::event::{ListPlace, MOST_UNREAD, Member, Right, Role, Status};

const PEOPLE: usize = 4;
const ROOMS: usize = 3;

/// What can be asked: somebody, in some room.
#[derive(Clone, Debug)]
enum Want {
    Say,
    Edit(u64),
    Delete(u64, Right),
    Join(usize),
    Leave(usize),
    Read(u64),
}

fn wants() -> impl Strategy<Value = Vec<(usize, usize, Want)>> {
    let right = prop_oneof![Just(Right::Author), Just(Right::Moderator)];
    let want = prop_oneof![
        4 => Just(Want::Say),
        1 => (0..12u64).prop_map(Want::Edit),
        1 => (0..12u64, right).prop_map(|(target, right)| Want::Delete(target, right)),
        2 => (0..PEOPLE).prop_map(Want::Join),
        2 => (0..PEOPLE).prop_map(Want::Leave),
        2 => (0..16u64).prop_map(Want::Read),
    ];
    proptest::collection::vec((0..PEOPLE, 0..ROOMS, want), 1..50)
}

struct Seat {
    user: UserId,
    role: Role,
    from: Seq,
    read: Seq,
}

#[derive(Default)]
struct Group {
    log: Vec<Event>,
    seats: Vec<Seat>,
}

impl Group {
    fn seat(&mut self, user: UserId) -> Option<&mut Seat> {
        self.seats.iter_mut().find(|seat| seat.user == user)
    }

    fn standing(&self, target: u64, by: Option<UserId>) -> Result<(), LogErrorKind> {
        let message = self.log.iter().find(|event| event.seq.0 == target && event.kind == EventKind::Message);
        match message.filter(|event| event.status.is_none()) {
            None => Err(LogErrorKind::NotFound),
            Some(event) if by.is_some_and(|by| by != event.user.id) => Err(LogErrorKind::NotYours),
            Some(_) => Ok(()),
        }
    }
}

struct World {
    store: Store,
    people: Vec<User>,
    rooms: Vec<Room>,
    groups: Vec<Group>,
    /// Of each person: room and seq.
    inboxes: BTreeMap<UserId, Vec<(usize, Seq)>>,
    /// Of each person: what they were told, as it was then.
    told: BTreeMap<UserId, Vec<Frame>>,
}

impl World {
    fn new() -> Self {
        let store = Store::new();
        let people: Vec<User> = ["Ann", "Bob", "Cho", "Dan"].into_iter().map(user).collect();
        people.iter().for_each(|user| store.know(user));
        let rooms = (0..ROOMS).map(|n| store.group(&people[n], &[&people[n + 1]])).collect();
        let (groups, inboxes) = ((0..ROOMS).map(|_| Group::default()).collect(), BTreeMap::new());
        let mut world = World { store, people, rooms, groups, inboxes, told: BTreeMap::new() };
        for n in 0..ROOMS {
            for (user, role) in [(n, Role::Owner), (n + 1, Role::Member)] {
                let (from, read) = (Seq(1), Seq(0));
                world.groups[n].seats.push(Seat { user: world.people[user].id, role, from, read });
            }
            let opened = world.store.all(&world.rooms[n]).remove(0);
            assert_eq!((opened.kind, &opened.user), (EventKind::Join, &world.people[n]));
            world.happened(n, opened);
        }
        world
    }

    /// An event is in the log of a room: those who are in it now are told, and this one person.
    fn happened_and(&mut self, room: usize, event: Event, other: Option<UserId>) {
        let seq = event.seq;
        let readers: Vec<UserId> =
            self.groups[room].seats.iter().map(|seat| seat.user).chain(other).collect();
        for reader in readers {
            let inbox = self.inboxes.entry(reader).or_default();
            inbox.push((room, seq));
            let cursor = Cursor::new(1, inbox.len() as u64);
            let frame = Frame::pointing(&event, self.rooms[room].id, cursor);
            self.told.entry(reader).or_default().push(frame);
        }
        self.groups[room].log.push(event);
    }

    fn happened(&mut self, room: usize, event: Event) {
        self.happened_and(room, event, None);
    }

    fn allowed(&mut self, by: usize, room: usize, want: &Want) -> Result<(), LogErrorKind> {
        let (actor, people) = (self.people[by].id, &self.people);
        let group = &mut self.groups[room];
        let is_in = group.seat(actor).is_some();
        match want {
            Want::Delete(target, Right::Moderator) => group.standing(*target, None),
            Want::Leave(who) if group.seat(people[*who].id).is_some() => Ok(()),
            Want::Leave(who) if *who == by => Err(LogErrorKind::NotFound),
            Want::Leave(_) => Err(LogErrorKind::NoChange),
            _ if !is_in => Err(LogErrorKind::NotFound),
            Want::Say | Want::Read(_) => Ok(()),
            Want::Edit(target) | Want::Delete(target, Right::Author) => group.standing(*target, Some(actor)),
            Want::Join(who) if group.seat(people[*who].id).is_some() => Err(LogErrorKind::NoChange),
            Want::Join(_) => Ok(()),
        }
    }

    fn do_it(&mut self, by: usize, room: usize, want: &Want) {
        let actor = self.people[by].clone();
        let allowed = self.allowed(by, room, want);
        let draft = match want {
            Want::Say => message("said", None),
            Want::Edit(target) => Draft::Edit { target: Seq(*target), text: "edited".parse().unwrap() },
            Want::Delete(target, right) => Draft::Delete { target: Seq(*target), right: *right },
            Want::Join(who) => Draft::Join { member: self.people[*who].clone() },
            Want::Leave(who) => Draft::Leave { member: self.people[*who].clone() },
            Want::Read(seq) => return self.read(&actor, room, *seq, allowed),
        };
        let answer = self.store.append(&self.rooms[room], &actor, draft);
        assert_eq!(answer.map(|_| ()), allowed, "{by} {room} {want:?}");
        let Ok(placed) = answer else { return };
        let subject = match want {
            Want::Join(who) | Want::Leave(who) => self.people[*who].clone(),
            _ => actor.clone(),
        };
        let mut event = Event {
            room: self.rooms[room].label.clone(),
            epoch: Epoch(1),
            seq: Seq(self.groups[room].log.len() as u64 + 1),
            id: placed.id,
            kind: EventKind::Message,
            target: None,
            by: (subject.id != actor.id).then(|| actor.clone()),
            user: subject,
            text: None,
            status: None,
            edited: None,
            ts: placed.ts,
            client_id: None,
        };
        assert_eq!(placed.cursor, event.cursor());
        let group = &mut self.groups[room];
        match want {
            Want::Say => {
                event.text = Some("said".into());
                group.seat(actor.id).unwrap().read = event.seq;
            }
            Want::Edit(target) => {
                (event.kind, event.target) = (EventKind::Edit, Some(Seq(*target)));
                event.text = Some("edited".into());
            }
            Want::Delete(target, _) => {
                (event.kind, event.target) = (EventKind::Delete, Some(Seq(*target)));
                for old in &mut group.log {
                    let is_edit = old.kind == EventKind::Edit && old.target == Some(Seq(*target));
                    if old.seq == Seq(*target) || is_edit {
                        *old = old.clone().scrubbed();
                    }
                }
            }
            Want::Join(_) => {
                event.kind = EventKind::Join;
                let (user, role) = (event.user.id, Role::Member);
                group.seats.push(Seat { user, role, from: event.seq, read: event.seq.before() });
            }
            Want::Leave(_) => {
                event.kind = EventKind::Leave;
                group.seats.retain(|seat| seat.user != event.user.id);
                let leaver = event.user.id;
                return self.happened_and(room, event, Some(leaver));
            }
            Want::Read(_) => unreachable!("it is no event"),
        }
        self.happened(room, event);
    }

    fn read(&mut self, actor: &User, room: usize, seq: u64, allowed: Result<(), LogErrorKind>) {
        let answer = self.store.mark(&self.rooms[room], actor, seq);
        assert_eq!(answer.map(|_| ()), allowed);
        let Ok(moved) = answer else { return };
        let tip = self.groups[room].log.len() as u64;
        let seat = self.groups[room].seat(actor.id).unwrap();
        let mark = Seq(seq.min(tip));
        assert_eq!(moved, (mark > seat.read).then_some(mark));
        seat.read = seat.read.max(mark);
    }

    /// What an inbox gives now.
    fn resolved(&self, user: UserId) -> Vec<Frame> {
        let entries = self.inboxes.get(&user).map(Vec::as_slice).unwrap_or_default();
        let frame = |(n, (room, seq)): (u64, &(usize, Seq))| {
            let (group, cursor) = (&self.groups[*room], Cursor::new(1, n));
            let event = &group.log[seq.0 as usize - 1];
            let sees = group.seats.iter().any(|seat| seat.user == user && seat.from <= *seq);
            match sees || (event.kind == EventKind::Leave && event.user.id == user) {
                true => Frame::pointing(event, self.rooms[*room].id, cursor),
                false => Frame::gone(cursor),
            }
        };
        (1..).zip(entries).map(frame).collect()
    }

    fn compare(&self) {
        for (room, group) in self.rooms.iter().zip(&self.groups) {
            assert_eq!(self.store.all(room), group.log);
            let found = self.store.runtime.block_on(self.store.log.member_room(room.id)).unwrap().unwrap();
            assert_eq!(found.members, self.members(group));
        }
        for person in &self.people {
            let inbox = Room::inbox(person.id);
            assert_eq!(self.store.told(inbox.id), self.told.get(&person.id).cloned().unwrap_or_default());
            assert_eq!(self.store.frames(&inbox), self.resolved(person.id));
            self.compare_rights(person);
            self.compare_list(person);
        }
    }

    fn members(&self, group: &Group) -> Vec<Member> {
        let is_orphaned = group.seats.iter().all(|seat| seat.role == Role::Member);
        let member = |(n, seat): (usize, &Seat)| {
            let user = self.people.iter().find(|user| user.id == seat.user).unwrap().clone();
            let role = if is_orphaned && n == 0 { Role::Owner } else { seat.role };
            Member { user, role, read: seat.read }
        };
        group.seats.iter().enumerate().map(member).collect()
    }

    fn compare_rights(&self, person: &User) {
        for (room, group) in self.rooms.iter().zip(&self.groups) {
            let found = self.store.runtime.block_on(self.store.log.membership(room.id, person.id)).unwrap();
            let seat = group.seats.iter().find(|seat| seat.user == person.id);
            assert_eq!(found.map(|m| (m.role, m.from)), seat.map(|seat| (seat.role, seat.from)));
        }
    }

    /// The list, read in pages of two, and who is in those rooms.
    fn compare_list(&self, person: &User) {
        let mut expected: Vec<(ListPlace, usize)> = Vec::new();
        for (n, group) in self.groups.iter().enumerate() {
            if group.seats.iter().any(|seat| seat.user == person.id) {
                let ts = group.log.last().unwrap().ts;
                expected.push((ListPlace { ts, room: self.rooms[n].id }, n));
            }
        }
        expected.sort_unstable_by_key(|(place, _)| std::cmp::Reverse(*place));
        let mut listed = self.store.list(person, None, 2);
        if let Some(last) = listed.last() {
            listed.extend(self.store.list(person, Some(last.place), 2));
        }
        assert_eq!(listed.len(), expected.len());
        let mut contacts: Vec<UserId> = Vec::new();
        for (listed, (place, n)) in listed.iter().zip(&expected) {
            let group = &self.groups[*n];
            let seat = group.seats.iter().find(|seat| seat.user == person.id).unwrap();
            let is_unread = |event: &&Event| {
                event.kind == EventKind::Message
                    && event.status != Some(Status::Deleted)
                    && event.seq > seat.read
                    && event.user.id != person.id
            };
            let unread = group.log.iter().filter(is_unread).count().min(MOST_UNREAD);
            assert_eq!((listed.place, listed.room.id), (*place, self.rooms[*n].id));
            assert_eq!((listed.unread, listed.read), (unread, seat.read));
            assert_eq!(listed.last.as_ref(), group.log.last());
            assert_eq!(listed.tip, Cursor::new(1, group.log.len() as u64));
            assert_eq!(listed.room.members, self.members(group));
            for other in &group.seats {
                if other.user != person.id && !contacts.contains(&other.user) {
                    contacts.push(other.user);
                }
            }
        }
        let found = self.store.runtime.block_on(self.store.log.contacts(person.id, 2)).unwrap();
        contacts.truncate(2);
        assert_eq!(found, contacts);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn rooms_with_members_are_what_lists_would_be(wants in wants()) {
        let mut world = World::new();
        for (by, room, want) in &wants {
            world.do_it(*by, *room, want);
        }
        world.compare();
    }
}
