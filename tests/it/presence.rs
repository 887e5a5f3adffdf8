//! Section 6: who is here, as the others are told.

use std::{
    collections::HashSet,
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use loadtest::{
    http::{Body, Client, Request},
    stream::{Listen, Next, Stream},
};
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use crate::harness::{Maru, PATIENCE, deadline};

/// Somebody with a cookie, as a browser has it.
struct Person {
    cookie: String,
    id: Value,
}

impl Person {
    fn new(maru: &Maru, name: &str) -> Self {
        let (token, user) = maru.sign_in(name);
        Person { cookie: format!("maru_session={token}"), id: user["id"].clone() }
    }

    fn client(&self, maru: &Maru) -> Client {
        maru.client().header("Cookie", &self.cookie)
    }

    /// One tab.
    fn enter(&self, maru: &Maru, target: &str) -> Stream {
        let mut stream = Listen::to(target).header("Cookie", &self.cookie).open(maru.address()).unwrap();
        stream.wait_for("live", deadline()).unwrap();
        stream
    }

    /// A reader that no browser is.
    fn enter_by(&self, maru: &Maru, request: &Request) -> Body {
        let (head, mut body) = self.client(maru).open(request).unwrap();
        assert_eq!(head.status, 200);
        body.read(deadline()).unwrap().expect("a hello");
        body
    }
}

/// Waits until so many streams sit in the reading room, where they hear what is told from now on.
fn seated(maru: &Maru, count: f64) {
    maru.wait_for_metric("maru_readers", |readers| readers == count);
}

fn presence(stream: &mut Stream) -> Value {
    serde_json::from_str(&stream.wait_for("presence", deadline()).unwrap().data).unwrap()
}

fn assert_joined(told: &Value, person: &Person, name: &str, online: u64) {
    let joined = json!([{"id": person.id, "name": name}]);
    let text = format!("{name} joined");
    assert_eq!(*told, json!({"joined": joined, "left": [], "online": online, "text": text}));
}

#[test]
fn coming_and_going_is_told_to_the_others_exactly_once() {
    let maru = Maru::start();
    let [ann, bob, cho, dee] = ["Ann", "Bob", "Cho", "Dee"].map(|name| Person::new(&maru, name));
    let mut others = bob.enter(&maru, "/r/lobby");
    seated(&maru, 1.0);
    let streams = |count: f64| maru.wait_for_metric("maru_streams", |streams| streams == count);

    let first = ann.enter(&maru, "/r/lobby");
    assert_joined(&presence(&mut others), &ann, "Ann", 2);
    // More tabs of one session are the same person, whatever they speak; the last to go counts.
    let tab = ann.enter(&maru, "/api/chat/lobby/events");
    let lines =
        ann.enter_by(&maru, &Request::new("GET", "/r/lobby").header("Accept", "application/x-ndjson"));
    let old = ann.enter_by(&maru, &Request::new("GET", "/r/lobby").http10());
    streams(5.0);
    drop((first, tab, lines));
    streams(2.0);
    // Another room is another matter.
    let _elsewhere = ann.enter(&maru, "/r/attic");
    // A return within the grace says nothing.
    drop(old);
    streams(2.0);
    let mut back = ann.enter(&maru, "/r/lobby");
    seated(&maru, 3.0);
    let dees = dee.enter(&maru, "/r/lobby");
    assert_joined(&presence(&mut others), &dee, "Dee", 3);
    // She hears of the others, and never of herself.
    assert_joined(&presence(&mut back), &dee, "Dee", 3);

    let gone = Instant::now();
    drop((back, dees));
    streams(2.0);
    let mut left = Vec::new();
    while left.len() < 2 {
        let told = presence(&mut others);
        let after = gone.elapsed().as_secs_f64();
        assert!((9.9..20.0).contains(&after), "{told} after {after} s");
        assert_eq!(told["joined"], json!([]));
        let names: Vec<_> =
            told["left"].as_array().unwrap().iter().map(|who| who["name"].as_str().unwrap()).collect();
        assert_eq!(told["text"], format!("{} left", names.join(" and ")));
        left.extend(told["left"].as_array().unwrap().iter().map(|who| who["id"].clone()));
        assert_eq!(told["online"], 3 - left.len());
    }
    assert!(left.contains(&ann.id) && left.contains(&dee.id), "{left:?}");
    let _cho = cho.enter(&maru, "/r/lobby");
    assert_joined(&presence(&mut others), &cho, "Cho", 2);
    // After the grace it is a new coming.
    let _back = ann.enter(&maru, "/r/lobby");
    assert_joined(&presence(&mut others), &ann, "Ann", 3);
}

#[test]
fn fifty_people_are_told_of_in_digests() {
    let maru = Maru::start();
    let watcher = Person::new(&maru, "Watcher");
    let mut watch = watcher.enter(&maru, "/r/lobby");
    seated(&maru, 1.0);
    let begun = Instant::now();
    let people: Vec<_> = (0..119).map(|n| Person::new(&maru, &format!("P{n}"))).collect();
    let streams: Vec<_> = std::thread::scope(|scope| {
        let halves = people.chunks(60).map(|people| {
            let maru = &maru;
            scope
                .spawn(move || people.iter().map(|person| person.enter(maru, "/r/lobby")).collect::<Vec<_>>())
        });
        halves.collect::<Vec<_>>().into_iter().flat_map(|half| half.join().unwrap()).collect()
    });
    // One by one up to 50, then at most one a second.
    let (mut named, mut digests, mut online) = (HashSet::new(), 0, 0);
    while online < 120 {
        let told = presence(&mut watch);
        online = told["online"].as_u64().unwrap();
        let joined = told["joined"].as_array().unwrap();
        assert!(!joined.is_empty() && joined.len() <= 50 && told["left"] == json!([]), "{told}");
        if online < 50 {
            assert_eq!(joined.len(), 1, "{told}");
        } else {
            digests += 1;
        }
        for who in joined {
            assert!(named.insert(who["id"].as_str().unwrap().to_owned()), "{who} joined twice");
        }
        let text = told["text"].as_str().unwrap();
        assert!(text.ends_with("joined") && text.len() < 200, "{text}");
        let most = begun.elapsed().as_secs() + 2;
        assert!(digests <= most, "{digests} digests within {most} s");
    }
    assert!(named.len() >= 50);

    let gone = Instant::now();
    drop(streams);
    (digests, online) = (0, 120);
    let mut left = HashSet::new();
    while online > 1 {
        let told = presence(&mut watch);
        assert!(gone.elapsed() > Duration::from_millis(9900), "{told} after {:?}", gone.elapsed());
        assert!(told["joined"] == json!([]) && told["left"].as_array().unwrap().len() <= 50, "{told}");
        online = told["online"].as_u64().unwrap();
        digests += 1;
        for who in told["left"].as_array().unwrap() {
            assert!(left.insert(who["id"].as_str().unwrap().to_owned()), "{who} left twice");
        }
        if online >= 40 {
            let most = gone.elapsed().as_secs() + 2;
            assert!(digests <= most, "{digests} digests within {most} s");
        }
    }
}

#[test]
fn hello_the_room_and_its_members_say_who_is_here() {
    let maru = Maru::start();
    let [ann, bob] = ["Ann", "Bob"].map(|name| Person::new(&maru, name));
    let get = |target: &str| maru.client().get(target).unwrap().json();
    let empty = get("/api/chat/lobby");
    assert_eq!((&empty["kind"], &empty["name"]), (&json!("open"), &json!("lobby")));
    assert_eq!((&empty["online"], &empty["tip"]), (&json!(0), &json!("1-0")));
    assert_eq!(get("/api/chat/lobby/members"), json!({"members": [], "online": 0}));

    let _first = ann.enter(&maru, "/r/lobby");
    let _second = ann.enter(&maru, "/r/lobby");
    let mut bobs = Listen::to("/r/LOBBY").header("Cookie", &bob.cookie).open(maru.address()).unwrap();
    let hello: Value = serde_json::from_str(&bobs.wait_for("hello", deadline()).unwrap().data).unwrap();
    assert_eq!((&hello["online"], &hello["user"]["id"]), (&json!(2), &bob.id));
    let members = get("/api/chat/lobby/members");
    let ids: HashSet<_> =
        members["members"].as_array().unwrap().iter().map(|who| who["id"].to_string()).collect();
    assert_eq!((ids, &members["online"]), ([ann.id.to_string(), bob.id.to_string()].into(), &json!(2)));
    assert_eq!(members["members"][0]["kind"], "guest");
    assert_eq!(get("/api/chat/Lobby/")["online"], 2);
    assert_eq!(get("/api/chat/attic")["online"], 0);
    maru.say("lobby", "hi");
    assert_eq!(get("/api/chat/lobby")["tip"], "1-1");
    assert_eq!(get("/api/chat/attic")["id"], get("/api/chat/ATTIC")["id"]);
}

#[test]
fn only_who_listens_is_here() {
    let maru = Maru::start();
    let [ann, bob, cho] = ["Ann", "Bob", "Cho"].map(|name| Person::new(&maru, name));
    let mut others = bob.enter(&maru, "/r/lobby");
    seated(&maru, 1.0);
    let mut anns = ann.client(&maru);
    assert_eq!(anns.post("/r/lobby", "text/plain", "hi").unwrap().status, 201);
    assert_eq!(anns.get("/api/history?room=lobby").unwrap().status, 200);
    assert_eq!(anns.get("/api/chat/lobby/members").unwrap().status, 200);
    assert_eq!(anns.get("/api/chat/lobby").unwrap().status, 200);
    assert_eq!(anns.get("/r/lobby?history=x").unwrap().status, 400);
    assert_eq!(
        anns.send(&Request::new("GET", "/r/lobby").header("Accept", "text/html")).unwrap().status,
        200
    );
    assert_eq!(anns.send(&Request::new("HEAD", "/r/lobby")).unwrap().status, 200);
    let _cho = cho.enter(&maru, "/r/lobby");
    assert_joined(&presence(&mut others), &cho, "Cho", 2);
    // Whoever polls is here, and stays so between two polls.
    for _ in 0..3 {
        assert_eq!(anns.get("/r/lobby?poll=1").unwrap().status, 200);
    }
    assert_joined(&presence(&mut others), &ann, "Ann", 3);
    assert_eq!(others.next_event(Instant::now() + Duration::from_millis(300)).unwrap(), Next::Quiet);
}

#[test]
fn who_comes_during_a_replay_is_told_of_after_it() {
    let maru = Maru::start();
    let [ann, bob] = ["Ann", "Bob"].map(|name| Person::new(&maru, name));
    let mut bobs = bob.client(&maru);
    for _ in 0..600 {
        assert_eq!(bobs.post("/r/lobby", "text/plain", "x".repeat(4000)).unwrap().status, 201);
    }
    let replays: Vec<_> = ["1.1", "1.0"]
        .map(|version| {
            // Small buffers, so that the replay stands still while nobody reads.
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.set_recv_buffer_size(4 << 10).unwrap();
            socket.connect(&maru.address().into()).unwrap();
            let mut socket = TcpStream::from(socket);
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            let head =
                format!("GET /r/lobby?since=all HTTP/{version}\r\nHost: x\r\nCookie: {}\r\n\r\n", bob.cookie);
            socket.write_all(head.as_bytes()).unwrap();
            socket
        })
        .into();
    maru.wait_for_metric("maru_streams", |streams| streams == 2.0);
    let mut seen = ["1.1", "1.0"].map(|_| Vec::new());
    let mut piece = [0; 4096];
    // They were let in, and are at it.
    for (mut socket, seen) in replays.iter().zip(&mut seen) {
        let n = socket.read(&mut piece).unwrap();
        seen.extend_from_slice(&piece[..n]);
    }
    let _ann = ann.enter(&maru, "/r/lobby?since=live");
    let until = deadline();
    for (mut socket, mut seen) in replays.iter().zip(seen) {
        let has = |seen: &[u8], what: &[u8]| seen.windows(what.len()).any(|bytes| bytes == what);
        while !has(&seen[seen.len().saturating_sub(8192)..], b"Ann joined") {
            let n = socket.read(&mut piece).unwrap();
            assert!(n > 0, "it ended");
            // Pings would go on for ever.
            assert!(Instant::now() < until, "nobody told of her");
            seen.extend_from_slice(&piece[..n]);
        }
        assert!(has(&seen, b"event: live"));
    }
}

#[test]
fn presence_speaks_the_servers_language() {
    let maru = Maru::with(&["--lang", "ko"]);
    let [ann, bob] = ["하늘", "Bob"].map(|name| Person::new(&maru, name));
    let mut others = bob.enter(&maru, "/r/lobby");
    seated(&maru, 1.0);
    let _ann = ann.enter(&maru, "/r/lobby");
    assert_eq!(presence(&mut others)["text"], "하늘 님이 들어왔습니다");
}
