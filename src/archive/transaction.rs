//! Work that is done in one transaction, or not at all.

use std::time::Duration;

use mysql_async::{Conn, Params, Row, prelude::Queryable};

use super::{
    Archive, ArchiveError, ArchiveErrorKind,
    pool::{PATIENCE, Pool, within},
    rows::Columns,
};

/// How often a tie is tried to be broken.
const TRIES: u32 = 5;
/// The longest pause before the second try, in ms; it doubles with each further one.
const PAUSE_MS: u64 = 20;
/// How long a rollback may take.
const ROLLBACK: Duration = Duration::from_secs(2);

/// What is to be done between BEGIN and COMMIT. It may be run several times, so it changes nothing else.
pub(super) trait Work: Sync {
    /// What comes of it.
    type Output: Send;

    /// How long all of it may take.
    const PATIENCE: Duration = PATIENCE;

    /// Does it.
    fn run(&self, conn: &mut Conn) -> impl Future<Output = Result<Self::Output, ArchiveError>> + Send;
}

/// One statement that changes something; gives the number of rows that it affected.
pub(super) struct Change<'a>(pub(super) &'a str, pub(super) Params);

impl Work for Change<'_> {
    type Output = u64;

    async fn run(&self, conn: &mut Conn) -> Result<u64, ArchiveError> {
        conn.exec_drop(self.0, self.1.clone()).await?;
        Ok(conn.affected_rows())
    }
}

impl Archive {
    pub(super) async fn transact<W: Work>(&self, work: &W) -> Result<W::Output, ArchiveError> {
        let pool = self.pool();
        let mut lease = pool.writer().await?;
        let (result, state) = attempts(&mut lease, work).await;
        match state {
            State::Clean => lease.give_back(),
            State::Unknown => pool.forget_idle(),
        }
        result
    }

    /// One statement that changes nothing.
    pub(super) async fn rows<T>(
        &self,
        sql: &str,
        params: impl Into<Params> + Send,
        row: impl Fn(&mut Columns) -> Result<T, ArchiveError>,
    ) -> Result<Vec<T>, ArchiveError> {
        let pool = self.pool();
        let rows = read(pool, sql, params.into()).await?;
        rows.into_iter().map(|found| row(&mut Columns::new(found))).collect()
    }
}

async fn read(pool: &Pool, sql: &str, params: Params) -> Result<Vec<Row>, ArchiveError> {
    let mut lease = pool.reader().await?;
    let found = within(PATIENCE, async { Ok(lease.exec::<Row, _, _>(sql, params).await?) }).await;
    match &found {
        Ok(_) => lease.give_back(),
        Err(e) if e.is_from_server() => {}
        Err(_) => pool.forget_idle(),
    }
    found
}

/// What is known of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// No transaction is open on it.
    Clean,
    /// It is not to be used again.
    Unknown,
}

/// Tries until there is no tie.
pub(super) async fn attempts<W: Work>(conn: &mut Conn, work: &W) -> (Result<W::Output, ArchiveError>, State) {
    for attempt in 0..TRIES {
        let (result, state) = attempt_once(conn, work).await;
        match &result {
            Err(e) if e.is_tie() && state == State::Clean && attempt + 1 < TRIES => {
                let pause = rand::random_range(0..=PAUSE_MS << attempt);
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
            _ => return (result, state),
        }
    }
    unreachable!("the last attempt is returned")
}

async fn attempt_once<W: Work>(conn: &mut Conn, work: &W) -> (Result<W::Output, ArchiveError>, State) {
    let result = within(W::PATIENCE, async {
        conn.query_drop("START TRANSACTION").await?;
        let output = work.run(conn).await?;
        conn.query_drop("COMMIT").await?;
        Ok(output)
    })
    .await;
    let state = match &result {
        Ok(_) => State::Clean,
        Err(e) if e.kind != ArchiveErrorKind::Unavailable || e.is_from_server() => rollback(conn).await,
        Err(_) => State::Unknown,
    };
    (result, state)
}

async fn rollback(conn: &mut Conn) -> State {
    match within(ROLLBACK, async { Ok(conn.query_drop("ROLLBACK").await?) }).await {
        Ok(()) => State::Clean,
        Err(_) => State::Unknown,
    }
}
