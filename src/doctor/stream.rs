//! Whether streams come through: listens and speaks in an open room of its own, through everything that stands between a
//! URL and the server, and says by how much events came late.

use std::{
    io,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Request, StatusCode, header};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::report::Report;
use crate::client::{Connection, Site};

mod listening;

use listening::{Heard, Listening};

const ABOUT: &str = "stream";
/// How long a head, an answer or an event may take before it is taken for lost.
const PATIENCE: Duration = Duration::from_secs(10);
/// What is said, and the time between.
const WORDS: (u32, Duration) = (5, Duration::from_millis(400));
/// An event that comes so long after the answer to its POST was held back somewhere.
const LATE: Duration = Duration::from_millis(500);
/// Quiet streams have a ping every 18 s at most.
const PING: Duration = Duration::from_secs(25);
/// What browsers say that they take.
const ENCODINGS: &str = "gzip, deflate, br, zstd";
/// Bytes of an answer that is looked at.
const ANSWER: usize = 64 << 10;

pub(super) async fn examine(site: &Site, wait: Option<Duration>, report: &mut Report) {
    let room = format!("/r/doctor-{}", Uuid::new_v4().simple());
    let Some((mut listening, opened)) = opened(site, &room, report).await else { return };
    if !begins(&mut listening, opened, report).await {
        return;
    }
    if let Err(e) = words(site, &room, &mut listening, report).await {
        return report.fail(ABOUT, format!("one cannot speak there: {e}"));
    }
    quiet(&mut listening, wait, report).await;
    figures(site, report).await;
}

/// Opens the stream as a browser would; where it comes compressed, once more without.
async fn opened(site: &Site, room: &str, report: &mut Report) -> Option<(Listening, Instant)> {
    let mut encodings = Some(ENCODINGS);
    loop {
        let since = Instant::now();
        let answer = match timeout(PATIENCE, listen(site, room, encodings)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(e)) => {
                report.fail(ABOUT, format!("{} cannot be asked: {e}", site.url(room)));
                return None;
            }
            Err(_) => {
                let text = "the stream does not begin within 10 s: something waits for its end. For nginx: proxy_buffering off";
                report.fail(ABOUT, text);
                return None;
            }
        };
        let (head, body) = answer.into_parts();
        let squeezed = head
            .headers
            .get(header::CONTENT_ENCODING)
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        if let (Some(encoding), Some(_)) = (squeezed, encodings) {
            report.fail(
                ABOUT,
                format!(
                    "something compresses the stream ({encoding}), and keeps events back to do so: leave out text/event-stream \
                     there, and heed Cache-Control: no-transform"
                ),
            );
            encodings = None;
            continue;
        }
        if !is_stream(head.status, &head.headers, report) {
            return None;
        }
        return Some((Listening::to(body, &head.headers), since));
    }
}

async fn listen(
    site: &Site,
    room: &str,
    encodings: Option<&str>,
) -> io::Result<hyper::Response<hyper::body::Incoming>> {
    let mut request = Request::get(format!("{room}?since=live")).header(header::ACCEPT, "text/event-stream");
    if let Some(encodings) = encodings {
        request = request.header(header::ACCEPT_ENCODING, encodings);
    }
    site.connect().await?.send(request.body(Full::default()).map_err(io::Error::other)?).await
}

fn is_stream(status: StatusCode, headers: &HeaderMap, report: &mut Report) -> bool {
    let value =
        |name: &str| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).to_lowercase());
    let kind = value("content-type").unwrap_or_default();
    if status != StatusCode::OK || !kind.starts_with("text/event-stream") {
        report.fail(ABOUT, format!("there is no stream but {status}, {kind:?}: is maru behind that URL?"));
        return false;
    }
    if value("cache-control")
        .is_none_or(|control| !control.contains("no-store") || !control.contains("no-transform"))
    {
        report.warn(
            ABOUT,
            "Cache-Control is not as maru says it (no-store, no-transform): something between changes heads",
        );
    }
    // nginx keeps it to itself when it heeds it.
    let named = value("x-accel-buffering")
        .map_or("X-Accel-Buffering was taken on the way", |_| "X-Accel-Buffering came through");
    let by = value("via").or_else(|| value("server")).map_or(String::new(), |by| format!("; by {by}"));
    report.ok(ABOUT, format!("the stream is text/event-stream, not compressed; {named}{by}"));
    true
}

