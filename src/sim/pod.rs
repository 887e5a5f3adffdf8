//! One life of one pod: what it holds, its tasks, and how it asks its servers. What it decides is maru's own code.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc, watch};
use uuid::Uuid;

use super::{
    link::{Broken, Link, Pipe, request},
    redis::Store,
    stream::Streams,
    time::{Group, Rng, before, either},
    world::World,
};
use crate::{
    chat::{
        Client,
        bans::{Bans, Visitor},
        presence::{Rules, Shared},
    },
    event::{LogId, Room, RoomId, Seq, UserId, UserKind},
    hub::{Feed, Feeds, read_in, repair},
    log::{
        Ack, Agreed, LogError, LogErrorKind, Notice, Owned, Standing, Tips,
        redis::{HELD, fenced, held::Held, stored::Stored},
    },
    pods::{
        HURRY, RENEW,
        step::Me,
        turn::{Dead, turn},
    },
    readers::{Post, Postbox},
};

/// How long a pod waits for Redis.
const ANSWER: Duration = Duration::from_secs(5);
/// After a connection could not be made, the next is not tried before this.
const PAUSE: Duration = Duration::from_millis(100);
/// How often it is looked whether something was missed, and who is shut out.
const LOOK: Duration = Duration::from_millis(400);
/// How often it is looked whether what somebody waits for is in the archive.
const STORED_EVERY: Duration = Duration::from_millis(10);

/// A connection to Redis, and which life of it answers there.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    pub(super) run_id: String,
    life: u64,
    breaks: u64,
}

/// The way to Redis.
pub(super) struct Way {
    pub(super) link: Rc<Link>,
    wire: RefCell<Option<Wire>>,
    not_before: Cell<Duration>,
}

impl Way {
    fn new(link: Rc<Link>) -> Self {
        Way { link, wire: RefCell::default(), not_before: Cell::default() }
    }
}

pub(super) struct Pod {
    pub(super) world: Rc<World>,
    pub(super) number: usize,
    pub(super) group: Group,
    pub(super) id: Uuid,
    pub(super) rng: Rng,
    pub(super) appends: Way,
    pub(super) ask: Way,
    /// The way to MySQL.
    pub(super) archive: Rc<Link>,
    /// The way to whoever carries what pods say.
    pub(super) ear: Rc<Link>,
    pub(super) heard: Pipe<Notice>,
    wanted: RefCell<BTreeSet<LogId>>,
    pub(super) standing: watch::Sender<Standing>,
    /// The last generation that was agreed on.
    pub(super) generation: Cell<Option<i64>>,
    pub(super) suspicion: Notify,
    pub(super) held: RefCell<Held>,
    pub(super) stored: Stored,
    pub(super) waits: Notify,
    pub(super) live: watch::Sender<Vec<Uuid>>,
    pub(super) owned: RefCell<Vec<Owned>>,
    pub(super) feeds: Arc<Feeds>,
    pub(super) posted: RefCell<Box<dyn FnMut() -> Vec<Post>>>,
    pub(super) bans: Bans,
    pub(super) people: RefCell<BTreeMap<RoomId, Shared>>,
    pub(super) more_people: Notify,
    pub(super) streams: Streams,
    pub(super) to_say: Pipe<(LogId, Bytes)>,
    epoch: Instant,
}

