//! One look at the others and at the server, and what follows from it, to its end. What it asks of MySQL, of Redis and
//! of the pod itself are [`Ports`]: the pod's own, or those of the simulator.

use std::collections::HashMap;

use uuid::Uuid;

use super::step::{Me, Step, next};
use crate::{
    archive::{ArchiveError, Fence, Lost, PodView},
    clock,
    event::{Entry, PARTITIONS},
    faults::{self, Fault},
    log::{Agreed, LogError, Server, Standing},
};

/// Pods that died, with what had been taken in each partition when that was seen.
pub(crate) type Dead = HashMap<Uuid, Vec<u64>>;

/// The right to lead an agreement, see [`FenceGuard`](crate::archive::FenceGuard).
pub(crate) trait Guard {
    async fn begin(&mut self, run_id: &str) -> Result<i64, ArchiveError>;
    async fn agree(&mut self, lost: Lost) -> Result<Fence, ArchiveError>;
    async fn hold(&mut self) -> Result<(), ArchiveError>;
}

/// What a turn asks and orders: each is one step of [`Archive`](crate::archive::Archive), of
/// [`RedisLog`](crate::log::RedisLog), or of the pod.
pub(crate) trait Ports {
    type Guard: Guard;

    async fn renew(&self) -> Result<PodView, ArchiveError>;
    async fn remove(&self, pod: Uuid) -> Result<(), ArchiveError>;
    async fn fence(&self) -> Result<Fence, ArchiveError>;
    async fn lock_fence(&self) -> Result<Option<Self::Guard>, ArchiveError>;
    async fn give_back(&self, entries: &[Entry]) -> Result<(), ArchiveError>;
    async fn give_late(&self, entries: &[Entry]) -> Result<(), ArchiveError>;
    async fn gave_back(&self, generation: i64) -> Result<(), ArchiveError>;

    async fn server(&self, fence: &Fence) -> Server;
    async fn run_id(&self) -> Option<String>;
    async fn survivors(&self, partition: u8) -> Result<Vec<Entry>, LogError>;
    async fn say_what_is_missing(&self, generation: i64, shown: &[Entry]) -> Result<(), LogError>;
    async fn keys_kept(&self, generation: i64) -> Result<Option<i64>, LogError>;
    async fn begin(&self, generation: i64, run_id: &str, keys_since: i64) -> Result<(), LogError>;
    async fn all_marks(&self) -> Result<[Vec<u64>; 2], LogError>;
    async fn sweep_old(&self, generation: i64);

    fn held(&self) -> Vec<Entry>;
    /// What readers here were shown lately, whoever took it.
    fn shown(&self) -> Vec<Entry>;
    fn release_all(&self);
    fn stand(&self, standing: Standing);
    fn is_standing(&self) -> bool;
    /// These pods live, sorted.
    fn see(&self, live: Vec<Uuid>);
    fn took_up(&self, left_out: bool);
    /// This pod leads an agreement.
    fn leads(&self);
    /// Before it is looked again whether all have given back.
    async fn pause(&self);
    /// The time of day, in ms since 1970.
    fn millis(&self) -> i64 {
        clock::millis()
    }
}

/// One turn. True when all is agreed on.
pub(crate) async fn turn<P: Ports>(pod: &P, me: &mut Me, dead: &mut Dead) -> Result<bool, LogError> {
    let view = pod.renew().await?;
    let mut live: Vec<Uuid> = view.pods.iter().filter(|pod| pod.is_live).map(|pod| pod.id).collect();
    live.sort_unstable();
    pod.see(live);
    let server = pod.server(&view.fence).await;
    match next(me, &view.fence, server) {
        Step::Stay => bury(pod, &view, dead).await?,
        Step::Wait => pod.stand(Standing::Fenced),
        Step::TakeUp { left_out } => {
            if left_out {
                catch_up(pod, &view).await?;
            }
            take_up(pod, me, view.fence.generation, &view.fence.run_id, left_out);
        }
        Step::GiveBack => {
            pod.stand(Standing::Fenced);
            give_back(pod, me, view.fence.generation).await?;
            // The one who asked for it may be gone.
            return recover(pod, me).await;
        }
        Step::Recover => {
            pod.stand(Standing::Fenced);
            return recover(pod, me).await;
        }
    }
    Ok(me.standing.is_some() && pod.is_standing())
}

