//! HTTP/2 frames by hand (RFC 9113 §4.1), as nobody means well would send them.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use crate::harness::deadline;

pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 0x1;
pub const END_HEADERS: u8 = 0x4;

pub const REFUSED_STREAM: u32 = 7;
pub const CANCEL: u32 = 8;
pub const ENHANCE_YOUR_CALM: u32 = 11;

/// What a client begins with.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// `GET /healthz`, in HPACK (RFC 7541): three fields of the static table, and two literals.
pub const GET: &[u8] = b"\x82\x86\x04\x08/healthz\x01\x04maru";
/// `GET /r/lobby`, which does not end by itself.
pub const LISTEN: &[u8] = b"\x82\x86\x04\x08/r/lobby\x01\x04maru";

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

#[derive(Debug)]
pub struct Frame {
    pub kind: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    /// The error of a `RST_STREAM` or of a `GOAWAY`.
    pub fn error(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().expect("four bytes"))
    }
}

/// A connection on which the two have agreed to speak HTTP/2.
pub struct Wire(pub TcpStream);

impl Wire {
    pub fn open(server: SocketAddr) -> Self {
        let mut socket = TcpStream::connect(server).expect("it listens");
        socket.set_nodelay(true).expect("a socket");
        socket.write_all(PREFACE).expect("it is read");
        socket.write_all(&frame(SETTINGS, 0, 0, &[])).expect("it is read");
        let mut wire = Wire(socket);
        while wire.next().expect("a frame").kind != SETTINGS {}
        wire
    }

    pub fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> std::io::Result<()> {
        self.0.write_all(&frame(kind, flags, stream, payload))
    }

    /// The next frame; none when the server has closed the connection, whatever the manner.
    pub fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.read(&mut head)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        self.read(&mut payload)?;
        let stream = u32::from_be_bytes(head[5..].try_into().expect("four bytes"));
        Some(Frame { kind: head[3], stream, payload })
    }

    /// All frames until the server closes the connection, which it must.
    pub fn rest(&mut self) -> Vec<Frame> {
        std::iter::from_fn(|| self.next()).collect()
    }

    fn read(&mut self, mut into: &mut [u8]) -> Option<()> {
        let until = deadline();
        self.0.set_read_timeout(Some(Duration::from_millis(100))).expect("a socket");
        while !into.is_empty() {
            match self.0.read(into) {
                Ok(0) => return None,
                Ok(n) => into = &mut into[n..],
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    assert!(std::time::Instant::now() < until, "nothing comes, and no end");
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
        Some(())
    }
}
