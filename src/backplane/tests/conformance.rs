//! One suite for all backplanes: two pods on one server.

use std::collections::HashSet;

use futures_util::future::join_all;

use super::*;
use crate::backplane::BackplaneErrorKind;

#[tokio::test]
async fn local_conforms() {
    let bus = Bus::default();
    conforms(&Pod::local(&bus), &Pod::local(&bus)).await;
}

#[tokio::test]
async fn redis_conforms() {
    let server = Redis::start();
    conforms(&Pod::redis(&server.url()).await, &Pod::redis(&server.url()).await).await;
}

#[tokio::test]
async fn nats_conforms() {
    let server = Nats::start();
    conforms(&Pod::nats(&server.url()).await, &Pod::nats(&server.url()).await).await;
}

async fn conforms(a: &Pod, b: &Pod) {
    let missed = (a.missed(), b.missed());
    everybody_who_subscribed_hears_it(a, b).await;
    nobody_else_does(a, b).await;
    who_unsubscribed_hears_no_more(a, b).await;
    subscribing_again_within_the_linger_stays_subscribed(a, b).await;
    subscribing_twice_is_once(a, b).await;
    bytes_arrive_as_they_were(a, b).await;
    a_thousand_logs_are_heard_at_once(a, b).await;
    one_sayer_is_heard_in_order(a, b).await;
    assert_eq!(missed, (a.missed(), b.missed()), "nothing is missed on a link that is whole");
    closed_says_and_hears_nothing(a, b).await;
}

async fn everybody_who_subscribed_hears_it(a: &Pod, b: &Pod) {
    let log = some_log();
    a.backplane.subscribe(log).await;
    b.backplane.subscribe(log).await;
    a.say(log, "by a").await;
    b.say(log, "by b").await;
    for pod in [a, b] {
        pod.hears(log, "by a").await;
        pod.hears(log, "by b").await;
    }
}

async fn nobody_else_does(a: &Pod, b: &Pod) {
    let (theirs, ours) = (some_log(), some_log());
    a.backplane.subscribe(theirs).await;
    b.backplane.subscribe(ours).await;
    a.say(theirs, "not for b").await;
    a.say(ours, "for b").await;
    b.hears(ours, "for b").await;
    a.hears(theirs, "not for b").await;
    assert!(!b.heard.borrow().has(theirs, b"not for b"));
}

async fn who_unsubscribed_hears_no_more(a: &Pod, b: &Pod) {
    let (gone, kept) = (some_log(), some_log());
    b.backplane.subscribe(kept).await;
    let before = b.backplane.figures().subscriptions;
    b.backplane.subscribe(gone).await;
    b.backplane.unsubscribe(gone);
    b.until_figures("it has lingered", |figures| figures.subscriptions == before).await;
    a.say(gone, "too late").await;
    a.say(kept, "in time").await;
    b.hears(kept, "in time").await;
    assert!(!b.heard.borrow().has(gone, b"too late"));
    b.backplane.subscribe(gone).await;
    a.say(gone, "back again").await;
    b.hears(gone, "back again").await;
}

async fn subscribing_again_within_the_linger_stays_subscribed(a: &Pod, b: &Pod) {
    let (log, other) = (some_log(), some_log());
    b.backplane.subscribe(log).await;
    b.backplane.subscribe(other).await;
    let before = b.backplane.figures().subscriptions;
    b.backplane.unsubscribe(log);
    b.backplane.subscribe(log).await;
    // One that left later is gone: so the linger of the first is over, too.
    b.backplane.unsubscribe(other);
    b.until_figures("another has gone", |figures| figures.subscriptions == before - 1).await;
    a.say(log, "still here").await;
    b.hears(log, "still here").await;
}

async fn subscribing_twice_is_once(a: &Pod, b: &Pod) {
    let log = some_log();
    tokio::join!(b.backplane.subscribe(log), b.backplane.subscribe(log));
    b.backplane.subscribe(log).await;
    a.say(log, "once").await;
    a.say(log, "the end").await;
    b.hears(log, "the end").await;
    let count = b.heard.borrow().said.iter().filter(|(l, bytes)| *l == log && bytes == "once").count();
    assert_eq!(count, 1);
}

async fn bytes_arrive_as_they_were(a: &Pod, b: &Pod) {
    let log = some_log();
    b.backplane.subscribe(log).await;
    let every: Vec<u8> = (0..=255).collect();
    let all = [Bytes::new(), every.clone().into(), every.repeat(256).into(), Bytes::from_static(b"\r\n")];
    let said = all.iter().map(|bytes| (log, bytes.clone())).collect();
    a.backplane.publish(said).await.expect("it is whole");
    b.until("all four", |heard| heard.has(log, b"\r\n")).await;
    let heard = b.heard.borrow();
    let came: Vec<&Bytes> = heard.said.iter().filter(|(l, _)| *l == log).map(|(_, bytes)| bytes).collect();
    assert_eq!(came, all.iter().collect::<Vec<_>>());
}

async fn a_thousand_logs_are_heard_at_once(a: &Pod, b: &Pod) {
    let logs: Vec<LogId> = (0..1000).map(|_| some_log()).collect();
    join_all(logs.iter().map(|&log| b.backplane.subscribe(log))).await;
    a.backplane.publish(logs.iter().map(|&log| (log, Bytes::new())).collect()).await.expect("it is whole");
    let expected: HashSet<LogId> = logs.iter().copied().collect();
    b.until("all of them", |heard| {
        heard.said.len() >= 1000
            && heard.said.iter().filter(|(log, _)| expected.contains(log)).count() == expected.len()
    })
    .await;
    logs.iter().for_each(|&log| b.backplane.unsubscribe(log));
}

async fn one_sayer_is_heard_in_order(a: &Pod, b: &Pod) {
    const COUNT: u32 = 10_000;
    let log = some_log();
    b.backplane.subscribe(log).await;
    for batch in (0..COUNT).collect::<Vec<_>>().chunks(500) {
        let said = batch.iter().map(|n| (log, Bytes::copy_from_slice(&n.to_be_bytes()))).collect();
        a.backplane.publish(said).await.expect("it is whole");
    }
    b.until("the last", |heard| {
        heard.said.last().is_some_and(|(_, last)| last[..] == (COUNT - 1).to_be_bytes())
    })
    .await;
    let heard = b.heard.borrow();
    let came = heard.said.iter().filter(|(l, _)| *l == log).map(|(_, bytes)| &bytes[..]);
    assert!(came.eq((0..COUNT).map(u32::to_be_bytes)), "in order, and each once");
}

async fn closed_says_and_hears_nothing(a: &Pod, b: &Pod) {
    let log = some_log();
    a.backplane.subscribe(log).await;
    b.backplane.subscribe(log).await;
    b.backplane.close().await;
    let refused = b.backplane.publish(vec![(log, Bytes::new())]).await.expect_err("it is closed");
    assert_eq!(refused.kind, BackplaneErrorKind::Closed);
    a.say(log, "b is gone").await;
    a.hears(log, "b is gone").await;
    assert!(!b.heard.borrow().has(log, b"b is gone"));
    assert!(!b.backplane.figures().is_connected);
}
