//! Thousands of readers in one thread: one epoll, one buffer, and per reader a socket and a [`Counter`].

use super::counter::{Counter, Note, Order, Step};
use super::tally::Tally;
use super::{Failure, Progress};
use crate::cursor::Cursor;
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

/// Connections that may be under way at once: fewer than any listener's backlog, so that no SYN is dropped.
const UNDER_WAY: usize = 64;

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
    fn request(&self) -> Vec<u8> {
        let head = format!("GET {} HTTP/1.1\r\nHost: {}\r\n", self.target, self.server);
        let rest = self.foreign.as_ref().map_or(EVENT_STREAM, |foreign| foreign.rest);
        [head.as_bytes(), rest].concat()
    }

    fn counter(&self) -> Counter {
        let foreign = self.foreign.as_ref();
        foreign.map_or_else(Counter::new, |foreign| Counter::of_marks(foreign.steps, foreign.order.clone()))
    }
}

struct Reader {
    socket: TcpStream,
    counter: Counter,
}

/// The readers, and whatever else waits on the same epoll.
pub(crate) struct Readers {
    epoll: OwnedFd,
    readers: Vec<Reader>,
    events: Vec<epoll::Event>,
    buffer: Vec<u8>,
    pub(crate) tally: Tally,
}

impl Readers {
    pub(crate) fn new() -> Result<Self, Failure> {
        let epoll = epoll::create(CreateFlags::CLOEXEC).map_err(io::Error::from)?;
        let (readers, events, buffer) = (Vec::new(), Vec::with_capacity(1024), vec![0; BUFFER]);
        Ok(Self { epoll, readers, events, buffer, tally: Tally::default() })
    }

    pub(crate) fn len(&self) -> usize {
        self.readers.len()
    }

    /// Opens readers until there are `count`, and waits until all are live.
    pub(crate) fn open(&mut self, count: usize, how: &Opening, progress: &Progress) -> Result<(), Failure> {
        let request = how.request();
        let mut deadline = Instant::now() + OPENING;
        while self.tally.live < count {
            while self.readers.len() < count && self.readers.len() - self.tally.live < UNDER_WAY {
                self.add(&request, how)?;
            }
            let before = self.tally.live;
            self.poll(Duration::from_millis(100), |_| Ok(()))?;
            progress.set(self.tally.live as u64);
            let now = Instant::now();
            if self.tally.live > before {
                deadline = now + OPENING;
            } else if now > deadline {
                let missing = self.readers.len() - self.tally.live;
                return Err(Failure::Late(format!("{missing} readers have not become live in {OPENING:?}")));
            }
        }
        Ok(())
    }

    fn add(&mut self, request: &[u8], how: &Opening) -> Result<(), Failure> {
        let number = self.readers.len();
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        let source = source(number / how.per_address);
        socket.bind(&SockAddr::from(SocketAddr::from((source, 0))))?;
        socket.connect_timeout(&SockAddr::from(how.server), OPENING)?;
        let mut socket = TcpStream::from(socket);
        io::Write::write_all(&mut socket, request)?;
        socket.set_nonblocking(true)?;
        self.watch(&socket, number as u64)?;
        self.readers.push(Reader { socket, counter: how.counter() });
        self.tally.readers = self.readers.len();
        Ok(())
    }

    /// When the last reader got this event, if all have it; at once where there are no readers.
    pub(crate) fn complete(&self, cursor: Cursor) -> Option<Instant> {
        if self.readers.is_empty() { Some(Instant::now()) } else { self.tally.complete(cursor) }
    }

    /// Reports readiness of another socket by its token, which must be [`TRIGGERS`] or more.
    pub(crate) fn watch(&self, socket: impl AsFd, token: u64) -> Result<(), Failure> {
        epoll::add(&self.epoll, socket, EventData::new_u64(token), EventFlags::IN)
            .map_err(|e| Failure::Io(io::Error::from(e)))
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
            } else {
                let number = token as usize;
                let taken = self.readers[number].take(&mut self.buffer, &mut self.tally);
                taken.map_err(|what| Failure::Wrong(format!("reader {number}: {what}")))?;
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
    fn take(&mut self, buffer: &mut [u8], tally: &mut Tally) -> Result<(), String> {
        // Level-triggered: what one call leaves is reported again.
        match self.socket.read(buffer) {
            Ok(0) => Err("the server closed the connection".to_owned()),
            Ok(n) => {
                tally.bytes += n as u64;
                let socket = &mut self.socket;
                let mut answered = Ok(());
                self.counter.feed(&buffer[..n], |note| match note {
                    // A few bytes on an empty socket.
                    Note::Asked(answer) => answered = io::Write::write_all(socket, answer),
                    note => tally.note(note),
                })?;
                answered.map_err(|e| e.to_string())
            }
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(()),
            Err(e) => Err(e.to_string()),
        }
    }
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
