//! Finding people.

use hyper::{Response, StatusCode};
use serde::Serialize;

use super::{answer::json, body::Body, call::Call, problem::Problem};
use crate::{event::NameQuery, log::Person};

/// People found, unless asked otherwise.
const DEFAULT: usize = 20;
/// People found at most.
const MOST: usize = 50;

#[derive(Serialize)]
struct Found {
    users: Vec<Person>,
}

/// GET: people whose names begin with `q`, but for the caller.
pub(super) async fn search(call: &Call) -> Result<Response<Body>, Problem> {
    let me = call.known()?.0.user.id;
    let typed = call.query("q").ok_or_else(|| Problem::bad_request("look for whom? q says it"))?;
    let query = NameQuery::new(&typed)?;
    let limit = call.limit(DEFAULT, MOST)?;
    call.app.chat.doors().may_search(me, call.client()).map_err(Problem::rate_limited)?;
    let users = call.app.chat.log().search(me, query, limit).await?;
    let users = users.into_iter().map(|user| Person { id: user.id, name: user.name }).collect();
    Ok(json(StatusCode::OK, &Found { users }))
}
