//! What the pages are made of, as it was written and as it is sent.

use std::sync::LazyLock;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::{
    Page,
    document::{LANGS, document},
    packed::Packed,
};
use crate::event::Lang;

pub(super) const SCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! assets {
    ($($name:literal: $kind:expr,)*) => {
        &[$(($name, $kind, include_bytes!(concat!("../../page/", $name)))),*]
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
    "embed.js": SCRIPT,
    "finder.js": SCRIPT,
    "first.js": SCRIPT,
    "framed.js": SCRIPT,
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
    "tokens.js": SCRIPT,
    "typing.js": SCRIPT,
    "words.js": SCRIPT,
    "you.js": SCRIPT,
    "style.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
};

/// The files as they are sent.
pub(super) struct Site {
    /// By which the files are asked for: a hash over all of them, so that they can be kept for ever.
    pub(super) version: String,
    files: Vec<(&'static str, &'static str, Packed)>,
    /// By page, in each language.
    documents: [[Packed; LANGS.len()]; Page::ALL.len()],
}

pub(super) static SITE: LazyLock<Site> = LazyLock::new(|| {
    let mut hash = Sha256::new();
    let mut files = Vec::new();
    for (name, kind, bytes) in ASSETS {
        let bytes = if *kind == SCRIPT { lean(source(name)).into() } else { Bytes::from_static(bytes) };
        hash.update(name);
        hash.update(&bytes);
        files.push((*name, *kind, Packed::new(bytes)));
    }
    let version: String = hash.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    let documents = Page::ALL.map(|page| {
        let scripts = needed(page);
        LANGS.map(|lang| Packed::new(document(page, lang, &version, &scripts)))
    });
    Site { version, files, documents }
});

impl Site {
    /// The type of a file, and what is in it.
    pub(super) fn file(&self, name: &str) -> Option<(&'static str, &Packed)> {
        self.files.iter().find(|(known, ..)| *known == name).map(|(_, kind, file)| (*kind, file))
    }

    pub(super) fn document(&self, page: Page, lang: Lang) -> &Packed {
        &self.documents[page as usize][lang as usize]
    }
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

/// A file as it was written.
pub(super) fn source(name: &str) -> &'static str {
    let (.., bytes) = ASSETS.iter().find(|(known, ..)| *known == name).expect("it is a file of the page");
    std::str::from_utf8(bytes).expect("files of the page are UTF-8")
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::page::document::SAID;

    #[test]
    fn every_file_of_the_page_is_served() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/page");
        for entry in std::fs::read_dir(folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            // `package.json` only tells node, in tests, that these are modules.
            let is_known = ASSETS.iter().any(|(known, ..)| *known == name);
            let is_markup = name.ends_with(".html") || name == "parts";
            let is_elsewhere = is_markup || ["words.json", "package.json"].contains(&&*name);
            assert!(is_known || is_elsewhere, "{name} is not embedded");
        }
    }

    #[test]
    fn the_page_asks_for_files_that_there_are() {
        let prefix = format!("/assets/{}/", SITE.version);
        for (page, lang) in Page::ALL.into_iter().flat_map(|page| LANGS.map(|lang| (page, lang))) {
            let html = document(page, lang, &SITE.version, &needed(page));
            assert!(!html.contains("{{"), "a place of the document is not filled");
            assert!(html.contains(page.script()), "{page:?} is another document");
            let asked = html.split(&prefix).skip(1).map(|rest| rest.split('"').next().unwrap());
            let missing = |name: &&str| !ASSETS.iter().any(|(known, ..)| known == name);
            assert_eq!(asked.clone().find(missing), None);
            assert!(asked.count() > 3);
        }
    }

    /// Bytes of scripts as they are sent, before compression.
    fn sent(names: &[&str]) -> usize {
        names.iter().chain(&["first.js"]).map(|name| lean(source(name)).len()).sum()
    }

    #[test]
    fn an_open_room_loads_60_kb_of_scripts_at_most_and_nothing_of_direct_messages() {
        // In a frame also what stands in for a cookie.
        for (page, most) in [(Page::Room, 60 << 10), (Page::Framed, 62 << 10)] {
            let room = needed(page);
            assert!(sent(&room) <= most, "{} bytes of scripts", sent(&room));
            assert!(
                !room.contains(&"chat.js") && !room.contains(&"talk.js") && !room.contains(&"phrases.js")
            );
        }
        assert!(sent(&needed(Page::Landing)) <= 12 << 10);
    }

    #[test]
    fn direct_messages_load_60_kb_of_scripts_at_most_before_they_can_be_used() {
        let chat = needed(Page::Chat);
        assert!(sent(&chat) <= 60 << 10, "{} bytes of scripts", sent(&chat));
        assert!(!chat.contains(&"room.js") && !chat.contains(&"people.js"));
    }

    #[test]
    fn what_scripts_say_is_all_there() {
        let scripts = ASSETS.iter().filter(|(_, kind, _)| *kind == SCRIPT).map(|(name, ..)| source(name));
        let asked = scripts.flat_map(|script| script.split("words(\"").skip(1));
        let asked = asked.map(|rest| rest.split('"').next().unwrap());
        assert_eq!(asked.filter(|key| !SAID.contains_key(key)).collect::<Vec<_>>(), [""; 0]);
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
