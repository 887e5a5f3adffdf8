//! An event on its way from the log into the archive.

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{ClientId, Event, RoomId, Text};

/// An idempotency key and the text that it stands for, as hashes: neither is worth keeping in full, and no text
/// of a user's goes into a store's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Of the person and their `client_id`.
    pub key: [u8; 16],
    /// Of the text.
    pub text: [u8; 16],
}

impl Key {
    /// The key of `who`, which is a user or an address in disguise.
    pub fn new(who: Uuid, client_id: &ClientId, text: &Text) -> Self {
        let whose: Vec<u8> = [who.as_bytes(), client_id.as_str().as_bytes()].concat();
        Key { key: digest(&whose), text: digest(text.as_str().as_bytes()) }
    }
}

/// The first 16 bytes of the SHA-256: long enough that nobody makes two alike.
pub fn digest(bytes: &[u8]) -> [u8; 16] {
    Sha256::digest(bytes)[..16].try_into().expect("a SHA-256 has 32 bytes")
}

/// An event with what is kept beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// In whose log it is.
    pub room: RoomId,
    /// What it is.
    pub event: Event,
    /// Of a message that had a `client_id`.
    pub key: Option<Key>,
}

impl Entry {
    /// An event that somebody was shown, by a pod that did not take it itself. Its key is that of a speaker with a session.
    pub fn of_shown(room: RoomId, event: Event) -> Self {
        let said =
            event.client_id.as_ref().zip(event.text.as_deref().and_then(|text| text.parse::<Text>().ok()));
        let key = said.map(|(client_id, text)| Key::new(event.user.id.0, client_id, &text));
        Entry { room, event, key }
    }

    /// Is it of a room with members? Those are called by their UUIDs, and no slug looks like one.
    pub fn has_members(&self) -> bool {
        const HYPHENATED: usize = 36;
        self.event.room.len() == HYPHENATED && Uuid::try_parse(&self.event.room).is_ok()
    }
}
