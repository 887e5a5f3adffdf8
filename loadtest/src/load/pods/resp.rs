//! Redis spoken plainly: RESP2 over one blocking socket, as many commands under way as are asked for.

use crate::load::Failure;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// An answer takes no longer than this.
const PATIENCE: Duration = Duration::from_secs(30);

/// What Redis answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Nil,
    Number(i64),
    /// A status or a string.
    Text(Vec<u8>),
    Error(String),
    Many(Vec<Reply>),
}

impl Reply {
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => std::str::from_utf8(text).ok(),
            _ => None,
        }
    }

    /// The word that a script's answer begins with.
    pub(super) fn word(&self) -> Option<&str> {
        match self {
            Self::Many(parts) => parts.first()?.text(),
            _ => None,
        }
    }
}

/// Appends one command to `out`.
pub(super) fn command(out: &mut Vec<u8>, words: &[&[u8]]) {
    // Writing to a Vec does not fail.
    let _ = write!(out, "*{}\r\n", words.len());
    for word in words {
        let _ = write!(out, "${}\r\n", word.len());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

/// A connection.
pub(super) struct Resp {
    socket: TcpStream,
    buffer: Vec<u8>,
    /// Bytes of the buffer that were read already.
    read: usize,
}

impl Resp {
    pub(super) fn connect(port: u16) -> Result<Self, Failure> {
        let socket = TcpStream::connect(("127.0.0.1", port))?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { socket, buffer: Vec::new(), read: 0 })
    }

    pub(super) fn send(&mut self, commands: &[u8]) -> Result<(), Failure> {
        Ok(self.socket.write_all(commands)?)
    }

    /// One command and its answer; an error is a failure.
    pub(super) fn ask(&mut self, words: &[&[u8]]) -> Result<Reply, Failure> {
        let mut out = Vec::new();
        command(&mut out, words);
        self.send(&out)?;
        match self.reply()? {
            Reply::Error(what) => Err(Failure::Setup(format!("redis: {what}"))),
            reply => Ok(reply),
        }
    }

    /// The next answer.
    pub(super) fn reply(&mut self) -> Result<Reply, Failure> {
        loop {
            let mut rest = &self.buffer[self.read..];
            if let Some(reply) = parse(&mut rest) {
                self.read = self.buffer.len() - rest.len();
                return Ok(reply);
            }
            self.buffer.drain(..self.read);
            self.read = 0;
            let mut piece = [0; 16 << 10];
            match self.socket.read(&mut piece)? {
                0 => return Err(Failure::Setup("redis closed the connection".to_owned())),
                n => self.buffer.extend_from_slice(&piece[..n]),
            }
        }
    }
}

/// A whole answer from the front of `rest`, or nothing while it is not all there.
fn parse(rest: &mut &[u8]) -> Option<Reply> {
    let end = rest.windows(2).position(|two| two == b"\r\n")?;
    let (line, after) = (&rest[1..end], &rest[end + 2..]);
    let text = || String::from_utf8_lossy(line).into_owned();
    let number = || text().parse::<i64>().unwrap_or(-1);
    let kind = rest[0];
    *rest = after;
    Some(match kind {
        b':' => Reply::Number(number()),
        b'-' => Reply::Error(text()),
        b'+' => Reply::Text(line.to_vec()),
        b'$' => {
            let Ok(length) = usize::try_from(number()) else { return Some(Reply::Nil) };
            let string = rest.get(..length)?.to_vec();
            *rest = rest.get(length + 2..)?;
            Reply::Text(string)
        }
        b'*' => {
            let Ok(count) = usize::try_from(number()) else { return Some(Reply::Nil) };
            Reply::Many((0..count).map(|_| parse(rest)).collect::<Option<_>>()?)
        }
        _ => Reply::Error(format!("not RESP: {}", text())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_once_it_is_all_there() {
        let all = b"*4\r\n$2\r\nOK\r\n:7\r\n$-1\r\n*0\r\n+PONG\r\n";
        let whole = all.len() - b"+PONG\r\n".len();
        for cut in 0..whole {
            assert_eq!(parse(&mut &all[..cut]), None, "{cut}");
        }
        let mut rest = &all[..];
        let ok = Reply::Text(b"OK".to_vec());
        let reply = Reply::Many(vec![ok, Reply::Number(7), Reply::Nil, Reply::Many(Vec::new())]);
        assert_eq!(parse(&mut rest), Some(reply.clone()));
        assert_eq!((reply.word(), parse(&mut rest)), (Some("OK"), Some(Reply::Text(b"PONG".to_vec()))));
    }

    #[test]
    fn a_command_is_an_array_of_strings() {
        let mut out = Vec::new();
        command(&mut out, &[b"GET", b""]);
        assert_eq!(out, b"*2\r\n$3\r\nGET\r\n$0\r\n\r\n");
    }
}
