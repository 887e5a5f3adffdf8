//! Thousands of readers in one thread: one epoll, one buffer, and per reader a socket and a [`Counter`].
//!
//! Readers come in groups, each of one room. A group can be hung up on and come back by its cursors, or stop taking
//! what it is sent.

use super::counter::{Counter, Note, Order, SESSION, Step, Stop};
use super::tally::Tally;
use super::{Failure, Progress, histogram, nanoseconds};
use crate::cursor::Cursor;
use hdrhistogram::Histogram;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::time::Timespec;
use socket2::{Domain, SockAddr, Socket, Type};
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// One `recv` takes this much (bytes): more than a sweep ever brings one reader.
const BUFFER: usize = 64 << 10;

/// No one came or went for so long: a room is at rest. Digests of presence come once a second.
pub(crate) const REST: Duration = Duration::from_millis(2500);

/// Readers that share a source address, where nothing depends on it.
pub(crate) const PER_ADDRESS: usize = 100;

/// Connections that are under way at once where nobody is in a hurry.
const CALMLY: usize = 64;

/// Longest wait for a reader that connects to be live.
const OPENING: Duration = Duration::from_secs(20);

/// The token of the trigger's socket; readers have small ones.
pub(crate) const TRIGGERS: u64 = 1 << 32;

/// The rest of a request for a stream of Server-Sent Events.
pub(crate) const EVENT_STREAM: &[u8] = b"Accept: text/event-stream\r\n\r\n";

/// How readers are opened.
pub(crate) struct Opening {
    pub(crate) server: SocketAddr,
    /// Path and query of the stream.
    pub(crate) target: String,
    /// How many readers share one source address. The server counts guests and streams by address.
    pub(crate) per_address: usize,
    /// What is different at a server that is neither a maru nor the floor.
    pub(crate) foreign: Option<Foreign>,
}

/// A stream of another server.
pub(crate) struct Foreign {
    /// The rest of the request: header fields, the empty line, and what follows it.
    pub(crate) rest: &'static [u8],
    /// What comes behind the head until the reader is subscribed.
    pub(crate) steps: &'static [Step],
    /// In which order the readers get the messages.
    pub(crate) order: Arc<Mutex<Order>>,
}

impl Opening {
    /// Of a reader that was as far as `counter`, and whom the server knows by this cookie.
    fn request(&self, counter: &Counter, session: Option<&str>) -> Vec<u8> {
        let mut head = format!("GET {} HTTP/1.1\r\nHost: {}\r\n", self.target, self.server);
        if let Some(cursor) = counter.cursor() {
            head += &format!("Last-Event-ID: {cursor}\r\n");
        }
        if let Some(session) = session {
            head += &format!("Cookie: {SESSION}={session}\r\n");
        }
        let rest = self.foreign.as_ref().map_or(EVENT_STREAM, |foreign| foreign.rest);
        [head.as_bytes(), rest].concat()
    }

    /// For the stream that goes on where another ended.
    fn counter(&self, before: &Counter) -> Counter {
        match &self.foreign {
            None => Counter::from_cursor(before.cursor()),
            Some(Foreign { steps, order, .. }) => Counter::of_marks(steps, order.clone()),
        }
    }
}

/// What a reader of a group read last in one go, if that was whole events. All of them get the same bytes, so whoever
/// is in the same place and reads the same need not be looked at line by line.
#[derive(Default)]
struct Known {
    bytes: Vec<u8>,
    between: Option<(Cursor, Cursor)>,
}

struct Reader {
    group: usize,
    /// None while they are away.
    socket: Option<TcpStream>,
    asked: Instant,
    is_live: bool,
    counter: Counter,
    session: Option<Box<str>>,
}

/// The readers, and whatever else waits on the same epoll.
pub(crate) struct Readers {
    epoll: OwnedFd,
    readers: Vec<Reader>,
    /// By group.
    known: Vec<Known>,
    events: Vec<epoll::Event>,
    buffer: Vec<u8>,
    /// The server may end streams, as it does with readers that take nothing.
    may_end: bool,
    /// From when a reader connected until it was live (ns).
    pub(crate) until_live: Histogram<u64>,
    pub(crate) tally: Tally,
}

