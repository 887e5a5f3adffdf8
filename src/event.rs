//! What everything speaks of: rooms, people, events and their place in the log. Imports nothing of ours.
//!
//! The types here cannot be wrong: text from outside becomes one of them once, at the edge, or is refused
//! with a [`Refused`] that says why.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

mod aside;
mod cursor;
mod entry;
mod extent;
mod frame;
mod gap;
mod lang;
mod member;
mod search;
mod slug;
mod text;

pub use aside::{Aside, Topic};
pub use cursor::{Cursor, Epoch, Seq};
pub use entry::{Entry, Key, digest};
pub use extent::{EPOCH_STRIDE, Extent, MOST_ENTRIES, Part, Room, RoomKind};
pub use frame::{Frame, FrameKind, Origin, Subject, Taken, bye, named};
pub use gap::{Gap, GapReason};
pub use lang::Lang;
pub use member::{
    Ban, Banned, ListPlace, Listed, MOST_UNREAD, Member, MemberRoom, Membership, NewRoom, Role, Shape,
};
pub use search::{NameQuery, SearchKeys};
pub use slug::Slug;
pub use text::{ClientId, Name, Text, TextRefused};

/// Why a value from outside was not taken: a sentence fit for the person who sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused(pub &'static str);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Refused {}

/// 16 bytes that name a log, whatever it is the log of: a room's are its [`RoomId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogId(pub Uuid);

/// Parts that all logs fall into, whatever holds them: 128 is more than there will be servers to spread them over.
pub const PARTITIONS: u8 = 128;

impl LogId {
    /// Its part, below [`PARTITIONS`]. The last byte of a UUID is random, or a hash, in versions 4, 5 and 7.
    pub fn partition(self) -> u8 {
        self.0.as_bytes()[15] % PARTITIONS
    }
}

/// 16 bytes that name a room. An open room's are the UUIDv5 (RFC 9562 §5.5) of its slug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RoomId(pub Uuid);

impl From<RoomId> for LogId {
    fn from(room: RoomId) -> Self {
        LogId(room.0)
    }
}

/// 16 bytes that name a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UserId(pub Uuid);

impl UserId {
    /// A new id, drawn at random (UUIDv4).
    pub fn random() -> Self {
        UserId(Uuid::new_v4())
    }
}

impl FromStr for UserId {
    type Err = Refused;

    fn from_str(s: &str) -> Result<Self, Refused> {
        Uuid::try_parse(s).map(UserId).map_err(|_| Refused("a user id is a UUID"))
    }
}

/// How a person came by their id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UserKind {
    /// Made on the spot by maru.
    Guest,
    /// Known to the site that embeds maru, which says who they are.
    Member,
}

impl UserKind {
    /// The word that stands in JSON and in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            UserKind::Guest => "guest",
            UserKind::Member => "member",
        }
    }
}

impl FromStr for UserKind {
    type Err = Refused;

    fn from_str(s: &str) -> Result<Self, Refused> {
        match s {
            "guest" => Ok(UserKind::Guest),
            "member" => Ok(UserKind::Member),
            _ => Err(Refused("unknown kind of user")),
        }
    }
}

/// A person as an event shows them: with the name of that time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Stays the same when the name changes.
    pub id: UserId,
    /// As chosen or drawn; not unique.
    pub name: Name,
    /// How they came by their id.
    pub kind: UserKind,
}

/// What an entry of the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// Somebody said something.
    Message,
    /// The text of the message at `target` is now another.
    Edit,
    /// The message at `target` is gone, and its text with it.
    Delete,
    /// Somebody is a member of the room from here on.
    Join,
    /// Somebody is not a member any more.
    Leave,
}

