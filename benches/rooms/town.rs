//! Who is there and in which rooms, the same for every store.

use maru::event::{MOST_MEMBERS, Name, RoomId, User, UserId, UserKind};
use uuid::Uuid;

const PEOPLE: usize = 100_000;
/// Rooms of the one who is measured.
const ROOMS: usize = 1000;
/// Rooms of others, so that the tables are of some size.
const OTHERS: usize = 20_000;
/// Rooms of the one whose rooms are all full.
pub(super) const FULL: usize = 30;
/// Messages of each room.
const MESSAGES: usize = 200;
/// The time of the first message, in ms since 1970.
const BEGAN: i64 = 1_732_240_000_000;
/// What everybody says.
pub(super) const TEXT: &str = "where shall we meet tonight, and who brings what?";

/// A room with as many messages as it says, the newest `unread` of which the first member has not read.
pub(super) struct Place {
    pub(super) id: RoomId,
    is_direct: bool,
    members: Vec<usize>,
    pub(super) messages: usize,
    unread: usize,
    pub(super) last_ts: i64,
}

impl Place {
    pub(super) fn kind(&self) -> &'static str {
        if self.is_direct { "direct" } else { "group" }
    }

    /// The members in the order in which they joined, each with the last seq that they have read.
    pub(super) fn members(&self) -> impl Iterator<Item = (usize, usize)> {
        let read = |n| if n == 0 { self.messages - self.unread } else { 0 };
        self.members.iter().enumerate().map(move |(n, member)| (*member, read(n)))
    }

    /// Who says what stands at `seq`, and when.
    pub(super) fn said(&self, seq: usize) -> (usize, i64) {
        let speaker = self.members[1 + seq % (self.members.len() - 1)];
        (speaker, self.last_ts - (self.messages - seq) as i64)
    }
}

/// Who is there, and in which rooms. The first person has [`ROOMS`] rooms, the second [`FULL`].
pub(super) struct Town {
    pub(super) people: Vec<User>,
    pub(super) rooms: Vec<Place>,
}

/// Numbers that look drawn and are the same each time (SplitMix64).
struct Draw(u64);

impl Draw {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut n = self.0;
        n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((n ^ (n >> 31)) % end as u64) as usize
    }

    fn id(&mut self) -> Uuid {
        let (high, low) = (self.below(usize::MAX), self.below(usize::MAX));
        uuid::Builder::from_random_bytes((((high as u128) << 64) | low as u128).to_be_bytes()).into_uuid()
    }
}

impl Town {
    pub(super) fn new() -> Self {
        let mut draw = Draw(1);
        let people = (0..PEOPLE).map(|_| person(&mut draw)).collect();
        let mut town = Town { people, rooms: Vec::new() };
        for n in 0..ROOMS {
            // One of ten is a group, one of two hundred a full one.
            let size = match n {
                _ if n % 200 == 0 => MOST_MEMBERS,
                _ if n % 10 == 0 => 8 + draw.below(24),
                _ => 2,
            };
            town.add(&mut draw, 0, size, MESSAGES);
        }
        for _ in 0..FULL {
            town.add(&mut draw, 1, MOST_MEMBERS, MESSAGES);
        }
        for _ in 0..OTHERS {
            let first = 2 + draw.below(PEOPLE - 2);
            town.add(&mut draw, first, 2, 5);
        }
        town
    }

    fn add(&mut self, draw: &mut Draw, first: usize, size: usize, messages: usize) {
        let mut members = vec![first];
        while members.len() < size {
            let other = 2 + draw.below(PEOPLE - 2);
            if !members.contains(&other) {
                members.push(other);
            }
        }
        let (id, is_direct) = (RoomId(draw.id()), size == 2);
        let (unread, last_ts) = (draw.below(messages), BEGAN + draw.below(1_000_000_000) as i64);
        self.rooms.push(Place { id, is_direct, members, messages, unread, last_ts });
    }
}

/// Half of them have a Korean name of three syllables, half one of Latin letters.
fn person(draw: &mut Draw) -> User {
    let id = UserId(draw.id());
    let name: String = match draw.below(2) {
        0 => (0..3).map(|_| char::from_u32(0xac00 + draw.below(11_172) as u32).unwrap()).collect(),
        _ => (0..8).map(|_| char::from(b'a' + draw.below(26) as u8)).collect(),
    };
    User { id, name: name.parse::<Name>().unwrap(), kind: UserKind::Guest }
}
