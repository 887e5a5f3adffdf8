//! What one reader of another server keeps of its stream: which of our messages came, and in which order.
//!
//! Such a stream has no seq of a log, and its frames are its own. What is the same everywhere is the message itself,
//! which carries `"seq":N`; that is looked for in the bytes, whatever is around it and however they are cut.

use super::Note;
use crate::cursor::Cursor;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

const SEQ: &[u8] = b"\"seq\":";

/// The order in which the messages came, as the first reader saw it that got so far. All others must see the same.
///
/// It is not always that of the seqs: where several POSTs are under way, the server decides.
#[derive(Default)]
pub(crate) struct Order {
    seqs: Vec<u64>,
    seen: HashSet<u64>,
}

impl Order {
    fn check(&mut self, place: usize, seq: u64) -> Result<(), String> {
        match self.seqs.get(place) {
            Some(&due) if due == seq => Ok(()),
            Some(due) => Err(format!("lost, repeated or out of order: {seq} where another reader got {due}")),
            None if self.seen.insert(seq) => {
                self.seqs.push(seq);
                Ok(())
            }
            None => Err(format!("repeated: {seq}")),
        }
    }
}

/// What comes on the way to being subscribed, and what the reader answers, if anything.
pub(crate) type Step = (&'static [u8], &'static [u8]);

/// The state of one stream. See the module's words.
pub(crate) struct Marks {
    /// What must come yet until the reader is live. Nothing before it is counted.
    steps: &'static [Step],
    /// How much of what is looked for came last.
    matched: u8,
    /// The digits of a seq, as far as they came.
    number: Option<u64>,
    /// How many messages came.
    place: usize,
    order: Arc<Mutex<Order>>,
    pub(super) wrong: Option<String>,
}

impl Marks {
    pub(crate) fn new(steps: &'static [Step], order: Arc<Mutex<Order>>) -> Self {
        Self { steps, matched: 0, number: None, place: 0, order, wrong: None }
    }

    /// Takes the next bytes behind the head.
    pub(super) fn feed(&mut self, piece: &[u8], tell: &mut impl FnMut(Note)) {
        for &byte in piece {
            if let Some(number) = self.number {
                if byte.is_ascii_digit() {
                    self.number = Some(number.wrapping_mul(10).wrapping_add(u64::from(byte - b'0')));
                    continue;
                }
                self.number = None;
                self.came(number, tell);
            }
            let sought = self.steps.first().map_or(SEQ, |(sought, _)| sought);
            let matched = advance(sought, usize::from(self.matched), byte);
            self.matched = matched as u8;
            if matched == sought.len() {
                self.matched = 0;
                self.found(tell);
            }
        }
    }

    fn found(&mut self, tell: &mut impl FnMut(Note)) {
        let Some(((_, answer), rest)) = self.steps.split_first() else {
            self.number = Some(0);
            return;
        };
        self.steps = rest;
        if !answer.is_empty() {
            tell(Note::Asked(answer));
        }
        if rest.is_empty() {
            tell(Note::Live);
        }
    }

    fn came(&mut self, seq: u64, tell: &mut impl FnMut(Note)) {
        // Nobody else has it at this moment: all readers are in one thread.
        let mut order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        match order.check(self.place, seq) {
            Ok(()) => tell(Note::Event(Cursor::new(1, seq))),
            Err(wrong) => _ = self.wrong.get_or_insert(wrong),
        }
        self.place += 1;
    }
}

/// How much of `sought` has come with this byte, when `matched` of it had before.
fn advance(sought: &[u8], mut matched: usize, byte: u8) -> usize {
    while sought[matched] != byte {
        if matched == 0 {
            return 0;
        }
        // The end of what came may be the beginning of what is sought.
        let shorter = (1..matched).rev().find(|&n| sought[..n] == sought[matched - n..matched]);
        matched = shorter.unwrap_or(0);
    }
    matched + 1
}

#[cfg(test)]
mod tests {
    use super::super::{Counter, Stop};
    use super::*;

    const STEPS: &[Step] = &[(b"open?", b"open!"), (b": hi\n", b"")];

