//! The writer of a pod: leases, batches, trimming.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    time::Duration,
};

use tokio::sync::mpsc;

use super::{pod::Pod, time::either};
use crate::{
    archive::{ArchiveError, Stored},
    event::{Entry, Frame},
    log::{Agreed, Batch, LogError, LogErrorKind, Owned, Standing},
    writer::{
        FILL, LEASE, RENEW, ROWS,
        lease::shares,
        storing::{Desk, store, trim},
    },
};

/// How often it is looked whether a read that waits at the server has something to give.
const WAKE: Duration = Duration::from_millis(25);

pub(super) fn start(pod: &Rc<Pod>) {
    let (batches, to_store) = mpsc::channel(1);
    let (stored, to_trim) = mpsc::channel(1);
    pod.spawn(keep_leases(Rc::clone(pod)));
    pod.spawn(read(Rc::clone(pod), batches));
    pod.spawn(store_all(Rc::clone(pod), to_store, stored));
    pod.spawn(trim_all(Rc::clone(pod), to_trim));
}

async fn keep_leases(pod: Rc<Pod>) {
    let (mut standing, mut pods) = (pod.standing.subscribe(), pod.live.subscribe());
    loop {
        pod.keep().await;
        let changed = either(async { _ = pods.changed().await }, async { _ = standing.changed().await });
        either(pod.sleep(RENEW), changed).await;
    }
}

impl Pod {
    /// `Writer::keep`
    async fn keep(&self) {
        let pods = self.live.borrow().clone();
        let all = self.world.partitions.iter().copied();
        let (mine, surplus) = shares(self.id, all, &pods, &self.owned.borrow());
        let Ok(owned) = self.own(mine, LEASE).await else { return };
        *self.owned.borrow_mut() = owned;
        _ = self.own(surplus, Duration::ZERO).await;
    }

    /// `RedisLog::own`
    async fn own(&self, partitions: Vec<u8>, time: Duration) -> Result<Vec<Owned>, LogError> {
        if partitions.is_empty() {
            self.agreed()?;
            return Ok(Vec::new());
        }
        let (id, redis) = (self.id, Rc::clone(&self.world.redis));
        self.look(partitions.clone(), move |store| {
            let now = redis.millis();
            let owned = partitions.iter().filter_map(|partition| {
                let token = store.own(*partition, id, now, time)?;
                Some(Owned { partition: *partition, token })
            });
            owned.collect()
        })
        .await
    }

    /// What comes next in the outboxes.
    async fn read_outboxes(&self, outbox: &mut Outbox, limit: usize) -> Result<Batch, LogError> {
        let mut batch = Batch::of(&outbox.agreed);
        let owned = self.owned.borrow().clone();
        outbox.read_to.retain(|partition, (token, _)| {
            owned.iter().any(|owned| owned.partition == *partition && owned.token == *token)
        });
        for owned in &owned {
            outbox.read_to.entry(owned.partition).or_insert((owned.token, 0));
        }
        let places: Vec<(u8, u64)> = outbox.read_to.iter().map(|(p, (_, n))| (*p, *n)).collect();
        let generation = outbox.agreed.generation;
        // Names are of a generation: in another nothing is found.
        let wire = self.wire(&self.ask).await.map_err(|_| LogErrorKind::Unavailable)?;
        let found = self.on(&self.ask, &wire, move |store| {
            let found = places.iter().filter(|(partition, _)| {
                store.partitions[partition].meta.as_ref().is_some_and(|meta| meta.generation == generation)
            });
            found.map(|(p, after)| (*p, store.outbox(*p, *after, limit))).collect::<Vec<_>>()
        });
        for (partition, entries) in found.await.map_err(|_| LogErrorKind::Unavailable)? {
            for (n, entry) in entries {
                batch.take(partition, n, Some(entry));
                if let Some((_, place)) = outbox.read_to.get_mut(&partition) {
                    *place = n;
                }
            }
        }
        Ok(batch)
    }

    /// What a read that waits at the server would be woken by.
    fn has_more(&self, outbox: &Outbox) -> bool {
        let store = self.world.redis.store.borrow();
        self.owned.borrow().iter().any(|owned| {
            let after = match outbox.read_to.get(&owned.partition) {
                Some((token, n)) if *token == owned.token => *n,
                _ => 0,
            };
            store.partitions[&owned.partition].out.last_key_value().is_some_and(|(n, _)| *n > after)
        })
    }
}

