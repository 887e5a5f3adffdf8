//! What lies between two that speak over TCP, and fails as networks do, when it is told to.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::net::sockopt::set_socket_linger;

use crate::Port;

/// How soon a connection takes notice of what it is told.
const TICK: Duration = Duration::from_millis(10);
/// How long the target has to take a connection.
const CONNECT: Duration = Duration::from_secs(1);

/// A direction, seen from whoever connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To the target.
    Up,
    /// From the target.
    Down,
    /// To it and from it.
    Both,
}

impl Way {
    fn has(self, lane: usize) -> bool {
        match self {
            Way::Up => lane == UP,
            Way::Down => lane == DOWN,
            Way::Both => true,
        }
    }
}

/// The places of the two directions.
const UP: usize = 0;
const DOWN: usize = 1;

/// Which connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    /// Those that are open now.
    There,
    /// Those that will be made.
    ToCome,
    /// Both.
    All,
}

/// What happens to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// So many bytes travel at a time, each piece a packet of its own.
    Slices(Way, usize),
    /// Each piece waits so long before it travels on, and what comes meanwhile waits behind it.
    Delay(Way, Duration),
    /// Half-open: everything is taken and swallowed, ends too, and the other side hears nothing any more, also after
    /// [`FaultProxy::heal`], since what was swallowed is missing. A new one that is silent both ways is not connected.
    Silence(Way),
    /// Nothing is taken, so that the sender's buffers fill.
    Deafness(Way),
    /// The receiver is told that nothing more will come; the other direction goes on.
    HalfClose(Way),
    /// Both sides get a reset.
    Reset,
    /// The same after so many more bytes, whichever way they go.
    ResetAfter(u64),
}

#[derive(Clone, Copy, Debug, Default)]
struct Lane {
    slice: Option<usize>,
    delay: Duration,
    is_silent: bool,
    is_deaf: bool,
    is_half_closed: bool,
}

/// All that was told of one connection.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    lanes: [Lane; 2],
    reset_after: Option<u64>,
}

impl Told {
    fn hear(&mut self, fault: Fault) {
        let mut each = |way: Way, change: &dyn Fn(&mut Lane)| {
            let lanes = self.lanes.iter_mut().enumerate();
            lanes.filter(|(n, _)| way.has(*n)).for_each(|(_, lane)| change(lane));
        };
        match fault {
            Fault::Slices(way, bytes) => each(way, &|lane| lane.slice = Some(bytes.max(1))),
            Fault::Delay(way, time) => each(way, &|lane| lane.delay = time),
            Fault::Silence(way) => each(way, &|lane| lane.is_silent = true),
            Fault::Deafness(way) => each(way, &|lane| lane.is_deaf = true),
            Fault::HalfClose(way) => each(way, &|lane| lane.is_half_closed = true),
            Fault::Reset => self.reset_after = Some(0),
            Fault::ResetAfter(bytes) => self.reset_after = Some(bytes),
        }
    }

    /// All is well again, but for what cannot be.
    fn heal(&mut self) {
        for lane in &mut self.lanes {
            *lane =
                Lane { is_silent: lane.is_silent, is_half_closed: lane.is_half_closed, ..Lane::default() };
        }
        self.reset_after = self.reset_after.filter(|left| *left == 0);
    }
}

/// Takes connections on a port of its own and leads them to a target, until it is dropped.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    _port: Port,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    target: Mutex<SocketAddr>,
    to_come: Mutex<Told>,
    there: Mutex<Vec<Weak<Connection>>>,
    is_over: AtomicBool,
}

impl FaultProxy {
    /// A faultless one.
    ///
    /// # Panics
    /// When nobody can listen.
    pub fn to(target: SocketAddr) -> Self {
        FaultProxy::at(Ipv4Addr::LOCALHOST.into(), target)
    }

