//! Finding people by their names.

use std::time::Instant;

use serde_json::{Value, json};

use crate::{
    harness::{Maru, Person, assert_problem},
    rates::{assert_rate, until_limited},
};

fn found(maru: &Maru, who: &Person, typed: &str) -> Vec<String> {
    let target = format!("/api/chat/search?q={}", loadtest::speak::percent_encoded(typed));
    let answer = who.get(maru, &target);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let users = answer.json()["users"].as_array().unwrap().clone();
    users.iter().map(|user| user["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn people_are_found_by_the_beginning_of_their_names() {
    let maru = Maru::start();
    let [ann, _, _, anna] = Person::several(&maru, ["Ann", "bob", "Bobby Tables", "Anna"]);
    assert_eq!(found(&maru, &ann, "B"), ["bob", "Bobby Tables"]);
    assert_eq!(found(&maru, &ann, "ｂｏｂｂ"), ["Bobby Tables"]);
    assert_eq!(found(&maru, &ann, "ob"), [""; 0]);
    // Not oneself, and others of the same name are.
    assert_eq!(found(&maru, &ann, "ann"), ["Anna"]);
    let users = ann.get(&maru, "/api/chat/search?q=anna").json();
    assert_eq!(users, json!({"users": [anna.told()]}));
    assert_eq!(ann.get(&maru, "/api/chat/search/?q=b&limit=1").json()["users"].as_array().unwrap().len(), 1);
}

#[test]
fn korean_names_are_found_by_syllables_their_parts_and_their_initials() {
    let maru = Maru::start();
    let [ann, ..] = Person::several(&maru, ["Ann", "한국 사람", "하늘", "까치"]);
    assert_eq!(found(&maru, &ann, "한"), ["한국 사람"]);
    assert_eq!(found(&maru, &ann, "ㅎㄱ"), ["한국 사람"]);
    assert_eq!(found(&maru, &ann, "ㄲ"), ["까치"]);
    let mut both = found(&maru, &ann, "하");
    both.sort();
    assert_eq!(both, ["하늘", "한국 사람"]);
    assert_eq!(found(&maru, &ann, "국"), [""; 0]);
}

#[test]
fn who_chose_a_name_is_found_by_it_and_nobody_else() {
    let maru = Maru::start();
    let [ann, bob] = Person::several(&maru, ["Ann", "Bob"]);
    // A name in a query is for one message, and a drawn one is nobody's choice.
    assert_eq!(maru.client().post("/r/lobby?name=Quentin", "text/plain", "hi").unwrap().status, 201);
    maru.listen_live("/r/lobby?name=Quincy");
    let drawn = maru.client().post_json("/api/session", &json!({})).unwrap();
    assert_eq!(drawn.status, 201);
    let drawn = drawn.json()["user"]["name"].as_str().unwrap().to_owned();
    assert_eq!(found(&maru, &ann, "Qu"), [""; 0]);
    assert_eq!(found(&maru, &ann, &drawn), [""; 0]);
    // Another name replaces the first.
    assert_eq!(bob.patch(&maru, "/api/session", &json!({"name": "Robert"})).status, 200);
    assert_eq!(found(&maru, &ann, "Bob"), [""; 0]);
    assert_eq!(found(&maru, &ann, "rob"), ["Robert"]);
}

#[test]
fn a_search_has_a_session_and_at_least_one_character() {
    let maru = Maru::start();
    let ann = Person::new(&maru, "Ann");
    assert_problem(&maru.client().get("/api/chat/search?q=a").unwrap(), 401, "unauthenticated");
    let long = "x".repeat(33);
    for wrong in ["", "?q=", "?q=%20", "?q=%00", &format!("?q={long}"), "?q=a&limit=0", "?q=a&limit=51"] {
        assert_problem(&ann.get(&maru, &format!("/api/chat/search{wrong}")), 400, "bad_request");
    }
    // What looks like a part of a statement is a part of a name.
    for text in ["%", "_", "\\", "'", "a%", "\u{10ffff}"] {
        assert_eq!(found(&maru, &ann, text), [""; 0], "{text:?}");
    }
}

#[test]
fn nobody_can_list_everybody() {
    let maru = Maru::start();
    let ann = Person::new(&maru, "Ann");
    for n in 0..60 {
        Person::new(&maru, &format!("Guest {n:02}"));
    }
    let users = |target: &str| ann.get(&maru, target).json()["users"].as_array().unwrap().clone();
    assert_eq!(users("/api/chat/search?q=g").len(), 20);
    let most: Vec<Value> = users("/api/chat/search?q=g&limit=50");
    assert_eq!(most.len(), 50);
    // In the order of their names.
    let names: Vec<_> = most.iter().map(|user| user["name"].as_str().unwrap()).collect();
    assert!(names.is_sorted(), "{names:?}");
}

#[test]
fn a_person_and_an_address_search_so_often() {
    let maru = Maru::of_one(&["--limit", "address-guests=1000,address-searches=12"]);
    let people = Person::several(&maru, ["Ann", "Bob", "Cho"]);
    let search = |who: &Person| {
        let mut client = who.client(&maru);
        move || client.get("/api/chat/search?q=x").unwrap()
    };
    let begun = Instant::now();
    let (passed, limited) = until_limited(search(&people[0]));
    assert_problem(&limited, 429, "rate_limited");
    assert_rate(passed, begun.elapsed(), 5, 5);
    // All together are an address.
    let others: u32 = people[1..].iter().map(|who| until_limited(search(who)).0).sum();
    let most = 12.0 + 12.0 * begun.elapsed().as_secs_f64() + 1.0;
    assert!(f64::from(passed + others) <= most, "{passed} and {others}");
}
