use super::*;

/// Several looks at once.
const LOOKS: usize = 8;

async fn lose(bed: &Bed, returned: &[Entry], lost: Lost) -> Fence {
    let mut guard = bed.archive.lock_fence().await.unwrap().unwrap();
    guard.begin("another").await.unwrap();
    bed.archive.give_back(returned).await.unwrap();
    let fence = guard.agree(lost).await.unwrap();
    guard.release().await.unwrap();
    fence
}

async fn tip(bed: &Bed, room: &Room) -> Cursor {
    bed.archive.extent(room.id).await.unwrap().tip()
}

#[tokio::test]
async fn without_a_hole_the_epoch_stays() {
    let bed = Bed::new().await;
    let (a, b) = (room("a"), room("b"));
    bed.store(&[said(&a, 1, "x"), said(&a, 2, "x")]).await;
    let returned = [said(&a, 3, "y"), said(&a, 4, "y"), said(&b, 1, "y"), said(&b, 2, "y")];
    let fence = lose(&bed, &returned, Lost::Nothing).await;
    let expected = Fence { generation: 1, is_agreed: true, run_id: "another".into(), losses: 0 };
    assert_eq!((&fence, bed.archive.fence().await.unwrap()), (&expected, expected.clone()));
    assert_eq!((tip(&bed, &a).await, tip(&bed, &b).await), (Cursor::new(1, 4), Cursor::new(1, 2)));
    assert_eq!(bed.database.sql("SELECT COUNT(*) FROM returned"), "0");
}

#[tokio::test]
async fn a_hole_is_a_new_epoch_in_its_room_only() {
    let bed = Bed::new().await;
    let (a, b) = (room("a"), room("b"));
    bed.store(&[said(&a, 1, "x"), said(&b, 1, "x")]).await;
    lose(&bed, &[said(&a, 2, "y"), said(&a, 4, "y"), said(&b, 2, "y")], Lost::Nothing).await;
    let base = Seq(4 + EPOCH_STRIDE);
    let expected = Extent { epoch: Epoch(2), base, tip: base, first: Seq(1), past: vec![(Epoch(1), 1..=4)] };
    assert_eq!(bed.archive.extent(a.id).await.unwrap(), expected);
    assert_eq!(tip(&bed, &b).await, Cursor::new(1, 2));
    assert_eq!(bed.all(&a).await.len(), 3);
    // What was missing turns up after all.
    bed.archive.give_late(&[said(&a, 3, "late"), said(&a, 5, "late")]).await.unwrap();
    let expected = Extent { past: vec![(Epoch(1), 1..=5)], ..expected };
    assert_eq!(bed.archive.extent(a.id).await.unwrap(), expected);
    assert_eq!(bed.all(&a).await.len(), 5);
}

#[tokio::test]
async fn an_unknown_loss_is_a_new_epoch_everywhere_and_once() {
    let bed = Bed::new().await;
    let (a, b, c) = (room("a"), room("b"), room("c"));
    bed.store(&[said(&a, 1, "x"), said(&b, 1, "x")]).await;
    let fence = lose(&bed, &[said(&a, 2, "y"), said(&a, 4, "y")], Lost::Unknown).await;
    assert_eq!(fence.losses, 1);
    let looks = (0..LOOKS).flat_map(|_| [&a, &b, &c]).map(|room| {
        let (archive, id) = (bed.archive.clone(), room.id);
        tokio::spawn(async move { archive.extent(id).await.unwrap().tip() })
    });
    let mut found = Vec::new();
    for look in looks.collect::<Vec<_>>() {
        found.push(look.await.unwrap());
    }
    let expected = [
        Cursor::new(2, 4 + EPOCH_STRIDE),
        Cursor::new(2, 1 + EPOCH_STRIDE),
        Cursor { epoch: Epoch(2), seq: Seq(EPOCH_STRIDE) },
    ];
    assert!(found.chunks(3).all(|looks| looks == expected), "{found:?}");
    // Two losses that nobody looked in between are one step.
    lose(&bed, &[], Lost::Unknown).await;
    lose(&bed, &[], Lost::Unknown).await;
    assert_eq!(tip(&bed, &b).await, Cursor::new(3, 1 + 2 * EPOCH_STRIDE));
    assert_eq!(bed.archive.extent(c.id).await.unwrap(), Extent::empty(3));
}

