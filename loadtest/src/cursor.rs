//! `<epoch>-<seq>`: where a reader is in a room's log.
//!
//! The server has a type of its own for this. The checker does not borrow it: a judge who reads with the
//! accused's eyes sees the accused's mistakes as truth.

use std::fmt;
use std::str::FromStr;

/// A place in a room's log. Ordered by epoch first, then by seq.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Cursor {
    /// Number of the log's life; it grows only when the log lost a part that could not be given back.
    pub epoch: u64,
    /// Position in this life of the log: 1, 2, 3 …; 0 is the place before the first event.
    pub seq: u64,
}

impl Cursor {
    /// The cursor `epoch-seq`.
    #[must_use]
    pub const fn new(epoch: u64, seq: u64) -> Self {
        Self { epoch, seq }
    }

    /// The place of the event that comes after this one in the same epoch.
    #[must_use]
    pub const fn next(self) -> Self {
        Self { epoch: self.epoch, seq: self.seq + 1 }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.seq)
    }
}

/// The text was no cursor in its one accepted spelling.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NotACursor(pub String);

impl fmt::Display for NotACursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not a cursor (<epoch>-<seq>)", self.0)
    }
}

impl std::error::Error for NotACursor {}

impl FromStr for Cursor {
    type Err = NotACursor;

    /// Takes the spelling that a server sends and no other: digits, one `-`, no sign, no leading zero.
    fn from_str(text: &str) -> Result<Self, NotACursor> {
        let fail = || NotACursor(text.chars().take(80).collect());
        let (epoch, seq) = text.split_once('-').ok_or_else(fail)?;
        let cursor = Self { epoch: number(epoch).ok_or_else(fail)?, seq: number(seq).ok_or_else(fail)? };
        Ok(cursor)
    }
}

fn number(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_spelling_is_a_cursor() {
        assert_eq!("1-42".parse(), Ok(Cursor::new(1, 42)));
        assert_eq!("3-0".parse(), Ok(Cursor::new(3, 0)));
        for bad in
            ["", "-", "1-", "-1", "1-01", "+1-2", "1--2", "1-2 ", "1-2-3", "1", "1-99999999999999999999"]
        {
            assert!(bad.parse::<Cursor>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_later_epoch_is_later_whatever_its_seq() {
        assert!(Cursor::new(2, 1) > Cursor::new(1, 900));
        assert_eq!(Cursor::new(1, 7).next().to_string(), "1-8");
    }
}
