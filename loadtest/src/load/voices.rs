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

enum Tongue {
    /// A line with the room is a message, a line with the cursor the answer.
    Floor,
    /// POST.
    Http,
}

/// A connection to speak over.
pub(crate) struct Voice {
    socket: TcpStream,
    tongue: Tongue,
    heard: Vec<u8>,
    /// Where the message that is under way goes.
    room: usize,
    /// When it was due, if one is under way.
    due: Option<Instant>,
}

impl Voice {
    pub(crate) fn floor(mut socket: TcpStream, opening: &str) -> io::Result<Self> {
        socket.write_all(opening.as_bytes())?;
        Self::new(socket, Tongue::Floor)
    }

    pub(crate) fn http(socket: TcpStream) -> io::Result<Self> {
        Self::new(socket, Tongue::Http)
    }

    fn new(socket: TcpStream, tongue: Tongue) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, tongue, heard: Vec::new(), room: 0, due: None })
    }

    /// `start`: the line, or the head up to its length.
    fn speak(&mut self, start: &str, text: &str, due: Instant) -> io::Result<()> {
        self.due = Some(due);
        // A few hundred bytes on an empty socket: they go at once or something is wrong.
        match &self.tongue {
            Tongue::Floor => self.socket.write_all(start.as_bytes()),
            Tongue::Http => {
                let request = format!("{start}Content-Length: {}\r\n\r\n{text}", text.len());
                self.socket.write_all(request.as_bytes())
            }
        }
    }

    /// Takes what has come; the cursor when the answer is whole.
    fn hear(&mut self) -> Result<Option<Cursor>, Failure> {
        let mut piece = [0; 4096];
        match self.socket.read(&mut piece) {
            Ok(0) => return Err(Failure::Wrong("the server closed a speaker's connection".to_owned())),
            Ok(n) => self.heard.extend_from_slice(&piece[..n]),
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(e) => return Err(e.into()),
        }
        let answer = match self.tongue {
            Tongue::Floor => line(&mut self.heard),
            Tongue::Http => acknowledgement(&mut self.heard),
        };
        answer.map_err(|what| Failure::Wrong(format!("the answer to a POST: {what}")))
    }
}

fn line(heard: &mut Vec<u8>) -> Result<Option<Cursor>, String> {
    let Some(end) = heard.iter().position(|&b| b == b'\n') else { return Ok(None) };
    let line: Vec<u8> = heard.drain(..=end).collect();
    let text = std::str::from_utf8(&line[..end]).map_err(|e| e.to_string())?;
    text.parse().map(Some).map_err(|e| format!("{e}"))
}

fn acknowledgement(heard: &mut Vec<u8>) -> Result<Option<Cursor>, String> {
    let Some((head, length)) = parse_head(heard)? else { return Ok(None) };
    let Framing::Length(body) = head.framing("POST")? else { return Err("without a length".to_owned()) };
    let end = length + usize::try_from(body).map_err(|e| e.to_string())?;
    if heard.len() < end {
        return Ok(None);
    }
    let body: Vec<u8> = heard.drain(..end).skip(length).collect();
    let json: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let cursor = json["cursor"].as_str().and_then(|text| text.parse().ok());
    match cursor {
        Some(cursor) if head.status == 201 && json["duplicate"] == false => Ok(Some(cursor)),
        _ => Err(format!("{} {}", head.status, String::from_utf8_lossy(&body))),
    }
}

/// All connections of one speaker: opened as they are needed, used again as they become free.
pub(crate) struct Voices {
    speaker: Speaker,
    voices: Vec<Voice>,
    free: Vec<usize>,
}

impl Voices {
    pub(crate) fn new(speaker: Speaker) -> Self {
        Self { speaker, voices: Vec::new(), free: Vec::new() }
    }

    /// Rooms that are spoken in.
    pub(crate) fn rooms(&self) -> usize {
        self.speaker.starts.len()
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
            None if self.voices.len() == UNDER_WAY => {
                let what =
                    format!("{UNDER_WAY} POSTs are under way: the server does not keep up with this rate");
                return Err(Failure::Late(what));
            }
            None => {
                let voice = self.speaker.voice()?;
                readers.watch(&voice.socket, TRIGGERS + self.voices.len() as u64)?;
                self.voices.push(voice);
                self.voices.len() - 1
            }
        };
        let voice = &mut self.voices[number];
        voice.room = room;
        Ok(voice.speak(&self.speaker.starts[room], text, due)?)
    }

    /// A connection is readable: in which room what was acknowledged with it, and when that was due.
    pub(crate) fn hear(&mut self, token: u64) -> Result<Option<(usize, Cursor, Instant)>, Failure> {
        let number = (token - TRIGGERS) as usize;
        let voice = &mut self.voices[number];
        let Some(cursor) = voice.hear()? else { return Ok(None) };
        let due =
            voice.due.take().ok_or_else(|| Failure::Wrong("an answer that nobody asked for".to_owned()))?;
        self.free.push(number);
        Ok(Some((voice.room, cursor, due)))
    }
}
