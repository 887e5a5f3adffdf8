//! The judge of order and completeness: CONTRACT.md §6, P1 to P7 and P11.
//!
//! A [`History`] holds what was done and seen in one room; [`check`] decides. It is pure: values in, verdict out, so
//! that the judge can be tried on histories that were made wrong by hand. What it decides:
//!
//! - **P1** every reader got the same bytes for the same cursor; seqs rise by one from a reader's start to its end
//!   unless a `gap` said otherwise, and never repeat, also across reconnections; acknowledgement order in real time
//!   is seq order; `ts` never goes back.
//! - **P2** what was acknowledged is in the log at the end, once, at its cursor, with its id and its text, and whoever
//!   reads to the end has it.
//! - **P5** a connection that asked for cursor n goes on at n+1.
//! - **P6** a person's `client_id` never makes two events, and all answers to it agree.
//! - **P11** a server that was told to end goes on as before for a while, answers, sends off its readers in order
//!   and spread over its window, and ends well and in time.
//!
//! Beside these it reports what it cannot help seeing: phantoms (P3), losses that no `gap` announced (P4), streams
//! and history that disagree (P7), and bytes that no maru server may send. An [`Inbox`] is held against the logs of
//! its rooms by [`check_inbox`].
//!
//! To extend it: a new promise is a module with a `fn(&History, &mut Findings)`, called from [`check`].

mod history;
mod inbox;
mod leaving;
mod log;
mod order;
mod speaking;

pub use history::{
    Ack, Act, Asked, Attempt, Clock, Drain, End, Gaps, History, Kept, Outcome, ReaderLog, Seen, Sight,
};
pub use inbox::{Inbox, InboxRoom, check_inbox};

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Violations kept of one history. The first is what matters; a few more show the pattern.
const KEPT: usize = 100;

/// The promises of CONTRACT.md §6 that have a say here.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Promise {
    /// Order.
    P1,
    /// No acknowledged loss.
    P2,
    /// No phantom.
    P3,
    /// No silent gap.
    P4,
    /// Exact resume.
    P5,
    /// Idempotent speaking.
    P6,
    /// One truth.
    P7,
    /// Only those who may see it.
    P9,
    /// Drain.
    P11,
    /// §4, the shape of a stream.
    Stream,
}

/// The rule that was broken.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// Two readers (or one, twice) got different bytes for one cursor.
    DifferentBytes,
    /// An event's JSON names another place than its id line.
    WrongPlace,
    /// A seq was left out and no `gap` said so.
    Hole,
    /// An event came twice to one reader.
    Repeat,
    /// An event came after a later one, without having come before.
    OutOfOrder,
    /// The epoch changed without a `gap`.
    SilentEpoch,
    /// A `gap` where nothing can have been lost, or over events that were kept.
    FalseGap,
    /// A `gap` moved an honest reader back.
    GapBack,
    /// A cursor that means nothing was answered without a `gap`.
    SilentBadCursor,
    /// `hello` starts elsewhere than the cursor that was asked for.
    ResumedElsewhere,
    /// An event before `hello`.
    NoHello,
    /// A reader that read to the end lacks the end.
    LacksTheEnd,
    /// An acknowledged event is not in the log at its cursor.
    Lost,
    /// Another id is at the acknowledged cursor.
    WrongId,
    /// Another text is at the acknowledged cursor.
    WrongText,
    /// One event is in the log twice.
    KeptTwice,
    /// The log itself has a hole or is out of order.
    LogBroken,
    /// `ts` went back.
    TimeWentBack,
    /// B was posted after A was acknowledged and stands before it.
    RealTimeOrder,
    /// Two answers to one `client_id` disagree.
    TwoAnswers,
    /// One `client_id` made two events.
    TwoEvents,
    /// Two POSTs were given the same event.
    SharedEvent,
    /// `duplicate: true` for the first of its `client_id`.
    FalseDuplicate,
    /// Something refused is in the log.
    RefusedButKept,
    /// A reader got an event that the log does not have.
    Phantom,
    /// Stream and log differ about an event.
    Disagreement,
    /// An inbox has an event of a room that its owner is not in, or of the time before.
    Foreign,
    /// A server that was told to end did not take a connection, though it had to for some time.
    NotTaken,
    /// It took a message and did not answer.
    NotAnswered,
    /// It was ready for longer than it takes to say so.
    StillReady,
    /// A reader's connection ended without `bye`.
    NoFarewell,
    /// Its readers were sent off all at once.
    AllAtOnce,
    /// It ended with another status than 0.
    EndedBadly,
    /// It had not ended when all its time was over.
    EndedLate,
    /// Bytes that a maru server must never send.
    Fault,
    /// The history contradicts itself: whoever wrote it down made a mistake, and nothing can be concluded.
    BadRecord,
}

/// What kinds come to, for whoever only wants to know how many.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Sort {
    /// What was acknowledged is not there, or is not what it was; or a reader never got it.
    Lost,
    /// The same thing twice.
    Repeated,
    /// In another order than it happened.
    Reordered,
    /// Something was left out and no `gap` said so.
    Hole,
    /// Whatever else must not be.
    Other,
}

