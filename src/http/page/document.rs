//! The documents: what a page shows at first stands in them, in the reader's language, so that it is painted before
//! any script has run.

use std::{collections::BTreeMap, fmt::Write, sync::LazyLock};

use super::{Page, files::source};
use crate::event::Lang;

/// What the page says, in its languages; each document carries it as data.
const WORDS: &str = include_str!("../../page/words.json");

const SHELL: &str = include_str!("../../page/index.html");

/// What stands in more than one place.
const PARTS: [(&str, &str); 5] = [
    ("{{aside}}", include_str!("../../page/parts/aside.html")),
    ("{{finder}}", include_str!("../../page/parts/finder.html")),
    ("{{floor}}", include_str!("../../page/parts/floor.html")),
    ("{{switches}}", include_str!("../../page/parts/switches.html")),
    ("{{tools}}", include_str!("../../page/parts/tools.html")),
];

pub(super) const LANGS: [Lang; 2] = [Lang::En, Lang::Ko];

/// By its key, in English and in Korean.
pub(super) static SAID: LazyLock<BTreeMap<&str, [&str; 2]>> =
    LazyLock::new(|| serde_json::from_str(WORDS).expect("a test reads the words"));

/// The HTML, which names all that the page is opened with.
pub(super) fn document(page: Page, lang: Lang, version: &str) -> String {
    let framed = if page == Page::Framed { " framed" } else { "" };
    translated(&markup(page), lang)
        .replace("{{lang}}", tag(lang))
        .replace("{{framed}}", framed)
        .replace("{{hash}}", version)
        .replace("{{script}}", page.script())
        .replace("{{words}}", WORDS.trim_end())
        .replace("{{icon}}", source("icon.svg").trim_end())
}

/// All elements of a page, without words.
fn markup(page: Page) -> String {
    let body = match page {
        Page::Landing => include_str!("../../page/landing.html"),
        Page::Room | Page::Framed => include_str!("../../page/room.html"),
        Page::Chat => include_str!("../../page/chat.html"),
    };
    let whole = SHELL.replace("{{page}}", body);
    PARTS.iter().fold(whole, |html, (place, part)| html.replace(place, part.trim_end()))
}

/// With the words of a language: `data-words` is text, `data-label` a name, `data-hint` a placeholder. The page does
/// the same (`dom.js`) for whoever chose another language.
fn translated(html: &str, lang: Lang) -> String {
    let mut whole = String::with_capacity(2 * html.len());
    for piece in html.split_inclusive('>') {
        let word = |place: &str| {
            let (_, rest) = piece.split_once(place)?;
            SAID.get(rest.split('"').next()?).map(|said| said[lang as usize])
        };
        let (tag, end) = piece.split_at(piece.len() - usize::from(piece.ends_with('>')));
        whole.push_str(tag);
        if let Some(name) = word(" data-label=\"") {
            let _ = write!(whole, " aria-label=\"{name}\"");
            if tag.contains("<button") {
                let _ = write!(whole, " title=\"{name}\"");
            }
        }
        if let Some(hint) = word(" data-hint=\"") {
            let _ = write!(whole, " placeholder=\"{hint}\"");
        }
        whole.push_str(end);
        whole.push_str(word(" data-words=\"").unwrap_or_default());
    }
    whole
}

/// BCP 47.
fn tag(lang: Lang) -> &'static str {
    match lang {
        Lang::En => "en",
        Lang::Ko => "ko",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_text_and_no_markup() {
        let is_text = |word: &&str| !word.is_empty() && !word.contains(['<', '>', '&', '"']);
        assert!(SAID.values().flatten().all(is_text));
    }

    #[test]
    fn words_stand_where_the_markup_asks_for_them() {
        let html = "<p data-words=\"send\"></p><a data-label=\"send\"></a><button data-label=\"send\" hidden></button>\
            <input data-hint=\"send\">";
        let korean = "<p data-words=\"send\">보내기</p><a data-label=\"send\" aria-label=\"보내기\"></a>\
            <button data-label=\"send\" hidden aria-label=\"보내기\" title=\"보내기\"></button>\
            <input data-hint=\"send\" placeholder=\"보내기\">";
        assert_eq!(translated(html, Lang::Ko), korean);
    }

    #[test]
    fn what_the_markup_says_is_all_there() {
        for html in Page::ALL.map(markup) {
            for place in ["data-words=\"", "data-label=\"", "data-hint=\""] {
                let asked = html.split(place).skip(1).map(|rest| rest.split('"').next().unwrap());
                assert_eq!(asked.filter(|key| !SAID.contains_key(key)).collect::<Vec<_>>(), [""; 0]);
            }
        }
    }
}
