//! Everything there is in one run: servers, pods, and what was noted of them.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use super::{
    link::Host,
    mysql::{MySql, Trouble},
    people,
    plan::{Deed, Plan, What},
    pod::Pod,
    redis::{Kept, Redis},
    time::{Group, Rng, Time},
};
use crate::{
    event::{Ban, Banned, Entry, Frame, LogId, Room, RoomId, Slug, User, UserId, UserKind},
    identity::Seal,
    log::{Ack, Notice, Passed, Placed},
};

/// When a run begins, in ms since 1970: late in a day, so that keys are looked for in two.
const BEGIN_MS: i64 = 1_735_689_590_000;

static SEAL: LazyLock<Arc<Seal>> =
    LazyLock::new(|| Arc::new(Seal::new(&[b"a secret of the simulator".to_vec()])));
/// What `Instant`s are counted from.
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// How the links of a pod are just now.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Links {
    pub(super) redis_cut: bool,
    pub(super) ear_cut: bool,
    pub(super) mysql_cut: bool,
    pub(super) drag: Duration,
    /// By how many ms its clock is wrong.
    pub(super) skew: i64,
}

/// Who listens to what.
struct Subscriber {
    pod: Rc<Pod>,
    life: u64,
    breaks: u64,
    logs: BTreeSet<LogId>,
}

/// What is looked at in the end.
#[derive(Default)]
pub(super) struct Note {
    pub(super) fences: u64,
    pub(super) left_out: u64,
    /// What was answered for as stored.
    pub(super) stored: Vec<(usize, Placed)>,
    /// What Redis said of people.
    pub(super) passed: Vec<(Duration, RoomId, Passed)>,
    /// Who was shut out of which room, and since when that was so by its answer.
    pub(super) bans: Vec<(usize, UserId, Duration)>,
}

pub(super) struct World {
    pub(super) time: Time,
    pub(super) plan: Plan,
    pub(super) redis: Rc<Redis>,
    pub(super) mysql: Rc<MySql>,
    nats: Rc<Host>,
    /// The present life of each pod.
    pub(super) pods: RefCell<Vec<Option<Rc<Pod>>>>,
    pub(super) links: RefCell<Vec<Links>>,
    groups: Cell<Group>,
    lives: Cell<u64>,
    subscribers: RefCell<BTreeMap<Group, Subscriber>>,
    loses: Cell<u64>,
    rng: Rng,
    pub(super) rooms: Vec<Room>,
    pub(super) partitions: BTreeSet<u8>,
    pub(super) note: RefCell<Note>,
    pub(super) seal: Arc<Seal>,
    pub(super) epoch: Instant,
}

/// Somebody who takes part.
pub(super) fn user(n: usize) -> User {
    User {
        id: UserId(uuid::Uuid::from_u128(0xabc0 + n as u128)),
        name: format!("Person {n}").parse().expect("it is a name"),
        kind: UserKind::Member,
    }
}

impl World {
    pub(super) fn new(plan: &Plan) -> Rc<Self> {
        let time = Time::new(plan.seed);
        let rooms: Vec<Room> = (0..plan.rooms)
            .map(|n| Room::from(&format!("room{n}").parse::<Slug>().expect("it is a slug")))
            .collect();
        let partitions: BTreeSet<u8> = rooms.iter().map(|room| LogId::from(room.id).partition()).collect();
        let world = Rc::new(World {
            redis: Redis::new(&time, &partitions, plan.kept),
            mysql: MySql::new(&time, plan.seed),
            time,
            plan: plan.clone(),
            nats: Rc::new(Host::new()),
            pods: RefCell::new((0..plan.pods).map(|_| None).collect()),
            links: RefCell::new(vec![Links::default(); plan.pods]),
            groups: Cell::new(0),
            lives: Cell::new(1),
            subscribers: RefCell::default(),
            loses: Cell::new(0),
            rng: Rng::of(plan.seed, 3),
            rooms,
            partitions,
            note: RefCell::default(),
            seal: Arc::clone(&SEAL),
            epoch: *EPOCH,
        });
        (0..plan.pods).for_each(|n| world.start(n));
        for deed in &plan.deeds {
            if let What::KillRedis(Kept::Older(by)) = deed.what {
                let (redis, copy) =
                    (Rc::clone(&world.redis), world.time.sleep_until(deed.at.saturating_sub(by)));
                world.time.spawn(0, async move {
                    copy.await;
                    redis.copy();
                });
            }
            world.time.spawn(0, Rc::clone(&world).act(*deed));
        }
        world
    }

