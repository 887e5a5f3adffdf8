//! A [`Hall`] on Linux: one thread, one epoll instance, no waiting anywhere else.

use std::{
    io,
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rustix::{
    buffer::spare_capacity,
    event::{Timespec, epoll},
    io::Errno,
    net::{RecvFlags, SendFlags, Shutdown, sockopt},
};

use super::{
    Occupant, Source,
    hall::Hall,
    mailbox::{Bell, Mailbox, Order, Post},
    wire::{Close, Sent, Wire},
};

/// Edges taken from the kernel at a time.
const EDGES: usize = 256;

/// The bell's key; seats' are 32 bits.
const BELL: u64 = u64::MAX;

/// Sockets in the kernel's keeping.
pub(super) struct Sockets {
    epoll: OwnedFd,
}

impl Sockets {
    pub(super) fn new(bell: &Bell) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&epoll, bell, epoll::EventData::new_u64(BELL), flags)?;
        Ok(Sockets { epoll })
    }
}

impl Wire for Sockets {
    type Socket = OwnedFd;

    fn watch(&mut self, socket: &OwnedFd, key: u32) -> bool {
        // No `IN`: what a client sends after its request is nobody's business, and flow control bounds it.
        let flags = epoll::EventFlags::OUT | epoll::EventFlags::RDHUP | epoll::EventFlags::ET;
        epoll::add(&self.epoll, socket, epoll::EventData::new_u64(u64::from(key)), flags).is_ok()
    }

    #[inline]
    fn send(&mut self, socket: &OwnedFd, bytes: &[u8]) -> Sent {
        match rustix::net::send(socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(n) => Sent::Took(n),
            Err(errno) => refused(errno),
        }
    }

    fn finish(&mut self, socket: &OwnedFd) {
        // It fails when the other side has gone, and then there is an edge for that.
        let _ = rustix::net::shutdown(socket, Shutdown::Write);
    }

    fn close(&mut self, socket: OwnedFd, how: Close) {
        // Closing takes it out too, but not while some copy of the descriptor is open elsewhere, and the key
        // will be another's soon.
        let _ = epoll::delete(&self.epoll, &socket);
        match how {
            // A close with unread bytes would be a reset, and take the last bytes away from the client.
            Close::Gently => discard(&socket),
            Close::Hard => drop(sockopt::set_socket_linger(&socket, Some(Duration::ZERO))),
        }
    }
}

/// A send that does not wait is not interrupted either.
#[cold]
fn refused(errno: Errno) -> Sent {
    match errno {
        Errno::AGAIN | Errno::NOBUFS => Sent::Blocked,
        _ => Sent::Gone,
    }
}

/// Throws away what has come in, up to 64 KiB.
fn discard(socket: &OwnedFd) {
    let mut buffer = [0; 4096];
    for _ in 0..16 {
        match rustix::net::recv(socket, &mut buffer[..], RecvFlags::DONTWAIT) {
            Ok((_, 1..)) => {}
            _ => break,
        }
    }
}

/// What a reader thread runs.
pub(super) struct ReaderThread<S: Source, O: Occupant> {
    hall: Hall<S, O, Sockets>,
    posts: Arc<Mailbox<Post>>,
    orders: Arc<Mailbox<Order<S, O>>>,
    /// Readers here and on their way; only what has left is taken off here.
    load: Arc<AtomicUsize>,
}

impl<S: Source, O: Occupant> ReaderThread<S, O> {
    pub(super) fn new(
        hall: Hall<S, O, Sockets>,
        posts: Arc<Mailbox<Post>>,
        orders: Arc<Mailbox<Order<S, O>>>,
        load: Arc<AtomicUsize>,
    ) -> Self {
        ReaderThread { hall, posts, orders, load }
    }

    /// Until the order to close, and then until everybody has gone.
    pub(super) fn run(mut self) {
        let opened = Instant::now();
        let mut edges = Vec::with_capacity(EDGES);
        let (mut posts, mut orders) = (Vec::new(), Vec::new());
        let mut closing = false;
        while !(closing && self.hall.is_empty()) {
            self.wait(&mut edges);
            self.hall
                .clock(opened.elapsed(), SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
            // All edges before any order: a seat that is taken anew must not get an edge of who had it before.
            for edge in edges.drain(..) {
                let (key, flags) = (edge.data.u64(), edge.flags);
                if key != BELL {
                    self.edge(key as u32, flags);
                }
            }
            // Posts first: the front desk may have read what is in them, and then seats need no second look.
            self.posts.take(&mut posts);
            self.orders.take(&mut orders);
            for post in posts.drain(..) {
                match post {
                    Post::Event(log, frame) => self.hall.event(log, frame),
                    Post::Aside(log, count, block) => self.hall.aside(log, count, &block),
                }
            }
            for order in orders.drain(..) {
                match order {
                    Order::Seat(reader) => self.hall.seat(reader),
                    Order::End(select, bye) => self.hall.end_all(&select, &bye),
                    Order::Drain(window) => self.hall.drain(window),
                    Order::Close => {
                        closing = true;
                        self.hall.close();
                    }
                }
            }
            self.hall.work();
            self.load.fetch_sub(self.hall.departed(), Ordering::Relaxed);
        }
    }

    fn wait(&mut self, edges: &mut Vec<epoll::Event>) {
        let rest = self
            .hall
            .rest()
            .map(|rest| Timespec { tv_sec: rest.as_secs() as i64, tv_nsec: i64::from(rest.subsec_nanos()) });
        match epoll::wait(&self.hall.wire().epoll, spare_capacity(edges), rest.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => panic!("epoll_wait on a descriptor of ours: {error}"),
        }
    }

    fn edge(&mut self, key: u32, flags: epoll::EventFlags) {
        let gone = epoll::EventFlags::RDHUP | epoll::EventFlags::HUP | epoll::EventFlags::ERR;
        if flags.intersects(gone) {
            self.hall.gone(key);
        } else {
            self.hall.writable(key);
        }
    }
}

impl<S: Source, O: Occupant> Drop for ReaderThread<S, O> {
    fn drop(&mut self) {
        self.posts.shut();
        self.orders.shut();
    }
}
