//! HTTP/2: the same answers, the same streams, the same limits.

pub mod client;
mod floods;
mod frames;

use bytes::Bytes;
use hyper::{Method, Request, StatusCode};
use rustix::process::Signal;

use crate::{
    harness::{Maru, assert_problem, deadline, wait_for},
    raw::Raw,
};
use client::{Connection, request, run};

/// Speaks HTTP/2 to whoever begins with it.
fn start(args: &[&str]) -> Maru {
    Maru::with(&[&["--h2c", "on", "--rate-limit", "off"], args].concat())
}

#[test]
fn requests_are_answered_as_in_http1() {
    let maru = start(&[]);
    run(async {
        let mut connection = Connection::open(maru.address()).await;
        let said = connection.say("/r/lobby", "hello").await;
        assert_eq!((said.status, said.json()["cursor"].as_str()), (StatusCode::CREATED, Some("1-1")));
        assert!(said.headers["set-cookie"].to_str().unwrap().starts_with("maru_session="));
        assert!(!said.headers["set-cookie"].to_str().unwrap().contains("Secure"));

        let mut again = request(Method::POST, "/r/lobby");
        again.headers_mut().insert("idempotency-key", "once".parse().unwrap());
        for status in [StatusCode::CREATED, StatusCode::OK] {
            assert_eq!(connection.ask(again.clone(), Some("again".into())).await.status, status);
        }
        let history = connection.get("/api/history?room=lobby").await.json();
        assert_eq!(history["events"].as_array().map(Vec::len), Some(2));

        connection.get("/nowhere").await.assert_problem(404, "not_found");
        let head = connection.ask(request(Method::HEAD, "/r/lobby"), None).await;
        assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
        let page = {
            let mut page = request(Method::GET, "/r/lobby");
            page.headers_mut().insert("accept", "text/html".parse().unwrap());
            connection.ask(page, None).await
        };
        assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
        // More than one piece, and whole.
        let length: usize = page.headers["content-length"].to_str().unwrap().parse().unwrap();
        assert!(length > 16 << 10 && page.body.len() == length, "{} of {length}", page.body.len());
    });
}

/// And HTTP/1.1 is spoken on the same port, with its streams in the reading room.
#[test]
fn who_speaks_http1_is_served_beside() {
    let maru = start(&[]);
    let mut stream = maru.listen_live("/r/lobby");
    run(async {
        let mut connection = Connection::open(maru.address()).await;
        connection.say("/r/lobby", "from the other side").await;
    });
    assert!(stream.wait_for("message", deadline()).unwrap().data.contains("from the other side"));
    maru.wait_for_metric("maru_readers", |readers| readers == 1.0);
}

#[test]
fn streams_of_one_connection_replay_follow_and_resume_each_by_itself() {
    let maru = start(&[]);
    run(async {
        let mut connection = Connection::open(maru.address()).await;
        let mut streams = Vec::new();
        for room in 0..20 {
            connection.say(&format!("/r/room-{room}"), "first").await;
            let mut stream = connection.listen(&format!("/r/room-{room}")).await;
            assert_eq!(stream.texts(1).await.0, ["first"]);
            stream.wait_for("live").await;
            streams.push(stream);
        }
        for room in (0..20).rev() {
            connection.say(&format!("/r/room-{room}"), format!("second in {room}")).await;
        }
        for (room, mut stream) in streams.into_iter().enumerate() {
            let (texts, cursor) = stream.texts(1).await;
            assert_eq!(texts, [format!("second in {room}")]);
            drop(stream); // Which resets it.
            connection.say(&format!("/r/room-{room}"), "third").await;
            let mut stream = connection.listen(&format!("/r/room-{room}?since={cursor}")).await;
            assert_eq!(stream.texts(1).await.0, ["third"]);
        }
    });
    maru.wait_for_metric("maru_streams", |streams| streams == 0.0);
}

/// A reader that took nothing for a while gets what there is in few frames, however many events it is.
#[test]
fn what_has_waited_comes_in_few_frames() {
    let maru = start(&[]);
    run(async {
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(1 << 10);
        let mut slow = Connection::with(maru.address(), &builder).await;
        let mut stream = slow.listen("/r/lobby?since=live").await;
        stream.wait_for("live").await;
        let mut speaker = Connection::open(maru.address()).await;
        for n in 0..300 {
            speaker.say("/r/lobby", format!("message {n}")).await;
        }
        let before = stream.frames;
        let (texts, _) = stream.texts(300).await;
        assert!(texts.iter().enumerate().all(|(n, text)| *text == format!("message {n}")), "{texts:?}");
        let frames = stream.frames - before;
        // 300 events of some 270 bytes, in frames that a window of 1 KiB has room for: not a frame for each event.
        assert!(frames < 150, "{frames} frames");
    });
}