impl Pod {
    /// Begins a life of the pod of this number.
    pub(super) fn start(world: &Rc<World>, number: usize, group: Group) -> Rc<Self> {
        let seed = world.plan.seed;
        let part = |n: u64| Rng::of(seed, 1000 * (group as u64 + 1) + n);
        let link = |n: u64| Link::new(&world.time, part(n));
        let (postbox, posted) = Postbox::alone();
        let (feeds, holes) = Feeds::new(postbox, usize::MAX);
        feeds.remember_shown();
        let pod = Rc::new(Pod {
            world: Rc::clone(world),
            number,
            group,
            id: Uuid::from_u128(((number as u128 + 1) << 64) | group as u128),
            rng: part(0),
            appends: Way::new(link(1)),
            ask: Way::new(link(2)),
            archive: link(3),
            ear: link(4),
            heard: Pipe::default(),
            wanted: RefCell::default(),
            standing: watch::Sender::new(Standing::Fenced),
            generation: Cell::new(None),
            suspicion: Notify::new(),
            held: RefCell::new(Held::new(HELD)),
            stored: Stored::default(),
            waits: Notify::new(),
            live: watch::Sender::new(Vec::new()),
            owned: RefCell::default(),
            feeds,
            posted: RefCell::new(Box::new(posted)),
            bans: Bans::new(Arc::clone(&world.seal)),
            people: RefCell::default(),
            more_people: Notify::new(),
            streams: Streams::default(),
            to_say: Pipe::default(),
            epoch: world.epoch,
        });
        pod.set_links();
        pod.spawn(Rc::clone(&pod).keep_up());
        pod.spawn(Rc::clone(&pod).listen());
        pod.spawn(Rc::clone(&pod).look_for_missed());
        pod.spawn(Rc::clone(&pod).mend(holes));
        pod.spawn(Rc::clone(&pod).tell_stored());
        pod.spawn(Rc::clone(&pod).publish());
        pod.spawn(Rc::clone(&pod).hear_of_bans());
        pod.spawn(Rc::clone(&pod).gather());
        pod.spawn(Rc::clone(&pod).tend());
        pod.spawn(Rc::clone(&pod).tick_people());
        super::desk::start(&pod);
        pod
    }

    /// Its links are as those of its number are now.
    pub(super) fn set_links(&self) {
        let state = self.world.links.borrow()[self.number];
        for link in [&self.appends.link, &self.ask.link] {
            link.drag(state.drag);
            if link.is_cut() != state.redis_cut {
                link.cut(state.redis_cut);
            }
        }
        self.ear.drag(state.drag);
        if self.ear.is_cut() != state.ear_cut {
            self.ear.cut(state.ear_cut);
        }
        if self.archive.is_cut() != state.mysql_cut {
            self.archive.cut(state.mysql_cut);
        }
    }

