//! One request, with what is known of who sent it.

use std::{
    net::IpAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::{
    HeaderMap, Method, Response, StatusCode,
    body::{Body as _, Incoming},
    header::{self, HeaderName, HeaderValue},
    http::request::Parts,
};

use super::{
    App, access,
    body::Body,
    json,
    line::{Line, Transport},
    problem::Problem,
    proxy, site,
};
use crate::{
    chat::Client,
    clock,
    event::{Lang, Name, Refused, Room, RoomKind, UserKind},
    identity::{
        Introduction, Session, names,
        outside::{Outsider, is_ours},
    },
    log::{Known, Who},
};

/// Name of the session cookie.
const COOKIE: &str = "maru_session";

/// One request.
pub(super) struct Call {
    pub(super) app: Arc<App>,
    pub(super) line: Arc<Line>,
    head: Parts,
    body: Option<Incoming>,
    /// Where it comes from, looking through trusted proxies.
    pub(super) address: IpAddr,
    set_cookie: Option<String>,
    /// What the site's token says; it is read once.
    outsider: OnceLock<Option<Result<Outsider, Refused>>>,
}

/// How somebody showed who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    Cookie,
    Bearer,
    Ticket,
}

/// Somebody who may speak, and whose idempotency keys count.
pub(super) struct Speaker {
    pub(super) session: Session,
    pub(super) who: Who,
    /// `None` when it was made for this request: then the cookie is only worth giving if it is used.
    pub(super) shown: Option<Shown>,
}

impl Call {
    pub(super) fn new(app: Arc<App>, line: Arc<Line>, head: Parts, body: Incoming) -> Result<Self, Problem> {
        if head.uri.path().is_empty() || head.uri.authority().is_some() && head.method == Method::CONNECT {
            return Err(Problem::bad_request("this is not a proxy"));
        }
        let forwarded = head.headers.get_all("x-forwarded-for").iter().map(HeaderValue::as_bytes);
        let address = proxy::client_address(line.peer(), forwarded, &app.trusted_proxies);
        app.metrics.warn_of_untrusted_proxy(line.peer(), &head.headers, &app.trusted_proxies);
        let outsider = OnceLock::new();
        Ok(Call { app, line, head, body: Some(body), address, set_cookie: None, outsider })
    }

    pub(super) fn path(&self) -> &str {
        self.head.uri.path()
    }

    pub(super) fn version(&self) -> hyper::Version {
        self.head.version
    }

