//! SIGTERM: unready at once, still accepting for a while, everybody sent off in order, nothing lost (P11).

use std::{
    collections::HashMap,
    thread,
    time::{Duration, Instant},
};

use loadtest::{http::Request, speak::whole_log, stream::Next};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    harness::{Maru, deadline, wait_for},
    raw::Raw,
};

fn texts(maru: &Maru, room: &str) -> Vec<String> {
    let log = whole_log(&mut maru.client(), room).unwrap();
    let text = |data: &str| serde_json::from_str::<Value>(data).unwrap()["text"].as_str().unwrap().to_owned();
    log.iter().map(|kept| text(&kept.data)).collect()
}

#[test]
fn a_pod_that_is_told_to_end_takes_leave_of_everybody() {
    let mut maru = Maru::with(&["--rate-limit", "off", "--drain", "3s"]);
    let mut seated: Vec<_> = (0..20).map(|_| maru.listen_live("/r/lobby")).collect();
    let (_, mut lines) = maru
        .client()
        .open(&Request::new("GET", "/r/lobby").header("Accept", "application/x-ndjson"))
        .unwrap();
    let (_, mut old) = maru.client().open(&Request::new("GET", "/r/lobby").http10()).unwrap();
    maru.wait_for_metric("maru_streams", |streams| streams == 22.0);
    let mut half =
        Raw::saying(&maru, "POST /r/lobby HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nunder ");
    let mut kept = Raw::saying(&maru, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(kept.answer().unwrap().status, 200);
    let poll = {
        let mut client = maru.client().timeout(Duration::from_secs(40));
        thread::spawn(move || client.get("/r/attic?poll=1&since=1-0").unwrap())
    };
    maru.wait_for_metric("maru_streams", |streams| streams == 23.0);

    maru.tell_to_end();
    let told = Instant::now();
    wait_for("it is unready", || maru.client().get("/readyz").unwrap().status == 503);
    assert!(told.elapsed() < Duration::from_secs(2), "only after {:?}", told.elapsed());
    // Balancers have not noticed yet: it is alive, takes connections, and goes on as before.
    assert_eq!(maru.client().get("/healthz").unwrap().status, 200);
    let late = maru.say("lobby", "late");
    assert_eq!((late.status, late.headers.get("connection")), (201, Some("close")));
    assert!(seated[0].wait_for("message", deadline()).unwrap().data.contains("late"));
    let mut newcomer = maru.listen_live("/r/lobby");
    // It takes no more now. What was begun before is answered all the same, and what was on its way.
    let mut silent = Raw::to(&maru);
    wait_for("it takes no more", || !maru.takes_connections());
    silent.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(silent.answers().iter().map(|answer| answer.status).collect::<Vec<_>>(), [200]);
    newcomer.wait_for("bye", deadline()).unwrap();
    half.send("way!");
    assert_eq!(half.answers().iter().map(|answer| answer.status).collect::<Vec<_>>(), [201]);
    assert!(kept.answers().is_empty());
    let polled = poll.join().unwrap();
    assert_eq!((polled.status, &polled.json()["events"]), (200, &json!([])));

    let leaves: Vec<_> = thread::scope(|scope| {
        let readers = seated.iter_mut().map(|stream| {
            scope.spawn(move || {
                let bye = stream.wait_for("bye", deadline()).unwrap();
                assert_eq!(bye.data, r#"{"code":"draining"}"#);
                assert_eq!(stream.next_event(deadline()).unwrap(), Next::Ended);
                (told.elapsed(), stream.retry().unwrap())
            })
        });
        readers.collect::<Vec<_>>().into_iter().map(|reader| reader.join().unwrap()).collect()
    });
    for (at, retry) in &leaves {
        // Up to 3 s unready, then 3 s of draining.
        assert!(*at < Duration::from_secs(12), "sent off after {at:?}");
        assert!((1000..=3000).contains(retry), "to come back in {retry} ms");
    }
    let retries: std::collections::HashSet<_> = leaves.iter().map(|(_, retry)| retry).collect();
    assert!(retries.len() > 5, "they all come back at once: {retries:?}");
    let mut rest = Vec::new();
    while let Some(piece) = lines.read(deadline()).unwrap() {
        rest.extend(piece);
    }
    let last: Value = serde_json::from_str(String::from_utf8(rest).unwrap().lines().last().unwrap()).unwrap();
    assert_eq!((&last["event"], &last["code"]), (&json!("bye"), &json!("draining")));
    assert!(last["retry"].as_u64().is_some_and(|retry| (1000..=3000).contains(&retry)), "{last}");
    let mut rest = String::new();
    while let Some(piece) = old.read(deadline()).unwrap() {
        rest.push_str(&String::from_utf8(piece).unwrap());
    }
    assert!(rest.contains("event: bye\n") && rest.ends_with("data: {\"code\":\"draining\"}\n\n"), "{rest}");

    // Clients close when they have read the end; those that do not are waited for a little.
    drop((seated, newcomer));
    assert_eq!(maru.ended().code(), Some(0));
    maru.restart();
    assert_eq!(texts(&maru, "lobby"), ["late", "under way!"]);
}

#[test]
fn nothing_that_was_answered_is_lost_while_it_drains() {
    let mut maru = Maru::with(&["--rate-limit", "off", "--drain", "1s"]);
    let mut reader = maru.listen_live("/r/lobby");
    let acknowledged: Vec<HashMap<String, String>> = thread::scope(|scope| {
        let speakers: Vec<_> = (0..4)
            .map(|speaker| {
                let address = maru.address();
                scope.spawn(move || {
                    let (mut acknowledged, mut n) = (HashMap::new(), 0);
                    // A connection each, and one kept.
                    let mut kept = loadtest::http::Client::new(address);
                    loop {
                        n += 1;
                        let text = format!("{speaker} {n}");
                        let request = Request::new("POST", "/r/lobby").body(text.clone());
                        let answer = match speaker % 2 {
                            0 => kept.send(&request),
                            _ => loadtest::http::Client::new(address).send(&request),
                        };
                        match answer {
                            Ok(answer) => {
                                assert_eq!(answer.status, 201, "{}", answer.text());
                                let cursor = answer.json()["cursor"].as_str().unwrap().to_owned();
                                acknowledged.insert(text, cursor);
                            }
                            Err(e) if e.kind == loadtest::http::ErrorKind::Connect => return acknowledged,
                            // Closed between two requests, just as the next was sent.
                            Err(_) => {}
                        }
                    }
                })
            })
            .collect();
        maru.wait_for_metric("maru_messages_total", |messages| messages > 50.0);
        maru.tell_to_end();
        speakers.into_iter().map(|speaker| speaker.join().unwrap()).collect()
    });
    // The reader got each once, in order, up to its end.
    let (mut seen, mut tip) = (0, "1-0".to_owned());
    while let Next::Event(event) = reader.next_event(deadline()).unwrap() {
        if event.name == "message" {
            seen += 1;
            tip = event.id.unwrap();
            assert_eq!(tip, format!("1-{seen}"));
        }
    }
    drop(reader);
    assert_eq!(maru.ended().code(), Some(0));
    maru.restart();
    let log = whole_log(&mut maru.client(), "lobby").unwrap();
    let mut kept: HashMap<String, Vec<String>> = HashMap::new();
    for event in &log {
        let text = serde_json::from_str::<Value>(&event.data).unwrap()["text"].as_str().unwrap().to_owned();
        kept.entry(text).or_default().push(event.cursor.to_string());
    }
    for (text, cursor) in acknowledged.iter().flatten() {
        assert_eq!(kept.get(text), Some(&vec![cursor.clone()]), "{text}");
    }
    assert!(kept.values().all(|places| places.len() == 1), "something was said twice");
    // And what it had not got it gets now.
    let mut back = loadtest::stream::Listen::to("/r/lobby").after(&tip).open(maru.address()).unwrap();
    for expected in seen + 1..=log.len() {
        assert_eq!(back.wait_for("message", deadline()).unwrap().id, Some(format!("1-{expected}")));
    }
}

#[test]
fn an_interrupt_ends_it_too_and_nobody_has_to_wait() {
    let mut maru = Maru::with(&["--drain", "0s"]);
    let mut stream = maru.listen_live("/r/lobby");
    maru.say("lobby", "hi");
    let told = Instant::now();
    maru.signal(Signal::INT);
    assert_eq!(stream.wait_for("bye", deadline()).unwrap().data, r#"{"code":"draining"}"#);
    drop(stream);
    assert_eq!(maru.ended().code(), Some(0));
    assert!(told.elapsed() < Duration::from_secs(8), "it took {:?}", told.elapsed());
    maru.restart();
    assert_eq!(texts(&maru, "lobby"), ["hi"]);
}
