//! Rooms with members over real servers: their lists, marks and inboxes, with the archive behind or not.

use testbed::{Aof, Redis};
use tokio::sync::mpsc;

use super::*;
use crate::{
    archive,
    event::{
        Draft, EventKind, LogId, NewRoom, Origin, Role, Room, RoomId, Seq, Shape, User, UserId, UserKind,
    },
    log::{Append, Log, LogErrorKind, Parts, Placed, Standing, Tips, Who},
    pods::Pods,
};

mod naive;

/// One pod on servers of its own, without a writer.
struct Bed {
    redis: Redis,
    archive: Archive,
    redis_log: Arc<RedisLog>,
    log: Log,
    pods: Arc<Pods>,
    id: Uuid,
    said: mpsc::Receiver<(LogId, bytes::Bytes)>,
    _server: Arc<testbed::MariaDb>,
}

impl Bed {
    async fn new(ack: Ack) -> Self {
        let server = archive::tests::shared();
        let redis = Redis::with(Aof::Off, &[]);
        let archive = Archive::open(server.database().url()).await.unwrap();
        let (say, said) = mpsc::channel(10_000);
        let id = Uuid::now_v7();
        let parts =
            Parts { url: redis.url(), pod: id, archive: archive.clone(), ack, channel: None, said: say };
        let redis_log = RedisLog::new(parts).unwrap();
        let pods = Pods::join(id, archive.clone(), Arc::clone(&redis_log));
        let mut standing = redis_log.standing();
        standing.wait_for(|standing| matches!(standing, Standing::Agreed(_))).await.unwrap();
        tokio::spawn(RedisLog::tell_stored(Arc::downgrade(&redis_log)));
        let log = Log::Redis(Arc::clone(&redis_log));
        Bed { redis, archive, redis_log, log, pods, id, said, _server: server }
    }

    /// Makes a room and begins its log.
    async fn room(&self, shape: Shape, maker: &User, others: &[&User]) -> Room {
        for user in others.iter().chain([&maker]) {
            self.archive.know(user, None).await.unwrap();
        }
        let others: Vec<UserId> = others.iter().map(|user| user.id).collect();
        let id = match shape {
            Shape::Direct => RoomId::of_pair(maker.id, others[0]),
            Shape::Group => RoomId(Uuid::now_v7()),
        };
        let new = NewRoom { id, shape, name: None, maker: maker.clone(), others };
        assert!(self.log.make_room(new.clone()).await.unwrap().1);
        assert!(!self.log.make_room(new).await.unwrap().1);
        let room = Room::of_members(id);
        self.say(&room, maker, Draft::Open).await.unwrap();
        assert_eq!(self.say(&room, maker, Draft::Open).await, Err(LogErrorKind::NoChange));
        room
    }

    async fn say(&self, room: &Room, user: &User, draft: Draft) -> Result<Placed, LogErrorKind> {
        let who = Who(user.id.0);
        let append = Append { room: room.clone(), user: user.clone(), who, draft, ack: None };
        self.log.append(append).await.map_err(|e| e.kind)
    }

    async fn inbox(&self, user: &User) -> Vec<Frame> {
        self.log.read(&Room::inbox(user.id), Seq(0), 10_000).await.unwrap()
    }

    fn writer(&self) -> Arc<Writer> {
        Writer::start(Arc::clone(&self.redis_log), self.archive.clone(), self.id, self.pods.live())
    }

    /// The next entry of this person's inbox that is said.
    async fn told(&mut self, user: &User) -> Frame {
        loop {
            let (log, said) = self.said.recv().await.unwrap();
            if log == LogId(user.id.0) {
                return Frame::heard(&said).unwrap();
            }
        }
    }
}

/// An owner of all partitions whose every step is made by hand.
struct Owner {
    log: Arc<RedisLog>,
    owned: Vec<Owned>,
    outbox: Outbox,
    mail: Outbox,
}

impl Owner {
    async fn new(bed: &Bed, pod: Uuid) -> Self {
        let log = Arc::clone(&bed.redis_log);
        let all: Vec<u8> = (0..PARTITIONS).collect();
        let owned = log.own(pod, &all, Duration::from_secs(300)).await.unwrap();
        assert_eq!(owned.len(), all.len());
        let (outbox, mail) = (log.outbox().await.unwrap(), log.mail().await.unwrap());
        Owner { log, owned, outbox, mail }
    }

