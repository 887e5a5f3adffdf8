//! What a reader is told where something is missing.

use serde::Serialize;

use super::Cursor;

/// `event: gap`: what lies between `from` and `to` can no longer be given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// Where the reader was; `null` when what it gave is no cursor.
    pub from: Option<Cursor>,
    /// From where on it goes on.
    pub to: Cursor,
    /// Why.
    pub reason: GapReason,
}

/// Why there is a [`Gap`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum GapReason {
    /// Messages are kept for a limited time.
    Retention,
    /// The cursor is unknown, malformed or of the future.
    Unknown,
    /// The store lost a part.
    Epoch,
    /// It was before the reader became a member of the room.
    Membership,
}