/// How far the outboxes were read.
struct Outbox {
    agreed: Agreed,
    read_to: BTreeMap<u8, (u64, u64)>,
}

async fn read(pod: Rc<Pod>, batches: mpsc::Sender<Batch>) {
    let mut outbox: Option<Outbox> = None;
    loop {
        pod.sleep(WAKE).await;
        let standing = pod.standing.borrow().clone();
        outbox = outbox.filter(|outbox| standing.is(&outbox.agreed));
        if let (None, Standing::Agreed(agreed)) = (&outbox, standing) {
            outbox = Some(Outbox { agreed, read_to: BTreeMap::new() });
        }
        let Some(present) = &mut outbox else { continue };
        if !pod.has_more(present) {
            continue;
        }
        match fill(&pod, present).await {
            Ok(batch) if batch.is_empty() => {}
            Ok(batch) => {
                if batches.send(batch).await.is_err() {
                    return;
                }
            }
            Err(_) => outbox = None,
        }
    }
}

async fn fill(pod: &Pod, outbox: &mut Outbox) -> Result<Batch, LogError> {
    let mut batch = pod.read_outboxes(outbox, ROWS).await?;
    if !batch.is_empty() {
        pod.sleep(FILL).await;
        batch.append(pod.read_outboxes(outbox, ROWS).await?);
    }
    Ok(batch)
}

async fn store_all(pod: Rc<Pod>, mut batches: mpsc::Receiver<Batch>, stored: mpsc::Sender<Batch>) {
    while let Some(batch) = batches.recv().await {
        if store(&pod, &batch).await && stored.send(batch).await.is_err() {
            return;
        }
    }
}

async fn trim_all(pod: Rc<Pod>, mut stored: mpsc::Receiver<Batch>) {
    while let Some(batch) = stored.recv().await {
        for entry in trim(&pod, &batch).await {
            if pod.stored_only() {
                pod.say(entry.room.into(), Frame::new(&entry.event).said());
            }
        }
    }
}

impl Desk for Rc<Pod> {
    async fn store(&self, entries: &[Entry]) -> Result<Stored, ArchiveError> {
        let entries = entries.to_vec();
        self.world.mysql.transact(&self.archive, move |tables, _| tables.take(&entries)).await
    }

    async fn quarantine(&self, _entry: &Entry, _error: &str) -> Result<(), ArchiveError> {
        Ok(())
    }

    async fn archived(&self, batch: &Batch) -> Result<BTreeSet<u8>, LogError> {
        let agreed = batch.agreed.clone();
        let wire = self.wire(&self.ask).await.map_err(|_| LogErrorKind::Unavailable)?;
        let mut rooms = batch.rooms();
        let owned = self.owned.borrow().clone();
        let (now, kept) = (self.millis(), self.world.redis.kept);
        let part = |(partition, n): (&u8, &u64)| {
            let owned = owned.iter().find(|owned| owned.partition == *partition)?;
            Some((*owned, *n, rooms.remove(partition).unwrap_or_default()))
        };
        let parts: Vec<_> = batch.upto.iter().filter_map(part).collect();
        let archived = self.on(&self.ask, &wire, move |store| {
            let mut done = BTreeSet::new();
            for (Owned { partition, token }, n, rooms) in parts {
                if !store.is_agreed(partition, agreed.generation, &agreed.run_id) {
                    return None;
                }
                if store.archived(partition, token, n, &rooms, now, kept) {
                    done.insert(partition);
                }
            }
            Some(done)
        });
        match archived.await {
            Ok(Some(done)) => Ok(done),
            Ok(None) => {
                self.suspect();
                Err(crate::log::redis::fenced())
            }
            Err(_) => Err(LogErrorKind::Unavailable.into()),
        }
    }

    fn stands(&self, batch: &Batch) -> bool {
        batch.stands(&self.standing.borrow())
    }

    async fn pause(&self, time: Duration) {
        self.sleep(time).await;
    }

    fn jitter(&self) -> f64 {
        0.5 + self.rng.share() / 2.0
    }

    fn failed(&self) {}

    fn stored(&self, _stored: &Stored) {}

    fn put_aside(&self, _entry: &Entry, _error: &str) {}
}
