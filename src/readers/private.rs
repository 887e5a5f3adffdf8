//! What one reader gets and nobody else: boxed, because hardly anybody has any.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};

use super::ring::{END_OF_BODY, chunk_len, put_chunk};
use crate::event::{Frame, Taken};

/// Bytes of chunks made for one `send(2)` at most, but for the last chunk's.
const AT_ONCE: usize = 64 << 10;

/// Bytes to send before those from the reader's cursor on. A reader that has some is at a chunk's boundary in
/// its ring.
#[derive(Default)]
pub(crate) struct Private {
    /// The rest of what was begun: always first, never changed, never left out.
    begun: Bytes,
    next: VecDeque<Item>,
}

enum Item {
    Event(Frame),
    Block(Bytes),
}

impl Item {
    fn block(&self) -> &Bytes {
        match self {
            Item::Event(frame) => frame.bytes(),
            Item::Block(block) => block,
        }
    }
}

impl Private {
    /// Events that the ring no longer has, and blocks after them.
    pub(crate) fn backlog(frames: Vec<Frame>, blocks: Vec<Bytes>) -> Self {
        let events = frames.into_iter().map(Item::Event);
        Private { begun: Bytes::new(), next: events.chain(blocks.into_iter().map(Item::Block)).collect() }
    }

    /// The rest of a chunk, or one that is ready to be sent.
    pub(crate) fn begun(begun: Bytes) -> Self {
        Private { begun, next: VecDeque::new() }
    }

    /// The last bytes of a stream: what was begun, a block, the end of the body.
    pub(crate) fn last(begun: &[u8], bye: &[u8]) -> Self {
        let mut last = Vec::with_capacity(begun.len() + chunk_len(bye.len()) + END_OF_BODY.len());
        last.extend_from_slice(begun);
        put_chunk(&mut last, bye);
        last.extend_from_slice(END_OF_BODY);
        Private::begun(last.into())
    }

    /// The part that cannot be taken back.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.begun
    }

    /// Bytes in all.
    pub(crate) fn len(&self) -> usize {
        self.begun.len() + self.next.iter().map(|item| chunk_len(item.block().len())).sum::<usize>()
    }

    /// Puts the next bytes to send into `into`; none are left when it stays empty.
    pub(crate) fn fill(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.begun);
        for item in &self.next {
            if into.len() >= AT_ONCE {
                break;
            }
            put_chunk(into, item.block());
        }
    }

    /// The first `n` bytes of what `fill` gave have been sent. Says how many chunks that has finished.
    pub(crate) fn sent(&mut self, mut n: usize) -> usize {
        if n < self.begun.len() {
            self.begun.advance(n);
            return 0;
        }
        let mut finished = usize::from(!self.begun.is_empty());
        n -= self.begun.len();
        self.begun = Bytes::new();
        while n > 0 {
            let item = self.next.pop_front().expect("no more is sent than there was");
            let mut chunk = Vec::with_capacity(chunk_len(item.block().len()));
            if n < chunk.capacity() {
                put_chunk(&mut chunk, item.block());
                self.begun = Bytes::from(chunk).split_off(n);
                break;
            }
            n -= chunk.capacity();
            finished += 1;
        }
        finished
    }

    /// Takes this out of all frames that have it, as far as they are not begun.
    pub(crate) fn scrub(&mut self, taken: Taken) {
        for item in &mut self.next {
            if let Item::Event(frame) = item
                && let Some(without) = frame.without(taken)
            {
                *frame = without;
            }
        }
    }
}