    /// Feeds a reader's bytes in pieces of this size, and gives what came before the first error.
    fn read(order: &Arc<Mutex<Order>>, bytes: &[u8], size: usize) -> (Vec<Note>, Result<(), Stop>) {
        let mut counter = Counter::of_marks(STEPS, order.clone());
        let mut notes = Vec::new();
        let done = bytes.chunks(size).try_for_each(|piece| counter.feed(piece, |note| notes.push(note)));
        (notes, done)
    }

    fn stream(seqs: &[u64]) -> String {
        let events =
            seqs.iter().map(|seq| format!("data: {{\"seq\" \"seq\"seq\":0 {{\"seq\":{seq},\"a\":1}}\n\n"));
        // An escaped mark in front is a text, and what comes before the reader is ready does not count.
        format!(
            "\"seq\":7 : hi\n open?: : hi: hi\n\n{}",
            events.collect::<String>().replace("\"seq\"seq\":0", "\\\"seq\\\":0")
        )
    }

    fn raw(seqs: &[u64]) -> Vec<u8> {
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n{}", stream(seqs)).into_bytes()
    }

    /// The body in chunks that end in the middle of marks.
    fn chunked(seqs: &[u64], size: usize) -> Vec<u8> {
        let mut bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for piece in stream(seqs).as_bytes().chunks(size) {
            bytes.extend(format!("{:x}\r\n", piece.len()).into_bytes());
            bytes.extend(piece);
            bytes.extend(b"\r\n");
        }
        bytes
    }

    /// As a WebSocket server sends it: frames without a mask, of text, after the switch of protocols.
    fn frames(seqs: &[u64]) -> Vec<u8> {
        let mut bytes =
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x05open?\x81\x05: hi\n"
                .to_vec();
        for seq in seqs {
            let text = format!("42[\"message\",{{\"seq\":{seq}}}]");
            bytes.extend([0x81, text.len() as u8]);
            bytes.extend(text.into_bytes());
        }
        bytes
    }

    #[test]
    fn messages_are_found_however_they_are_cut() {
        let seqs = [3, 4, 5, 12_345_678];
        let mut due = vec![Note::Asked(b"open!"), Note::Live];
        due.extend(seqs.map(|seq| Note::Event(Cursor::new(1, seq))));
        for size in (1..40).chain([4096]) {
            for bytes in [raw(&seqs), chunked(&seqs, 7), chunked(&seqs, 1), frames(&seqs)] {
                assert_eq!(read(&Arc::default(), &bytes, size), (due.clone(), Ok(())), "{size}");
            }
        }
    }

    #[test]
    fn all_readers_must_get_the_same() {
        let order = Arc::default();
        assert!(read(&order, &raw(&[1, 3, 2, 4]), 64).1.is_ok(), "the server decides on the order");
        assert!(read(&order, &frames(&[1, 3, 2]), 64).1.is_ok(), "one is behind");
        for wrong in [&[1, 2, 3, 4][..], &[1, 3, 4], &[1, 3, 3, 2], &[3, 2, 4], &[1, 3, 2, 4, 2]] {
            let (_, done) = read(&order, &raw(wrong), 64);
            assert!(done.is_err_and(|what| what.to_string().contains("repeated")), "{wrong:?}");
        }
    }

    #[test]
    fn what_is_no_stream_or_ends_is_an_error() {
        let order = Arc::default();
        for head in [
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        ] {
            assert!(read(&order, head.as_bytes(), 64).1.is_err(), "{head}");
        }
        let mut ended = chunked(&[1], 64);
        ended.extend(b"0\r\n\r\n");
        assert_eq!(read(&order, &ended, 4096).1, Err(Stop::Ended("the server ended the stream")));
    }

    #[test]
    fn what_is_sought_may_begin_within_itself() {
        let ends = |text: &[u8]| {
            text.iter()
                .fold(0, |matched, &byte| if matched == 6 { 6 } else { advance(b"aabaac", matched, byte) })
        };
        assert_eq!((ends(b"aabaabaac"), ends(b"aaabaac"), ends(b"aabaaabaa")), (6, 6, 5));
    }
}
