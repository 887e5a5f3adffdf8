//! Rooms with members.

use super::*;
use crate::event::{
    ListPlace, Listed, MOST_MEMBERS, MOST_UNREAD, MemberRoom, NewRoom, Right, Role, RoomId, Shape,
};

impl Store {
    pub(super) fn make(&self, new: &NewRoom) -> Result<(MemberRoom, bool), LogErrorKind> {
        self.runtime.block_on(self.log.make_room(new.clone())).map_err(|e| e.kind)
    }

    /// A group that has begun.
    pub(super) fn group(&self, maker: &User, others: &[&User]) -> Room {
        let id = RoomId(uuid::Uuid::now_v7());
        others.iter().for_each(|user| self.know(user));
        let others = others.iter().map(|user| user.id).collect();
        let new = NewRoom { id, shape: Shape::Group, name: None, maker: maker.clone(), others };
        self.make(&new).unwrap();
        let room = Room::of_members(id);
        self.append(&room, maker, Draft::Open).unwrap();
        room
    }

    pub(super) fn members(&self, room: &Room) -> Vec<UserId> {
        self.runtime.block_on(self.log.member_ids(room.id)).unwrap()
    }

    pub(super) fn mark(&self, room: &Room, user: &User, seq: u64) -> Result<Option<Seq>, LogErrorKind> {
        self.runtime.block_on(self.log.mark_read(room.id, user.id, Seq(seq))).map_err(|e| e.kind)
    }

    pub(super) fn list(&self, user: &User, after: Option<ListPlace>, limit: usize) -> Vec<Listed> {
        self.runtime.block_on(self.log.rooms_of(user.id, after, limit)).unwrap()
    }
}

fn join(member: &User) -> Draft {
    Draft::Join { member: member.clone() }
}

fn leave(member: &User) -> Draft {
    Draft::Leave { member: member.clone() }
}

fn pair(maker: &User, other: &User) -> NewRoom {
    let id = RoomId::of_pair(maker.id, other.id);
    NewRoom { id, shape: Shape::Direct, name: None, maker: maker.clone(), others: vec![other.id] }
}

#[test]
fn a_pair_has_one_room_whoever_asks() {
    let store = Store::new();
    let (ann, bob) = (user("Ann"), user("Bob"));
    assert_eq!(store.make(&pair(&ann, &bob)).unwrap_err(), LogErrorKind::NotFound);
    assert_eq!(store.members(&Room::of_members(pair(&ann, &bob).id)), []);
    store.know(&bob);
    store.know(&ann);
    let (one, two) = store.runtime.block_on(async {
        tokio::join!(store.log.make_room(pair(&ann, &bob)), store.log.make_room(pair(&bob, &ann)))
    });
    let ((one, is_new), (two, is_new_too)) = (one.unwrap(), two.unwrap());
    assert_eq!((is_new, is_new_too, &one), (true, false, &two));
    assert_eq!(
        one.members.iter().map(|member| (member.user.id, member.role)).collect::<Vec<_>>(),
        [(ann.id, Role::Member), (bob.id, Role::Member)]
    );
    let room = Room::of_members(one.id);
    assert_eq!(store.append(&room, &ann, Draft::Open).unwrap().cursor, Cursor::new(1, 1));
    assert_eq!(store.append(&room, &bob, Draft::Open), Err(LogErrorKind::NoChange));
}

#[test]
fn a_room_begins_once_whatever_became_of_its_log() {
    let store = Store::new();
    let (ann, bob) = (user("Ann"), user("Bob"));
    let room = store.group(&ann, &[&bob]);
    let store = store.lost();
    assert_eq!(store.append(&room, &ann, Draft::Open), Err(LogErrorKind::NoChange));
    store.runtime.block_on(store.log.trim(i64::MAX)).unwrap();
    assert_eq!(store.append(&room, &ann, Draft::Open), Err(LogErrorKind::NoChange));
    // One that was made, and lost what it began with.
    store.know(&bob);
    store.make(&pair(&ann, &bob)).unwrap();
    let store = store.lost();
    let direct = Room::of_members(pair(&ann, &bob).id);
    assert_eq!(store.append(&direct, &bob, Draft::Open).unwrap().cursor.epoch, Epoch(3));
}

#[test]
fn who_is_not_in_a_room_finds_nothing_there() {
    let store = Store::new();
    let (ann, bob, eve) = (user("Ann"), user("Bob"), user("Eve"));
    let room = store.group(&ann, &[&bob]);
    let said = store.append(&room, &ann, message("secret", Some("k"))).unwrap().cursor.seq;
    let nowhere = Room::of_members(RoomId(uuid::Uuid::now_v7()));
    for room in [&room, &nowhere] {
        let drafts = [
            message("hi", None),
            message("secret", Some("k")),
            Draft::Edit { target: said, text: "x".parse().unwrap() },
            Draft::Delete { target: said, right: Right::Author },
            Draft::Open,
            join(&eve),
            leave(&eve),
        ];
        for draft in drafts {
            assert_eq!(store.append(room, &eve, draft.clone()), Err(LogErrorKind::NotFound), "{draft:?}");
        }
        assert_eq!(store.mark(room, &eve, 1), Err(LogErrorKind::NotFound));
        assert_eq!(store.runtime.block_on(store.log.membership(room.id, eve.id)).unwrap(), None);
    }
    assert_eq!(store.runtime.block_on(store.log.member_room(nowhere.id)).unwrap(), None);
    assert_eq!(store.list(&eve, None, 9), []);
    assert_eq!(store.all(&room).len(), 2);
    assert_eq!(store.append(&Room::inbox(ann.id), &ann, message("x", None)), Err(LogErrorKind::NotFound));
}

