//! The people of all pods: one task that tells the server what changed here, room by room, many at once.
//!
//! Rooms with something to tell queue up; each round takes what they have then and sends it in one go, and the next
//! round begins when that was answered. So what is told of a room is told in order, a slow server is told less often
//! and not more, and nobody waits for it. When the server was not there, or took this pod for dead, or is another,
//! it is told again what is so.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rand::RngExt;
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout},
};

use super::{Chat, Room};
use crate::{
    event::{LogId, RoomId, User, UserId},
    log::{Agreed, Log, LogError, Move, Quiet, RedisLog},
};

/// Moves that are sent at once.
const TOGETHER: usize = 512;
/// How often this pod looks whether the server still has what it was told.
const LOOK: Duration = Duration::from_secs(2);
/// Rooms whose people are counted at each look.
const COUNTED: usize = 256;
/// After the server failed.
const PAUSE: Duration = Duration::from_millis(200);
/// When the server forgot everybody, all pods have said by then who is there; until then nobody is new.
const QUIET: Duration = Duration::from_secs(3);
/// How long somebody who asks waits for the server.
const ASKED: Duration = Duration::from_millis(500);
/// How long a pod that ends waits until the server knows that everybody has gone.
const EMPTIED: Duration = Duration::from_secs(3);

/// What this pod and the server say to each other about people.
pub(super) struct Crowd {
    log: Arc<RedisLog>,
    queue: Mutex<Queue>,
    more: Notify,
    is_away: AtomicBool,
}

#[derive(Default)]
struct Queue {
    rooms: HashMap<RoomId, Arc<Room>>,
    /// Some were taken, and are not done yet.
    is_busy: bool,
}

impl Crowd {
    /// None for a pod that is alone.
    pub(super) fn of(log: &Log) -> Option<Arc<Self>> {
        let Log::Redis(log) = log else { return None };
        let (queue, more, is_away) = (Mutex::default(), Notify::new(), AtomicBool::new(false));
        Some(Arc::new(Crowd { log: Arc::clone(log), queue, more, is_away }))
    }

    /// Begins, until `chat` is gone.
    pub(super) fn gather(self: &Arc<Self>, chat: &Arc<Chat>) {
        let weak = Arc::downgrade(chat);
        chat.hub.hear_of_people(move |log, passed| {
            let room = weak.upgrade().and_then(|chat| chat.present(RoomId(log.0)));
            if let Some(room) = room {
                room.hear(passed);
            }
        });
        tokio::spawn(run(Arc::downgrade(chat), Arc::clone(self)));
    }

    /// The server did not answer the last time.
    pub(super) fn is_away(&self) -> bool {
        self.is_away.load(Ordering::Relaxed)
    }

    /// This room has something to tell.
    pub(super) fn post(&self, room: &Arc<Room>) {
        self.lock().rooms.insert(room.id(), Arc::clone(room));
        self.more.notify_one();
    }

    /// How many people are in a room, and up to `limit` of them, if the server says so in time.
    pub(super) async fn people(&self, room: RoomId, limit: usize) -> Option<(usize, Vec<User>)> {
        if self.is_away() {
            return None;
        }
        timeout(ASKED, self.log.people(room, limit)).await.ok()?.ok()
    }

    /// Who of these people has an inbox stream, if the server says so in time.
    pub(super) async fn online_of(&self, people: &[UserId]) -> Option<HashSet<UserId>> {
        if self.is_away() {
            return None;
        }
        let inboxes: Vec<RoomId> = people.iter().map(|user| RoomId(user.0)).collect();
        let look = timeout(ASKED, self.log.look_at_people(&[], &inboxes)).await.ok()?.ok()?;
        let online = people.iter().zip(look.online).filter(|(_, streams)| *streams > 0);
        Some(online.map(|(user, _)| *user).collect())
    }

