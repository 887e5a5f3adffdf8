//! The page, embedded in the binary.

use std::sync::LazyLock;

use bytes::Bytes;
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
    "attention.js": SCRIPT,
    "avatar.js": SCRIPT,
    "chat.js": SCRIPT,
    "composer.js": SCRIPT,
    "conversation.js": SCRIPT,
    "dialogs.js": SCRIPT,
    "dom.js": SCRIPT,
    "finder.js": SCRIPT,
    "landing.js": SCRIPT,
    "leftoff.js": SCRIPT,
    "list.js": SCRIPT,
    "maru.js": SCRIPT,
    "outbox.js": SCRIPT,
    "people.js": SCRIPT,
    "phrases.js": SCRIPT,
    "room.js": SCRIPT,
    "roomlist.js": SCRIPT,
    "rooms.js": SCRIPT,
    "settings.js": SCRIPT,
    "state.js": SCRIPT,
    "switches.js": SCRIPT,
    "talk.js": SCRIPT,
    "text.js": SCRIPT,
    "timeline.js": SCRIPT,
    "typing.js": SCRIPT,
    "words.js": SCRIPT,
    "you.js": SCRIPT,
    "style.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
};

/// What the page says, in its languages; each document carries it as data.
const WORDS: &str = include_str!("../page/words.json");

/// What the page may do: load its own files and talk to its own server, and be framed by nobody.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// Which of the pages it is: they are one document, and load different scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    /// What maru is.
    Landing,
    /// An open room.
    Room,
    /// Direct messages.
    Chat,
}

impl Page {
    /// The script that the first one loads for it.
    fn script(self) -> &'static str {
        match self {
            Page::Landing => "landing.js",
            Page::Room => "room.js",
            Page::Chat => "chat.js",
        }
    }
}

/// The files as they are sent.
struct Site {
    /// By which the files are asked for: a hash over all of them, so that they can be kept for ever.
    version: String,
    files: Vec<(&'static str, &'static str, Bytes)>,
    landing: String,
    room: String,
    chat: String,
}

static SITE: LazyLock<Site> = LazyLock::new(|| {
    let mut hash = Sha256::new();
    let mut files = Vec::new();
    for (name, kind, bytes) in ASSETS {
        let bytes = if *kind == SCRIPT { lean(source(name)).into() } else { Bytes::from_static(bytes) };
        hash.update(name);
        hash.update(&bytes);
        files.push((*name, *kind, bytes));
    }
    let version: String = hash.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    let [landing, room, chat] = [Page::Landing, Page::Room, Page::Chat].map(|page| document(page, &version));
    Site { version, files, landing, room, chat }
});

/// The HTML, which names what the page will load, so that it is loaded at once.
fn document(page: Page, version: &str) -> String {
    let link = |name: &&str| format!("<link rel=\"modulepreload\" href=\"/assets/{version}/{name}\">");
    let links: Vec<_> = needed(page).iter().filter(|name| **name != "app.js").map(link).collect();
    let html = include_str!("../page/index.html").replace("{{hash}}", version);
    html.replace("{{preload}}", &links.join("\n    ")).replace("{{words}}", WORDS.trim_end())
}

/// The scripts that a page loads: its own, the one that loads that, and what they import.
fn needed(page: Page) -> Vec<&'static str> {
    let mut names = vec!["app.js", page.script()];
    let mut at = 0;
    while let Some(name) = names.get(at) {
        let imports = source(name).split(" from \"./").skip(1);
        for import in imports.filter_map(|rest| rest.split('"').next()) {
            if !names.contains(&import) {
                names.push(import);
            }
        }
        at += 1;
    }
    names
}

/// A script as it was written.
fn source(name: &str) -> &'static str {
    let (.., bytes) =
        ASSETS.iter().find(|(known, ..)| *known == name).expect("imports name files of the page");
    std::str::from_utf8(bytes).expect("scripts are UTF-8")
}

/// A script without what only its readers need: lines of comment, indentation, empty lines. It does not look
/// into strings; those stay on one line (tested).
fn lean(source: &str) -> String {
    let mut lean = String::with_capacity(source.len());
    let mut in_comment = false;
    for line in source.lines().map(str::trim) {
        let is_comment = in_comment || line.starts_with("//") || line.starts_with("/*");
        in_comment = (in_comment || line.starts_with("/*")) && !line.contains("*/");
        if !is_comment && !line.is_empty() {
            lean.push_str(line);
            lean.push('\n');
        }
    }
    lean
}

