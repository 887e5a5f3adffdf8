//! The list of one's rooms: its order, its pages, and what is unread.

use proptest::{prelude::*, test_runner::TestRunner};
use serde_json::{Value, json};

use crate::harness::{Maru, Person, assert_problem, at_length, wait_for};

fn rooms(maru: &Maru, who: &Person, query: &str) -> (Vec<Value>, Option<String>) {
    let page = who.get(maru, &format!("/api/chat/{query}"));
    assert_eq!(page.status, 200, "{}", page.text());
    let page = page.json();
    (page["rooms"].as_array().unwrap().clone(), page["next"].as_str().map(str::to_owned))
}

fn room(maru: &Maru, who: &Person, id: &str) -> Value {
    rooms(maru, who, "?limit=100").0.into_iter().find(|room| room["id"] == id).unwrap()
}

fn unread(maru: &Maru, who: &Person, id: &str) -> u64 {
    let listed = room(maru, who, id)["unread"].as_u64().unwrap();
    let shown = who.get(maru, &format!("/api/chat/{id}")).json();
    assert_eq!(shown["unread"].as_u64(), Some(listed), "the list and the room disagree");
    listed
}

fn read(maru: &Maru, who: &Person, id: &str, seq: u64) -> u64 {
    let answer = who.post(maru, &format!("/api/chat/{id}/read"), &json!({"seq": seq}));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["read"].as_u64().unwrap()
}

