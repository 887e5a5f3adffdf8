//! What lies under the rooms: SQLite alone, or what many pods share.

use std::{
    io,
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use prometheus_client::metrics::histogram::Histogram;
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, sleep, timeout},
};
use uuid::Uuid;

use crate::{
    archive::{Archive, ArchiveErrorKind},
    backplane::{self, Backplane, Inbound},
    chat::{Chat, Select},
    clock,
    config::{Config, Store},
    event::{Frame, LogId},
    http::App,
    hub::{Feeds, Hub},
    log::{Ack, Log, Notice, Parts, RedisLog, Renames, SqliteLog, Standing, Tips},
    metrics::Many,
    pods::Pods,
    writer::Writer,
};

/// How long a pod that starts waits for its servers.
const PATIENCE: Duration = Duration::from_secs(30);
/// Events that wait to be published by this pod; what does not fit is found by the tip check.
const TO_PUBLISH: usize = 8192;
/// Events that are published at once.
const TOGETHER: usize = 512;
/// How often it is looked whether something was missed.
const LOOK: Duration = Duration::from_millis(400);
/// Sign-outs that are read again, since numbers are given before they are committed.
const OVERLAP: i64 = 1000;
/// How long a pod that ends waits for the archive to have what it took.
const LEAVE: Duration = Duration::from_secs(10);

/// The log, and how its news come to the feeds.
pub(super) struct Stores {
    pub(super) log: Log,
    pub(super) backplane: Backplane,
    pub(super) many: Option<Many>,
    /// Something may have been missed.
    missed: Arc<Notify>,
}

/// Opens what the settings name.
pub(super) async fn open(config: &Config, feeds: &Arc<Feeds>) -> io::Result<Stores> {
    let missed = Arc::new(Notify::new());
    let lag_seconds = clock::latency();
    let ear = {
        let (feeds, missed, lag) = (Arc::clone(feeds), Arc::clone(&missed), lag_seconds.clone());
        move |inbound| match inbound {
            Inbound::Said(log, said) => {
                if let Some(ts) = Frame::ts_of(&said) {
                    #[expect(clippy::cast_precision_loss, reason = "ms of a lag are few")]
                    lag.observe((clock::millis() - ts).max(0) as f64 / 1000.0);
                }
                feeds.hear(Notice::heard(log, &said).into_iter().collect());
            }
            Inbound::Missed => missed.notify_one(),
        }
    };
    match config.store().map_err(io::Error::other)? {
        Store::Alone => {
            let hearing = Arc::clone(feeds);
            let log = SqliteLog::open(&config.data, move |notices| hearing.hear(notices))?;
            let log = Log::Sqlite(Arc::new(log));
            Ok(Stores { log, backplane: Backplane::local(ear), many: None, missed })
        }
        Store::Pods { redis, mysql, nats, ack } => {
            let archive = reach(mysql).await?;
            let backplane = match nats {
                Some(nats) => Backplane::nats(nats, ear)?,
                None => Backplane::redis(redis, ear)?,
            };
            let many = join(redis, archive, ack, nats.is_none(), backplane.clone(), lag_seconds).await?;
            let shown = Arc::clone(feeds);
            shown.remember_shown();
            many.log.remember_shown(move |since| shown.shown(since));
            Ok(Stores { log: Log::Redis(Arc::clone(&many.log)), backplane, many: Some(many), missed })
        }
    }
}

/// MySQL, which may start with us.
async fn reach(url: &str) -> io::Result<Archive> {
    let until = Instant::now() + PATIENCE;
    loop {
        match Archive::open(url).await {
            Ok(archive) => {
                match archive.warnings().await {
                    Ok(warnings) => warnings.iter().for_each(|warning| tracing::warn!("MySQL: {warning}")),
                    Err(e) => tracing::warn!(error = %e, "MySQL's settings could not be checked"),
                }
                return Ok(archive);
            }
            Err(e) if e.kind == ArchiveErrorKind::Unavailable && Instant::now() < until => {
                tracing::warn!(error = %e, "MySQL cannot be reached yet; trying again");
                sleep(Duration::from_millis(500)).await;
            }
            Err(e) => return Err(io::Error::other(format!("--mysql: {e}"))),
        }
    }
}

