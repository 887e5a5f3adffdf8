//! What people write: names, messages, and the ids that their programs give them.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

use super::Refused;

/// A person's name: 1–32 characters after NFKC and trimming, without control, bidi or zero-width
/// characters and with at most 3 combining marks in a row.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Name(SmolStr);

impl Name {
    /// Most characters (Unicode scalar values) in a name.
    pub const MAX_CHARS: usize = 32;
    /// More marks than this on one character climb out of the line.
    const MAX_MARKS: usize = 3;

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Name {
    type Err = Refused;

    fn from_str(s: &str) -> Result<Self, Refused> {
        const LENGTH: Refused = Refused("a name has 1 to 32 characters");
        if s.len() > Name::MAX_CHARS * 16 {
            return Err(LENGTH);
        }
        let name: String = s.nfkc().collect();
        let name = name.trim();
        if name.is_empty() || name.chars().count() > Name::MAX_CHARS {
            return Err(LENGTH);
        }
        if name.chars().any(is_unseen) {
            return Err(Refused("a name has no control, bidi or zero-width characters"));
        }
        let marks = name.chars().scan(0, |run, c| {
            *run = if is_combining_mark(c) { *run + 1 } else { 0 };
            Some(*run)
        });
        if marks.max() > Some(Name::MAX_MARKS) {
            return Err(Refused("a name has at most 3 combining marks in a row"));
        }
        Ok(Name(name.into()))
    }
}

/// Control characters, line and paragraph separators, bidi controls (UAX #9 §2), zero-width and other
/// characters that show nothing: what would let one name pass for another or turn a line around.
fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffc}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// What somebody says: UTF-8, any characters, at least one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Text(Arc<str>);

impl Text {
    /// Most bytes in a text, whatever is configured; the limit of a server is lower.
    pub const MAX_BYTES: usize = 64 << 10;

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, shared.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

/// Why a [`Text`] was not taken; the two answers have different codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextRefused {
    /// There is nothing to say.
    Empty,
    /// More than [`Text::MAX_BYTES`].
    TooLong,
}

impl FromStr for Text {
    type Err = TextRefused;

    fn from_str(s: &str) -> Result<Self, TextRefused> {
        match s.len() {
            0 => Err(TextRefused::Empty),
            n if n > Text::MAX_BYTES => Err(TextRefused::TooLong),
            _ => Ok(Text(s.into())),
        }
    }
}

/// A speaker's own id for a message: 1–64 characters, none of them a control character.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClientId(Arc<str>);

impl ClientId {
    /// Most characters (Unicode scalar values) in a client id.
    pub const MAX_CHARS: usize = 64;

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ClientId {
    type Err = Refused;

    fn from_str(s: &str) -> Result<Self, Refused> {
        let chars = s.chars().count();
        if chars == 0 || chars > ClientId::MAX_CHARS || s.chars().any(char::is_control) {
            return Err(Refused("a client_id has 1 to 64 characters, none of them a control character"));
        }
        Ok(ClientId(s.into()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_name_is_its_own_name(s in "\\PC{1,20}") {
            if let Ok(name) = s.parse::<Name>() {
                prop_assert_eq!(name.as_str().parse(), Ok(name.clone()));
            }
        }

        #[test]
        fn a_text_is_kept_as_it_is(s in any::<String>()) {
            prop_assume!(!s.is_empty() && s.len() <= Text::MAX_BYTES);
            let text: Text = s.parse().unwrap();
            prop_assert_eq!(text.as_str(), s);
        }
    }

    #[test]
    fn names_are_trimmed_and_composed() {
        assert_eq!("  Ann ".parse::<Name>().unwrap().as_str(), "Ann");
        assert_eq!("하늘".nfd().collect::<String>().parse::<Name>().unwrap().as_str(), "하늘");
        assert_eq!("Ａｎｎ".parse::<Name>().unwrap().as_str(), "Ann");
        assert!("다람쥐 🐿".parse::<Name>().is_ok());
        assert!("é".parse::<Name>().is_ok());
    }

    #[test]
    fn names_that_deceive_are_refused() {
        let long = "a".repeat(33);
        let marks = format!("q{}", "\u{301}".repeat(4));
        let wrong = [
            "",
            " ",
            "\u{3000}",
            "a\nb",
            "a\0",
            "a\u{202e}b",
            "a\u{200b}b",
            "\u{feff}",
            "a\u{2066}b",
            "a\u{ad}b",
            "\u{3164}",
            &long,
            &marks,
        ];
        for s in wrong {
            assert!(s.parse::<Name>().is_err(), "{s:?} was taken");
        }
        assert!("a".repeat(32).parse::<Name>().is_ok());
    }

    #[test]
    fn texts_have_a_length() {
        assert_eq!("".parse::<Text>(), Err(TextRefused::Empty));
        assert!("x".repeat(Text::MAX_BYTES).parse::<Text>().is_ok());
        assert_eq!("x".repeat(Text::MAX_BYTES + 1).parse::<Text>(), Err(TextRefused::TooLong));
    }
}
