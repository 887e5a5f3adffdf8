//! Speaking: messages, edits, deletions.

use std::time::Instant;

use hyper::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{answer::json, bans, body::Body, call::Call, call::parse_json, problem::Problem};
use crate::{
    event::{ClientId, Cursor, Draft, Epoch, Right, Room, RoomKind, Seq, Text, TextRefused, User},
    identity::outside::moderator,
    log::{Ack, Placed, Who},
};

/// What was asked to be said.
#[derive(Deserialize)]
struct Spoken {
    text: String,
    #[serde(default)]
    client_id: Option<String>,
}

/// Where it is now.
#[derive(Serialize)]
struct Answer<'a> {
    id: Uuid,
    room: &'a str,
    epoch: Epoch,
    seq: Seq,
    cursor: Cursor,
    ts: i64,
    duplicate: bool,
    durability: Ack,
}

/// POST of a message: JSON, or the text itself.
pub(super) async fn message(call: &mut Call, room: Room) -> Result<Response<Body>, Problem> {
    if room.kind == RoomKind::Members && call.session()?.is_none() {
        // Nobody becomes a member by being made on the spot.
        return Err(Problem::not_found());
    }
    let ack = ack(call)?;
    let (text, client_id) = spoken(call).await?;
    let speaker = call.speaker()?;
    call.let_in(&room, Some(&speaker.session)).await?;
    let user = speaker.session.user.clone();
    call.app.chat.doors().may_speak(user.id, call.client()).map_err(Problem::rate_limited)?;
    let draft = Draft::Message { text, client_id };
    let since = Instant::now();
    let placed = call.app.chat.speak(room.clone(), user, speaker.who, draft, ack).await?;
    match speaker.shown {
        Some(shown) => call.renew(&speaker.session, shown),
        None if !placed.duplicate => call.give_cookie(&speaker.session),
        None => {}
    }
    call.app.metrics.spoke(&placed, since.elapsed());
    let status = if placed.duplicate { StatusCode::OK } else { StatusCode::CREATED };
    Ok(answer(status, &room, &placed))
}

/// PATCH of one's own message.
pub(super) async fn edit(call: &mut Call, room: Room, target: &str) -> Result<Response<Body>, Problem> {
    let target = seq(target)?;
    let (text, _) = spoken(call).await?;
    let user = changer(call, &room).await?;
    change(call, &room, user, Draft::Edit { target, text }).await
}

/// DELETE of one's own message, or, by a moderator, of any.
pub(super) async fn delete(call: &mut Call, room: Room, target: &str) -> Result<Response<Body>, Problem> {
    let target = seq(target)?;
    let right = bans::right(call, &room).await?;
    let by = if call.is_admin() { moderator() } else { changer(call, &room).await? };
    let id = by.id;
    let answer = change(call, &room, by, Draft::Delete { target, right }).await?;
    if right == Right::Moderator {
        bans::log_deletion(&room, target, id);
    }
    Ok(answer)
}

/// Who changes what they said, if they may now.
async fn changer(call: &Call, room: &Room) -> Result<User, Problem> {
    let session = call.acting()?;
    call.let_in(room, Some(&session)).await?;
    call.app.chat.doors().may_speak(session.user.id, call.client()).map_err(Problem::rate_limited)?;
    Ok(session.user)
}

async fn change(call: &Call, room: &Room, user: User, draft: Draft) -> Result<Response<Body>, Problem> {
    let who = Who(user.id.0);
    let placed = call.app.chat.speak(room.clone(), user, who, draft, None).await?;
    Ok(answer(StatusCode::OK, room, &placed))
}

/// The text of a body, and its idempotency key: the one in JSON, or the header's.
async fn spoken(call: &mut Call) -> Result<(Text, Option<ClientId>), Problem> {
    let kind = call.media_type();
    if kind.starts_with("multipart/") {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_type",
            "a message is JSON, or any other body that is the text itself",
        ));
    }
    let key = idempotency_key(call)?;
    let body = call.body().await?;
    let (text, client_id) = if call.is_json() {
        let Spoken { text, client_id } = parse_json(&body)?;
        (text, client_id.map(|id| id.parse::<ClientId>()).transpose()?)
    } else {
        let text = std::str::from_utf8(&body).map_err(|_| Problem::bad_request("the text is not UTF-8"))?;
        let text = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
        (text.to_owned(), None)
    };
    if text.len() > call.app.bounds.text as usize {
        return Err(TextRefused::TooLong.into());
    }
    Ok((text.parse()?, client_id.or(key)))
}

/// What makes asking twice the same as asking once, if the header says it.
pub(super) fn idempotency_key(call: &Call) -> Result<Option<ClientId>, Problem> {
    match call.header("idempotency-key") {
        Some(Ok(key)) => Ok(Some(key.parse::<ClientId>()?)),
        Some(Err(())) => Err(Problem::bad_request("the Idempotency-Key is not UTF-8")),
        None => Ok(None),
    }
}

/// How safe the event is to be before this answer: what the server gives anyhow, unless asked for more.
fn ack(call: &Call) -> Result<Option<Ack>, Problem> {
    match call.query("ack").as_deref() {
        None => Ok(None),
        Some("buffered") => Ok(Some(Ack::Buffered)),
        Some("stored") => Ok(Some(Ack::Stored)),
        Some(_) => Err(Problem::bad_request("ack is stored or buffered")),
    }
}

fn seq(s: &str) -> Result<Seq, Problem> {
    s.parse().map_err(|_| Problem::not_found())
}

fn answer(status: StatusCode, room: &Room, placed: &Placed) -> Response<Body> {
    let Placed { id, cursor, ts, duplicate, durability } = *placed;
    json(
        status,
        &Answer {
            id,
            room: &room.label,
            epoch: cursor.epoch,
            seq: cursor.seq,
            cursor,
            ts,
            duplicate,
            durability,
        },
    )
}