impl Readers {
    pub(crate) fn new() -> Result<Self, Failure> {
        let epoll = epoll::create(CreateFlags::CLOEXEC).map_err(io::Error::from)?;
        let (events, buffer) = (Vec::with_capacity(1024), vec![0; BUFFER]);
        let (until_live, tally) = (histogram()?, Tally::default());
        Ok(Self {
            epoll,
            readers: Vec::new(),
            known: Vec::new(),
            events,
            buffer,
            may_end: false,
            until_live,
            tally,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.readers.len()
    }

    /// Opens readers until there are `count` in the group, and waits until all are live.
    pub(crate) fn open(
        &mut self,
        group: usize,
        count: usize,
        how: &Opening,
        progress: &Progress,
    ) -> Result<(), Failure> {
        let fresh =
            self.readers.len()..self.readers.len() + count.saturating_sub(self.tally.readers_in(group));
        for _ in fresh.clone() {
            let (counter, session) = (Counter::new(), None);
            self.readers.push(Reader {
                group,
                socket: None,
                asked: Instant::now(),
                is_live: false,
                counter,
                session,
            });
            self.tally.enter(group);
        }
        if group >= self.known.len() {
            self.known.resize_with(group + 1, Known::default);
        }
        self.connect(&fresh.map(|number| (number, how)).collect::<Vec<_>>(), CALMLY, progress)
    }

    /// Connects those of these groups that are away, `at_once` at a time, each by its cursor and as the guest that it
    /// was, and waits until all are live. `how` is by group.
    pub(crate) fn come_back(
        &mut self,
        groups: &[usize],
        how: &[Opening],
        at_once: usize,
        progress: &Progress,
    ) -> Result<(), Failure> {
        let is_away = |reader: &Reader| groups.contains(&reader.group) && reader.socket.is_none();
        let away = self.readers.iter().enumerate().filter(|(_, reader)| is_away(reader));
        let away: Vec<_> = away.map(|(number, reader)| (number, &how[reader.group])).collect();
        self.connect(&away, at_once, progress)
    }

    fn connect(
        &mut self,
        readers: &[(usize, &Opening)],
        at_once: usize,
        progress: &Progress,
    ) -> Result<(), Failure> {
        let (before, mut asked) = (self.until_live.len(), 0);
        let (mut live, mut deadline) = (0, Instant::now() + OPENING);
        while live < readers.len() {
            while asked < readers.len() && asked - live < at_once {
                let (number, how) = readers[asked];
                self.ask(number, how)?;
                asked += 1;
            }
            self.poll(Duration::from_millis(100), |_| Ok(()))?;
            let now_live = (self.until_live.len() - before) as usize;
            let now = Instant::now();
            if now_live > live {
                (live, deadline) = (now_live, now + OPENING);
                progress.set(live as u64);
            } else if now > deadline {
                let missing = asked - live;
                return Err(Failure::Late(format!("{missing} readers have not become live in {OPENING:?}")));
            }
        }
        Ok(())
    }

    /// One reader connects and asks for its stream.
    fn ask(&mut self, number: usize, how: &Opening) -> Result<(), Failure> {
        let reader = &mut self.readers[number];
        let request = how.request(&reader.counter, reader.session.as_deref());
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        let source = source(number / how.per_address);
        socket.bind(&SockAddr::from(SocketAddr::from((source, 0))))?;
        socket.connect_timeout(&SockAddr::from(how.server), OPENING)?;
        let mut socket = TcpStream::from(socket);
        io::Write::write_all(&mut socket, &request)?;
        socket.set_nonblocking(true)?;
        reader.asked = Instant::now();
        reader.counter = how.counter(&reader.counter);
        let socket = reader.socket.insert(socket);
        add(&self.epoll, &*socket, number as u64)
    }

    /// All of the group hang up.
    pub(crate) fn hang_up(&mut self, group: usize) {
        self.readers.iter_mut().filter(|reader| reader.group == group).for_each(Reader::leave);
    }

    /// All of the group take nothing any more; the server may end them for it.
    pub(crate) fn stop_taking(&mut self, group: usize) -> Result<(), Failure> {
        self.may_end = true;
        let sockets = self.readers.iter().filter(|reader| reader.group == group);
        sockets.filter_map(|reader| reader.socket.as_ref()).try_for_each(|socket| self.forget(socket))
    }

    /// And take it again.
    pub(crate) fn take_again(&mut self, group: usize) -> Result<(), Failure> {
        for (number, reader) in self.readers.iter().enumerate().filter(|(_, r)| r.group == group) {
            if let Some(socket) = &reader.socket {
                add(&self.epoll, socket, number as u64)?;
            }
        }
        Ok(())
    }

    /// How many of the group are away, because they hung up or because the server ended their streams.
    pub(crate) fn away(&self, group: usize) -> usize {
        self.readers.iter().filter(|reader| reader.group == group && reader.socket.is_none()).count()
    }

    /// How far the reader of the group that has least has got.
    pub(crate) fn least(&self, group: usize) -> Option<Cursor> {
        let cursors = self.readers.iter().filter(|reader| reader.group == group).map(|r| r.counter.cursor());
        cursors.min().flatten()
    }

    /// Reports readiness of another socket by its token, which must be [`TRIGGERS`] or more.
    pub(crate) fn watch(&self, socket: impl AsFd, token: u64) -> Result<(), Failure> {
        add(&self.epoll, socket, token)
    }

    /// Reports it no more.
    pub(crate) fn forget(&self, socket: impl AsFd) -> Result<(), Failure> {
        epoll::delete(&self.epoll, socket).map_err(|e| Failure::Io(io::Error::from(e)))
    }

    /// Waits at most `wait` for something, and takes all that is there now. `other` gets the tokens that are not
    /// readers.
    pub(crate) fn poll(
        &mut self,
        wait: Duration,
        mut other: impl FnMut(u64) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let wait = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) };
        self.events.clear();
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut self.events), Some(&wait)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(Failure::Io(e.into())),
        }
        for event in &self.events {
            let token = event.data.u64();
            if token >= TRIGGERS {
                other(token)?;
                continue;
            }
            let number = token as usize;
            let reader = &mut self.readers[number];
            let was_live = reader.is_live;
            let known = &mut self.known[reader.group];
            match reader.take(&mut self.buffer, known, &mut self.tally) {
                Ok(()) if reader.is_live && !was_live => {
                    self.until_live.saturating_record(nanoseconds(reader.asked.elapsed()));
                }
                Ok(()) => {}
                Err(Stop::Ended(_)) if self.may_end => reader.leave(),
                Err(stop) => return Err(Failure::Wrong(format!("reader {number}: {stop}"))),
            }
        }
        Ok(())
    }

    /// Reads on until no `presence` came for so long: while people come and go, the room is not at rest.
    pub(crate) fn settle(&mut self, rest: Duration, limit: Duration) -> Result<(), Failure> {
        let (start, mut since, mut seen) = (Instant::now(), Instant::now(), self.tally.presence);
        while since.elapsed() < rest {
            self.poll(Duration::from_millis(50), |_| Ok(()))?;
            if std::mem::replace(&mut seen, self.tally.presence) != self.tally.presence {
                since = Instant::now();
            }
            if start.elapsed() > limit {
                return Err(Failure::Late(format!("presence has not come to rest in {limit:?}")));
            }
        }
        Ok(())
    }

    /// Reads on for so long.
    pub(crate) fn idle(&mut self, time: Duration) -> Result<(), Failure> {
        let end = Instant::now() + time;
        while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            self.poll(left, |_| Ok(()))?;
        }
        Ok(())
    }
}

