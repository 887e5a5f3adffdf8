//! People, and by which names they are found.

use rusqlite::{Connection, OptionalExtension, params};

use crate::{
    event::{NameQuery, SearchKeys, User, UserId},
    log::{
        Known,
        sqlite::{Batch, rows},
    },
};

impl Batch<'_> {
    /// Keeps somebody to be found by their name.
    pub(super) fn know(&mut self, known: &Known) -> rusqlite::Result<()> {
        let Known { user, sub } = known;
        let SearchKeys { name, initials } = SearchKeys::of(&user.name);
        self.connection
            .prepare_cached(
                "INSERT INTO users (id, kind, sub, name, name_key, initials, created)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                 ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, sub = COALESCE(excluded.sub, sub),
                 name = excluded.name, name_key = excluded.name_key, initials = excluded.initials",
            )?
            .execute(params![
                user.id,
                user.kind.as_str(),
                sub,
                user.name.as_str(),
                name,
                initials,
                self.now
            ])?;
        self.kept(user);
        Ok(())
    }
}

pub(super) fn person(connection: &Connection, user: UserId) -> rusqlite::Result<Option<User>> {
    connection
        .prepare_cached("SELECT id, kind, name FROM users WHERE id = ?1")?
        .query_row([user], |row| rows::user(row, 0))
        .optional()
}

/// Reads a range of the keys' index, and nothing but that.
pub(super) fn search(
    connection: &Connection,
    me: UserId,
    query: &NameQuery,
    limit: usize,
) -> rusqlite::Result<Vec<User>> {
    const BY_NAME: &str = "SELECT id, kind, name FROM users
         WHERE name_key >= ?1 AND name_key < ?2 AND id <> ?3 ORDER BY name_key, id LIMIT ?4";
    const BY_INITIALS: &str = "SELECT id, kind, name FROM users
         WHERE initials >= ?1 AND initials < ?2 AND id <> ?3 ORDER BY initials, id LIMIT ?4";
    let statement = match query {
        NameQuery::Name(_) => BY_NAME,
        NameQuery::Initials(_) => BY_INITIALS,
    };
    // Nobody is to be listed by looking for nothing.
    let Some(end) = after_all(query.prefix()) else { return Ok(Vec::new()) };
    connection
        .prepare_cached(statement)?
        .query_map(params![query.prefix(), end, me, limit], |row| rows::user(row, 0))?
        .collect()
}

/// The first text, by code points, that lies above all that begin with this one.
fn after_all(prefix: &str) -> Option<String> {
    let mut end = prefix.to_owned();
    while let Some(last) = end.pop() {
        let mut above = (u32::from(last) + 1..=u32::from(char::MAX)).filter_map(char::from_u32);
        if let Some(next) = above.next() {
            end.push(next);
            return Some(end);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_before_the_next_of_its_length() {
        let cases =
            [("a", "b"), ("az", "a{"), ("\u{d7ff}", "\u{e000}"), ("a\u{10ffff}", "b"), ("ㅎㄱ", "ㅎㄲ")];
        for (prefix, end) in cases {
            assert_eq!(after_all(prefix).as_deref(), Some(end));
        }
        assert_eq!((after_all(""), after_all("\u{10ffff}")), (None, None));
    }
}