/// After 30 s without a byte taken. The others on the connection don't notice.
#[test]
fn a_stream_that_nobody_takes_ends_alone() {
    let maru = start(&[]);
    run(async {
        let mut builder = h2::client::Builder::new();
        // The window of the connection is for all; that of a stream stays 64 KiB.
        builder.initial_connection_window_size(1 << 20);
        let mut connection = Connection::with(maru.address(), &builder).await;
        let mut stuck =
            connection.send(request(Method::GET, "/r/lobby?since=live"), None).await.unwrap().into_body();
        let mut other = connection.listen("/r/lobby?since=live").await;
        other.wait_for("live").await;
        // A window of 64 KiB is full soon, as it is never opened again.
        for n in 0..40 {
            connection.say("/r/lobby", format!("{n} {}", "x".repeat(4000))).await;
            assert_eq!(other.texts(1).await.0.len(), 1);
        }
        let end = loop {
            match stuck.data().await {
                Some(Ok(_)) => {}
                Some(Err(e)) => break e,
                None => panic!("an orderly end of what was never taken"),
            }
        };
        assert_eq!(end.reason(), Some(h2::Reason::CANCEL), "{end}");
        connection.say("/r/lobby", "still here").await;
        assert_eq!(other.texts(1).await.0, ["still here"]);
    });
    wait_for("both have left", || maru.metric("maru_streams") == 0.0);
}

#[test]
fn heads_have_the_limits_that_they_have_in_http1() {
    let maru = start(&[]);
    run(async {
        let mut connection = Connection::open(maru.address()).await;
        let with = |fields: Vec<(String, String)>| {
            let mut request = request(Method::GET, "/healthz");
            for (name, value) in fields {
                request.headers_mut().append(
                    hyper::header::HeaderName::from_bytes(name.as_bytes()).unwrap(),
                    value.parse().unwrap(),
                );
            }
            request
        };
        let many = |count: usize| (0..count).map(|n| (format!("x-{n}"), "y".to_owned())).collect::<Vec<_>>();
        // `Host`, which :authority becomes, is not one of those that came.
        assert_eq!(connection.ask(with(many(64)), None).await.status, StatusCode::OK);
        connection.ask(with(many(65)), None).await.assert_problem(431, "head_too_large");
        let large = vec![("x-large".to_owned(), "y".repeat(17 << 10))];
        connection.ask(with(large), None).await.assert_problem(431, "head_too_large");
        // So large that nobody looks at it.
        let larger = (0..30).map(|n| (format!("x-{n}"), "y".repeat(4000))).collect();
        assert_eq!(connection.ask(with(larger), None).await.status.as_u16(), 431);

        let long = |length: usize| format!("/healthz?{}", "a".repeat(length - "/healthz?".len()));
        assert_eq!(connection.get(&long(4096)).await.status, StatusCode::OK);
        connection.get(&long(4097)).await.assert_problem(414, "uri_too_long");
    });
}

#[test]
fn who_is_asked_is_said_once() {
    let maru = start(&["--origin", "https://blog.example"]);
    run(async {
        let mut connection = Connection::open(maru.address()).await;
        let with = |name: &'static str, value: &str| {
            let mut request = request(Method::POST, "/r/lobby");
            request.headers_mut().insert("cookie", "maru_session=x".parse().unwrap());
            request.headers_mut().insert(name, value.parse().unwrap());
            request
        };
        let mut say = async |request: Request<()>| connection.ask(request, Some("hello".into())).await;
        assert_eq!(say(with("host", "maru.test")).await.status, StatusCode::CREATED);
        say(with("host", "other.test")).await.assert_problem(400, "bad_request");
        // The site that a page may come from is what :authority names.
        assert_eq!(say(with("origin", "http://maru.test")).await.status, StatusCode::CREATED);
        assert_eq!(say(with("origin", "https://blog.example")).await.status, StatusCode::CREATED);
        say(with("origin", "http://other.test")).await.assert_problem(403, "bad_origin");
    });
}

