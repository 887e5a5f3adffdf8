//! Which log, and which part of it.

use std::{ops::RangeInclusive, sync::Arc};

use super::{Cursor, Epoch, RoomId, Seq, Slug, UserId};

/// By how much the seqs of a new epoch are moved on: more than any store could have lost, so that no seq is
/// ever used twice.
pub const EPOCH_STRIDE: u64 = 1 << 20;

/// Entries that an inbox has, in the store and on the way.
pub const MOST_ENTRIES: usize = 1000;

/// Who has a log, and so how it is kept and who may read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RoomKind {
    /// A room that anybody may enter, made by whoever speaks there first.
    Open,
    /// A room of its members alone, which has to be made.
    Members,
    /// No room to speak in: the log of what happens in the rooms of one person, who alone reads it.
    Inbox,
}

/// Which log, with the name that its events carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// Where it is kept.
    pub id: RoomId,
    /// What its events call it: a slug, or the UUID.
    pub label: Arc<str>,
    /// Whose it is.
    pub kind: RoomKind,
}

impl Room {
    /// A room with members.
    pub fn of_members(id: RoomId) -> Self {
        Room { id, label: id.0.to_string().into(), kind: RoomKind::Members }
    }

    /// Somebody's inbox. Its id is theirs.
    pub fn inbox(user: UserId) -> Self {
        Room { id: RoomId(user.0), label: user.0.to_string().into(), kind: RoomKind::Inbox }
    }
}

impl From<&Slug> for Room {
    fn from(slug: &Slug) -> Self {
        Room { id: slug.room(), label: slug.shared(), kind: RoomKind::Open }
    }
}

/// Where a room's log begins and ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The present epoch.
    pub epoch: Epoch,
    /// The seq before the first of this epoch.
    pub base: Seq,
    /// The last seq given, or `base` when there is none in this epoch.
    pub tip: Seq,
    /// The oldest seq still kept; `tip + 1` when nothing is.
    pub first: Seq,
    /// Epochs that have ended, oldest first, each with the seqs given in it.
    pub past: Vec<(Epoch, RangeInclusive<u64>)>,
}

impl Extent {
    /// The log of a room that nobody has spoken in, in a store that lost a part `losses` times: its first seq
    /// lies above all that the room may have had before.
    pub fn empty(losses: u32) -> Self {
        let base = Seq(u64::from(losses) * EPOCH_STRIDE);
        Extent { epoch: Epoch(losses + 1), base, tip: base, first: base.next(), past: Vec::new() }
    }

    /// The log as somebody sees it who sees it from this seq on.
    #[must_use]
    pub fn seen_from(self, from: Seq) -> Self {
        Extent { first: self.first.max(from).min(self.tip.next()), ..self }
    }

    /// The end of the log.
    pub fn tip(&self) -> Cursor {
        Cursor { epoch: self.epoch, seq: self.tip }
    }

    /// The place before the first event of the present epoch.
    pub fn base(&self) -> Cursor {
        Cursor { epoch: self.epoch, seq: self.base }
    }

    /// The cursor of the place before `seq`, in the epoch that `seq` is of.
    pub fn before(&self, seq: Seq) -> Cursor {
        let past = self.past.iter().find(|(_, seqs)| seqs.contains(&seq.0));
        Cursor { epoch: past.map_or(self.epoch, |(epoch, _)| *epoch), seq: seq.before() }
    }
}

/// Which part of the log a history page shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The newest events.
    Newest,
    /// The newest events below this seq.
    Before(Seq),
    /// The oldest events above this seq.
    After(Seq),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_came_later_sees_a_log_that_begins_later() {
        let log = Extent { epoch: Epoch(1), base: Seq(0), tip: Seq(10), first: Seq(3), past: vec![] };
        let first = |from: u64| log.clone().seen_from(Seq(from)).first;
        assert_eq!([0, 1, 3].map(first), [Seq(3); 3]);
        assert_eq!([4, 10, 11].map(first), [Seq(4), Seq(10), Seq(11)]);
        // More than there is, is nothing.
        assert_eq!(first(20), Seq(11));
    }
}