    async fn give_back(&self, pod: Uuid) {
        let all: Vec<u8> = (0..PARTITIONS).collect();
        self.log.own(pod, &all, Duration::ZERO).await.unwrap();
    }

    /// Stores about as much as this, and lets the log trim.
    async fn store(&mut self, archive: &Archive, limit: usize) {
        let batch = self.outbox.read(&self.owned, limit, None).await.unwrap();
        archive.store(&batch.entries).await.unwrap();
        self.log.archived(&batch, &self.owned).await.unwrap();
    }

    async fn read_mail(&mut self) -> Batch {
        self.mail.read(&self.owned, 10_000, None).await.unwrap()
    }

    async fn deliver(&mut self) {
        loop {
            let batch = self.read_mail().await;
            if batch.is_empty() {
                return;
            }
            self.log.deliver(&batch).await.unwrap();
            self.log.delivered(&batch, &self.owned).await.unwrap();
        }
    }
}

fn user(name: &str) -> User {
    User { id: UserId::random(), name: name.parse().unwrap(), kind: UserKind::Guest }
}

fn message(text: &str) -> Draft {
    Draft::Message { text: text.parse().unwrap(), client_id: None }
}

fn origins(frames: &[Frame]) -> Vec<Origin> {
    frames.iter().filter_map(|frame| frame.origin).collect()
}

#[tokio::test]
async fn what_an_owner_did_not_finish_the_next_one_does_and_nothing_comes_twice() {
    let bed = Bed::new(Ack::Buffered).await;
    let (ann, bob) = (user("Ann"), user("Bob"));
    let room = bed.room(Shape::Direct, &ann, &[&bob]).await;
    for text in ["a", "b", "c"] {
        bed.say(&room, &ann, message(text)).await.unwrap();
    }
    let [one, other] = [Uuid::now_v7(), Uuid::now_v7()];
    let mut first = Owner::new(&bed, one).await;
    let begun = first.read_mail().await;
    bed.redis_log.deliver(&begun).await.unwrap();
    first.give_back(one).await;
    let mut second = Owner::new(&bed, other).await;
    bed.say(&room, &bob, message("d")).await.unwrap();
    // The first does not know yet that it is none any more.
    bed.redis_log.delivered(&begun, &first.owned).await.unwrap();
    let again = second.read_mail().await;
    assert_eq!(again.entries.len(), 5, "all that was begun, and what is new");
    bed.redis_log.deliver(&again).await.unwrap();
    bed.redis_log.deliver(&begun).await.unwrap();
    bed.redis_log.delivered(&again, &second.owned).await.unwrap();
    for user in [&ann, &bob] {
        let frames = bed.inbox(user).await;
        let seqs: Vec<u64> = origins(&frames).iter().map(|origin| origin.seq.0).collect();
        assert_eq!(seqs, [1, 2, 3, 4, 5]);
        let extent = bed.log.extent(&Room::inbox(user.id)).await.unwrap();
        assert_eq!(extent.base, Seq(extent.tip.0 - 5));
        let places = frames.iter().map(|frame| frame.cursor);
        assert!(places.eq(
            (extent.first.0..=extent.tip.0).map(|seq| crate::event::Cursor { seq: Seq(seq), ..extent.tip() })
        ));
    }
    assert_eq!(bed.redis_log.backlog().await.unwrap().mail, 0);
}

#[tokio::test]
async fn who_gave_a_partition_back_and_takes_it_again_reads_it_from_its_beginning() {
    let bed = Bed::new(Ack::Buffered).await;
    let pod = Uuid::now_v7();
    let first = Owner::new(&bed, pod).await;
    let kept = Owner::new(&bed, pod).await;
    assert_eq!(kept.owned, first.owned, "who keeps it goes on");
    kept.give_back(pod).await;
    let again = Owner::new(&bed, pod).await;
    let pairs = again.owned.iter().zip(&first.owned);
    assert!(
        pairs.into_iter().all(|(again, first)| again.token > first.token),
        "a reader goes on by its token"
    );
}

