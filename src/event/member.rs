//! Rooms with members, and what somebody is in one.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Cursor, Event, Name, Refused, RoomId, Seq, User, UserId};

/// Namespace under which a pair of people becomes the id of their room (RFC 9562 §5.5). It may never change.
const PAIRS: Uuid = Uuid::from_bytes([
    0x6d, 0x61, 0x72, 0x75, 0x3a, 0x70, 0x50, 0x61, 0xa9, 0x72, 0x2d, 0x72, 0x6f, 0x6f, 0x6d, 0x3a,
]);

/// What kind of room with members it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// Of two people, for good.
    Direct,
    /// Of up to [`MOST_MEMBERS`](super::MOST_MEMBERS), who come and go.
    Group,
}

impl Shape {
    /// The word that stands in JSON and in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Shape::Direct => "direct",
            Shape::Group => "group",
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Shape {
    type Err = Refused;

    fn from_str(s: &str) -> Result<Self, Refused> {
        match s {
            "direct" => Ok(Shape::Direct),
            "group" => Ok(Shape::Group),
            _ => Err(Refused("unknown kind of room")),
        }
    }
}

/// What a member may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Made the group, or has been in it for longest since who made it left; moderates it.
    Owner,
    /// Speaks, adds others and leaves.
    Member,
}

impl Role {
    /// The word that stands in JSON and in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Owner => "owner",
            Role::Member => "member",
        }
    }
}

impl FromStr for Role {
    type Err = Refused;

    fn from_str(s: &str) -> Result<Self, Refused> {
        match s {
            "owner" => Ok(Role::Owner),
            "member" => Ok(Role::Member),
            _ => Err(Refused("unknown role")),
        }
    }
}

/// What somebody is in a room now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership {
    /// What they were when they came.
    pub role: Role,
    /// They see the log from here on: the place of their join, or 1.
    pub from: Seq,
}

/// Somebody who is in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Who, by the name that they have now.
    pub user: User,
    /// What they may do.
    pub role: Role,
    /// Up to where they have read.
    pub read: Seq,
}

/// A room with members, as they see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberRoom {
    /// Which.
    pub id: RoomId,
    /// Of what kind.
    pub shape: Shape,
    /// A group's, if it was given one.
    pub name: Option<Name>,
    /// Who is in it, in the order in which they came.
    pub members: Vec<Member>,
}

impl MemberRoom {
    /// With its members in the order in which they came. A group that its owner has left is the first's.
    pub fn new(id: RoomId, shape: Shape, name: Option<Name>, mut members: Vec<Member>) -> Self {
        let is_owned = members.iter().any(|member| member.role == Role::Owner);
        if let (Shape::Group, false, Some(first)) = (shape, is_owned, members.first_mut()) {
            first.role = Role::Owner;
        }
        MemberRoom { id, shape, name, members }
    }

    /// What somebody may do in it, if they are in it.
    pub fn role_of(&self, user: UserId) -> Option<Role> {
        self.members.iter().find(|member| member.user.id == user).map(|member| member.role)
    }
}

/// A room that is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRoom {
    /// Under this id, which the same wish always has.
    pub id: RoomId,
    /// Of what kind.
    pub shape: Shape,
    /// A group's.
    pub name: Option<Name>,
    /// Who makes it, and is the owner of a group.
    pub maker: User,
    /// Who is in it from the beginning, but for the maker.
    pub others: Vec<UserId>,
}

/// A room in the list of somebody's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Which, with whom.
    pub room: MemberRoom,
    /// Where it stands in the list: with it the next page begins.
    pub place: ListPlace,
    /// Its last event, as history has it.
    pub last: Option<Event>,
    /// The end of its log.
    pub tip: Cursor,
    /// Up to where this person has read.
    pub read: Seq,
    /// Others' messages after that which stand, up to [`MOST_UNREAD`].
    pub unread: usize,
}

/// Unread messages that are counted; more are as many.
pub const MOST_UNREAD: usize = 100;

/// A place in somebody's list of rooms, which is in the order of last activity: what comes after it is older.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListPlace {
    /// Of the room's last event, in ms since 1970; of its making, while it has none.
    pub ts: i64,
    /// Which room, where two have the same time.
    pub room: RoomId,
}

impl fmt::Display for ListPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ts, self.room.0.simple())
    }
}

impl FromStr for ListPlace {
    type Err = Refused;

    fn from_str(s: &str) -> Result<Self, Refused> {
        let place = s.split_once('-').and_then(|(ts, room)| {
            Some(ListPlace { ts: ts.parse().ok()?, room: RoomId(Uuid::try_parse(room).ok()?) })
        });
        place.ok_or(Refused("this is no place in a list of rooms"))
    }
}

/// Somebody is shut out of a room, or is not any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ban {
    /// Of which.
    pub room: RoomId,
    /// Who.
    pub whom: Banned,
    /// Until when, in seconds since 1970; what has passed is a ban that was lifted.
    pub until: i64,
}

/// By what somebody is shut out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Banned {
    /// Themselves.
    User(UserId),
    /// Everybody from an address, which is in disguise.
    Address(Uuid),
}

impl RoomId {
    /// The room of two people, whoever of them asks.
    pub fn of_pair(one: UserId, other: UserId) -> Self {
        let (first, second) = if one.0 < other.0 { (one, other) } else { (other, one) };
        let pair = [*first.0.as_bytes(), *second.0.as_bytes()].concat();
        RoomId(Uuid::new_v5(&PAIRS, &pair))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_has_one_room_whoever_asks() {
        let (ann, bob, cho) = (UserId::random(), UserId::random(), UserId::random());
        assert_eq!(RoomId::of_pair(ann, bob), RoomId::of_pair(bob, ann));
        assert_ne!(RoomId::of_pair(ann, bob), RoomId::of_pair(ann, cho));
    }

    #[test]
    fn the_id_of_a_pair_stays_what_it_was() {
        let (one, two) = (UserId(Uuid::from_u128(1)), UserId(Uuid::from_u128(2)));
        assert_eq!(RoomId::of_pair(two, one).0.to_string(), "fb8f3d53-671c-5d81-b73e-90fcbdcd4a53");
    }
}
