//! Who is found, and by what.

use super::*;
use crate::{event::NameQuery, log::Known};

impl Store {
    pub(super) fn know(&self, user: &User) {
        let known = Known { user: user.clone(), sub: None };
        self.runtime.block_on(self.log.know(known)).unwrap();
    }

    fn search(&self, me: &User, typed: &str, limit: usize) -> Vec<String> {
        let query = NameQuery::new(typed).unwrap();
        let found = self.runtime.block_on(self.log.search(me.id, query, limit)).unwrap();
        found.into_iter().map(|user| user.name.to_string()).collect()
    }

    fn person(&self, user: &User) -> Option<User> {
        self.runtime.block_on(self.log.person(user.id)).unwrap()
    }
}

#[test]
fn people_are_found_in_the_order_of_their_names_but_for_oneself() {
    let store = Store::new();
    let me = user("Anna");
    store.know(&me);
    for name in ["anne", "Ann Bee", "Bob", "ANN", "ann", "Ａｎｎ", "an", "한국", "하늘", "구름"] {
        store.know(&user(name));
    }
    assert_eq!(store.search(&me, "b", 9), ["Bob"]);
    let anns = store.search(&me, "ann", 9);
    assert!(anns.len() == 5 && anns[3..] == ["Ann Bee", "anne"], "{anns:?}");
    assert_eq!(store.search(&me, "a", 2).len(), 2);
    assert_eq!(store.search(&me, "하", 9), ["하늘", "한국"]);
    // ㄱ comes before ㄴ.
    assert_eq!(store.search(&me, "ㅎ", 9), ["한국", "하늘"]);
    assert_eq!(store.search(&me, "ㅎㄱ", 9), ["한국"]);
    for nobody in ["anna", "%", "_", "a%", "x", "ㄲ"] {
        assert_eq!(store.search(&me, nobody, 9), [""; 0], "{nobody}");
    }
}

#[test]
fn who_was_only_heard_is_known_but_not_found() {
    let store = Store::new();
    let (me, heard) = (user("Me"), user("Heard"));
    store.append(&room("lobby"), &heard, message("hi", None)).unwrap();
    assert_eq!(store.search(&me, "h", 9), [""; 0]);
    assert_eq!((store.person(&heard), store.person(&me)), (Some(heard.clone()), None));
    store.know(&heard);
    assert_eq!(store.search(&me, "h", 9), ["Heard"]);
}

#[test]
fn who_is_found_has_the_name_that_they_are_found_by() {
    let store = Store::new();
    let (me, before) = (user("Me"), user("Before"));
    store.know(&before);
    let after = User { name: "After".parse().unwrap(), kind: UserKind::Member, ..before.clone() };
    store.know(&after);
    // From another device, which still bears the old name.
    store.append(&room("lobby"), &before, message("hi", None)).unwrap();
    assert_eq!(store.person(&before), Some(after));
    assert_eq!(store.search(&me, "before", 9), [""; 0]);
    assert_eq!(store.search(&me, "after", 9), ["After"]);
}
