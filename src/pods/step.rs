//! What a pod does next, from what it sees: no clock, no connection.

use crate::{archive::Fence, log::Server};

/// What this pod has done so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Me {
    /// The generation that it works in.
    pub(crate) standing: Option<i64>,
    /// The last generation for which it gave back what it held.
    pub(crate) gave_back: i64,
}

/// How often a pod took up a generation, and how often of these it had been left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// Generations taken up.
    pub times: u64,
    /// Those that began without this pod.
    pub out: u64,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// All is as agreed.
    Stay,
    /// Take nothing, and look again.
    Wait,
    /// Work in the generation that the others agreed on.
    TakeUp {
        /// It began without this pod, which may hold and have shown what nobody else knows of.
        left_out: bool,
    },
    /// Give back, since somebody asked for it.
    GiveBack,
    /// See to it that all agree again.
    Recover,
}

/// What to do, being `me`, when the pods are at `fence` and this is what answers.
pub(super) fn next(me: &Me, fence: &Fence, server: Server) -> Step {
    if !fence.is_agreed {
        return Step::GiveBack;
    }
    match server {
        // It may be the same when it answers again; what is sent to it meanwhile fails by itself.
        Server::Silent if me.standing == Some(fence.generation) => Step::Stay,
        Server::Silent => Step::Wait,
        Server::Other => Step::Recover,
        Server::Same if me.standing == Some(fence.generation) => Step::Stay,
        Server::Same => {
            let gave = me.gave_back == fence.generation;
            Step::TakeUp { left_out: me.standing.is_some() && !gave }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fence(generation: i64, is_agreed: bool) -> Fence {
        Fence { generation, is_agreed, run_id: "run".into(), losses: 0 }
    }

    fn me(standing: Option<i64>, gave_back: i64) -> Me {
        Me { standing, gave_back }
    }

    #[test]
    fn what_was_agreed_on_is_kept() {
        assert_eq!(next(&me(Some(3), 3), &fence(3, true), Server::Same), Step::Stay);
        // It may come back as what it was.
        assert_eq!(next(&me(Some(3), 3), &fence(3, true), Server::Silent), Step::Stay);
    }

    #[test]
    fn nobody_works_with_another_server_than_the_one_agreed_on() {
        for standing in [None, Some(2), Some(3)] {
            assert_eq!(next(&me(standing, 2), &fence(3, true), Server::Other), Step::Recover);
        }
    }

    #[test]
    fn nothing_is_taken_while_it_is_not_agreed() {
        for server in [Server::Silent, Server::Same, Server::Other] {
            assert_eq!(next(&me(Some(3), 3), &fence(4, false), server), Step::GiveBack);
        }
        assert_eq!(next(&me(None, 0), &fence(3, true), Server::Silent), Step::Wait);
    }

    #[test]
    fn who_gave_back_goes_on_and_who_did_not_was_left_out() {
        let step = |me: &Me| next(me, &fence(4, true), Server::Same);
        assert_eq!(step(&me(Some(3), 4)), Step::TakeUp { left_out: false });
        assert_eq!(step(&me(Some(3), 3)), Step::TakeUp { left_out: true });
        // Who has just come was not there to be left out.
        assert_eq!(step(&me(None, 0)), Step::TakeUp { left_out: false });
    }
}
