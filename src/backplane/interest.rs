//! What this pod listens to, and what the server is still to be told of it. No I/O, and time is an argument.
//!
//! Whoever drives it asks for the [`next`](Interest::next) step, takes it, and says how it went, one step at a
//! time: so a `subscribe` that comes after an `unsubscribe` reaches the server after it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    mem,
    time::{Duration, Instant},
};

use crate::event::LogId;

/// How long a log that nobody listens to is kept: readers who go often come back within it.
pub(super) const LINGER: Duration = Duration::from_secs(1);
/// Logs told to the server at once: about 50 KB of channel names.
const STEP: usize = 1000;

/// Something to tell the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Begin with these.
    Subscribe(Vec<LogId>),
    /// Have done with these.
    Unsubscribe(Vec<LogId>),
}

/// What is listened to.
#[derive(Debug, Default)]
pub(super) struct Interest {
    logs: HashMap<LogId, State>,
    /// Logs that the server is to be told of, in the order in which they were wanted.
    missing: BTreeMap<Turn, LogId>,
    /// When to forget what nobody wants; empty or not, as `leaves` in each state.
    lingering: BTreeSet<(Instant, LogId)>,
    last_turn: Turn,
    /// Something may have been missed that came before everything up to this turn was subscribed.
    owed: Option<Turn>,
}

/// Numbers in the queue of what is missing.
type Turn = u64;

#[derive(Debug)]
struct State {
    at_server: AtServer,
    /// Nobody wants it: forgotten then.
    leaves: Option<Instant>,
}

#[derive(Debug, PartialEq, Eq)]
enum AtServer {
    Missing(Turn),
    Asked,
    Subscribed,
}

impl Interest {
    /// Somebody listens to the log. True when the server knows already.
    pub(super) fn want(&mut self, log: LogId) -> bool {
        if let Some(state) = self.logs.get_mut(&log) {
            if let Some(due) = state.leaves.take() {
                self.lingering.remove(&(due, log));
            }
            return state.at_server == AtServer::Subscribed;
        }
        let at_server = self.queue(log);
        self.logs.insert(log, State { at_server, leaves: None });
        false
    }

    /// Nobody listens to the log any more.
    pub(super) fn leave(&mut self, log: LogId, now: Instant) {
        if let Some(state) = self.logs.get_mut(&log)
            && state.leaves.is_none()
        {
            state.leaves = Some(now + LINGER);
            self.lingering.insert((now + LINGER, log));
        }
    }

    /// Is it listened to, be it only lingering?
    pub(super) fn has(&self, log: LogId) -> bool {
        self.logs.contains_key(&log)
    }

    /// Does the server know?
    pub(super) fn is_subscribed(&self, log: LogId) -> bool {
        self.logs.get(&log).is_some_and(|state| state.at_server == AtServer::Subscribed)
    }

    /// Logs listened to, lingering ones included.
    pub(super) fn len(&self) -> usize {
        self.logs.len()
    }

    /// When there will be something to do, though nobody calls.
    pub(super) fn due(&self) -> Option<Instant> {
        self.lingering.first().map(|&(due, _)| due)
    }

    /// What to tell the server now. To be followed by [`done`](Self::done), [`failed`](Self::failed) or
    /// [`lost`](Self::lost) before the next.
    pub(super) fn next(&mut self, now: Instant) -> Option<Step> {
        let gone = self.forget(now);
        if !gone.is_empty() {
            return Some(Step::Unsubscribe(gone));
        }
        let mut wanted = Vec::new();
        while wanted.len() < STEP
            && let Some((_, log)) = self.missing.pop_first()
        {
            self.logs.get_mut(&log).expect("what is missing is listened to").at_server = AtServer::Asked;
            wanted.push(log);
        }
        (!wanted.is_empty()).then_some(Step::Subscribe(wanted))
    }

    /// Forgets what has lingered long enough; gives what the server knows of that.
    fn forget(&mut self, now: Instant) -> Vec<LogId> {
        let mut gone = Vec::new();
        while gone.len() < STEP
            && let Some(&(due, log)) = self.lingering.first()
            && due <= now
        {
            self.lingering.pop_first();
            match self.logs.remove(&log).expect("what lingers is listened to").at_server {
                AtServer::Missing(turn) => _ = self.missing.remove(&turn),
                AtServer::Asked | AtServer::Subscribed => gone.push(log),
            }
        }
        gone
    }

    /// The server has answered.
    pub(super) fn done(&mut self, step: &Step) {
        if let Step::Subscribe(logs) = step {
            for log in logs {
                self.logs.get_mut(log).expect("forgotten only between steps").at_server =
                    AtServer::Subscribed;
            }
        }
    }

    /// The server has not answered: what was wanted is wanted still.
    pub(super) fn failed(&mut self, step: &Step) {
        if let Step::Subscribe(logs) = step {
            for &log in logs {
                let at_server = self.queue(log);
                self.logs.get_mut(&log).expect("forgotten only between steps").at_server = at_server;
            }
            self.owed = self.owed.map(|_| self.last_turn);
        }
    }

    /// The server knows nothing any more, and something may have been missed.
    pub(super) fn lost(&mut self) {
        self.missing.clear();
        let logs: Vec<LogId> = self.logs.keys().copied().collect();
        for log in logs {
            let at_server = self.queue(log);
            self.logs.get_mut(&log).expect("it was there just now").at_server = at_server;
        }
        self.owe();
    }

