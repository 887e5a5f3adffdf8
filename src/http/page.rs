//! The page, embedded in the binary.

use std::sync::LazyLock;

use hyper::{
    Response, StatusCode,
    header::{self, HeaderName, HeaderValue},
};
use sha2::{Digest, Sha256};

use super::{answer::with_type, body::Body, problem::Problem};

const SCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! assets {
    ($($name:literal: $kind:expr,)*) => {
        &[$(($name, $kind, include_bytes!(concat!("../page/", $name)))),*]
    };
}

/// Name, type and bytes of each file that the page is made of.
const ASSETS: &[(&str, &str, &[u8])] = assets! {
    "app.js": SCRIPT,
    "avatar.js": SCRIPT,
    "composer.js": SCRIPT,
    "dom.js": SCRIPT,
    "landing.js": SCRIPT,
    "list.js": SCRIPT,
    "maru.js": SCRIPT,
    "outbox.js": SCRIPT,
    "people.js": SCRIPT,
    "room.js": SCRIPT,
    "timeline.js": SCRIPT,
    "words.js": SCRIPT,
    "style.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
};

/// What the page may do: load its own files and talk to its own server, and be framed by nobody.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// The page's HTML, and the version that its files are asked by: a hash over all of them, so that they can be
/// kept for ever.
static PAGE: LazyLock<(String, String)> = LazyLock::new(|| {
    let mut hash = Sha256::new();
    for (name, _, bytes) in ASSETS {
        hash.update(name);
        hash.update(bytes);
    }
    let version: String = hash.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    (include_str!("../page/index.html").replace("{{hash}}", &version), version)
});

/// The page, whatever it shows.
pub(super) fn page() -> Response<Body> {
    let mut response = with_type(StatusCode::OK, "text/html; charset=utf-8", Body::full(PAGE.0.as_bytes()));
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
        (header::VARY, "Accept"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("permissions-policy"), "camera=(), microphone=(), geolocation=()"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// A file of the page: of this version, which never changes, or of another, which is gone.
pub(super) fn asset(version: &str, name: &str) -> Result<Response<Body>, Problem> {
    let (_, kind, bytes) = ASSETS.iter().find(|(known, ..)| *known == name).ok_or_else(Problem::not_found)?;
    if version != PAGE.1 {
        return Err(Problem::not_found());
    }
    let mut response = with_type(StatusCode::OK, kind, Body::full(*bytes));
    let for_ever = HeaderValue::from_static("public, max-age=31536000, immutable");
    response.headers_mut().insert(header::CACHE_CONTROL, for_ever);
    Ok(response)
}

/// The client module at a path that other sites can rely on.
pub(super) fn client_module() -> Response<Body> {
    let (_, kind, bytes) = ASSETS.iter().find(|(name, ..)| *name == "maru.js").expect("it is in the table");
    let mut response = with_type(StatusCode::OK, kind, Body::full(*bytes));
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
    fn every_file_of_the_page_is_served() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/page");
        for entry in std::fs::read_dir(folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            // `package.json` only tells node, in tests, that these are modules.
            let is_known = ASSETS.iter().any(|(known, ..)| *known == name);
            assert!(is_known || name == "index.html" || name == "package.json", "{name} is not embedded");
        }
    }

    #[test]
    fn the_page_asks_for_files_that_there_are() {
        let (html, version) = &*PAGE;
        let prefix = format!("/assets/{version}/");
        let mut asked = html.split(&prefix).skip(1).map(|rest| rest.split('"').next().unwrap()).peekable();
        assert!(asked.peek().is_some());
        for name in asked {
            assert!(ASSETS.iter().any(|(known, ..)| *known == name), "{name} is not there");
        }
    }

    #[test]
    fn scripts_are_small() {
        let bytes: usize = ASSETS.iter().filter(|(_, kind, _)| *kind == SCRIPT).map(|(.., b)| b.len()).sum();
        assert!(bytes <= 60 << 10, "{bytes} bytes of scripts");
    }
}
