//! Sessions: who one is, for how long, and under which name.

use hyper::{Response, StatusCode};
use serde::{Deserialize, Serialize};

use super::{
    answer::json,
    body::Body,
    call::{Call, Shown, decoded},
    problem::Problem,
};
use crate::{
    chat::Select,
    clock,
    event::{Name, User, UserKind},
    identity::Session,
    log::Known,
};

#[derive(Deserialize)]
struct Asked {
    name: Option<String>,
}

#[derive(Deserialize)]
struct TicketFor {
    path: String,
}

/// Times are ms since 1970 (UTC), as everywhere.
#[derive(Serialize)]
struct Answer<'a> {
    user: &'a User,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    expires_at: u64,
}

#[derive(Serialize)]
struct TicketAnswer {
    ticket: String,
    expires_at: u64,
}

/// POST: somebody new; or, for whoever comes with a token of the site, a cookie of the same session.
pub(super) async fn create(call: &mut Call) -> Result<Response<Body>, Problem> {
    call.check_site()?;
    if let Some(session) = call.member()? {
        return Ok(given(call, StatusCode::CREATED, &session));
    }
    let Asked { name } = call.json().await?;
    let name: Option<Name> = name.map(|name| name.parse()).transpose()?;
    let is_chosen = name.is_some();
    let session = call.named_guest(name)?;
    if is_chosen {
        know(call, &session).await;
    }
    Ok(given(call, StatusCode::CREATED, &session))
}

/// GET: who I am. A token that is a day old is given anew, as the cookie is.
pub(super) fn show(call: &mut Call) -> Result<Response<Body>, Problem> {
    let (mut session, shown) = call.known()?;
    call.renew(&session, shown);
    let now = clock::seconds();
    let token = (shown == Shown::Bearer && session.is_due(now)).then(|| {
        session = session.renewed(session.user.name.clone(), now);
        call.app.seal.session(&session)
    });
    Ok(json(StatusCode::OK, &Answer { user: &session.user, token, expires_at: session.expires * 1000 }))
}

/// PATCH: another name. What was said before keeps the old one.
pub(super) async fn rename(call: &mut Call) -> Result<Response<Body>, Problem> {
    let session = call.acting()?;
    if session.user.kind == UserKind::Member {
        return Err(Problem::forbidden("the site says by which name its people are known"));
    }
    let Asked { name } = call.json().await?;
    let name = name.ok_or_else(|| Problem::bad_request("there is no name"))?.parse()?;
    call.app.chat.doors().may_speak(session.user.id, call.client()).map_err(Problem::rate_limited)?;
    let session = session.renewed(name, clock::seconds());
    call.app.chat.rename(session.user.id, &session.user.name).await;
    know(call, &session).await;
    Ok(given(call, StatusCode::OK, &session))
}

/// DELETE: sign out. From now on the token is worth nothing, and streams opened with it end.
pub(super) async fn end(call: &mut Call) -> Result<Response<Body>, Problem> {
    call.check_site()?;
    let (session, shown) = call.known()?;
    if shown == Shown::Ticket {
        return Err(Problem::unauthenticated("a ticket only reads"));
    }
    let until = session.ends(clock::seconds());
    call.app.chat.revoke(session.id, until).await?;
    call.app.revoked.insert(session.id, until.cast_signed(), clock::seconds());
    call.app.chat.end(Select::Session(session.id));
    call.take_cookie();
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

/// POST: a ticket for a stream that a page of another site opens.
pub(super) async fn ticket(call: &mut Call) -> Result<Response<Body>, Problem> {
    let session = call.acting()?;
    let TicketFor { path } = call.json().await?;
    if !path.starts_with('/') || path.contains(['?', '#']) || path.len() > 1024 {
        return Err(Problem::bad_request("a path starts with / and has no query"));
    }
    let (ticket, expires) = call.app.seal.ticket(&session, &decoded(&path), clock::seconds());
    Ok(json(StatusCode::CREATED, &TicketAnswer { ticket, expires_at: expires * 1000 }))
}

/// Who has chosen a name can be found by it.
async fn know(call: &Call, session: &Session) {
    call.app.chat.know(Known { user: session.user.clone(), sub: None }).await;
}

fn given(call: &mut Call, status: StatusCode, session: &Session) -> Response<Body> {
    call.give_cookie(session);
    let token = call.app.seal.session(session);
    json(status, &Answer { user: &session.user, token: Some(token), expires_at: session.expires * 1000 })
}
