//! What a room is; making one; what is said of it beside its log.

use std::collections::HashSet;

use hyper::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    access::{Entry, enter, membership},
    answer::json,
    body::Body,
    call::Call,
    members::{RoomAnswer, my_room},
    problem::Problem,
    speak::idempotency_key,
};
use crate::{
    event::{
        ClientId, Cursor, MOST_MEMBERS, Name, NewRoom, Room, RoomId, RoomKind, Seq, Shape, User, UserId,
    },
    log::LogError,
};

#[derive(Serialize)]
struct OpenRoom<'a> {
    id: RoomId,
    kind: &'static str,
    name: &'a str,
    online: usize,
    tip: Cursor,
}

/// A room with members, as one of them sees it.
#[derive(Serialize)]
struct MyRoom<'a> {
    #[serde(flatten)]
    room: RoomAnswer<'a>,
    online: usize,
    tip: Cursor,
    read: Seq,
    unread: usize,
}

#[derive(Deserialize)]
struct Wish {
    members: Vec<UserId>,
    #[serde(default)]
    name: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Mark {
    #[serde(rename(serialize = "read", deserialize = "seq"))]
    seq: Seq,
}

/// GET: the room.
pub(super) async fn show(call: &Call, name: &str) -> Result<Response<Body>, Problem> {
    let Entry { room, known, .. } = enter(call, name).await?;
    let me = known.map(|(session, _)| session.user.id);
    match (room.kind, me) {
        (RoomKind::Members, Some(me)) => show_mine(call, &room, me).await,
        _ => {
            let tip = tip(call, &room).await?;
            let online = call.app.chat.online(room.id).await;
            Ok(json(StatusCode::OK, &OpenRoom { id: room.id, kind: "open", name: &room.label, online, tip }))
        }
    }
}

async fn show_mine(call: &Call, room: &Room, me: UserId) -> Result<Response<Body>, Problem> {
    let chat = &call.app.chat;
    let made = my_room(chat, room, me).await?;
    let read = made.members.iter().find(|member| member.user.id == me).map_or(Seq(0), |member| member.read);
    let tip = tip(call, room).await?;
    let unread = chat.unread(room, me, read).await?;
    let room = RoomAnswer::of(chat, &made).await;
    let online = room.online();
    Ok(json(StatusCode::OK, &MyRoom { room, online, tip, read, unread }))
}

/// The end of a room's log.
async fn tip(call: &Call, room: &Room) -> Result<Cursor, LogError> {
    let log = call.app.chat.log();
    let Some(present) = call.app.chat.present(room.id) else { return Ok(log.extent(room).await?.tip()) };
    let heard = present.feed().tip();
    if !log.has_other_pods() {
        return Ok(heard);
    }
    // Another pod may be further than this one has heard.
    Ok(log.extent(room).await.map_or(heard, |extent| extent.tip()))
}

/// POST: a room of the caller and others. The same two people have one, however often it is made.
pub(super) async fn make(call: &mut Call) -> Result<Response<Body>, Problem> {
    let maker = call.acting()?.user;
    let key = idempotency_key(call)?;
    let Wish { members, name } = call.json().await?;
    let name = name.map(|name| name.parse()).transpose()?;
    let wish = wish(maker, members, name, key)?;
    let chat = &call.app.chat;
    chat.doors().may_make_room(wish.maker.id).map_err(Problem::rate_limited)?;
    let me = wish.maker.id;
    let (made, is_new) = chat.make_room(wish).await?;
    if !made.members.iter().any(|member| member.user.id == me) {
        // Made with this key once, and left since.
        return Err(Problem::not_found());
    }
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok(json(status, &RoomAnswer::of(chat, &made).await))
}

/// The room that is wished for: two people without a name for it are a pair.
fn wish(
    maker: User,
    members: Vec<UserId>,
    name: Option<Name>,
    key: Option<ClientId>,
) -> Result<NewRoom, Problem> {
    let mut seen = HashSet::from([maker.id]);
    let others: Vec<UserId> = members.into_iter().filter(|user| seen.insert(*user)).collect();
    if others.len() >= MOST_MEMBERS {
        return Err(Problem::bad_request(format!("a room has at most {MOST_MEMBERS} members")));
    }
    let (id, shape) = match (&others[..], &name, key) {
        ([], ..) => return Err(Problem::bad_request("a room has members besides the one who makes it")),
        ([other], None, _) => (RoomId::of_pair(maker.id, *other), Shape::Direct),
        (_, _, Some(key)) => (RoomId(Uuid::new_v5(&maker.id.0, key.as_str().as_bytes())), Shape::Group),
        (_, _, None) => (RoomId(Uuid::now_v7()), Shape::Group),
    };
    Ok(NewRoom { id, shape, name, maker, others })
}

/// POST: up to where the caller has read.
pub(super) async fn read(call: &mut Call, room: Room) -> Result<Response<Body>, Problem> {
    let me = call.acting()?.user.id;
    with_members(&room)?;
    let Mark { seq } = call.json().await?;
    // So that whoever is not in it is not told to wait.
    membership(&call.app.chat, &room, me).await?;
    call.app.chat.doors().may_mark(me).map_err(Problem::rate_limited)?;
    let seq = call.app.chat.read(room.id, me, seq).await?;
    Ok(json(StatusCode::OK, &Mark { seq }))
}

/// POST: the caller is writing.
pub(super) async fn typing(call: &mut Call, room: Room) -> Result<Response<Body>, Problem> {
    let session = call.acting()?;
    let me = &session.user;
    if room.kind == RoomKind::Members {
        membership(&call.app.chat, &room, me.id).await?;
    }
    call.let_in(&room, Some(&session)).await?;
    call.app.chat.doors().may_type(me.id).map_err(Problem::rate_limited)?;
    call.app.chat.typing(&room, me);
    Ok(done())
}

/// What is asked of a room makes sense only where there are members.
pub(super) fn with_members(room: &Room) -> Result<(), Problem> {
    match room.kind {
        RoomKind::Members => Ok(()),
        RoomKind::Open | RoomKind::Inbox => {
            Err(Problem::bad_request("this is an open room: it has no members, and nobody's read marks"))
        }
    }
}

/// 204.
pub(super) fn done() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::UserKind;

