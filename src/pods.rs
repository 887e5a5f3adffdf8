//! The pods that live, and what they agree on: which life of which Redis server their logs are in.
//!
//! A server that came back may have lost something. So before anybody speaks to another process than the one that
//! was agreed on, one pod takes the lock in MySQL and every pod gives what it holds to the archive; what the
//! server's outboxes still have goes there too. Then the archive has everything that anybody knows of, and a new
//! *generation* begins on the server with nothing but what is read back from the archive. If something is missing
//! nevertheless, or nobody can know, the epoch grows.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use prometheus_client::metrics::counter::Counter;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};
use uuid::Uuid;

use crate::{
    archive::{Archive, ArchiveError, FenceGuard, Lost, PodView},
    clock,
    event::PARTITIONS,
    faults::{self, Fault},
    log::{Agreed, LogError, RedisLog, Server, Standing},
};

mod step;

pub use step::Left;
use step::{Me, Step, next};

/// How long a pod lives on without saying that it lives, by the database's clock, in ms.
const LEASE_MS: i64 = 10_000;
/// How often it says so.
const RENEW: Duration = Duration::from_secs(2);
/// The same while nothing is agreed on.
const HURRY: Duration = Duration::from_millis(200);

const _: () = assert!(RENEW.as_millis() * 4 < LEASE_MS as u128);

/// What is counted here.
#[derive(Debug, Default)]
pub struct Figures {
    /// Generations that this pod made all agree on.
    pub fences: Counter,
    /// Generations that began without this pod.
    pub left_out: Counter,
}

/// This pod among the others.
pub struct Pods {
    id: Uuid,
    archive: Archive,
    log: Arc<RedisLog>,
    live: watch::Sender<Vec<Uuid>>,
    /// Counts the generations that this pod took up, and those that it was left out of.
    taken_up: watch::Sender<Left>,
    /// This pod is on its way out.
    leaving: watch::Sender<bool>,
    keeping_up: Mutex<Option<JoinHandle<()>>>,
    figures: Figures,
}

impl Pods {
    /// Joins the others, now and until the pod is told to leave.
    pub fn join(id: Uuid, archive: Archive, log: Arc<RedisLog>) -> Arc<Self> {
        let pods = Arc::new(Pods {
            id,
            archive,
            log,
            live: watch::Sender::new(Vec::new()),
            taken_up: watch::Sender::new(Left::default()),
            leaving: watch::Sender::new(false),
            keeping_up: Mutex::default(),
            figures: Figures::default(),
        });
        let keeping_up = tokio::spawn(keep_up(Arc::downgrade(&pods), pods.leaving.subscribe()));
        *pods.keeping_up.lock().expect("no panic while locked") = Some(keeping_up);
        pods
    }

    /// The pods that live, this one among them.
    pub fn live(&self) -> watch::Receiver<Vec<Uuid>> {
        self.live.subscribe()
    }

    /// Changes when a generation was taken up: readers may have missed something; or were left out, and then they
    /// may have seen what the others do not have.
    pub fn taken_up(&self) -> watch::Receiver<Left> {
        self.taken_up.subscribe()
    }

    /// What is counted.
    pub fn figures(&self) -> &Figures {
        &self.figures
    }

    /// Leaves in good order, once the archive has all that this pod took; or not, and then the others know that
    /// something may be missing.
    pub async fn leave(&self, patience: Duration) {
        let emptied = async {
            while !self.log.held().is_empty() {
                sleep(Duration::from_millis(50)).await;
            }
        };
        let is_emptied = timeout(patience, emptied).await;
        self.leaving.send_replace(true);
        let keeping_up = self.keeping_up.lock().expect("no panic while locked").take();
        if let Some(keeping_up) = keeping_up {
            // Whatever it is at, it signs on no more after this.
            _ = timeout(patience, keeping_up).await;
        }
        match is_emptied {
            Ok(()) => {
                if let Err(e) = self.archive.remove_pod(self.id).await {
                    tracing::warn!(error = %e, "this pod could not sign off");
                }
            }
            Err(_) => tracing::warn!("the archive does not have all that this pod took; Redis has it"),
        }
    }

