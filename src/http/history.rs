//! Pages of the log.

use hyper::{Response, StatusCode};
use serde::Serialize;

use super::{
    access::{Entry, enter},
    answer::json,
    body::Body,
    call::Call,
    problem::Problem,
};
use crate::event::{Cursor, Event, Part};

/// Events of a page, unless asked otherwise.
const DEFAULT: usize = 50;
/// Events of a page at most.
const MOST: usize = 200;

#[derive(Serialize)]
struct Page<'a> {
    room: &'a str,
    events: &'a [Event],
    tip: Cursor,
    /// Where the page before this one ends; `null` when there is none.
    before: Option<Cursor>,
    /// Where the page after this one begins; `null` when there is none.
    after: Option<Cursor>,
}

/// GET: up to `limit` events, ascending.
pub(super) async fn page(call: &Call) -> Result<Response<Body>, Problem> {
    let name = call.query("room").ok_or_else(|| Problem::bad_request("which room?"))?;
    let Entry { room, from, .. } = enter(call, &name).await?;
    let limit = call.limit(DEFAULT, MOST)?;
    let part = match (cursor(call, "before")?, cursor(call, "after")?) {
        (None, None) => Part::Newest,
        (Some(before), None) => Part::Before(before.seq),
        (None, Some(after)) => Part::After(after.seq.max(from.before())),
        (Some(_), Some(_)) => return Err(Problem::bad_request("before or after, not both")),
    };
    // The extent first: what is appended in between lies after this page, and is said to.
    let extent = call.app.chat.log().extent(&room).await?;
    let mut events = call.app.chat.log().page(&room, part, limit).await?;
    events.retain(|event| event.seq >= from);
    // Not bounded by the end of the log: the extent may be older than the page.
    let oldest = extent.first.max(from);
    let first = events.first().filter(|event| event.seq > oldest);
    let last = events.last().filter(|event| event.seq < extent.tip);
    let page = Page {
        room: &room.label,
        events: &events,
        tip: extent.tip().max(events.last().map_or(extent.tip(), Event::cursor)),
        before: first.map(Event::cursor),
        after: last.map(Event::cursor),
    };
    Ok(json(StatusCode::OK, &page))
}

fn cursor(call: &Call, name: &str) -> Result<Option<Cursor>, Problem> {
    Ok(call.query(name).map(|cursor| cursor.parse()).transpose()?)
}