    /// The same at another address of this machine.
    ///
    /// # Panics
    /// As [`FaultProxy::to`].
    pub fn at(host: IpAddr, target: SocketAddr) -> Self {
        let port = Port::any();
        let address = (host, port.number()).into();
        let listener = TcpListener::bind(address).expect("the port is free");
        let shared = Arc::new(Shared {
            target: Mutex::new(target),
            to_come: Mutex::default(),
            there: Mutex::default(),
            is_over: AtomicBool::new(false),
        });
        let acceptor = thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&shared, &listener)
        });
        FaultProxy { address, _port: port, shared, acceptor: Some(acceptor) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// New connections go there from now on.
    ///
    /// # Panics
    /// When a thread panicked that had the lock, as all here.
    pub fn lead_to(&self, target: SocketAddr) {
        *self.shared.target.lock().expect("no panic while locked") = target;
    }

    /// From now on this happens to them, until all is healed.
    pub fn harm(&self, whom: Whom, fault: Fault) {
        if whom != Whom::There {
            self.shared.to_come.lock().expect("no panic while locked").hear(fault);
        }
        if whom != Whom::ToCome {
            self.there().iter().for_each(|connection| connection.tell(|told| told.hear(fault)));
        }
    }

    /// The same to one open connection, the nth of those that there are; to none if there are none.
    pub fn harm_one(&self, nth: usize, fault: Fault) {
        let there = self.there();
        if let Some(connection) = there.get(nth % there.len().max(1)) {
            connection.tell(|told| told.hear(fault));
        }
    }

    /// Nothing more happens. What is silent or half-closed stays so.
    pub fn heal(&self) {
        *self.shared.to_come.lock().expect("no panic while locked") = Told::default();
        self.there().iter().for_each(|connection| connection.tell(Told::heal));
    }

    /// Connections that are open, at one end at least.
    pub fn connections(&self) -> usize {
        self.there().len()
    }

    fn there(&self) -> Vec<Arc<Connection>> {
        self.shared.there.lock().expect("no panic while locked").iter().filter_map(Weak::upgrade).collect()
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Relaxed);
        self.there().iter().for_each(|connection| connection.tell(|told| told.hear(Fault::Reset)));
        // The acceptor waits for a connection, and this is one.
        _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            _ = acceptor.join();
        }
    }
}

fn accept(shared: &Arc<Shared>, listener: &TcpListener) {
    for client in listener.incoming() {
        if shared.is_over.load(Relaxed) {
            return;
        }
        let Ok(client) = client else { continue };
        let shared = Arc::clone(shared);
        // Connecting may take its time, and others come meanwhile.
        thread::spawn(move || open(&shared, client));
    }
}

fn open(shared: &Shared, client: TcpStream) {
    let target = *shared.target.lock().expect("no panic while locked");
    let told = *shared.to_come.lock().expect("no panic while locked");
    let is_cut_off = told.lanes.iter().all(|lane| lane.is_silent);
    let server = if is_cut_off { None } else { TcpStream::connect_timeout(&target, CONNECT).ok() };
    if server.is_none() && !is_cut_off {
        // As if nobody listened here.
        _ = set_socket_linger(&client, Some(Duration::ZERO));
        return;
    }
    let connection = Connection { client, server, told: Mutex::new(told) };
    if connection.set_up().is_err() {
        return;
    }
    let connection = Arc::new(connection);
    let mut there = shared.there.lock().expect("no panic while locked");
    there.retain(|connection| connection.strong_count() > 0);
    there.push(Arc::downgrade(&connection));
    drop(there);
    if shared.is_over.load(Relaxed) {
        return;
    }
    let down = Arc::clone(&connection);
    thread::spawn(move || down.carry(DOWN));
    connection.carry(UP);
}

/// Closed when neither direction is carried any more.
#[derive(Debug)]
struct Connection {
    client: TcpStream,
    /// None where it was cut off from the beginning.
    server: Option<TcpStream>,
    told: Mutex<Told>,
}

