use super::*;

#[tokio::test]
async fn what_is_stored_twice_is_there_once() {
    let (bed, lobby) = (Bed::new().await, room("수다방"));
    let batch: Vec<Entry> = ["one", "두 번째 👩‍👩‍👧‍👦", "\r\n\0\u{2028} "]
        .iter()
        .zip(1..)
        .map(|(text, seq)| said(&lobby, seq, text))
        .collect();
    bed.store(&batch).await;
    bed.store(&batch).await;
    bed.store(&[&batch[..], &[said(&lobby, 4, "new")]].concat()).await;
    assert_eq!(bed.all(&lobby).await[..3], events(&batch));
    let extent = bed.archive.extent(lobby.id).await.unwrap();
    assert_eq!(extent, Extent { tip: Seq(4), ..Extent::empty(0) });
    assert_eq!(bed.archive.head(lobby.id).await.unwrap().last_ts, 4);
    assert_eq!(bed.archive.author(lobby.id, Seq(1)).await.unwrap(), Some(ann().id));
    assert_eq!(bed.database.sql("SELECT slug FROM rooms"), "수다방");
}

#[tokio::test]
async fn another_id_is_a_conflict_and_changes_nothing() {
    let (bed, lobby) = (Bed::new().await, room("lobby"));
    let first = [said(&lobby, 1, "mine"), said(&lobby, 2, "too")];
    bed.store(&first).await;
    let second = [deleted(&lobby, 2, 1), said(&lobby, 3, "third")];
    let stored = bed.archive.store(&second).await.unwrap();
    assert_eq!(stored.conflicts, [(lobby.id, Seq(2))]);
    let kept = [first[0].clone(), first[1].clone(), second[1].clone()];
    assert_eq!(bed.all(&lobby).await, events(&kept));
}

#[tokio::test]
async fn people_have_their_newest_name() {
    let (bed, lobby) = (Bed::new().await, room("lobby"));
    let old = said(&lobby, 1, "x");
    let mut new = said(&lobby, 2, "y");
    new.event.user.name = "Anna".parse().unwrap();
    bed.store(std::slice::from_ref(&old)).await;
    bed.store(&[new]).await;
    assert_eq!(bed.database.sql("SELECT name FROM users"), "Anna");
    bed.store(&[old]).await;
    assert_eq!(bed.database.sql("SELECT name FROM users"), "Anna");
}

#[tokio::test]
async fn what_is_refused_can_be_put_aside_and_keeps_its_place() {
    let (bed, lobby) = (Bed::new().await, room("lobby"));
    bed.database.sql(
        "DELIMITER //\nCREATE TRIGGER poison BEFORE INSERT ON messages FOR EACH ROW
         IF NEW.text = 'poison' THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no'; END IF//\n",
    );
    let batch = [said(&lobby, 1, "a"), said(&lobby, 2, "poison"), said(&lobby, 3, "c")];
    let refused = bed.archive.store(&batch).await.unwrap_err();
    assert_eq!(refused.kind, ArchiveErrorKind::Refused);
    assert_eq!(bed.all(&lobby).await, []);
    bed.store(&batch[..1]).await;
    bed.archive.quarantine(&batch[1], &refused.to_string()).await.unwrap();
    assert_eq!(bed.archive.extent(lobby.id).await.unwrap().tip, Seq(2));
    bed.store(&batch[2..]).await;
    let mut expected = events(&batch);
    expected[1] = expected[1].clone().scrubbed();
    assert_eq!(bed.all(&lobby).await, expected);
    assert!(bed.database.sql("SELECT json, error FROM quarantine").contains("poison"));
}

#[tokio::test]
async fn an_agreement_is_not_kept_up_by_what_is_refused() {
    let (bed, lobby) = (Bed::new().await, room("lobby"));
    bed.database.sql("ALTER TABLE messages ADD CHECK (text <> 'poison')");
    let mut guard = bed.archive.lock_fence().await.unwrap().unwrap();
    guard.begin("one").await.unwrap();
    let batch = [said(&lobby, 1, "a"), said(&lobby, 2, "poison"), said(&lobby, 3, "c")];
    bed.archive.give_back(&batch).await.unwrap();
    assert!(guard.agree(Lost::Nothing).await.unwrap().is_agreed);
    assert_eq!(bed.all(&lobby).await.len(), 3);
    assert_eq!(bed.archive.extent(lobby.id).await.unwrap().tip(), Cursor::new(1, 3));
}

