//! Who speaks: non-blocking connections that carry one message each at a time.

use super::Failure;
use super::readers::{Readers, TRIGGERS};
use super::target::Speaker;
use crate::cursor::Cursor;
use crate::http::{Framing, parse_head};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

/// Messages that may be under way at once. Above it the load would measure its own queue.
const UNDER_WAY: usize = 1000;

/// How a connection is spoken over.
#[derive(Clone)]
pub(crate) enum Tongue {
    /// This first, and then lines: a message, and its cursor as the answer.
    Floor(String),
    /// POSTs to a maru.
    Http,
    /// POSTs to another server; whether an answer of this status and body is an acknowledgement.
    Foreign(fn(u16, &[u8]) -> bool),
}

/// How a message goes to one room.
pub(crate) enum Way {
    /// By this line.
    Line(String),
    /// With this head, up to its length.
    Head(String),
    /// With this head, and the seq of ours in a body.
    Post(Post),
}

/// A POST with a message that carries a seq of ours.
pub(crate) struct Post {
    /// Without its length and the line end.
    head: String,
    /// What comes before the seq, and what after it.
    body: (String, String),
}

/// Where the seq belongs, in the text that a [`Post`] is made of: twenty digits, which nothing else has.
pub(crate) const SEQ: u64 = u64::MAX;

impl Post {
    /// Of a head and a body with [`SEQ`] in it.
    pub(crate) fn new(head: String, body: &str) -> Self {
        let (before, after) = body.split_once(&SEQ.to_string()).unwrap_or((body, ""));
        Self { head, body: (before.to_owned(), after.to_owned()) }
    }
}

impl Way {
    fn bytes(&self, text: &str, seq: u64) -> String {
        let request = |head: &str, body: &str| format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
        match self {
            Self::Line(line) => line.clone(),
            Self::Head(head) => request(head, text),
            Self::Post(Post { head, body: (before, after) }) => {
                request(head, &format!("{before}{seq}{after}"))
            }
        }
    }
}

/// A connection to speak over.
pub(crate) struct Voice {
    socket: TcpStream,
    tongue: Tongue,
    heard: Vec<u8>,
    said: Option<Said>,
}

/// The message that is under way.
#[derive(Clone, Copy)]
struct Said {
    room: usize,
    /// Its seq of ours.
    seq: u64,
    due: Instant,
}

impl Voice {
    pub(crate) fn new(mut socket: TcpStream, tongue: Tongue) -> io::Result<Self> {
        if let Tongue::Floor(opening) = &tongue {
            socket.write_all(opening.as_bytes())?;
        }
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, tongue, heard: Vec::new(), said: None })
    }

    fn speak(&mut self, bytes: &str, said: Said) -> io::Result<()> {
        self.said = Some(said);
        // A few hundred bytes on an empty socket: they go at once or something is wrong.
        self.socket.write_all(bytes.as_bytes())
    }

    /// Takes what has come.
    fn hear(&mut self) -> Result<Heard, Failure> {
        let mut piece = [0; 4096];
        match self.socket.read(&mut piece) {
            // A connection that nobody speaks over is closed some day.
            Ok(0) if self.said.is_none() => return Ok(Heard::End),
            Ok(0) => return Err(Failure::Wrong("the server closed a speaker's connection".to_owned())),
            Ok(n) => self.heard.extend_from_slice(&piece[..n]),
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(e) => return Err(e.into()),
        }
        let answer = match self.tongue {
            Tongue::Floor(_) => line(&mut self.heard),
            Tongue::Http => acknowledgement(&mut self.heard),
            Tongue::Foreign(accepts) => {
                let seq = self.said.map_or(0, |said| said.seq);
                accepted(&mut self.heard, accepts).map(|is_whole| is_whole.then(|| Cursor::new(1, seq)))
            }
        };
        let wrong = |what| Failure::Wrong(format!("the answer to a POST: {what}"));
        let Some(cursor) = answer.map_err(wrong)? else { return Ok(Heard::Nothing) };
        let said = self.said.take();
        let Said { room, due, .. } =
            said.ok_or_else(|| Failure::Wrong("an answer that nobody asked for".to_owned()))?;
        Ok(Heard::Answer(room, cursor, due))
    }
}

