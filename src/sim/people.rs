//! A pod's part in presence: what it tells Redis, what it hears, and what it does for others as an owner. The rounds are
//! those of `chat/crowd.rs`, the transitions are its own.

use std::{collections::HashSet, rc::Rc, time::Duration};

use uuid::Uuid;

use super::{pod::Pod, time::either};
use crate::{
    chat::presence::Shared,
    event::{LogId, RoomId},
    log::{Agreed, GRACE, LogError, LogErrorKind, Move, Notice, Owned, Passed, Quiet},
    writer::people::{EVERY, Graves},
};

const TOGETHER: usize = 512;
const LOOK: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(200);
const QUIET: Duration = Duration::from_secs(3);
/// How often it is looked what has become due.
const TICK: Duration = Duration::from_millis(500);

/// What the task knows of the server.
struct Course {
    knows: Option<Agreed>,
    quiet_until: Duration,
    look_at: Duration,
}

impl Pod {
    pub(super) fn hear_of_people(&self, log: LogId, passed: Passed) {
        let (room, now) = (RoomId(log.0), self.instant());
        self.shared(room, |shared| shared.hear(passed, now));
    }

    pub(super) async fn tick_people(self: Rc<Self>) {
        loop {
            self.sleep(TICK).await;
            let now = self.instant();
            for shared in self.people.borrow_mut().values_mut() {
                shared.tick(now);
            }
        }
    }

    pub(super) async fn gather(self: Rc<Self>) {
        let mut course = Course { knows: None, quiet_until: Duration::ZERO, look_at: Duration::ZERO };
        let mut standing = self.standing.subscribe();
        loop {
            if self.round(&mut course).await.is_err() {
                course.look_at = self.world.time.now();
                self.sleep(PAUSE).await;
                continue;
            }
            let more = either(self.more_people.notified(), async { _ = standing.changed().await });
            either(self.world.time.sleep_until(course.look_at), more).await;
        }
    }

    async fn round(&self, course: &mut Course) -> Result<(), LogError> {
        let agreed = self.agreed()?;
        if course.knows.as_ref() != Some(&agreed) {
            if course.knows.is_some() {
                self.people.borrow_mut().values_mut().for_each(Shared::restore);
                course.quiet_until = self.world.time.now() + QUIET;
            }
            course.knows = Some(agreed.clone());
        }
        if self.world.time.now() >= course.look_at {
            self.look_at_people().await?;
            course.look_at = self.world.time.now() + LOOK;
        }
        let quiet = if self.world.time.now() < course.quiet_until { Quiet::Yes } else { Quiet::No };
        while self.people.borrow().values().any(Shared::is_waiting) {
            self.tell(&agreed, quiet).await?;
        }
        Ok(())
    }

    async fn tell(&self, agreed: &Agreed, quiet: Quiet) -> Result<(), LogError> {
        let mut moves: Vec<Move> = Vec::new();
        let mut flying: Vec<(RoomId, usize)> = Vec::new();
        for (room, shared) in self.people.borrow_mut().iter_mut().filter(|(_, shared)| shared.is_waiting()) {
            let taken = shared.take(*room, TOGETHER - moves.len(), quiet);
            flying.push((*room, taken.len()));
            moves.extend(taken);
        }
        let moved = self.move_people(agreed, moves).await;
        let mut at = 0;
        for (room, count) in flying {
            match &moved {
                Ok(moved) => self.shared(room, |shared| shared.landed(&moved[at..at + count])),
                Err(_) => self.shared(room, Shared::failed),
            }
            at += count;
        }
        moved.map(drop)
    }

    async fn move_people(
        &self,
        agreed: &Agreed,
        moves: Vec<Move>,
    ) -> Result<Vec<crate::log::Moved>, LogError> {
        let (wire, now) = self.ready(&self.ask).await?;
        if now != *agreed {
            return Err(LogErrorKind::Unavailable.into());
        }
        let (id, world) = (self.id, Rc::clone(&self.world));
        let done = self.on(&self.ask, &wire, move |store| {
            let due = world.redis.millis().unsigned_abs() + u64::try_from(GRACE.as_millis()).unwrap_or(0);
            let mut moved = Vec::new();
            for each in &moves {
                let partition = LogId::from(each.room).partition();
                if !store.is_agreed(partition, now.generation, &now.run_id) {
                    return None;
                }
                let people = store.people.get_mut(&partition).expect("it is there");
                let (done, passed) = people.apply(id, each, due);
                world.say_of_people(each.room, passed);
                moved.push(done);
            }
            Some(moved)
        });
        match done.await {
            Ok(Some(moved)) => Ok(moved),
            Ok(None) => {
                self.suspect();
                Err(LogErrorKind::Unavailable.into())
            }
            Err(_) => Err(LogErrorKind::Unavailable.into()),
        }
    }

