//! Where history is kept when many pods run: MySQL 8 or MariaDB 10.6 and later.
//!
//! The log in Redis orders and buffers; what it has is written here, in order, in batches, and only then let
//! go of there. Everything can be asked twice: the same `(room, seq)` is the same event, and another event in
//! its place is reported and never written. The archive also keeps what pods have to agree on when the store
//! before it was lost: see [`FenceGuard`].

use std::sync::Arc;

use mysql_async::{Conn, prelude::Queryable};

mod error;
mod fence;
mod list;
mod members;
mod migrate;
mod people;
mod pods;
mod pool;
mod read;
mod rights;
pub(crate) mod room;
mod rows;
mod shapes;
pub(crate) mod store;
#[cfg(test)]
pub(crate) mod tests;
mod transaction;
mod trim;

pub use error::{ArchiveError, ArchiveErrorKind};
pub use fence::{FenceGuard, Lost};
pub use list::{Mine, Pick, Row};
pub use members::{Gathering, Marks, Participant};
pub use pods::{Fence, PodRow, PodView};
pub use read::{FirstAnswer, Head};
pub use store::Stored;
pub use trim::Trimmed;

pub(crate) use migrate::known as known_schema;
pub(crate) use pool::SESSION_TIMEOUT;

use pool::{Pool, leave};

/// The archive of all rooms. A clone is the same archive.
#[derive(Clone, Debug)]
pub struct Archive(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pool: Pool,
    max_bytes: usize,
}

/// What a packet has to hold at least: a text of 64 KiB, escaped as JSON, with all around it, twice.
const MIN_PACKET: u64 = 1 << 20;

impl Archive {
    /// Connects to `mysql://user:password@host:port/database` (`?require_ssl=true` for TLS) and brings the
    /// schema up to date.
    ///
    /// # Errors
    /// `BadUrl`, `Unavailable`, or `Newer` when a newer maru was here.
    pub async fn open(url: &str) -> Result<Self, ArchiveError> {
        let pool = Pool::new(url)?;
        let mut conn = pool.connect().await?;
        migrate::up(&mut conn).await?;
        let packet: Option<usize> = pool::within(pool::PATIENCE, async {
            Ok(conn.query_first("SELECT @@max_allowed_packet").await?)
        })
        .await?;
        leave(conn);
        // Half of it, since a statement is more than its values.
        let max_bytes = (packet.unwrap_or(1 << 20) / 2).min(shapes::MAX_BYTES);
        Ok(Archive(Arc::new(Inner { pool, max_bytes })))
    }

    /// Sentences about settings of the server that put promises at risk, for the log.
    pub async fn warnings(&self) -> Result<Vec<String>, ArchiveError> {
        let sql = "SELECT @@innodb_flush_log_at_trx_commit, @@max_allowed_packet, VERSION()";
        let row = |row: &mut rows::Columns| Ok((row.take()?, row.take()?, row.take()?));
        let settings: Vec<(u64, u64, String)> = self.rows(sql, (), row).await?;
        Ok(settings.iter().flat_map(|(flush, packet, version)| risks(*flush, *packet, version)).collect())
    }

    fn pool(&self) -> &Pool {
        &self.0.pool
    }

    /// Most bytes in one statement.
    fn max_bytes(&self) -> usize {
        self.0.max_bytes
    }
}

/// A connection for looking only: nothing is made or changed. With the settings that all of maru's sessions have.
///
/// # Errors
/// `BadUrl` or `Unavailable`.
pub(crate) async fn visit(url: &str) -> Result<Conn, ArchiveError> {
    Pool::new(url)?.connect().await
}

/// What puts promises at risk, by the values of `innodb_flush_log_at_trx_commit` and `max_allowed_packet` and the version.
pub(crate) fn risks(flush: u64, packet: u64, version: &str) -> Vec<String> {
    let mut risks = Vec::new();
    if flush != 1 {
        risks.push(format!(
            "innodb_flush_log_at_trx_commit is {flush}, not 1: a power cut may take what was answered as stored"
        ));
    }
    if packet < MIN_PACKET {
        risks.push(format!(
            "max_allowed_packet is {packet} bytes, less than 1 MiB: long texts may be refused"
        ));
    }
    if is_old(version) {
        risks.push(format!("the server is {version}, older than MySQL 8.0 or MariaDB 10.6"));
    }
    risks
}

/// `version` is as `VERSION()` says it: `8.0.36`, `10.11.6-MariaDB-log`.
fn is_old(version: &str) -> bool {
    let least = if version.contains("MariaDB") { (10, 6) } else { (8, 0) };
    let mut numbers = version.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) => (major, minor) < least,
        _ => true,
    }
}