impl EventKind {
    /// The word that stands in JSON and in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            EventKind::Message => "message",
            EventKind::Edit => "edit",
            EventKind::Delete => "delete",
            EventKind::Join => "join",
            EventKind::Leave => "leave",
        }
    }

    /// The first letter of the word: no two have the same.
    fn letter(self) -> char {
        match self {
            EventKind::Message => 'm',
            EventKind::Edit => 'e',
            EventKind::Delete => 'd',
            EventKind::Join => 'j',
            EventKind::Leave => 'l',
        }
    }

    fn of_letter(letter: &str) -> Option<Self> {
        use EventKind::{Delete, Edit, Join, Leave, Message};
        [Message, Edit, Delete, Join, Leave].into_iter().find(|kind| letter == kind.letter().to_string())
    }
}

impl FromStr for EventKind {
    type Err = Refused;

    fn from_str(s: &str) -> Result<Self, Refused> {
        match s {
            "message" => Ok(EventKind::Message),
            "edit" => Ok(EventKind::Edit),
            "delete" => Ok(EventKind::Delete),
            "join" => Ok(EventKind::Join),
            "leave" => Ok(EventKind::Leave),
            _ => Err(Refused("unknown type of event")),
        }
    }
}

/// Said of an event whose text was taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The message it belongs to was deleted.
    Deleted,
}

/// One entry of a room's log. Its JSON is the same bytes on every pod, live or replayed: the order of the
/// fields here is the order there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// An open room's slug, or the UUID of a room with members.
    pub room: Arc<str>,
    /// Life of the log in which `seq` was given.
    pub epoch: Epoch,
    /// Place in the room's log.
    pub seq: Seq,
    /// UUIDv7 (RFC 9562 §5.7), unique over all rooms.
    pub id: Uuid,
    /// What it is.
    #[serde(rename = "type")]
    pub kind: EventKind,
    /// Of an edit or a deletion: the message it is about.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub target: Option<Seq>,
    /// Who spoke, came in or left.
    pub user: User,
    /// Of a join or a leave: who brought it about, if it was not the member.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub by: Option<User>,
    /// UTF-8, at most [`Text::MAX_BYTES`]; absent from deletions, empty where it was deleted.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub text: Option<Arc<str>>,
    /// Present when the text was taken away.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub status: Option<Status>,
    /// In history only: when the text was last edited, ms since 1970.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub edited: Option<i64>,
    /// ms since 1970 (UTC); never goes back within a room.
    pub ts: i64,
    /// As the speaker gave it, so that a page can settle its echo.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub client_id: Option<ClientId>,
}

impl Event {
    /// Place in the log, as a reader would come back to it.
    pub fn cursor(&self) -> Cursor {
        Cursor { epoch: self.epoch, seq: self.seq }
    }

    /// The same event with its text taken away, as it is given out once its message was deleted.
    #[must_use]
    pub fn scrubbed(mut self) -> Self {
        self.text = Some(Arc::from(""));
        self.status = Some(Status::Deleted);
        self.edited = None;
        self
    }
}

/// What somebody wants to add to a log, before it has a place there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Draft {
    /// Say something.
    Message {
        /// What is said.
        text: Text,
        /// Makes saying it twice the same as saying it once.
        client_id: Option<ClientId>,
    },
    /// Give the own message at `target` another text.
    Edit {
        /// The message.
        target: Seq,
        /// Its new text.
        text: Text,
    },
    /// Take the message at `target` away.
    Delete {
        /// The message.
        target: Seq,
        /// By which right.
        right: Right,
    },
    /// The first event of a room with members: its maker is there. Nothing changes when there is one already.
    Open,
    /// Have somebody be a member from here on. Whoever says so is one.
    Join {
        /// Who comes in.
        member: User,
    },
    /// Have somebody not be a member any more: oneself, or, as a moderator, another.
    Leave {
        /// Who leaves.
        member: User,
    },
}

/// By which right somebody takes a message away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// It is theirs.
    Author,
    /// They may take away any.
    Moderator,
}

/// Members of a room, at most.
pub const MOST_MEMBERS: usize = 256;
