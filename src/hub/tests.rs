//! Frames to test with.

use std::sync::Arc;

use uuid::Uuid;

use crate::event::{Epoch, Event, EventKind, Frame, Seq, User, UserId, UserKind};

fn event(seq: u64) -> Event {
    Event {
        room: Arc::from("lobby"),
        epoch: Epoch(1),
        seq: Seq(seq),
        id: Uuid::nil(),
        kind: EventKind::Message,
        target: None,
        user: User { id: UserId(Uuid::nil()), name: "Ann".parse().unwrap(), kind: UserKind::Guest },
        text: Some(Arc::from("hello")),
        status: None,
        edited: None,
        by: None,
        ts: 0,
        client_id: None,
    }
}

pub(crate) fn frame(seq: u64) -> Frame {
    Frame::new(&event(seq))
}

/// Of any epoch.
pub(crate) fn frame_of(epoch: u32, seq: u64) -> Frame {
    Frame::new(&Event { epoch: Epoch(epoch), ..event(seq) })
}

pub(crate) fn deletion(seq: u64, target: u64) -> Frame {
    Frame::new(&Event { kind: EventKind::Delete, target: Some(Seq(target)), text: None, ..event(seq) })
}