impl Connection {
    fn set_up(&self) -> io::Result<()> {
        for socket in [Some(&self.client), self.server.as_ref()].into_iter().flatten() {
            socket.set_nodelay(true)?;
            socket.set_read_timeout(Some(TICK))?;
            socket.set_write_timeout(Some(TICK))?;
        }
        Ok(())
    }

    fn tell(&self, what: impl FnOnce(&mut Told)) {
        what(&mut self.told.lock().expect("no panic while locked"));
    }

    fn told(&self) -> Told {
        *self.told.lock().expect("no panic while locked")
    }

    /// Carries one direction to its end.
    fn carry(&self, lane: usize) {
        let (from, to) = match lane {
            UP => (Some(&self.client), self.server.as_ref()),
            _ => (self.server.as_ref(), Some(&self.client)),
        };
        let Some(from) = from else { return };
        if self.carried(lane, from, to).is_err() {
            // The other end hears of it, unless nothing gets through.
            if !self.told().lanes[lane].is_silent {
                self.tell(|told| told.hear(Fault::Reset));
            }
        }
        if self.told().reset_after == Some(0) {
            for socket in [Some(&self.client), self.server.as_ref()].into_iter().flatten() {
                _ = set_socket_linger(socket, Some(Duration::ZERO));
            }
        }
    }

    fn carried(&self, n: usize, mut from: &TcpStream, to: Option<&TcpStream>) -> io::Result<()> {
        let mut buffer = [0; 16 << 10];
        let mut is_closed = false;
        loop {
            let told = self.told();
            let lane = told.lanes[n];
            if told.reset_after == Some(0) {
                return Ok(());
            }
            if lane.is_half_closed && !is_closed {
                is_closed = true;
                to.map_or(Ok(()), |to| to.shutdown(Shutdown::Write))?;
            }
            if lane.is_deaf {
                thread::sleep(TICK);
                continue;
            }
            let bytes = match from.read(&mut buffer) {
                Ok(0) => {
                    return match to.filter(|_| !self.told().lanes[n].is_silent && !is_closed) {
                        Some(to) => to.shutdown(Shutdown::Write),
                        None => Ok(()),
                    };
                }
                Ok(bytes) => bytes,
                Err(e) if is_early(&e) => continue,
                Err(e) => return Err(e),
            };
            // It may have been told of more while it waited.
            let lane = self.told().lanes[n];
            for piece in buffer[..bytes].chunks(lane.slice.unwrap_or(bytes)) {
                thread::sleep(lane.delay);
                match to.filter(|_| !is_closed) {
                    Some(to) => self.pass_on(n, to, piece)?,
                    None => break,
                }
            }
        }
    }

    /// Writes all of it, for as long as nothing else was told.
    fn pass_on(&self, n: usize, mut to: &TcpStream, mut piece: &[u8]) -> io::Result<()> {
        while !piece.is_empty() {
            let Some(most) = self.take_leave(n, piece.len()) else { return Ok(()) };
            let written = match to.write(&piece[..most]) {
                Ok(written) => written,
                Err(e) if is_early(&e) => 0,
                Err(e) => return Err(e),
            };
            piece = &piece[written..];
            self.tell(|told| told.reset_after = told.reset_after.map(|left| left + (most - written) as u64));
        }
        Ok(())
    }

    /// How many of so many bytes may be sent now: counted before they are, since whoever gets them may be the one who
    /// tells the next fault.
    fn take_leave(&self, n: usize, wanted: usize) -> Option<usize> {
        let mut told = self.told.lock().expect("no panic while locked");
        let Some(left) = told.reset_after else { return (!told.lanes[n].is_silent).then_some(wanted) };
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(wanted);
        told.reset_after = Some(left - most as u64);
        (most > 0 && !told.lanes[n].is_silent).then_some(most)
    }
}

/// Nothing has gone wrong; it is only too early.
fn is_early(e: &io::Error) -> bool {
    matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests;
