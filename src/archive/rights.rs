//! Sessions whose rights were taken away.

use mysql_async::Value;

use super::{Archive, ArchiveError, transaction::Change};
use crate::clock;

/// Sessions that have expired by themselves and are forgotten when another is revoked.
const FORGET: &str = "DELETE FROM revoked WHERE until <= ? LIMIT 100";

impl Archive {
    /// Takes a session's rights away for good, until `until_s` (seconds since 1970), when it would have
    /// expired. A second time changes nothing.
    pub async fn revoke(&self, session: i64, until_s: i64) -> Result<(), ArchiveError> {
        let row: Vec<Value> = vec![session.into(), until_s.into()];
        let insert = "INSERT INTO revoked (session, until) VALUES (?, ?)
                      ON DUPLICATE KEY UPDATE until = GREATEST(until, VALUES(until))";
        self.transact(&Change(insert, row.into())).await?;
        self.transact(&Change(FORGET, vec![Value::from(now())].into())).await?;
        Ok(())
    }

    /// Sessions revoked and not yet expired, as `(n, session, until in seconds since 1970)`, by n, above
    /// `after_n`. Numbers may appear out of order: read some again that were read before.
    pub async fn revoked(&self, after_n: i64) -> Result<Vec<(i64, i64, i64)>, ArchiveError> {
        let sql = "SELECT n, session, until FROM revoked WHERE n > ? AND until > ? ORDER BY n";
        let params: Vec<Value> = vec![after_n.into(), now().into()];
        self.rows(sql, params, |row| Ok((row.take()?, row.take()?, row.take()?))).await
    }
}

fn now() -> i64 {
    clock::seconds().cast_signed()
}
