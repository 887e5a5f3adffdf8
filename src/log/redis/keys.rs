//! The names of keys: `schema/redis.md` says what is in each.
//!
//! A name is made of numbers and of ids in hexadecimal alone. Its partition is its hash tag, so that all keys of a
//! partition are on one server, whatever there is of servers.

use uuid::Uuid;

use crate::event::{LogId, RoomId, UserId};

/// Length of a day, in ms.
pub(crate) const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// What a partition holds of its own. The one name that outlives a generation.
pub(super) fn meta(partition: u8) -> String {
    format!("maru:{{{partition}}}:meta")
}

/// The keys of one generation. What an older one left behind is never read as if it were of this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) generation: i64,
}

impl Names {
    pub(super) fn out(self, partition: u8) -> String {
        self.of_partition(partition, "out")
    }

    pub(super) fn recent(self, partition: u8) -> String {
        self.of_partition(partition, "recent")
    }

    pub(super) fn mail(self, partition: u8) -> String {
        self.of_partition(partition, "mail")
    }

    /// Rooms in which people have read further than the archive knows.
    pub(super) fn marked(self, partition: u8) -> String {
        self.of_partition(partition, "marked")
    }

    pub(super) fn inboxes(self, partition: u8) -> String {
        self.of_partition(partition, "inboxes")
    }

    pub(super) fn inbox(self, user: UserId) -> String {
        self.of_room(RoomId(user.0), "inbox")
    }

    /// The head of an inbox.
    pub(super) fn mailbox(self, user: UserId) -> String {
        self.of_room(RoomId(user.0), "mailbox")
    }

    pub(super) fn renames(self) -> String {
        self.of_partition(0, "renames")
    }

    /// A note: the server lost something of the generation before this one.
    pub(super) fn missing(self) -> String {
        self.of_partition(0, "missing")
    }

    pub(super) fn room(self, room: RoomId) -> String {
        self.of_room(room, "room")
    }

    pub(super) fn log(self, room: RoomId) -> String {
        self.of_room(room, "log")
    }

    pub(super) fn fix(self, room: RoomId) -> String {
        self.of_room(room, "fix")
    }

    pub(super) fn members(self, room: RoomId) -> String {
        self.of_room(room, "members")
    }

    /// How far the members have read.
    pub(super) fn read(self, room: RoomId) -> String {
        self.of_room(room, "read")
    }

    pub(super) fn here(self, room: RoomId) -> String {
        self.of_room(room, "here")
    }

    pub(super) fn grace(self, partition: u8) -> String {
        self.of_partition(partition, "grace")
    }

    pub(super) fn pods(self, partition: u8) -> String {
        self.of_partition(partition, "pods")
    }

    pub(super) fn at(self, partition: u8, pod: Uuid) -> String {
        self.of_partition(partition, &format!("at:{}", pod.simple()))
    }

    fn of_partition(self, partition: u8, what: &str) -> String {
        format!("maru:{{{partition}}}:{}:{what}", self.generation)
    }

    fn of_room(self, room: RoomId, what: &str) -> String {
        let partition = LogId::from(room).partition();
        format!("maru:{{{partition}}}:{}:{what}:{}", self.generation, room.0.simple())
    }
}

/// The idempotency keys of one person in one room on one day (of UTC, `now` in ms since 1970). They outlive a
/// generation: what is still there of them is still true.
pub(super) fn idem(room: RoomId, who: Uuid, now: i64) -> String {
    let partition = LogId::from(room).partition();
    format!("maru:{{{partition}}}:idem:{}:{}:{}", room.0.simple(), who.simple(), now.div_euclid(DAY_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_keys_of_a_room_have_one_hash_tag() {
        let room = RoomId(Uuid::from_u128(0x1234_5685));
        let names = Names { generation: 3 };
        let keys = [
            meta(5),
            names.out(5),
            names.recent(5),
            names.room(room),
            names.log(room),
            names.fix(room),
            names.members(room),
            names.read(room),
            names.mail(5),
            names.marked(5),
            names.inboxes(5),
            names.inbox(UserId(room.0)),
            names.mailbox(UserId(room.0)),
            names.here(room),
            names.grace(5),
            names.pods(5),
            names.at(5, Uuid::nil()),
            idem(room, Uuid::nil(), 0),
        ];
        for key in keys {
            assert!(key.starts_with("maru:{5}:") && key.is_ascii(), "{key}");
        }
    }
}
