//! Names for guests: two words drawn at random, in their language.
//!
//! The words are chosen so that any two of them make a friendly name: plants, animals, weather and small
//! things, and nothing that is slang for something else. Whoever adds one thinks of all pairs.

use rand::{Rng, RngExt};

use crate::event::{Lang, Name};

/// First and second words, one a line, sorted.
const ENGLISH: [&str; 2] = [include_str!("words/en_adjectives.txt"), include_str!("words/en_nouns.txt")];
const KOREAN: [&str; 2] = [include_str!("words/ko_modifiers.txt"), include_str!("words/ko_nouns.txt")];

/// Two words, such as `Quiet Puffin` or `고요한 은하수`. Not unique: names need not be.
pub fn random(lang: Lang, rng: &mut (impl Rng + ?Sized)) -> Name {
    let [first, second] = words(lang).map(|words| {
        let place = rng.random_range(..words.lines().count());
        words.lines().nth(place).expect("the place is one of the lines")
    });
    format!("{first} {second}").parse().expect("a test makes a name of every pair")
}

fn words(lang: Lang) -> [&'static str; 2] {
    match lang {
        Lang::En => ENGLISH,
        Lang::Ko => KOREAN,
    }
}

/// The language that a client would rather read (`Accept-Language`, RFC 9110 §12.5.4), of those there are; the
/// server's if it does not say, or wants neither.
pub fn preferred(accept_language: Option<&str>, server: Lang) -> Lang {
    let mut best = (0, server);
    for range in accept_language.unwrap_or_default().split(',') {
        let (range, weight) =
            range.split_once(';').map_or((range, Some(1000)), |(range, q)| (range, quality(q)));
        let primary = range.trim().split('-').next().unwrap_or_default();
        let lang = match primary {
            "*" => server,
            ko if ko.eq_ignore_ascii_case("ko") => Lang::Ko,
            en if en.eq_ignore_ascii_case("en") => Lang::En,
            _ => continue,
        };
        // Of two that weigh the same, the first: most browsers list them in order.
        if let Some(weight) = weight.filter(|weight| *weight > best.0) {
            best = (weight, lang);
        }
    }
    best.1
}

/// `q=` and a number from 0 to 1 with at most three decimals (RFC 9110 §12.4.2), in thousandths.
fn quality(parameter: &str) -> Option<u32> {
    let number = parameter.trim().strip_prefix(['q', 'Q'])?.strip_prefix('=')?;
    let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let thousandths = format!("{decimals:0<3}").parse().ok()?;
    match (whole, thousandths) {
        ("0", thousandths) => Some(thousandths),
        ("1", 0) => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    const LANGS: [Lang; 2] = [Lang::En, Lang::Ko];

    #[test]
    fn every_pair_is_a_name() {
        for [firsts, seconds] in LANGS.map(words) {
            for first in firsts.lines() {
                for second in seconds.lines() {
                    let pair = format!("{first} {second}");
                    assert_eq!(pair.parse::<Name>().unwrap().as_str(), pair);
                }
            }
        }
    }

    #[test]
    fn there_are_enough_words_each_once_and_in_order() {
        for list in LANGS.map(words).as_flattened() {
            let words: Vec<&str> = list.lines().collect();
            assert!(words.len() >= 100, "{} words", words.len());
            for pair in words.windows(2) {
                assert!(pair[0] < pair[1], "{pair:?} are not in order");
            }
        }
    }

    #[test]
    fn each_language_has_its_letters() {
        let english = |c: char| c.is_ascii_alphabetic();
        let korean = |c: char| ('가'..='힣').contains(&c);
        assert!(ENGLISH.iter().all(|list| list.lines().all(|word| word.chars().all(english))));
        assert!(KOREAN.iter().all(|list| list.lines().all(|word| word.chars().all(korean))));
    }

    #[test]
    fn names_differ() {
        for lang in LANGS {
            let names: HashSet<Name> = (0..1000).map(|_| random(lang, &mut rand::rng())).collect();
            assert!(names.len() > 850, "only {} of 1000", names.len());
        }
    }

    #[test]
    fn the_language_is_the_one_preferred() {
        use Lang::{En, Ko};
        for (accepted, server, lang) in [
            (None, Ko, Ko),
            (None, En, En),
            (Some(""), Ko, Ko),
            (Some("ko"), En, Ko),
            (Some("ko-KR,ko;q=0.9,en-US;q=0.8,en;q=0.7"), En, Ko),
            (Some("en-GB , en;q=0.9, KO;q=0.8"), Ko, En),
            (Some("fr;q=1, en;q=0.2 ,ko ; q=0.3"), En, Ko),
            (Some("fr, de;q=0.5"), Ko, Ko),
            (Some("fr, *;q=0.5"), Ko, Ko),
            (Some("*, en;q=0.9"), Ko, Ko),
            (Some("*;q=0.1, en;q=0.9"), Ko, En),
            (Some("ko;q=0, en;q=0.001"), Ko, En),
            (Some("en;q=0"), En, En),
            (Some("en;q=1.0,ko;q=1.000"), Ko, En),
            (Some("ko;q=2, en;q=0.1"), Ko, En),
            (Some("ko;q=0.1234, ko;q=-1, ko;q=, ko;x=1, en;q=0.1"), Ko, En),
            (Some("kok, eng"), Ko, Ko),
        ] {
            assert_eq!(preferred(accepted, server), lang, "{accepted:?}");
        }
    }

    proptest! {
        #[test]
        fn any_header_has_an_answer(header in "[a-z*;,=q0-9. -]{0,60}|\\PC{0,60}") {
            let langs = LANGS.map(|server| preferred(Some(&header), server));
            prop_assert!(langs[0] == langs[1] || langs == LANGS);
        }
    }
}
