//! Many rows in one statement, in few shapes, so that the server has prepared each of them before.

use mysql_async::{Conn, Row, Value, prelude::Queryable};

use super::{ArchiveError, rows::Columns};

/// Rows in a statement: the largest that fits what is left is taken.
const SHAPES: [usize; 5] = [1000, 250, 50, 10, 1];
/// Placeholders that a statement can have (the protocol counts them in 16 bits).
const PLACEHOLDERS: usize = 65_535;
/// The widest row here is that of messages.
const WIDEST: usize = 16;
const _: () = assert!(SHAPES[0] * WIDEST <= PLACEHOLDERS);

/// Most bytes in one statement, whatever the server would take.
pub(super) const MAX_BYTES: usize = 4 << 20;

/// An INSERT of any number of rows.
pub(super) struct Insert<'a> {
    /// As in `messages (room_id, seq)`.
    pub(super) into: &'a str,
    /// What follows ON DUPLICATE KEY UPDATE.
    pub(super) otherwise: &'a str,
    /// Most bytes in one statement; a row that is larger has one of its own.
    pub(super) max_bytes: usize,
}

impl Insert<'_> {
    /// Inserts; gives the number of rows affected, as MySQL counts: 1 inserted, 2 changed, 0 left as it was.
    pub(super) async fn run(&self, conn: &mut Conn, rows: &[Vec<Value>]) -> Result<u64, ArchiveError> {
        let mut affected = 0;
        let mut rest = rows;
        while let Some(first) = rest.first() {
            let (chunk, after) = rest.split_at(self.shape(rest));
            let row = tuple(first.len());
            let values = vec![row.as_str(); chunk.len()].join(",");
            let sql = format!(
                "INSERT INTO {} VALUES {values} ON DUPLICATE KEY UPDATE {}",
                self.into, self.otherwise
            );
            conn.exec_drop(sql, chunk.concat()).await?;
            affected += conn.affected_rows();
            rest = after;
        }
        Ok(affected)
    }

    fn shape(&self, rows: &[Vec<Value>]) -> usize {
        let mut bytes = 0;
        let fitting = rows
            .iter()
            .take(SHAPES[0])
            .take_while(|row| {
                bytes += size(row);
                bytes <= self.max_bytes
            })
            .count();
        SHAPES.into_iter().find(|shape| *shape <= fitting).unwrap_or(1)
    }
}

/// All rows of `SELECT … WHERE … IN (…)`: `sql` ends before the list. The last key is repeated where a shape
/// has more room than there are keys.
pub(super) async fn select_in(
    conn: &mut Conn,
    sql: &str,
    first: &[Value],
    keys: &[Vec<Value>],
    after: &str,
) -> Result<Vec<Columns>, ArchiveError> {
    let mut found = Vec::new();
    for chunk in keys.chunks(SHAPES[0]) {
        let (sql, params) = in_list(sql, first, chunk, after);
        found.extend(conn.exec::<Row, _, _>(sql, params).await?.into_iter().map(Columns::new));
    }
    Ok(found)
}

/// The statement and its parameters for up to 1,000 keys.
pub(super) fn in_list(sql: &str, first: &[Value], keys: &[Vec<Value>], after: &str) -> (String, Vec<Value>) {
    let shape = SHAPES.into_iter().rev().find(|shape| *shape >= keys.len()).unwrap_or(SHAPES[0]);
    let width = keys.first().map_or(1, Vec::len);
    let key = if width == 1 { "?".to_owned() } else { tuple(width) };
    let sql = format!("{sql} ({}) {after}", vec![key.as_str(); shape].join(","));
    let padding = keys.last().into_iter().cycle().take(shape - keys.len());
    let params = first.iter().chain(keys.iter().chain(padding).flatten()).cloned().collect();
    (sql, params)
}

fn tuple(width: usize) -> String {
    format!("({})", vec!["?"; width].join(","))
}

/// How many bytes a row takes on the wire, about.
fn size(row: &[Value]) -> usize {
    let values = row.iter().map(|value| match value {
        Value::Bytes(bytes) => bytes.len() + 9,
        _ => 9,
    });
    values.sum()
}
