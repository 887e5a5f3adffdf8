//! Faults that the tests put in, to see that the checker finds them.
//!
//! Only a build with the feature `faults` has them, chosen by `MARU_FAULT`, and the simulator, which chooses one for each
//! run; in every other build [`is_on`] is a constant `false`, and what depends on it is not there.

/// A way to break a promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// P2: answer, and tell readers, before the commit.
    AnswerBeforeCommit,
    /// P5: resume one event too late.
    ResumeOffByOne,
    /// P5: what is said between the end of the replay and the hand-over is not given.
    NoSeam,
    /// P4: what the backplane lost is not read from the log.
    NoRepair,
    /// P7: the log is trimmed before the archive has it.
    BlindTrimming,
    /// P2: nobody gives back what a Redis that came back with less has lost.
    NoFence,
    /// Section 3: a deletion leaves the text in the memory that replays are served from.
    NoScrub,
    /// P9: bans that were said while a pod could not ask for them are never asked for again.
    MissedBans,
}

#[cfg(any(test, feature = "faults"))]
impl Fault {
    /// All there are.
    pub const ALL: [Fault; 8] = [
        Fault::AnswerBeforeCommit,
        Fault::ResumeOffByOne,
        Fault::NoSeam,
        Fault::NoRepair,
        Fault::BlindTrimming,
        Fault::NoFence,
        Fault::NoScrub,
        Fault::MissedBans,
    ];
}

/// Is this the fault that was chosen?
#[cfg(test)]
pub fn is_on(fault: Fault) -> bool {
    CHOSEN.get() == Some(fault)
}

#[cfg(test)]
thread_local! {
    static CHOSEN: std::cell::Cell<Option<Fault>> = const { std::cell::Cell::new(None) };
}

/// Chooses a fault, or none, for this thread.
#[cfg(test)]
pub(crate) fn choose(fault: Option<Fault>) {
    CHOSEN.set(fault);
}

/// Is this the fault that was chosen?
#[cfg(all(feature = "faults", not(test)))]
pub fn is_on(fault: Fault) -> bool {
    static CHOSEN: std::sync::LazyLock<Option<Fault>> = std::sync::LazyLock::new(|| {
        let name = std::env::var("MARU_FAULT").ok()?;
        let chosen = Fault::ALL.into_iter().find(|fault| format!("{fault:?}") == name);
        Some(chosen.unwrap_or_else(|| panic!("there is no fault {name}")))
    });
    *CHOSEN == Some(fault)
}

/// There are no faults in this build.
#[cfg(not(any(test, feature = "faults")))]
pub const fn is_on(_fault: Fault) -> bool {
    false
}
