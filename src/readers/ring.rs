//! The newest events of one log as ready HTTP chunks, as far back as somebody still lacks them.

use std::{collections::VecDeque, io::Write};

use bytes::Bytes;

use crate::event::{Frame, Seq, Taken};

/// The end of a chunked body without trailers (RFC 9112 §7.1).
pub(crate) const END_OF_BODY: &[u8] = b"0\r\n\r\n";

/// Least step by which the memory of a ring grows, in bytes.
const STEP: usize = 4096;

/// Appends `block` as one chunk (RFC 9112 §7.1). An empty one would end the body and is left out.
pub(crate) fn put_chunk(into: &mut Vec<u8>, block: &[u8]) {
    if !block.is_empty() {
        write!(into, "{:x}\r\n", block.len()).expect("a Vec takes everything");
        into.extend_from_slice(block);
        into.extend_from_slice(b"\r\n");
    }
}

/// Bytes of the chunk that [`put_chunk`] makes of a block of `len` bytes.
pub(crate) fn chunk_len(len: usize) -> usize {
    let digits = (usize::BITS - len.leading_zeros()).div_ceil(4) as usize;
    if len == 0 { 0 } else { digits + 2 + len + 2 }
}

/// A contiguous run of chunks. Places in it are *offsets*: bytes since the ring was made, which stay what they
/// are when its beginning is given up. Only a deletion moves them.
pub struct Ring {
    bytes: Vec<u8>,
    /// How many of `bytes`, from their beginning, nobody lacks any more.
    dead: usize,
    /// Offset of the first byte after those.
    tail: u64,
    /// In order; the first may begin before `tail`.
    chunks: VecDeque<Chunk>,
    newest: Seq,
}

struct Chunk {
    at: u64,
    /// What it was made of; `None` for a block that is not in the log. A deletion needs it.
    frame: Option<Frame>,
}

/// A chunk that a deletion has changed, for those who have an offset to carry over.
pub(crate) struct Scrubbed {
    /// Offset at which the chunk began, and the old one at which it ended.
    at: u64,
    end: u64,
    /// What is left of the old chunk, which ends at `end`.
    old: Vec<u8>,
    /// Offset at which it ends now.
    new_end: u64,
}

impl Scrubbed {
    /// The same place in the changed ring. In the midst of the chunk: the place after it, and the rest of the
    /// old chunk, which must come first since its beginning has been sent.
    pub(crate) fn carry(&self, offset: u64) -> (u64, Option<Bytes>) {
        if offset >= self.end {
            (offset - self.end + self.new_end, None)
        } else if offset <= self.at {
            (offset, None)
        } else {
            let rest = self.old.len() - (self.end - offset) as usize;
            (self.new_end, Some(Bytes::copy_from_slice(&self.old[rest..])))
        }
    }
}

impl Ring {
    /// An empty ring of a log of which everybody has everything up to `newest`.
    pub fn new(newest: Seq) -> Self {
        Ring { bytes: Vec::new(), dead: 0, tail: 0, chunks: VecDeque::new(), newest }
    }

    /// The last event that was put in.
    pub fn newest(&self) -> Seq {
        self.newest
    }

    /// Offset of the first byte that is still here.
    pub fn tail(&self) -> u64 {
        self.tail
    }

    /// Offset after the last byte.
    pub fn head(&self) -> u64 {
        self.tail + self.len() as u64
    }

    /// Bytes from tail to head.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.dead
    }

    /// Is the tail at the head?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory for chunks, used or not.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Puts an event at the head, unless it is there already. The caller takes care of holes, and of what a
    /// deletion does to earlier ones.
    pub fn push(&mut self, frame: Frame) {
        if frame.cursor.seq > self.newest {
            self.newest = frame.cursor.seq;
            let block = frame.bytes().clone();
            self.put(&block, Some(frame));
        }
    }

    /// Puts a block at the head that is not in the log.
    pub fn push_aside(&mut self, block: &[u8]) {
        self.put(block, None);
    }

    fn put(&mut self, block: &[u8], frame: Option<Frame>) {
        if block.is_empty() {
            return;
        }
        let need = chunk_len(block.len());
        if self.bytes.capacity() - self.bytes.len() < need {
            self.compact();
            // By a quarter and not by doubling: a ring is at its largest when memory is short.
            self.bytes.reserve_exact(need.max(STEP).max(self.bytes.len() / 4));
        }
        self.chunks.push_back(Chunk { at: self.head(), frame });
        put_chunk(&mut self.bytes, block);
    }

    /// Everything from `offset` to the head.
    pub fn from(&self, offset: u64) -> &[u8] {
        &self.bytes[self.index(offset)..]
    }

    /// What a reader at `offset` needs to finish the chunk that it is in; nothing at a chunk's boundary.
    pub fn rest_of_chunk(&self, offset: u64) -> &[u8] {
        let next = self.chunks.partition_point(|chunk| chunk.at < offset);
        let end = self.chunks.get(next).map_or(self.head(), |chunk| chunk.at);
        &self.bytes[self.index(offset)..self.index(end)]
    }

    /// How many chunks end after `from` and not after `to`.
    pub fn chunks_between(&self, from: u64, to: u64) -> usize {
        let begun = |offset| self.chunks.partition_point(|chunk| chunk.at <= offset);
        begun(to) - begun(from) + usize::from(from < to && to == self.head())
    }

    /// Gives up what is before `offset`.
    pub fn trim(&mut self, offset: u64) {
        debug_assert!(self.tail <= offset && offset <= self.head(), "a trim to where the ring is not");
        self.dead = self.index(offset);
        self.tail = offset;
        if self.is_empty() {
            self.bytes.clear();
            self.dead = 0;
            self.chunks.clear();
            return;
        }
        let gone = self.chunks.partition_point(|chunk| chunk.at <= offset).saturating_sub(1);
        self.chunks.drain(..gone);
        if self.dead > self.bytes.len() / 2 {
            self.compact();
        }
    }

    /// Takes this out of all frames that have it: their chunks are made anew. `moved` is called for each, so that
    /// every offset into this ring can be carried over.
    pub(crate) fn scrub(&mut self, taken: Taken, mut moved: impl FnMut(&Scrubbed)) {
        let mut i = 0;
        while let Some(chunk) = self.chunks.get(i) {
            let Some(frame) = chunk.frame.as_ref().and_then(|frame| frame.without(taken)) else {
                i += 1;
                continue;
            };
            let (at, end) = (chunk.at, self.chunks.get(i + 1).map_or(self.head(), |next| next.at));
            // If its beginning has been given up, everybody is in its midst or beyond, and nobody will read it anew.
            let from = at.max(self.tail);
            let mut new = Vec::new();
            put_chunk(&mut new, frame.bytes());
            self.chunks[i].frame = Some(frame);
            let new_end = from + new.len() as u64;
            let range = self.index(from)..self.index(end);
            let old = self.bytes.splice(range, new).collect();
            i += 1;
            for later in self.chunks.range_mut(i..) {
                later.at = later.at - end + new_end;
            }
            moved(&Scrubbed { at, end, old, new_end });
        }
    }

    /// Gives the memory of an empty ring back.
    pub fn release(&mut self) {
        if self.is_empty() {
            self.bytes = Vec::new();
            self.chunks = VecDeque::new();
        }
    }

    fn compact(&mut self) {
        self.bytes.drain(..self.dead);
        self.dead = 0;
    }

    fn index(&self, offset: u64) -> usize {
        self.dead + (offset - self.tail) as usize
    }
}
