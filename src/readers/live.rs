//! The reading room with real sockets and real time.

use std::{
    io::{Read, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    os::{fd::OwnedFd, unix::net::UnixStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use uuid::Uuid;

use super::{Joined, NewReader, Occupant, Place, Postbox, ReadingRoom, Rules, Source, Why, fakes::frame};
use crate::event::{EventKind, Frame, LogId, Seq, named};

/// A hub of one log that keeps everything.
struct Tail {
    frames: Mutex<(Vec<Frame>, Vec<usize>)>,
    postbox: Postbox,
}

const LOG: LogId = LogId(Uuid::nil());

fn at(seq: u64) -> Place {
    Place { event: Seq(seq), aside: 0 }
}

impl Tail {
    fn say(&self, text: &str) {
        let mut state = self.frames.lock().unwrap();
        let frame = frame(state.0.len() as u64 + 1, EventKind::Message, None, Some(text));
        state.0.push(frame.clone());
        for &thread in &state.1 {
            self.postbox.event(thread, LOG, frame.clone());
        }
    }
}

impl Source for Tail {
    type Ear = ();

    fn log(&self) -> LogId {
        LOG
    }

    fn join(&self, thread: usize, after: Place, upto: Option<Place>) -> Option<Joined> {
        let mut state = self.frames.lock().unwrap();
        let to = upto.map_or(state.0.len(), |upto| upto.event.0 as usize);
        let frames = state.0.get(after.event.0 as usize..to)?.to_vec();
        if !state.1.contains(&thread) {
            state.1.push(thread);
        }
        Some(Joined { frames, asides: Vec::new(), end: at(to as u64) })
    }

    fn leave(&self, thread: usize) {
        self.frames.lock().unwrap().1.retain(|&joined| joined != thread);
    }
}

struct Guest {
    name: u32,
    expires: u32,
    drops: Arc<AtomicUsize>,
}

impl Occupant for Guest {
    type Select = u32;

    fn is_meant(&self, select: &u32) -> bool {
        self.name == *select
    }

    fn expires(&self) -> u32 {
        self.expires
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.drops.fetch_add(1, Ordering::Relaxed);
    }
}

struct House {
    room: ReadingRoom<Tail, Guest>,
    tail: Arc<Tail>,
    drops: Arc<AtomicUsize>,
}

const SHORT: Rules = Rules {
    ping: Duration::from_secs(60),
    stuck: Duration::from_secs(60),
    behind: 64 << 10,
    linger: Duration::from_millis(500),
    pause: Duration::from_millis(10),
    tick: Duration::from_millis(10),
};

impl House {
    fn new(threads: usize, rules: Rules) -> Self {
        let bye = |why: Why| named("bye", None, None, &format!("{why:?}"));
        let room = ReadingRoom::open(threads, rules, bye).unwrap();
        let tail = Arc::new(Tail { frames: Mutex::default(), postbox: room.postbox() });
        House { room, tail, drops: Arc::default() }
    }

    fn seat(&self, name: u32, expires: u32, socket: impl Into<OwnedFd>) {
        let occupant = Guest { name, expires, drops: Arc::clone(&self.drops) };
        let source = Arc::clone(&self.tail);
        let socket = socket.into();
        self.room.seat(NewReader { socket, source, after: at(0), ear: (), live: None, occupant });
    }

    fn drops(&self) -> usize {
        self.drops.load(Ordering::Relaxed)
    }

    fn readers(&self) -> usize {
        self.room.stats().readers.load(Ordering::Relaxed) as usize
    }
}

/// Client and server side of a connection on loopback.
fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let (server, _) = listener.accept().unwrap();
    (client, server)
}

/// The same with as little room in between as the kernel allows.
fn narrow_pair() -> (TcpStream, TcpStream) {
    let (client, server) = pair();
    socket2::SockRef::from(&server).set_send_buffer_size(4096).unwrap();
    socket2::SockRef::from(&client).set_recv_buffer_size(4096).unwrap();
    (client, server)
}

fn until(mut come: impl FnMut() -> bool) {
    let began = Instant::now();
    while !come() {
        assert!(began.elapsed() < Duration::from_secs(20), "it never came");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The body up to its end, without the framing.
fn rest(client: &mut impl Read) -> String {
    let mut bytes = Vec::new();
    client.read_to_end(&mut bytes).unwrap();
    let body = String::from_utf8(bytes).unwrap();
    assert!(body.ends_with("\r\n0\r\n\r\n"), "not ended: {body:?}");
    body
}

fn read_until(client: &mut impl Read, end: &str) -> String {
    let mut bytes = Vec::new();
    let mut some = [0; 4096];
    while !String::from_utf8_lossy(&bytes).contains(end) {
        let n = client.read(&mut some).unwrap();
        assert!(n > 0, "ended without {end}");
        bytes.extend_from_slice(&some[..n]);
    }
    String::from_utf8(bytes).unwrap()
}

#[test]
fn what_is_said_is_heard_by_all_on_all_threads() {
    let house = House::new(3, SHORT);
    let mut clients: Vec<_> = (0..300).map(|_| UnixStream::pair().unwrap()).collect();
    house.tail.say("before anybody came");
    for (name, (_, server)) in clients.iter().enumerate() {
        house.seat(name as u32, u32::MAX, server.try_clone().unwrap());
    }
    for n in 0..20 {
        house.tail.say(&format!("number {n}"));
    }
    house.tail.say("that is all");
    for (client, _) in &mut clients {
        let heard = read_until(client, "that is all");
        let cursors: Vec<_> = heard.lines().filter_map(|line| line.strip_prefix("id: 1-")).collect();
        assert_eq!(cursors, (1..=22).map(|n| n.to_string()).collect::<Vec<_>>());
    }
    house.room.close();
    assert_eq!((house.drops(), house.readers()), (300, 0));
}

#[test]
fn a_reader_that_stalls_costs_bounded_memory_and_nobody_elses_progress() {
    let house = House::new(1, Rules { linger: Duration::from_secs(20), ..SHORT });
    let (mut stalled, server) = narrow_pair();
    house.seat(0, u32::MAX, server);
    let others: Vec<_> = (0..4)
        .map(|_| {
            let (mut client, server) = pair();
            house.seat(1, u32::MAX, server);
            std::thread::spawn(move || read_until(&mut client, "that is all").matches("\nid: 1-").count())
        })
        .collect();
    let mut most = 0;
    for n in 0..1000 {
        house.tail.say(&"x".repeat(1000));
        if n % 10 == 0 {
            // No faster than the others can read, who are not to be taken for slow.
            let behind = || house.room.stats().ring_bytes.load(Ordering::Relaxed);
            most = most.max(behind());
            until(|| house.room.stats().deliveries.load(Ordering::Relaxed) >= 4 * n);
        }
    }
    house.tail.say("that is all");
    for other in others {
        assert_eq!(other.join().unwrap(), 1001);
    }
    assert!(most <= 2 * SHORT.behind as u64 + 2000, "the ring held {most} bytes");
    until(|| house.room.stats().ended(Why::TooSlow) == 1);
    // Its stream ends at the boundary of a chunk, with the reason.
    let heard = rest(&mut stalled);
    assert!(heard.contains("event: bye\ndata: \"TooSlow\""), "{heard:?}");
    drop(stalled);
    until(|| house.readers() == 0);
    assert_eq!(house.drops(), 5);
}

#[test]
fn who_takes_nothing_is_ended() {
    let house = House::new(1, Rules { stuck: Duration::from_millis(200), behind: 64 << 20, ..SHORT });
    let (stuck, server) = narrow_pair();
    house.seat(0, u32::MAX, server);
    until(|| house.readers() == 1);
    until(|| {
        house.tail.say(&"x".repeat(4000));
        house.room.stats().short_writes.load(Ordering::Relaxed) > 0
    });
    until(|| house.room.stats().ended(Why::Stuck) == 1);
    assert_eq!(house.drops(), 1);
    drop(stuck);
}

#[test]
fn who_is_meant_is_told_and_ended_and_others_are_not() {
    let house = House::new(2, SHORT);
    let (mut meant, server) = pair();
    house.seat(1, u32::MAX, server);
    let (mut other, server) = pair();
    house.seat(2, u32::MAX, server);
    // Not read by anybody; closing would make a reset of it, which takes the last bytes away.
    meant.write_all(b"GET /again HTTP/1.1\r\n\r\n").unwrap();
    house.tail.say("hello");
    read_until(&mut meant, "hello");
    house.room.end(&1, &named("bye", None, Some(1000), &"signed out"));
    house.tail.say("after the end");
    let heard = rest(&mut meant);
    assert!(
        heard.contains("event: bye\nretry: 1000\ndata: \"signed out\"") && !heard.contains("after"),
        "{heard}"
    );
    assert_eq!(house.drops(), 1);
    read_until(&mut other, "after the end");
    until(|| house.room.stats().ended(Why::Told) == 1);
}

#[test]
fn only_quiet_readers_get_pings() {
    let house = House::new(1, Rules { ping: Duration::from_millis(500), ..SHORT });
    let (mut client, server) = pair();
    house.seat(0, u32::MAX, server);
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(1500) {
        house.tail.say("still here");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(house.room.stats().pings.load(Ordering::Relaxed), 0);
    read_until(&mut client, "event: ping\ndata: {\"ts\":1");
    let first = Instant::now();
    read_until(&mut client, "event: ping\n");
    let quiet = first.elapsed();
    // 500 ms ± 20 %, and room for a machine that has other things to do.
    assert!((Duration::from_millis(390)..Duration::from_millis(1500)).contains(&quiet), "{quiet:?}");
}

#[test]
fn a_session_that_is_over_ends_its_streams_within_a_second() {
    let house = House::new(1, Rules { tick: Duration::from_millis(250), ..SHORT });
    let (mut client, server) = pair();
    let ends = UNIX_EPOCH.elapsed().unwrap().as_secs() + 2;
    house.seat(0, ends as u32, server);
    let heard = rest(&mut client);
    let late = SystemTime::now().duration_since(UNIX_EPOCH + Duration::from_secs(ends)).unwrap();
    assert!(heard.contains("Expired") && late <= Duration::from_secs(1), "{late:?} late: {heard}");
}

#[test]
fn a_drain_is_spread_over_its_window() {
    let house = House::new(2, SHORT);
    let mut clients = Vec::new();
    for name in 0..100 {
        let (client, server) = UnixStream::pair().unwrap();
        house.seat(name, u32::MAX, server);
        clients.push(client);
    }
    until(|| house.readers() == 100);
    house.room.drain(Duration::from_millis(600));
    let began = Instant::now();
    let (mut quarter, mut half) = (None, None);
    until(|| {
        let gone = house.drops();
        quarter = quarter.or_else(|| (gone >= 25).then(|| began.elapsed()));
        half = half.or_else(|| (gone >= 50).then(|| began.elapsed()));
        gone == 100
    });
    assert!(began.elapsed() >= Duration::from_millis(500) && half.unwrap() > quarter.unwrap());
    for client in &mut clients {
        assert!(rest(client).contains("Draining(600ms)"));
    }
    // Who comes when it is over is sent off at once.
    let (mut late, server) = UnixStream::pair().unwrap();
    house.seat(0, u32::MAX, server);
    assert!(rest(&mut late).contains("Draining"));
}

#[test]
fn an_occupant_is_dropped_once_however_it_leaves() {
    let house = House::new(1, SHORT);
    let seat = |name| {
        let (client, server) = pair();
        house.seat(name, u32::MAX, server);
        client
    };
    drop(seat(0));
    until(|| house.drops() == 1);
    let half = seat(0);
    half.shutdown(Shutdown::Write).unwrap();
    until(|| house.drops() == 2);
    let reset = seat(0);
    socket2::SockRef::from(&reset).set_linger(Some(Duration::ZERO)).unwrap();
    drop(reset);
    until(|| house.drops() == 3);
    let told = seat(7);
    house.room.end(&7, &named("bye", None, None, &0));
    until(|| house.drops() == 4);
    let beyond = pair();
    let occupant = Guest { name: 0, expires: u32::MAX, drops: Arc::clone(&house.drops) };
    let (source, socket) = (Arc::clone(&house.tail), beyond.1.into());
    house.room.seat(NewReader { socket, source, after: at(99), ear: (), live: None, occupant });
    until(|| house.drops() == 5);
    let stays = seat(0);
    house.room.close();
    assert_eq!(house.drops(), 6);
    let late = seat(0);
    assert_eq!(house.drops(), 7);
    drop((told, stays, late));
    assert_eq!(house.drops(), 7);
    assert_eq!(house.tail.frames.lock().unwrap().1, [0; 0], "nobody reads it, and still it is posted");
}

#[test]
fn the_last_handle_takes_the_threads_with_it() {
    let house = House::new(2, SHORT);
    let (mut client, server) = pair();
    house.seat(0, u32::MAX, server);
    let House { room, tail, drops } = house;
    drop(room.clone());
    tail.say("hello");
    read_until(&mut client, "hello");
    drop((room, tail));
    rest(&mut client);
    until(|| drops.load(Ordering::Relaxed) == 1);
}