#[tokio::test]
async fn who_lost_a_partition_is_told_that_it_trimmed_nothing() {
    let bed = Bed::new(Ack::Stored).await;
    let (ann, bob) = (user("Ann"), user("Bob"));
    bed.archive.know(&bob, None).await.unwrap();
    let room = Room::from(&"lobby".parse::<crate::event::Slug>().unwrap());
    let who = Who(ann.id.0);
    let append = Append { room: room.clone(), user: ann, who, draft: message("a"), ack: None };
    let log = bed.log.clone();
    let speaking = tokio::spawn(async move { log.append(append).await });
    let [one, other] = [Uuid::now_v7(), Uuid::now_v7()];
    let mut first = Owner::new(&bed, one).await;
    let batch = loop {
        let batch = first.outbox.read(&first.owned, 10, Some(Duration::from_secs(1))).await.unwrap();
        if !batch.is_empty() {
            break batch;
        }
    };
    first.give_back(one).await;
    let second = Owner::new(&bed, other).await;
    // What it says of a batch is what readers may be told: the log's end, as they see it, is not there yet.
    assert!(bed.redis_log.archived(&batch, &first.owned).await.unwrap().is_empty());
    assert_eq!(bed.log.extent(&room).await.unwrap().tip, Seq(0));
    let partition = LogId::from(room.id).partition();
    assert_eq!(bed.redis_log.archived(&batch, &second.owned).await.unwrap(), [partition].into());
    assert_eq!(speaking.await.unwrap().unwrap().cursor.seq, Seq(1));
}

#[tokio::test]
async fn an_inbox_keeps_the_newest_and_knows_what_it_had() {
    let bed = Bed::new(Ack::Buffered).await;
    let (ann, bob, cho) = (user("Ann"), user("Bob"), user("Cho"));
    let old = bed.room(Shape::Direct, &ann, &[&bob]).await;
    let busy = bed.room(Shape::Direct, &cho, &[&bob]).await;
    let mut owner = Owner::new(&bed, Uuid::now_v7()).await;
    owner.deliver().await;
    for _ in 0..6 {
        for _ in 0..200 {
            bed.say(&busy, &cho, message("x")).await.unwrap();
        }
        owner.deliver().await;
    }
    let frames = bed.inbox(&bob).await;
    assert_eq!(frames.len(), 1000);
    assert!(origins(&frames).iter().all(|origin| origin.room == busy.id));
    let extent = bed.log.extent(&Room::inbox(bob.id)).await.unwrap();
    assert_eq!((frames[0].cursor.seq, frames[999].cursor.seq), (extent.first, extent.tip));
    let head = format!("mailbox:{}", bob.id.0.simple());
    let key = format!(
        "maru:{{{}}}:{}:{head}",
        LogId(bob.id.0).partition(),
        bed.redis_log.agreed().unwrap().generation
    );
    assert_eq!(bed.redis.command(&["HLEN", &key]), ":2", "the tip, and the one room that is left");
    bed.say(&old, &ann, message("again")).await.unwrap();
    owner.deliver().await;
    let last = bed.log.last(&Room::inbox(bob.id), 1).await.unwrap().pop().unwrap();
    assert_eq!(last.origin, Some(Origin { room: old.id, seq: Seq(2) }));
}

#[tokio::test]
async fn an_inbox_is_told_live_and_found_by_its_tip() {
    let mut bed = Bed::new(Ack::Buffered).await;
    let (ann, bob) = (user("Ann"), user("Bob"));
    let room = bed.room(Shape::Direct, &ann, &[&bob]).await;
    let _writer = bed.writer();
    let opened = bed.told(&bob).await;
    assert_eq!(opened.kind, crate::event::FrameKind::Event(EventKind::Join));
    let mut tips = Tips::default();
    let inbox = RoomId(bob.id.0);
    bed.redis_log.tips(&[inbox, room.id], &mut tips).await.unwrap();
    bed.redis_log.tips(&[inbox, room.id], &mut tips).await.unwrap();
    assert_eq!(bed.redis_log.tips(&[inbox, room.id], &mut tips).await.unwrap(), []);
    let placed = bed.say(&room, &ann, message("안녕")).await.unwrap();
    let told = bed.told(&bob).await;
    assert_eq!(told.origin, Some(Origin { room: room.id, seq: placed.cursor.seq }));
    assert_eq!(bed.inbox(&bob).await.last(), Some(&told));
    let found = bed.redis_log.tips(&[inbox, room.id], &mut tips).await.unwrap();
    assert_eq!(found, [(room.id, placed.cursor), (inbox, told.cursor)]);
    // How long it takes is what the histogram is for; that it is short is what the lane is for.
    let mut waits = Vec::new();
    for _ in 0..20 {
        let since = Instant::now();
        bed.say(&room, &ann, message("x")).await.unwrap();
        bed.told(&bob).await;
        waits.push(since.elapsed());
    }
    waits.sort_unstable();
    assert!(waits[10] < Duration::from_millis(100), "{waits:?}");
}

