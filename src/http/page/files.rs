//! What the pages are made of, as it was written and as it is sent.

use std::sync::LazyLock;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::{
    Page,
    document::{LANGS, document},
    packed::Packed,
    scripts::{alone, joined},
};
use crate::event::Lang;

pub(super) const SCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! assets {
    ($($name:literal: $kind:expr,)*) => {
        &[$(($name, $kind, include_bytes!(concat!("../../page/", $name)))),*]
    };
}

/// Name, type and bytes of each file that the page is made of, as it was written.
const ASSETS: &[(&str, &str, &[u8])] = assets! {
    "attention.js": SCRIPT,
    "avatar.js": SCRIPT,
    "begin.js": SCRIPT,
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
    "openroom.js": SCRIPT,
    "outbox.js": SCRIPT,
    "people.js": SCRIPT,
    "phrases.js": SCRIPT,
    "room.js": SCRIPT,
    "roomlist.js": SCRIPT,
    "rooms.js": SCRIPT,
    "settings.js": SCRIPT,
    "slug.js": SCRIPT,
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
    let mut files = vec![("first.js", SCRIPT, alone("first.js").into())];
    files.extend(
        ASSETS
            .iter()
            .filter(|(_, kind, _)| *kind != SCRIPT)
            .map(|(name, kind, bytes)| (*name, *kind, Bytes::from_static(bytes))),
    );
    for page in Page::ALL {
        let scripts = joined(page.script());
        files.extend(scripts.iter().map(|file| (file.name, SCRIPT, file.text(&scripts).into())));
    }
    let mut hash = Sha256::new();
    for (name, _, bytes) in &files {
        hash.update(name);
        hash.update(bytes);
    }
    let version: String = hash.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    let documents = Page::ALL.map(|page| LANGS.map(|lang| Packed::new(document(page, lang, &version))));
    let files = files.into_iter().map(|(name, kind, bytes)| (name, kind, Packed::new(bytes))).collect();
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

/// A file as it was written.
pub(super) fn source(name: &str) -> &'static str {
    let (.., bytes) = ASSETS.iter().find(|(known, ..)| *known == name).expect("it is a file of the page");
    std::str::from_utf8(bytes).expect("files of the page are UTF-8")
}

/// The names of all scripts.
#[cfg(test)]
pub(super) fn scripts() -> impl Iterator<Item = &'static str> {
    ASSETS.iter().filter(|(_, kind, _)| *kind == SCRIPT).map(|(name, ..)| *name)
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
            let html = document(page, lang, &SITE.version);
            assert!(!html.contains("{{"), "a place of the document is not filled");
            let mut asked: Vec<_> =
                html.split(&prefix).skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
            assert!(asked.iter().all(|name| SITE.file(name).is_some()), "{asked:?}");
            asked.sort_unstable();
            let mut files = ["first.js", "icon.svg", "style.css", page.script()];
            files.sort_unstable();
            assert_eq!(asked, files, "{page:?}");
        }
    }

    #[test]
    fn no_file_stands_for_two() {
        let mut names: Vec<_> = SITE.files.iter().map(|(name, ..)| name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
    }

    /// The scripts of a page as they are sent, before compression: what it is opened with, and all.
    fn sent(page: Page) -> (usize, usize) {
        let files = joined(page.script());
        let sizes: Vec<_> = files.iter().map(|file| file.text(&files).len()).collect();
        let first = alone("first.js").len();
        (first + sizes[0], first + sizes.iter().sum::<usize>())
    }

    #[test]
    fn what_a_page_is_opened_with_stays_small() {
        // In a frame also what stands in for a cookie.
        for (page, most) in [
            (Page::Landing, 6 << 10),
            (Page::Room, 59 << 10),
            (Page::Framed, 60 << 10),
            (Page::Chat, 46 << 10),
        ] {
            let (opening, _) = sent(page);
            assert!(opening <= most, "{page:?}: {opening} bytes");
        }
        assert!(sent(Page::Chat).1 <= 88 << 10, "{:?}", sent(Page::Chat));
    }

    #[test]
    fn pages_load_nothing_of_each_other() {
        let modules =
            |page: Page| joined(page.script()).into_iter().flat_map(|file| file.modules).collect::<Vec<_>>();
        for (page, of_others) in [
            (Page::Room, &["chat.js", "talk.js", "phrases.js", "tokens.js"][..]),
            (Page::Framed, &["chat.js", "talk.js", "phrases.js"]),
            (Page::Chat, &["room.js", "people.js", "tokens.js"]),
        ] {
            let found: Vec<_> = modules(page).into_iter().filter(|name| of_others.contains(name)).collect();
            assert_eq!(found, [""; 0], "{page:?}");
        }
    }

    #[test]
    fn what_scripts_say_is_all_there() {
        let asked = scripts().flat_map(|name| source(name).split("words(\"").skip(1));
        let asked = asked.map(|rest| rest.split('"').next().unwrap());
        assert_eq!(asked.filter(|key| !SAID.contains_key(key)).collect::<Vec<_>>(), [""; 0]);
    }
}