    /// Lets go of everything, which holds on to each other.
    pub(super) fn end(&self) {
        self.subscribers.borrow_mut().clear();
        self.pods.borrow_mut().clear();
        (0..=self.groups.get()).for_each(|group| self.time.kill(group));
    }

    /// The time of day, in ms since 1970.
    pub(super) fn millis(&self) -> i64 {
        BEGIN_MS + self.redis.millis()
    }

    pub(super) fn pod(&self, number: usize) -> Option<Rc<Pod>> {
        self.pods.borrow()[number].clone()
    }

    fn start(self: &Rc<Self>, number: usize) {
        self.groups.set(self.groups.get() + 1);
        let pod = Pod::start(self, number, self.groups.get());
        self.pods.borrow_mut()[number] = Some(pod);
    }

    fn kill(&self, number: usize) {
        let Some(pod) = self.pods.borrow_mut()[number].take() else { return };
        self.subscribers.borrow_mut().remove(&pod.group);
        self.time.kill(pod.group);
        self.mysql.lost(pod.group);
        pod.streams.forget();
    }

    /// Who carries what pods say to each other.
    pub(super) fn carrier(&self) -> Rc<Host> {
        if self.plan.by_redis { Rc::clone(&self.redis.host) } else { Rc::clone(&self.nats) }
    }

    pub(super) fn subscribe(&self, pod: &Rc<Pod>, life: u64, breaks: u64, logs: BTreeSet<LogId>) {
        let subscriber = Subscriber { pod: Rc::clone(pod), life, breaks, logs };
        self.subscribers.borrow_mut().insert(pod.group, subscriber);
    }

    pub(super) fn add_interest(&self, group: Group, log: LogId) {
        if let Some(subscriber) = self.subscribers.borrow_mut().get_mut(&group) {
            subscriber.logs.insert(log);
        }
    }

    /// The carrier gives it to everybody who listens to this log; some of it is lost on the way.
    pub(super) fn publish(&self, log: LogId, notice: &Notice) {
        let host = self.carrier();
        for Subscriber { pod, life, breaks, logs } in self.subscribers.borrow().values() {
            let (life, breaks, ear) = (*life, *breaks, Rc::clone(&pod.ear));
            let is_up = move |ear: &super::link::Link, host: &Host| {
                host.life.get() == life && ear.breaks() == breaks && !ear.is_cut()
            };
            let is_lost = self.loses.get() > 0 && self.rng.one_in(self.loses.get());
            if !logs.contains(&log) || is_lost || !is_up(&ear, &host) {
                continue;
            }
            let arrives = self.time.sleep_until(ear.arrival());
            let (pod, notice, host) = (Rc::clone(pod), notice.clone(), Rc::clone(&host));
            self.time.spawn(0, async move {
                arrives.await;
                if is_up(&ear, &host) {
                    pod.heard.push(notice);
                }
            });
        }
    }

    /// The script publishes an event.
    pub(super) fn publish_event(&self, entry: &Entry) {
        let said = Frame::new(&entry.event).said();
        if let Some(notice) = Notice::heard(entry.room.into(), &said) {
            self.publish(entry.room.into(), &notice);
        }
    }

    pub(super) fn say_of_people(&self, room: RoomId, passed: Option<Passed>) {
        let Some(passed) = passed else { return };
        self.note.borrow_mut().passed.push((self.time.now(), room, passed.clone()));
        let (log, notice) = people::said(room, passed);
        self.publish(log, &notice);
    }

    pub(super) fn note_stored(&self, room: usize, placed: Placed) {
        if placed.durability == Ack::Stored {
            self.note.borrow_mut().stored.push((room, placed));
        }
    }

