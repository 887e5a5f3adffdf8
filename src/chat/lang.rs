//! What the server itself says of people, in its languages.

use crate::event::{Lang, Name};

/// People who did the same thing: those who are named, at least one, and how many there are besides.
#[derive(Clone, Copy)]
pub(super) struct Group<'a> {
    pub(super) named: &'a [&'a Name],
    pub(super) unnamed: usize,
}

impl Group<'_> {
    /// Up to so many people are all named in a sentence.
    const ALL: usize = 3;
    /// Of more, so many are.
    const FEW: usize = 2;

    fn is_empty(&self) -> bool {
        self.named.is_empty()
    }

    /// The names that fit into a sentence, and how many people are left over.
    fn in_short(&self) -> (Vec<&str>, usize) {
        let all = self.named.len() + self.unnamed;
        let most = if all <= Group::ALL { all } else { Group::FEW };
        let names: Vec<&str> = self.named.iter().take(most).map(|name| name.as_str()).collect();
        let others = all - names.len();
        (names, others)
    }
}

impl Lang {
    /// A sentence that tells who came and who went.
    pub(super) fn came_and_went(self, came: Group<'_>, went: Group<'_>) -> String {
        match (self, came.is_empty(), went.is_empty()) {
            (_, true, true) => String::new(),
            (Lang::En, false, true) => format!("{} joined", english(came)),
            (Lang::En, true, false) => format!("{} left", english(went)),
            (Lang::En, false, false) => format!("{} joined; {} left", english(came), english(went)),
            (Lang::Ko, false, true) => format!("{} 들어왔습니다", korean(came)),
            (Lang::Ko, true, false) => format!("{} 나갔습니다", korean(went)),
            (Lang::Ko, false, false) => format!("{} 들어왔고, {} 나갔습니다", korean(came), korean(went)),
        }
    }
}

fn english(group: Group<'_>) -> String {
    let (names, others) = group.in_short();
    match (&names[..], others) {
        ([one], 0) => (*one).to_owned(),
        ([before @ .., last], 0) => format!("{} and {last}", before.join(", ")),
        (names, 1) => format!("{} and 1 other", names.join(", ")),
        (names, others) => format!("{} and {others} others", names.join(", ")),
    }
}

/// With 님 or 명 at the end, so that the particle is 이 whatever the name ends with.
fn korean(group: Group<'_>) -> String {
    let (names, others) = group.in_short();
    match others {
        0 => format!("{} 님이", names.join(", ")),
        others => format!("{} 님 외 {others}명이", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(lang: Lang, came: (&[&str], usize), went: (&[&str], usize)) -> String {
        let names =
            |names: &[&str]| -> Vec<Name> { names.iter().map(|name| name.parse().unwrap()).collect() };
        let (came_names, went_names) = (names(came.0), names(went.0));
        let (came_names, went_names): (Vec<_>, Vec<_>) =
            (came_names.iter().collect(), went_names.iter().collect());
        lang.came_and_went(
            Group { named: &came_names, unnamed: came.1 },
            Group { named: &went_names, unnamed: went.1 },
        )
    }

    #[test]
    fn it_reads_well_in_english() {
        let none: (&[&str], usize) = (&[], 0);
        let told = |came, went| told(Lang::En, came, went);
        assert_eq!(told((&["하늘"], 0), none), "하늘 joined");
        assert_eq!(told(none, (&["Ann", "Bob"], 0)), "Ann and Bob left");
        assert_eq!(told((&["Ann", "Bob", "Cho"], 0), none), "Ann, Bob and Cho joined");
        assert_eq!(told((&["Ann", "Bob", "Cho", "Dee"], 0), none), "Ann, Bob and 2 others joined");
        assert_eq!(told((&["Ann", "Bob"], 3), none), "Ann, Bob and 3 others joined");
        assert_eq!(told((&["Ann"], 1), none), "Ann and 1 other joined");
        assert_eq!(told((&["Ann"], 0), (&["Bob"], 0)), "Ann joined; Bob left");
        assert_eq!(told(none, none), "");
    }

    #[test]
    fn it_reads_well_in_korean() {
        let none: (&[&str], usize) = (&[], 0);
        let told = |came, went| told(Lang::Ko, came, went);
        assert_eq!(told((&["하늘"], 0), none), "하늘 님이 들어왔습니다");
        assert_eq!(told(none, (&["하늘", "바다"], 0)), "하늘, 바다 님이 나갔습니다");
        assert_eq!(told((&["하늘", "바다"], 3), none), "하늘, 바다 님 외 3명이 들어왔습니다");
        assert_eq!(told((&["하늘"], 0), (&["Bob"], 0)), "하늘 님이 들어왔고, Bob 님이 나갔습니다");
    }
}