/// What came over a connection.
enum Heard {
    /// Not all of an answer.
    Nothing,
    /// The room of the message, its cursor there, and when it was due.
    Answer(usize, Cursor, Instant),
    End,
}

fn line(heard: &mut Vec<u8>) -> Result<Option<Cursor>, String> {
    let Some(end) = heard.iter().position(|&b| b == b'\n') else { return Ok(None) };
    let line: Vec<u8> = heard.drain(..=end).collect();
    let text = std::str::from_utf8(&line[..end]).map_err(|e| e.to_string())?;
    text.parse().map(Some).map_err(|e| format!("{e}"))
}

/// Status and body of the answer when it is whole.
fn answer(heard: &mut Vec<u8>) -> Result<Option<(u16, Vec<u8>)>, String> {
    let Some((head, length)) = parse_head(heard)? else { return Ok(None) };
    let Framing::Length(body) = head.framing("POST")? else { return Err("without a length".to_owned()) };
    let end = length + usize::try_from(body).map_err(|e| e.to_string())?;
    if heard.len() < end {
        return Ok(None);
    }
    Ok(Some((head.status, heard.drain(..end).skip(length).collect())))
}

fn acknowledgement(heard: &mut Vec<u8>) -> Result<Option<Cursor>, String> {
    let Some((status, body)) = answer(heard)? else { return Ok(None) };
    let json: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let cursor = json["cursor"].as_str().and_then(|text| text.parse().ok());
    match cursor {
        Some(cursor) if status == 201 && json["duplicate"] == false => Ok(Some(cursor)),
        _ => Err(format!("{status} {}", String::from_utf8_lossy(&body))),
    }
}

/// Whether the answer is whole.
fn accepted(heard: &mut Vec<u8>, accepts: fn(u16, &[u8]) -> bool) -> Result<bool, String> {
    match answer(heard)? {
        None => Ok(false),
        Some((status, body)) if accepts(status, &body) => Ok(true),
        Some((status, body)) => Err(format!("{status} {}", String::from_utf8_lossy(&body))),
    }
}

/// All connections of one speaker: opened as they are needed, used again as they become free.
pub(crate) struct Voices {
    speaker: Speaker,
    /// None is one that has ended.
    voices: Vec<Option<Voice>>,
    free: Vec<usize>,
    /// Messages so far.
    spoken: u64,
}

impl Voices {
    pub(crate) fn new(speaker: Speaker) -> Self {
        Self { speaker, voices: Vec::new(), free: Vec::new(), spoken: 0 }
    }

    /// Rooms that are spoken in.
    pub(crate) fn rooms(&self) -> usize {
        self.speaker.ways.len()
    }

    pub(crate) fn speak(
        &mut self,
        room: usize,
        text: &str,
        due: Instant,
        readers: &Readers,
    ) -> Result<(), Failure> {
        let number = match self.free.pop() {
            Some(number) => number,
            None if self.voices.iter().flatten().count() == UNDER_WAY => {
                let what =
                    format!("{UNDER_WAY} POSTs are under way: the server does not keep up with this rate");
                return Err(Failure::Behind(what));
            }
            None => {
                let voice = self.speaker.voice()?;
                readers.watch(&voice.socket, TRIGGERS + self.voices.len() as u64)?;
                self.voices.push(Some(voice));
                self.voices.len() - 1
            }
        };
        self.spoken += 1;
        let bytes = self.speaker.ways[room].bytes(text, self.spoken);
        let said = Said { room, seq: self.spoken, due };
        self.voices[number].as_mut().map_or(Ok(()), |voice| voice.speak(&bytes, said))?;
        Ok(())
    }

    /// A connection is readable: in which room what was acknowledged with it, and when that was due.
    pub(crate) fn hear(&mut self, token: u64) -> Result<Option<(usize, Cursor, Instant)>, Failure> {
        let number = (token - TRIGGERS) as usize;
        match self.voices[number].as_mut().map_or(Ok(Heard::Nothing), Voice::hear)? {
            Heard::Nothing => Ok(None),
            Heard::Answer(room, cursor, due) => {
                self.free.push(number);
                Ok(Some((room, cursor, due)))
            }
            Heard::End => {
                self.voices[number] = None;
                self.free.retain(|&free| free != number);
                Ok(None)
            }
        }
    }
}