    /// One look at the others and at the server, and what follows from it. True when all is agreed on.
    async fn turn(&self, me: &mut Me, dead: &mut Dead) -> Result<bool, LogError> {
        let view = self.archive.renew_pod(self.id, LEASE_MS).await?;
        let mut live: Vec<Uuid> = view.pods.iter().filter(|pod| pod.is_live).map(|pod| pod.id).collect();
        live.sort_unstable();
        self.live.send_if_modified(|known| {
            let is_new = *known != live;
            *known = live;
            is_new
        });
        let server = self.log.server(&view.fence).await;
        match next(me, &view.fence, server) {
            Step::Stay => self.bury(&view, dead).await?,
            Step::Wait => self.log.stand(Standing::Fenced),
            Step::TakeUp { left_out } => {
                if left_out {
                    self.catch_up(&view).await?;
                }
                self.take_up(me, view.fence.generation, &view.fence.run_id, left_out);
            }
            Step::GiveBack => {
                self.log.stand(Standing::Fenced);
                self.give_back(me, view.fence.generation).await?;
                // The one who asked for it may be gone.
                return self.recover(me).await;
            }
            Step::Recover => {
                self.log.stand(Standing::Fenced);
                return self.recover(me).await;
            }
        }
        Ok(me.standing.is_some() && matches!(*self.log.standing().borrow(), Standing::Agreed(_)))
    }

    fn take_up(&self, me: &mut Me, generation: i64, run_id: &str, left_out: bool) {
        self.log.release_all();
        me.standing = Some(generation);
        self.log.stand(Standing::Agreed(Agreed { generation, run_id: run_id.into() }));
        tracing::info!(generation, left_out, "agreed on a life of Redis");
        self.taken_up.send_modify(|left| {
            left.times += 1;
            left.out += u64::from(left_out);
        });
    }

    /// This pod slept while the others agreed: what it still holds goes to the archive as what it is, late.
    async fn catch_up(&self, view: &PodView) -> Result<(), LogError> {
        self.log.stand(Standing::Fenced);
        self.figures.left_out.inc();
        let held = self.log.held();
        tracing::warn!(
            generation = view.fence.generation,
            held = held.len(),
            "the others agreed without this pod"
        );
        Ok(self.archive.give_late(&held).await?)
    }

    async fn give_back(&self, me: &mut Me, generation: i64) -> Result<(), LogError> {
        if faults::is_on(Fault::NoFence) {
            self.archive.gave_back(self.id, generation).await?;
        } else if me.gave_back != generation {
            let held = self.log.held();
            self.archive.give_back(&held).await?;
            self.log.say_what_is_missing(generation).await?;
            self.archive.gave_back(self.id, generation).await?;
            tracing::info!(generation, held = held.len(), "gave back what the archive did not have");
        }
        me.gave_back = generation;
        Ok(())
    }

    /// Sees to it that all agree again, unless another pod does. True when it is done.
    async fn recover(&self, me: &mut Me) -> Result<bool, LogError> {
        let Some(mut guard) = self.archive.lock_fence().await? else { return Ok(false) };
        // Somebody may have been faster.
        let fence = self.archive.fence().await?;
        if fence.is_agreed && matches!(self.log.server(&fence).await, Server::Same) {
            return Ok(false);
        }
        let Some(run_id) = self.log.run_id().await else { return Ok(false) };
        let generation = guard.begin(&run_id).await?;
        tracing::warn!(generation, run_id, "Redis is not the one that was agreed on: everybody gives back");
        self.figures.fences.inc();
        let lost = match faults::is_on(Fault::NoFence) {
            true => Lost::Nothing,
            false => self.collect(&mut guard, me, generation).await?,
        };
        let kept = match lost {
            // Of a life before the first there is nothing that could be missing.
            Lost::Nothing if generation == 1 => Some(0),
            Lost::Nothing => self.log.keys_kept(generation).await?,
            Lost::Unknown => None,
        };
        self.log.begin(generation, &run_id, kept.unwrap_or_else(clock::millis)).await?;
        guard.agree(lost).await?;
        self.take_up(me, generation, &run_id, false);
        self.log.sweep_old(generation).await;
        Ok(true)
    }

