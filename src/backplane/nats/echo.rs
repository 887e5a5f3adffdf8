//! What a pod says to itself through the server: when it comes back, the server has got all that was sent before
//! on that connection, since it takes in what a connection sends in order.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use async_nats::{Client, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::backplane::{BackplaneError, BackplaneErrorKind};

/// The echoes of one pod.
#[derive(Debug)]
pub(super) struct Echo {
    subject: String,
    last: AtomicU64,
    awaited: Mutex<HashMap<u64, oneshot::Sender<()>>>,
}

impl Default for Echo {
    fn default() -> Self {
        let subject = format!("_INBOX.maru.{}", Uuid::new_v4().simple());
        Echo { subject, last: AtomicU64::new(0), awaited: Mutex::default() }
    }
}

impl Echo {
    /// Where they come back.
    pub(super) fn subject(&self) -> String {
        self.subject.clone()
    }

    /// Takes them in.
    pub(super) async fn hear(&self, mut echoes: Subscriber) {
        while let Some(message) = echoes.next().await {
            if let Ok(number) = message.payload[..].try_into().map(u64::from_be_bytes)
                && let Some(waiting) = self.awaited().remove(&number)
            {
                // Who waited may have gone.
                _ = waiting.send(());
            }
        }
    }

    /// Resolves when one came back; an error when the link is cut before. Takes as long as that takes.
    pub(super) async fn round_trip(&self, client: &Client) -> Result<(), BackplaneError> {
        let unavailable = BackplaneErrorKind::Unavailable;
        let number = self.last.fetch_add(1, Relaxed);
        let (sender, receiver) = oneshot::channel();
        self.awaited().insert(number, sender);
        let _forget = Forget { echo: self, number };
        let payload = Bytes::copy_from_slice(&number.to_be_bytes());
        client.publish(self.subject(), payload).await.map_err(|e| BackplaneError::new(unavailable, e))?;
        receiver.await.map_err(|e| BackplaneError::new(unavailable, e))
    }

    /// None will come back.
    pub(super) fn cut(&self) {
        self.awaited().clear();
    }

    fn awaited(&self) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<()>>> {
        self.awaited.lock().expect("no panic while locked")
    }
}

/// Who waits may be dropped.
struct Forget<'a> {
    echo: &'a Echo,
    number: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.echo.awaited().remove(&self.number);
    }
}
