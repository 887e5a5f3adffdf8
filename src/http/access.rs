//! Which room is meant, and what of it the caller may see.
//!
//! A room that the caller is not in answers as one that does not exist, on every path: so whoever asks for one is
//! looked up first, and what is refused says nothing of the room.

use uuid::Uuid;

use super::{
    call::{Call, Shown},
    problem::Problem,
};
use crate::{
    chat::Chat,
    event::{Membership, Room, RoomId, RoomKind, Seq, Slug, UserId},
    identity::Session,
    log::{LogError, LogErrorKind},
};

/// A log that the caller may read, at the moment of asking.
pub(super) struct Entry {
    pub(super) room: Room,
    pub(super) known: Option<(Session, Shown)>,
    /// What was before this is not for them.
    pub(super) from: Seq,
}

/// The room that this names: an open one by its slug, one with members by its UUID.
pub(super) fn named(name: &str) -> Result<Room, Problem> {
    if let Ok(id) = Uuid::try_parse(name) {
        return Ok(Room::of_members(RoomId(id)));
    }
    let slug: Slug = name.parse()?;
    Ok(Room::from(&slug))
}

/// The room of this name, for somebody who wants to read it.
pub(super) async fn enter(call: &Call, name: &str) -> Result<Entry, Problem> {
    let room = named(name)?;
    let known = call.session()?;
    let from = match (&known, room.kind) {
        (Some((session, _)), _) => seen_from(&call.app.chat, &room, session.user.id).await?,
        (None, RoomKind::Members) => return Err(Problem::not_found()),
        (None, _) => Seq(0),
    };
    call.let_in(&room, known.as_ref().map(|(session, _)| session)).await?;
    Ok(Entry { room, known, from })
}

/// The caller's own inbox.
pub(super) fn inbox(call: &Call) -> Result<Entry, Problem> {
    let known = call.known()?;
    Ok(Entry { room: Room::inbox(known.0.user.id), known: Some(known), from: Seq(0) })
}

/// From where on somebody sees a log now.
///
/// # Errors
/// `NotFound` when it is not theirs to see.
pub(super) async fn seen_from(chat: &Chat, room: &Room, user: UserId) -> Result<Seq, LogError> {
    match room.kind {
        RoomKind::Members => Ok(membership(chat, room, user).await?.from),
        RoomKind::Open | RoomKind::Inbox => Ok(Seq(0)),
    }
}

/// What somebody is in a room with members.
///
/// # Errors
/// `NotFound` when they are not in it.
pub(super) async fn membership(chat: &Chat, room: &Room, user: UserId) -> Result<Membership, LogError> {
    chat.log().membership(room.id, user).await?.ok_or_else(|| LogErrorKind::NotFound.into())
}
