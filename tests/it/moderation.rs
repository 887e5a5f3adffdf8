//! Who may shut people out and take messages away, and that it is so within a second on every pod.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use loadtest::{
    http::{Client, Request, Response},
    stream::{Listen, Next, Stream},
};
use serde_json::{Value, json};

use crate::harness::{Maru, assert_problem, deadline, wait_for};

const ADMIN: &str = "the operator's token";
const SECOND: Duration = Duration::from_secs(1);

fn start() -> Maru {
    Maru::with(&["--rate-limit", "off", "--admin-token", ADMIN])
}

fn ban_as(maru: &Maru, token: &str, room: &str, wish: &Value) -> Response {
    maru.client_as(token).post_json(&format!("/api/chat/{room}/bans"), wish).unwrap()
}

fn ban(maru: &Maru, room: &str, user: &Value, seconds: u64) -> Instant {
    let answer = ban_as(maru, ADMIN, room, &json!({"user": user, "seconds": seconds, "reason": "xyzzy"}));
    assert_eq!(answer.status, 201, "{}", answer.text());
    let ban = answer.json();
    assert_eq!((&ban["room"], &ban["user"]), (&json!(room), user));
    assert!(ban["until"].as_u64().unwrap().abs_diff(now_ms() + seconds * 1000) < 5000, "{ban}");
    Instant::now()
}

fn lift(maru: &Maru, room: &str, user: &Value) {
    let request = Request::new("DELETE", &format!("/api/chat/{room}/bans/{}", user.as_str().unwrap()));
    assert_eq!(maru.client_as(ADMIN).send(&request).unwrap().status, 204);
}

fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

/// Streams of somebody, one on each pod.
fn everywhere(maru: &Maru, room: &str, bearer: &str) -> Vec<Stream> {
    let live = |address: &SocketAddr| {
        let mut stream =
            Listen::to(&format!("/r/{room}")).header("Authorization", bearer).open(*address).unwrap();
        stream.wait_for("live", deadline()).unwrap();
        stream
    };
    maru.doors().all().iter().map(live).collect()
}

fn says(answer: &Response) -> bool {
    assert!(matches!(answer.status, 201 | 403), "{}", answer.text());
    answer.status == 201
}

#[test]
fn a_ban_ends_streams_and_refuses_posts_on_every_pod_within_a_second() {
    let maru = start();
    let (ann, user) = maru.sign_in("Ann");
    let bearer = format!("Bearer {ann}");
    let mut streams = everywhere(&maru, "lobby", &bearer);
    let mut others = everywhere(&maru, "attic", &bearer);
    assert_eq!(maru.client_as(&ann).post("/r/lobby", "text/plain", "before").unwrap().status, 201);
    let since = ban(&maru, "lobby", &user["id"], 600);
    for stream in &mut streams {
        let bye = stream.wait_for("bye", deadline()).unwrap();
        assert!(since.elapsed() < SECOND, "{:?}", since.elapsed());
        assert_eq!(serde_json::from_str::<Value>(&bye.data).unwrap()["code"], "banned");
        assert_eq!(stream.next_event(deadline()).unwrap(), Next::Ended);
    }
    wait_for("no pod takes her word", || {
        maru.on_all(|client| {
            !says(&client.header("Authorization", &bearer).post("/r/lobby", "text/plain", "x").unwrap())
        })
    });
    assert!(since.elapsed() < 2 * SECOND, "{:?}", since.elapsed());
    let refused = maru.client_as(&ann).post("/r/lobby", "text/plain", "x").unwrap();
    assert_problem(&refused, 403, "forbidden");
    assert!(refused.json()["detail"].as_str().unwrap().contains("until 1"), "{}", refused.text());
    for target in ["/r/lobby", "/r/lobby?poll=1", "/api/history?room=lobby", "/api/chat/lobby/members"] {
        maru.on_all(|client| {
            let answer = client.header("Authorization", &bearer).get(target).unwrap();
            assert_problem(&answer, 403, "forbidden");
            true
        });
    }
    let mut client = maru.client_as(&ann);
    for request in [
        Request::new("PATCH", "/api/chat/lobby/messages/1").header("Content-Type", "text/plain").body("x"),
        Request::new("DELETE", "/api/chat/lobby/messages/1"),
        Request::new("POST", "/api/chat/lobby/typing"),
    ] {
        assert_problem(&client.send(&request).unwrap(), 403, "forbidden");
    }
    // Nowhere else, and nobody else, whose address is another.
    assert_eq!(client.post("/r/attic", "text/plain", "still here").unwrap().status, 201);
    for stream in &mut others {
        assert!(stream.wait_for("message", deadline()).unwrap().data.contains("still here"));
    }
    let mut bob = maru.client().from_source([127, 0, 0, 2].into());
    assert_eq!(bob.post("/r/lobby", "text/plain", "hi").unwrap().status, 201);

    lift(&maru, "lobby", &user["id"]);
    let since = Instant::now();
    wait_for("she is in again everywhere", || {
        maru.on_all(|client| {
            says(&client.header("Authorization", &bearer).post("/r/lobby", "text/plain", "back").unwrap())
        })
    });
    assert!(since.elapsed() < 2 * SECOND, "{:?}", since.elapsed());
}