    /// `Crowd::look`
    async fn look_at_people(&self) -> Result<(), LogError> {
        let rooms: Vec<(RoomId, bool, u64)> = {
            let people = self.people.borrow();
            people.iter().map(|(room, shared)| (*room, shared.is_held(), shared.heard())).collect()
        };
        let (id, of) = (self.id, rooms.clone());
        let partitions = rooms.iter().map(|(room, ..)| LogId::from(*room).partition()).collect();
        let looked = self.look(partitions, move |store| {
            let one = |room: &RoomId| {
                let people = &store.people[&LogId::from(*room).partition()];
                let partition = LogId::from(*room).partition();
                let in_partition =
                    |(pod, room): &&(Uuid, RoomId)| *pod == id && LogId::from(*room).partition() == partition;
                (people.at.iter().filter(in_partition).count(), people.online(*room))
            };
            of.iter().map(|(room, ..)| one(room)).collect::<Vec<_>>()
        });
        let looked = looked.await?;
        for ((room, is_held, heard), (known, online)) in rooms.iter().zip(looked) {
            let partition = LogId::from(*room).partition();
            let held =
                rooms.iter().filter(|(of, held, _)| *held && LogId::from(*of).partition() == partition);
            let is_forgotten = *is_held && known < held.count();
            self.shared(*room, |shared| {
                if is_forgotten {
                    shared.tell_again();
                }
                shared.counted(online, *heard);
            });
        }
        Ok(())
    }

    /// `people::tend` of the writer
    pub(super) async fn tend(self: Rc<Self>) {
        let mut graves = Graves::default();
        loop {
            self.sleep(EVERY).await;
            graves.look(&self.live.borrow());
            let owned = self.owned.borrow().clone();
            if owned.is_empty() {
                continue;
            }
            let of: Vec<Owned> = owned.clone();
            let partitions = owned.iter().map(|owned| owned.partition).collect();
            let found = self.look(partitions, move |store| {
                of.iter().flat_map(|owned| store.people[&owned.partition].pods()).collect::<HashSet<Uuid>>()
            });
            let Ok(found) = found.await else { continue };
            let now = tokio::time::Instant::from_std(self.instant());
            graves.find(&found, now);
            let mut dead: Vec<Uuid> = found.into_iter().filter(|pod| graves.is_dead(pod, now)).collect();
            dead.sort_unstable();
            _ = self.bury_and_reap(owned, dead).await;
        }
    }

    async fn bury_and_reap(&self, owned: Vec<Owned>, dead: Vec<Uuid>) -> Result<(), LogError> {
        let world = Rc::clone(&self.world);
        let partitions = owned.iter().map(|owned| owned.partition).collect();
        self.look(partitions, move |store| {
            let now = world.redis.millis().unsigned_abs();
            let due = now + u64::try_from(GRACE.as_millis()).unwrap_or(0);
            for owned in &owned {
                let is_owner = |meta: &crate::log::redis::model::Meta| meta.token == owned.token;
                if !store.partitions[&owned.partition].meta.as_ref().is_some_and(is_owner) {
                    continue;
                }
                let people = store.people.get_mut(&owned.partition).expect("it is there");
                for room in &world.rooms {
                    if LogId::from(room.id).partition() != owned.partition {
                        continue;
                    }
                    for pod in dead
                        .iter()
                        .filter(|pod| people.at.contains(&(**pod, room.id)))
                        .copied()
                        .collect::<Vec<_>>()
                    {
                        people.bury(room.id, pod, due);
                    }
                    world.say_of_people(room.id, people.reap(room.id, now));
                }
            }
        })
        .await
    }
}

/// What is said of people, as the pods hear it.
pub(super) fn said(room: RoomId, passed: Passed) -> (LogId, Notice) {
    (room.into(), Notice::Passed(room.into(), passed))
}
