//! Streams that stay in hyper: NDJSON, HTTP/1.0, and whatever is not a plain socket. The same contract at more
//! memory: a cursor on the feed, and a task.

use rand::RngExt;
use serde::Serialize;
use tokio::time::{Instant, sleep_until};

use super::{Stop, Writer, quiet};
use crate::{chat::Visit, clock, event::Cursor, hub::Listener, readers::Occupant};

#[derive(Serialize)]
struct Ping {
    ts: i64,
}

/// Goes on after `at` until somebody has had enough.
pub(super) async fn go_on(
    writer: &mut Writer,
    mut at: Cursor,
    visit: &Visit,
    mut listener: Listener,
) -> Result<(), Stop> {
    let left = u64::from(visit.expires()).saturating_sub(clock::seconds());
    let expires = Instant::now() + std::time::Duration::from_secs(left);
    let draining = writer.app.sent_off();
    tokio::pin!(draining);
    let mut ping_at = Instant::now() + quiet();
    let why = loop {
        let heard = listener.hear(at.seq, super::STEP);
        // More than the feed keeps behind, although it was live: it comes back by its cursor.
        let Some(frames) = heard.frames else { break "too_slow" };
        let is_news = !frames.is_empty() || !heard.asides.is_empty();
        for frame in frames {
            if frame.is_gap() {
                writer.app.metrics.gaps.inc();
            }
            writer.push(&writer.format.event(&frame));
            at = frame.cursor;
        }
        for block in heard.asides {
            writer.push(&writer.format.aside(&block));
        }
        if is_news {
            writer.flush().await?;
            ping_at = Instant::now() + quiet();
            continue;
        }
        tokio::select! {
            () = listener.changed() => {}
            () = sleep_until(ping_at) => {
                writer.push(&writer.format.named("ping", None, None, &Ping { ts: clock::millis() }));
                writer.flush().await?;
                ping_at = Instant::now() + quiet();
            }
            () = writer.pieces.closed() => return Err(Stop::Gone),
            () = sleep_until(expires) => break "expired",
            () = &mut draining => break "draining",
            select = writer.endings.told() => return Err(Stop::Told(select)),
        }
    };
    let retry =
        if why == "draining" { writer.app.drain_retry() } else { rand::rng().random_range(1000..3000) };
    writer.push(&writer.format.bye(why, retry));
    writer.flush().await
}