#[tokio::test]
async fn writers_and_readers_who_meet_a_loss_agree() {
    let bed = Bed::new().await;
    let rooms: Vec<Room> = (0..5).map(|n| room(&format!("room{n}"))).collect();
    for room in &rooms {
        bed.store(&[said(room, 1, "x")]).await;
    }
    lose(&bed, &[], Lost::Unknown).await;
    let mut tasks = Vec::new();
    for turn in 0..LOOKS as u64 {
        let (archive, rooms) = (bed.archive.clone(), rooms.clone());
        tasks.push(tokio::spawn(async move {
            let old: Vec<Entry> = rooms.iter().map(|room| said(room, 2 + turn, "late")).collect();
            archive.store(&old).await.unwrap();
            let new = |room| said_in(room, Cursor::new(2, 1 + EPOCH_STRIDE + 1 + turn), "new");
            archive.store(&rooms.iter().map(new).collect::<Vec<_>>()).await.unwrap();
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    for room in &rooms {
        let extent = bed.archive.extent(room.id).await.unwrap();
        let looks = LOOKS as u64;
        assert_eq!((extent.epoch, extent.tip), (Epoch(2), Seq(1 + EPOCH_STRIDE + looks)));
        assert_eq!(extent.base, Seq(1 + EPOCH_STRIDE));
        assert_eq!(extent.past, [(Epoch(1), 1..=1 + looks)]);
        assert_eq!(bed.all(room).await.len() as u64, 1 + 2 * looks);
    }
}

#[tokio::test]
async fn one_leads_at_a_time_and_only_while_it_holds_the_lock() {
    let bed = Bed::new().await;
    let lobby = room("lobby");
    let mut guard = bed.archive.lock_fence().await.unwrap().unwrap();
    assert!(bed.archive.lock_fence().await.unwrap().is_none());
    assert_eq!(guard.begin("one").await.unwrap(), 1);
    guard.hold().await.unwrap();
    bed.archive.give_back(&[said(&lobby, 1, "x")]).await.unwrap();
    let holder = bed.database.sql("SELECT IS_USED_LOCK(CONCAT('maru.fence.', MD5(DATABASE())))");
    bed.database.sql(&format!("KILL {holder}"));
    assert_eq!(guard.agree(Lost::Unknown).await.unwrap_err().kind, ArchiveErrorKind::Unavailable);
    assert_eq!(guard.hold().await.unwrap_err().kind, ArchiveErrorKind::Unavailable);
    let fence = bed.archive.fence().await.unwrap();
    assert_eq!((fence.is_agreed, fence.losses), (false, 0));
    assert_eq!(bed.all(&lobby).await, []);
    // The next one begins anew, and what was given back is still there.
    let mut next = bed.archive.lock_fence().await.unwrap().unwrap();
    assert_eq!(next.begin("two").await.unwrap(), 2);
    next.agree(Lost::Nothing).await.unwrap();
    assert_eq!(bed.all(&lobby).await.len(), 1);
    assert_eq!(next.begin("three").await.unwrap(), 3);
    next.release().await.unwrap();
    assert!(bed.archive.lock_fence().await.unwrap().is_some());
}

#[tokio::test]
async fn pods_that_are_gone_and_gave_nothing_back_are_left_out() {
    let bed = Bed::new().await;
    let [a, b, c] = [1, 2, 3].map(Uuid::from_u128);
    assert!(!bed.archive.renew_pod(a, 60_000).await.unwrap().was_listed);
    bed.archive.renew_pod(b, -1).await.unwrap();
    bed.archive.renew_pod(c, -1).await.unwrap();
    let mut guard = bed.archive.lock_fence().await.unwrap().unwrap();
    let generation = guard.begin("one").await.unwrap();
    bed.archive.gave_back(a, generation).await.unwrap();
    bed.archive.gave_back(c, generation).await.unwrap();
    let view = bed.archive.renew_pod(a, 60_000).await.unwrap();
    assert!(view.was_listed && !view.fence.is_agreed);
    let pod = |id, is_live, gave_back| PodRow { id, is_live, gave_back };
    assert_eq!(view.pods, [pod(a, true, 1), pod(b, false, 0), pod(c, false, 1)]);
    guard.agree(Lost::Unknown).await.unwrap();
    assert!(!bed.archive.renew_pod(b, 60_000).await.unwrap().was_listed);
    bed.archive.remove_pod(c).await.unwrap();
    let view = bed.archive.renew_pod(a, 60_000).await.unwrap();
    assert_eq!(view.pods, [pod(a, true, 1), pod(b, true, 1)]);
}

#[tokio::test]
async fn leases_are_renewed_while_somebody_leads() {
    use mysql_async::prelude::Queryable;
    let bed = Bed::new().await;
    let pod = Uuid::from_u128(1);
    bed.archive.renew_pod(pod, 60_000).await.unwrap();
    let mut leader = bed.archive.pool().connect().await.unwrap();
    leader.query_drop("START TRANSACTION").await.unwrap();
    leader.query_drop("UPDATE fence SET generation = 1, losses = 1").await.unwrap();
    // Nobody waits for the leader here, or this would end in an error.
    bed.archive.renew_pod(pod, 60_000).await.unwrap();
    bed.archive.renew_pod(Uuid::from_u128(2), 60_000).await.unwrap();
    bed.archive.gave_back(pod, 1).await.unwrap();
    bed.archive.give_back(&[said(&room("lobby"), 1, "x")]).await.unwrap();
    leader.query_drop("ROLLBACK").await.unwrap();
}

#[tokio::test]
async fn an_archive_that_was_put_back_follows_what_the_pods_know() {
    let (bed, lobby) = (Bed::new().await, room("lobby"));
    bed.store(&[said(&lobby, 1, "old")]).await;
    bed.store(&[said_in(&lobby, Cursor::new(3, 50), "new"), said_in(&lobby, Cursor::new(3, 51), "new")])
        .await;
    let expected =
        Extent { epoch: Epoch(3), base: Seq(49), tip: Seq(51), first: Seq(1), past: vec![(Epoch(1), 1..=1)] };
    assert_eq!(bed.archive.extent(lobby.id).await.unwrap(), expected);
}