fn take_up<P: Ports>(pod: &P, me: &mut Me, generation: i64, run_id: &str, left_out: bool) {
    pod.release_all();
    me.standing = Some(generation);
    pod.stand(Standing::Agreed(Agreed { generation, run_id: run_id.into() }));
    tracing::info!(generation, left_out, "agreed on a life of Redis");
    pod.took_up(left_out);
}

/// This pod slept while the others agreed: what it still holds goes to the archive as what it is, late.
async fn catch_up<P: Ports>(pod: &P, view: &PodView) -> Result<(), LogError> {
    pod.stand(Standing::Fenced);
    let held = pod.held();
    let generation = view.fence.generation;
    tracing::warn!(generation, held = held.len(), "the others agreed without this pod");
    Ok(pod.give_late(&held).await?)
}

async fn give_back<P: Ports>(pod: &P, me: &mut Me, generation: i64) -> Result<(), LogError> {
    if faults::is_on(Fault::NoFence) {
        pod.gave_back(generation).await?;
    } else if me.gave_back != generation {
        let (held, shown) = (pod.held(), pod.shown());
        pod.give_back(&held).await?;
        // It can be read before the pod that asked has its answer: nobody may hold what some have seen.
        pod.give_back(&shown).await?;
        pod.say_what_is_missing(generation, &shown).await?;
        pod.gave_back(generation).await?;
        tracing::info!(generation, held = held.len(), "gave back what the archive did not have");
    }
    me.gave_back = generation;
    Ok(())
}

/// Sees to it that all agree again, unless another pod does. True when it is done.
async fn recover<P: Ports>(pod: &P, me: &mut Me) -> Result<bool, LogError> {
    let Some(mut guard) = pod.lock_fence().await? else { return Ok(false) };
    // Somebody may have been faster.
    let fence = pod.fence().await?;
    if fence.is_agreed && matches!(pod.server(&fence).await, Server::Same) {
        return Ok(false);
    }
    let Some(run_id) = pod.run_id().await else { return Ok(false) };
    let generation = guard.begin(&run_id).await?;
    tracing::warn!(generation, run_id, "Redis is not the one that was agreed on: everybody gives back");
    pod.leads();
    let lost = match faults::is_on(Fault::NoFence) {
        true => Lost::Nothing,
        false => collect(pod, &mut guard, me, generation).await?,
    };
    let kept = match lost {
        // Of a life before the first there is nothing that could be missing.
        Lost::Nothing if generation == 1 => Some(0),
        Lost::Nothing => pod.keys_kept(generation).await?,
        Lost::Unknown => None,
    };
    pod.begin(generation, &run_id, kept.unwrap_or_else(|| pod.millis())).await?;
    guard.agree(lost).await?;
    take_up(pod, me, generation, &run_id, false);
    pod.sweep_old(generation).await;
    Ok(true)
}

/// Everything that anybody knows of goes to the archive; gives what may be missing nevertheless.
async fn collect<P: Ports>(
    pod: &P,
    guard: &mut P::Guard,
    me: &mut Me,
    generation: i64,
) -> Result<Lost, LogError> {
    for partition in 0..PARTITIONS {
        let survivors = pod.survivors(partition).await?;
        pod.give_back(&survivors).await?;
    }
    give_back(pod, me, generation).await?;
    Ok(everybody_gave(pod, guard, generation).await?)
}

/// Waits for every pod that lives; one whose time ends before it has given back may have taken what is lost.
async fn everybody_gave<P: Ports>(
    pod: &P,
    guard: &mut P::Guard,
    generation: i64,
) -> Result<Lost, ArchiveError> {
    loop {
        guard.hold().await?;
        let view = pod.renew().await?;
        let missing: Vec<_> = view.pods.iter().filter(|pod| pod.gave_back < generation).collect();
        if missing.is_empty() {
            return Ok(Lost::Nothing);
        }
        if missing.iter().all(|pod| !pod.is_live) {
            return Ok(Lost::Unknown);
        }
        drop(missing);
        pod.pause().await;
    }
}

/// A pod that died is forgotten once the archive has all that it may have taken.
async fn bury<P: Ports>(pod: &P, view: &PodView, dead: &mut Dead) -> Result<(), LogError> {
    dead.retain(|pod, _| view.pods.iter().any(|row| row.id == *pod && !row.is_live));
    for row in &view.pods {
        if row.is_live {
            continue;
        }
        let [taken, archived] = pod.all_marks().await?;
        let taken_then = dead.entry(row.id).or_insert(taken);
        if taken_then.iter().zip(&archived).all(|(taken, archived)| archived >= taken) {
            pod.remove(row.id).await?;
        }
    }
    Ok(())
}
