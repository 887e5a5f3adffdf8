//! Numbered migrations, forward only, by one pod at a time; `schema_version` says how many an archive has.

use std::time::Duration;

use mysql_async::{Conn, Error, prelude::Queryable};

use super::{ArchiveError, ArchiveErrorKind, pool::within};

const MIGRATIONS: &[&str] =
    &[include_str!("../../schema/mysql/001_archive.sql"), include_str!("../../schema/mysql/002_members.sql")];

/// The schema that this program brings an archive to.
pub(crate) fn known() -> usize {
    MIGRATIONS.len()
}

/// ER_DUP_FIELDNAME, ER_DUP_KEYNAME, ER_CANT_DROP_FIELD_OR_KEY: an ALTER was made by one who then died.
const DONE: [u16; 3] = [1060, 1061, 1091];

/// How long all of it may take: the server waits up to 60 s for another pod that is at it.
const PATIENCE: Duration = Duration::from_secs(120);

/// Brings the archive up to this program's schema. The lock ends with the connection, if not before.
pub(super) async fn up(conn: &mut Conn) -> Result<(), ArchiveError> {
    within(PATIENCE, async {
        let got: Option<Option<u8>> =
            conn.query_first("SELECT GET_LOCK(CONCAT('maru.schema.', MD5(DATABASE())), 60)").await?;
        if got.flatten() != Some(1) {
            return Err(ArchiveError::new(
                ArchiveErrorKind::Unavailable,
                "another pod has been changing the schema for a minute",
            ));
        }
        missing(conn).await?;
        conn.query_drop("DO RELEASE_LOCK(CONCAT('maru.schema.', MD5(DATABASE())))").await?;
        Ok(())
    })
    .await
}

async fn missing(conn: &mut Conn) -> Result<(), ArchiveError> {
    conn.query_drop(
        "CREATE TABLE IF NOT EXISTS schema_version (version INT NOT NULL PRIMARY KEY) ENGINE=InnoDB",
    )
    .await?;
    let done: Option<usize> =
        conn.query_first("SELECT COALESCE(MAX(version), 0) FROM schema_version").await?;
    let done = done.unwrap_or(0);
    let Some(missing) = MIGRATIONS.get(done..) else {
        let known = MIGRATIONS.len();
        return Err(ArchiveError::new(
            ArchiveErrorKind::Newer,
            format!("the archive has schema {done}, this maru knows only {known}"),
        ));
    };
    for (number, sql) in (done + 1..).zip(missing) {
        for statement in sql.split(";\n").filter(|statement| !statement.trim().is_empty()) {
            match conn.query_drop(statement).await {
                Err(Error::Server(e)) if DONE.contains(&e.code) => {}
                done => done?,
            }
        }
        conn.exec_drop("INSERT INTO schema_version (version) VALUES (?)", (number,)).await?;
    }
    Ok(())
}