#[test]
fn bodies_have_the_limits_that_they_have_in_http1() {
    let maru = start(&["--limit", "body-time=1"]);
    run(async {
        let mut connection = Connection::open(maru.address()).await;
        let large = Bytes::from("x".repeat(20 << 10));
        connection.say("/r/lobby", large).await.assert_problem(413, "too_large");
        connection.say("/r/lobby", "x".repeat(5000)).await.assert_problem(413, "too_large");
        // A body that is begun and not ended.
        let socket = tokio::net::TcpStream::connect(maru.address()).await.unwrap();
        let (mut requests, driver) = h2::client::handshake(socket).await.unwrap();
        tokio::spawn(driver);
        let (answer, _open) = requests.send_request(request(Method::POST, "/r/lobby"), false).unwrap();
        assert_eq!(answer.await.unwrap().status(), StatusCode::REQUEST_TIMEOUT);
    });
    // Nothing of it was taken for whole.
    let history = maru.client().get("/api/history?room=lobby").unwrap().json();
    assert_eq!(history["events"].as_array().map(Vec::len), Some(0));
}

#[test]
fn it_is_no_tunnel() {
    let maru = start(&[]);
    run(async {
        let mut connection = Connection::open(maru.address()).await;
        let tunnel = Request::builder().method(Method::CONNECT).uri("maru.test:80").body(()).unwrap();
        assert_eq!(connection.send(tunnel, None).await.unwrap().status(), StatusCode::BAD_REQUEST);
    });
}

/// Whole answers that nobody takes are held up to 4 MiB on a connection.
#[test]
fn answers_that_wait_are_bounded() {
    let maru = start(&["--limit", "text=16000,body=17000"]);
    for _ in 0..60 {
        assert_eq!(maru.say("lobby", &"x".repeat(16_000)).status, 201);
    }
    run(async {
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(0);
        let mut connection = Connection::with(maru.address(), &builder).await;
        let mut statuses = Vec::new();
        let mut held = Vec::new();
        for _ in 0..10 {
            let page = request(Method::GET, "/api/history?room=lobby&limit=200");
            let answer = connection.send(page, None).await.unwrap();
            statuses.push(answer.status().as_u16());
            held.push(answer.into_body());
        }
        // A page has about 1 MB: the fifth makes it more than is held.
        assert_eq!(statuses, [200, 200, 200, 200, 200, 503, 503, 503, 503, 503]);
        drop(held);
        let page = request(Method::GET, "/api/history?room=lobby&limit=200");
        while connection.send(page.clone(), None).await.unwrap().status() != StatusCode::OK {
            client::a_moment().await;
        }
    });
}

/// Streams are told to come back elsewhere; whoever keeps the connection is told to begin no more here, and everything
/// that was begun is answered.
#[test]
fn a_pod_that_ends_leaves_nobody_without_an_answer() {
    let mut maru = start(&["--drain", "1s"]);
    run(async {
        let mut connection = Connection::open(maru.address()).await;
        let mut stream = connection.listen("/r/lobby?since=live").await;
        stream.wait_for("live").await;
        let mut answered = 0;
        maru.signal(Signal::TERM);
        let speaker = async {
            let mut speaker = Connection::open(maru.address()).await;
            loop {
                let say = request(Method::POST, "/r/lobby");
                match speaker.send(say, Some(Bytes::from(format!("message {answered}")))).await {
                    Ok(answer) => {
                        assert_eq!(answer.status(), StatusCode::CREATED);
                        answered += 1;
                    }
                    // What was begun after the last one that counts was not taken, and the client knows.
                    Err(e) => break assert!(e.is_go_away() || e.is_io() || e.is_reset(), "{e}"),
                }
            }
        };
        speaker.await;
        let mut texts = Vec::new();
        let bye = loop {
            let event = stream.next().await.unwrap().expect("a bye before the end");
            match event.name.as_str() {
                "message" => texts.push(event.data),
                "bye" => break event,
                _ => {}
            }
        };
        assert!(bye.data.contains("draining"), "{}", bye.data);
        assert!(answered > 0 && texts.len() == answered, "{answered} answered, {} heard", texts.len());
        assert!(stream.next().await.unwrap().is_none());
        drop(stream);
        connection.has_ended().await;
    });
    assert!(maru.ended().success());
}

#[test]
fn without_the_setting_it_is_not_spoken() {
    let maru = Maru::start();
    let mut raw = Raw::saying(&maru, frames::PREFACE);
    assert_problem(&raw.answer().expect("an answer"), 400, "bad_request");
}
