//! Whether what lies under the store can be trusted.

use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, ffi};

/// Between two looks whether a disk that failed works again.
const LOOK: Duration = Duration::from_millis(250);

/// What came of the last batches.
///
/// A sync that failed leaves it open what is on the disk, and the kernel may take the pages for written from then on:
/// the next sync succeeds and says nothing of them. So after an I/O error nothing is written until everything that was
/// ever committed has been written to the database once more, and what the failed commit left behind is gone.
#[derive(Default)]
pub(super) struct Disk {
    is_failing: bool,
    /// When to look again, after an I/O error.
    look_at: Option<Instant>,
}

impl Disk {
    /// May something be written? Looks whether it works again, now and then.
    pub(super) fn is_sound(&mut self, connection: &Connection) -> bool {
        let Some(look_at) = self.look_at else { return true };
        if Instant::now() < look_at {
            return false;
        }
        match write_anew(connection) {
            Ok(()) => self.look_at = None,
            Err(_) => self.look_at = Some(Instant::now() + LOOK),
        }
        self.look_at.is_none()
    }

    /// A batch was stored.
    pub(super) fn worked(&mut self) {
        if std::mem::take(&mut self.is_failing) {
            tracing::info!("the store works again");
        }
    }

    /// A batch was not stored.
    pub(super) fn failed(&mut self, error: &rusqlite::Error, jobs: usize) {
        // Of those that follow it need not be said again.
        if !std::mem::replace(&mut self.is_failing, true) {
            tracing::error!(%error, jobs, "a batch could not be stored");
        }
        if is_io(error) {
            self.look_at = Some(Instant::now());
        }
    }
}

/// Did the disk, or whatever it is, fail? That it is full is no failure: SQLite knows what it has written.
pub(super) fn is_io(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure)
}

/// Copies everything in the write-ahead log into the database, syncs that, and empties the log.
pub(in crate::log::sqlite) fn write_anew(connection: &Connection) -> rusqlite::Result<()> {
    let is_busy: bool = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    match is_busy {
        true => Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_BUSY), None)),
        false => Ok(()),
    }
}
