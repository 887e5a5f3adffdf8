//! From rooms with members into their members' inboxes. It has a lane of its own, so that it goes on while the archive
//! is away.

use std::sync::Weak;

use tokio::time::{Duration, sleep};

use super::{PATIENCE, PAUSE, Writer};
use crate::{
    clock,
    log::{Batch, LogError, Outbox},
};

/// Entries that are delivered at once, at most: fewer than an inbox keeps, so that it knows those that come again.
const LETTERS: usize = 200;
/// How often it is looked whether readers may see what is to be delivered.
const SEEN: Duration = Duration::from_millis(5);

pub(super) async fn carry(writer: Weak<Writer>) {
    let mut mail: Option<Outbox> = None;
    loop {
        let Some(writer) = writer.upgrade() else { return };
        let standing = writer.log.standing().borrow().clone();
        mail = mail.filter(|mail| mail.stands(&standing));
        let read = async {
            let mail = match &mut mail {
                Some(mail) => mail,
                None => mail.insert(writer.log.mail().await?),
            };
            mail.read(&writer.owned(), LETTERS, Some(PATIENCE)).await
        };
        match read.await {
            Ok(batch) if batch.is_empty() => {}
            Ok(batch) => {
                writer.deliver(&batch).await;
                continue;
            }
            Err(_) => mail = None,
        }
        if mail.is_none() || writer.owned().is_empty() {
            drop(writer);
            sleep(PATIENCE / 5).await;
        }
    }
}

impl Writer {
    /// Delivers, however long it takes; or until the generation ends, and the inboxes with it.
    async fn deliver(&self, batch: &Batch) {
        let standing = self.log.standing();
        let mut pause = PAUSE.0;
        while let Err(e) = self.try_to_deliver(batch).await {
            tracing::debug!(error = %e, "mail could not be delivered; trying again");
            if !batch.stands(&standing.borrow()) {
                return;
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    async fn try_to_deliver(&self, batch: &Batch) -> Result<(), LogError> {
        while !self.log.is_to_be_seen(batch).await? {
            sleep(SEEN).await;
        }
        self.log.deliver(batch).await?;
        let now = clock::millis();
        for entry in &batch.entries {
            #[expect(clippy::cast_precision_loss, reason = "ms of a lag are few")]
            self.figures.inbox_seconds.observe((now - entry.event.ts).max(0) as f64 / 1000.0);
        }
        self.log.delivered(batch, &self.owned()).await
    }
}
