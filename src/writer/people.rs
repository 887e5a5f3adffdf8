//! What the owner of a partition does for the people in its rooms: whose grace is over has left, and who was on a
//! pod that died has their grace from then on.

use std::{
    collections::{HashMap, HashSet},
    sync::Weak,
    time::Duration,
};

use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::Writer;
use crate::log::{LogError, Ward};

/// How often it is looked.
pub(crate) const EVERY: Duration = Duration::from_secs(1);
/// A pod that has people but was never seen alive may have just started, for so long.
const STRANGE: Duration = Duration::from_secs(15);
/// Steps in one look at most, so that a pod that died is not noticed late where very many leave.
const STEPS: usize = 50;

pub(super) async fn tend(writer: Weak<Writer>) {
    let mut graves = Graves::default();
    loop {
        sleep(EVERY).await;
        let Some(writer) = writer.upgrade() else { return };
        graves.look(&writer.pods.borrow());
        if let Err(e) = writer.look_after_people(&mut graves).await {
            tracing::debug!(error = %e, "people could not be looked after; trying again");
        }
    }
}

impl Writer {
    async fn look_after_people(&self, graves: &mut Graves) -> Result<(), LogError> {
        for _ in 0..STEPS {
            let mut wards: Vec<Ward> = self.log.wards(&self.owned()).await?;
            let found: HashSet<Uuid> = wards.iter().flat_map(|ward| ward.pods.iter().copied()).collect();
            graves.find(&found, Instant::now());
            for ward in &wards {
                for pod in ward.pods.iter().filter(|pod| graves.is_dead(pod, Instant::now())) {
                    tracing::debug!(%pod, partition = ward.owned.partition, "a pod died: its people leave");
                    self.log.bury(ward.owned, *pod).await?;
                }
            }
            wards.retain(|ward| !ward.is_quiet());
            for ward in &wards {
                self.log.reap(ward).await?;
            }
            if wards.is_empty() {
                break;
            }
        }
        Ok(())
    }
}

/// Which pods died.
#[derive(Debug, Default)]
pub(crate) struct Graves {
    live: HashSet<Uuid>,
    /// Lived once.
    known: HashSet<Uuid>,
    /// Have people, and were never seen alive; since when.
    strange: HashMap<Uuid, Instant>,
}

impl Graves {
    pub(crate) fn look(&mut self, live: &[Uuid]) {
        self.live = live.iter().copied().collect();
        self.known.extend(live);
    }

    /// These have people.
    pub(crate) fn find(&mut self, pods: &HashSet<Uuid>, now: Instant) {
        self.known.retain(|pod| self.live.contains(pod) || pods.contains(pod));
        self.strange.retain(|pod, _| pods.contains(pod) && !self.known.contains(pod));
        for pod in pods.iter().filter(|pod| !self.known.contains(*pod)) {
            self.strange.entry(*pod).or_insert(now);
        }
    }

    pub(crate) fn is_dead(&self, pod: &Uuid, now: Instant) -> bool {
        !self.live.contains(pod)
            && (self.known.contains(pod)
                || self.strange.get(pod).is_some_and(|since| now >= *since + STRANGE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_that_was_never_seen_alive_has_time_to_show_itself() {
        let [seen, strange] = [1, 2].map(Uuid::from_u128);
        let mut graves = Graves::default();
        let now = Instant::now();
        graves.look(&[seen]);
        graves.find(&[seen, strange].into(), now);
        assert!(!graves.is_dead(&seen, now) && !graves.is_dead(&strange, now));
        graves.look(&[]);
        graves.find(&[seen, strange].into(), now);
        assert!(graves.is_dead(&seen, now) && !graves.is_dead(&strange, now));
        graves.find(&[strange].into(), now + STRANGE);
        assert!(graves.is_dead(&strange, now + STRANGE));
        graves.look(&[strange]);
        graves.find(&[strange].into(), now + STRANGE);
        assert!(!graves.is_dead(&strange, now + STRANGE));
        graves.look(&[]);
        graves.find(&[].into(), now);
        assert!(graves.known.is_empty() && graves.strange.is_empty());
    }
}
