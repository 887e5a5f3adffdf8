//! Many speakers in one thread, who say the next thing as soon as the one before is acknowledged.

use super::target::guest;
use super::{Failure, histogram, nanoseconds};
use crate::http::Client;
use crate::speak::whole_log;
use hdrhistogram::Histogram;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::time::Timespec;
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// Bytes of a text: a sentence or two.
pub(crate) const TEXT: usize = 150;

/// A text of [`TEXT`] bytes that no other speaker or message has: `s0007 00000042 xxx…`.
pub(crate) fn text(speaker: usize, n: u64) -> String {
    format!("s{speaker:04} {n:08} {:x<1$}", "", TEXT - 15)
}

/// An answer takes no longer than this.
const PATIENCE: Duration = Duration::from_secs(10);

/// Speakers, each with a connection and a name of its own.
pub(crate) struct Crowd {
    epoll: OwnedFd,
    speakers: Vec<Speaker>,
}

struct Speaker {
    number: usize,
    socket: TcpStream,
    head: String,
    said: u64,
    under_way: VecDeque<Instant>,
    heard: Vec<u8>,
}

/// What a crowd did.
pub(crate) struct Spoken {
    pub(crate) acknowledged: u64,
    pub(crate) wall: Duration,
    /// POST until its answer (ns).
    pub(crate) answer: Histogram<u64>,
}

impl Crowd {
    /// So many speakers, who share the pods and the rooms between them; `query` (`?ack=stored`) is in each POST.
    pub(crate) fn new(
        count: usize,
        pods: &[SocketAddr],
        rooms: &[String],
        query: &str,
    ) -> Result<Self, Failure> {
        let epoll = epoll::create(CreateFlags::CLOEXEC).map_err(io::Error::from)?;
        let mut speakers = Vec::new();
        for number in 0..count {
            let pod = pods[number % pods.len()];
            let token = guest(pod, &format!("Speaker {number}"))?;
            let head = format!(
                "POST /r/{}{query} HTTP/1.1\r\nHost: {pod}\r\nAuthorization: Bearer {token}\r\n\
                 Content-Type: text/plain\r\nContent-Length: {TEXT}\r\n\r\n",
                rooms[number % rooms.len()]
            );
            let socket = TcpStream::connect(pod)?;
            socket.set_nodelay(true)?;
            socket.set_nonblocking(true)?;
            epoll::add(&epoll, &socket, EventData::new_u64(number as u64), EventFlags::IN)
                .map_err(io::Error::from)?;
            let (under_way, heard) = (VecDeque::new(), Vec::new());
            speakers.push(Speaker { number, socket, head, said: 0, under_way, heard });
        }
        Ok(Self { epoll, speakers })
    }

    /// All of them speak for so long, each with up to `depth` messages under way; every one is acknowledged.
    pub(crate) fn speak(&mut self, time: Duration, depth: usize) -> Result<Spoken, Failure> {
        let mut answer = histogram()?;
        let start = Instant::now();
        let mut under_way = 0;
        for speaker in &mut self.speakers {
            speaker.say(depth)?;
            under_way += depth;
        }
        let mut acknowledged = 0;
        let mut events: Vec<epoll::Event> = Vec::with_capacity(self.speakers.len());
        let wait = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
        while under_way > 0 {
            events.clear();
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&wait)) {
                Ok(0) => {
                    let what = format!("{under_way} POSTs have no answer for {PATIENCE:?}");
                    return Err(Failure::Late(what));
                }
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(Failure::Io(e.into())),
            }
            let is_over = start.elapsed() >= time;
            for event in &events {
                let speaker = &mut self.speakers[event.data.u64() as usize];
                let answers = speaker.hear(&mut answer)?;
                acknowledged += answers as u64;
                under_way -= answers;
                if !is_over && answers > 0 {
                    speaker.say(answers)?;
                    under_way += answers;
                }
            }
        }
        Ok(Spoken { acknowledged, wall: start.elapsed(), answer })
    }

    /// That the rooms have what these speakers said, each of them everything once and in its order, and nothing else.
    pub(crate) fn check(&self, server: SocketAddr, rooms: &[String]) -> Result<(), Failure> {
        let mut kept = vec![0; self.speakers.len()];
        let mut client = Client::new(server);
        for room in rooms {
            for event in whole_log(&mut client, room)? {
                let strange = || Failure::Wrong(format!("{room} has what nobody said there: {}", event.data));
                let event: serde_json::Value = serde_json::from_str(&event.data).map_err(|_| strange())?;
                let said = event["text"].as_str().unwrap_or_default();
                let number = said.get(1..5).and_then(|digits| digits.parse::<usize>().ok());
                let number = number.filter(|number| *number < kept.len()).ok_or_else(strange)?;
                let next = text(number, kept[number]);
                if said != next {
                    return Err(Failure::Wrong(format!("{room} has {said:?} where {next:?} is due")));
                }
                kept[number] += 1;
            }
        }
        let said = self.said();
        match kept.iter().zip(&said).position(|(kept, said)| kept != said) {
            None => Ok(()),
            Some(number) => {
                let (kept, said) = (kept[number], said[number]);
                Err(Failure::Wrong(format!("of {said} messages of speaker {number} {kept} are in the log")))
            }
        }
    }

    /// How much each of them has said so far.
    pub(crate) fn said(&self) -> Vec<u64> {
        self.speakers.iter().map(|speaker| speaker.said).collect()
    }
}

