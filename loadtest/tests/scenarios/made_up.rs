//! A chat server with a thread per connection, which keeps its promises or breaks one.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// Readers that a scenario is run with: the last of them is the one that is wronged.
pub(crate) const READERS: usize = 20;

/// What it does with one message of each room.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Manner {
    Correct,
    /// One reader does not get it.
    Loses,
    /// One reader gets it twice.
    Repeats,
    /// Nobody gets it, and it is not kept, though it was acknowledged.
    Swallows,
}

#[derive(Default)]
struct Room {
    texts: Vec<String>,
    readers: Vec<TcpStream>,
}

struct Server {
    rooms: Mutex<HashMap<String, Room>>,
    manner: Manner,
    /// The seq of the message that it breaks its promise with.
    harmed: usize,
}

/// Starts one; gives its URL.
pub(crate) fn start(manner: Manner, harmed: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = Arc::new(Server { rooms: Mutex::default(), manner, harmed });
    thread::spawn(move || {
        for socket in listener.incoming() {
            let server = server.clone();
            // A connection that the load closed is nothing to speak of.
            thread::spawn(move || {
                let socket = socket?;
                socket.set_nodelay(true)?;
                server.serve(&socket)
            });
        }
    });
    url
}

impl Server {
    fn serve(&self, mut socket: &TcpStream) -> std::io::Result<()> {
        let mut input = BufReader::new(socket);
        loop {
            let mut lines = Vec::new();
            for line in input.by_ref().lines() {
                match line? {
                    line if line.is_empty() => break,
                    line => lines.push(line.to_lowercase()),
                }
            }
            let Some(target) = lines.first().and_then(|line| line.split(' ').nth(1)) else { return Ok(()) };
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            let field = |name: &str| lines.iter().find_map(|line| line.strip_prefix(name));
            let mut body = vec![0; field("content-length: ").map_or(0, |length| length.parse().unwrap())];
            input.read_exact(&mut body)?;
            let (status, answer) = match (&lines[0][..3], path) {
                (_, "/api/session") => (201, r#"{"token":"t","user":{"id":"u"}}"#.to_owned()),
                ("get", "/api/history") => (200, self.history(query)),
                ("get", path) if path.starts_with("/r/") => {
                    return self.listen(socket, path, field("last-event-id: 1-"));
                }
                ("get", _) => (200, String::new()),
                (_, path) => {
                    let seq = self.say(path, String::from_utf8_lossy(&body).into_owned())?;
                    (201, format!(r#"{{"cursor":"1-{seq}","duplicate":false}}"#))
                }
            };
            write!(socket, "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{answer}", answer.len())?;
        }
    }

    fn listen(&self, mut socket: &TcpStream, path: &str, cursor: Option<&str>) -> std::io::Result<()> {
        let mut rooms = self.rooms.lock().unwrap();
        let room = rooms.entry(path.to_owned()).or_default();
        let tip = room.texts.len();
        let from = cursor.map_or(tip, |cursor| cursor.parse().unwrap());
        let is_last = room.readers.len() % READERS == READERS - 1;
        let replay: String =
            (from + 1..=tip).map(|seq| event(seq).repeat(self.times(seq, is_last))).collect();
        let hello = format!("event: hello\nid: 1-{from}\ndata: {{}}\n\n");
        let all = format!("{hello}{replay}event: live\ndata: {{}}\n\n");
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        write!(socket, "{head}{:x}\r\n{all}\r\n", all.len())?;
        room.readers.push(socket.try_clone()?);
        Ok(())
    }

    fn say(&self, path: &str, text: String) -> std::io::Result<usize> {
        let mut rooms = self.rooms.lock().unwrap();
        let room = rooms.entry(path.to_owned()).or_default();
        room.texts.push(text);
        let seq = room.texts.len();
        let event = event(seq);
        let chunk = format!("{:x}\r\n{event}\r\n", event.len());
        for (number, mut reader) in room.readers.iter().enumerate() {
            let times = self.times(seq, number % READERS == READERS - 1);
            // Readers that were there before have gone.
            let _ = reader.write_all(chunk.repeat(times).as_bytes());
        }
        Ok(seq)
    }

    /// All of a room on one page.
    fn history(&self, query: &str) -> String {
        let room = query.split('&').find_map(|part| part.strip_prefix("room=")).unwrap();
        let rooms = self.rooms.lock().unwrap();
        let texts = rooms.get(&format!("/r/{room}")).map_or(&[][..], |room| &room.texts);
        let kept = texts.iter().zip(1..).filter(|(_, seq)| self.times(*seq, false) > 0);
        let events = kept
            .map(|(text, seq)| format!(r#"{{"epoch":1,"seq":{seq},"text":"{text}"}}"#))
            .collect::<Vec<_>>();
        format!(r#"{{"events":[{}]}}"#, events.join(","))
    }

    /// How often a reader gets a message.
    fn times(&self, seq: usize, is_last: bool) -> usize {
        match self.manner {
            Manner::Swallows if seq == self.harmed => 0,
            Manner::Loses if seq == self.harmed && is_last => 0,
            Manner::Repeats if seq == self.harmed && is_last => 2,
            _ => 1,
        }
    }
}

fn event(seq: usize) -> String {
    format!("id: 1-{seq}\ndata: {{\"seq\":{seq},\"text\":\"x\"}}\n\n")
}