#[tokio::test]
async fn what_comes_late_is_deleted_and_edited_all_the_same() {
    let (bed, lobby) = (Bed::new().await, room("lobby"));
    let all = [
        said(&lobby, 1, "a"),
        said(&lobby, 2, "b"),
        edited(&lobby, 3, 1, "a2"),
        edited(&lobby, 4, 2, "b2"),
        deleted(&lobby, 5, 1),
    ];
    bed.store(&all[2..]).await;
    bed.archive.give_late(&all[..2]).await.unwrap();
    let found = bed.all(&lobby).await;
    assert_eq!((found[0].text.as_deref(), found[2].text.as_deref()), (Some(""), Some("")));
    let edits = bed.archive.edited(lobby.id, &[Seq(1), Seq(2)]).await.unwrap();
    assert_eq!(edits, [(Seq(2), Arc::from("b2"), 4)]);
    assert_eq!(bed.archive.author(lobby.id, Seq(1)).await.unwrap(), None);
}

#[tokio::test]
async fn retention_takes_the_oldest_and_first_follows() {
    let bed = Bed::new().await;
    let (a, b) = (room("a"), room("b"));
    let mut entries: Vec<Entry> = (1..=10).flat_map(|seq| [said(&a, seq, "x"), said(&b, seq, "y")]).collect();
    // Several at one time, on both sides of a cut.
    entries.iter_mut().filter(|e| (3..=6).contains(&e.event.seq.0)).for_each(|e| e.event.ts = 3);
    bed.store(&entries).await;
    let trimmed = bed.archive.trim(8, 6).await.unwrap();
    assert!(trimmed.is_more);
    let mut left = 20;
    let mut more = true;
    while more {
        for room in [&a, &b] {
            let first = bed.archive.extent(room.id).await.unwrap().first;
            let kept = bed.all(room).await;
            assert_eq!(kept[0].seq, first);
            assert_eq!(kept.len() as u64, 11 - first.0);
        }
        more = bed.archive.trim(8, 3).await.unwrap().is_more;
        left = bed.all(&a).await.len() + bed.all(&b).await.len();
    }
    assert_eq!(left, 6);
    assert_eq!(bed.archive.trim(8, 3).await.unwrap(), Trimmed::default());
    let gone = bed.archive.trim(100, 100).await.unwrap();
    assert_eq!(gone.rooms.iter().map(|(_, first)| first.0).collect::<Vec<_>>(), [11, 11]);
    bed.store(&[said(&a, 11, "on")]).await;
    assert_eq!(bed.archive.extent(a.id).await.unwrap().first, Seq(11));
}

#[tokio::test]
async fn keys_are_found_within_their_time() {
    let (bed, lobby) = (Bed::new().await, room("lobby"));
    let mut entry = said(&lobby, 7, "x");
    entry.key = Some(Key { key: [1; 16], text: [2; 16] });
    bed.store(std::slice::from_ref(&entry)).await;
    let found = bed.archive.find_key(lobby.id, &[1; 16], 6).await.unwrap();
    let first = FirstAnswer { id: entry.event.id, cursor: Cursor::new(1, 7), ts: 7, text: [2; 16] };
    assert_eq!(found, Some(first));
    assert_eq!(bed.archive.find_key(lobby.id, &[1; 16], 7).await.unwrap(), None);
    assert_eq!(bed.archive.find_key(lobby.id, &[3; 16], 0).await.unwrap(), None);
    assert_eq!(bed.archive.find_key(room("b").id, &[1; 16], 0).await.unwrap(), None);
}

#[tokio::test]
async fn revoked_sessions_are_told_once_and_not_for_ever() {
    let bed = Bed::new().await;
    let far = i64::MAX / 2;
    for (session, until) in [(7, far), (7, far), (-8, far), (9, 1)] {
        bed.archive.revoke(session, until).await.unwrap();
    }
    let all = bed.archive.revoked(0).await.unwrap();
    assert_eq!(all.iter().map(|(_, session, _)| *session).collect::<Vec<_>>(), [7, -8]);
    assert_eq!(bed.archive.revoked(all[0].0).await.unwrap(), all[1..]);
}
