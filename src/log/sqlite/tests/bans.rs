//! Who is shut out.

use uuid::Uuid;

use super::*;
use crate::event::{Ban, Banned};

#[test]
fn the_last_that_was_said_of_somebody_holds() {
    let store = Store::new();
    let (lobby, ann) = (room("lobby").id, Banned::User(UserId::random()));
    let address = Banned::Address(Uuid::new_v4());
    let now = crate::clock::seconds().cast_signed();
    let say = |whom, until| {
        let ban = Ban { room: lobby, whom, until };
        store.runtime.block_on(store.log.ban(ban, None, Some("why".into()))).unwrap();
        ban
    };
    let bans = |after| store.runtime.block_on(store.log.bans(after)).unwrap();
    let first = say(ann, now + 100);
    let other = say(address, now + 100);
    assert_eq!(bans(0), [(1, first), (2, other)]);
    let longer = say(ann, now + 200);
    assert_eq!(bans(0), [(2, other), (3, longer)]);
    let lifted = say(ann, 0);
    assert_eq!(bans(0), [(2, other)]);
    assert_eq!(bans(2), [(4, lifted)]);
    assert_eq!(bans(4), []);
}
