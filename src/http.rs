//! The front desk: requests in, answers and streams out.
//!
//! [`serve`] takes one connection. Its bytes pass [`framing`], which lets hyper see only heads with one reading;
//! each request becomes a [`Call`] and goes through the one `match` in [`dispatch`]. A plain HTTP/1.1 stream
//! that has caught up leaves hyper for the reading room (`connection`, `line`).

use std::{future::Future, sync::Arc};

use hyper::{Method, Request, Response, StatusCode, body::Incoming, header};
use ipnet::IpNet;
use rand::RngExt;
use tokio::sync::watch;

use crate::{
    chat::Chat,
    config::Limits,
    identity::{Revoked, Seal},
    metrics::Metrics,
};

mod answer;
mod body;
mod call;
mod connection;
mod framing;
mod history;
mod io;
mod line;
mod ops;
mod page;
mod poll;
mod problem;
mod proxy;
mod rooms;
mod route;
mod session;
mod site;
mod speak;
mod start;
mod stream;

pub(crate) use connection::serve;

use body::Body;
use call::Call;
use line::Line;
use problem::Problem;
use route::Route;

/// What a pod is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Takes traffic.
    Serving,
    /// Still takes traffic, but asks for no more: `/readyz` says 503.
    Unready,
    /// Answers what it has and sends streams off.
    Draining,
}

/// All that requests need.
#[derive(Debug)]
pub struct App {
    /// The rooms.
    pub chat: Arc<Chat>,
    /// Signs and reads tokens.
    pub seal: Seal,
    /// Sessions that were signed out.
    pub revoked: Revoked,
    /// Limits of section 8.
    pub bounds: Limits,
    /// Sites whose pages may use this server.
    pub origins: Vec<String>,
    /// Proxies that are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Streams that there may be at once, by the limit of open files.
    pub most_streams: usize,
    /// What is counted.
    pub metrics: Metrics,
    /// What the pod is doing.
    pub stage: watch::Receiver<Stage>,
    /// Within how long streams are sent off.
    pub drain: std::time::Duration,
}

impl App {
    /// Waits until the pod sends everybody off.
    pub(crate) fn stopped(&self) -> impl Future<Output = ()> + use<> {
        let mut stage = self.stage.clone();
        async move {
            // An error means that the pod is gone, which is as good.
            _ = stage.wait_for(|stage| *stage == Stage::Draining).await;
        }
    }
}

impl App {
    /// Does the pod send everybody off?
    pub(crate) fn is_draining(&self) -> bool {
        *self.stage.borrow() == Stage::Draining
    }

    /// Waits until this one stream is to end: somewhere in the drain window.
    pub(crate) fn sent_off(&self) -> impl Future<Output = ()> + use<> {
        let (stopped, window) = (self.stopped(), self.drain);
        async move {
            stopped.await;
            tokio::time::sleep(window.mul_f64(rand::random())).await;
        }
    }

    /// When a stream that is sent off may come back, in ms: spread over the drain window.
    pub(crate) fn drain_retry(&self) -> u32 {
        let window = u32::try_from(self.drain.as_millis()).unwrap_or(u32::MAX);
        rand::rng().random_range(1000..window.max(2000))
    }
}

/// Answers one request, whatever it is.
async fn answer(app: Arc<App>, line: Arc<Line>, request: Request<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let (method, version) = (head.method.clone(), head.version);
    let mut call = match Call::new(app, line, head, body) {
        Ok(call) => call,
        Err(problem) => {
            // What follows CONNECT may be meant for somebody else.
            let mut response = problem.into_response();
            response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
            return response;
        }
    };
    let app = Arc::clone(&call.app);
    let mut response = match route::find(&method, call.path()) {
        Ok(route) => dispatch(&mut call, route).await.unwrap_or_else(Problem::into_response),
        Err(allowed) if method == Method::OPTIONS && !allowed.is_empty() => site::preflight(&allowed),
        Err(allowed) if allowed.is_empty() => Problem::not_found().into_response(),
        Err(allowed) => Problem::method_not_allowed(route::allow(&allowed)).into_response(),
    };
    app.metrics.answered(&method, response.status());
    tracing::debug!(%method, status = response.status().as_u16(), peer = %call.address, "answered");
    call.finish(&mut response);
    if method == Method::HEAD {
        // The stream of a HEAD would never be read.
        *response.body_mut() = Body::empty();
    }
    if version == hyper::Version::HTTP_10 && matches!(response.body(), Body::Stream(_)) {
        response.headers_mut().remove(header::TRANSFER_ENCODING);
    }
    response
}

/// The one table of what is asked and who answers it. What is large and asked less often is boxed: each POST would carry
/// room for it.
async fn dispatch(call: &mut Call, route: Route) -> Result<Response<Body>, Problem> {
    match route {
        Route::Home => Ok(page::page()),
        Route::OpenRoom(slug) => {
            if call.wants_page() {
                return Ok(page::page());
            }
            Box::pin(stream::open(call, &room(&slug)?)).await
        }
        Route::SpeakInOpenRoom(slug) | Route::Speak(slug) => speak::message(call, room(&slug)?).await,
        Route::Events(slug) => Box::pin(stream::open(call, &room(&slug)?)).await,
        Route::EditMessage(slug, seq) => speak::edit(call, room(&slug)?, &seq).await,
        Route::DeleteMessage(slug, seq) => speak::delete(call, room(&slug)?, &seq).await,
        Route::Room(slug) => Box::pin(rooms::room(call, &room(&slug)?)).await,
        Route::Members(slug) => Box::pin(rooms::members(call, &room(&slug)?)).await,
        Route::History => Box::pin(history::page(call)).await,
        Route::NewSession => session::create(call).await,
        Route::Session => session::show(call),
        Route::RenameSession => Box::pin(session::rename(call)).await,
        Route::EndSession => session::end(call).await,
        Route::Ticket => session::ticket(call).await,
        Route::Asset(version, name) => page::asset(&version, &name),
        Route::ClientModule => Ok(page::client_module()),
        Route::Healthz => Ok(ops::healthz()),
        Route::Readyz => Ok(ops::readyz(call)),
        Route::Metrics => Ok(Box::pin(ops::metrics(call)).await),
        Route::OpenApi => Ok(ops::openapi()),
    }
}

/// The open room of this name. What is shaped like the id of a room with members is one that the caller may not
/// know of.
fn room(name: &str) -> Result<crate::event::Room, Problem> {
    if uuid::Uuid::try_parse(name).is_ok() {
        return Err(Problem::not_found());
    }
    let slug: crate::event::Slug = name.parse()?;
    Ok(crate::event::Room::from(&slug))
}

/// A head that says 200 and no more.
fn ok(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::OK;
    response
}