impl Kind {
    /// What it comes to.
    #[must_use]
    pub fn sort(self) -> Sort {
        match self {
            Self::Lost | Self::WrongId | Self::WrongText | Self::LacksTheEnd => Sort::Lost,
            Self::Repeat
            | Self::KeptTwice
            | Self::TwoAnswers
            | Self::TwoEvents
            | Self::SharedEvent
            | Self::FalseDuplicate => Sort::Repeated,
            Self::OutOfOrder | Self::TimeWentBack | Self::RealTimeOrder | Self::GapBack => Sort::Reordered,
            Self::Hole | Self::SilentEpoch | Self::SilentBadCursor | Self::LogBroken => Sort::Hole,
            Self::DifferentBytes
            | Self::WrongPlace
            | Self::FalseGap
            | Self::ResumedElsewhere
            | Self::NoHello
            | Self::RefusedButKept
            | Self::Phantom
            | Self::Disagreement
            | Self::Foreign
            | Self::NotTaken
            | Self::NotAnswered
            | Self::StillReady
            | Self::NoFarewell
            | Self::AllAtOnce
            | Self::EndedBadly
            | Self::EndedLate
            | Self::Fault
            | Self::BadRecord => Sort::Other,
        }
    }
}

/// One broken promise, with what was around it.
#[derive(Clone, Debug)]
pub struct Violation {
    /// The promise.
    pub promise: Promise,
    /// The rule.
    pub kind: Kind,
    /// When it showed.
    pub at: Duration,
    /// What happened.
    pub what: String,
    /// What was seen or done around it, one line each.
    pub context: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { promise, kind, at, what, context } = self;
        match *at {
            Duration::MAX => write!(f, "{promise:?} broken ({kind:?}) at the end: {what}")?,
            at => write!(f, "{promise:?} broken ({kind:?}) at {:.6} s: {what}", at.as_secs_f64())?,
        }
        context.iter().try_for_each(|line| write!(f, "\n    {line}"))
    }
}

/// What was counted.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize)]
pub struct Counts {
    /// POSTs.
    pub attempts: usize,
    /// Of these, acknowledged.
    pub acknowledged: usize,
    /// Of these, with an unknown outcome.
    pub unknown: usize,
    /// Readers.
    pub readers: usize,
    /// Connections of readers.
    pub connections: usize,
    /// Entries of the log that readers got, in sum.
    pub deliveries: usize,
    /// `gap`s that readers got, in sum.
    pub gaps: usize,
    /// Entries of the log at the end.
    pub kept: usize,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.attempts += other.attempts;
        self.acknowledged += other.acknowledged;
        self.unknown += other.unknown;
        self.readers += other.readers;
        self.connections += other.connections;
        self.deliveries += other.deliveries;
        self.gaps += other.gaps;
        self.kept += other.kept;
    }
}

/// The outcome of [`check`].
#[derive(Clone, Default, Debug)]
pub struct Verdict {
    /// What was counted.
    pub counts: Counts,
    /// What was broken, earliest first (at most a hundred).
    pub violations: Vec<Violation>,
    /// How many were broken of each sort, all of them.
    pub found: BTreeMap<Sort, usize>,
}

impl Verdict {
    /// Whether every promise held.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.violations.is_empty()
    }

    /// The first violation.
    #[must_use]
    pub fn first(&self) -> Option<&Violation> {
        self.violations.first()
    }

    /// # Panics
    /// With the first violation, unless every promise held.
    pub fn assert_holds(&self) {
        assert!(self.holds(), "{self}");
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.violations.as_slice() {
            [] => write!(f, "all promises held: {:?}", self.counts),
            [first, rest @ ..] => write!(f, "{first}\n  ({} more; {:?})", rest.len(), self.counts),
        }
    }
}

/// Judges a history.
#[must_use]
pub fn check(history: &History) -> Verdict {
    let mut findings = Findings::default();
    let log = log::Log::read(history, &mut findings);
    order::check(history, &log, &mut findings);
    speaking::check(history, &log, &mut findings);
    leaving::check(history, &mut findings);
    findings.verdict(count(history))
}

/// What the rules found so far.
#[derive(Default)]
struct Findings(Vec<Violation>);

impl Findings {
    fn add(&mut self, promise: Promise, kind: Kind, at: Duration, what: String, context: Vec<String>) {
        self.0.push(Violation { promise, kind, at, what, context });
    }

    fn verdict(self, counts: Counts) -> Verdict {
        let mut violations = self.0;
        let mut found = BTreeMap::new();
        violations.iter().for_each(|v| *found.entry(v.kind.sort()).or_default() += 1);
        violations.sort_by_key(|v| v.at);
        violations.truncate(KEPT);
        Verdict { counts, violations, found }
    }
}

fn count(history: &History) -> Counts {
    let outcomes = |f: fn(&Outcome) -> bool| history.attempts.iter().filter(|a| f(&a.outcome)).count();
    let sights =
        |f: fn(&Sight) -> bool| history.readers.iter().flat_map(|r| &r.seen).filter(|s| f(&s.what)).count();
    Counts {
        attempts: history.attempts.len(),
        acknowledged: outcomes(|o| matches!(o, Outcome::Acknowledged(_))),
        unknown: outcomes(|o| matches!(o, Outcome::Unknown(_))),
        readers: history.readers.len(),
        connections: sights(|s| matches!(s, Sight::Connected(_))),
        deliveries: sights(|s| matches!(s, Sight::Event { .. })),
        gaps: sights(|s| matches!(s, Sight::Gap { .. })),
        kept: history.end.as_ref().map_or(0, Vec::len),
    }
}

#[cfg(test)]
mod tests;
