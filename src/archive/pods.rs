//! Pods, and what they agree on.

use mysql_async::{Conn, Row, Value, prelude::Queryable};
use uuid::Uuid;

use super::{
    Archive, ArchiveError, ArchiveErrorKind,
    rows::{Columns, id},
    transaction::{Change, Work},
};

/// What all pods agree on about the store before this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// Grows with every agreement that is begun.
    pub generation: i64,
    /// False while pods give back what they hold.
    pub is_agreed: bool,
    /// The process of the store that was, or is to be, agreed on.
    pub run_id: String,
    /// How often an unknown part of the whole store was lost.
    pub losses: u32,
}

/// One pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodRow {
    /// Its own id.
    pub id: Uuid,
    /// Its lease has not ended, by the clock of the database.
    pub is_live: bool,
    /// The last generation for which it has given back what it held.
    pub gave_back: i64,
}

/// The pods as one of them finds them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodView {
    /// What they agree on.
    pub fence: Fence,
    /// All of them, the one that asks among them.
    pub pods: Vec<PodRow>,
    /// The one that asks was among them before; false when it is new or was left out.
    pub was_listed: bool,
}

/// ms since 1970 by the clock of the database, the only one that all pods share.
pub(super) const NOW: &str = "CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)";

impl Archive {
    /// Says that this pod lives for another `ttl_ms`, and looks at all others.
    pub async fn renew_pod(&self, id: Uuid, ttl_ms: i64) -> Result<PodView, ArchiveError> {
        self.transact(&Renew { id, ttl_ms }).await
    }

    /// Takes leave: this pod holds nothing.
    pub async fn remove_pod(&self, pod: Uuid) -> Result<(), ArchiveError> {
        self.transact(&Change("DELETE FROM pods WHERE id = ?", vec![id(pod)].into())).await.map(drop)
    }

    /// Says that this pod has given back what it held, for this generation.
    pub async fn gave_back(&self, pod: Uuid, generation: i64) -> Result<(), ArchiveError> {
        let params: Vec<Value> = vec![generation.into(), id(pod)];
        let update = "UPDATE pods SET gave_back = GREATEST(gave_back, ?) WHERE id = ?";
        self.transact(&Change(update, params.into())).await.map(drop)
    }

    /// What the pods agree on.
    pub async fn fence(&self) -> Result<Fence, ArchiveError> {
        let sql = "SELECT generation, is_agreed, run_id, losses FROM fence";
        let found = self.rows(sql, (), fence).await?.pop();
        found.ok_or_else(|| ArchiveError::new(ArchiveErrorKind::Unreadable, "the fence has no row"))
    }
}

pub(super) fn fence(row: &mut Columns) -> Result<Fence, ArchiveError> {
    Ok(Fence { generation: row.take()?, is_agreed: row.take()?, run_id: row.take()?, losses: row.take()? })
}

struct Renew {
    id: Uuid,
    ttl_ms: i64,
}

impl Work for Renew {
    type Output = PodView;

    async fn run(&self, conn: &mut Conn) -> Result<PodView, ArchiveError> {
        // Read by itself: within the INSERT it might wait for whoever leads an agreement, and leases would end.
        let generation: Option<i64> = conn.query_first("SELECT generation FROM fence").await?;
        let params: Vec<Value> = vec![id(self.id), self.ttl_ms.into(), generation.unwrap_or(0).into()];
        let upsert = format!(
            "INSERT INTO pods (id, lease_until, gave_back) VALUES (?, {NOW} + ?, ?)
             ON DUPLICATE KEY UPDATE lease_until = VALUES(lease_until)"
        );
        conn.exec_drop(upsert, params).await?;
        let was_listed = conn.affected_rows() != 1;
        let all = format!(
            "SELECT generation, is_agreed, run_id, losses, id, lease_until > {NOW}, gave_back
             FROM fence JOIN pods ORDER BY id"
        );
        let rows: Vec<Row> = conn.exec(all, ()).await?;
        let mut found = None;
        let mut pods = Vec::with_capacity(rows.len());
        for row in rows {
            let mut row = Columns::new(row);
            found = Some(fence(&mut row)?);
            pods.push(PodRow { id: row.id()?, is_live: row.take()?, gave_back: row.take()? });
        }
        let fence =
            found.ok_or_else(|| ArchiveError::new(ArchiveErrorKind::Unreadable, "the fence has no row"))?;
        Ok(PodView { fence, pods, was_listed })
    }
}
