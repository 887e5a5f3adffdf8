//! What a store keeps beside the logs: people, the rooms that they are members of, and how far they have read.

use super::{Log, LogError};
use crate::event::{
    Ban, ListPlace, Listed, MemberRoom, Membership, NameQuery, NewRoom, RoomId, Seq, User, UserId,
};

/// Somebody who can be found by their name from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Who, and by which name.
    pub user: User,
    /// By which name the site that embeds maru knows them.
    pub sub: Option<String>,
}

impl Log {
    /// Makes somebody findable, or has them be found by another name.
    pub async fn know(&self, known: Known) -> Result<(), LogError> {
        match self {
            Log::Sqlite(log) => log.know(known).await,
            Log::Redis(log) => log.know(known).await,
        }
    }

    /// Somebody who is known, findable or not, by the name that they have now.
    pub async fn person(&self, user: UserId) -> Result<Option<User>, LogError> {
        match self {
            Log::Sqlite(log) => log.person(user).await,
            Log::Redis(log) => log.person(user).await,
        }
    }

    /// Up to `limit` people who are found by this, but for `me`, in the order of their names.
    pub async fn search(&self, me: UserId, query: NameQuery, limit: usize) -> Result<Vec<User>, LogError> {
        match self {
            Log::Sqlite(log) => log.search(me, query, limit).await,
            Log::Redis(log) => log.search(me, query, limit).await,
        }
    }

    /// Makes a room with members, or finds it made already: then `false`, and it stays what it was. Its log begins
    /// with [`Draft::Open`](crate::event::Draft::Open), which is appended after this. `NotFound` when one of the
    /// members is nobody that is known.
    pub async fn make_room(&self, room: NewRoom) -> Result<(MemberRoom, bool), LogError> {
        match self {
            Log::Sqlite(log) => log.make_room(room).await,
            Log::Redis(log) => log.make_room(room).await,
        }
    }

    /// A room with its members; `None` when there is none of this id.
    pub async fn member_room(&self, room: RoomId) -> Result<Option<MemberRoom>, LogError> {
        match self {
            Log::Sqlite(log) => log.member_room(room).await,
            Log::Redis(log) => log.member_room(room).await,
        }
    }

    /// What somebody is in a room now; `None` when they are not in it, or there is none.
    pub async fn membership(&self, room: RoomId, user: UserId) -> Result<Option<Membership>, LogError> {
        match self {
            Log::Sqlite(log) => log.membership(room, user).await,
            Log::Redis(log) => log.membership(room, user).await,
        }
    }

    /// Up to `limit` rooms of somebody, those with the newest activity first, from `after` on.
    pub async fn rooms_of(
        &self,
        user: UserId,
        after: Option<ListPlace>,
        limit: usize,
    ) -> Result<Vec<Listed>, LogError> {
        match self {
            Log::Sqlite(log) => log.rooms_of(user, after, limit).await,
            Log::Redis(log) => log.rooms_of(user, after, limit).await,
        }
    }

    /// Who shares a room with somebody, up to `limit` of them, those of the newest activity first.
    pub async fn contacts(&self, user: UserId, limit: usize) -> Result<Vec<UserId>, LogError> {
        match self {
            Log::Sqlite(log) => log.contacts(user, limit).await,
            Log::Redis(log) => log.contacts(user, limit).await,
        }
    }

    /// Who is a member of a room now.
    pub async fn member_ids(&self, room: RoomId) -> Result<Vec<UserId>, LogError> {
        match self {
            Log::Sqlite(log) => log.member_ids(room).await,
            Log::Redis(log) => log.member_ids(room).await,
        }
    }

    /// A member has read up to `seq`: gives the mark if it moved, at most to the end of the log. `NotFound` when
    /// they are no member.
    pub async fn mark_read(&self, room: RoomId, user: UserId, seq: Seq) -> Result<Option<Seq>, LogError> {
        match self {
            Log::Sqlite(log) => log.mark_read(room, user, seq).await,
            Log::Redis(log) => log.mark_read(room, user, seq).await,
        }
    }

    /// Shuts somebody out of a room, or lets them in again. `by` and `reason` are kept for whoever runs this.
    pub async fn ban(&self, ban: Ban, by: Option<UserId>, reason: Option<String>) -> Result<(), LogError> {
        match self {
            Log::Sqlite(log) => log.ban(ban, by, reason).await,
            Log::Redis(log) => log.ban(ban, by, reason).await,
        }
    }

    /// Bans that were said since the `after`th (0: all that stand), oldest first, each with its number. Many pods: a
    /// number may become visible after a higher one, so whoever asks again asks from somewhat before the last.
    pub async fn bans(&self, after: i64) -> Result<Vec<(i64, Ban)>, LogError> {
        match self {
            Log::Sqlite(log) => log.bans(after).await,
            Log::Redis(log) => log.bans(after).await,
        }
    }
}
