//! Connections: how they are made, how many there are, and that none is used again in an unknown state.
//!
//! `mysql_async` has a pool of its own, but it takes back what a cancelled call left behind and waits for the
//! server to clean it; here a connection comes back only from a call that ended well.

use std::{
    ops::{Deref, DerefMut},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use mysql_async::{Conn, Opts, OptsBuilder, SslOpts, prelude::Queryable};
use rustls::RootCertStore;
use tokio::{
    runtime::Handle,
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

use super::{ArchiveError, ArchiveErrorKind};

/// Connections for changes. There are few writers in a pod, and what they do is batched.
const WRITERS: usize = 4;
/// Connections for reading back.
const READERS: usize = 4;
/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a call may take, and how long it may wait for a connection.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// A connection that nobody used for so long is asked whether it is still one: firewalls forget them, and the
/// server closes them after 60 s.
const STALE: Duration = Duration::from_secs(30);
/// How long saying goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);
/// Prepared statements that a connection remembers: five shapes of everything that has shapes.
const STATEMENTS: usize = 128;

/// After so long without a word the server ends a session, in seconds: as [`SESSION`] says it.
pub(crate) const SESSION_TIMEOUT: u32 = 60;

/// What every connection begins with. A lock that cannot be had within 5 s is a tie to be broken. The server
/// closes what it has not heard of for 60 s, so that the locks of a machine that is gone do not outlive it by
/// hours; see [`STALE`]. MariaDB does so after 5 s in the middle of a transaction, where nobody here ever waits.
const SESSION: [&str; 3] = [
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    "SET NAMES utf8mb4 COLLATE utf8mb4_bin",
    "SET SESSION time_zone = '+00:00', sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', \
     innodb_lock_wait_timeout = 5, wait_timeout = 60 /*M!100300 , idle_transaction_timeout = 5 */",
];

/// Connections of one purpose, so that slow reading never keeps the writer waiting.
#[derive(Debug)]
struct Lane {
    permits: Semaphore,
    idle: Mutex<Vec<(Conn, Instant)>>,
}

impl Lane {
    fn new(size: usize) -> Self {
        Lane { permits: Semaphore::new(size), idle: Mutex::default() }
    }

    fn pop(&self) -> Option<(Conn, Instant)> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn push(&self, conn: Conn) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push((conn, Instant::now()));
    }

    fn clear(&self) {
        let gone = std::mem::take(&mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner));
        gone.into_iter().for_each(|(conn, _)| leave(conn));
    }
}

/// All connections to the archive but those that hold a lock.
#[derive(Debug)]
pub(super) struct Pool {
    opts: Opts,
    writing: Lane,
    reading: Lane,
}

impl Pool {
    pub(super) fn new(url: &str) -> Result<Self, ArchiveError> {
        let opts = Opts::from_url(url).map_err(mysql_async::Error::from)?;
        if opts.db_name().is_none() {
            return Err(ArchiveError::new(ArchiveErrorKind::BadUrl, "it names no database"));
        }
        let ssl = opts.ssl_opts().cloned().map(trusting);
        let opts = OptsBuilder::from_opts(opts)
            .ssl_opts(ssl)
            .init(SESSION.to_vec())
            .stmt_cache_size(STATEMENTS)
            .prefer_socket(false)
            .client_found_rows(false)
            .tcp_nodelay(true);
        Ok(Pool { opts: opts.into(), writing: Lane::new(WRITERS), reading: Lane::new(READERS) })
    }

    /// A connection for changes.
    pub(super) async fn writer(&self) -> Result<Lease<'_>, ArchiveError> {
        self.lease(&self.writing).await
    }

    /// A connection for reading.
    pub(super) async fn reader(&self) -> Result<Lease<'_>, ArchiveError> {
        self.lease(&self.reading).await
    }

    async fn lease<'a>(&'a self, lane: &'a Lane) -> Result<Lease<'a>, ArchiveError> {
        let permit = within(PATIENCE, async { Ok(lane.permits.acquire().await) })
            .await?
            .map_err(|e| ArchiveError::new(ArchiveErrorKind::Unavailable, e))?;
        let conn = match lane.pop() {
            Some((conn, since)) if since.elapsed() < STALE => conn,
            Some((mut conn, _)) => match within(GOODBYE, async { Ok(conn.ping().await?) }).await {
                Ok(()) => conn,
                Err(_) => {
                    leave(conn);
                    self.connect().await?
                }
            },
            None => self.connect().await?,
        };
        Ok(Lease { lane, conn: Some(conn), _permit: permit })
    }

    /// What is idle now is not to be trusted: a server that broke one connection broke the others too.
    pub(super) fn forget_idle(&self) {
        self.writing.clear();
        self.reading.clear();
    }

    /// A new connection that belongs to nobody.
    pub(super) async fn connect(&self) -> Result<Conn, ArchiveError> {
        within(CONNECT, async { Ok(Conn::new(self.opts.clone()).await?) }).await
    }
}

/// A connection on loan. It comes back only by [`Lease::give_back`]; one that is dropped is closed.
#[derive(Debug)]
pub(super) struct Lease<'a> {
    lane: &'a Lane,
    conn: Option<Conn>,
    _permit: SemaphorePermit<'a>,
}

impl Lease<'_> {
    /// To be used again: the last call on it ended well.
    pub(super) fn give_back(mut self) {
        if let Some(conn) = self.conn.take() {
            self.lane.push(conn);
        }
    }
}

impl Deref for Lease<'_> {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        self.conn.as_ref().expect("it is there until it is given back")
    }
}

impl DerefMut for Lease<'_> {
    fn deref_mut(&mut self) -> &mut Conn {
        self.conn.as_mut().expect("it is there until it is given back")
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if let Some(conn) = self.conn.take() {
            leave(conn);
        }
    }
}

/// Trusts whom the system trusts, or `SSL_CERT_FILE` names, as the connections to Redis and NATS do. Where the system
/// trusts nobody there are the roots that `mysql_async` brings.
fn trusting(ssl: SslOpts) -> SslOpts {
    let mut readable = RootCertStore::empty();
    let certs = rustls_native_certs::load_native_certs().certs;
    let roots: Vec<_> = certs
        .into_iter()
        .filter(|cert| readable.add(cert.clone()).is_ok())
        .map(|cert| cert.to_vec().into())
        .collect();
    let has_roots = !roots.is_empty();
    ssl.with_root_certs(roots).with_disable_built_in_roots(has_roots)
}

/// Closes a connection in whatever state it is. The server then rolls back what was not committed and lets go
/// of its locks.
pub(super) fn leave(conn: Conn) {
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn(async { timeout(GOODBYE, conn.disconnect()).await });
    }
}

/// What takes longer is as good as a server that is away.
pub(super) async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, ArchiveError>>,
) -> Result<T, ArchiveError> {
    timeout(limit, work).await.unwrap_or_else(|e| Err(ArchiveError::new(ArchiveErrorKind::Unavailable, e)))
}
