//! Everything around a hall, played by plain data: a hub, sockets, people.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use uuid::Uuid;

use super::{Close, Joined, Occupant, Place, Sent, Source, Wire};
use crate::event::{Epoch, Event, EventKind, Frame, LogId, Seq, Subject, User, UserId, UserKind, named};

pub(super) fn frame(seq: u64, kind: EventKind, target: Option<u64>, text: Option<&str>) -> Frame {
    Frame::new(&Event {
        room: Arc::from("lobby"),
        epoch: Epoch(1),
        seq: Seq(seq),
        id: Uuid::nil(),
        kind,
        target: target.map(Seq),
        user: User { id: UserId(Uuid::nil()), name: "Ann".parse().unwrap(), kind: UserKind::Guest },
        text: text.map(Arc::from),
        status: None,
        edited: None,
        by: None,
        ts: 1_732_240_000_123,
        client_id: None,
    })
}

/// What stands in the texts of a message and its edits, to find them by.
pub(super) fn secret(message: u64) -> String {
    format!("secret-{message}-")
}

/// A hub of one log and the way from it to the hall.
pub(super) struct Tail {
    pub(super) log: LogId,
    pub(super) state: Mutex<TailState>,
}

#[derive(Default)]
pub(super) struct TailState {
    pub(super) frames: Vec<Frame>,
    /// As they were before any deletion.
    pub(super) written: Vec<Frame>,
    pub(super) forgotten: usize,
    pub(super) joined: bool,
    pub(super) posts: VecDeque<Post>,
    pub(super) asides: Vec<u32>,
    /// Who was deleted by which event.
    pub(super) deleted: Vec<(u64, u64)>,
}

#[derive(Clone)]
pub(super) enum Post {
    Event(Frame),
    /// Which, and the how many-th it is here.
    Aside(u32, u64),
}

impl Source for Tail {
    type Ear = ();

    fn log(&self) -> LogId {
        self.log
    }

    fn join(&self, thread: usize, after: Place, upto: Option<Place>) -> Option<Joined> {
        assert_eq!(thread, 7);
        let mut state = self.state.lock().unwrap();
        let tip = state.frames.len() as u64;
        let end = upto.unwrap_or(Place { event: Seq(tip), aside: state.asides.len() as u64 });
        let (from, to) = (after.event.0 as usize, end.event.0.max(after.event.0) as usize);
        if from < to && from < state.forgotten || after.event.0 > tip {
            return None;
        }
        state.joined = true;
        let (told, upto) = (after.aside as usize, end.aside.max(after.aside) as usize);
        let asides = state.asides[told..upto].iter().map(|n| named("aside", None, None, n)).collect();
        Some(Joined { frames: state.frames[from..to].to_vec(), asides, end })
    }

    fn leave(&self, _: usize) {
        let mut state = self.state.lock().unwrap();
        assert!(state.joined, "left without having joined");
        state.joined = false;
    }
}

impl TailState {
    pub(super) fn append(&mut self, kind: EventKind, target: Option<u64>, text: Option<&str>) {
        if target.is_some_and(|target| self.deleted.iter().any(|(_, deleted)| *deleted == target)) {
            return;
        }
        let seq = self.frames.len() as u64 + 1;
        let frame = frame(seq, kind, target, text);
        if let (EventKind::Delete, Some(target)) = (kind, target) {
            self.deleted.push((seq, target));
            for frame in self
                .frames
                .iter_mut()
                .filter(|frame| frame.belongs_to(Subject { room: None, message: Seq(target) }))
            {
                *frame = frame.scrubbed();
            }
        }
        self.frames.push(frame.clone());
        self.written.push(frame.clone());
        if self.joined {
            self.posts.push_back(Post::Event(frame));
        }
    }
}

pub(super) struct Guest {
    pub(super) number: usize,
    pub(super) left: Arc<Mutex<Vec<usize>>>,
}

impl Occupant for Guest {
    type Select = usize;

    fn is_meant(&self, select: &usize) -> bool {
        self.number % 5 == *select
    }

    fn expires(&self) -> u32 {
        u32::MAX
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.left.lock().unwrap().push(self.number);
    }
}

#[derive(Default)]
pub(super) struct Pipe {
    pub(super) key: Option<u32>,
    pub(super) got: Vec<u8>,
    pub(super) window: usize,
    pub(super) starved: bool,
    pub(super) gone: bool,
    pub(super) finished: bool,
    pub(super) closed: Option<Close>,
}

#[derive(Default)]
pub(super) struct Pipes(pub(super) Vec<Pipe>);

impl Wire for Pipes {
    type Socket = usize;

    fn watch(&mut self, socket: &usize, key: u32) -> bool {
        self.0[*socket].key = Some(key);
        true
    }

    fn send(&mut self, socket: &usize, bytes: &[u8]) -> Sent {
        assert!(!bytes.is_empty());
        let pipe = &mut self.0[*socket];
        assert!(!pipe.finished && pipe.closed.is_none(), "sent after the end");
        if pipe.gone {
            return Sent::Gone;
        }
        let n = bytes.len().min(pipe.window);
        pipe.window -= n;
        pipe.starved |= n < bytes.len();
        pipe.got.extend_from_slice(&bytes[..n]);
        if n == 0 { Sent::Blocked } else { Sent::Took(n) }
    }

    fn finish(&mut self, socket: &usize) {
        self.0[*socket].finished = true;
    }

    fn close(&mut self, socket: usize, how: Close) {
        let pipe = &mut self.0[socket];
        assert!(pipe.closed.is_none(), "closed twice");
        (pipe.closed, pipe.key) = (Some(how), None);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    Event(u64),
    Aside(u32),
    Live,
    Bye,
}

/// The complete chunks and where they begin, and whether the body has ended.
pub(super) fn chunks(mut bytes: &[u8]) -> (Vec<(usize, String)>, bool) {
    let (all, mut found) = (bytes.len(), Vec::new());
    loop {
        let at = all - bytes.len();
        let Some(line) = bytes.windows(2).position(|pair| pair == b"\r\n") else { return (found, false) };
        let len = usize::from_str_radix(std::str::from_utf8(&bytes[..line]).unwrap(), 16).unwrap();
        if len == 0 {
            if bytes.len() >= 5 {
                assert_eq!(bytes, b"0\r\n\r\n", "something after the end");
                return (found, true);
            }
            return (found, false);
        }
        if bytes.len() < line + 2 + len + 2 {
            return (found, false);
        }
        let (block, rest) = bytes[line + 2..].split_at(len);
        assert_eq!(&rest[..2], b"\r\n");
        found.push((at, String::from_utf8(block.to_vec()).unwrap()));
        bytes = &rest[2..];
    }
}

pub(super) fn read(block: &str, written: &[Frame]) -> Want {
    if let Some(cursor) = block.strip_prefix("id: 1-") {
        let seq: u64 = cursor.split('\n').next().unwrap().parse().unwrap();
        let frame = &written[seq as usize - 1];
        let same = frame.bytes() == block.as_bytes() || frame.scrubbed().bytes() == block.as_bytes();
        assert!(same, "not as it was written: {block}");
        return Want::Event(seq);
    }
    let (name, data) = block.strip_prefix("event: ").unwrap().split_once("\ndata: ").unwrap();
    match name {
        "aside" => Want::Aside(data.trim().parse().unwrap()),
        "live" => Want::Live,
        "bye" => Want::Bye,
        _ => panic!("nobody sent {block}"),
    }
}