    /// Everything that anybody knows of goes to the archive; gives what may be missing nevertheless.
    async fn collect(&self, guard: &mut FenceGuard, me: &mut Me, generation: i64) -> Result<Lost, LogError> {
        for partition in 0..PARTITIONS {
            let survivors = self.log.survivors(partition).await?;
            self.archive.give_back(&survivors).await?;
        }
        self.give_back(me, generation).await?;
        Ok(self.everybody_gave(guard, generation).await?)
    }

    /// Waits for every pod that lives; one whose time ends before it has given back may have taken what is lost.
    async fn everybody_gave(&self, guard: &mut FenceGuard, generation: i64) -> Result<Lost, ArchiveError> {
        loop {
            guard.hold().await?;
            let view = self.archive.renew_pod(self.id, LEASE_MS).await?;
            let missing: Vec<_> = view.pods.iter().filter(|pod| pod.gave_back < generation).collect();
            if missing.is_empty() {
                return Ok(Lost::Nothing);
            }
            if missing.iter().all(|pod| !pod.is_live) {
                return Ok(Lost::Unknown);
            }
            drop(missing);
            sleep(HURRY / 2).await;
        }
    }

    /// A pod that died is forgotten once the archive has all that it may have taken.
    async fn bury(&self, view: &PodView, dead: &mut Dead) -> Result<(), LogError> {
        dead.retain(|pod, _| view.pods.iter().any(|row| row.id == *pod && !row.is_live));
        for pod in &view.pods {
            if pod.is_live {
                continue;
            }
            let [taken, archived] = self.log.all_marks().await?;
            let taken_then = dead.entry(pod.id).or_insert(taken);
            if taken_then.iter().zip(&archived).all(|(taken, archived)| archived >= taken) {
                self.archive.remove_pod(pod.id).await?;
            }
        }
        Ok(())
    }
}

/// Begins a new epoch in every room of a MySQL that was put back from a backup: seqs given after the backup are
/// never given again. What Redis still has is older or newer than that, and is not looked at again.
///
/// # Errors
/// A sentence: a pod lives, or the archive does not answer.
pub async fn new_epoch(archive: &Archive) -> Result<u32, String> {
    let me = Uuid::now_v7();
    let view = archive.renew_pod(me, LEASE_MS).await.map_err(|e| e.to_string())?;
    archive.remove_pod(me).await.map_err(|e| e.to_string())?;
    if view.pods.iter().any(|pod| pod.is_live && pod.id != me) {
        return Err("a pod is running, or ended less than 10 s ago: stop all of them first".into());
    }
    let guard = archive.lock_fence().await.map_err(|e| e.to_string())?;
    let mut guard = guard.ok_or("another process is at work on the same")?;
    guard.begin("").await.map_err(|e| e.to_string())?;
    let fence = guard.agree(Lost::Unknown).await.map_err(|e| e.to_string())?;
    Ok(fence.losses + 1)
}

/// Pods that died, with what had been taken in each partition when that was seen.
type Dead = HashMap<Uuid, Vec<u64>>;

async fn keep_up(pods: Weak<Pods>, mut leaving: watch::Receiver<bool>) {
    let (mut me, mut dead) = (Me::default(), Dead::new());
    let mut was_well = true;
    loop {
        let Some(pods) = pods.upgrade() else { return };
        let is_agreed = match pods.turn(&mut me, &mut dead).await {
            Ok(is_agreed) => {
                was_well = true;
                is_agreed
            }
            Err(e) => {
                if std::mem::replace(&mut was_well, false) {
                    tracing::warn!(error = %e, "this pod cannot keep up with the others; trying again");
                }
                false
            }
        };
        let pause = if is_agreed { RENEW } else { HURRY };
        let log = Arc::clone(&pods.log);
        drop(pods);
        tokio::select! {
            () = sleep(pause) => {}
            () = log.suspected() => {}
            _ = leaving.wait_for(|leaving| *leaving) => return,
        }
    }
}