    /// Something may have been missed.
    pub(super) fn owe(&mut self) {
        self.owed = Some(self.last_turn);
    }

    /// Between steps: true once when something may have been missed and all that was wanted at that time is
    /// subscribed.
    pub(super) fn settle(&mut self) -> bool {
        let is_whole = match (self.owed, self.missing.first_key_value()) {
            (Some(owed), Some((&first, _))) => first > owed,
            (Some(_), None) => true,
            (None, _) => false,
        };
        is_whole && mem::take(&mut self.owed).is_some()
    }

    fn queue(&mut self, log: LogId) -> AtServer {
        self.last_turn += 1;
        self.missing.insert(self.last_turn, log);
        AtServer::Missing(self.last_turn)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Act {
        Want(u8),
        Leave(u8),
        Wait(u16),
        /// One step that the server answers.
        Step,
        /// One step that it does not answer, the link being whole.
        Fail,
        /// The link is cut, perhaps in the middle of a step.
        Cut(bool),
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let act = prop_oneof![
            4 => (0..6u8).prop_map(Act::Want),
            4 => (0..6u8).prop_map(Act::Leave),
            2 => (0..1500u16).prop_map(Act::Wait),
            4 => Just(Act::Step),
            1 => Just(Act::Fail),
            1 => any::<bool>().prop_map(Act::Cut),
        ];
        prop::collection::vec(act, 0..60)
    }

    fn log(n: u8) -> LogId {
        LogId(Uuid::from_u128(n.into()))
    }

    /// The naive model: who is wanted, and until when what is not wanted stays.
    #[derive(Default)]
    struct Model {
        kept: HashMap<LogId, Option<Instant>>,
        server: HashSet<LogId>,
        /// What has to be at the server before `settle` may be true.
        owed: Option<HashSet<LogId>>,
    }

    impl Model {
        fn wants(&self, log: LogId) -> bool {
            self.kept.get(&log).is_some_and(Option::is_none)
        }

        fn take(&mut self, step: &Step) {
            match step {
                Step::Subscribe(logs) => logs.iter().for_each(|&log| {
                    assert!(self.server.insert(log), "subscribed twice");
                }),
                Step::Unsubscribe(logs) => logs.iter().for_each(|log| {
                    assert!(!self.wants(*log), "unsubscribed what is wanted");
                    assert!(self.server.remove(log), "unsubscribed what is not there");
                }),
            }
        }

        fn check(&mut self, interest: &mut Interest) {
            for n in 0..6 {
                assert!(!interest.is_subscribed(log(n)) || self.server.contains(&log(n)));
            }
            if interest.settle() {
                let owed = self.owed.take().expect("it is owed");
                assert!(owed.is_subset(&self.server), "told too early");
            }
        }
    }

    proptest! {
        #[test]
        fn the_server_comes_to_know_exactly_what_is_wanted(acts in acts()) {
            let (mut interest, mut model) = (Interest::default(), Model::default());
            let mut now = Instant::now();
            for act in acts {
                match act {
                    Act::Want(n) => {
                        interest.want(log(n));
                        model.kept.insert(log(n), None);
                    }
                    Act::Leave(n) => {
                        interest.leave(log(n), now);
                        if model.wants(log(n)) {
                            model.kept.insert(log(n), Some(now + LINGER));
                        }
                        if let Some(owed) = &mut model.owed {
                            owed.remove(&log(n));
                        }
                    }
                    Act::Wait(ms) => now += Duration::from_millis(ms.into()),
                    Act::Step => {
                        if let Some(step) = interest.next(now) {
                            model.take(&step);
                            interest.done(&step);
                        }
                    }
                    Act::Fail => match interest.next(now) {
                        Some(step @ Step::Subscribe(_)) => interest.failed(&step),
                        // These take no answer to be true.
                        Some(step) => model.take(&step),
                        None => {}
                    },
                    Act::Cut(in_a_step) => {
                        if in_a_step {
                            _ = interest.next(now);
                        }
                        interest.lost();
                        model.server.clear();
                        let wanted = model.kept.keys().copied().filter(|&log| model.wants(log));
                        model.owed = Some(wanted.collect());
                    }
                }
                model.check(&mut interest);
            }
            while let Some(step) = interest.next(now) {
                model.take(&step);
                interest.done(&step);
                model.check(&mut interest);
            }
            model.check(&mut interest);
            model.kept.retain(|_, leaves| leaves.is_none_or(|due| due > now));
            prop_assert_eq!(&model.server, &model.kept.keys().copied().collect::<HashSet<_>>());
            prop_assert_eq!(interest.len(), model.kept.len());
            prop_assert_eq!(interest.due(), model.kept.values().copied().flatten().min());
            prop_assert!(model.owed.is_none(), "what is owed is told in the end");
        }
    }

    #[test]
    fn missed_does_not_wait_for_what_was_wanted_after_the_cut() {
        let (mut interest, now) = (Interest::default(), Instant::now());
        interest.want(log(1));
        interest.lost();
        let step = interest.next(now).expect("there is one");
        interest.want(log(2));
        assert!(!interest.is_subscribed(log(1)));
        interest.done(&step);
        assert!(interest.settle());
        assert!(!interest.settle());
    }
}
