//! Which paths there are, and what may be done to them.

use hyper::Method;
use percent_encoding::percent_decode_str;

use super::page::Module;

/// A request's target, understood. Text in it is decoded but not yet checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Home,
    OpenRoom(String),
    SpeakInOpenRoom(String),
    Chat,
    Framed,
    NewSession,
    Session,
    RenameSession,
    EndSession,
    Ticket,
    Rooms,
    MakeRoom,
    Search,
    Ban(String),
    LiftBan(String, String),
    Room(String),
    Inbox,
    Events(String),
    Speak(String),
    EditMessage(String, String),
    DeleteMessage(String, String),
    Read(String),
    Typing(String),
    Members(String),
    AddMember(String),
    Leave(String),
    History,
    Asset(String, String),
    Module(Module),
    Healthz,
    Readyz,
    Metrics,
    OpenApi,
}

type Build = fn(&mut dyn Iterator<Item = String>) -> Route;

/// Every route: method, path (`{}` is a segment of any text) and what it is. `/openapi.json` is tested against
/// this table.
pub(super) const TABLE: &[(Method, &str, Build)] = &[
    (Method::GET, "/", |_| Route::Home),
    (Method::GET, "/r/{slug}", |s| Route::OpenRoom(text(s))),
    (Method::POST, "/r/{slug}", |s| Route::SpeakInOpenRoom(text(s))),
    (Method::GET, "/chat/", |_| Route::Chat),
    (Method::GET, "/chat/{room}", |_| Route::Chat),
    (Method::GET, "/embed/{slug}", |_| Route::Framed),
    (Method::POST, "/api/session", |_| Route::NewSession),
    (Method::GET, "/api/session", |_| Route::Session),
    (Method::PATCH, "/api/session", |_| Route::RenameSession),
    (Method::DELETE, "/api/session", |_| Route::EndSession),
    (Method::POST, "/api/session/ticket", |_| Route::Ticket),
    (Method::GET, "/api/chat/", |_| Route::Rooms),
    (Method::POST, "/api/chat/", |_| Route::MakeRoom),
    // Before the room of any name: no slug is `search`.
    (Method::GET, "/api/chat/search", |_| Route::Search),
    (Method::POST, "/api/chat/{room}/bans", |s| Route::Ban(text(s))),
    (Method::DELETE, "/api/chat/{room}/bans/{user}", |s| Route::LiftBan(text(s), text(s))),
    (Method::GET, "/api/chat/{room}", |s| Route::Room(text(s))),
    (Method::GET, "/api/chat/{room}/events", |s| Route::Events(text(s))),
    (Method::POST, "/api/chat/{room}/messages", |s| Route::Speak(text(s))),
    (Method::PATCH, "/api/chat/{room}/messages/{seq}", |s| Route::EditMessage(text(s), text(s))),
    (Method::DELETE, "/api/chat/{room}/messages/{seq}", |s| Route::DeleteMessage(text(s), text(s))),
    (Method::POST, "/api/chat/{room}/read", |s| Route::Read(text(s))),
    (Method::POST, "/api/chat/{room}/typing", |s| Route::Typing(text(s))),
    (Method::GET, "/api/chat/{room}/members", |s| Route::Members(text(s))),
    (Method::POST, "/api/chat/{room}/members", |s| Route::AddMember(text(s))),
    (Method::DELETE, "/api/chat/{room}/members/me", |s| Route::Leave(text(s))),
    (Method::GET, "/api/events", |_| Route::Inbox),
    (Method::GET, "/api/history", |_| Route::History),
    (Method::GET, "/assets/{version}/{name}", |s| Route::Asset(text(s), text(s))),
    (Method::GET, "/maru.js", |_| Route::Module(Module::Client)),
    (Method::GET, "/tokens.js", |_| Route::Module(Module::Tokens)),
    (Method::GET, "/embed.js", |_| Route::Module(Module::Embed)),
    (Method::GET, "/healthz", |_| Route::Healthz),
    (Method::GET, "/readyz", |_| Route::Readyz),
    (Method::GET, "/metrics", |_| Route::Metrics),
    (Method::GET, "/openapi.json", |_| Route::OpenApi),
];

fn text(segments: &mut dyn Iterator<Item = String>) -> String {
    segments.next().expect("a path has as many texts as its template")
}

/// The route of a request, or the methods that its path knows (none: there is no such path). A trailing `/`
/// makes no difference, and HEAD is a GET.
pub(super) fn find(method: &Method, path: &str) -> Result<Route, Vec<Method>> {
    let method = if method == Method::HEAD { &Method::GET } else { method };
    let path = path.strip_suffix('/').unwrap_or(path);
    let mut allowed = Vec::new();
    for (known, template, build) in TABLE {
        let Some(texts) = matches(template.strip_suffix('/').unwrap_or(template), path) else { continue };
        if known == method {
            return Ok(build(&mut texts.into_iter()));
        }
        allowed.push(known.clone());
    }
    Err(allowed)
}

/// The methods of an `Allow` field (RFC 9110 §10.2.1).
pub(super) fn allow(methods: &[Method]) -> String {
    let mut names: Vec<_> = methods.iter().map(Method::as_str).collect();
    if names.contains(&"GET") {
        names.push("HEAD");
    }
    names.push("OPTIONS");
    names.join(", ")
}

/// The decoded texts of a path's free segments, if it fits the template.
fn matches(template: &str, path: &str) -> Option<Vec<String>> {
    let mut texts = Vec::new();
    let mut segments = path.split('/');
    for expected in template.split('/') {
        let segment = segments.next()?;
        if expected.starts_with('{') {
            let text = percent_decode_str(segment).decode_utf8().ok().filter(|text| !text.is_empty())?;
            texts.push(text.into_owned());
        } else if expected != segment {
            return None;
        }
    }
    segments.next().is_none().then_some(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trailing_slash_makes_no_difference() {
        for path in ["/r/lobby", "/r/lobby/"] {
            assert_eq!(find(&Method::GET, path), Ok(Route::OpenRoom("lobby".into())));
        }
        assert_eq!(find(&Method::GET, "/"), Ok(Route::Home));
        assert_eq!(find(&Method::GET, "/chat/"), Ok(Route::Chat));
    }

    #[test]
    fn texts_are_decoded_once() {
        assert_eq!(find(&Method::POST, "/r/%EC%88%98%EB%8B%A4"), Ok(Route::SpeakInOpenRoom("수다".into())));
        assert_eq!(find(&Method::GET, "/r/%252F"), Ok(Route::OpenRoom("%2F".into())));
        assert_eq!(find(&Method::GET, "/r/a%2Fb"), Ok(Route::OpenRoom("a/b".into())));
        assert_eq!(find(&Method::GET, "/r/%FF"), Err(vec![]));
    }

    #[test]
    fn what_is_not_there_is_told_from_what_may_not_be_done() {
        assert_eq!(find(&Method::GET, "/r"), Err(vec![]));
        assert_eq!(find(&Method::GET, "/r//"), Err(vec![]));
        assert_eq!(find(&Method::GET, "/api/chat/lobby/events/more"), Err(vec![]));
        assert_eq!(find(&Method::PUT, "/r/lobby"), Err(vec![Method::GET, Method::POST]));
        assert_eq!(allow(&[Method::GET, Method::POST]), "GET, POST, HEAD, OPTIONS");
    }

    #[test]
    fn two_texts_keep_their_order() {
        assert_eq!(
            find(&Method::DELETE, "/api/chat/lobby/messages/7"),
            Ok(Route::DeleteMessage("lobby".into(), "7".into()))
        );
    }
}
