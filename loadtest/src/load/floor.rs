//! The floor: a program that does nothing but one `send()` per reader of the same bytes.
//!
//! It is this very binary in another process, so that its CPU can be read as the server's is. A reader says `GET` and
//! gets the same head and the same frames as from a maru, and after a cursor what it missed; a speaker says `T`, the
//! size of a chunk and a line end, and from then on the room's path and a line end for each message, which is answered
//! by a line with its cursor.

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::net::SendFlags;
use socket2::{Domain, SockAddr, Socket, Type};
use std::collections::{HashMap, VecDeque};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;

/// The hidden argument that makes this program the floor.
pub const PROGRAM: &str = "floor-program";

const LISTENER: u64 = u64::MAX;

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store, no-transform\r\n\
    Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n";

/// Connections that may wait to be accepted: as many as a maru's, so that no SYN is dropped.
const BACKLOG: i32 = 4096;

/// So many chunks of a room are kept for those who come back.
const KEPT: usize = 1000;

struct Peer {
    socket: TcpStream,
    role: Role,
}

#[derive(Clone, Copy, PartialEq)]
enum Role {
    New,
    /// Listens to this room, where it stands at this place.
    Reader(usize, usize),
    /// Speaks; chunks are of so many bytes.
    Speaker(usize),
}

struct Floor {
    epoll: OwnedFd,
    listener: TcpListener,
    peers: Vec<Option<Peer>>,
    free: Vec<usize>,
    names: HashMap<String, usize>,
    rooms: Vec<Room>,
}

#[derive(Default)]
struct Room {
    seq: u64,
    readers: Vec<usize>,
    chunks: VecDeque<Vec<u8>>,
}

/// Runs the floor until its parent ends.
///
/// # Errors
/// When it cannot listen or wait.
pub fn program() -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    listener.bind(&SockAddr::from(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))))?;
    listener.listen(BACKLOG)?;
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from(listener);
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    println!("floor listens on http://{}", listener.local_addr()?);
    let mut floor = Floor {
        epoll,
        listener,
        peers: Vec::new(),
        free: Vec::new(),
        names: HashMap::new(),
        rooms: Vec::new(),
    };
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
        if let Some(Peer { role: Role::Reader(room, at), .. }) = self.peers[place] {
            let readers = &mut self.rooms[room].readers;
            readers.swap_remove(at);
            let moved = readers.get(at).copied();
            if let Some(peer) = moved.and_then(|moved| self.peers[moved].as_mut()) {
                peer.role = Role::Reader(room, at);
            }
        }
        self.peers[place] = None;
        self.free.push(place);
    }

    fn heard(&mut self, place: usize, bytes: &[u8]) {
        let Some(peer) = &mut self.peers[place] else { return };
        let text = String::from_utf8_lossy(bytes);
        let written = match peer.role {
            Role::New if text.starts_with("GET ") => self.listen(place, &text),
            Role::New => {
                let (size, messages) = text[1..].split_once('\n').unwrap_or_default();
                peer.role = Role::Speaker(size.parse().unwrap_or(300));
                messages.lines().try_for_each(|room| self.message(place, room))
            }
            Role::Speaker(_) => text.lines().try_for_each(|room| self.message(place, room)),
            Role::Reader(..) => Ok(()),
        };
        if written.is_err() {
            self.drop_peer(place);
        }
    }

    /// The room of this path.
    fn room(&mut self, path: &str) -> usize {
        let next = self.rooms.len();
        let room = *self.names.entry(path.to_owned()).or_insert(next);
        if room == next {
            self.rooms.push(Room::default());
        }
        room
    }

    /// Head, `hello`, what comes after the cursor if one was sent, and `live`, all in one write.
    fn listen(&mut self, place: usize, request: &str) -> io::Result<()> {
        let path = request[4..].split([' ', '?']).next().unwrap_or_default();
        let number = self.room(path);
        let room = &mut self.rooms[number];
        let cursor = request.lines().find_map(|line| line.strip_prefix("Last-Event-ID: 1-")?.parse().ok());
        let from = cursor.unwrap_or(room.seq);
        let missed = usize::try_from(room.seq.saturating_sub(from)).unwrap_or(usize::MAX);
        let hello = format!("event: hello\nid: 1-{from}\nretry: 1000\ndata: {{}}\n\n");
        let live = "event: live\ndata: {}\n\n";
        let mut bytes = format!("{HEAD}{:x}\r\n{hello}\r\n", hello.len()).into_bytes();
        let kept = room.chunks.len();
        room.chunks.range(kept - missed.min(kept)..).for_each(|chunk| bytes.extend_from_slice(chunk));
        bytes.extend_from_slice(format!("{:x}\r\n{live}\r\n", live.len()).as_bytes());
        room.readers.push(place);
        let at = room.readers.len() - 1;
        let Some(peer) = &mut self.peers[place] else { return Ok(()) };
        peer.role = Role::Reader(number, at);
        peer.socket.write_all(&bytes)
    }

    fn message(&mut self, speaker: usize, path: &str) -> io::Result<()> {
        let number = self.room(path);
        let room = &mut self.rooms[number];
        room.seq += 1;
        let Some(Peer { socket, role: Role::Speaker(size) }) = &mut self.peers[speaker] else {
            return Ok(());
        };
        socket.write_all(format!("1-{}\n", room.seq).as_bytes())?;
        let chunk = chunk(room.seq, *size);
        let mut cut = Vec::new();
        for &place in &room.readers {
            let Some(Peer { socket, .. }) = &self.peers[place] else { continue };
            let sent = rustix::net::send(socket, &chunk, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
            if sent != Ok(chunk.len()) {
                cut.push(place);
            }
        }
        room.chunks.push_back(chunk);
        if room.chunks.len() > KEPT {
            room.chunks.pop_front();
        }
        // The loader sees that a reader was cut and calls the run failed.
        cut.into_iter().for_each(|place| self.drop_peer(place));
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