/// One of the pages, whatever it shows.
pub(super) fn page(page: Page) -> Response<Body> {
    let html = match page {
        Page::Landing => &SITE.landing,
        Page::Room => &SITE.room,
        Page::Chat => &SITE.chat,
    };
    let mut response = with_type(StatusCode::OK, "text/html; charset=utf-8", Body::full(html.as_bytes()));
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
    let (_, kind, bytes) =
        SITE.files.iter().find(|(known, ..)| *known == name).ok_or_else(Problem::not_found)?;
    if version != SITE.version {
        return Err(Problem::not_found());
    }
    let mut response = with_type(StatusCode::OK, kind, Body::full(bytes.clone()));
    let for_ever = HeaderValue::from_static("public, max-age=31536000, immutable");
    response.headers_mut().insert(header::CACHE_CONTROL, for_ever);
    Ok(response)
}

/// The client module at a path that other sites can rely on, with the comments that say how it is used.
pub(super) fn client_module() -> Response<Body> {
    let mut response = with_type(StatusCode::OK, SCRIPT, Body::full(source("maru.js").as_bytes()));
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
            let is_elsewhere = ["index.html", "words.json", "package.json"].contains(&&*name);
            assert!(is_known || is_elsewhere, "{name} is not embedded");
        }
    }

    #[test]
    fn the_page_asks_for_files_that_there_are() {
        let prefix = format!("/assets/{}/", SITE.version);
        for html in [&SITE.landing, &SITE.room, &SITE.chat] {
            assert!(!html.contains("{{"), "a place of the document is not filled");
            let asked = html.split(&prefix).skip(1).map(|rest| rest.split('"').next().unwrap());
            let missing = |name: &&str| !ASSETS.iter().any(|(known, ..)| known == name);
            assert_eq!(asked.clone().find(missing), None);
            assert!(asked.count() > 3);
        }
    }

    /// Bytes of scripts as they are sent, before compression.
    fn sent(names: &[&str]) -> usize {
        names.iter().map(|name| lean(source(name)).len()).sum()
    }

    #[test]
    fn an_open_room_loads_60_kb_of_scripts_at_most_and_nothing_of_direct_messages() {
        let room = needed(Page::Room);
        assert!(sent(&room) <= 60 << 10, "{} bytes of scripts", sent(&room));
        assert!(!room.contains(&"chat.js") && !room.contains(&"talk.js") && !room.contains(&"phrases.js"));
        assert!(sent(&needed(Page::Landing)) <= 12 << 10);
    }

    #[test]
    fn direct_messages_load_60_kb_of_scripts_at_most_before_they_can_be_used() {
        let chat = needed(Page::Chat);
        assert!(sent(&chat) <= 60 << 10, "{} bytes of scripts", sent(&chat));
        assert!(!chat.contains(&"room.js") && !chat.contains(&"people.js"));
    }

    #[test]
    fn what_the_page_says_is_all_there_and_no_markup() {
        let words: std::collections::BTreeMap<&str, [&str; 2]> = serde_json::from_str(WORDS).unwrap();
        assert!(words.values().flatten().all(|word| !word.is_empty() && !word.contains('<')));
        let html = include_str!("../page/index.html");
        for place in ["data-words=\"", "data-label=\"", "data-hint=\""] {
            let asked = html.split(place).skip(1).map(|rest| rest.split('"').next().unwrap());
            assert_eq!(asked.filter(|key| !words.contains_key(key)).collect::<Vec<_>>(), [""; 0]);
        }
        let scripts = ASSETS.iter().filter(|(_, kind, _)| *kind == SCRIPT).map(|(name, ..)| source(name));
        let asked = scripts.flat_map(|script| script.split("words(\"").skip(1));
        let asked = asked.map(|rest| rest.split('"').next().unwrap());
        assert_eq!(asked.filter(|key| !words.contains_key(key)).collect::<Vec<_>>(), [""; 0]);
    }

    #[test]
    fn scripts_lose_comments_and_nothing_else() {
        let script = "/** Why.\n * Because. */\nlet a = 1; // kept: not alone\n\n  // gone\n  /* gone */\n  b(\"//\");\n";
        assert_eq!(lean(script), "let a = 1; // kept: not alone\nb(\"//\");\n");
        for (name, ..) in ASSETS.iter().filter(|(_, kind, _)| *kind == SCRIPT) {
            for line in source(name).lines() {
                assert!(line.matches('`').count() % 2 == 0, "{name}: a string goes over lines: {line}");
                let code_after_comment = line.trim_start().starts_with("/*")
                    && line.split_once("*/").is_some_and(|(_, rest)| !rest.trim().is_empty());
                assert!(!code_after_comment, "{name}: code behind a comment: {line}");
            }
        }
    }
}