/// Joins the pods that share these servers.
async fn join(
    redis: &str,
    archive: Archive,
    ack: Ack,
    by_redis: bool,
    backplane: Backplane,
    lag_seconds: Histogram,
) -> io::Result<Many> {
    let (said, to_publish) = mpsc::channel(TO_PUBLISH);
    let channel = by_redis.then_some(backplane::channel as fn(LogId) -> String);
    let id = Uuid::now_v7();
    let url = redis.to_owned();
    let log = RedisLog::new(Parts { url, pod: id, archive: archive.clone(), ack, channel, said })?;
    let pods = Pods::join(id, archive.clone(), Arc::clone(&log));
    let mut standing = log.standing();
    let agreed = standing.wait_for(|standing| matches!(standing, Standing::Agreed(_)));
    if timeout(PATIENCE, agreed).await.is_err() {
        return Err(io::Error::other(format!(
            "--redis: the server could not be reached within {} s, or the pods could not agree on it",
            PATIENCE.as_secs()
        )));
    }
    for warning in log.warnings().await {
        tracing::warn!("Redis: {warning}");
    }
    let writer = Writer::start(Arc::clone(&log), archive, id, pods.live());
    let publish_seconds = clock::latency();
    tokio::spawn(publish(backplane.clone(), to_publish, publish_seconds.clone()));
    tokio::spawn(RedisLog::tell_stored(Arc::downgrade(&log)));
    Ok(Many { log, pods, writer, backplane, publish_seconds, lag_seconds })
}

/// Publishes what this pod is to publish, as much at once as there is.
async fn publish(backplane: Backplane, mut to_publish: mpsc::Receiver<(LogId, Bytes)>, seconds: Histogram) {
    let mut together = Vec::with_capacity(TOGETHER);
    while to_publish.recv_many(&mut together, TOGETHER).await > 0 {
        let since = Instant::now();
        match backplane.publish(std::mem::take(&mut together)).await {
            Ok(()) => seconds.observe(since.elapsed().as_secs_f64()),
            Err(e) => tracing::debug!(error = %e, "events were not published; the tip check finds them"),
        }
    }
}

impl Stores {
    /// Keeps the rooms in step with the other pods from now on.
    pub(super) fn follow(&self, hub: &Hub, app: &Arc<App>) {
        if let Some(many) = &self.many {
            tokio::spawn(look_for_missed(
                hub.clone(),
                Arc::clone(&app.chat),
                many.log.clone(),
                Arc::clone(&self.missed),
            ));
            tokio::spawn(take_up(hub.clone(), Arc::clone(&app.chat), Arc::clone(&many.pods)));
            tokio::spawn(hear_of_endings(Arc::downgrade(app)));
            tokio::spawn(hear_of_bans(Arc::downgrade(&app.chat)));
        }
    }

    /// Writes what is queued, and leaves the others in good order.
    pub(super) async fn close(&self) {
        self.log.close().await;
        if let Some(many) = &self.many {
            many.pods.leave(LEAVE).await;
            many.writer.close().await;
        }
        self.backplane.close().await;
    }
}

/// Twice a second, and whenever the backplane says so.
async fn look_for_missed(hub: Hub, chat: Arc<Chat>, log: Arc<RedisLog>, missed: Arc<Notify>) {
    let (mut tips, mut renames) = (Tips::default(), Renames::from_now());
    loop {
        tokio::select! {
            () = sleep(LOOK) => {
                // Who cannot be asked now is asked the next time.
                if let Ok(tips) = log.tips(&hub.rooms(), &mut tips).await {
                    hub.compare(&tips);
                }
                for (user, name) in log.told_names(&mut renames).await.unwrap_or_default() {
                    chat.renamed(user, &name);
                }
            }
            () = missed.notified() => hub.look_again(),
        }
    }
}

/// Another life of Redis: every room looks again where its log ends now.
async fn take_up(hub: Hub, chat: Arc<Chat>, pods: Arc<Pods>) {
    let mut taken_up = pods.taken_up();
    let mut out = taken_up.borrow_and_update().out;
    while taken_up.changed().await.is_ok() {
        let left = *taken_up.borrow_and_update();
        hub.look_again();
        if left.out > out {
            out = left.out;
            chat.end(Select::Everyone);
        }
    }
}

/// Who signed out on another pod is out here too.
async fn hear_of_endings(app: Weak<App>) {
    let mut last = 0;
    loop {
        sleep(LOOK).await;
        let Some(app) = app.upgrade() else { return };
        let Log::Redis(log) = app.chat.log() else { return };
        let Ok(revoked) = log.revoked(last - OVERLAP).await else { continue };
        for (n, session, until) in revoked {
            last = n.max(last);
            if !app.revoked.contains(session) {
                app.revoked.insert(session, until, clock::seconds());
                app.chat.end(Select::Session(session));
            }
        }
    }
}

/// Who was shut out of a room, or let in again, by another pod is so here too.
async fn hear_of_bans(chat: Weak<Chat>) {
    loop {
        sleep(LOOK).await;
        let Some(chat) = chat.upgrade() else { return };
        // Who cannot be asked now is asked the next time.
        _ = chat.hear_of_bans().await;
    }
}
