//! The log on one machine: SQLite *is* the log.
//!
//! One writer thread takes what has queued, numbers it, inserts it in one transaction (WAL,
//! `synchronous=FULL`), and only after the commit announces and answers: group commit, and order for free.
//! Who is in a room, how far they have read and what their inboxes point to is written with the event that
//! changes it. Readers have connections of their own, which see committed events only.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread::JoinHandle,
};

use rusqlite::{Connection, OpenFlags, config::DbConfig};
use tokio::sync::Semaphore;

use super::{Append, LogError, LogErrorKind, Notice, Placed};
use crate::event::{Event, Extent, Frame, Part, Room, RoomKind, Seq, UserId};

mod inbox;
mod keys;
mod members;
mod migrate;
mod read;
mod rows;
mod write;

use write::{Batch, Queue};

/// Connections that read. Two cores have no use for more, and each has a page cache of its own.
const READERS: usize = 4;
/// Reads that may wait for a connection; over it the store is overloaded.
const READS_WAITING: usize = 4096;
/// Statements kept prepared on each connection: all there are.
const STATEMENTS: usize = 96;

/// One data directory, opened by this process alone.
#[derive(Debug)]
pub struct SqliteLog {
    queue: Queue,
    writer: Mutex<Option<JoinHandle<()>>>,
    readers: Arc<Mutex<Vec<Connection>>>,
    turns: Semaphore,
    waiting: Semaphore,
    _alone: File,
}

impl SqliteLog {
    /// Opens or makes the store in `data`. `announce` is called on the writer thread, once a batch, in order,
    /// after its commit and before anybody is answered.
    ///
    /// # Errors
    /// When the directory cannot be used, another process has it, or its schema is newer than this program.
    pub fn open(data: &Path, announce: impl FnMut(Vec<Notice>) + Send + 'static) -> io::Result<Self> {
        let alone = lock(data)?;
        let path = data.join("maru.db");
        let mut connection = connect(&path, OpenFlags::default())?;
        migrate::up(&mut connection)?;
        // What a process left behind whose disk failed may be in the kernel's memory alone.
        write::write_anew(&connection)
            .map_err(|e| io::Error::other(format!("cannot write to {}: {e}", path.display())))?;
        let readers = (0..READERS)
            .map(|_| connect(&path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX))
            .collect::<io::Result<Vec<_>>>()?;
        let (queue, writer) = write::start(connection, announce).map_err(io::Error::other)?;
        Ok(SqliteLog {
            queue,
            writer: Mutex::new(Some(writer)),
            readers: Arc::new(Mutex::new(readers)),
            turns: Semaphore::new(READERS),
            waiting: Semaphore::new(READS_WAITING),
            _alone: alone,
        })
    }

    pub(super) async fn append(&self, append: Append) -> Result<Placed, LogError> {
        self.queue.ask(move |batch| batch.append(&append)).await
    }

    pub(super) async fn revoke(&self, session: i64, until: i64) -> Result<(), LogError> {
        self.queue.ask(move |batch| Ok(batch.revoke(session, until)?)).await
    }

    pub(super) async fn trim(&self, horizon: i64) -> Result<bool, LogError> {
        self.queue.ask(move |batch| Ok(batch.trim(horizon)?)).await
    }

    pub(super) async fn extent(&self, room: Room) -> Result<Extent, LogError> {
        self.look(move |connection| read::extent(connection, room.id)).await
    }

    pub(super) async fn read(&self, room: Room, after: Seq, limit: usize) -> Result<Vec<Frame>, LogError> {
        self.look(move |connection| match room.kind {
            RoomKind::Inbox => inbox::after(connection, UserId(room.id.0), after, limit),
            _ => Ok(frames(&read::after(connection, &room, after, limit)?)),
        })
        .await
    }

    pub(super) async fn last(&self, room: Room, count: usize) -> Result<Vec<Frame>, LogError> {
        self.look(move |connection| match room.kind {
            RoomKind::Inbox => inbox::last(connection, UserId(room.id.0), count),
            _ => Ok(frames(&read::last(connection, &room, count)?)),
        })
        .await
    }