impl Reader {
    fn leave(&mut self) {
        self.socket = None;
        self.is_live = false;
    }

    fn take(&mut self, buffer: &mut [u8], known: &mut Known, tally: &mut Tally) -> Result<(), Stop> {
        // It may have gone between the event and now.
        let Self { group, socket: Some(socket), is_live, counter, session, .. } = self else { return Ok(()) };
        // Level-triggered: what one call leaves is reported again.
        match socket.read(buffer) {
            Ok(0) => Err(Stop::Ended("the server closed the connection")),
            Ok(n) => {
                let bytes = &buffer[..n];
                tally.bytes += n as u64;
                let before = counter.at_rest();
                if let Some((from, to)) = known.between
                    && before == Some(from)
                    && known.bytes == bytes
                {
                    counter.follow(to);
                    tally.delivered(*group, from, to);
                    return Ok(());
                }
                let (mut answered, mut are_events) = (Ok(()), true);
                counter.feed(bytes, |note| match note {
                    // A few bytes on an empty socket.
                    Note::Asked(answer) => answered = io::Write::write_all(socket, answer),
                    note => {
                        *is_live |= note == Note::Live;
                        are_events &= matches!(note, Note::Event(_));
                        tally.note(*group, note);
                    }
                })?;
                if let (Some(from), Some(to), true) = (before, counter.at_rest(), are_events) {
                    known.between = Some((from, to));
                    known.bytes.clear();
                    known.bytes.extend_from_slice(bytes);
                }
                answered.map_err(|e| e.to_string())?;
                if let Some(new) = counter.take_session() {
                    *session = Some(new);
                }
                Ok(())
            }
            Err(e) => match e.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(()),
                io::ErrorKind::ConnectionReset => Err(Stop::Ended("the server reset the connection")),
                _ => Err(Stop::Wrong(e.to_string())),
            },
        }
    }
}

fn add(epoll: &OwnedFd, socket: impl AsFd, token: u64) -> Result<(), Failure> {
    epoll::add(epoll, socket, EventData::new_u64(token), EventFlags::IN)
        .map_err(|e| Failure::Io(io::Error::from(e)))
}

/// The n-th of the loopback addresses to come from: 127.1.0.1 and up, 62,500 to a second octet.
fn source(n: usize) -> Ipv4Addr {
    let octet = |n: usize| (n % 250 + 1) as u8;
    Ipv4Addr::new(127, octet(n / 62_500), octet(n / 250), octet(n))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn each_group_of_readers_has_an_address_of_its_own() {
        let all: HashSet<_> = (0..100_000).map(source).collect();
        assert_eq!(all.len(), 100_000);
        assert!(all.iter().all(|a| a.is_loopback() && *a != Ipv4Addr::LOCALHOST && a.octets()[3] != 255));
    }
}
