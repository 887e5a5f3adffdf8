//! Places in a log.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::Refused;

/// Number of a log's life, from 1. It grows only when the store under the log lost a part for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u32);

/// Position in a log, from 1; 0 is *before the first*. Never goes back and is never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl Seq {
    /// The largest there may be: what a double holds exactly, since JSON's readers in browsers use doubles.
    pub const MAX: Seq = Seq((1 << 53) - 1);

    /// The position after this one.
    #[must_use]
    pub fn next(self) -> Seq {
        Seq(self.0 + 1)
    }

    /// The position before this one; 0 stays 0.
    #[must_use]
    pub fn before(self) -> Seq {
        Seq(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Seq {
    type Err = Refused;

    fn from_str(s: &str) -> Result<Self, Refused> {
        decimal(s)
            .map(Seq)
            .filter(|seq| *seq <= Seq::MAX)
            .ok_or(Refused("a seq is a decimal number below 2^53"))
    }
}

/// `<epoch>-<seq>`: the SSE `id:` of an event, and everything a reader needs to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cursor {
    /// Which life of the log.
    pub epoch: Epoch,
    /// The last event seen in it.
    pub seq: Seq,
}

impl Cursor {
    /// No place in any log, since epochs begin with 1: who comes back with it is told so.
    pub const NOWHERE: Cursor = Cursor { epoch: Epoch(0), seq: Seq(0) };

    /// `(epoch, seq)` in one.
    pub fn new(epoch: u32, seq: u64) -> Self {
        Cursor { epoch: Epoch(epoch), seq: Seq(seq) }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch.0, self.seq.0)
    }
}

impl FromStr for Cursor {
    type Err = Refused;

    fn from_str(s: &str) -> Result<Self, Refused> {
        const WRONG: Refused = Refused("a cursor is <epoch>-<seq>");
        let (epoch, seq) = s.split_once('-').ok_or(WRONG)?;
        let epoch = decimal(epoch).and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0).ok_or(WRONG)?;
        Ok(Cursor { epoch: Epoch(epoch), seq: seq.parse().map_err(|_| WRONG)? })
    }
}

impl Serialize for Cursor {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Digits only: no sign, no space, no leading zero, so that every number has one spelling.
fn decimal(s: &str) -> Option<u64> {
    let plain = !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit()) && (s == "0" || !s.starts_with('0'));
    plain.then(|| s.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_cursor_is_read_back_as_written(epoch in 1u32.., seq in 0..=Seq::MAX.0) {
            let cursor = Cursor::new(epoch, seq);
            prop_assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }

        #[test]
        fn every_cursor_has_one_spelling(s in "\\PC{0,12}|[0-9+ -]{0,12}") {
            if let Ok(cursor) = s.parse::<Cursor>() {
                prop_assert_eq!(cursor.to_string(), s);
            }
        }
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        let wrong = [
            "",
            "-",
            "1",
            "1-",
            "-1",
            "0-1",
            "01-1",
            "1-01",
            "+1-1",
            "1-+1",
            " 1-1",
            "1-1 ",
            "1-1-1",
            "1--1",
            "x-1",
            "4294967296-1",
            "1-9007199254740992",
            "1-99999999999999999999",
            "１-1",
            "1-1\0",
        ];
        for s in wrong {
            assert!(s.parse::<Cursor>().is_err(), "{s:?} was taken");
        }
    }
}