#[test]
fn open_rooms_have_no_members() {
    let store = Store::new();
    let (lobby, ann) = (room("lobby"), user("Ann"));
    store.append(&lobby, &ann, message("hi", None)).unwrap();
    for draft in [Draft::Open, join(&ann), leave(&ann)] {
        assert_eq!(store.append(&lobby, &ann, draft), Err(LogErrorKind::NotFound));
    }
    assert_eq!(store.runtime.block_on(store.log.member_room(lobby.id)).unwrap(), None);
    assert_eq!(store.told(LogId(ann.id.0)), []);
}

#[test]
fn a_group_has_so_many_members_and_no_more() {
    let store = Store::new();
    let people: Vec<User> = (0..=MOST_MEMBERS).map(|n| user(&format!("u{n}"))).collect();
    let others: Vec<&User> = people[1..MOST_MEMBERS].iter().collect();
    let room = store.group(&people[0], &others);
    let last = &people[MOST_MEMBERS];
    assert_eq!(store.append(&room, &people[7], join(last)), Err(LogErrorKind::Crowded));
    assert_eq!(store.append(&room, &people[7], join(&people[8])), Err(LogErrorKind::NoChange));
    store.append(&room, &people[9], leave(&people[9])).unwrap();
    let joined = store.append(&room, &people[7], join(last)).unwrap().cursor.seq;
    let membership = store.runtime.block_on(store.log.membership(room.id, last.id)).unwrap().unwrap();
    assert_eq!((membership.role, membership.from), (Role::Member, joined));
    assert_eq!(store.members(&room).last(), Some(&last.id));
    let event = store.all(&room).pop().unwrap();
    assert_eq!((event.kind, event.user, event.by), (EventKind::Join, last.clone(), Some(people[7].clone())));
    let id = RoomId(uuid::Uuid::now_v7());
    let others = people[1..].iter().map(|user| user.id).collect();
    let new = NewRoom { id, shape: Shape::Group, name: None, maker: people[0].clone(), others };
    assert_eq!(store.make(&new).unwrap_err(), LogErrorKind::Crowded);
}

#[test]
fn a_moderator_needs_not_be_there() {
    let store = Store::new();
    let (ann, bob, admin) = (user("Ann"), user("Bob"), user("admin"));
    let room = store.group(&ann, &[&bob]);
    let said = store.append(&room, &bob, message("rude", None)).unwrap().cursor.seq;
    let delete = |target| Draft::Delete { target, right: Right::Moderator };
    assert_eq!(store.append(&room, &admin, delete(Seq(1))), Err(LogErrorKind::NotFound));
    store.append(&room, &admin, delete(said)).unwrap();
    assert_eq!(store.append(&room, &admin, delete(said)), Err(LogErrorKind::NotFound));
    assert_eq!(store.all(&room)[1].text.as_deref(), Some(""));
    store.append(&room, &admin, leave(&bob)).unwrap();
    assert_eq!(store.append(&room, &admin, leave(&bob)), Err(LogErrorKind::NoChange));
    let event = store.all(&room).pop().unwrap();
    assert_eq!((event.user.id, event.by), (bob.id, Some(admin.clone())));
    assert_eq!(store.members(&room), [ann.id]);
    assert_eq!(store.runtime.block_on(store.log.person(admin.id)).unwrap(), None);
    let lobby = super::room("lobby");
    let said = store.append(&lobby, &bob, message("rude", None)).unwrap().cursor.seq;
    let by_id = Room::of_members(lobby.id);
    assert_eq!(store.append(&by_id, &admin, delete(said)), Err(LogErrorKind::NotFound));
    store.append(&lobby, &admin, delete(said)).unwrap();
}

#[test]
fn marks_move_on_and_never_past_the_end() {
    let store = Store::new();
    let (ann, bob) = (user("Ann"), user("Bob"));
    let room = store.group(&ann, &[&bob]);
    let n = MOST_UNREAD as u64 + 20;
    for _ in 0..n {
        store.append(&room, &ann, message("x", None)).unwrap();
    }
    let listed = &store.list(&bob, None, 9)[0];
    assert_eq!((listed.unread, listed.read), (MOST_UNREAD, Seq(0)));
    assert_eq!(store.mark(&room, &bob, n - 6), Ok(Some(Seq(n - 6))));
    assert_eq!(store.mark(&room, &bob, n - 7), Ok(None));
    assert_eq!(store.list(&bob, None, 9)[0].unread, 7);
    assert_eq!(store.list(&ann, None, 9)[0].unread, 0);
    store.append(&room, &ann, Draft::Delete { target: Seq(n), right: Right::Author }).unwrap();
    assert_eq!(store.list(&bob, None, 9)[0].unread, 6);
    assert_eq!(store.mark(&room, &bob, Seq::MAX.0), Ok(Some(Seq(n + 2))));
    assert_eq!(store.mark(&room, &bob, Seq::MAX.0), Ok(None));
    assert_eq!(store.list(&bob, None, 9)[0].unread, 0);
}

#[test]
fn a_store_from_before_there_were_members_goes_on() {
    let data = TempDir::new().unwrap();
    let connection = Connection::open(data.path().join("maru.db")).unwrap();
    connection.execute_batch(include_str!("../../../../schema/sqlite/001_log.sql")).unwrap();
    connection.pragma_update(None, "user_version", 1).unwrap();
    let (lobby, ann) = (room("lobby"), user("Ann"));
    connection
        .execute("INSERT INTO rooms VALUES (?1, 'open', 'lobby', 1, 0, 7, 8, 5, 4)", [lobby.id])
        .unwrap();
    drop(connection);
    let store = Store::on(data);
    assert_eq!(store.append(&lobby, &ann, message("hi", None)).unwrap().cursor, Cursor::new(1, 8));
    assert_eq!(store.extent(&lobby).first, Seq(8));
}
