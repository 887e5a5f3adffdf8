//! How far people have read, from time to time.

use std::{sync::Weak, time::Duration};

use tokio::time::sleep;

use super::Writer;

/// How often it goes to the archive: what is lost with Redis is no older.
const EVERY: Duration = Duration::from_secs(5);

pub(super) async fn keep(writer: Weak<Writer>) {
    loop {
        sleep(EVERY).await;
        loop {
            let Some(writer) = writer.upgrade() else { return };
            match writer.log.keep_marks(&writer.owned()).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(e) => {
                    tracing::debug!(error = %e, "marks could not be kept; trying again");
                    break;
                }
            }
        }
    }
}
