//! Which log, and which part of it.

use std::{ops::RangeInclusive, sync::Arc};

use super::{Cursor, Epoch, RoomId, Seq, Slug};

/// By how much the seqs of a new epoch are moved on: more than any store could have lost, so that no seq is
/// ever used twice.
pub const EPOCH_STRIDE: u64 = 1 << 20;

/// Which room, with the name that its events carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// Where it is kept.
    pub id: RoomId,
    /// What its events call it.
    pub label: Arc<str>,
}

impl From<&Slug> for Room {
    fn from(slug: &Slug) -> Self {
        Room { id: slug.room(), label: slug.shared() }
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