    pub(super) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.world.time.spawn(self.group, task);
    }

    pub(super) async fn sleep(&self, time: Duration) {
        self.world.time.sleep(time).await;
    }

    /// By its own clock, in ms since 1970.
    pub(super) fn millis(&self) -> i64 {
        self.world.millis() + self.world.links.borrow()[self.number].skew
    }

    /// What it measures times by.
    pub(super) fn instant(&self) -> Instant {
        self.epoch + self.world.time.now()
    }

    pub(super) fn stored_only(&self) -> bool {
        self.world.plan.ack == Ack::Stored
    }

    pub(super) fn agreed(&self) -> Result<Agreed, LogError> {
        match &*self.standing.borrow() {
            Standing::Agreed(agreed) => Ok(agreed.clone()),
            Standing::Fenced => Err(fenced()),
        }
    }

    pub(super) fn suspect(&self) {
        self.suspicion.notify_one();
    }

    pub(super) fn visitor(user: UserId) -> Visitor {
        let client = Client::from(std::net::IpAddr::from([127, 0, 0, 1]));
        Visitor { user, kind: UserKind::Member, client }
    }

    pub(super) fn is_banned(&self, room: RoomId, user: UserId) -> bool {
        self.bans.until_at(room, Pod::visitor(user), self.millis() / 1000).is_some()
    }

    /// The connection, made if there is none.
    pub(super) async fn wire(&self, way: &Way) -> Result<Wire, Broken> {
        if let Some(wire) = &*way.wire.borrow() {
            return Ok(wire.clone());
        }
        let now = self.world.time.now();
        let (redis, life) = (Rc::clone(&self.world.redis), self.world.redis.host.life.get());
        if now < way.not_before.get() {
            return Err(Broken::Gone);
        }
        let breaks = way.link.breaks();
        let run_id = request(&way.link, &redis.host.clone(), life, ANSWER, move || redis.run_id()).await;
        match run_id {
            Ok(run_id) => {
                let wire = Wire { run_id, life, breaks };
                *way.wire.borrow_mut() = Some(wire.clone());
                Ok(wire)
            }
            Err(e) => {
                way.not_before.set(self.world.time.now() + PAUSE);
                Err(e)
            }
        }
    }

    /// Has work done on a connection.
    pub(super) async fn on<R: 'static>(
        &self,
        way: &Way,
        wire: &Wire,
        work: impl FnOnce(&mut Store) -> R + 'static,
    ) -> Result<R, Broken> {
        let redis = Rc::clone(&self.world.redis);
        let host = Rc::clone(&redis.host);
        let done = if wire.breaks == way.link.breaks() {
            request(&way.link, &host, wire.life, ANSWER, move || work(&mut redis.store.borrow_mut())).await
        } else {
            Err(Broken::Gone)
        };
        let is_same = |present: &Wire| (present.life, present.breaks) == (wire.life, wire.breaks);
        if matches!(done, Err(Broken::Gone)) && way.wire.borrow().as_ref().is_some_and(is_same) {
            *way.wire.borrow_mut() = None;
        }
        done
    }

    /// The connection to ask on, if it leads to the server that was agreed on.
    pub(super) async fn ready(&self, way: &Way) -> Result<(Wire, Agreed), LogError> {
        let agreed = self.agreed()?;
        let wire = self.wire(way).await.map_err(|_| LogErrorKind::Unavailable)?;
        if *wire.run_id == *agreed.run_id {
            return Ok((wire, agreed));
        }
        way.wire.take();
        let wire = self.wire(way).await.map_err(|_| LogErrorKind::Unavailable)?;
        if *wire.run_id != *agreed.run_id {
            self.suspect();
            return Err(fenced());
        }
        Ok((wire, agreed))
    }

    /// Asks about partitions, if the server has them as was agreed on.
    pub(super) async fn look<R: 'static>(
        &self,
        partitions: Vec<u8>,
        work: impl FnOnce(&mut Store) -> R + 'static,
    ) -> Result<R, LogError> {
        let (wire, agreed) = self.ready(&self.ask).await?;
        let looked = self.on(&self.ask, &wire, move |store| {
            let is_agreed = |p: &u8| store.is_agreed(*p, agreed.generation, &agreed.run_id);
            let all = partitions.iter().all(is_agreed);
            all.then(|| work(store))
        });
        match looked.await {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => {
                self.suspect();
                Err(fenced())
            }
            Err(_) => Err(LogErrorKind::Unavailable.into()),
        }
    }

    async fn keep_up(self: Rc<Self>) {
        let (mut me, mut dead) = (Me::default(), Dead::new());
        loop {
            let is_agreed = turn(&self, &mut me, &mut dead).await.unwrap_or(false);
            let pause = if is_agreed { RENEW } else { HURRY };
            either(self.sleep(pause), self.suspicion.notified()).await;
        }
    }

    /// Hears what the other pods say, and comes back when the link breaks.
    async fn listen(self: Rc<Self>) {
        loop {
            let breaks = self.ear.breaks();
            let host = self.world.carrier();
            let life = host.life.get();
            let pod = Rc::downgrade(&self);
            let join = move || {
                if let Some(pod) = pod.upgrade() {
                    let wanted = pod.wanted.borrow().clone();
                    pod.world.subscribe(&pod, life, breaks, wanted);
                }
            };
            if request(&self.ear, &host, life, ANSWER, join).await.is_err() {
                self.sleep(PAUSE).await;
                continue;
            }
            self.feeds.look_again();
            while self.ear.breaks() == breaks && host.life.get() == life {
                let heard = before(self.heard.take(), self.sleep(LOOK / 8)).await;
                self.hear(heard.unwrap_or_default());
            }
        }
    }

    fn hear(&self, heard: Vec<Notice>) {
        for notice in heard {
            match notice {
                Notice::Passed(log, passed) => self.hear_of_people(log, passed),
                notice => self.feeds.hear(vec![notice]),
            }
        }
        self.take_posts();
    }

    /// The reader thread looks into its mailbox.
    pub(super) fn take_posts(&self) {
        let posts = (self.posted.borrow_mut())();
        self.streams.post(posts);
    }

    pub(super) async fn subscribe(self: &Rc<Self>, log: LogId) {
        self.wanted.borrow_mut().insert(log);
        let host = self.world.carrier();
        let (world, group) = (Rc::clone(&self.world), self.group);
        let add = move || world.add_interest(group, log);
        _ = request(&self.ear, &host, host.life.get(), ANSWER, add).await;
    }

    /// The feed of a room, read in when nobody here had it open.
    pub(super) async fn open(self: &Rc<Self>, room: &Room) -> Result<Arc<Feed>, LogError> {
        let (feed, is_new) = self.feeds.find_or_insert(room);
        if is_new {
            let (pod, feed) = (Rc::clone(self), Arc::clone(&feed));
            self.spawn(async move {
                pod.subscribe(feed.room().id.into()).await;
                if let Err(e) = read_in(&pod.feeds, &*pod, &feed).await {
                    pod.feeds.forget(&feed);
                    feed.fail(e.kind);
                }
            });
        }
        feed.opened().await?;
        Ok(feed)
    }

    /// `look_for_missed` of the stores.
    async fn look_for_missed(self: Rc<Self>) {
        let mut tips = Tips::default();
        loop {
            self.sleep(LOOK).await;
            if let Ok(tips) = self.tips(&mut tips).await {
                self.feeds.compare(&tips);
            }
        }
    }

    async fn mend(self: Rc<Self>, mut holes: mpsc::UnboundedReceiver<std::sync::Weak<Feed>>) {
        while let Some(feed) = holes.recv().await {
            let pod = Rc::clone(&self);
            self.spawn(async move {
                let mut backoff = repair::Backoff::default();
                while let Some(held) = feed.upgrade() {
                    let draw = pod.rng.share();
                    let looked = repair::look(&pod.feeds, &*pod, &held, &mut backoff, draw).await;
                    drop(held);
                    pod.take_posts();
                    let Some(pause) = looked.pause else { return };
                    pod.sleep(pause).await;
                }
            });
        }
    }

    async fn tell_stored(self: Rc<Self>) {
        loop {
            let rooms = self.stored.rooms();
            if rooms.is_empty() {
                self.waits.notified().await;
            }
            self.sleep(STORED_EVERY).await;
            let partitions = rooms.iter().map(|room| LogId::from(*room).partition()).collect();
            let archived = self.look(partitions, move |store| {
                // A room that is not here any more is in the archive in full.
                let of = |room: &RoomId| store.extent(*room, true).map_or(Seq::MAX, |extent| extent.tip);
                rooms.iter().map(|room| (*room, of(room))).collect::<Vec<_>>()
            });
            for (room, seq) in archived.await.unwrap_or_default() {
                self.stored.tell(room, seq);
            }
        }
    }

    /// Says something to the pods that read this log.
    pub(super) fn say(&self, log: LogId, said: Bytes) {
        self.to_say.push((log, said));
    }

    async fn publish(self: Rc<Self>) {
        loop {
            for (log, said) in self.to_say.take().await {
                let world = Rc::clone(&self.world);
                let host = world.carrier();
                let publish = move || {
                    if let Some(notice) = Notice::heard(log, &said) {
                        world.publish(log, &notice);
                    }
                };
                // What is not said is found by its tip.
                _ = request(&self.ear, &host, host.life.get(), ANSWER, publish).await;
            }
        }
    }

    async fn hear_of_bans(self: Rc<Self>) {
        loop {
            self.ask_for_bans().await;
            self.sleep(LOOK).await;
        }
    }

    /// `Chat::hear_of_bans`
    pub(super) async fn ask_for_bans(&self) {
        let asked = self.bans.ask();
        let after = asked.after;
        let rows = self.world.mysql.read(&self.archive, move |tables| {
            let rows = tables.bans.iter().zip(1i64..).filter(|(_, n)| *n > after);
            rows.map(|(ban, n)| (n, *ban)).collect::<Vec<_>>()
        });
        match rows.await {
            Ok(rows) => {
                let news = self.bans.hear(asked, &rows, self.millis() / 1000);
                for room in news.rooms {
                    self.streams.end(room, |user| self.is_banned(room, user));
                }
            }
            Err(_) => self.bans.not_heard(),
        }
    }

    pub(super) fn shared<T>(&self, room: RoomId, of: impl FnOnce(&mut Shared) -> T) -> T {
        of(self.people.borrow_mut().entry(room).or_insert_with(|| Shared::new(Rules::default())))
    }
}