    fn links_of(&self, number: usize, change: impl FnOnce(&mut Links)) {
        change(&mut self.links.borrow_mut()[number]);
        if let Some(pod) = self.pod(number) {
            pod.set_links();
        }
    }

    async fn act(self: Rc<Self>, deed: Deed) {
        self.time.sleep_until(deed.at).await;
        let next_life = || {
            self.lives.set(self.lives.get() + 1);
            self.lives.get()
        };
        let over = self.time.sleep_until(deed.until);
        match deed.what {
            What::KillPod(n) => {
                let killed = self.pod(n).map(|pod| pod.group);
                self.kill(n);
                over.await;
                if killed.is_some() && self.pod(n).is_none() {
                    self.start(n);
                }
            }
            What::StopPod(n) => {
                let Some(group) = self.pod(n).map(|pod| pod.group) else { return };
                self.time.stop(group);
                over.await;
                self.time.go_on(group);
            }
            What::KillRedis(kept) => {
                if self.redis.host.life.get() == 0 {
                    return;
                }
                self.redis.kill();
                over.await;
                self.redis.start(kept);
            }
            What::FlushRedis => self.redis.flush(),
            What::HangRedis => self.redis.host.hangs_until.set(deed.until),
            What::CutRedis(n) => {
                self.links_of(n, |links| links.redis_cut = true);
                over.await;
                self.links_of(n, |links| links.redis_cut = false);
            }
            What::CutEar(n) => {
                self.links_of(n, |links| links.ear_cut = true);
                over.await;
                self.links_of(n, |links| links.ear_cut = false);
            }
            What::CutMySql(n) => {
                self.links_of(n, |links| links.mysql_cut = true);
                over.await;
                self.links_of(n, |links| links.mysql_cut = false);
            }
            What::Drag(n, by) => {
                self.links_of(n, |links| links.drag = by);
                over.await;
                self.links_of(n, |links| links.drag = Duration::ZERO);
            }
            What::Lose(times) => {
                self.loses.set(times);
                over.await;
                self.loses.set(0);
            }
            What::MySql(trouble) => {
                self.mysql.trouble.set(trouble);
                over.await;
                self.mysql.trouble.set(Trouble::None);
            }
            What::HangMySql => self.mysql.host.hangs_until.set(deed.until),
            What::KillMySql => {
                if self.mysql.host.life.get() == 0 {
                    return;
                }
                self.mysql.host.life.set(0);
                over.await;
                self.mysql.restart(next_life());
            }
            What::Clock(n, by) => self.links_of(n, |links| links.skew += by),
            What::Ban(reader, n) => self.ban(reader, n).await,
        }
    }

    /// A moderator shuts a reader out of their room, and tries until it is so.
    async fn ban(self: &Rc<Self>, reader: usize, number: usize) {
        let (room, whom) =
            (super::reader::room_of(&self.plan, reader), super::reader::person_of(&self.plan, reader));
        let ban = Ban {
            room: self.rooms[room].id,
            whom: Banned::User(user(whom).id),
            until: self.millis() / 1000 + 100_000,
        };
        for number in (number..).map(|n| n % self.plan.pods).take(50) {
            if let Some(pod) = self.pod(number) {
                let (asked, answer) = (Rc::clone(&pod), tokio::sync::oneshot::channel());
                pod.spawn(async move {
                    let keep = move |tables: &mut super::mysql::Tables, _| tables.bans.push(ban);
                    let done = asked.world.mysql.transact(&asked.archive, keep).await;
                    if done.is_ok() {
                        asked.ask_for_bans().await;
                    }
                    _ = answer.0.send(done.is_ok());
                });
                let limit = self.time.sleep(Duration::from_secs(3));
                if super::time::before(answer.1, limit).await == Some(Ok(true)) {
                    let since = self.time.now();
                    self.note.borrow_mut().bans.push((room, user(whom).id, since));
                    return;
                }
            }
            self.time.sleep(Duration::from_millis(300)).await;
        }
    }
}
