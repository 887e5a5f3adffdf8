//! Moderation: who is shut out of a room, by whom.
//!
//! A moderator is the operator of the server, who shows the admin token, everywhere, and the owner of a group there.

use std::{sync::Arc, time::Duration};

use hyper::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{answer::json, body::Body, call::Call, problem::Problem, request_id::RequestId, rooms::done};
use crate::{
    chat::Chat,
    clock,
    event::{
        Ban, Banned, Draft, MemberRoom, Right, Role, Room, RoomId, RoomKind, Seq, Shape, Slug, User, UserId,
    },
    identity::outside::moderator,
    log::{LogError, LogErrorKind, Who},
};

/// Seconds of a ban at most: 10 years.
const LONGEST: u64 = 10 * 365 * 24 * 60 * 60;
/// Bytes of a reason at most.
const LONGEST_REASON: usize = 500;
/// After which every pod knows of a ban, and nobody adds the person to the group any more.
const KNOWN_EVERYWHERE: Duration = Duration::from_secs(1);

#[derive(Deserialize)]
struct Asked {
    user: String,
    seconds: u64,
    reason: Option<String>,
}

#[derive(Serialize)]
struct Answer<'a> {
    room: &'a str,
    user: UserId,
    /// ms since 1970.
    until: i64,
}

/// Somebody who may take rights away in a room.
struct Moderator {
    user: User,
    room: Room,
    /// As it is now, if it is a group.
    group: Option<MemberRoom>,
    is_admin: bool,
}

/// Who this is, if they may moderate this room. A room that they may not know of is none.
async fn moderating(call: &Call, name: &str) -> Result<Moderator, Problem> {
    let is_admin = call.is_admin();
    let user = if is_admin { moderator() } else { call.acting()?.user };
    let Ok(id) = Uuid::try_parse(name) else {
        let slug: Slug = name.parse()?;
        if !is_admin {
            return Err(Problem::forbidden("in an open room, that is for the operator of this server"));
        }
        return Ok(Moderator { user, room: Room::from(&slug), group: None, is_admin });
    };
    let group = call.app.chat.log().member_room(RoomId(id)).await?.ok_or_else(Problem::not_found)?;
    if !is_admin {
        let role = group.role_of(user.id).ok_or_else(Problem::not_found)?;
        if role != Role::Owner && group.shape == Shape::Group {
            return Err(Problem::forbidden("in a group, that is for its owner"));
        }
    }
    if group.shape == Shape::Direct {
        return Err(Problem::forbidden("a room of two is theirs for good: nobody is shut out of it"));
    }
    Ok(Moderator { user, room: Room::of_members(group.id), group: Some(group), is_admin })
}

/// By which right this caller takes messages in a room away. Whether they are one who may speak there is the log's to
/// see.
pub(super) async fn right(call: &Call, room: &Room) -> Result<Right, Problem> {
    if call.is_admin() {
        return Ok(Right::Moderator);
    }
    if room.kind != RoomKind::Members {
        return Ok(Right::Author);
    }
    let me = call.acting()?.user.id;
    let role = call.app.chat.log().member_room(room.id).await?.and_then(|room| room.role_of(me));
    Ok(if role == Some(Role::Owner) { Right::Moderator } else { Right::Author })
}

/// Tells the operator's log that a moderator took a message away.
pub(super) fn log_deletion(room: &Room, target: Seq, by: UserId) {
    tracing::info!(target: "maru::moderation", room = %room.label, seq = target.0, by = %by.0, "deleted");
}

/// POST: shuts somebody out.
pub(super) async fn ban(call: &mut Call, name: &str) -> Result<Response<Body>, Problem> {
    let moderator = moderating(call, name).await?;
    let Asked { user, seconds, reason } = call.json().await?;
    let user: UserId = user.parse()?;
    if !(1..=LONGEST).contains(&seconds) {
        return Err(Problem::bad_request(format!("seconds is a number from 1 to {LONGEST}")));
    }
    if reason.as_ref().is_some_and(|reason| reason.len() > LONGEST_REASON) {
        return Err(Problem::too_large(format!("a reason has at most {LONGEST_REASON} bytes")));
    }
    if user == moderator.user.id {
        return Err(Problem::bad_request("nobody shuts themselves out"));
    }
    check_limits(call, &moderator)?;
    let until = (clock::seconds() + seconds).cast_signed();
    let ban = Ban { room: moderator.room.id, whom: Banned::User(user), until };
    call.app.chat.ban(ban, moderator.user.id, reason).await?;
    tracing::info!(
        target: "maru::moderation",
        room = %moderator.room.label, user = %user.0, by = %moderator.user.id.0, seconds, "shut out"
    );
    if moderator.group.is_some() {
        remove(&call.app.chat, moderator.room.id, &moderator.user, user).await?;
        let later = remove_later(Arc::clone(&call.app.chat), moderator.room.id, moderator.user, user);
        tokio::spawn(RequestId::carried(later));
    }
    Ok(json(
        StatusCode::CREATED,
        &Answer { room: &moderator.room.label, user, until: until.saturating_mul(1000) },
    ))
}

/// DELETE: lets somebody in again.
pub(super) async fn lift(call: &mut Call, name: &str, user: &str) -> Result<Response<Body>, Problem> {
    let moderator = moderating(call, name).await?;
    let user: UserId = user.parse().map_err(|_| Problem::not_found())?;
    call.app.chat.hear_of_bans().await?;
    if call.app.chat.banned_until(moderator.room.id, user).is_some() {
        let ban = Ban { room: moderator.room.id, whom: Banned::User(user), until: 0 };
        call.app.chat.ban(ban, moderator.user.id, None).await?;
        tracing::info!(
            target: "maru::moderation",
            room = %moderator.room.label, user = %user.0, by = %moderator.user.id.0, seconds = 0, "let in again"
        );
    }
    Ok(done())
}

/// The operator is trusted not to fill the table.
fn check_limits(call: &Call, moderator: &Moderator) -> Result<(), Problem> {
    if moderator.is_admin {
        return Ok(());
    }
    call.app.chat.doors().may_speak(moderator.user.id, call.client()).map_err(Problem::rate_limited)?;
    if !call.app.chat.has_place_for_ban(moderator.room.id) {
        return Err(Problem::forbidden("as many people are shut out of this group as may be"));
    }
    Ok(())
}

/// Has somebody not be a member of a group any more, if they are one.
async fn remove(chat: &Chat, room: RoomId, by: &User, user: UserId) -> Result<(), LogError> {
    let members = chat.log().member_room(room).await?.map(|room| room.members).unwrap_or_default();
    let Some(member) = members.into_iter().find(|member| member.user.id == user) else { return Ok(()) };
    let draft = Draft::Leave { member: member.user };
    match chat.speak(Room::of_members(room), by.clone(), Who(by.id.0), draft, None).await {
        Err(e) if !matches!(e.kind, LogErrorKind::NoChange | LogErrorKind::NotFound) => Err(e),
        _ => Ok(()),
    }
}

/// Once more, for whom another pod let in before it knew of the ban.
async fn remove_later(chat: Arc<Chat>, room: RoomId, by: User, user: UserId) {
    tokio::time::sleep(KNOWN_EVERYWHERE).await;
    if chat.banned_until(room, user).is_some()
        && let Err(e) = remove(&chat, room, &by, user).await
    {
        tracing::warn!(error = %e, "it is not sure that somebody who was shut out of a group has left it");
    }
}