    pub(super) async fn page(&self, room: Room, part: Part, limit: usize) -> Result<Vec<Event>, LogError> {
        self.look(move |connection| read::page(connection, &room, part, limit)).await
    }

    pub(super) async fn revoked(&self) -> Result<Vec<(i64, i64)>, LogError> {
        self.look(read::revoked).await
    }

    pub(super) async fn close(&self) {
        self.queue.close();
        let writer = self.writer.lock().expect("no panic while locked").take();
        if let Some(writer) = writer {
            let ended = tokio::task::spawn_blocking(move || writer.join().is_ok()).await;
            if !matches!(ended, Ok(true)) {
                tracing::error!("the log's writer did not end well");
            }
        }
    }

    /// Runs a query on one of the reading connections, off the async threads.
    async fn look<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, LogError> {
        let _waiting = self.waiting.try_acquire().map_err(|_| LogErrorKind::Overloaded)?;
        let _turn = self.turns.acquire().await.map_err(|_| LogErrorKind::Unavailable)?;
        let readers = Arc::clone(&self.readers);
        let looked = tokio::task::spawn_blocking(move || {
            let connection = readers.lock().expect("no panic while locked").pop();
            let connection = connection.expect("there are as many turns as connections");
            let result = query(&connection);
            readers.lock().expect("no panic while locked").push(connection);
            result
        });
        Ok(looked.await.map_err(|_| LogErrorKind::Unavailable)??)
    }
}

impl Batch<'_> {
    fn revoke(&self, session: i64, until: i64) -> rusqlite::Result<()> {
        self.connection.execute("INSERT OR REPLACE INTO revoked VALUES (?1, ?2)", [session, until])?;
        self.connection.execute("DELETE FROM revoked WHERE until <= unixepoch()", [])?;
        Ok(())
    }
}

fn frames(events: &[Event]) -> Vec<Frame> {
    events.iter().map(Frame::new).collect()
}

/// Begins a new epoch in every room of a store that was put back from a backup: seqs given after the backup
/// are never given again. Returns the new epoch.
///
/// # Errors
/// As [`SqliteLog::open`].
pub fn new_epoch(data: &Path) -> io::Result<u32> {
    let _alone = lock(data)?;
    let mut connection = connect(&data.join("maru.db"), OpenFlags::default())?;
    migrate::up(&mut connection)?;
    write::new_epoch(&mut connection).map_err(io::Error::other)
}

impl From<rusqlite::Error> for LogError {
    fn from(source: rusqlite::Error) -> Self {
        LogError::new(LogErrorKind::Unavailable, source)
    }
}

/// Makes the directory, readable by its owner alone, and takes the lock that keeps a second process out.
fn lock(data: &Path) -> io::Result<File> {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};

    let context = |e: io::Error| {
        io::Error::new(e.kind(), format!("cannot use the data directory {}: {e}", data.display()))
    };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(data).map_err(context)?;
    let file =
        File::options().create(true).append(true).mode(0o600).open(data.join("lock")).map_err(context)?;
    file.try_lock().map_err(|_| {
        io::Error::new(
            io::ErrorKind::ResourceBusy,
            format!("another maru is running on the data directory {}", data.display()),
        )
    })?;
    Ok(file)
}

fn connect(path: &PathBuf, flags: OpenFlags) -> io::Result<Connection> {
    let open = || -> rusqlite::Result<Connection> {
        let connection = Connection::open_with_flags(path, flags)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        // What was prepared stays so, whatever is bound to it: else SQLite looks at each time anew which plan is best.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        connection.pragma_update(None, "temp_store", "memory")?;
        if !flags.contains(OpenFlags::SQLITE_OPEN_READ_ONLY) {
            connection.pragma_update(None, "journal_mode", "wal")?;
            // A commit is on the disk before it returns: a power cut loses nothing that was answered for.
            connection.pragma_update(None, "synchronous", "full")?;
            // A deleted text is overwritten where it stood.
            connection.pragma_update(None, "secure_delete", "on")?;
        }
        Ok(connection)
    };
    open().map_err(|e| io::Error::other(format!("cannot open {}: {e}", path.display())))
}

#[cfg(test)]
mod tests;
