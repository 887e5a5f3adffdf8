//! People who can be found by their names.

use std::{
    sync::Weak,
    time::{Duration, Instant},
};

use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

use super::Chat;
use crate::log::{Known, LogError, LogErrorKind};

/// How long somebody who signs in waits for it.
const NOW: Duration = Duration::from_secs(1);
/// People whose names the store could not take at once, at most.
const WAITING: usize = 1024;
/// Between two tries.
const PAUSE: Duration = Duration::from_secs(1);
/// How long it is tried; then they are found when they choose a name again.
const PATIENCE: Duration = Duration::from_secs(600);

/// Takes those whom the store could not take at once.
pub(super) type Later = mpsc::Sender<Known>;

/// A place for them.
pub(super) fn later() -> (Later, mpsc::Receiver<Known>) {
    mpsc::channel(WAITING)
}

impl Chat {
    /// Makes somebody findable, or has them be found by another name. One can sign in while the store is away: then
    /// it is tried again for a while.
    pub async fn know(&self, known: Known) {
        if let Err(e) = self.try_to_know(known.clone()).await {
            tracing::debug!(error = %e, "a name cannot be kept now; trying again");
            if self.later.try_send(known).is_err() {
                tracing::warn!("too many names wait to be kept: somebody is not found by theirs");
            }
        }
    }

    async fn try_to_know(&self, known: Known) -> Result<(), LogError> {
        timeout(NOW, self.log.know(known)).await.unwrap_or_else(|_| Err(LogErrorKind::Unavailable.into()))
    }
}

/// Tries again, until `chat` is gone.
pub(super) async fn retry(chat: Weak<Chat>, mut waiting: mpsc::Receiver<Known>) {
    while let Some(known) = waiting.recv().await {
        let until = Instant::now() + PATIENCE;
        loop {
            let Some(chat) = chat.upgrade() else { return };
            if chat.try_to_know(known.clone()).await.is_ok() || Instant::now() > until {
                break;
            }
            drop(chat);
            sleep(PAUSE).await;
        }
    }
}