#[test]
fn a_guests_address_is_shut_out_with_them() {
    let maru = start();
    let (ann, user) = maru.sign_in("Ann");
    let from = |n: u8| IpAddr::from([127, 0, 0, n]);
    let on = |address: &SocketAddr, n: u8| Client::new(*address).from_source(from(n));
    let doors = maru.doors();
    // She speaks on one pod from one address, and listens on another from another.
    let bearer = format!("Bearer {ann}");
    let spoken =
        on(&doors.all()[0], 7).header("Authorization", &bearer).post("/r/lobby", "text/plain", "hi").unwrap();
    assert_eq!(spoken.status, 201);
    let last = doors.all().last().unwrap();
    let listen = Listen::to("/r/lobby").header("Authorization", &bearer).from_source(from(8));
    listen.open(*last).unwrap().wait_for("live", deadline()).unwrap();
    // Another guest at one of these addresses, and one elsewhere.
    let live = |n: u8| {
        let mut stream = Listen::to("/r/lobby").from_source(from(n)).open(maru.address()).unwrap();
        stream.wait_for("live", deadline()).unwrap();
        stream
    };
    let (mut near, mut far) = (live(8), live(9));
    let since = ban(&maru, "lobby", &user["id"], 600);
    assert!(near.wait_for("bye", deadline()).unwrap().data.contains("banned"));
    assert!(since.elapsed() < 2 * SECOND, "{:?}", since.elapsed());
    for n in [7, 8] {
        wait_for("no pod takes a guest from there", || {
            doors
                .all()
                .iter()
                .all(|address| !says(&on(address, n).post("/r/lobby", "text/plain", "x").unwrap()))
        });
        for address in doors.all() {
            assert_problem(&on(address, n).get("/r/lobby").unwrap(), 403, "forbidden");
            assert_problem(&on(address, n).get("/api/history?room=lobby").unwrap(), 403, "forbidden");
            assert!(says(&on(address, n).post("/r/attic", "text/plain", "x").unwrap()));
        }
    }
    assert!(says(&on(&doors.any(), 9).post("/r/lobby", "text/plain", "far away").unwrap()));
    // Before that it heard what guests said on pods that did not know yet.
    while !far.wait_for("message", deadline()).unwrap().data.contains("far away") {}
    // Who lets her in lets them all in.
    lift(&maru, "lobby", &user["id"]);
    for n in [7, 8] {
        wait_for("guests may come from there", || {
            doors
                .all()
                .iter()
                .all(|address| says(&on(address, n).post("/r/lobby", "text/plain", "x").unwrap()))
        });
    }
}