/// hello comes with the head.
async fn begins(listening: &mut Listening, opened: Instant, report: &mut Report) -> bool {
    let hello = listening.next(PATIENCE, |heard| heard.name == "hello" || heard.name == "bye").await;
    match hello {
        Some(Heard { name, data, .. }) if name == "bye" => {
            report.fail(ABOUT, format!("the stream is ended at once: {data}"));
            false
        }
        Some(heard) => {
            let after = heard.at - opened;
            let text = format!("hello came {} ms after it was asked for", after.as_millis());
            if after > LATE * 4 {
                report.warn(
                    ABOUT,
                    format!("{text}, connecting included: the way is long, or something gathers bytes first"),
                );
            } else {
                report.ok(ABOUT, text);
            }
            true
        }
        None => {
            let text = "hello does not come, though the head is there: something keeps the body back. For nginx: proxy_buffering \
                        off, and no proxy_ignore_headers X-Accel-Buffering; for others: no caching, no inspection of answers";
            report.fail(ABOUT, text);
            false
        }
    }
}

/// Says something a few times, and sees how long after the answer each comes.
async fn words(site: &Site, room: &str, listening: &mut Listening, report: &mut Report) -> io::Result<()> {
    let mut speaker = timeout(PATIENCE, site.connect()).await??;
    let mut late = Vec::new();
    let cookie = listening.cookie().map(str::to_owned);
    if cookie.is_none() {
        report.warn(ABOUT, "no session came with the stream: something takes Set-Cookie away, and guests are others each time");
    }
    for n in 1..=WORDS.0 {
        let text = format!("maru doctor, {n} of {}: {}", WORDS.0, Uuid::new_v4().simple());
        let answered = say(&mut speaker, room, &text, cookie.as_deref()).await?;
        let Some(heard) = listening.next(PATIENCE, |heard| heard.data.contains(&text)).await else {
            let text = "what is said does not come on the stream within 10 s: something keeps it back. Turn buffering off for \
                        /r/ and /api/ (nginx: proxy_buffering off)";
            report.fail(ABOUT, text);
            return Ok(());
        };
        late.push(heard.at.saturating_duration_since(answered));
        sleep(WORDS.1).await;
    }
    late.sort_unstable();
    let (middle, worst) = (late[late.len() / 2], late[late.len() - 1]);
    let text = format!(
        "events come {} ms after the answer to whoever says them, {} ms at worst",
        middle.as_millis(),
        worst.as_millis()
    );
    if worst > LATE {
        report.fail(
            ABOUT,
            format!("{text}: something gathers bytes before it passes them on. Turn buffering off"),
        );
    } else {
        report.ok(ABOUT, text);
    }
    Ok(())
}

/// When the answer was there.
async fn say(speaker: &mut Connection, room: &str, text: &str, cookie: Option<&str>) -> io::Result<Instant> {
    let mut request = Request::post(room).header(header::CONTENT_TYPE, "text/plain");
    if let Some(cookie) = cookie {
        request = request.header(header::COOKIE, cookie);
    }
    let request = request.body(Full::new(Bytes::from(text.to_owned()))).map_err(io::Error::other)?;
    let answer = timeout(PATIENCE, speaker.send(request)).await??;
    let status = answer.status();
    let body = http_body_util::Limited::new(answer.into_body(), ANSWER);
    timeout(PATIENCE, body.collect()).await?.map_err(io::Error::other)?;
    match status {
        StatusCode::CREATED => Ok(Instant::now()),
        other => Err(io::Error::other(format!("POST {room} is answered {other}"))),
    }
}

/// Nobody says anything: a ping comes, and the stream stays.
async fn quiet(listening: &mut Listening, wait: Option<Duration>, report: &mut Report) {
    let since = Instant::now();
    match listening.next(PING, |heard| heard.name == "ping").await {
        Some(heard) => {
            report.ok(ABOUT, format!("a ping came after {} s of quiet", (heard.at - since).as_secs()));
        }
        None if listening.is_over() => {
            let text = format!(
                "the stream was cut after {} s of quiet: raise that time-out over 60 s (nginx: proxy_read_timeout)",
                since.elapsed().as_secs()
            );
            return report.fail(ABOUT, text);
        }
        None => {
            let text = "no ping came within 25 s: something keeps small pieces back, and readers take the connection for dead";
            report.fail(ABOUT, text);
        }
    }
    let Some(wait) = wait else { return };
    let left = wait.saturating_sub(since.elapsed());
    listening.next(left, |_| false).await;
    let after = since.elapsed().as_secs();
    if listening.is_over() {
        let text = format!(
            "the stream was cut after {after} s, pings notwithstanding: readers come back, each time anew. Raise that limit"
        );
        report.warn(ABOUT, text);
    } else {
        report.ok(ABOUT, format!("the stream is still there after {after} s"));
    }
}

/// What is counted is nobody's business.
async fn figures(site: &Site, report: &mut Report) {
    if site.is_local() {
        return;
    }
    let asked = async {
        let request = Request::get("/metrics").body(Full::default()).map_err(io::Error::other)?;
        Ok::<_, io::Error>(site.connect().await?.send(request).await?.status())
    };
    if let Ok(Ok(StatusCode::OK)) = timeout(PATIENCE, asked).await {
        report.warn(ABOUT, format!("{} is open to everybody: close it at the proxy", site.url("/metrics")));
    }
}
