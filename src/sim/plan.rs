//! What a run is: who takes part, and what is done to whom. All of it follows from the seed.

use std::{fmt, time::Duration};

use super::{mysql::Trouble, redis::Kept, time::Rng};
use crate::log::Ack;

/// One run.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) pods: usize,
    pub(super) rooms: usize,
    pub(super) speakers: usize,
    pub(super) readers: usize,
    /// What each speaker has to say.
    pub(super) messages: usize,
    pub(super) ack: Ack,
    /// Redis carries what pods say to each other, and not NATS.
    pub(super) by_redis: bool,
    /// Events that a room keeps in Redis.
    pub(super) kept: u64,
    /// The end is waited for until presence has come to rest.
    pub(super) presence: bool,
    pub(super) deeds: Vec<Deed>,
}

/// Something that is done to somebody.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deed {
    pub(super) at: Duration,
    /// Until it is over.
    pub(super) until: Duration,
    pub(super) what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Another pod takes its place afterwards.
    KillPod(usize),
    /// It stands still, and goes on as if nothing had been.
    StopPod(usize),
    KillRedis(Kept),
    FlushRedis,
    HangRedis,
    CutRedis(usize),
    /// The way on which it hears the others.
    CutEar(usize),
    CutMySql(usize),
    /// Everything that goes to it and comes from it takes so much longer.
    Drag(usize, Duration),
    /// Once in so many times what is published reaches somebody not.
    Lose(u64),
    MySql(Trouble),
    HangMySql,
    KillMySql,
    /// Its clock goes by so many ms more.
    Clock(usize, i64),
    /// A reader is shut out of their room, by way of a pod.
    Ban(usize, usize),
}

impl Plan {
    pub(super) fn of(seed: u64) -> Self {
        let rng = Rng::of(seed, 0);
        let pods = rng.index(2) + 2;
        let readers = rng.index(3) + 2;
        let mut plan = Plan {
            seed,
            pods,
            rooms: rng.index(2) + 1,
            speakers: rng.index(3) + 2,
            readers,
            messages: rng.index(10) + 5,
            ack: if rng.one_in(4) { Ack::Stored } else { Ack::Buffered },
            by_redis: !rng.one_in(3),
            kept: [3, 10, 200][rng.index(3)],
            presence: rng.one_in(4),
            deeds: Vec::new(),
        };
        for _ in 0..rng.index(6) {
            let at = rng.millis(500, 14_000);
            let what = plan.draw(&rng);
            let until = at + what.time(&rng);
            plan.deeds.push(Deed { at, until, what });
        }
        if rng.one_in(6) {
            let deeds = if rng.one_in(3) { 2 } else { 3 };
            plan.deeds.extend(&plan.storm(&rng)[..deeds]);
        }
        plan.deeds.sort_by_key(|deed| deed.at);
        plan
    }

    /// Everything at once: only what the archive has is sure to be there afterwards.
    fn storm(&self, rng: &Rng) -> [Deed; 3] {
        let at = rng.millis(1000, 9000);
        let deed = |at: Duration, time: Duration, what| Deed { at, until: at + time, what };
        let later = |from, to| at + rng.millis(from, to);
        let archive = if rng.one_in(2) { What::HangMySql } else { What::KillMySql };
        let redis =
            What::KillRedis(if rng.one_in(2) { Kept::Nothing } else { Kept::Older(rng.millis(500, 3000)) });
        [
            deed(at, rng.millis(2000, 6000), archive),
            deed(later(200, 2000), rng.millis(200, 3000), What::KillPod(rng.index(self.pods))),
            deed(later(200, 2000), rng.millis(5, 1000), redis),
        ]
    }

