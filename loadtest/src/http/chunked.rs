//! Chunked transfer coding (RFC 9112 §7.1), incremental and without I/O.

/// Longest size line that is believed (bytes): 16 hex digits.
const SIZE_DIGITS: u8 = 16;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// In the digits of a size line.
    Size {
        value: u64,
        digits: u8,
    },
    /// After the CR of a size line.
    SizeEnd {
        value: u64,
    },
    /// In the bytes of a chunk.
    Data {
        left: u64,
    },
    /// After the bytes of a chunk; before its CR.
    DataEnd,
    /// After that CR.
    DataEndCr,
    /// After the last chunk; before the CR that ends the body.
    Last,
    /// After that CR.
    LastCr,
    Done,
}

const START: State = State::Size { value: 0, digits: 0 };

/// Takes the chunks' frames away. Stricter than the RFC: no extensions and no trailers, which maru never sends.
#[derive(Clone, Debug)]
pub struct ChunkedDecoder {
    state: State,
    chunks: u64,
}

impl Default for ChunkedDecoder {
    fn default() -> Self {
        Self::new()
    }
}

impl ChunkedDecoder {
    /// A decoder at the start of a body.
    #[must_use]
    pub const fn new() -> Self {
        Self { state: START, chunks: 0 }
    }

    /// Decodes `input` onto the end of `out` and returns how many bytes of it belong to this body: all of them
    /// until the body is over, and none after.
    ///
    /// # Errors
    /// The malformation, in words; nothing useful can follow it.
    pub fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, String> {
        self.feed_each(input, |piece| out.extend_from_slice(piece))
    }

    /// As [`Self::feed`], giving the decoded pieces to a function instead of copying them.
    ///
    /// # Errors
    /// As [`Self::feed`].
    pub fn feed_each(&mut self, input: &[u8], mut each: impl FnMut(&[u8])) -> Result<usize, String> {
        let mut at = 0;
        while at < input.len() && self.state != State::Done {
            let byte = input[at];
            self.state = match (self.state, byte) {
                (State::Data { left }, _) => {
                    let n = usize::try_from(left).unwrap_or(usize::MAX).min(input.len() - at);
                    each(&input[at..at + n]);
                    at += n;
                    let left = left - n as u64;
                    self.state = if left == 0 { State::DataEnd } else { State::Data { left } };
                    continue;
                }
                (State::Size { value, digits }, _) if byte.is_ascii_hexdigit() && digits < SIZE_DIGITS => {
                    let digit = u64::from((byte as char).to_digit(16).unwrap_or_default());
                    State::Size { value: value << 4 | digit, digits: digits + 1 }
                }
                (State::Size { value, digits: 1.. }, b'\r') => State::SizeEnd { value },
                (State::SizeEnd { value: 0 }, b'\n') => State::Last,
                (State::SizeEnd { value }, b'\n') => {
                    self.chunks += 1;
                    State::Data { left: value }
                }
                (State::DataEnd, b'\r') => State::DataEndCr,
                (State::DataEndCr, b'\n') => START,
                (State::Last, b'\r') => State::LastCr,
                (State::LastCr, b'\n') => State::Done,
                (state, _) => {
                    let near = String::from_utf8_lossy(&input[at..input.len().min(at + 40)]).into_owned();
                    return Err(format!("chunk {}: {near:?} in {state:?}", self.chunks));
                }
            };
            at += 1;
        }
        Ok(at)
    }

    /// Whether the last chunk and the end after it have been seen.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether the stream is between two chunks: an end here cuts none.
    #[must_use]
    pub fn is_between_chunks(&self) -> bool {
        self.state == START || self.state == State::Done
    }

    /// How many chunks have begun, the last empty one not counted.
    #[must_use]
    pub fn chunks(&self) -> u64 {
        self.chunks
    }
}