    /// Waits until everything has been told, but not for long.
    pub(super) async fn emptied(&self) {
        let emptied = async {
            while self.is_busy() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        if timeout(EMPTIED, emptied).await.is_err() {
            tracing::warn!("the other pods do not know yet that everybody has gone from here");
        }
    }

    fn is_busy(&self) -> bool {
        let queue = self.lock();
        queue.is_busy || !queue.rooms.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("no panic while locked")
    }

    /// Rooms whose turn it is.
    fn take(&self) -> Vec<Arc<Room>> {
        let mut queue = self.lock();
        queue.is_busy = true;
        queue.rooms.drain().map(|(_, room)| room).collect()
    }

    /// Tells the server everything that waits.
    async fn tell(&self, agreed: &Agreed, quiet: Quiet) -> Result<(), LogError> {
        loop {
            let rooms = self.take();
            let told = if rooms.is_empty() { Ok(()) } else { self.tell_of(rooms, agreed, quiet).await };
            self.lock().is_busy = false;
            told?;
            if self.lock().rooms.is_empty() {
                return Ok(());
            }
        }
    }

    async fn tell_of(&self, rooms: Vec<Arc<Room>>, agreed: &Agreed, quiet: Quiet) -> Result<(), LogError> {
        let mut moves: Vec<Move> = Vec::new();
        let mut flying = Vec::with_capacity(rooms.len());
        for room in rooms {
            if moves.len() >= TOGETHER {
                self.post(&room);
                continue;
            }
            let limit = TOGETHER - moves.len();
            let taken = room.with_shared(|shared| shared.take(room.id(), limit, quiet)).unwrap_or_default();
            flying.push((room, taken.len()));
            moves.extend(taken);
        }
        let moved = self.log.move_people(agreed, &moves).await;
        let mut at = 0;
        for (room, count) in flying {
            match &moved {
                Ok(moved) => {
                    let (moves, moved) = (&moves[at..at + count], &moved[at..at + count]);
                    let came = moves.iter().zip(moved).filter(|(_, moved)| moved.is_told);
                    came.for_each(|(came, _)| room.came_online(came));
                    room.with_shared(|shared| shared.landed(moved))
                }
                Err(_) => room.with_shared(super::presence::Shared::failed),
            };
            at += count;
        }
        moved.map(drop)
    }

    /// Does the server still have the rooms that it was told of? If it has fewer it took this pod for dead. Also counts
    /// the people of some rooms, since something may not have been heard.
    async fn look(&self, chat: &Chat) -> Result<(), LogError> {
        let rooms = chat.all();
        let mut held: HashMap<u8, Vec<&Arc<Room>>> = HashMap::new();
        for room in &rooms {
            if room.with_shared(|shared| shared.is_held()) == Some(true) {
                held.entry(LogId::from(room.id()).partition()).or_default().push(room);
            }
        }
        let partitions: Vec<u8> = held.keys().copied().collect();
        let first = rand::rng().random_range(0..rooms.len().max(1));
        let counted = rooms.iter().cycle().skip(first).take(COUNTED.min(rooms.len()));
        let counted: Vec<_> =
            counted.map(|room| (room, room.with_shared(|shared| shared.heard()).unwrap_or(0))).collect();
        let ids: Vec<RoomId> = counted.iter().map(|(room, _)| room.id()).collect();
        let look = self.log.look_at_people(&partitions, &ids).await?;
        for (partition, known) in partitions.iter().zip(look.held) {
            for room in held[partition].iter().filter(|_| known < held[partition].len()) {
                room.with_shared(super::presence::Shared::tell_again);
            }
        }
        for ((room, heard), online) in counted.into_iter().zip(look.online) {
            room.with_shared(|shared| shared.counted(online, heard));
        }
        Ok(())
    }
}

/// What the task knows of the server.
struct Course {
    /// The life of it that knows everybody who is here.
    knows: Option<Agreed>,
    quiet_until: Instant,
    look_at: Instant,
}

async fn run(chat: Weak<Chat>, crowd: Arc<Crowd>) {
    let now = Instant::now();
    let mut course = Course { knows: None, quiet_until: now, look_at: now };
    let mut standing = crowd.log.standing();
    loop {
        let pause = {
            let Some(chat) = chat.upgrade() else { return };
            match round(&chat, &crowd, &mut course).await {
                Ok(()) => {
                    crowd.is_away.store(false, Ordering::Relaxed);
                    course.look_at.duration_since(Instant::now())
                }
                Err(e) => {
                    if !crowd.is_away.swap(true, Ordering::Relaxed) {
                        tracing::warn!(error = %e, "the other pods cannot be told who is here; trying again");
                    }
                    course.look_at = Instant::now();
                    sleep(PAUSE).await;
                    continue;
                }
            }
        };
        tokio::select! {
            () = sleep(pause) => {}
            () = crowd.more.notified() => {}
            changed = standing.changed() => if changed.is_err() { return },
        }
    }
}

async fn round(chat: &Chat, crowd: &Crowd, course: &mut Course) -> Result<(), LogError> {
    let agreed = crowd.log.agreed()?;
    if course.knows.as_ref() != Some(&agreed) {
        if course.knows.is_some() {
            for room in chat.all() {
                room.with_shared(super::presence::Shared::restore);
            }
            course.quiet_until = Instant::now() + QUIET;
        }
        course.knows = Some(agreed.clone());
    }
    if Instant::now() >= course.look_at {
        // It has no effect, and so comes first when the server was away.
        crowd.look(chat).await?;
        course.look_at = Instant::now() + LOOK;
    }
    let quiet = if Instant::now() < course.quiet_until { Quiet::Yes } else { Quiet::No };
    crowd.tell(&agreed, quiet).await
}
