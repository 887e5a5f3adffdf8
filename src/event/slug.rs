//! Names of open rooms.

use std::{fmt, str::FromStr, sync::Arc};

use unicode_normalization::UnicodeNormalization;
use uuid::Uuid;

use super::{Refused, RoomId};

/// Namespace under which slugs become room ids (RFC 9562 §5.5). Any 16 bytes would do, but they may never
/// change: every stored id depends on them.
const OPEN_ROOMS: Uuid = Uuid::from_bytes([
    0x6d, 0x61, 0x72, 0x75, 0x3a, 0x6f, 0x50, 0x65, 0xae, 0x2d, 0x72, 0x6f, 0x6f, 0x6d, 0x73, 0x3a,
]);

/// An open room's name: 1–64 characters, letters and digits of any script, `-` and `_`, in the one spelling
/// that lower-casing and NFKC give it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Slug(Arc<str>);

impl Slug {
    /// Most characters (Unicode scalar values) in a slug.
    pub const MAX_CHARS: usize = 64;

    /// The room of this name.
    pub fn room(&self) -> RoomId {
        RoomId(Uuid::new_v5(&OPEN_ROOMS, self.0.as_bytes()))
    }

    /// The name in its one spelling.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name, shared.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Slug {
    type Err = Refused;

    fn from_str(s: &str) -> Result<Self, Refused> {
        const LENGTH: Refused = Refused("a room's name has 1 to 64 characters");
        // NFKC can make one character of many, or many of one, so the length is checked on both sides; the
        // bound on the way in keeps a huge input from being normalised at all.
        if s.is_empty() || s.len() > Slug::MAX_CHARS * 16 {
            return Err(LENGTH);
        }
        let slug: String = s.nfkc().flat_map(char::to_lowercase).nfkc().collect();
        if slug.chars().count() > Slug::MAX_CHARS {
            return Err(LENGTH);
        }
        if !slug.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_') {
            return Err(Refused("a room's name has letters, digits, - and _ only"));
        }
        if slug == "search" || Uuid::try_parse(&slug).is_ok() {
            return Err(Refused("this name is reserved"));
        }
        Ok(Slug(slug.into()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_slug_is_its_own_slug(s in "[\\p{L}\\p{N}_-]{1,20}") {
            if let Ok(slug) = s.parse::<Slug>() {
                prop_assert_eq!(slug.as_str().parse(), Ok(slug.clone()));
                prop_assert!(slug.as_str().chars().count() <= Slug::MAX_CHARS);
            }
        }
    }

    #[test]
    fn case_and_width_make_no_other_room() {
        let lobby: Slug = "lobby".parse().unwrap();
        for same in ["LOBBY", "Ｌｏｂｂｙ", "lobbY"] {
            assert_eq!(same.parse::<Slug>().unwrap().room(), lobby.room());
        }
        let composed: Slug = "수다방".parse().unwrap();
        let decomposed: String = "수다방".nfd().collect();
        assert_eq!(decomposed.parse(), Ok(composed));
    }

    #[test]
    fn the_id_of_a_room_stays_what_it_was() {
        assert_eq!(
            "lobby".parse::<Slug>().unwrap().room().0.to_string(),
            "726bf947-91eb-5866-a276-a4a97d2f2aed"
        );
    }

    #[test]
    fn what_is_no_slug_is_refused() {
        let long = "a".repeat(65);
        let wrong = [
            "",
            "a b",
            "a/b",
            "a.b",
            "..",
            "a\0",
            "a\n",
            "{1}",
            "a:b",
            "a*",
            "a%",
            "😀",
            "search",
            "SEARCH",
            "00000000-0000-0000-0000-000000000000",
            "00000000000000000000000000000000",
            &long,
        ];
        for s in wrong {
            assert!(s.parse::<Slug>().is_err(), "{s:?} was taken");
        }
        assert!("a".repeat(64).parse::<Slug>().is_ok());
    }
}
