//! The very bytes of a connection, for requests that no client would send.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
};

use loadtest::http::{Framing, Response, parse_head};

use crate::harness::{Maru, PATIENCE};

/// A connection on which a test says exactly the bytes that it wants to.
pub struct Raw {
    socket: TcpStream,
    unread: Vec<u8>,
}

impl Raw {
    pub fn to(maru: &Maru) -> Self {
        let socket = TcpStream::connect(maru.address()).expect("a connection");
        socket.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        socket.set_nodelay(true).expect("no delay");
        Raw { socket, unread: Vec::new() }
    }

    pub fn from_socket(socket: TcpStream) -> Self {
        Raw { socket, unread: Vec::new() }
    }

    /// A new connection that has said this.
    pub fn saying(maru: &Maru, bytes: impl AsRef<[u8]>) -> Self {
        let mut raw = Raw::to(maru);
        raw.send(bytes);
        raw
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.socket.write_all(bytes.as_ref()).expect("it can be sent");
    }

    /// Says something to a server that may have closed already.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.socket.write_all(bytes.as_ref()).is_ok()
    }

    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// The next answer, an interim one (1xx) included; `None` when the server closed in order instead.
    pub fn answer(&mut self) -> Option<Response> {
        let (head, length) = loop {
            if let Some(head) = parse_head(&self.unread).expect("a head as it should be") {
                break head;
            }
            if !self.receive() {
                assert!(
                    self.unread.is_empty(),
                    "ended within a head: {:?}",
                    String::from_utf8_lossy(&self.unread)
                );
                return None;
            }
        };
        self.unread.drain(..length);
        let Ok(Framing::Length(length)) = head.framing("GET") else { panic!("of unknown length: {head:?}") };
        let length = usize::try_from(length).expect("small");
        while self.unread.len() < length {
            assert!(self.receive(), "ended within a body: {head:?}");
        }
        let body = self.unread.drain(..length).collect();
        Some(Response { status: head.status, headers: head.headers, body })
    }

    /// All answers until the server closes, which it must do by itself.
    pub fn answers(&mut self) -> Vec<Response> {
        std::iter::from_fn(|| self.answer()).collect()
    }

    /// Reads on; false at the end.
    fn receive(&mut self) -> bool {
        let mut piece = [0; 4096];
        loop {
            match self.socket.read(&mut piece) {
                Ok(n) => {
                    self.unread.extend_from_slice(&piece[..n]);
                    return n > 0;
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => panic!("{e}; not taken yet: {:?}", String::from_utf8_lossy(&self.unread)),
            }
        }
    }
}
