//! Whose streams are to end, and how a stream that is not in the reading room learns that it is one of them.

use std::sync::Arc;

use tokio::sync::broadcast::{
    Receiver,
    error::{RecvError, TryRecvError},
};

use super::{Doors, Visitor};
use crate::event::{LogId, RoomId, UserId};

/// Whose streams are to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Select {
    /// Those of this session, which signed out.
    Session(i64),
    /// Those of this session, which may have missed that they are meant.
    Unsure(i64),
    /// Those of one room of somebody who is not a member of it any more.
    Member {
        /// Which.
        room: RoomId,
        /// Who.
        user: UserId,
    },
    /// Those in this room of people who are shut out of it now.
    Banned(RoomId),
    /// All: what they were told may not be what the other pods know.
    Everyone,
}

impl Select {
    /// Why, as `bye` says it.
    pub fn code(self) -> &'static str {
        match self {
            Select::Session(_) => "signed_out",
            Select::Member { .. } => "left",
            Select::Banned(_) => "banned",
            Select::Unsure(_) | Select::Everyone => "again",
        }
    }

    /// Is this stream one of them? `is_banned` says whether its person is shut out of its room.
    pub(super) fn means(&self, whom: &Whom, is_banned: impl FnOnce() -> bool) -> bool {
        match self {
            Select::Session(session) | Select::Unsure(session) => whom.session == *session,
            Select::Member { room, user } => whom.room == *room && whom.visitor.user == *user,
            Select::Banned(room) => whom.room == *room && is_banned(),
            Select::Everyone => true,
        }
    }

    /// The log that all of them read, if it is one.
    pub(super) fn within(&self) -> Option<LogId> {
        match self {
            Select::Member { room, .. } | Select::Banned(room) => Some((*room).into()),
            Select::Session(_) | Select::Unsure(_) | Select::Everyone => None,
        }
    }
}

/// What a stream can be meant by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Whom {
    pub(super) room: RoomId,
    pub(super) visitor: Visitor,
    pub(super) session: i64,
}

/// What one stream is told of endings from the moment on at which it asked.
pub struct Endings {
    told: Receiver<Select>,
    whom: Whom,
    doors: Arc<Doors>,
}

impl std::fmt::Debug for Endings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Endings({:?})", self.whom)
    }
}

impl Endings {
    pub(super) fn new(told: Receiver<Select>, whom: Whom, doors: Arc<Doors>) -> Self {
        Endings { told, whom, doors }
    }

    fn means(&self, select: &Select) -> bool {
        let is_banned = || self.doors.bans().until(self.whom.room, self.whom.visitor).is_some();
        select.means(&self.whom, is_banned)
    }

    /// By what this stream is to end, if it was told so.
    pub fn due(&mut self) -> Option<Select> {
        loop {
            match self.told.try_recv() {
                Ok(select) if self.means(&select) => return Some(select),
                Ok(_) => {}
                // One of those that it missed may have meant it.
                Err(TryRecvError::Lagged(_)) => return Some(Select::Unsure(self.whom.session)),
                Err(TryRecvError::Empty | TryRecvError::Closed) => return None,
            }
        }
    }

    /// Waits until this stream is to end.
    pub async fn told(&mut self) -> Select {
        loop {
            match self.told.recv().await {
                Ok(select) if self.means(&select) => return select,
                Ok(_) => {}
                Err(RecvError::Lagged(_) | RecvError::Closed) => return Select::Unsure(self.whom.session),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use tokio::sync::broadcast;
    use uuid::Uuid;

    use super::{super::news::Desk, *};
    use crate::{
        chat::Client,
        event::{Lang, UserKind},
        identity::Seal,
    };

    fn whom(room: RoomId, user: UserId) -> Whom {
        let client = Client::from(IpAddr::from([127, 0, 0, 1]));
        Whom { room, visitor: Visitor { user, kind: UserKind::Guest, client }, session: 7 }
    }

    #[test]
    fn a_stream_is_meant_by_its_session_or_by_its_person_in_its_room() {
        let (room, user) = (RoomId(Uuid::from_u128(1)), UserId(Uuid::from_u128(2)));
        let whom = whom(room, user);
        let other = RoomId(user.0);
        let meant = [
            Select::Session(7),
            Select::Unsure(7),
            Select::Member { room, user },
            Select::Banned(room),
            Select::Everyone,
        ];
        assert!(meant.iter().all(|select| select.means(&whom, || true)));
        let not = [
            Select::Session(8),
            Select::Member { room: other, user },
            Select::Member { room, user: UserId(room.0) },
            Select::Banned(other),
        ];
        assert!(!not.iter().any(|select| select.means(&whom, || true)));
        assert!(!Select::Banned(room).means(&whom, || false));
    }

    #[test]
    fn who_missed_some_may_have_been_meant() {
        let (tell, told) = broadcast::channel(2);
        let seal = Arc::new(Seal::new(&[b"a secret of the test".to_vec()]));
        let doors = Arc::new(Doors::new(None, Lang::En, None, Desk::open().0, seal));
        let mut endings = Endings::new(told, whom(RoomId(Uuid::nil()), UserId(Uuid::nil())), doors);
        tell.send(Select::Session(1)).unwrap();
        assert_eq!(endings.due(), None);
        for session in 1..=3 {
            tell.send(Select::Session(session)).unwrap();
        }
        assert_eq!(endings.due(), Some(Select::Unsure(7)));
    }
}