#[tokio::test]
async fn with_stored_only_what_is_stored_reaches_an_inbox() {
    let mut bed = Bed::new(Ack::Stored).await;
    let (ann, bob) = (user("Ann"), user("Bob"));
    bed.archive.know(&bob, None).await.unwrap();
    let id = RoomId::of_pair(ann.id, bob.id);
    let others = vec![bob.id];
    let new = NewRoom { id, shape: Shape::Direct, name: None, maker: ann.clone(), others };
    bed.log.make_room(new).await.unwrap();
    let room = Room::of_members(id);
    let writer = bed.writer();
    bed.say(&room, &ann, Draft::Open).await.unwrap();
    let placed = bed.say(&room, &ann, message("x")).await.unwrap();
    assert_eq!(placed.durability, Ack::Stored);
    bed.told(&bob).await;
    let told = bed.told(&bob).await;
    assert_eq!(told.origin.unwrap().seq, placed.cursor.seq);
    let listed = bed.log.rooms_of(bob.id, None, 10).await.unwrap();
    assert_eq!((listed[0].tip, listed[0].unread), (placed.cursor, 1));
    writer.close().await;
}

#[tokio::test]
async fn another_life_of_redis_is_another_epoch_of_inboxes_and_loses_no_member() {
    let bed = Bed::new(Ack::Buffered).await;
    let (ann, bob, cho) = (user("Ann"), user("Bob"), user("Cho"));
    bed.archive.know(&cho, None).await.unwrap();
    let room = bed.room(Shape::Group, &ann, &[&bob]).await;
    bed.say(&room, &bob, Draft::Join { member: cho.clone() }).await.unwrap();
    bed.say(&room, &bob, Draft::Leave { member: bob.clone() }).await.unwrap();
    bed.say(&room, &cho, message("x")).await.unwrap();
    Owner::new(&bed, Uuid::now_v7()).await.deliver().await;
    let before = bed.log.extent(&Room::inbox(cho.id)).await.unwrap();
    assert_eq!(before.tip.0 - before.base.0, 3);
    let generation = bed.redis_log.agreed().unwrap().generation;
    bed.redis.command(&["FLUSHALL"]);
    assert!(bed.say(&room, &ann, message("y")).await.is_err());
    let mut standing = bed.redis_log.standing();
    let is_next = |standing: &Standing| matches!(standing, Standing::Agreed(a) if a.generation > generation);
    standing.wait_for(is_next).await.unwrap();
    let after = bed.log.extent(&Room::inbox(cho.id)).await.unwrap();
    assert!(after.epoch > before.epoch && after.base > before.tip && after.tip == after.base);
    // Nobody said it twice: the archive has it from what the pod held.
    let members: Vec<(UserId, Role)> = {
        let room = bed.log.member_room(room.id).await.unwrap().unwrap();
        room.members.iter().map(|member| (member.user.id, member.role)).collect()
    };
    assert_eq!(members, [(ann.id, Role::Owner), (cho.id, Role::Member)]);
    assert_eq!(bed.say(&room, &bob, message("z")).await, Err(LogErrorKind::NotFound));
    let placed = bed.say(&room, &cho, message("z")).await.unwrap();
    Owner::new(&bed, Uuid::now_v7()).await.deliver().await;
    let frames = bed.inbox(&ann).await;
    assert_eq!(origins(&frames), [Origin { room: room.id, seq: placed.cursor.seq }]);
    assert_eq!(frames[0].cursor.seq, after.base.next());
}
