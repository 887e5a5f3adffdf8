//! A small blocking HTTP/1.1 client on a plain socket (RFC 9112), strict about framing.
//!
//! It exists because a test must see the very bytes: whether a head has two lengths, whether a chunk is whole,
//! whether the connection stays open. It never retries by itself: whether a request may have been carried out is
//! exactly what the [`checker`](crate::checker) wants to know.
//!
//! ```no_run
//! # fn main() -> Result<(), loadtest::http::Error> {
//! let mut client = loadtest::http::Client::new("127.0.0.1:8080".parse().unwrap());
//! let answer = client.post("/r/lobby", "text/plain", "hello")?;
//! assert_eq!(answer.status, 201);
//! println!("{}", answer.json()["cursor"]);
//! # Ok(()) }
//! ```

mod chunked;
mod head;

pub use crate::wire::{Error, ErrorKind};
pub use chunked::ChunkedDecoder;
pub use head::{Framing, Head, Headers, parse_head};

use crate::wire::{self, Wire};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// A body longer than this is an error of the server (bytes).
const BODY_LIMIT: usize = 64 << 20;

/// A request to send. Built up by value:
/// `Request::new("POST", "/r/lobby").header("Cookie", cookie).body("hello")`.
#[derive(Clone, Debug)]
pub struct Request {
    method: String,
    target: String,
    version: &'static str,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

impl Request {
    /// An HTTP/1.1 request without a body.
    #[must_use]
    pub fn new(method: &str, target: &str) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            version: "HTTP/1.1",
            headers: Vec::new(),
            body: None,
        }
    }

    /// Speaks HTTP/1.0, whose answers know no chunks.
    #[must_use]
    pub fn http10(mut self) -> Self {
        self.version = "HTTP/1.0";
        self
    }

    /// Adds a header field. `Host` and `Content-Length` are added by themselves unless given.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Gives the request a body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// The bytes on the wire.
    #[must_use]
    pub fn to_bytes(&self, host: SocketAddr) -> Vec<u8> {
        let given = |name: &str| self.headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
        let mut head = format!("{} {} {}\r\n", self.method, self.target, self.version);
        if !given("host") {
            head.push_str(&format!("Host: {host}\r\n"));
        }
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(body) = self.body.as_ref().filter(|_| !given("content-length")) {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(self.body.as_deref().unwrap_or_default());
        bytes
    }
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The header fields, in the order in which they came.
    pub headers: Headers,
    /// The body, decoded.
    pub body: Vec<u8>,
}

impl Response {
    /// The body as text, invalid UTF-8 replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; `null` if it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// A client of one server, with one kept-alive connection.
pub struct Client {
    server: SocketAddr,
    source: Option<IpAddr>,
    timeout: Duration,
    /// Sent with every request: a token, a cookie.
    always: Vec<(String, String)>,
    wire: Option<Wire>,
}

impl Client {
    /// A client that has not connected yet and gives each request 10 s.
    #[must_use]
    pub fn new(server: SocketAddr) -> Self {
        Self { server, source: None, timeout: Duration::from_secs(10), always: Vec::new(), wire: None }
    }

    /// Connects from this address (such as 127.0.1.7) from now on.
    #[must_use]
    pub fn from_source(mut self, source: IpAddr) -> Self {
        self.source = Some(source);
        self.wire = None;
        self
    }

    /// How long a whole exchange may take, connecting included.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// A header field for every request, such as `Authorization`.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.always.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The server's address.
    #[must_use]
    pub fn server(&self) -> SocketAddr {
        self.server
    }

    /// Points the client at another server (one that was restarted on another port).
    pub fn move_to(&mut self, server: SocketAddr) {
        self.server = server;
        self.wire = None;
    }

    /// `GET target`.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn get(&mut self, target: &str) -> Result<Response, Error> {
        self.send(&Request::new("GET", target))
    }

