//! Who waits until an event is in the archive.

use std::{collections::HashMap, sync::Mutex};

use tokio::sync::watch;

use crate::event::{RoomId, Seq};

/// How far the archive is, of the rooms that somebody waits for.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    rooms: Mutex<HashMap<RoomId, watch::Sender<Seq>>>,
}

impl Stored {
    /// Waits until the archive has the room's log up to `seq`; for as long as somebody tells.
    pub(crate) async fn wait(&self, room: RoomId, seq: Seq) {
        let mut archived = {
            let mut rooms = self.rooms.lock().expect("no panic while locked");
            rooms.entry(room).or_insert_with(|| watch::Sender::new(Seq(0))).subscribe()
        };
        // The sender stays as long as there are receivers.
        _ = archived.wait_for(|archived| *archived >= seq).await;
    }

    /// The rooms that somebody waits for.
    pub(crate) fn rooms(&self) -> Vec<RoomId> {
        let mut rooms = self.rooms.lock().expect("no panic while locked");
        rooms.retain(|_, archived| archived.receiver_count() > 0);
        rooms.keys().copied().collect()
    }

    /// The archive has this room's log up to `seq`.
    pub(crate) fn tell(&self, room: RoomId, seq: Seq) {
        let rooms = self.rooms.lock().expect("no panic while locked");
        if let Some(archived) = rooms.get(&room) {
            archived.send_if_modified(|known| {
                let is_news = *known < seq;
                *known = seq.max(*known);
                is_news
            });
        }
    }
}
