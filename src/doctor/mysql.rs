//! MySQL or MariaDB: what it is, what it is set to, and what its user may do.

use std::{collections::HashMap, time::Instant};

use mysql_async::{Conn, Error, prelude::Queryable};
use tokio::time::timeout;

use super::{PATIENCE, clocks, report::Report};
use crate::{
    archive::{self, known_schema},
    clock,
};

const ABOUT: &str = "mysql";
/// Connections that a few pods need, each up to a dozen.
const CONNECTIONS: u64 = 40;
/// What making the tables and keeping them takes.
const RIGHTS: [&str; 7] = ["SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "ALTER", "INDEX"];
/// ER_NO_SUCH_TABLE.
const NO_TABLE: u16 = 1146;

pub(super) async fn examine(url: &str, report: &mut Report) {
    let mut conn = match archive::visit(url).await {
        Ok(conn) => conn,
        Err(e) => {
            let advice = "Is it running, does --mysql lead to it, and are name, password and database right?";
            return report.fail(ABOUT, format!("it cannot be spoken to: {e}. {advice}"));
        }
    };
    let looked = timeout(PATIENCE, look(&mut conn, report)).await;
    match looked {
        Ok(Ok(())) => {}
        Ok(Err(e)) => report.fail(ABOUT, format!("it does not say how it is set: {e}")),
        Err(_) => report.fail(ABOUT, format!("it takes longer than {} s for an answer", PATIENCE.as_secs())),
    }
    // A server that does not hear of it finds out by itself.
    _ = timeout(PATIENCE, conn.disconnect()).await;
}

async fn look(conn: &mut Conn, report: &mut Report) -> Result<(), Error> {
    settings(conn, report).await?;
    session(conn, report).await?;
    schema(conn, report).await?;
    rights(conn, report).await?;
    time(conn, report).await
}

async fn settings(conn: &mut Conn, report: &mut Report) -> Result<(), Error> {
    let sql = "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('version', 'innodb_flush_log_at_trx_commit', 'log_bin', \
               'sync_binlog', 'max_connections', 'max_allowed_packet', 'read_only', 'super_read_only', 'innodb_read_only')";
    let all: HashMap<String, String> =
        conn.query_map(sql, |(k, v): (String, String)| (k, v)).await?.into_iter().collect();
    let is = |name: &str| all.get(name).map(String::as_str).unwrap_or_default();
    let number = |name: &str| is(name).parse().unwrap_or(0);
    let version = is("version");
    report.ok(ABOUT, format!("it is version {version}"));
    let risks =
        archive::risks(number("innodb_flush_log_at_trx_commit"), number("max_allowed_packet"), version);
    if risks.is_empty() {
        report.ok(ABOUT, "every commit is on its disk (innodb_flush_log_at_trx_commit = 1)");
    }
    risks.into_iter().for_each(|risk| report.warn(ABOUT, risk));
    if ["read_only", "super_read_only", "innodb_read_only"].iter().any(|name| is_on(is(name))) {
        report.fail(
            ABOUT,
            "it is read-only, as replicas are: nothing is kept. Name the server that is written to",
        );
    }
    if is_on(is("log_bin")) && number("sync_binlog") != 1 {
        let text = "sync_binlog is not 1: after a power cut its replicas and backups may lack what it has. SET GLOBAL \
                    sync_binlog = 1";
        report.warn(ABOUT, text);
    }
    let used: Option<(String, u64)> = conn.query_first("SHOW GLOBAL STATUS LIKE 'Threads_connected'").await?;
    let (used, most) = (used.map_or(0, |(_, n)| n), number("max_connections"));
    let text = format!("{used} of {most} connections are in use");
    if most.saturating_sub(used) < CONNECTIONS {
        report.warn(ABOUT, format!("{text}: a pod takes up to a dozen. Raise max_connections"));
    } else {
        report.ok(ABOUT, text);
    }
    Ok(())
}

fn is_on(value: &str) -> bool {
    !["", "OFF", "0"].contains(&value)
}

/// Each of maru's sessions says for itself how strict it is, and in which letters: something between may not pass it on.
async fn session(conn: &mut Conn, report: &mut Report) -> Result<(), Error> {
    let sql =
        "SELECT @@SESSION.sql_mode, @@SESSION.character_set_client, CAST(@@SESSION.wait_timeout AS CHAR)";
    let Some((mode, letters, quiet)): Option<(String, String, String)> = conn.query_first(sql).await? else {
        return Ok(());
    };
    if mode.contains("STRICT_ALL_TABLES")
        && letters == "utf8mb4"
        && quiet == archive::SESSION_TIMEOUT.to_string()
    {
        report.ok(ABOUT, "maru's sessions are strict, in utf8mb4, and end after a minute of quiet");
    } else {
        let text = format!(
            "maru's sessions are not as it sets them (sql_mode {mode:?}, {letters}, wait_timeout {quiet}): something between \
             shares connections. Lead to the server itself"
        );
        report.fail(ABOUT, text);
    }
    Ok(())
}

async fn schema(conn: &mut Conn, report: &mut Report) -> Result<(), Error> {
    let version: Result<Option<usize>, Error> =
        conn.query_first("SELECT COALESCE(MAX(version), 0) FROM schema_version").await;
    let known = known_schema();
    match version {
        Ok(version) => match version.unwrap_or(0) {
            newer if newer > known => report.fail(
                ABOUT,
                format!("its tables are of schema {newer}, and this maru knows {known}: it is older than the one before"),
            ),
            same if same == known => report.ok(ABOUT, format!("its tables are of schema {same}, as this maru's are")),
            older => report.ok(ABOUT, format!("its tables are of schema {older}: the next start brings them to {known}")),
        },
        Err(Error::Server(e)) if e.code == NO_TABLE => report.ok(ABOUT, "the database is empty: the first start makes its tables"),
        Err(e) => return Err(e),
    }
    let sql = "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() \
               AND TABLE_NAME IN ('users', 'rooms', 'messages') AND (TABLE_COLLATION NOT LIKE 'utf8mb4%' OR ENGINE <> 'InnoDB')";
    let strange: Vec<String> = conn.query(sql).await?;
    if !strange.is_empty() {
        let text = format!(
            "{} are not as maru made them (InnoDB, utf8mb4): ALTER TABLE … CONVERT TO",
            strange.join(", ")
        );
        report.fail(ABOUT, text);
    }
    Ok(())
}

async fn rights(conn: &mut Conn, report: &mut Report) -> Result<(), Error> {
    // A schema may be granted by a pattern.
    let sql = "SELECT PRIVILEGE_TYPE FROM information_schema.USER_PRIVILEGES WHERE GRANTEE = @me UNION \
               SELECT PRIVILEGE_TYPE FROM information_schema.SCHEMA_PRIVILEGES WHERE GRANTEE = @me AND DATABASE() LIKE TABLE_SCHEMA";
    conn.query_drop(
        "SET @me = CONCAT('''', LEFT(CURRENT_USER(), LENGTH(CURRENT_USER()) - LENGTH(SUBSTRING_INDEX(CURRENT_USER(), '@', -1)) - 1), \
         '''@''', SUBSTRING_INDEX(CURRENT_USER(), '@', -1), '''')",
    )
    .await?;
    let granted: Vec<String> = conn.query(sql).await?;
    let role: Option<Option<String>> = conn.query_first("SELECT CURRENT_ROLE()").await?;
    let missing: Vec<_> =
        RIGHTS.iter().filter(|right| !granted.iter().any(|granted| granted == *right)).copied().collect();
    if missing.is_empty() {
        report.ok(ABOUT, "the user may make and change its tables");
        return Ok(());
    }
    let text = format!("the user has no {} on the database: GRANT ALL ON it", missing.join(", "));
    if role.flatten().is_some_and(|role| role != "NONE") {
        report.warn(ABOUT, format!("{text}, unless its role has"));
    } else {
        report.fail(ABOUT, text);
    }
    Ok(())
}

async fn time(conn: &mut Conn, report: &mut Report) -> Result<(), Error> {
    let since = Instant::now();
    let told: Option<i64> = conn.query_first("SELECT CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)").await?;
    if let Some(told) = told {
        clocks::compare(ABOUT, told, clock::millis(), since.elapsed(), report);
    }
    Ok(())
}
