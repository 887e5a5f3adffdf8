//! The front desk: requests in, answers and streams out.
//!
//! [`serve`] takes one connection, ends its TLS, and sees which HTTP it speaks. In HTTP/1.1 its bytes pass [`framing`], which
//! lets hyper see only heads with one reading; in HTTP/2 each stream is held to the same limits. Each request becomes a
//! [`Call`] and goes through the one `match` in [`dispatch`]. A plain HTTP/1.1 stream that has caught up leaves hyper for
//! the reading room (`connection`, `line`).

use std::{future::Future, sync::Arc};

use hyper::{Method, Request, Response, StatusCode, body::Incoming, header};
use ipnet::IpNet;
use rand::RngExt;
use tokio::sync::watch;

use crate::{
    chat::Chat,
    config::Limits,
    identity::{AdminToken, Introduced, Revoked, Seal, outside::Outside},
    metrics::Metrics,
    tls::Certificates,
};

mod access;
mod answer;
mod bans;
mod body;
mod call;
mod connection;
mod framing;
mod history;
mod http1;
mod http2;
mod io;
mod json;
mod line;
mod list;
mod members;
mod ops;
mod page;
mod people;
mod poll;
mod problem;
mod proxy;
mod request_id;
mod rooms;
mod route;
mod session;
mod site;
mod speak;
pub(crate) mod start;
mod stream;

pub(crate) use connection::serve;
pub(crate) use request_id::RequestId;

use access::{enter, inbox, named};
use body::Body;
use call::Call;
use line::Line;
use page::Page;
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

/// How long a request may be on its way on a connection that is to be closed.
const ON_ITS_WAY: std::time::Duration = std::time::Duration::from_secs(1);

/// All that requests need.
#[derive(Debug)]
pub struct App {
    /// The rooms.
    pub chat: Arc<Chat>,
    /// Signs and reads tokens.
    pub seal: Arc<Seal>,
    /// Reads the tokens of the site that embeds maru.
    pub outside: Option<Arc<Outside>>,
    /// Whom the site's people were made known as.
    pub introduced: Introduced,
    /// What the operator shows.
    pub admin: Option<AdminToken>,
    /// Sessions that were signed out.
    pub revoked: Revoked,
    /// Limits of section 8.
    pub bounds: Limits,
    /// Sites whose pages may use this server.
    pub origins: Vec<String>,
    /// Proxies that are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// What it shows in TLS; without, it speaks plain HTTP.
    pub certificates: Option<Arc<Certificates>>,
    /// Is HTTP/2 spoken without TLS, by prior knowledge?
    pub speaks_h2c: bool,
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
    /// Waits until connections without a request are closed. Not as soon as the pod stops: a request may be on its way,
    /// and whoever sent it, such as a proxy with somebody's message, could not know whether it was carried out.
    pub(crate) fn hung_up(&self) -> impl Future<Output = ()> + use<> {
        let stopped = self.stopped();
        async move {
            stopped.await;
            tokio::time::sleep(ON_ITS_WAY).await;
        }
    }

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

/// Answers one request, whatever it is. All that is logged meanwhile, and by the stream that it may open, has its id.
async fn answer(app: Arc<App>, line: Arc<Line>, request: Request<Incoming>) -> Response<Body> {
    let from = match proxy::is_trusted(line.peer(), &app.trusted_proxies) {
        true => request_id::From::Proxy,
        false => request_id::From::Anybody,
    };
    let id = RequestId::of(request.headers(), from);
    let mut response = id.clone().of_all_in(respond(app, line, request)).await;
    response.headers_mut().insert(request_id::NAME, id.into_header());
    response
}

async fn respond(app: Arc<App>, line: Arc<Line>, request: Request<Incoming>) -> Response<Body> {
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
        Ok(route) => {
            call.introduce().await;
            dispatch(&mut call, route).await.unwrap_or_else(Problem::into_response)
        }
        Err(allowed) if method == Method::OPTIONS && !allowed.is_empty() => site::preflight(&allowed),
        Err(allowed) if allowed.is_empty() => Problem::not_found().into_response(),
        Err(allowed) => Problem::method_not_allowed(route::allow(&allowed)).into_response(),
    };
    app.metrics.answered(&method, response.status());
    tracing::debug!(%method, status = response.status().as_u16(), peer = %call.address, "answered");
    call.finish(&mut response);
    if *app.stage.borrow() != Stage::Serving {
        // Whoever keeps this connection, as proxies do, asks elsewhere the next time: none is closed later with a
        // request on its way.
        response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
    }
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
        Route::Home => Ok(show(call, Page::Landing)),
        Route::Chat => Ok(show(call, Page::Chat)),
        Route::Framed => Ok(show(call, Page::Framed)),
        Route::OpenRoom(slug) => {
            if call.wants_page() {
                return Ok(show(call, Page::Room));
            }
            let entry = Box::pin(enter(call, &slug)).await;
            Box::pin(stream::open(call, entry)).await
        }
        Route::Events(room) => {
            let entry = Box::pin(enter(call, &room)).await;
            Box::pin(stream::open(call, entry)).await
        }
        Route::Inbox => {
            let entry = inbox(call);
            Box::pin(stream::open(call, entry)).await
        }
        Route::SpeakInOpenRoom(room) | Route::Speak(room) => speak::message(call, named(&room)?).await,
        Route::EditMessage(room, seq) => speak::edit(call, named(&room)?, &seq).await,
        Route::DeleteMessage(room, seq) => speak::delete(call, named(&room)?, &seq).await,
        Route::Rooms => Box::pin(list::rooms(call)).await,
        Route::MakeRoom => Box::pin(rooms::make(call)).await,
        Route::Search => Box::pin(people::search(call)).await,
        Route::Room(room) => Box::pin(rooms::show(call, &room)).await,
        Route::Read(room) => Box::pin(rooms::read(call, named(&room)?)).await,
        Route::Typing(room) => Box::pin(rooms::typing(call, named(&room)?)).await,
        Route::Members(room) => Box::pin(members::list(call, &room)).await,
        Route::AddMember(room) => Box::pin(members::add(call, named(&room)?)).await,
        Route::Leave(room) => Box::pin(members::leave(call, named(&room)?)).await,
        Route::History => Box::pin(history::page(call)).await,
        Route::NewSession => session::create(call).await,
        Route::Session => session::show(call),
        Route::RenameSession => Box::pin(session::rename(call)).await,
        Route::EndSession => session::end(call).await,
        Route::Ticket => session::ticket(call).await,
        Route::Ban(name) => Box::pin(bans::ban(call, &name)).await,
        Route::LiftBan(name, user) => Box::pin(bans::lift(call, &name, &user)).await,
        Route::Asset(version, name) => page::asset(&version, &name, call.headers()),
        Route::Module(module) => Ok(page::module(module, call.headers())),
        Route::Healthz => Ok(ops::healthz()),
        Route::Readyz => Ok(ops::readyz(call)),
        Route::Metrics => Ok(Box::pin(ops::metrics(call)).await),
        Route::OpenApi => Ok(ops::openapi()),
    }
}

fn show(call: &Call, page: Page) -> Response<Body> {
    page::page(page, call.lang(), call.headers(), &call.app.origins)
}

/// A head that says 200 and no more.
fn ok(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::OK;
    response
}
