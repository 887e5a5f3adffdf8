//! The floor: a program that does nothing but one `send()` per reader of the same bytes.
//!
//! It is this very binary in another process, so that its CPU can be read as the server's is. A reader says `GET` and
//! gets the same head and the same frames as from a maru; a speaker says `T`, the size of a chunk and a line end, and
//! from then on one byte for each message, which is answered by a line with its cursor.

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::net::SendFlags;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;

/// The hidden argument that makes this program the floor.
pub const PROGRAM: &str = "floor-program";

const LISTENER: u64 = u64::MAX;

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store, no-transform\r\n\
    Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n";

struct Peer {
    socket: TcpStream,
    role: Role,
}

#[derive(Clone, Copy, PartialEq)]
enum Role {
    New,
    Reader,
    /// Speaks; chunks are of so many bytes.
    Speaker(usize),
}

struct Floor {
    epoll: OwnedFd,
    listener: TcpListener,
    peers: Vec<Option<Peer>>,
    free: Vec<usize>,
    seq: u64,
}

/// Runs the floor until its parent ends.
///
/// # Errors
/// When it cannot listen or wait.
pub fn program() -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    println!("floor listens on http://{}", listener.local_addr()?);
    let mut floor = Floor { epoll, listener, peers: Vec::new(), free: Vec::new(), seq: 0 };
    let mut events: Vec<epoll::Event> = Vec::with_capacity(1024);
    loop {
        events.clear();
        match epoll::wait(&floor.epoll, rustix::buffer::spare_capacity(&mut events), None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        for event in &events {
            match event.data.u64() {
                LISTENER => floor.accept()?,
                token => floor.readable(token as usize),
            }
        }
    }
}

impl Floor {
    fn accept(&mut self) -> io::Result<()> {
        loop {
            let socket = match self.listener.accept() {
                Ok((socket, _)) => socket,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e),
            };
            socket.set_nonblocking(true)?;
            socket.set_nodelay(true)?;
            let place = self.free.pop().unwrap_or(self.peers.len());
            if place == self.peers.len() {
                self.peers.push(None);
            }
            epoll::add(
                &self.epoll,
                &socket,
                EventData::new_u64(place as u64),
                EventFlags::IN | EventFlags::RDHUP,
            )?;
            self.peers[place] = Some(Peer { socket, role: Role::New });
        }
    }

    fn readable(&mut self, place: usize) {
        let mut bytes = [0; 4096];
        let Some(peer) = &mut self.peers[place] else { return };
        match peer.socket.read(&mut bytes) {
            Ok(n) if n > 0 => self.heard(place, &bytes[..n]),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            _ => self.drop_peer(place),
        }
    }

    fn drop_peer(&mut self, place: usize) {
        self.peers[place] = None;
        self.free.push(place);
    }

    fn heard(&mut self, place: usize, bytes: &[u8]) {
        let Some(peer) = &mut self.peers[place] else { return };
        let written = match (peer.role, bytes) {
            (Role::New, [b'G', ..]) => {
                peer.role = Role::Reader;
                let hello = format!("event: hello\nid: 1-{}\nretry: 1000\ndata: {{}}\n\n", self.seq);
                let live = "event: live\ndata: {}\n\n";
                let hello = format!("{HEAD}{:x}\r\n{hello}\r\n", hello.len());
                peer.socket.write_all(format!("{hello}{:x}\r\n{live}\r\n", live.len()).as_bytes())
            }
            (Role::New, [b'T', rest @ ..]) => {
                let mut parts = rest.split(|&b| b == b'\n');
                let size = parts.next().and_then(|size| std::str::from_utf8(size).ok()?.parse().ok());
                peer.role = Role::Speaker(size.unwrap_or(300));
                let messages = parts.next().map_or(0, <[u8]>::len);
                (0..messages).try_for_each(|_| self.message(place))
            }
            (Role::Speaker(_), messages) => messages.iter().try_for_each(|_| self.message(place)),
            _ => Ok(()),
        };
        if written.is_err() {
            self.drop_peer(place);
        }
    }

    fn message(&mut self, speaker: usize) -> io::Result<()> {
        self.seq += 1;
        let Some(Peer { socket, role: Role::Speaker(size) }) = &mut self.peers[speaker] else {
            return Ok(());
        };
        socket.write_all(format!("1-{}\n", self.seq).as_bytes())?;
        let chunk = chunk(self.seq, *size);
        for place in 0..self.peers.len() {
            let Some(Peer { socket, role: Role::Reader }) = &self.peers[place] else { continue };
            let sent = rustix::net::send(socket, &chunk, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
            if sent != Ok(chunk.len()) {
                // The loader sees that a reader was cut and calls the run failed.
                self.drop_peer(place);
            }
        }
        Ok(())
    }
}

/// A chunk with one event, of exactly this many bytes where that is possible.
fn chunk(seq: u64, size: usize) -> Vec<u8> {
    let framed = |padding: usize| {
        let block = format!("id: 1-{seq}\ndata: {{\"text\":\"{}\"}}\n\n", "x".repeat(padding));
        format!("{:x}\r\n{block}\r\n", block.len()).into_bytes()
    };
    let padding = size.saturating_sub(framed(0).len());
    let first = framed(padding);
    // The length's own digits take room too.
    framed(padding.saturating_sub(first.len().saturating_sub(size)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_has_the_size_of_the_servers() {
        for size in [60, 145, 255, 256, 257, 300, 350, 4096] {
            for seq in [1, 99, 12_345] {
                // At a change of the digits one size cannot be had.
                assert!(chunk(seq, size).len().abs_diff(size) <= 1, "{size} {seq}");
            }
        }
    }
}