    fn wished(others: usize, name: Option<&str>, key: Option<&str>) -> (User, Result<NewRoom, Problem>) {
        let maker = User { id: UserId::random(), name: "Ann".parse().unwrap(), kind: UserKind::Guest };
        let mut members: Vec<UserId> = (0..others).map(|_| UserId::random()).collect();
        members.extend(members.clone());
        members.push(maker.id);
        let name = name.map(|name| name.parse().unwrap());
        (maker.clone(), wish(maker, members, name, key.map(|key| key.parse().unwrap())))
    }

    #[test]
    fn two_people_are_a_pair_unless_they_have_a_name_for_it() {
        let (ann, pair) = wished(1, None, Some("key"));
        let pair = pair.unwrap();
        assert_eq!((pair.shape, pair.others.len()), (Shape::Direct, 1));
        assert_eq!(pair.id, RoomId::of_pair(pair.others[0], ann.id));
        assert_eq!(wished(1, Some("us"), None).1.unwrap().shape, Shape::Group);
        assert_eq!(wished(2, None, None).1.unwrap().shape, Shape::Group);
    }

    #[test]
    fn a_group_is_another_each_time_but_for_its_key() {
        let maker = wished(2, None, None).0;
        let others = vec![UserId::random(), UserId::random()];
        let id = |key: Option<&str>| {
            wish(maker.clone(), others.clone(), None, key.map(|key| key.parse().unwrap())).unwrap().id
        };
        assert_ne!(id(None), id(None));
        assert_eq!(id(Some("a")), id(Some("a")));
        assert_ne!(id(Some("a")), id(Some("b")));
    }

    #[test]
    fn nobody_is_alone_in_a_room_and_not_everybody_fits_in() {
        assert!(wished(0, None, None).1.is_err());
        assert!(wished(MOST_MEMBERS - 1, None, None).1.is_ok());
        assert!(wished(MOST_MEMBERS, None, None).1.is_err());
    }
}
