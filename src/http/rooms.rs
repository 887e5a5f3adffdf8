//! What a room is, and who is there.

use hyper::{Response, StatusCode};
use serde::Serialize;

use super::{answer::json, body::Body, call::Call, problem::Problem};
use crate::event::{Cursor, Room, RoomId, User};

/// People listed at most.
const LISTED: usize = 200;

#[derive(Serialize)]
struct Answer<'a> {
    id: RoomId,
    kind: &'static str,
    name: &'a str,
    online: usize,
    tip: Cursor,
}

#[derive(Serialize)]
struct Members {
    members: Vec<User>,
    online: usize,
}

/// GET: the room.
pub(super) async fn room(call: &Call, room: &Room) -> Result<Response<Body>, Problem> {
    call.session()?;
    let present = call.app.chat.present(room.id);
    let tip = match &present {
        Some(present) => present.feed().tip(),
        None => call.app.chat.log().extent(room.id).await?.tip(),
    };
    let online = present.map_or(0, |present| present.online());
    Ok(json(StatusCode::OK, &Answer { id: room.id, kind: "open", name: &room.label, online, tip }))
}

/// GET: who is here now.
pub(super) async fn members(call: &Call, room: &Room) -> Result<Response<Body>, Problem> {
    call.session()?;
    let answer = match call.app.chat.present(room.id) {
        Some(room) => Members { members: room.people(LISTED), online: room.online() },
        None => Members { members: Vec::new(), online: 0 },
    };
    Ok(json(StatusCode::OK, &answer))
}
