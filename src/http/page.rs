//! The page, embedded in the binary.

use std::sync::LazyLock;

use hyper::{
    HeaderMap, Response,
    header::{self, HeaderName, HeaderValue},
};

use super::{body::Body, problem::Problem};
use crate::event::Lang;

mod document;
mod files;
mod lines;
mod packed;
mod scripts;

use files::{SCRIPT, SITE, source};
use packed::Packed;

/// What the page may do: load its own files and talk to its own server. Behind it stands who may frame it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors";

/// Which of the pages it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    /// What maru is.
    Landing,
    /// An open room.
    Room,
    /// Direct messages.
    Chat,
    /// An open room in a frame, on a page of this site or of one that is configured.
    Framed,
}

impl Page {
    const ALL: [Page; 4] = [Page::Landing, Page::Room, Page::Chat, Page::Framed];

    /// The script that it is opened with, by the name of the module that it is for.
    fn script(self) -> &'static str {
        match self {
            Page::Landing => "landing.js",
            Page::Room => "room.js",
            Page::Chat => "chat.js",
            Page::Framed => "framed.js",
        }
    }
}

/// One of the pages, whatever it shows. `origins` are the sites that may frame what can be framed.
pub(super) fn page(page: Page, lang: Lang, request: &HeaderMap, origins: &[String]) -> Response<Body> {
    let mut response = SITE.document(page, lang).answer("text/html; charset=utf-8", request);
    let headers = response.headers_mut();
    for (name, value) in [
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
        (header::VARY, "Accept, Accept-Encoding, Accept-Language"),
        (HeaderName::from_static("permissions-policy"), "camera=(), microphone=(), geolocation=()"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(header::CONTENT_SECURITY_POLICY, policy(page, origins));
    if page == Page::Chat {
        // Whoever opened it in a window gets no hold of that. Browsers change processes for it, which is 30 ms and more
        // before anything is seen, so pages that anybody may read do without.
        let name = HeaderName::from_static("cross-origin-opener-policy");
        headers.insert(name, HeaderValue::from_static("same-origin"));
    }
    if page != Page::Framed {
        headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    }
    response
}

/// `frame-ancestors` (CSP3 §6.4.2) names origins exactly, which `X-Frame-Options` cannot.
fn policy(page: Page, origins: &[String]) -> HeaderValue {
    let ancestors = match page {
        Page::Framed => format!("'self' {}", origins.join(" ")),
        Page::Landing | Page::Room | Page::Chat => "'none'".to_owned(),
    };
    let policy = format!("{POLICY} {}", ancestors.trim_end());
    policy.try_into().expect("origins are ASCII, which settings see to")
}

/// A file of the page: of this version, which never changes, or of another, which is gone.
pub(super) fn asset(version: &str, name: &str, request: &HeaderMap) -> Result<Response<Body>, Problem> {
    let (kind, file) = SITE.file(name).ok_or_else(Problem::not_found)?;
    if version != SITE.version {
        return Err(Problem::not_found());
    }
    let mut response = file.answer(kind, request);
    let for_ever = HeaderValue::from_static("public, max-age=31536000, immutable");
    response.headers_mut().insert(header::CACHE_CONTROL, for_ever);
    Ok(response)
}

/// A script at a path that pages of any site can rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Module {
    /// `/maru.js`: to speak and to listen.
    Client,
    /// `/tokens.js`: to be known without a cookie.
    Tokens,
    /// `/embed.js`: puts a room on a page.
    Embed,
}

/// One of them, with the comments that say how it is used.
pub(super) fn module(module: Module, request: &HeaderMap) -> Response<Body> {
    static MODULES: LazyLock<[Packed; 3]> =
        LazyLock::new(|| ["maru.js", "tokens.js", "embed.js"].map(|name| Packed::new(source(name))));
    let mut response = MODULES[module as usize].answer(SCRIPT, request);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("cross-origin"),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_framed_page_is_framed_and_only_by_configured_sites() {
        let origins = ["https://blog.example".to_owned(), "http://localhost:3000".to_owned()];
        for page in Page::ALL {
            let policy = policy(page, &origins);
            let (_, ancestors) = policy.to_str().unwrap().split_once("; frame-ancestors ").unwrap();
            let framed = "'self' https://blog.example http://localhost:3000";
            assert_eq!(ancestors, if page == Page::Framed { framed } else { "'none'" });
        }
        assert!(policy(Page::Framed, &[]).to_str().unwrap().ends_with("; frame-ancestors 'self'"));
    }
}
