//! Who is in a room: here now, or a member of it.

use std::collections::HashSet;

use hyper::{Response, StatusCode};
use serde::{Deserialize, Serialize};

use super::{
    access::{Entry, enter},
    answer::json,
    body::Body,
    call::Call,
    problem::Problem,
    rooms::{done, with_members},
};
use crate::{
    chat::Chat,
    event::{Member, MemberRoom, Name, Role, Room, RoomId, RoomKind, Seq, Shape, User, UserId, UserKind},
    log::{LogError, LogErrorKind},
};

/// People of an open room who are listed at most.
const LISTED: usize = 200;

/// A room with members.
#[derive(Serialize)]
pub(super) struct RoomAnswer<'a> {
    id: RoomId,
    kind: Shape,
    name: Option<&'a Name>,
    members: Vec<MemberAnswer<'a>>,
}

#[derive(Serialize)]
struct MemberAnswer<'a> {
    id: UserId,
    name: &'a Name,
    kind: UserKind,
    role: Role,
    read: Seq,
    online: bool,
}

#[derive(Serialize)]
struct Here {
    members: Vec<User>,
    online: usize,
}

#[derive(Serialize)]
struct Members<'a> {
    members: Vec<MemberAnswer<'a>>,
    online: usize,
}

#[derive(Deserialize)]
struct Added {
    user: UserId,
}

impl<'a> RoomAnswer<'a> {
    /// The room, with who is online now.
    pub(super) async fn of(chat: &Chat, room: &'a MemberRoom) -> Self {
        let people = room.members.iter().map(|member| member.user.id).collect();
        RoomAnswer::among(room, &chat.online_of(people).await)
    }

    /// The room, when these people are online.
    pub(super) fn among(room: &'a MemberRoom, online: &HashSet<UserId>) -> Self {
        let shown = |member: &'a Member| MemberAnswer {
            id: member.user.id,
            name: &member.user.name,
            kind: member.user.kind,
            role: member.role,
            read: member.read,
            online: online.contains(&member.user.id),
        };
        let members = room.members.iter().map(shown).collect();
        RoomAnswer { id: room.id, kind: room.shape, name: room.name.as_ref(), members }
    }

    /// How many of its members are online.
    pub(super) fn online(&self) -> usize {
        self.members.iter().filter(|member| member.online).count()
    }
}

/// A room that somebody is a member of.
///
/// # Errors
/// `NotFound` when they are not.
pub(super) async fn my_room(chat: &Chat, room: &Room, me: UserId) -> Result<MemberRoom, LogError> {
    let made = chat.log().member_room(room.id).await?;
    let made = made.filter(|made| made.members.iter().any(|member| member.user.id == me));
    made.ok_or_else(|| LogErrorKind::NotFound.into())
}

/// GET: who is here now, or who is a member.
pub(super) async fn list(call: &Call, name: &str) -> Result<Response<Body>, Problem> {
    let Entry { room, known, .. } = enter(call, name).await?;
    let chat = &call.app.chat;
    match (room.kind, known) {
        (RoomKind::Members, Some((session, _))) => {
            let made = my_room(chat, &room, session.user.id).await?;
            let room = RoomAnswer::of(chat, &made).await;
            let online = room.online();
            Ok(json(StatusCode::OK, &Members { members: room.members, online }))
        }
        _ => {
            let (online, members) = chat.people(room.id, LISTED).await;
            Ok(json(StatusCode::OK, &Here { members, online }))
        }
    }
}

/// POST: one more member of a group, who sees it from there on.
pub(super) async fn add(call: &mut Call, room: Room) -> Result<Response<Body>, Problem> {
    let me = call.acting()?.user;
    with_members(&room)?;
    let Added { user } = call.json().await?;
    let chat = &call.app.chat;
    group(&my_room(chat, &room, me.id).await?)?;
    chat.doors().may_speak(me.id, call.client()).map_err(Problem::rate_limited)?;
    let person = chat.log().person(user).await?.ok_or_else(Problem::not_found)?;
    if let Some(until) = chat.banned_until(room.id, user) {
        let until = until.saturating_mul(1000);
        return Err(Problem::forbidden(format!(
            "they are shut out of this group until {until} (ms since 1970)"
        )));
    }
    let id = me.id;
    let is_new = chat.add(room.id, me, person).await?;
    let made = my_room(chat, &room, id).await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok(json(status, &RoomAnswer::of(chat, &made).await))
}

/// DELETE: the caller leaves a group.
pub(super) async fn leave(call: &mut Call, room: Room) -> Result<Response<Body>, Problem> {
    let me = call.acting()?.user;
    with_members(&room)?;
    let chat = &call.app.chat;
    group(&my_room(chat, &room, me.id).await?)?;
    chat.doors().may_speak(me.id, call.client()).map_err(Problem::rate_limited)?;
    chat.leave(room.id, me).await?;
    Ok(done())
}

/// Only a group's members come and go.
fn group(room: &MemberRoom) -> Result<(), Problem> {
    match room.shape {
        Shape::Group => Ok(()),
        Shape::Direct => Err(Problem::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            "this room is of two people, for good: nobody comes or goes",
        )),
    }
}
