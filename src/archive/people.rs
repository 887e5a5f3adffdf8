//! People, and how they are found by their names.

use mysql_async::Value;

use super::{
    Archive, ArchiveError,
    rows::{Columns, id},
    shapes::in_list,
    transaction::Change,
};
use crate::{
    clock,
    event::{NameQuery, SearchKeys, User, UserId},
};

/// More than any byte of UTF-8: what begins with a prefix lies below the prefix with this behind it.
const BEYOND: u8 = 0xff;

impl Archive {
    /// Has somebody be found by the name that they have now.
    pub async fn know(&self, user: &User, sub: Option<&str>) -> Result<(), ArchiveError> {
        let keys = SearchKeys::of(&user.name);
        let row: Vec<Value> = vec![
            id(user.id.0),
            user.kind.as_str().into(),
            sub.into(),
            user.name.as_str().into(),
            keys.name.into_bytes().into(),
            keys.initials.map(String::into_bytes).into(),
            clock::millis().into(),
        ];
        let insert = "INSERT INTO users (id, kind, sub, name, name_key, initials, created)
                      VALUES (?, ?, ?, ?, ?, ?, ?)
                      ON DUPLICATE KEY UPDATE kind = VALUES(kind), sub = COALESCE(VALUES(sub), sub),
                      name = VALUES(name), name_key = VALUES(name_key), initials = VALUES(initials)";
        self.transact(&Change(insert, row.into())).await.map(drop)
    }

    /// Those of these people who are known, by the names that they have now.
    pub async fn people(&self, ids: &[UserId]) -> Result<Vec<User>, ArchiveError> {
        let mut found = Vec::with_capacity(ids.len());
        for chunk in ids.chunks(1000) {
            let keys: Vec<Vec<Value>> = chunk.iter().map(|user| vec![id(user.0)]).collect();
            let (sql, params) = in_list("SELECT id, kind, name FROM users WHERE id IN", &[], &keys, "");
            found.append(&mut self.rows(&sql, params, Columns::user).await?);
        }
        Ok(found)
    }

    /// Up to `limit` people but for `me` whose key begins so, in the order of their keys.
    pub async fn search(
        &self,
        me: UserId,
        query: &NameQuery,
        limit: usize,
    ) -> Result<Vec<User>, ArchiveError> {
        let (key, order) = match query {
            NameQuery::Name(_) => ("name_key", "name_key, id"),
            NameQuery::Initials(_) => ("initials", "initials, name_key, id"),
        };
        let sql = format!(
            "SELECT id, kind, name FROM users WHERE {key} >= ? AND {key} < ? AND id <> ? ORDER BY {order} LIMIT ?"
        );
        let from = query.prefix().as_bytes().to_vec();
        let to = [&from[..], &[BEYOND]].concat();
        let params: Vec<Value> = vec![from.into(), to.into(), id(me.0), limit.into()];
        self.rows(&sql, params, Columns::user).await
    }
}
