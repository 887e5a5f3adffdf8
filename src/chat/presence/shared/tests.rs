//! Pods that share a room, on a server that does what the scripts do.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use proptest::{collection::vec, prelude::*};
use uuid::Uuid;

use super::*;
use crate::log::redis::presence::model::People;

const ROOM: RoomId = RoomId(Uuid::nil());
const PODS: usize = 3;
/// ms
const GRACE: u64 = 10_000;

fn id(n: u8) -> UserId {
    UserId(Uuid::from_u128(n.into()))
}

fn name(n: u8) -> Name {
    format!("p{n}").parse().unwrap()
}

fn pod(n: usize) -> Uuid {
    Uuid::from_u128(n as u128)
}

/// How a message to the server fares.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Answered,
    /// It is done, and the answer is lost.
    Unanswered,
    /// Part of it is done.
    Half,
    Lost,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Enter(usize, u8),
    /// The streams that somebody has on a pod, one of them.
    Leave(usize, u8),
    Rename(usize, u8),
    Tell(usize, Fate),
    Hear(usize),
    Pass(u64),
    /// A pod dies with all its streams; another takes its place.
    Die(usize),
    /// The others take a pod for dead that lives.
    Mistake(usize),
    /// The server forgets everything.
    Forget,
}

fn step(with_loss: bool) -> BoxedStrategy<Step> {
    let fate = prop_oneof![
        6 => Just(Fate::Answered), 1 => Just(Fate::Unanswered), 1 => Just(Fate::Half), 1 => Just(Fate::Lost)
    ];
    let usual = prop_oneof![
        6 => (0..PODS, 0..6u8).prop_map(|(pod, who)| Step::Enter(pod, who)),
        6 => (0..PODS, 0..6u8).prop_map(|(pod, who)| Step::Leave(pod, who)),
        1 => (0..PODS, 0..6u8).prop_map(|(pod, who)| Step::Rename(pod, who)),
        8 => (0..PODS, fate).prop_map(|(pod, fate)| Step::Tell(pod, fate)),
        6 => (0..PODS).prop_map(Step::Hear),
        4 => (0..8_000u64).prop_map(Step::Pass),
        1 => (0..PODS).prop_map(Step::Die),
    ];
    let loss = prop_oneof![Just(Step::Forget), (0..PODS).prop_map(Step::Mistake)];
    if with_loss { prop_oneof![20 => usual, 1 => loss].boxed() } else { usual.boxed() }
}

struct Pod {
    id: Uuid,
    shared: Shared,
    streams: Vec<u8>,
    on_the_way: VecDeque<Passed>,
}

impl Pod {
    fn new(n: usize) -> Self {
        let shared = Shared::new(Rules::default());
        Pod { id: pod(n), shared, streams: Vec::new(), on_the_way: VecDeque::new() }
    }
}

struct World {
    pods: Vec<Pod>,
    server: People,
    begun: Instant,
    now: u64,
    born: usize,
    /// What somebody believes who hears everything.
    believed: BTreeSet<UserId>,
    is_strict: bool,
}

impl World {
    fn new(is_strict: bool) -> Self {
        World {
            pods: (0..PODS).map(Pod::new).collect(),
            server: People::default(),
            begun: Instant::now(),
            now: 0,
            born: PODS,
            believed: BTreeSet::new(),
            is_strict,
        }
    }

    fn at(&self) -> Instant {
        self.begun + Duration::from_millis(self.now)
    }

    fn say(&mut self, passed: Option<Passed>) {
        let Some(passed) = passed else { return };
        for person in &passed.joined {
            assert!(self.believed.insert(person.id) || !self.is_strict, "{person:?} joined twice");
        }
        for person in &passed.left {
            assert!(self.believed.remove(&person.id) || !self.is_strict, "{person:?} left twice");
        }
        assert_eq!(passed.online, self.server.online(ROOM));
        for pod in &mut self.pods {
            pod.on_the_way.push_back(passed.clone());
        }
    }

    fn tell(&mut self, n: usize, fate: Fate) {
        let moves = self.pods[n].shared.take(ROOM, 4, Quiet::No);
        let done = match fate {
            Fate::Answered | Fate::Unanswered => moves.len(),
            Fate::Half => moves.len() / 2,
            Fate::Lost => 0,
        };
        let mut moved = Vec::new();
        for each in &moves[..done] {
            let (answer, passed) = self.server.apply(self.pods[n].id, each, self.now + GRACE);
            moved.push(answer);
            self.say(passed);
        }
        match fate {
            Fate::Answered => self.pods[n].shared.landed(&moved),
            _ => self.pods[n].shared.failed(),
        }
    }

    fn hear(&mut self, n: usize) {
        let now = self.at();
        if let Some(passed) = self.pods[n].on_the_way.pop_front() {
            self.pods[n].shared.hear(passed, now);
        }
    }

