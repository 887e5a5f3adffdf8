//! The rooms of one person.

use std::collections::HashSet;

use hyper::{Response, StatusCode};
use serde::Serialize;

use super::{answer::json, body::Body, call::Call, members::RoomAnswer, problem::Problem};
use crate::event::{Cursor, Event, ListPlace, Seq, UserId};

/// Rooms of a page, unless asked otherwise.
const DEFAULT: usize = 30;
/// Rooms of a page at most.
const MOST: usize = 100;

#[derive(Serialize)]
struct Page<'a> {
    rooms: Vec<Line<'a>>,
    /// Where the next page begins; `null` when there is none.
    next: Option<String>,
}

#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    room: RoomAnswer<'a>,
    last: Option<&'a Event>,
    tip: Cursor,
    read: Seq,
    unread: usize,
}

/// GET: up to `limit` of my rooms, those with the newest activity first.
pub(super) async fn rooms(call: &Call) -> Result<Response<Body>, Problem> {
    let (session, _) = call.known()?;
    let after: Option<ListPlace> = call.query("after").map(|place| place.parse()).transpose()?;
    let limit = call.limit(DEFAULT, MOST)?;
    let chat = &call.app.chat;
    // One more than is shown says whether there are more.
    let mut found = chat.log().rooms_of(session.user.id, after, limit + 1).await?;
    let is_last = found.len() <= limit;
    found.truncate(limit);
    let people: HashSet<UserId> =
        found.iter().flat_map(|listed| &listed.room.members).map(|member| member.user.id).collect();
    let online = chat.online_of(people).await;
    let rooms = found.iter().map(|listed| Line {
        room: RoomAnswer::among(&listed.room, &online),
        last: listed.last.as_ref(),
        tip: listed.tip,
        read: listed.read,
        unread: listed.unread,
    });
    let next = found.last().filter(|_| !is_last).map(|listed| listed.place.to_string());
    Ok(json(StatusCode::OK, &Page { rooms: rooms.collect(), next }))
}
