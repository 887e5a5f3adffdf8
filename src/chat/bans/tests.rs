use std::net::IpAddr;

use super::*;

const NOW: i64 = 1000;

fn room(n: u128) -> RoomId {
    RoomId(Uuid::from_u128(n))
}

fn at(n: u8) -> Client {
    Client::from(IpAddr::from([127, 0, 0, n]))
}

fn disguise(client: Client) -> Uuid {
    Seal::new(&[b"a secret of the test".to_vec()]).disguise(&client.octets())
}

fn guest(user: UserId, n: u8) -> Visitor {
    Visitor { user, kind: UserKind::Guest, client: at(n) }
}

fn member(user: UserId, n: u8) -> Visitor {
    Visitor { kind: UserKind::Member, ..guest(user, n) }
}

fn of(user: UserId, until: i64) -> Ban {
    Ban { room: room(1), whom: Banned::User(user), until }
}

fn of_address(user: UserId, n: u8, until: i64) -> Ban {
    Ban { room: room(1), whom: Banned::Address(address(disguise(at(n)), user)), until }
}

impl Rooms {
    fn until(&self, in_room: RoomId, visitor: Visitor) -> Option<i64> {
        self.0.get(&in_room)?.until(visitor, || disguise(visitor.client), NOW)
    }
}

#[test]
fn a_ban_shuts_one_person_out_of_one_room_while_it_lasts() {
    let (ann, bob) = (UserId::random(), UserId::random());
    let mut rooms = Rooms::default();
    let news = rooms.hear(&[of(ann, NOW + 5), of(bob, NOW)], true, NOW);
    assert_eq!(news, News { rooms: vec![room(1)], people: vec![(room(1), ann, NOW + 5)] });
    assert_eq!(rooms.until(room(1), guest(ann, 1)), Some(NOW + 5));
    assert_eq!(rooms.until(room(1), member(ann, 1)), Some(NOW + 5));
    assert_eq!(rooms.until(room(2), guest(ann, 1)), None);
    assert_eq!(rooms.until(room(1), guest(bob, 1)), None);
    assert_eq!(rooms.0[&room(1)].until(guest(ann, 1), || disguise(at(1)), NOW + 5), None);
}

#[test]
fn an_address_shuts_out_guests_while_the_one_for_whom_it_was_banned_is_shut_out() {
    let (ann, bob, cho) = (UserId::random(), UserId::random(), UserId::random());
    let mut rooms = Rooms::default();
    rooms.hear(&[of(ann, NOW + 5), of_address(ann, 1, NOW + 5)], true, NOW);
    assert_eq!(rooms.until(room(1), guest(bob, 1)), Some(NOW + 5));
    assert_eq!(rooms.until(room(1), member(bob, 1)), None);
    assert_eq!(rooms.until(room(1), guest(bob, 2)), None);
    // For two of them: it lasts as long as the longer.
    rooms.hear(&[of(cho, NOW + 9), of_address(cho, 1, NOW + 9)], false, NOW);
    assert_eq!(rooms.until(room(1), guest(bob, 1)), Some(NOW + 9));
    rooms.hear(&[of(cho, NOW)], false, NOW);
    assert_eq!(rooms.until(room(1), guest(bob, 1)), Some(NOW + 5));
    rooms.hear(&[of(ann, 0)], false, NOW);
    assert_eq!(rooms.until(room(1), guest(bob, 1)), None);
    assert!(rooms.0.is_empty());
}

#[test]
fn what_was_heard_before_is_no_news() {
    let ann = UserId::random();
    let mut rooms = Rooms::default();
    let bans = [of(ann, NOW + 5), of_address(ann, 1, NOW + 5)];
    for (is_all, is_news) in [(true, true), (true, false), (false, false)] {
        let news = rooms.hear(&bans, is_all, NOW);
        assert_eq!(news == News::default(), !is_news);
    }
    // Nor is it when it was said, taken back and said anew before.
    let again =
        [of(ann, 0), of(ann, NOW + 7), of(ann, NOW + 5), of_address(ann, 1, 0), of_address(ann, 1, NOW + 5)];
    assert_eq!(rooms.hear(&again, false, NOW), News::default());
    // Another time is: the addresses are to have it too.
    let news = rooms.hear(&[of(ann, NOW + 6)], false, NOW);
    assert_eq!(news.people, [(room(1), ann, NOW + 6)]);
    // Of all that there are it is none any more.
    assert_eq!(rooms.hear(&[], true, NOW), News::default());
    assert_eq!(rooms.until(room(1), guest(ann, 1)), None);
}

#[test]
fn the_last_addresses_of_a_guest_are_remembered() {
    let bans = Bans::new(Arc::new(Seal::new(&[b"a secret of the test".to_vec()])));
    let (ann, bob) = (UserId::random(), UserId::random());
    for n in 1..=6 {
        bans.see(guest(ann, n));
        bans.see(member(bob, n));
    }
    bans.see(guest(ann, 4));
    let expected: Vec<_> = [6, 5, 4, 3].map(|n| address(disguise(at(n)), ann)).into();
    assert_eq!(bans.addresses(ann), expected);
    assert!(bans.addresses(bob).is_empty());
}