    pub(super) fn is_head(&self) -> bool {
        self.head.method == Method::HEAD
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// A header's value, if it is there once or more, as text. What is not visible ASCII or UTF-8 is `Err`.
    pub(super) fn header(&self, name: impl header::AsHeaderName) -> Option<Result<&str, ()>> {
        let value = self.head.headers.get(name)?;
        Some(std::str::from_utf8(value.as_bytes()).map_err(|_| ()))
    }

    /// The first value of a query parameter (application/x-www-form-urlencoded, WHATWG URL §5).
    pub(super) fn query(&self, name: &str) -> Option<String> {
        let query = self.head.uri.query()?;
        form_urlencoded::parse(query.as_bytes())
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    }

    /// How many things a page is to have: `?limit=`, from 1 to `most`.
    pub(super) fn limit(&self, default: usize, most: usize) -> Result<usize, Problem> {
        let Some(limit) = self.query("limit") else { return Ok(default) };
        let limit = limit.parse().ok().filter(|limit| (1..=most).contains(limit));
        limit.ok_or_else(|| Problem::bad_request(format!("limit is a number from 1 to {most}")))
    }

    /// The address, or the network, that limits are counted by.
    pub(super) fn client(&self) -> Client {
        Client::from(self.address)
    }

    /// Does the client ask for a page, rather than for a stream?
    pub(super) fn wants_page(&self) -> bool {
        let accept = self.header(header::ACCEPT).and_then(Result::ok).unwrap_or_default();
        accept.split(',').any(|range| {
            range.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text/html"))
        })
    }

    /// Takes the body, within the limits of size and time.
    pub(super) async fn body(&mut self) -> Result<Bytes, Problem> {
        let body = self.body.take().expect("a body is read once");
        let most = self.app.bounds.body as usize;
        let too_large = || Problem::too_large(format!("a body has at most {most} bytes"));
        if body.size_hint().lower() > most as u64 {
            return Err(too_large());
        }
        let time = Duration::from_secs(self.app.bounds.body_time.into());
        match tokio::time::timeout(time, Limited::new(body, most).collect()).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(e)) if e.is::<LengthLimitError>() => Err(too_large()),
            Ok(Err(_)) => Err(Problem::bad_request("the body broke off or is not well formed")),
            Err(_) => {
                Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", "the body took too long"))
            }
        }
    }

    /// The body as JSON.
    pub(super) async fn json<T: serde::de::DeserializeOwned>(&mut self) -> Result<T, Problem> {
        if !self.is_json() && !self.body.as_ref().is_some_and(hyper::body::Body::is_end_stream) {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_type",
                "the body is to be application/json",
            ));
        }
        let body = self.body().await?;
        let body: &[u8] = if body.is_empty() { b"{}" } else { &body };
        parse_json(body)
    }

    /// Is the body said to be JSON?
    pub(super) fn is_json(&self) -> bool {
        let kind = self.media_type();
        kind == "application/json" || kind.starts_with("application/") && kind.ends_with("+json")
    }

    /// `type/subtype` of the body, in lower case; empty when it is not said.
    pub(super) fn media_type(&self) -> String {
        let value = self.header(header::CONTENT_TYPE).and_then(Result::ok).unwrap_or_default();
        value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }

    /// Who this is, if they show it. A cookie that is broken, over or signed out counts as none; a bearer token
    /// or a ticket is meant, so what is wrong with it is said.
    pub(super) fn session(&self) -> Result<Option<(Session, Shown)>, Problem> {
        if let Some(ticket) = self.query("ticket").filter(|_| self.head.method == Method::GET) {
            let session = self.app.seal.read_ticket(&ticket, &decoded(self.path()));
            return self.standing(session, Shown::Ticket, "the ticket is not good for this, or is over");
        }
        if let Some(read) = self.outsider() {
            let outsider = read.as_ref().map_err(|refused| Problem::unauthenticated(refused.0))?;
            return self.standing(Some(outsider.session.clone()), Shown::Bearer, "the token was signed out");
        }
        if let Some(token) = self.bearer() {
            let session = self.app.seal.read_session(token);
            return self.standing(session, Shown::Bearer, "the token is not good, or is over");
        }
        let session = self.cookie().and_then(|token| self.app.seal.read_session(token));
        Ok(session.filter(|session| !self.app.revoked.contains(session.id)).map(|s| (s, Shown::Cookie)))
    }

    fn bearer(&self) -> Option<&str> {
        let (scheme, token) = self.header(header::AUTHORIZATION)?.ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    }

    /// What the bearer token says, if it is not one of ours and there is a site that may have given it.
    fn outsider(&self) -> Option<&Result<Outsider, Refused>> {
        let read = || {
            let outside = self.app.outside.as_ref()?;
            let token = self.bearer().filter(|token| !is_ours(token))?;
            Some(outside.read(token, clock::seconds()))
        };
        self.outsider.get_or_init(read).as_ref()
    }

    /// Sees to it that whoever comes with a token of the site can be found, by the name that it says.
    pub(super) async fn introduce(&self) {
        let Some(Ok(Outsider { session, sub })) = self.outsider() else { return };
        if self.app.revoked.contains(session.id) {
            return;
        }
        let user = &session.user;
        match self.app.introduced.introduce(user) {
            Introduction::Done => return,
            Introduction::First => {}
            Introduction::Renamed => self.app.chat.rename(user.id, &user.name).await,
        }
        self.app.chat.know(Known { user: user.clone(), sub: Some(sub.clone()) }).await;
    }

    /// Is this the operator?
    pub(super) fn is_admin(&self) -> bool {
        self.app.admin.as_ref().zip(self.bearer()).is_some_and(|(admin, token)| admin.is(token))
    }

    /// Lets whoever calls into a room, unless they, or guests from their address, are shut out of it.
    pub(super) async fn let_in(&self, room: &Room, session: Option<&Session>) -> Result<(), Problem> {
        let who = session.map(|session| (session.user.id, session.user.kind));
        let Err(until) = self.app.chat.let_in(room.id, who, self.client()) else { return Ok(()) };
        // Who is not in it is told nothing of it.
        if room.kind == RoomKind::Members
            && let Some((user, _)) = who
        {
            access::membership(&self.app.chat, room, user).await?;
        }
        Err(Problem::banned(until))
    }

    fn standing(
        &self,
        session: Option<Session>,
        shown: Shown,
        otherwise: &'static str,
    ) -> Result<Option<(Session, Shown)>, Problem> {
        match session.filter(|session| !self.app.revoked.contains(session.id)) {
            Some(session) => Ok(Some((session, shown))),
            None => Err(Problem::unauthenticated(otherwise)),
        }
    }

    /// Who this is, if they come with a token of the site, or with one of ours that stands for such a one.
    pub(super) fn member(&self) -> Result<Option<Session>, Problem> {
        let Some(token) = self.bearer() else { return Ok(None) };
        if self.outsider().is_none() && self.app.seal.read_session(token).is_none() {
            // An old token of a guest is worth nothing, and whoever has it wants a new one.
            return Ok(None);
        }
        let known = self.session()?.map(|(session, _)| session);
        Ok(known.filter(|session| session.user.kind == UserKind::Member))
    }

    /// Who this is; they must show it.
    pub(super) fn known(&self) -> Result<(Session, Shown), Problem> {
        self.session()?.ok_or_else(|| Problem::unauthenticated("this needs a session"))
    }

    /// The session of a person who may change things: not by ticket, and not from a foreign page.
    pub(super) fn acting(&self) -> Result<Session, Problem> {
        self.check_site()?;
        Ok(self.known()?.0)
    }

    /// The session of somebody who speaks, made on the spot when there is none.
    pub(super) fn speaker(&self) -> Result<Speaker, Problem> {
        self.check_site()?;
        if let Some((session, shown)) = self.session()? {
            let who = Who(session.user.id.0);
            return Ok(Speaker { session, who, shown: Some(shown) });
        }
        let who = Who(self.app.seal.disguise(&self.client().octets()));
        Ok(Speaker { session: self.guest()?, who, shown: None })
    }

    /// A new guest: with the name asked for, or one drawn in their language.
    pub(super) fn guest(&self) -> Result<Session, Problem> {
        let name = self.query("name").map(|name| name.parse()).transpose()?;
        self.named_guest(name)
    }

    pub(super) fn named_guest(&self, name: Option<Name>) -> Result<Session, Problem> {
        self.app.chat.doors().may_be_born(self.client()).map_err(Problem::rate_limited)?;
        let name = name.unwrap_or_else(|| names::random(self.lang(), &mut rand::rng()));
        Ok(Session::guest(name, clock::seconds()))
    }

    /// The caller's language, or the server's.
    pub(super) fn lang(&self) -> Lang {
        let accepted = self.header(header::ACCEPT_LANGUAGE).and_then(Result::ok);
        names::preferred(accepted, self.app.chat.doors().lang())
    }

    /// Gives the session's cookie with the answer.
    pub(super) fn give_cookie(&mut self, session: &Session) {
        let life = session.expires.saturating_sub(session.issued);
        self.set_cookie = Some(self.cookie_line(&self.app.seal.session(session), life));
    }

    /// Takes the cookie away with the answer.
    pub(super) fn take_cookie(&mut self) {
        self.set_cookie = Some(self.cookie_line("", 0));
    }

    /// Gives a new cookie when the one shown is a day old: sessions end 30 days after they were last used.
    pub(super) fn renew(&mut self, session: &Session, shown: Shown) {
        let now = clock::seconds();
        if shown == Shown::Cookie && session.is_due(now) {
            self.give_cookie(&session.renewed(session.user.name.clone(), now));
        }
    }

    fn cookie_line(&self, token: &str, max_age: u64) -> String {
        let secure = if self.is_tls() { "; Secure" } else { "" };
        format!("{COOKIE}={token}; Path=/; Max-Age={max_age}; HttpOnly; SameSite=Lax{secure}")
    }

    /// Did the request come over TLS? A trusted proxy says how it came to the proxy.
    fn is_tls(&self) -> bool {
        let said = self.header("x-forwarded-proto").and_then(Result::ok);
        match said.filter(|_| proxy::is_trusted(self.line.peer(), &self.app.trusted_proxies)) {
            Some(scheme) => scheme == "https",
            None => self.line.transport() == Transport::Tls,
        }
    }

    fn cookie(&self) -> Option<&str> {
        // Other programs on the same host may have set any bytes beside it.
        let lines = self.head.headers.get_all(header::COOKIE).iter();
        let mut pairs = lines.flat_map(|line| line.as_bytes().split(|b| *b == b';'));
        let token =
            pairs.find_map(|pair| pair.trim_ascii().strip_prefix(COOKIE.as_bytes())?.strip_prefix(b"="))?;
        std::str::from_utf8(token).ok()
    }

    /// A request that changes something and carries the cookie must come from a page of this site, or of one
    /// that is configured, or from a program.
    pub(super) fn check_site(&self) -> Result<(), Problem> {
        if self.cookie().is_none() || site::is_own(&self.head.headers, &self.app.origins) {
            return Ok(());
        }
        Err(Problem::new(StatusCode::FORBIDDEN, "bad_origin", "the page that sent this is of another site"))
    }

    /// What every answer carries.
    pub(super) fn finish(&mut self, response: &mut Response<Body>) {
        let headers = response.headers_mut();
        if let Some(cookie) = self.set_cookie.take() {
            headers.append(header::SET_COOKIE, cookie.parse().expect("a cookie of our own is ASCII"));
        }
        let nosniff = HeaderValue::from_static("nosniff");
        headers.insert(HeaderName::from_static("x-content-type-options"), nosniff);
        site::allow(&self.head.headers, &self.app.origins, headers);
    }
}

/// JSON, or a sentence that says where it goes wrong.
pub(super) fn parse_json<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    json::object(body).map_err(Problem::bad_request)
}

/// A path as tickets know it: decoded, without a trailing `/`.
pub(super) fn decoded(path: &str) -> String {
    let path = percent_encoding::percent_decode_str(path).decode_utf8_lossy();
    path.strip_suffix('/').unwrap_or(&path).to_owned()
}
