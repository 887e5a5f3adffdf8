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
    let log = call.app.chat.log();
    let tip = match &present {
        Some(present) if !log.has_other_pods() => present.feed().tip(),
        // Another pod may be further than this one has heard.
        Some(present) => {
            log.extent(room.id).await.map_or_else(|_| present.feed().tip(), |extent| extent.tip())
        }
        None => log.extent(room.id).await?.tip(),
    };
    let online = call.app.chat.online(room.id).await;
    Ok(json(StatusCode::OK, &Answer { id: room.id, kind: "open", name: &room.label, online, tip }))
}

/// GET: who is here now.
pub(super) async fn members(call: &Call, room: &Room) -> Result<Response<Body>, Problem> {
    call.session()?;
    let (online, members) = call.app.chat.people(room.id, LISTED).await;
    Ok(json(StatusCode::OK, &Members { members, online }))
}
