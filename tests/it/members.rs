//! Rooms with members: how they are made, who comes and goes, and what those see who are not in them.

use std::{collections::HashSet, thread};

use loadtest::http::{Request, Response};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    harness::{Maru, Person, assert_problem, person::replayed},
    rates::until_limited,
};

fn history(maru: &Maru, who: &Person, room: &str) -> Vec<Value> {
    let page = who.get(maru, &format!("/api/history?room={room}&limit=200"));
    assert_eq!(page.status, 200, "{}", page.text());
    page.json()["events"].as_array().unwrap().clone()
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

fn ids(room: &Value) -> Vec<&str> {
    room["members"].as_array().unwrap().iter().map(|member| member["id"].as_str().unwrap()).collect()
}

#[test]
fn two_people_have_one_room_whoever_makes_it_and_however_often() {
    let maru = Maru::start();
    let [ann, bob] = Person::several(&maru, ["Ann", "Bob"]);
    let made = ann.post(&maru, "/api/chat/", &json!({"members": [bob.id]}));
    assert_eq!(made.status, 201, "{}", made.text());
    let room = made.json();
    let member = |who: &Person, read: u64| json!({"id": who.id, "name": who.name, "kind": "guest", "role": "member", "read": read, "online": false});
    assert_eq!((&room["kind"], &room["name"]), (&json!("direct"), &json!(null)));
    let members = room["members"].as_array().unwrap();
    assert_eq!(members.len(), 2);
    for who in [&ann, &bob] {
        let shown = members.iter().find(|member| member["id"] == who.id.as_str()).unwrap();
        assert_eq!(*shown, member(who, shown["read"].as_u64().unwrap()));
    }
    for (who, other) in [(&ann, &bob), (&bob, &ann)] {
        let again = who.post(&maru, "/api/chat", &json!({"members": [other.id, who.id], "more": 1}));
        assert_eq!((again.status, &again.json()["id"]), (200, &room["id"]));
    }
    // Its log begins with whoever made it.
    let events = history(&maru, &bob, room["id"].as_str().unwrap());
    assert_eq!(kinds(&events), ["join"]);
    assert_eq!((&events[0]["user"]["id"], &events[0]["room"]), (&json!(ann.id), &room["id"]));
}

#[test]
fn two_who_make_their_room_at_the_same_time_make_one() {
    let maru = Maru::start();
    for round in 0..5 {
        let [ann, bob] =
            [format!("Ann {round}"), format!("Bob {round}")].map(|name| Person::new(&maru, &name));
        let answers: Vec<Response> = thread::scope(|scope| {
            let makers: Vec<_> = (0..8)
                .map(|n| {
                    let (who, other) = if n % 2 == 0 { (&ann, &bob) } else { (&bob, &ann) };
                    let maru = &maru;
                    scope.spawn(move || who.post(maru, "/api/chat/", &json!({"members": [other.id]})))
                })
                .collect();
            makers.into_iter().map(|maker| maker.join().unwrap()).collect()
        });
        let new = answers.iter().filter(|answer| answer.status == 201).count();
        assert!(answers.iter().all(|answer| matches!(answer.status, 200 | 201)));
        assert_eq!(new, 1);
        let rooms: HashSet<_> = answers.iter().map(|answer| answer.json()["id"].to_string()).collect();
        assert_eq!(rooms.len(), 1);
        let room = answers[0].json()["id"].as_str().unwrap().to_owned();
        assert_eq!(kinds(&history(&maru, &ann, &room)), ["join"]);
        assert_eq!(ids(&ann.get(&maru, &format!("/api/chat/{room}")).json()).len(), 2);
    }
}

#[test]
fn a_group_is_made_each_time_but_for_its_key() {
    let maru = Maru::start();
    let [ann, bob, cho] = Person::several(&maru, ["Ann", "Bob", "Cho"]);
    let wish = json!({"members": [bob.id, cho.id, bob.id], "name": "Trip"});
    let one = ann.post(&maru, "/api/chat/", &wish);
    let room = one.json();
    assert_eq!((one.status, &room["kind"], &room["name"]), (201, &json!("group"), &json!("Trip")));
    let roles: Vec<_> = room["members"].as_array().unwrap().iter().map(|member| &member["role"]).collect();
    assert_eq!(ids(&room)[0], ann.id);
    assert_eq!(roles, ["owner", "member", "member"]);
    let two = ann.post(&maru, "/api/chat/", &wish);
    assert_eq!(two.status, 201);
    assert_ne!(room["id"], two.json()["id"]);
    let keyed = |who: &Person, key: &str| {
        let request = Request::new("POST", "/api/chat/").header("Idempotency-Key", key);
        let request = request.header("Content-Type", "application/json").body(wish.to_string());
        who.client(&maru).send(&request).unwrap()
    };
    let first = keyed(&ann, "trip");
    let again = keyed(&ann, "trip");
    assert_eq!((first.status, again.status), (201, 200));
    assert_eq!(first.json(), again.json());
    // The key is hers.
    assert_ne!(keyed(&bob, "trip").json()["id"], first.json()["id"]);
}

#[test]
fn a_room_is_made_of_people_who_are_known() {
    let maru = Maru::start();
    let ann = Person::new(&maru, "Ann");
    let nobody = Uuid::new_v4();
    let make = |wish: &Value| ann.post(&maru, "/api/chat/", wish);
    assert_problem(&make(&json!({"members": [nobody]})), 404, "not_found");
    let wrong = [
        json!({}),
        json!({"members": []}),
        json!({"members": [ann.id]}),
        json!({"members": ["ann"]}),
        json!({"members": ann.id}),
        json!({"members": [nobody], "name": ""}),
        json!({"members": [nobody], "name": "\u{202e}"}),
        json!({"members": (0..256).map(|_| Uuid::new_v4()).collect::<Vec<_>>()}),
    ];
    for wish in wrong {
        assert_problem(&make(&wish), 400, "bad_request");
    }
    let answer = maru.client().post_json("/api/chat/", &json!({"members": [ann.id]})).unwrap();
    assert_problem(&answer, 401, "unauthenticated");
    assert_eq!(ann.get(&maru, "/api/chat/").json(), json!({"rooms": [], "next": null}));
}

#[test]
fn who_comes_later_sees_the_log_from_there_on() {
    let maru = Maru::start();
    let [ann, bob, cho] = Person::several(&maru, ["Ann", "Bob", "Cho"]);
    let room = ann.room_with(&maru, &[&bob], Some("Trip"));
    let (events, members) = (format!("/api/chat/{room}/events"), format!("/api/chat/{room}/members"));
    let before = ann.say(&maru, &room, "before");
    let added = bob.post(&maru, &members, &json!({"user": cho.id}));
    assert_eq!(added.status, 201, "{}", added.text());
    assert_eq!(ids(&added.json()).last(), Some(&cho.id.as_str()));
    assert_eq!(bob.post(&maru, &members, &json!({"user": cho.id})).status, 200);
    let after = bob.say(&maru, &room, "after");

    let seen = replayed(&mut cho.listen(&maru, &format!("{events}?since=all")));
    let seen: Vec<_> = seen.into_iter().map(|(_, event)| event).collect();
    assert_eq!(kinds(&seen), ["join", "message"]);
    let (join, from) = (&seen[0], seen[0]["seq"].as_u64().unwrap());
    assert_eq!((&join["user"]["id"], &join["by"]["id"]), (&json!(cho.id), &json!(bob.id)));
    assert!(before < from && from < after);
    assert_eq!(history(&maru, &cho, &room), seen);
    // Pages end there too.
    let page = cho.get(&maru, &format!("/api/history?room={room}&after=1-0&limit=1")).json();
    assert_eq!((&page["events"], &page["before"]), (&json!([join]), &json!(null)));
    let page = cho.get(&maru, &format!("/api/history?room={room}&before=1-{from}")).json();
    assert_eq!((&page["events"], &page["before"]), (&json!([]), &json!(null)));
    // A cursor of before is told so, and every other way to begin finds the same.
    let mut stream = cho.listen(&maru, &format!("{events}?since=1-1"));
    let gap = stream.wait_for("gap", crate::harness::deadline()).unwrap();
    let told: Value = serde_json::from_str(&gap.data).unwrap();
    let to = format!("1-{}", from - 1);
    assert_eq!(told, json!({"from": "1-1", "to": to, "reason": "membership"}));
    assert_eq!(gap.id, Some(to));
    assert_eq!(replayed(&mut stream).len(), 2);
    assert_eq!(replayed(&mut cho.listen(&maru, &format!("{events}?history=1000"))).len(), 2);
    let polled = cho.get(&maru, &format!("{events}?poll=1")).json();
    assert_eq!(polled["events"], json!(seen));
    let polled = cho.get(&maru, &format!("{events}?poll=1&since=1-1")).json();
    assert_eq!((&polled["events"], &polled["gap"]["reason"]), (&json!([]), &json!("membership")));
    // Whoever was there sees all of it.
    assert_eq!(kinds(&history(&maru, &bob, &room)), ["join", "message", "join", "message"]);
    // What she does not see is not hers to change, and not there for her.
    assert_eq!(cho.delete(&maru, &format!("/api/chat/{room}/messages/{before}")).status, 403);
}

#[test]
fn who_left_sees_nothing_and_may_be_added_again() {
    let maru = Maru::start();
    let [ann, bob, cho] = Person::several(&maru, ["Ann", "Bob", "Cho"]);
    let room = ann.room_with(&maru, &[&bob, &cho], None);
    let me = format!("/api/chat/{room}/members/me");
    bob.say(&maru, &room, "hi");
    assert_eq!(bob.delete(&maru, &me).status, 204);
    assert_problem(&bob.delete(&maru, &me), 404, "not_found");
    assert_problem(&bob.get(&maru, &format!("/api/chat/{room}")), 404, "not_found");
    assert_eq!(bob.get(&maru, "/api/chat/").json()["rooms"], json!([]));
    let events = history(&maru, &ann, &room);
    let leave = events.last().unwrap();
    assert_eq!((&leave["type"], &leave["user"]["id"]), (&json!("leave"), &json!(bob.id)));
    assert_eq!(leave.get("by"), None);
    let room_now = ann.get(&maru, &format!("/api/chat/{room}")).json();
    assert_eq!(ids(&room_now), [&ann.id[..], &cho.id]);
    let again = cho.post(&maru, &format!("/api/chat/{room}/members"), &json!({"user": bob.id}));
    assert_eq!(again.status, 201);
    assert_eq!(kinds(&history(&maru, &bob, &room)), ["join"]);
    // The last one who leaves closes the door.
    for who in [&ann, &bob, &cho] {
        assert_eq!(who.delete(&maru, &me).status, 204);
    }
    assert_problem(&ann.get(&maru, &format!("/api/chat/{room}")), 404, "not_found");
}

#[test]
fn a_room_that_one_is_not_in_answers_as_one_that_does_not_exist() {
    let maru = Maru::start();
    let [ann, bob, eve] = Person::several(&maru, ["Ann", "Bob", "Eve"]);
    let pair = ann.room_with(&maru, &[&bob], None);
    let group = ann.room_with(&maru, &[&bob], Some("Trip"));
    let left = ann.room_with(&maru, &[&eve], Some("Left"));
    assert_eq!(eve.delete(&maru, &format!("/api/chat/{left}/members/me")).status, 204);
    for room in [&pair, &group, &left] {
        ann.say(&maru, room, "secret");
    }
    let nowhere = Uuid::new_v4().to_string();
    // An inbox is no room, and an open room has no UUID that says anything.
    let open = maru.client().get("/api/chat/lobby").unwrap().json()["id"].as_str().unwrap().to_owned();
    maru.say("lobby", "hi");
    let ways: &[(&str, &str, Option<Value>)] = &[
        ("GET", "/api/chat/{}", None),
        ("GET", "/api/chat/{}/events", None),
        ("GET", "/api/chat/{}/events?since=all", None),
        ("GET", "/api/chat/{}/events?since=1-1", None),
        ("GET", "/api/chat/{}/events?poll=1", None),
        ("GET", "/r/{}", None),
        ("GET", "/api/history?room={}", None),
        ("GET", "/api/history?room={}&after=1-1", None),
        ("GET", "/api/chat/{}/members", None),
        ("POST", "/api/chat/{}/members", Some(json!({"user": ann.id}))),
        ("POST", "/api/chat/{}/members", Some(json!({"user": eve.id}))),
        ("DELETE", "/api/chat/{}/members/me", None),
        ("POST", "/api/chat/{}/messages", Some(json!({"text": "hi"}))),
        ("POST", "/api/chat/{}/messages", Some(json!({"text": "hi", "client_id": "x"}))),
        ("POST", "/r/{}", Some(json!({"text": "hi"}))),
        ("PATCH", "/api/chat/{}/messages/2", Some(json!({"text": "hi"}))),
        ("DELETE", "/api/chat/{}/messages/2", None),
        ("POST", "/api/chat/{}/read", Some(json!({"seq": 1}))),
        ("POST", "/api/chat/{}/typing", None),
    ];
    let ask = |bearer: Option<&str>, method: &str, target: &str, body: &Option<Value>| {
        let mut request = Request::new(method, target);
        if let Some(bearer) = bearer {
            request = request.header("Authorization", bearer);
        }
        if let Some(body) = body {
            request = request.header("Content-Type", "application/json").body(body.to_string());
        }
        maru.client().send(&request).unwrap()
    };
    let shown = |answer: &Response| {
        let is_of_each = |name: &str| ["date", "x-request-id"].contains(&name);
        let headers: Vec<_> = answer.headers.iter().filter(|(name, _)| !is_of_each(name)).collect();
        format!("{} {headers:?} {}", answer.status, answer.text())
    };
    for (method, path, body) in ways {
        let target = |room: &str| path.replace("{}", room);
        let unknown = ask(Some(&eve.bearer), method, &target(&nowhere), body);
        assert_problem(&unknown, 404, "not_found");
        for room in [&pair, &group, &left, &ann.id, &eve.id, &open] {
            let answer = ask(Some(&eve.bearer), method, &target(room), body);
            assert_eq!(shown(&answer), shown(&unknown), "{method} {path} {room}");
        }
        // Without a session it is no other.
        let unknown = ask(None, method, &target(&nowhere), body);
        assert!(matches!(unknown.status, 401 | 404), "{}", unknown.text());
        let answer = ask(None, method, &target(&pair), body);
        assert_eq!(shown(&answer), shown(&unknown), "{method} {path}");
    }
    assert_eq!(eve.get(&maru, "/api/chat/").json()["rooms"], json!([]));
    assert_eq!(kinds(&history(&maru, &bob, &pair)), ["join", "message"]);
}

#[test]
fn nobody_comes_or_goes_where_there_are_two_or_everybody() {
    let maru = Maru::start();
    let [ann, bob, cho] = Person::several(&maru, ["Ann", "Bob", "Cho"]);
    let pair = ann.room_with(&maru, &[&bob], None);
    let add = ann.post(&maru, &format!("/api/chat/{pair}/members"), &json!({"user": cho.id}));
    assert_problem(&add, 403, "forbidden");
    assert_problem(&ann.delete(&maru, &format!("/api/chat/{pair}/members/me")), 403, "forbidden");
    assert_problem(&ann.post(&maru, "/api/chat/lobby/members", &json!({"user": cho.id})), 400, "bad_request");
    assert_problem(&ann.delete(&maru, "/api/chat/lobby/members/me"), 400, "bad_request");
    assert_problem(&ann.post(&maru, "/api/chat/lobby/read", &json!({"seq": 1})), 400, "bad_request");
    let group = ann.room_with(&maru, &[&bob], Some("Trip"));
    let members = format!("/api/chat/{group}/members");
    for wrong in [json!({}), json!({"user": "cho"}), json!({"user": null})] {
        assert_problem(&ann.post(&maru, &members, &wrong), 400, "bad_request");
    }
    assert_problem(&ann.post(&maru, &members, &json!({"user": Uuid::new_v4()})), 404, "not_found");
}

#[test]
fn a_group_has_up_to_256_members() {
    let maru = Maru::start();
    let people: Vec<_> = (0..256).map(|n| Person::new(&maru, &format!("P{n}"))).collect();
    let (ann, late) = (&people[0], Person::new(&maru, "Late"));
    let others: Vec<_> = people[1..255].iter().collect();
    let room = ann.room_with(&maru, &others, None);
    let members = format!("/api/chat/{room}/members");
    assert_eq!(ann.post(&maru, &members, &json!({"user": people[255].id})).status, 201);
    assert_problem(&ann.post(&maru, &members, &json!({"user": late.id})), 403, "forbidden");
    let listed = ann.get(&maru, &members).json();
    assert_eq!((ids(&listed).len(), &listed["online"]), (256, &json!(0)));
    assert_eq!(people[9].delete(&maru, &format!("{members}/me")).status, 204);
    assert_eq!(ann.post(&maru, &members, &json!({"user": late.id})).status, 201);
}

#[test]
fn a_person_makes_20_rooms_a_minute() {
    let maru = Maru::of_one(&["--limit", "address-guests=1000"]);
    let [ann, bob] = Person::several(&maru, ["Ann", "Bob"]);
    let mut client = ann.client(&maru);
    let wish = json!({"members": [bob.id], "name": "Trip"});
    let (passed, limited) = until_limited(|| client.post_json("/api/chat/", &wish).unwrap());
    assert!((20..=25).contains(&passed), "{passed}");
    assert_problem(&limited, 429, "rate_limited");
    assert_eq!(bob.post(&maru, "/api/chat/", &json!({"members": [ann.id]})).status, 201);
}
