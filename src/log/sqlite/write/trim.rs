//! Retention.

use std::collections::{BTreeSet, HashMap};

use rusqlite::params;

use super::batch::Batch;
use crate::{
    event::{RoomId, Seq, UserId},
    log::Notice,
};

/// Rows taken in one step, so that nobody waits long behind it.
const STEP: usize = 500;

impl Batch<'_> {
    /// Takes the oldest [`STEP`] events if they are from before `horizon` (ms since 1970), and what points to them;
    /// true when there may be more.
    pub(in crate::log::sqlite) fn trim(&mut self, horizon: i64) -> rusqlite::Result<bool> {
        let mut gone: HashMap<RoomId, Seq> = HashMap::new();
        let mut rows = Vec::new();
        {
            let mut oldest = self
                .connection
                .prepare_cached("SELECT n, room_id, seq, ts FROM messages ORDER BY n LIMIT ?1")?;
            let mut found = oldest.query([STEP])?;
            while let Some(row) = found.next()? {
                if row.get::<_, i64>(3)? >= horizon {
                    break;
                }
                rows.push(row.get::<_, i64>(0)?);
                let seq: Seq = row.get(2)?;
                let last = gone.entry(row.get(1)?).or_insert(seq);
                *last = seq.max(*last);
            }
        }
        let mut delete = self.connection.prepare_cached("DELETE FROM messages WHERE n = ?1")?;
        for n in &rows {
            delete.execute([n])?;
        }
        let mut readers: BTreeSet<UserId> = BTreeSet::new();
        for (room, last) in gone {
            let first = last.next();
            self.connection
                .prepare_cached("UPDATE rooms SET first_seq = ?2 WHERE id = ?1")?
                .execute(params![room, first])?;
            self.notices.push(Notice::Trimmed(room.into(), first));
            readers.extend(self.members(room)?);
        }
        for user in readers {
            self.cut_taken(user)?;
        }
        Ok(rows.len() == STEP)
    }
}