#[test]
fn a_ban_is_over_when_it_is_and_not_when_pods_start_again() {
    let mut maru = start();
    let (ann, user) = maru.sign_in("Ann");
    let (bob, other) = maru.sign_in("Bob");
    ban(&maru, "lobby", &other["id"], 600);
    let since = ban(&maru, "lobby", &user["id"], 4);
    let may = |mut client: Client, token: &str| {
        let speak = Request::new("POST", "/r/lobby").header("Authorization", &format!("Bearer {token}"));
        says(&client.send(&speak.body("x")).unwrap())
    };
    wait_for("it has come about", || maru.on_all(|client| !may(client, &ann)));
    wait_for("it is over", || maru.on_all(|client| may(client, &ann)));
    assert!(since.elapsed() > SECOND, "{:?}", since.elapsed());
    maru.kill();
    maru.restart();
    assert!(maru.on_all(|client| !may(client, &bob)) && maru.on_all(|client| may(client, &ann)));
}

#[test]
fn only_moderators_shut_people_out_and_within_bounds() {
    let maru = start();
    let ((ann, _), (_, bob)) = (maru.sign_in("Ann"), maru.sign_in("Bob"));
    let good = json!({"user": bob["id"], "seconds": 60});
    assert_problem(&ban_as(&maru, &ann, "lobby", &good), 403, "forbidden");
    assert_problem(&ban_as(&maru, "the operator's token?", "lobby", &good), 401, "unauthenticated");
    let unknown = maru.client().post_json("/api/chat/lobby/bans", &good).unwrap();
    assert_problem(&unknown, 401, "unauthenticated");
    let id = bob["id"].as_str().unwrap();
    let lift = Request::new("DELETE", &format!("/api/chat/lobby/bans/{id}"));
    assert_problem(&maru.client_as(&ann).send(&lift).unwrap(), 403, "forbidden");
    assert_problem(&ban_as(&maru, ADMIN, id, &good), 404, "not_found");
    for (wrong, status, code) in [
        (json!({"user": bob["id"]}), 400, "bad_request"),
        (json!({"user": "bob", "seconds": 60}), 400, "bad_request"),
        (json!({"user": bob["id"], "seconds": 0}), 400, "bad_request"),
        (json!({"user": bob["id"], "seconds": 315_360_001}), 400, "bad_request"),
        (json!({"user": bob["id"], "seconds": 60, "reason": "r".repeat(501)}), 413, "too_large"),
    ] {
        assert_problem(&ban_as(&maru, ADMIN, "lobby", &wrong), status, code);
    }
    // The operator's token is no session.
    assert_problem(&maru.client_as(ADMIN).get("/api/session").unwrap(), 401, "unauthenticated");
    // Without one nobody is an operator.
    let closed = Maru::start();
    for token in ["", ADMIN] {
        assert_problem(&ban_as(&closed, token, "lobby", &good), 401, "unauthenticated");
    }
}

/// A group of the first of these people, with the others in it.
fn group(maru: &Maru, maker: &str, others: &[&Value]) -> String {
    let ids: Vec<_> = others.iter().map(|user| &user["id"]).collect();
    let wish = json!({"members": ids, "name": "us"});
    let answer = maru.client_as(maker).post_json("/api/chat/", &wish).unwrap();
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()["id"].as_str().unwrap().to_owned()
}

