//! The pods that live, and what they agree on: which life of which Redis server their logs are in.
//!
//! A server that came back may have lost something. So before anybody speaks to another process than the one that
//! was agreed on, one pod takes the lock in MySQL and every pod gives what it holds to the archive; what the
//! server's outboxes still have goes there too. Then the archive has everything that anybody knows of, and a new
//! *generation* begins on the server with nothing but what is read back from the archive. If something is missing
//! nevertheless, or nobody can know, the epoch grows.

use std::{
    sync::{Arc, Mutex, Weak},
    time::{Duration, Instant},
};

use prometheus_client::metrics::counter::Counter;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};
use uuid::Uuid;

use crate::{
    archive::{Archive, ArchiveError, Fence, FenceGuard, Lost, PodView},
    event::Entry,
    log::{LogError, RedisLog, Server, Standing},
};

pub(crate) mod step;
pub(crate) mod turn;

pub use step::Left;
use step::Me;
use turn::{Dead, Guard, Ports, turn};

/// How long a pod lives on without saying that it lives, by the database's clock, in ms.
pub(crate) const LEASE_MS: i64 = 10_000;
/// How often it says so.
pub(crate) const RENEW: Duration = Duration::from_secs(2);
/// The same while nothing is agreed on.
pub(crate) const HURRY: Duration = Duration::from_millis(200);

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
    /// When the archive last took this pod's word that it lives.
    renewed: Mutex<Instant>,
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
            renewed: Mutex::new(Instant::now()),
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

    /// When the archive last took this pod's word that it lives.
    pub fn renewed(&self) -> Instant {
        *self.renewed.lock().expect("no panic while locked")
    }

    /// Do the pods agree on the server that they speak to?
    pub fn agree(&self) -> bool {
        self.is_standing()
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
}

impl Ports for Pods {
    type Guard = FenceGuard;

    async fn renew(&self) -> Result<PodView, ArchiveError> {
        let view = self.archive.renew_pod(self.id, LEASE_MS).await?;
        *self.renewed.lock().expect("no panic while locked") = Instant::now();
        Ok(view)
    }

    async fn remove(&self, pod: Uuid) -> Result<(), ArchiveError> {
        self.archive.remove_pod(pod).await
    }

    async fn fence(&self) -> Result<Fence, ArchiveError> {
        self.archive.fence().await
    }

    async fn lock_fence(&self) -> Result<Option<FenceGuard>, ArchiveError> {
        self.archive.lock_fence().await
    }

    async fn give_back(&self, entries: &[Entry]) -> Result<(), ArchiveError> {
        self.archive.give_back(entries).await
    }

    async fn give_late(&self, entries: &[Entry]) -> Result<(), ArchiveError> {
        self.figures.left_out.inc();
        self.archive.give_late(entries).await
    }

    async fn gave_back(&self, generation: i64) -> Result<(), ArchiveError> {
        self.archive.gave_back(self.id, generation).await
    }

    async fn server(&self, fence: &Fence) -> Server {
        self.log.server(fence).await
    }

    async fn run_id(&self) -> Option<String> {
        self.log.run_id().await
    }

    async fn survivors(&self, partition: u8) -> Result<Vec<Entry>, LogError> {
        self.log.survivors(partition).await
    }

    async fn say_what_is_missing(&self, generation: i64, shown: &[Entry]) -> Result<(), LogError> {
        self.log.say_what_is_missing(generation, shown).await
    }

    async fn keys_kept(&self, generation: i64) -> Result<Option<i64>, LogError> {
        self.log.keys_kept(generation).await
    }

    async fn begin(&self, generation: i64, run_id: &str, keys_since: i64) -> Result<(), LogError> {
        self.log.begin(generation, run_id, keys_since).await
    }

    async fn all_marks(&self) -> Result<[Vec<u64>; 2], LogError> {
        self.log.all_marks().await
    }

    async fn sweep_old(&self, generation: i64) {
        self.log.sweep_old(generation).await;
    }

    fn held(&self) -> Vec<Entry> {
        self.log.held()
    }

    fn shown(&self) -> Vec<Entry> {
        self.log.shown()
    }

    fn release_all(&self) {
        self.log.release_all();
    }

    fn stand(&self, standing: Standing) {
        self.log.stand(standing);
    }

    fn is_standing(&self) -> bool {
        matches!(*self.log.standing().borrow(), Standing::Agreed(_))
    }

    fn see(&self, live: Vec<Uuid>) {
        self.live.send_if_modified(|known| {
            let is_new = *known != live;
            *known = live;
            is_new
        });
    }

    fn took_up(&self, left_out: bool) {
        self.taken_up.send_modify(|left| {
            left.times += 1;
            left.out += u64::from(left_out);
        });
    }

    fn leads(&self) {
        self.figures.fences.inc();
    }

    async fn pause(&self) {
        sleep(HURRY / 2).await;
    }
}

impl Guard for FenceGuard {
    async fn begin(&mut self, run_id: &str) -> Result<i64, ArchiveError> {
        FenceGuard::begin(self, run_id).await
    }

    async fn agree(&mut self, lost: Lost) -> Result<Fence, ArchiveError> {
        FenceGuard::agree(self, lost).await
    }

    async fn hold(&mut self) -> Result<(), ArchiveError> {
        FenceGuard::hold(self).await
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

async fn keep_up(pods: Weak<Pods>, mut leaving: watch::Receiver<bool>) {
    let (mut me, mut dead) = (Me::default(), Dead::new());
    let mut was_well = true;
    loop {
        let Some(pods) = pods.upgrade() else { return };
        let is_agreed = match turn(&*pods, &mut me, &mut dead).await {
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
