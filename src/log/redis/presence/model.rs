//! The rules of the scripts once more, over plain values, for one partition.
//!
//! A property test holds it against a real server, so that it can stand for the server wherever pods are simulated.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::{Move, Moved, Quiet, What};
use crate::{
    event::{Name, RoomId, UserId, UserKind},
    log::{Passed, Person},
};

/// Somebody who is in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) name: Name,
    pub(crate) kind: UserKind,
    pub(crate) pods: BTreeSet<Uuid>,
}

/// `here`, `grace`, `at` and `pods`.
#[derive(Clone, Debug, Default)]
pub(crate) struct People {
    pub(crate) here: BTreeMap<(RoomId, UserId), Known>,
    /// When it ends.
    pub(crate) grace: BTreeMap<(RoomId, UserId), u64>,
    pub(crate) at: BTreeSet<(Uuid, RoomId)>,
    turn: u64,
}

impl People {
    pub(crate) fn online(&self, room: RoomId) -> usize {
        self.here.keys().filter(|(of, _)| *of == room).count()
    }

    /// Pods that have people.
    pub(crate) fn pods(&self) -> BTreeSet<Uuid> {
        self.at.iter().map(|(pod, _)| *pod).collect()
    }

    /// `enter.lua`, `leave.lua` and `rename.lua`, of this pod; a grace that begins now ends at `due`.
    pub(crate) fn apply(&mut self, pod: Uuid, each: &Move, due: u64) -> (Moved, Option<Passed>) {
        let (room, who) = (each.room, (each.room, each.user));
        let (mut joined, mut is_first) = (Vec::new(), false);
        match &each.what {
            What::Enter(name, kind, quiet) => {
                let was = self.here.remove(&who);
                if was.is_none() && *quiet == Quiet::No {
                    joined.push(Person { id: each.user, name: name.clone() });
                }
                let mut pods = was.map(|was| was.pods).unwrap_or_default();
                pods.insert(pod);
                self.here.insert(who, Known { name: name.clone(), kind: *kind, pods });
                self.grace.remove(&who);
                is_first = self.at.insert((pod, room));
            }
            What::Leave { is_last, again } => {
                if let Some(known) = self.here.get_mut(&who) {
                    if known.pods.remove(&pod) && known.pods.is_empty() {
                        self.grace.insert(who, due);
                    }
                } else if let Some((name, kind)) = again {
                    self.here.insert(who, Known { name: name.clone(), kind: *kind, pods: BTreeSet::new() });
                    self.grace.insert(who, due);
                }
                if *is_last {
                    self.at.remove(&(pod, room));
                }
            }
            What::Rename(name) => {
                if let Some(known) = self.here.get_mut(&who) {
                    known.name = name.clone();
                }
            }
        }
        let online = self.online(room);
        self.turn += u64::from(!joined.is_empty());
        let passed =
            (!joined.is_empty()).then_some(Passed { turn: self.turn, joined, left: Vec::new(), online });
        (Moved { online, is_told: passed.is_some(), is_first }, passed)
    }

    /// `reap.lua`, of everybody in the room.
    pub(crate) fn reap(&mut self, room: RoomId, now: u64) -> Option<Passed> {
        let due = self.grace.iter().filter(|((of, _), due)| *of == room && **due <= now);
        let due: Vec<(RoomId, UserId)> = due.map(|(who, _)| *who).collect();
        let mut left = Vec::new();
        for who in due {
            self.grace.remove(&who);
            if let Some(known) = self.here.remove(&who) {
                left.push(Person { id: who.1, name: known.name });
            }
        }
        let online = self.online(room);
        self.turn += u64::from(!left.is_empty());
        (!left.is_empty()).then_some(Passed { turn: self.turn, joined: Vec::new(), left, online })
    }

    /// `bury.lua`, to its end.
    pub(crate) fn bury(&mut self, room: RoomId, pod: Uuid, due: u64) {
        for (who, known) in self.here.iter_mut().filter(|((of, _), _)| *of == room) {
            if known.pods.remove(&pod) && known.pods.is_empty() {
                self.grace.insert(*who, due);
            }
        }
        self.at.remove(&(pod, room));
    }
}