#[test]
fn the_owner_of_a_group_shuts_people_out_of_it() {
    let maru = start();
    let ((ann, _), (bob, bobs), (cho, chos)) =
        (maru.sign_in("Ann"), maru.sign_in("Bob"), maru.sign_in("Cho"));
    let room = group(&maru, &ann, &[&bobs, &chos]);
    let mut inbox = Listen::to("/api/events")
        .header("Authorization", &format!("Bearer {bob}"))
        .open(maru.address())
        .unwrap();
    inbox.wait_for("live", deadline()).unwrap();
    let target = format!("/api/chat/{room}/events");
    let listen = Listen::to(&target).header("Authorization", &format!("Bearer {bob}"));
    let mut stream = listen.open(maru.address()).unwrap();
    stream.wait_for("live", deadline()).unwrap();
    let wish = json!({"user": bobs["id"], "seconds": 600});
    assert_problem(&ban_as(&maru, &cho, &room, &wish), 403, "forbidden");
    let (_, stranger) = maru.sign_in("Dan");
    let (dan, _) = maru.sign_in("Dan");
    assert_problem(&ban_as(&maru, &dan, &room, &wish), 404, "not_found");
    assert_eq!(ban_as(&maru, &ann, &room, &wish).status, 201);
    // He is no member any more, and the room is none that he knows of.
    stream.wait_for("bye", deadline()).unwrap();
    wait_for("it is none to him", || {
        maru.client_as(&bob).get(&format!("/api/chat/{room}")).unwrap().status == 404
    });
    // An inbox follows its rooms: their beginning may come first.
    while !inbox.wait_for("message", deadline()).unwrap().data.contains("\"leave\"") {}
    let members = maru.client_as(&ann).get(&format!("/api/chat/{room}/members")).unwrap().text();
    assert!(!members.contains(bobs["id"].as_str().unwrap()), "{members}");
    // Nobody lets him in while it lasts.
    let add = |token: &str, user: &Value| {
        let add = json!({"user": user["id"]});
        maru.client_as(token).post_json(&format!("/api/chat/{room}/members"), &add).unwrap()
    };
    wait_for("every pod knows it", || add(&cho, &bobs).status == 403);
    assert_eq!(add(&cho, &stranger).status, 201);
    let lift = Request::new("DELETE", &format!("/api/chat/{room}/bans/{}", bobs["id"].as_str().unwrap()));
    assert_eq!(maru.client_as(&ann).send(&lift).unwrap().status, 204);
    // 200 where a pod let him in before it knew.
    wait_for("he may be let in", || matches!(add(&cho, &bobs).status, 200 | 201));
    // A room of two is theirs.
    let pair =
        maru.client_as(&ann).post_json("/api/chat/", &json!({"members": [bobs["id"]]})).unwrap().json();
    for token in [&ann, &bob, ADMIN] {
        assert_problem(&ban_as(&maru, token, pair["id"].as_str().unwrap(), &wish), 403, "forbidden");
    }
}

#[test]
fn a_group_that_its_owner_leaves_is_the_next_member_s() {
    let maru = start();
    let ((ann, anns), (bob, bobs)) = (maru.sign_in("Ann"), maru.sign_in("Bob"));
    let ((cho, chos), (_, dans)) = (maru.sign_in("Cho"), maru.sign_in("Dan"));
    let room = group(&maru, &ann, &[&bobs]);
    for later in [&chos, &dans] {
        let target = format!("/api/chat/{room}/members");
        let added = maru.client_as(&bob).post_json(&target, &json!({"user": later["id"]})).unwrap();
        assert_eq!(added.status, 201, "{}", added.text());
    }
    let owners = || -> Vec<Value> {
        let all: Value = maru.client_as(&bob).get(&format!("/api/chat/{room}/members")).unwrap().json();
        let listed: Value = maru.client_as(&bob).get("/api/chat/").unwrap().json()["rooms"][0].clone();
        assert_eq!(all["members"].as_array().unwrap().len(), listed["members"].as_array().unwrap().len());
        let owners = [&all, &listed].map(|room| -> Vec<Value> {
            let members = room["members"].as_array().unwrap().iter();
            members.filter(|member| member["role"] == "owner").map(|member| member["id"].clone()).collect()
        });
        assert_eq!(owners[0], owners[1]);
        owners[0].clone()
    };
    assert_eq!(owners(), [anns["id"].clone()]);
    let wish = json!({"user": dans["id"], "seconds": 600});
    assert_problem(&ban_as(&maru, &bob, &room, &wish), 403, "forbidden");
    let leave = Request::new("DELETE", &format!("/api/chat/{room}/members/me"));
    assert_eq!(maru.client_as(&ann).send(&leave).unwrap().status, 204);
    assert_eq!(owners(), [bobs["id"].clone()]);
    assert_problem(&ban_as(&maru, &cho, &room, &wish), 403, "forbidden");
    let said =
        maru.client_as(&cho).post_json(&format!("/api/chat/{room}/messages"), &json!({"text": "xyzzy"}));
    let target = format!("/api/chat/{room}/messages/{}", said.unwrap().json()["seq"]);
    assert_eq!(maru.client_as(&bob).send(&Request::new("DELETE", &target)).unwrap().status, 200);
    assert_eq!(ban_as(&maru, &bob, &room, &wish).status, 201);
}