    fn pass(&mut self, ms: u64) {
        self.now += ms;
        let now = self.at();
        for pod in &mut self.pods {
            pod.shared.tick(now);
            assert!(pod.shared.due().is_none_or(|due| due > now));
        }
        let passed = self.server.reap(ROOM, self.now);
        self.say(passed);
    }

    fn step(&mut self, step: Step) {
        let now = self.at();
        match step {
            Step::Enter(n, who) => {
                self.pods[n].shared.enter(id(who), &name(who), UserKind::Guest);
                self.pods[n].streams.push(who);
            }
            Step::Leave(n, who) => {
                if let Some(at) = self.pods[n].streams.iter().position(|stream| *stream == who) {
                    self.pods[n].streams.swap_remove(at);
                    self.pods[n].shared.leave(id(who), now);
                }
            }
            Step::Rename(n, who) => {
                if !self.pods[n].shared.rename(id(who), &name(who + 10)) {
                    self.pods[n].shared.name(id(who), &name(who + 10));
                }
            }
            Step::Tell(n, fate) => self.tell(n, fate),
            Step::Hear(n) => self.hear(n),
            Step::Pass(ms) => self.pass(ms),
            Step::Die(n) => {
                let dead = std::mem::replace(&mut self.pods[n], Pod::new(self.born));
                self.born += 1;
                self.server.bury(ROOM, dead.id, self.now + GRACE);
            }
            Step::Mistake(n) => self.server.bury(ROOM, self.pods[n].id, self.now + GRACE),
            Step::Forget => {
                self.server = People::default();
                self.pods.iter_mut().for_each(|pod| pod.shared.restore());
            }
        }
    }

    /// All is told and heard, and what was taken for dead is noticed.
    fn settle(&mut self) {
        for _ in 0..2 {
            for n in 0..PODS {
                while self.pods[n].shared.is_waiting() {
                    self.tell(n, Fate::Answered);
                }
                if self.pods[n].shared.is_held() && !self.server.at.contains(&(self.pods[n].id, ROOM)) {
                    self.pods[n].shared.tell_again();
                }
            }
        }
        self.pass(GRACE + 6_000);
        for n in 0..PODS {
            while !self.pods[n].on_the_way.is_empty() {
                self.hear(n);
            }
            let (heard, online) = (self.pods[n].shared.heard(), self.server.online(ROOM));
            self.pods[n].shared.counted(online, heard);
        }
    }

    fn is_as_it_should_be(&mut self) -> Result<(), TestCaseError> {
        let streams = self.pods.iter().flat_map(|pod| pod.streams.iter().map(|who| id(*who)));
        let present: BTreeSet<UserId> = streams.collect();
        let known: BTreeSet<UserId> = self.server.here.keys().map(|(_, user)| *user).collect();
        prop_assert_eq!(&known, &present);
        let held = self.pods.iter().filter(|pod| !pod.streams.is_empty()).map(|pod| pod.id);
        prop_assert_eq!(self.server.pods(), held.collect());
        for pod in &mut self.pods {
            prop_assert_eq!(pod.shared.online(), present.len());
            prop_assert!((0..6).all(|who| pod.shared.is_settled(&id(who))));
            let here: BTreeSet<UserId> = pod.shared.people(99).iter().map(|user| user.id).collect();
            prop_assert_eq!(here, pod.streams.iter().map(|who| id(*who)).collect());
        }
        if self.is_strict {
            prop_assert_eq!(&self.believed, &present);
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_the_server_says_is_what_is_so(steps in vec(step(false), 0..120)) {
        let mut world = World::new(true);
        for step in steps {
            world.step(step);
        }
        world.settle();
        world.is_as_it_should_be()?;
    }

    #[test]
    fn a_server_that_forgot_is_told_again(steps in vec(step(true), 0..120)) {
        let mut world = World::new(false);
        for step in steps {
            world.step(step);
        }
        world.settle();
        world.is_as_it_should_be()?;
    }
}

#[test]
fn who_comes_and_goes_while_the_server_is_away_is_forgotten() {
    let mut shared = Shared::new(Rules::default());
    let now = Instant::now();
    for n in 0..10_000u32 {
        let user = UserId(Uuid::from_u128(n.into()));
        shared.enter(user, &name(0), UserKind::Guest);
        shared.leave(user, now);
    }
    assert!(shared.take(ROOM, usize::MAX, Quiet::No).len() <= WAITING + 1);
}

#[test]
fn nobody_hears_who_was_there_before_the_server_forgot() {
    let mut world = World::new(true);
    world.step(Step::Enter(0, 1));
    world.step(Step::Enter(1, 2));
    world.settle();
    assert_eq!(world.believed.len(), 2);
    world.step(Step::Forget);
    world.step(Step::Leave(1, 2));
    world.settle();
    // Who left in between left once, and the others did not come again.
    assert_eq!(world.believed, [id(1)].into());
    world.is_as_it_should_be().unwrap();
}
