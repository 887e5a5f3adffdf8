//! Coming back: no hole, no repeat, wherever the connection was cut.

use std::{
    io::Read,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use loadtest::{
    checker::{Clock, History, Outcome, check},
    http::{Client, Request},
    speak::{Speaker, whole_log},
    stream::{Listen, Reader},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::harness::{Doors, Maru, PATIENCE, at_length, deadline};

/// How a run goes.
pub struct Run {
    pub readers: u64,
    pub speakers: u64,
    /// Messages of each speaker.
    pub messages: u64,
    /// Times that the pod is killed and started again meanwhile.
    pub kills: u64,
}

/// Speakers post without pause while readers cut their connections at random; the pod may be killed meanwhile.
/// Gives everything that happened.
pub fn run(maru: &mut Maru, run: &Run) -> History {
    let clock = Clock::start();
    let doors = &maru.doors();
    let done = AtomicBool::new(false);
    let (attempts, readers) = thread::scope(|scope| {
        let speakers: Vec<_> =
            (0..run.speakers).map(|n| scope.spawn(move || speak(doors, clock, n, run.messages))).collect();
        let done = &done;
        let readers: Vec<_> =
            (0..run.readers).map(|n| scope.spawn(move || read(doors, clock, n, done))).collect();
        for _ in 0..run.kills {
            thread::sleep(Duration::from_millis(400));
            maru.kill();
            maru.restart();
        }
        let attempts: Vec<_> = speakers.into_iter().flat_map(|s| s.join().unwrap()).collect();
        done.store(true, Ordering::Relaxed);
        (attempts, readers.into_iter().map(|r| r.join().unwrap()).collect())
    });
    let end = whole_log(&mut maru.client(), "lobby").expect("the log can be read");
    History { room: "lobby".into(), attempts, readers, end: Some(end), ..History::default() }
}

/// Says its messages, each again and again until it is answered.
fn speak(doors: &Doors, clock: Clock, n: u64, messages: u64) -> Vec<loadtest::checker::Attempt> {
    let client = Client::new(doors.any()).timeout(Duration::from_secs(3));
    let mut speaker = Speaker::guest(client, clock, "lobby", &format!("Speaker {n}")).expect("a session");
    for i in 0..messages {
        let until = Instant::now() + PATIENCE;
        loop {
            let outcome = speaker.say_as(&format!("{n}:{i}"), &format!("{n}-{i}"));
            if matches!(outcome, Outcome::Acknowledged(_)) {
                break;
            }
            assert!(Instant::now() < until, "never answered: {outcome:?}");
            speaker.move_to(doors.any());
            thread::sleep(Duration::from_millis(5));
        }
    }
    speaker.into_attempts()
}

/// Reads, cutting its connection at random, until all has been said; then reads to the end.
fn read(doors: &Doors, clock: Clock, n: u64, done: &AtomicBool) -> loadtest::checker::ReaderLog {
    let mut rng = StdRng::seed_from_u64(n);
    let mut reader =
        Reader::new(&format!("reader {n}"), clock, doors.any(), Listen::to("/r/lobby?since=all"));
    while !done.load(Ordering::Relaxed) {
        reader.move_to(doors.any());
        if reader.stream().is_none() && reader.connect().is_err() {
            thread::sleep(Duration::from_millis(10));
            continue;
        }
        // Some cuts fall into the replay, some after the hand-over.
        let events = [1, 3, 30, 300][rng.random_range(0..4)];
        for _ in 0..rng.random_range(0..events) {
            reader.next(Instant::now() + Duration::from_millis(20));
        }
        reader.cut();
    }
    let end = whole_log(&mut Client::new(doors.any()), "lobby").expect("the log can be read");
    // Whoever answers before the commit may have nothing in the end.
    if let Some(tip) = end.last().map(|last| last.cursor) {
        assert!(reader.read_to(tip, deadline()), "reader {n} stands at {:?} of {tip}", reader.cursor());
    }
    reader.into_complete_log()
}

#[test]
fn readers_that_cut_at_random_miss_nothing_and_see_nothing_twice() {
    let mut maru = Maru::start();
    let history = run(&mut maru, &Run { readers: 50, speakers: 5, messages: at_length(200), kills: 0 });
    let verdict = check(&history);
    verdict.assert_holds();
    assert_eq!(verdict.counts.kept as u64, at_length(1000));
    assert!(verdict.counts.connections > 100, "{:?}", verdict.counts);
}

#[test]
fn a_killed_pod_has_all_that_it_acknowledged_once() {
    let mut maru = Maru::start();
    let history =
        run(&mut maru, &Run { readers: 10, speakers: 5, messages: at_length(300), kills: at_length(4) });
    let verdict = check(&history);
    verdict.assert_holds();
    assert_eq!(verdict.counts.kept as u64, at_length(1500));
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
