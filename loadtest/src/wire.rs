//! One TCP connection with deadlines: what [`http`](crate::http) and [`stream`](crate::stream) stand on.

use socket2::{Domain, SockAddr, Socket, Type};
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How an exchange failed; the kind says what may be concluded about a request that was under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ErrorKind {
    /// No connection came about: the request was certainly not seen.
    Connect,
    /// The other side closed or reset: the request may have been carried out.
    Closed,
    /// The deadline passed: the request may have been carried out.
    TimedOut,
    /// The bytes that came are not HTTP/1.1 as RFC 9112 has it.
    Framing,
}

/// A failed exchange.
#[derive(Clone, Debug)]
pub struct Error {
    /// What may be concluded.
    pub kind: ErrorKind,
    /// What happened, for people.
    pub what: String,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into() }
    }

    fn io(error: &io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ErrorKind::TimedOut,
            _ => ErrorKind::Closed,
        };
        Self::new(kind, error.to_string())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.what)
    }
}

impl std::error::Error for Error {}

/// Opens a connection, from `source` (with a port of the system's choice) if one is given. Linux answers for all
/// of 127.0.0.0/8 without set-up, so that one machine can play as many addresses as it likes.
///
/// # Errors
/// [`ErrorKind::Connect`], always.
pub(crate) fn connect(to: SocketAddr, source: Option<IpAddr>, wait: Duration) -> Result<TcpStream, Error> {
    let open = || -> io::Result<TcpStream> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
        if let Some(source) = source {
            socket.bind(&SockAddr::from(SocketAddr::new(source, 0)))?;
        }
        socket.connect_timeout(&SockAddr::from(to), wait)?;
        socket.set_tcp_nodelay(true)?;
        Ok(socket.into())
    };
    open().map_err(|e| Error::new(ErrorKind::Connect, format!("{to}: {e}")))
}

/// A connection and the bytes that came but were not asked for yet.
pub(crate) struct Wire {
    socket: TcpStream,
    pub(crate) unread: Vec<u8>,
}

impl Wire {
    pub(crate) fn new(socket: TcpStream) -> Self {
        Self { socket, unread: Vec::new() }
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    pub(crate) fn send(&mut self, bytes: &[u8], deadline: Instant) -> Result<(), Error> {
        let left = remaining(deadline)?;
        self.socket.set_write_timeout(Some(left)).map_err(|e| Error::io(&e))?;
        self.socket.write_all(bytes).map_err(|e| Error::io(&e))
    }

    /// Waits for more bytes and puts them behind the unread ones. 0 is the end of the stream.
    pub(crate) fn receive(&mut self, deadline: Instant) -> Result<usize, Error> {
        let mut piece = [0; 16 * 1024];
        let left = remaining(deadline)?;
        self.socket.set_read_timeout(Some(left)).map_err(|e| Error::io(&e))?;
        loop {
            match self.socket.read(&mut piece) {
                Ok(n) => {
                    self.unread.extend_from_slice(&piece[..n]);
                    return Ok(n);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Error::io(&e)),
            }
        }
    }

    /// Whether an idle connection can carry another request: open, and nothing said unasked.
    pub(crate) fn is_fresh(&self) -> bool {
        let look = || -> io::Result<usize> {
            self.socket.set_nonblocking(true)?;
            let seen = self.socket.peek(&mut [0; 1]);
            self.socket.set_nonblocking(false)?;
            seen
        };
        self.unread.is_empty() && matches!(look(), Err(e) if e.kind() == io::ErrorKind::WouldBlock)
    }
}

fn remaining(deadline: Instant) -> Result<Duration, Error> {
    let left = deadline.saturating_duration_since(Instant::now());
    // The kernel counts time-outs in ticks and takes zero for "for ever".
    if left.is_zero() {
        Err(Error::new(ErrorKind::TimedOut, "deadline"))
    } else {
        Ok(left.max(Duration::from_millis(1)))
    }
}
