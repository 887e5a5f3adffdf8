//! Coming back: no hole, no repeat, wherever the connection was cut.

use std::{io::Read, time::Duration};

use loadtest::{checker::check, http::Request, speak::whole_log, stream::Listen};

use crate::{
    harness::{Maru, PATIENCE, at_length, deadline},
    trial::{Cast, Trial, harmed_on},
};

#[test]
fn readers_that_cut_at_random_miss_nothing_and_see_nothing_twice() {
    let messages = at_length(200);
    let cast = Cast { rooms: 1, speakers: 5, readers: 50, messages, wanders: true, pause: Duration::ZERO };
    let trial = Trial::run(Maru::start(), &cast, |_, _| {});
    trial.assert_nothing_is_missing();
    assert_eq!(trial.kept() as u64, 5 * messages);
    let counts = check(&trial.histories()[0]).counts;
    assert!(counts.connections > 100, "{counts:?}");
}

#[test]
fn a_killed_pod_has_all_that_it_acknowledged_once() {
    harmed_on(
        Maru::start,
        "every pod is killed at once and comes back",
        |maru, progress| {
            for _ in 0..at_length(4) {
                maru.kill();
                maru.restart();
                progress.go_on(150);
            }
        },
        Trial::assert_nothing_is_missing,
    );
}

#[test]
fn every_cursor_of_a_log_resumes_exactly() {
    let maru = Maru::start();
    let (token, _) = maru.sign_in("Ann");
    let mut ann = maru.client_as(&token);
    for i in 1..=130 {
        ann.post("/r/lobby", "text/plain", format!("{i}")).unwrap();
    }
    for cursor in 0..=130u64 {
        let mut stream = Listen::to("/r/lobby").after(&format!("1-{cursor}")).open(maru.address()).unwrap();
        for expected in cursor + 1..=130 {
            let event = stream.wait_for("message", deadline()).unwrap();
            assert_eq!(event.id.as_deref(), Some(format!("1-{expected}").as_str()));
        }
        stream.wait_for("live", deadline()).unwrap();
    }
}

#[test]
fn a_client_that_stalls_in_its_replay_loses_no_byte_at_the_hand_over() {
    let maru = Maru::start();
    let (token, _) = maru.sign_in("Ann");
    let mut ann = maru.client_as(&token);
    // More than all buffers between the two ends take.
    let messages = 2000;
    let text = "x".repeat(4000);
    for i in 0..messages {
        assert_eq!(ann.post("/r/lobby", "text/plain", format!("{i} {text}")).unwrap().status, 201);
    }
    let mut client = maru.client();
    let (head, body) = client.open(&Request::new("GET", "/r/lobby?since=all")).unwrap();
    assert_eq!(head.status, 200);
    // Nobody reads: the replay stands still with the socket full. Meanwhile others speak.
    maru.wait_for_metric("maru_streams", |streams| streams == 1.0);
    for i in 0..20 {
        assert_eq!(ann.post("/r/lobby", "text/plain", format!("late {i}")).unwrap().status, 201);
    }
    let mut body = body;
    let mut parser = loadtest::sse::Parser::new();
    let mut expected = 1;
    while expected <= messages + 20 {
        let bytes = body.read(deadline()).unwrap().expect("it goes on");
        parser.feed(&bytes);
        while let Some(event) = parser.next_event() {
            if event.name == "message" {
                assert_eq!(event.id, Some(format!("1-{expected}")));
                expected += 1;
            }
        }
    }
    // It sits in the reading room now, and hears what comes.
    maru.wait_for_metric("maru_readers", |readers| readers == 1.0);
    maru.say("lobby", "at last");
    let mut heard = false;
    while !heard {
        parser.feed(&body.read(deadline()).unwrap().expect("it goes on"));
        while let Some(event) = parser.next_event() {
            heard |= event.data.contains("at last");
        }
    }
    assert!(parser.faults().is_empty());
}

#[test]
fn a_reader_that_takes_nothing_is_ended_and_costs_the_others_nothing() {
    let maru = Maru::start();
    let (token, _) = maru.sign_in("Ann");
    let mut ann = maru.client_as(&token);
    let mut good = maru.listen_live("/r/lobby");
    let stuck: Vec<_> = (0..20).map(|_| maru.listen_live("/r/lobby")).collect();
    maru.wait_for_metric("maru_readers", |readers| readers == 21.0);
    let text = "y".repeat(4000);
    // Each of them falls more than 1 MiB (and what the sockets hold) behind.
    let mut posted = 0u64;
    while maru.metric(r#"maru_ended_total{reason="too_slow"}"#) < 20.0 {
        for _ in 0..50 {
            assert_eq!(ann.post("/r/lobby", "text/plain", text.clone()).unwrap().status, 201);
            posted += 1;
            let event = good.wait_for("message", deadline()).unwrap();
            assert_eq!(event.id, Some(format!("1-{posted}")));
        }
        let held = maru.metric_of_each("maru_ring_bytes");
        assert!(held.iter().all(|held| *held <= 3.0 * 1024.0 * 1024.0), "the rings hold {held:?} bytes");
        assert!(posted < 5000, "they are never ended");
    }
    // It comes back by its cursor and misses nothing.
    let mut cut_off = stuck.into_iter().next().unwrap();
    let mut last = 0;
    while let Ok(loadtest::stream::Next::Event(event)) = cut_off.next_event(deadline()) {
        if event.name == "message" {
            last += 1;
            assert_eq!(event.id, Some(format!("1-{last}")));
        }
    }
    assert!(last < posted);
    let mut back = Listen::to("/r/lobby").after(&format!("1-{last}")).open(maru.address()).unwrap();
    for expected in last + 1..=posted {
        assert_eq!(back.wait_for("message", deadline()).unwrap().id, Some(format!("1-{expected}")));
    }
}

#[test]
fn what_a_client_sends_after_its_request_is_discarded() {
    use std::io::Write;
    let maru = Maru::start();
    let mut socket = std::net::TcpStream::connect(maru.address()).unwrap();
    socket.write_all(b"GET /r/lobby HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    maru.wait_for_metric("maru_readers", |readers| readers == 1.0);
    socket.write_all(b"POST /r/lobby HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\nsmuggled").unwrap();
    maru.say("lobby", "spoken");
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    while !String::from_utf8_lossy(&seen).contains("spoken") {
        match socket.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(n) => seen.extend_from_slice(&buffer[..n]),
        }
    }
    let log = whole_log(&mut maru.client(), "lobby").unwrap();
    assert_eq!(log.len(), 1);
    assert!(log[0].data.contains("spoken"));
}
