//! Names as they are searched for: by their beginning, without regard to case and width; Korean by syllable, by a
//! part of one (`하` finds 한국) and by initial consonants, 초성 (`ㅎㄱ` finds 한국).

use unicode_normalization::UnicodeNormalization;

use super::{Name, Refused};

/// First of the leading consonants that syllables are made of (Unicode §3.12), which are 19.
const LEADING: u32 = 0x1100;
/// The same consonants as keyboards give them alone: Hangul Compatibility Jamo, in the order of [`LEADING`].
const CONSONANTS: [char; 19] = [
    'ㄱ', 'ㄲ', 'ㄴ', 'ㄷ', 'ㄸ', 'ㄹ', 'ㅁ', 'ㅂ', 'ㅃ', 'ㅅ', 'ㅆ', 'ㅇ', 'ㅈ', 'ㅉ', 'ㅊ', 'ㅋ', 'ㅌ',
    'ㅍ', 'ㅎ',
];

/// What a name is found by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchKeys {
    /// The name in lower case, its syllables taken apart: a prefix of it is what somebody has typed so far.
    pub name: String,
    /// The initial consonants of its syllables, everything else as in `name`; `None` when it has no syllable.
    pub initials: Option<String>,
}

impl SearchKeys {
    /// The keys of a name.
    pub fn of(name: &Name) -> Self {
        let name = folded(name.as_str());
        let initials: String = name.chars().filter_map(initial).collect();
        let has_syllable = name.chars().any(|c| leading(c).is_some());
        SearchKeys { initials: has_syllable.then_some(initials), name }
    }
}

/// The beginning of a name that somebody looks for, at least one character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameQuery {
    /// A prefix of [`SearchKeys::name`].
    Name(String),
    /// A prefix of [`SearchKeys::initials`].
    Initials(String),
}

impl NameQuery {
    /// Understands what was typed.
    ///
    /// # Errors
    /// When there is nothing to look for, or more than a name can have.
    pub fn new(typed: &str) -> Result<Self, Refused> {
        const LENGTH: Refused = Refused("a search has 1 to 32 characters");
        if typed.len() > Name::MAX_CHARS * 16 {
            return Err(LENGTH);
        }
        // Before NFKC, which would make leading consonants of what a keyboard gives alone.
        let typed: String = typed.trim().chars().filter(|c| !c.is_control()).collect();
        if typed.is_empty() || typed.chars().count() > Name::MAX_CHARS {
            return Err(LENGTH);
        }
        if typed.chars().any(|c| CONSONANTS.contains(&c)) {
            let initials: String = typed
                .chars()
                .flat_map(|c| {
                    match CONSONANTS.contains(&c) {
                        true => c.to_string(),
                        false => folded(c.encode_utf8(&mut [0; 4])).chars().filter_map(initial).collect(),
                    }
                    .chars()
                    .collect::<Vec<_>>()
                })
                .collect();
            return Ok(NameQuery::Initials(initials));
        }
        Ok(NameQuery::Name(folded(&typed)))
    }

    /// What the key begins with.
    pub fn prefix(&self) -> &str {
        match self {
            NameQuery::Name(prefix) | NameQuery::Initials(prefix) => prefix,
        }
    }
}

/// Lower case, one width, syllables and accents taken apart.
fn folded(name: &str) -> String {
    let lower: String = name.nfkc().flat_map(char::to_lowercase).collect();
    lower.nfkd().collect()
}

/// Of a folded name: a leading consonant as the keyboard gives it, nothing for the rest of a syllable, and anything
/// else as it is.
fn initial(c: char) -> Option<char> {
    if let Some(consonant) = leading(c) {
        return Some(consonant);
    }
    // Vowels and final consonants of syllables.
    (!('\u{1160}'..='\u{11ff}').contains(&c)).then_some(c)
}

fn leading(c: char) -> Option<char> {
    let at = u32::from(c).checked_sub(LEADING)?;
    CONSONANTS.get(at as usize).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finds(typed: &str, name: &str) -> bool {
        let keys = SearchKeys::of(&name.parse().unwrap());
        match NameQuery::new(typed).unwrap() {
            NameQuery::Name(prefix) => keys.name.starts_with(&prefix),
            NameQuery::Initials(prefix) => keys.initials.is_some_and(|key| key.starts_with(&prefix)),
        }
    }

    #[test]
    fn names_are_found_by_their_beginning_in_any_case_and_width() {
        for typed in ["A", "an", "ANN", "ａｎｎ", "ann b"] {
            assert!(finds(typed, "Ann Bee"), "{typed:?}");
        }
        assert!(finds("Stra", "Straße") && finds("E", "Élise") && finds("é", "Élise"));
        for typed in ["nn", "bee", "annb", "anne"] {
            assert!(!finds(typed, "Ann Bee"), "{typed:?}");
        }
    }

    #[test]
    fn korean_names_are_found_by_syllables_their_parts_and_their_initials() {
        for typed in ["한", "하", "한구", "한국", "ㅎ", "ㅎㄱ", "한국 사", "ㅎㄱ ㅅㄹ", "ㅎㄱ 사", "한ㄱ"]
        {
            assert!(finds(typed, "한국 사람"), "{typed:?}");
        }
        for typed in ["국", "ㄱ", "핸", "ㅎㄴ", "한귝"] {
            assert!(!finds(typed, "한국 사람"), "{typed:?}");
        }
        assert!(finds("ㄲ", "까치") && !finds("ㄱ", "까치"));
        assert!(!finds("ㅎ", "Ann"));
    }

    #[test]
    fn a_search_has_something_to_look_for() {
        let long = "가".repeat(33);
        for typed in ["", " ", "\t\n", "\0", &long] {
            assert!(NameQuery::new(typed).is_err(), "{typed:?}");
        }
    }
}