#[test]
fn a_moderators_deletion_takes_the_text_away_everywhere() {
    let maru = start();
    let ((ann, _), (bob, bobs)) = (maru.sign_in("Ann"), maru.sign_in("Bob"));
    maru.client_as(&bob).post("/r/lobby", "text/plain", "plugh").unwrap();
    let delete = |token: &str, room: &str| {
        maru.client_as(token).send(&Request::new("DELETE", &format!("/api/chat/{room}/messages/1"))).unwrap()
    };
    assert_problem(&delete(&ann, "lobby"), 403, "forbidden");
    let mut stream = maru.listen_live("/r/lobby");
    assert_eq!(delete(ADMIN, "lobby").status, 200);
    let told: Value = serde_json::from_str(&stream.wait_for("message", deadline()).unwrap().data).unwrap();
    assert_eq!((&told["type"], &told["target"]), (&json!("delete"), &json!(1)));
    assert_eq!((&told["user"]["name"], &told["user"]["kind"]), (&json!("moderator"), &json!("member")));
    wait_for("no pod gives it", || {
        maru.on_all(|mut client| !client.get("/api/history?room=lobby").unwrap().text().contains("plugh"))
            && maru.on_all(|mut client| {
                !client.get("/r/lobby?poll=1&since=all").unwrap().text().contains("plugh")
            })
    });
    // The owner of a group in theirs.
    let room = group(&maru, &ann, &[&bobs]);
    let said = |token: &str, text: &str| {
        let target = format!("/api/chat/{room}/messages");
        let answer = maru.client_as(token).post_json(&target, &json!({"text": text})).unwrap();
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()["seq"].as_u64().unwrap()
    };
    let (hers, his) = (said(&ann, "hers"), said(&bob, "xyzzy"));
    let delete = |token: &str, seq: u64| {
        let request = Request::new("DELETE", &format!("/api/chat/{room}/messages/{seq}"));
        maru.client_as(token).send(&request).unwrap().status
    };
    assert_eq!((delete(&bob, hers), delete(&ann, his), delete(ADMIN, hers)), (403, 200, 200));
    let page = maru.client_as(&bob).get(&format!("/api/history?room={room}")).unwrap().text();
    assert!(!page.contains("xyzzy") && !page.contains("hers"), "{page}");
}

#[test]
fn the_operators_log_has_what_was_done_and_not_why() {
    let maru = start();
    let (bob, user) = maru.sign_in("Zebulon");
    maru.client_as(&bob).post("/r/lobby", "text/plain", "plugh").unwrap();
    ban(&maru, "lobby", &user["id"], 600);
    let delete = Request::new("DELETE", "/api/chat/lobby/messages/1");
    assert_eq!(maru.client_as(ADMIN).send(&delete).unwrap().status, 200);
    lift(&maru, "lobby", &user["id"]);
    let id = user["id"].as_str().unwrap();
    wait_for("it is in the log", || maru.log().contains("let in again"));
    let log = maru.log();
    let line = log.lines().find(|line| line.contains("shut out")).unwrap();
    for part in ["room=lobby", &format!("user={id}"), "by=", "seconds=600"] {
        assert!(line.contains(part), "{line}");
    }
    assert!(log.lines().any(|line| line.contains("deleted") && line.contains("seq=1")), "{log}");
    assert!(!log.contains("xyzzy") && !log.contains("Zebulon") && !log.contains("plugh"), "{log}");
}
