//! What depends on the server itself.

use super::*;

#[tokio::test]
async fn two_who_open_at_once_migrate_once() {
    let server = shared();
    let database = server.database();
    let (a, b) = tokio::join!(Archive::open(database.url()), Archive::open(database.url()));
    a.unwrap();
    assert_eq!(b.unwrap().warnings().await.unwrap(), <[String; 0]>::default());
    assert_eq!(database.sql("SELECT version FROM schema_version"), "1\n2");
    // One that died before it said that it was done.
    database.sql("DELETE FROM schema_version WHERE version = 2");
    Archive::open(database.url()).await.unwrap();
    assert_eq!(database.sql("SELECT version FROM schema_version"), "1\n2");
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let bed = Bed::new().await;
    bed.database.sql("INSERT INTO schema_version VALUES (99)");
    let refused = Archive::open(bed.database.url()).await.unwrap_err();
    assert_eq!(refused.kind, ArchiveErrorKind::Newer);
    assert!(refused.to_string().contains("schema 99, this maru knows only 2"), "{refused}");
}

#[tokio::test]
async fn what_is_no_url_of_a_database_is_said_to_be_none() {
    for url in ["", "redis://x/y", "mysql://127.0.0.1", "mysql://127.0.0.1/a?what=b"] {
        assert_eq!(Archive::open(url).await.unwrap_err().kind, ArchiveErrorKind::BadUrl, "{url}");
    }
}

#[tokio::test]
async fn large_texts_go_in_several_statements() {
    let server = own(&["--max-allowed-packet=1M", "--innodb-flush-log-at-trx-commit=2"]);
    let database = server.database();
    let archive = Archive::open(database.url()).await.unwrap();
    let warnings = archive.warnings().await.unwrap();
    assert!(warnings.len() == 1 && warnings[0].contains("trx_commit is 2"), "{warnings:?}");
    let lobby = room("lobby");
    // JSON makes six bytes of each of these.
    let text = "\u{1}".repeat(crate::event::Text::MAX_BYTES);
    let batch: Vec<Entry> = (1..=60).map(|seq| said(&lobby, seq, &text)).collect();
    archive.store(&batch[..40]).await.unwrap();
    let mut guard = archive.lock_fence().await.unwrap().unwrap();
    guard.begin("one").await.unwrap();
    archive.give_back(&batch[40..]).await.unwrap();
    guard.agree(Lost::Nothing).await.unwrap();
    assert_eq!(archive.after(&lobby, Seq(0), Seq::MAX, 100).await.unwrap(), events(&batch));
}

#[tokio::test]
async fn a_server_that_comes_back_is_used_again() {
    let mut server = own(&[]);
    let database = server.database();
    let archive = Archive::open(database.url()).await.unwrap();
    let lobby = room("lobby");
    let batch = [said(&lobby, 1, "before"), said(&lobby, 2, "after")];
    archive.store(&batch[..1]).await.unwrap();
    server.stop();
    assert_eq!(archive.store(&batch).await.unwrap_err().kind, ArchiveErrorKind::Unavailable);
    assert_eq!(archive.extent(lobby.id).await.unwrap_err().kind, ArchiveErrorKind::Unavailable);
    server.start_again();
    archive.store(&batch).await.unwrap();
    assert_eq!(archive.extent(lobby.id).await.unwrap().tip, Seq(2));
    server.kill();
    assert_eq!(archive.fence().await.unwrap_err().kind, ArchiveErrorKind::Unavailable);
    server.start_again();
    assert_eq!(archive.after(&lobby, Seq(0), Seq::MAX, 9).await.unwrap(), events(&batch));
}

#[tokio::test]
async fn a_call_that_is_broken_off_leaves_nothing_behind() {
    let server = own(&[]);
    let database = server.database();
    let archive = Archive::open(database.url()).await.unwrap();
    let lobby = room("lobby");
    archive.store(&[said(&lobby, 1, "one")]).await.unwrap();
    assert_eq!(archive.fence().await.unwrap().generation, 0);
    server.hang();
    let soon = std::time::Duration::from_millis(20);
    let second = said(&lobby, 2, "two");
    for _ in 0..20 {
        // More often than there are connections.
        let store = tokio::time::timeout(soon, archive.store(std::slice::from_ref(&second)));
        assert!(store.await.is_err());
        assert!(tokio::time::timeout(soon, archive.extent(lobby.id)).await.is_err());
    }
    server.go_on();
    archive.store(&[second, said(&lobby, 3, "three")]).await.unwrap();
    assert_eq!(archive.extent(lobby.id).await.unwrap().tip, Seq(3));
    assert_eq!(archive.fence().await.unwrap().generation, 0);
}

#[test]
fn servers_are_as_old_as_they_say() {
    for old in ["5.7.44", "10.5.9-MariaDB", "10.3.1-MariaDB-log", "what"] {
        assert!(is_old(old), "{old}");
    }
    for new in ["8.0.36", "8.4.0-log", "9.1.0", "10.6.1-MariaDB", "11.4.2-MariaDB-ubu"] {
        assert!(!is_old(new), "{new}");
    }
}