impl Speaker {
    /// The next `count` messages, in one go.
    fn say(&mut self, count: usize) -> Result<(), Failure> {
        let mut bytes = String::new();
        for _ in 0..count {
            bytes += &self.head;
            bytes += &text(self.number, self.said);
            self.said += 1;
            self.under_way.push_back(Instant::now());
        }
        // A few hundred bytes each on a socket whose answers were taken: they go at once or something is wrong.
        Ok(self.socket.write_all(bytes.as_bytes())?)
    }

    /// Takes what has come; gives how many messages are acknowledged by it.
    fn hear(&mut self, answer: &mut Histogram<u64>) -> Result<usize, Failure> {
        let mut piece = [0; 16 << 10];
        match self.socket.read(&mut piece) {
            Ok(0) => return Err(Failure::Wrong("a pod closed a speaker's connection".to_owned())),
            Ok(n) => self.heard.extend_from_slice(&piece[..n]),
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(e) => return Err(e.into()),
        }
        let (mut count, mut at) = (0, 0);
        while let Some(length) = acknowledgement(&self.heard[at..]).map_err(Failure::Wrong)? {
            at += length;
            count += 1;
            let Some(since) = self.under_way.pop_front() else {
                return Err(Failure::Wrong("an answer that nobody asked for".to_owned()));
            };
            answer.saturating_record(nanoseconds(since.elapsed()));
        }
        self.heard.drain(..at);
        Ok(count)
    }
}

/// The length of the 201 at the front, once it is all there. Parsed no further: speakers must cost little.
fn acknowledgement(heard: &[u8]) -> Result<Option<usize>, String> {
    let Some(end) = heard.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let head = &heard[..end];
    let strange = || format!("the answer to a POST: {}", String::from_utf8_lossy(heard));
    if !head.starts_with(b"HTTP/1.1 201 ") {
        return Err(strange());
    }
    let field = b"content-length:";
    let mut lines = head.split(|&byte| byte == b'\n');
    let line =
        lines.find(|line| line.get(..field.len()).is_some_and(|name| name.eq_ignore_ascii_case(field)));
    let value = line.and_then(|line| std::str::from_utf8(&line[field.len()..]).ok()?.trim().parse().ok());
    let length: usize = value.ok_or_else(strange)?;
    let whole = end + 4 + length;
    Ok((heard.len() >= whole).then_some(whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acknowledgement_is_one_once_it_is_all_there() {
        let all = b"HTTP/1.1 201 Created\r\nContent-length: 3\r\nX: y\r\n\r\n{ }HTTP/1.1 201";
        let whole = all.len() - b"HTTP/1.1 201".len();
        for cut in 0..whole {
            assert_eq!(acknowledgement(&all[..cut]), Ok(None), "{cut}");
        }
        assert_eq!(acknowledgement(all), Ok(Some(whole)));
        assert!(acknowledgement(b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n").is_err());
        assert!(acknowledgement(b"HTTP/1.1 201 X\r\n\r\n").is_err());
    }
}
