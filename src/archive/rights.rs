//! Whose rights were taken away: sessions that ended, people who are shut out of rooms.

use mysql_async::{Conn, Value, prelude::Queryable};

use super::{
    Archive, ArchiveError, ArchiveErrorKind,
    rows::{Columns, id},
    transaction::{Change, Work},
};
use crate::{
    clock,
    event::{Ban, Banned, RoomId, UserId},
};

/// Sessions that have expired by themselves and are forgotten when another is revoked.
const FORGET: &str = "DELETE FROM revoked WHERE until <= ? LIMIT 100";
/// The same of bans.
const FORGET_BANS: &str = "DELETE FROM bans WHERE until <= ? AND at <= ? LIMIT 100";
/// How long a ban is kept after its end, in s, for whoever looks into it: 90 days.
const KEPT: i64 = 90 * 24 * 60 * 60;
/// How long one that was lifted is told, in s: longer than any pod is without the archive and lives on.
const TOLD: i64 = 24 * 60 * 60;

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

impl Archive {
    /// Keeps a ban, or that it was lifted. What was said of the same person and room before counts no more.
    pub async fn ban(&self, ban: Ban, by: Option<UserId>, reason: Option<&str>) -> Result<(), ArchiveError> {
        self.transact(&Bans { ban, by, reason }).await?;
        let horizon = Value::from(now() - KEPT);
        self.transact(&Change(FORGET_BANS, vec![horizon.clone(), horizon].into())).await?;
        Ok(())
    }

    /// Bans that stand, and those that were lifted lately, each with its number, by that, above `after_n`. Numbers
    /// may appear out of order, as those of [`Archive::revoked`].
    pub async fn bans(&self, after_n: i64) -> Result<Vec<(i64, Ban)>, ArchiveError> {
        let sql = "SELECT n, room_id, kind, whom, until FROM bans
                   WHERE n > ? AND (until > ? OR at > ?) ORDER BY n";
        let params: Vec<Value> = vec![after_n.into(), now().into(), (now() - TOLD).into()];
        self.rows(sql, params, |row| Ok((row.take()?, ban(row)?))).await
    }
}

/// room_id, kind, whom, until
fn ban(row: &mut Columns) -> Result<Ban, ArchiveError> {
    let (room, kind, whom) = (RoomId(row.id()?), row.take::<String>()?, row.id()?);
    let whom = match kind.as_str() {
        "user" => Banned::User(UserId(whom)),
        "address" => Banned::Address(whom),
        _ => return Err(ArchiveError::new(ArchiveErrorKind::Unreadable, "a ban of nobody")),
    };
    Ok(Ban { room, whom, until: row.take()? })
}

struct Bans<'a> {
    ban: Ban,
    by: Option<UserId>,
    reason: Option<&'a str>,
}

impl Work for Bans<'_> {
    type Output = ();

    async fn run(&self, conn: &mut Conn) -> Result<(), ArchiveError> {
        let Ban { room, whom, until } = self.ban;
        let (kind, whom) = match whom {
            Banned::User(user) => ("user", user.0),
            Banned::Address(address) => ("address", address),
        };
        let before: Vec<Value> = vec![now().into(), id(room.0), kind.into(), id(whom)];
        let lapse = "UPDATE bans SET until = LEAST(until, ?) WHERE room_id = ? AND kind = ? AND whom = ?";
        conn.exec_drop(lapse, before).await?;
        let row: Vec<Value> = vec![
            id(room.0),
            kind.into(),
            id(whom),
            until.into(),
            now().into(),
            self.by.map(|by| by.0.as_bytes().to_vec()).into(),
            self.reason.into(),
        ];
        let insert = "INSERT INTO bans (room_id, kind, whom, until, at, by_user, reason)
                      VALUES (?, ?, ?, ?, ?, ?, ?)";
        Ok(conn.exec_drop(insert, row).await?)
    }
}

fn now() -> i64 {
    clock::seconds().cast_signed()
}