    /// `POST target` with a body of the given type.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn post(&mut self, target: &str, kind: &str, body: impl Into<Vec<u8>>) -> Result<Response, Error> {
        self.send(&Request::new("POST", target).header("Content-Type", kind).body(body))
    }

    /// `POST target` with a JSON body.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn post_json(&mut self, target: &str, body: &serde_json::Value) -> Result<Response, Error> {
        self.post(target, "application/json", body.to_string())
    }

    /// Sends one request and reads its whole answer. Any status is an answer, not an error.
    ///
    /// # Errors
    /// By [`ErrorKind`]; the connection is given up after any of them.
    pub fn send(&mut self, request: &Request) -> Result<Response, Error> {
        let deadline = Instant::now() + self.timeout;
        let (head, mut body) = self.open(request)?;
        let mut bytes = Vec::new();
        while let Some(mut piece) = body.read(deadline)? {
            bytes.append(&mut piece);
            if bytes.len() > BODY_LIMIT {
                return Err(Error::new(ErrorKind::Framing, "a body without end"));
            }
        }
        if body.framing != Framing::UntilClose && !head.closes() {
            self.wire = Some(body.wire);
        }
        Ok(Response { status: head.status, headers: head.headers, body: bytes })
    }

    /// Sends one request and reads the head of its answer; the [`Body`] takes the connection along. For streams,
    /// and for whoever wants to see a body arrive.
    ///
    /// # Errors
    /// By [`ErrorKind`].
    pub fn open(&mut self, request: &Request) -> Result<(Head, Body), Error> {
        let deadline = Instant::now() + self.timeout;
        let mut wire = match self.wire.take().filter(Wire::is_fresh) {
            Some(wire) => wire,
            None => Wire::new(wire::connect(self.server, self.source, self.timeout)?),
        };
        let mut request = request.clone();
        request.headers.extend(self.always.iter().cloned());
        wire.send(&request.to_bytes(self.server), deadline)?;
        let head = read_head(&mut wire, deadline)?;
        let framing = head.framing(&request.method).map_err(|e| Error::new(ErrorKind::Framing, e))?;
        Ok((head, Body { wire, framing, chunks: ChunkedDecoder::new() }))
    }
}

/// The body of an answer while it arrives.
pub struct Body {
    wire: Wire,
    /// For [`Framing::Length`], what is still missing.
    framing: Framing,
    chunks: ChunkedDecoder,
}

impl Body {
    /// The next decoded bytes as soon as there are any; `None` at the end of the body.
    ///
    /// # Errors
    /// [`ErrorKind::TimedOut`] at the deadline, after which reading may go on; others by [`ErrorKind`].
    pub fn read(&mut self, deadline: Instant) -> Result<Option<Vec<u8>>, Error> {
        loop {
            let mut out = Vec::new();
            let done = match &mut self.framing {
                Framing::Length(missing) => {
                    let n = usize::try_from(*missing).unwrap_or(usize::MAX).min(self.wire.unread.len());
                    *missing -= n as u64;
                    out.extend(self.wire.unread.drain(..n));
                    *missing == 0
                }
                Framing::Chunked => {
                    let used = self.chunks.feed(&self.wire.unread, &mut out);
                    self.wire.unread.drain(..used.map_err(|e| Error::new(ErrorKind::Framing, e))?);
                    self.chunks.is_done()
                }
                Framing::UntilClose => {
                    out.append(&mut self.wire.unread);
                    false
                }
            };
            if !out.is_empty() {
                return Ok(Some(out));
            }
            if done {
                return Ok(None);
            }
            if self.wire.receive(deadline)? == 0 {
                return match self.framing {
                    Framing::UntilClose => Ok(None),
                    _ => Err(Error::new(ErrorKind::Closed, "closed in the middle of the body")),
                };
            }
        }
    }

    /// Whether what has been read ends between two chunks (always so where there are none).
    #[must_use]
    pub fn is_between_chunks(&self) -> bool {
        self.framing != Framing::Chunked || self.chunks.is_between_chunks()
    }

    /// The connection itself, for tests that shut it down by halves or stop reading.
    #[must_use]
    pub fn socket(&self) -> &TcpStream {
        self.wire.socket()
    }
}

fn read_head(wire: &mut Wire, deadline: Instant) -> Result<Head, Error> {
    loop {
        let parsed = parse_head(&wire.unread).map_err(|e| Error::new(ErrorKind::Framing, e))?;
        match parsed {
            Some((head, length)) => {
                wire.unread.drain(..length);
                // An interim answer (100 and the like) precedes the real one.
                if head.status >= 200 {
                    return Ok(head);
                }
            }
            None if wire.receive(deadline)? == 0 => {
                let what = format!("closed in the head, after {} bytes of it", wire.unread.len());
                return Err(Error::new(ErrorKind::Closed, what));
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests;