    fn draw(&self, rng: &Rng) -> What {
        let pod = rng.index(self.pods);
        match rng.index(22) {
            0 | 1 => What::KillPod(pod),
            2 => What::StopPod(pod),
            3 | 4 => What::KillRedis(Kept::All),
            5 | 6 => What::KillRedis(Kept::Older(rng.millis(100, 2000))),
            7 => What::KillRedis(Kept::Nothing),
            8 => What::FlushRedis,
            9 => What::HangRedis,
            10 => What::CutRedis(pod),
            11 => What::CutEar(pod),
            12 => What::CutMySql(pod),
            13 => What::Drag(pod, rng.millis(20, 800)),
            14 | 15 => What::Lose(rng.range(2, 8)),
            16 => {
                let times = rng.range(1, 4);
                let slow = Trouble::Slow(rng.millis(50, 3000));
                What::MySql([Trouble::Fails(times), Trouble::Unknown(times), slow][rng.index(3)])
            }
            17 => What::HangMySql,
            18 => What::KillMySql,
            19 => What::Clock(pod, i64::try_from(rng.range(0, 4000)).unwrap_or(0) - 2000),
            _ => What::Ban(rng.index(self.readers), pod),
        }
    }

    /// When everything that is done is over.
    pub(super) fn healed(&self) -> Duration {
        self.deeds.iter().map(|deed| deed.until).max().unwrap_or_default()
    }

    /// Has nothing been amiss for so long before this moment?
    pub(super) fn is_calm(&self, at: Duration, since: Duration) -> bool {
        let from = at.saturating_sub(since);
        self.deeds.iter().filter(|deed| deed.what.is_harm()).all(|deed| deed.at > at || deed.until < from)
    }

    /// May nobody know whether something is lost: has Redis another life, and is there another fault?
    pub(super) fn may_tear(&self) -> bool {
        self.meet(|what| matches!(what, What::FlushRedis | What::KillRedis(_)))
    }

    /// May something be lost: has Redis lost something, and is there another fault?
    pub(super) fn may_lose(&self) -> bool {
        self.meet(|what| matches!(what, What::FlushRedis | What::KillRedis(Kept::Older(_) | Kept::Nothing)))
    }

    /// Does this fault meet another?
    fn meet(&self, is_one: impl Fn(What) -> bool) -> bool {
        let other = |what: What| {
            matches!(
                what,
                What::KillPod(_)
                    | What::StopPod(_)
                    | What::CutRedis(_)
                    | What::CutMySql(_)
                    | What::HangMySql
                    | What::KillMySql
                    | What::MySql(_)
                    | What::Drag(..)
            )
        };
        self.deeds.iter().any(|deed| is_one(deed.what)) && self.deeds.iter().any(|deed| other(deed.what))
    }
}

impl What {
    fn time(self, rng: &Rng) -> Duration {
        match self {
            What::KillPod(_) => rng.millis(200, 6000),
            What::StopPod(_) => {
                if rng.one_in(2) {
                    rng.millis(100, 4000)
                } else {
                    rng.millis(9000, 16_000)
                }
            }
            What::KillRedis(_) => rng.millis(5, 3000),
            What::HangRedis | What::HangMySql => rng.millis(200, 9000),
            What::KillMySql => rng.millis(200, 6000),
            What::FlushRedis | What::Clock(..) | What::Ban(..) => Duration::ZERO,
            What::CutRedis(_) | What::CutEar(_) | What::Drag(..) | What::Lose(_) => rng.millis(50, 4000),
            What::CutMySql(_) | What::MySql(_) => rng.millis(200, 6000),
        }
    }

    fn is_harm(self) -> bool {
        !matches!(self, What::Ban(..) | What::Clock(..))
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let carrier = if self.by_redis { "Redis" } else { "NATS" };
        writeln!(
            f,
            "{} pods over {carrier}, answers when {:?}; {} rooms that keep {} in Redis; {} speakers with {} things to say, {} readers",
            self.pods, self.ack, self.rooms, self.kept, self.speakers, self.messages, self.readers
        )?;
        for Deed { at, until, what } in &self.deeds {
            write!(f, "  {:7.3} s  {what:?}", at.as_secs_f64())?;
            match until > at {
                true => writeln!(f, ", until {:.3} s", until.as_secs_f64())?,
                false => writeln!(f)?,
            }
        }
        Ok(())
    }
}