#[test]
fn the_newest_activity_comes_first_and_pages_have_each_room_once() {
    let maru = Maru::start();
    let ann = Person::new(&maru, "Ann");
    let others: Vec<_> = (0..7).map(|n| Person::new(&maru, &format!("Other {n}"))).collect();
    let made: Vec<_> = others.iter().map(|other| other.room_with(&maru, &[&ann], None)).collect();
    // Spoken in another order than made in.
    let mut order = vec![3, 0, 6, 2, 5, 1, 4];
    for n in &order {
        others[*n].say(&maru, &made[*n], &format!("from {n}"));
        // Rooms that were spoken in within the same ms stand in the order of their ids.
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    order.reverse();
    let expected: Vec<_> = order.iter().map(|n| made[*n].clone()).collect();
    let ids = |rooms: &[Value]| -> Vec<String> {
        rooms.iter().map(|room| room["id"].as_str().unwrap().to_owned()).collect()
    };
    let (all, next) = rooms(&maru, &ann, "");
    assert_eq!((ids(&all), next), (expected.clone(), None));
    for (room, n) in all.iter().zip(&order) {
        assert_eq!((&room["last"]["text"], &room["unread"]), (&json!(format!("from {n}")), &json!(1)));
        assert_eq!((&room["kind"], &room["tip"]), (&json!("direct"), &json!("1-2")));
        let member = |id: &str| room["members"].as_array().unwrap().iter().any(|member| member["id"] == id);
        assert!(member(&ann.id) && member(&others[*n].id));
    }
    for limit in [1, 2, 3, 7, 8] {
        let (mut seen, mut after) = (Vec::new(), String::new());
        loop {
            let (page, next) = rooms(&maru, &ann, &format!("?limit={limit}{after}"));
            assert!(page.len() <= limit);
            seen.extend(ids(&page));
            let Some(next) = next else { break };
            assert_eq!(page.len(), limit);
            after = format!("&after={next}");
        }
        assert_eq!(seen, expected, "in pages of {limit}");
    }
    for wrong in ["?limit=0", "?limit=101", "?limit=x", "?after=x", "?after=1-x"] {
        assert_problem(&ann.get(&maru, &format!("/api/chat/{wrong}")), 400, "bad_request");
    }
    assert_problem(&maru.client().get("/api/chat/").unwrap(), 401, "unauthenticated");
}

#[test]
fn unread_are_others_messages_after_my_mark_that_stand() {
    let maru = Maru::start();
    let [ann, bob] = Person::several(&maru, ["Ann", "Bob"]);
    let id = ann.room_with(&maru, &[&bob], None);
    // That somebody came is no message.
    assert_eq!(unread(&maru, &bob, &id), 0);
    let said: Vec<_> = (0..3).map(|n| ann.say(&maru, &id, &format!("{n}"))).collect();
    assert_eq!((unread(&maru, &bob, &id), unread(&maru, &ann, &id)), (3, 0));
    let message = |seq: u64| format!("/api/chat/{id}/messages/{seq}");
    assert_eq!(ann.patch(&maru, &message(said[0]), &json!({"text": "zero"})).status, 200);
    assert_eq!(unread(&maru, &bob, &id), 3);
    assert_eq!(ann.delete(&maru, &message(said[1])).status, 200);
    assert_eq!(unread(&maru, &bob, &id), 2);
    // One device reads, and all know it. A mark goes forward alone, and not beyond the end.
    assert_eq!(read(&maru, &bob, &id, said[0]), said[0]);
    assert_eq!(unread(&maru, &bob, &id), 1);
    assert_eq!(read(&maru, &bob, &id, 1), said[0]);
    assert_eq!(read(&maru, &bob, &id, 1_000_000), said[2] + 2);
    assert_eq!(unread(&maru, &bob, &id), 0);
    let listed = room(&maru, &bob, &id);
    assert_eq!(listed["read"], said[2] + 2);
    // The others see it.
    let mark = |who: &Person| {
        let members = ann.get(&maru, &format!("/api/chat/{id}/members")).json();
        let members = members["members"].as_array().unwrap().clone();
        members.into_iter().find(|member| member["id"] == who.id.as_str()).unwrap()["read"].clone()
    };
    assert_eq!(mark(&bob), said[2] + 2);
    // Speaking is reading.
    ann.say(&maru, &id, "more");
    let seq = bob.say(&maru, &id, "yes");
    assert_eq!((unread(&maru, &bob, &id), mark(&bob)), (0, json!(seq)));
    assert_eq!(unread(&maru, &ann, &id), 1);
    for wrong in [json!({}), json!({"seq": -1}), json!({"seq": "1"}), json!({"seq": 1.5})] {
        assert_problem(&ann.post(&maru, &format!("/api/chat/{id}/read"), &wrong), 400, "bad_request");
    }
}

#[test]
fn unread_are_counted_up_to_100() {
    let maru = Maru::start();
    let [ann, bob] = Person::several(&maru, ["Ann", "Bob"]);
    let id = ann.room_with(&maru, &[&bob], None);
    let mut last = 0;
    for n in 0..103 {
        last = ann.say(&maru, &id, &format!("{n}"));
    }
    assert_eq!(unread(&maru, &bob, &id), 100);
    read(&maru, &bob, &id, last - 99);
    assert_eq!(unread(&maru, &bob, &id), 99);
}

/// What somebody does in a room, by whom.
#[derive(Clone, Copy, Debug)]
enum Act {
    Say(usize),
    Delete(usize, usize),
    Edit(usize, usize),
    Read(usize, u64),
}

#[test]
fn unread_counts_are_what_a_naive_model_says() {
    let maru = Maru::start();
    let act = prop_oneof![
        3 => (0..3usize).prop_map(Act::Say),
        1 => (0..3usize, 0..40usize).prop_map(|(who, nth)| Act::Delete(who, nth)),
        1 => (0..3usize, 0..40usize).prop_map(|(who, nth)| Act::Edit(who, nth)),
        2 => (0..3usize, 0..60u64).prop_map(|(who, seq)| Act::Read(who, seq)),
    ];
    let config = ProptestConfig {
        cases: u32::try_from(at_length(6)).unwrap(),
        max_shrink_iters: 0,
        ..ProptestConfig::default()
    };
    let acts = proptest::collection::vec(act, 1..40);
    TestRunner::new(config)
        .run(&acts, |acts| {
            let people = Person::several(&maru, ["Ann", "Bob", "Cho"]);
            let id = people[0].room_with(&maru, &[&people[1], &people[2]], None);
            // (seq, who, stands), the end of the log, and each one's mark.
            let (mut said, mut tip, mut marks) = (Vec::<(u64, usize, bool)>::new(), 1, [0u64; 3]);
            for act in acts {
                match act {
                    Act::Say(who) => {
                        tip = people[who].say(&maru, &id, "x");
                        said.push((tip, who, true));
                        marks[who] = tip;
                    }
                    Act::Delete(who, nth) | Act::Edit(who, nth) => {
                        let Some((seq, author, stands)) = said.get_mut(nth) else { continue };
                        let target = format!("/api/chat/{id}/messages/{seq}");
                        let answer = match act {
                            Act::Delete(..) => people[who].delete(&maru, &target),
                            _ => people[who].patch(&maru, &target, &json!({"text": "y"})),
                        };
                        // Who made the group moderates it.
                        let is_moderated = who == 0 && matches!(act, Act::Delete(..));
                        let is_done = (*author == who || is_moderated) && *stands;
                        prop_assert_eq!(answer.status == 200, is_done, "{}", answer.text());
                        tip += u64::from(is_done);
                        *stands &= !(is_done && matches!(act, Act::Delete(..)));
                    }
                    Act::Read(who, seq) => {
                        marks[who] = marks[who].max(seq.min(tip));
                        prop_assert_eq!(read(&maru, &people[who], &id, seq), marks[who]);
                    }
                }
                for (who, person) in people.iter().enumerate() {
                    let model = said
                        .iter()
                        .filter(|(seq, author, stands)| *seq > marks[who] && *author != who && *stands);
                    prop_assert_eq!(unread(&maru, person, &id), model.count() as u64);
                }
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn members_are_online_while_they_have_an_inbox_open() {
    let maru = Maru::start();
    let [ann, bob, cho] = Person::several(&maru, ["Ann", "Bob", "Cho"]);
    let id = ann.room_with(&maru, &[&bob, &cho], None);
    let online = |shown: &Value| -> Vec<String> {
        let members = shown["members"].as_array().unwrap().iter();
        let online = members.filter(|member| member["online"] == true);
        online.map(|member| member["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(online(&room(&maru, &ann, &id)), [""; 0]);
    let _inbox = bob.listen_live(&maru, "/api/events");
    wait_for("he is seen", || online(&room(&maru, &ann, &id)) == ["Bob"]);
    let shown = ann.get(&maru, &format!("/api/chat/{id}")).json();
    assert_eq!((online(&shown), &shown["online"]), (vec!["Bob".to_owned()], &json!(1)));
    assert_eq!(ann.get(&maru, &format!("/api/chat/{id}/members")).json()["online"], 1);
    // To listen to a room is not to be online.
    let _room = cho.listen_live(&maru, &format!("/api/chat/{id}/events"));
    assert_eq!(online(&room(&maru, &ann, &id)), ["Bob"]);
}
