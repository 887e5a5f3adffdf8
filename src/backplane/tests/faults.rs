//! Real servers that die, hang, cut, or do not let in.

use std::{
    io,
    sync::{Mutex, PoisonError},
};

use testbed::Aof;

use super::*;
use crate::backplane::{BackplaneErrorKind, nats};

/// A server that can be made to fail.
trait Server {
    fn kill(&mut self);
    fn start_again(&mut self);
    fn hang(&self);
    fn go_on(&self);
}

macro_rules! server {
    ($name:ident) => {
        impl Server for $name {
            fn kill(&mut self) {
                $name::kill(self);
            }
            fn start_again(&mut self) {
                $name::start_again(self);
            }
            fn hang(&self) {
                $name::hang(self);
            }
            fn go_on(&self) {
                $name::go_on(self);
            }
        }
    };
}

server!(Redis);
server!(Nats);

#[tokio::test]
async fn redis_that_dies_is_found_again() {
    let server = Redis::start();
    let pods = [Pod::redis(&server.url()).await, Pod::redis(&server.url()).await];
    found_again_after_death(server, pods).await;
}

#[tokio::test]
async fn nats_that_dies_is_found_again() {
    let server = Nats::start();
    let pods = [Pod::nats(&server.url()).await, Pod::nats(&server.url()).await];
    found_again_after_death(server, pods).await;
}

async fn found_again_after_death(mut server: impl Server, [a, b]: [Pod; 2]) {
    let (log, later) = (some_log(), some_log());
    b.backplane.subscribe(log).await;
    a.say(log, "before").await;
    b.hears(log, "before").await;
    server.kill();
    for pod in [&a, &b] {
        pod.until_figures("it is noticed", |figures| !figures.is_connected && figures.cuts == 1).await;
        let error = pod.backplane.publish(vec![(log, Bytes::new())]).await.expect_err("there is no server");
        assert_eq!(error.kind, BackplaneErrorKind::Unavailable);
    }
    let asked = Instant::now();
    b.backplane.subscribe(later).await;
    assert!(asked.elapsed() < Duration::from_secs(5), "it does not wait for the server");
    assert_eq!(b.missed(), 1, "not before it hears again");
    server.start_again();
    b.until("missed", |heard| heard.missed == 2).await;
    a.say_at_last(log, "after").await;
    a.say_at_last(later, "this one, too").await;
    b.hears(log, "after").await;
    b.hears(later, "this one, too").await;
    assert_eq!(b.missed(), 2, "said once");
}

#[tokio::test]
async fn redis_that_hangs_leads_to_missed() {
    let server = Redis::start();
    let pods = [Pod::redis(&server.url()).await, Pod::redis(&server.url()).await];
    healed_after_a_hang(server, pods).await;
}

#[tokio::test]
async fn nats_that_hangs_leads_to_missed() {
    let server = Nats::start();
    let pods = [Pod::nats(&server.url()).await, Pod::nats(&server.url()).await];
    healed_after_a_hang(server, pods).await;
}

async fn healed_after_a_hang(server: impl Server, [a, b]: [Pod; 2]) {
    let log = some_log();
    b.backplane.subscribe(log).await;
    server.hang();
    // It may answer once more: the signal takes a moment to arrive.
    until("it hangs", async || {
        let said = a.backplane.publish(vec![(log, Bytes::new())]).await;
        said.is_err_and(|e| e.kind == BackplaneErrorKind::Unavailable)
    })
    .await;
    b.until_figures("it is noticed", |figures| !figures.is_connected).await;
    server.go_on();
    b.until("missed", |heard| heard.missed >= 2).await;
    a.say_at_last(log, "after").await;
    b.hears(log, "after").await;
}

#[tokio::test]
async fn redis_that_cuts_its_listeners_leads_to_missed() {
    let server = Redis::start();
    let pod = Pod::redis(&server.url()).await;
    let log = some_log();
    pod.backplane.subscribe(log).await;
    server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    pod.until("missed", |heard| heard.missed == 2).await;
    pod.say(log, "after").await;
    pod.hears(log, "after").await;
    assert_eq!(pod.backplane.figures().cuts, 1);
}

#[tokio::test]
async fn redis_brings_what_a_script_published_and_counts_what_is_nobodys() {
    let server = Redis::start();
    let pod = Pod::redis(&server.url()).await;
    let log = some_log();
    pod.backplane.subscribe(log).await;
    server.command(&["EVAL", "return redis.call('PUBLISH', KEYS[1], 'by a script')", "1", &channel(log)]);
    pod.hears(log, "by a script").await;
    assert_eq!(pod.backplane.figures().unknown, 0);
}

#[tokio::test]
async fn a_server_that_is_not_there_yet_is_found_when_it_comes() {
    let mut redis = Redis::start();
    let mut nats = Nats::start();
    redis.kill();
    nats.kill();
    let log = some_log();
    let pods = [
        Pod::new(|ear| Backplane::redis(&redis.url(), move |inbound| ear(inbound)).expect("a URL")),
        Pod::new(|ear| Backplane::nats(&nats.url(), move |inbound| ear(inbound)).expect("a URL")),
    ];
    for pod in &pods {
        pod.backplane.subscribe(log).await;
        assert_eq!(pod.missed(), 0);
    }
    redis.start_again();
    nats.start_again();
    for pod in &pods {
        pod.until("missed", |heard| heard.missed == 1).await;
        pod.say_at_last(log, "here").await;
        pod.hears(log, "here").await;
    }
}

#[tokio::test]
async fn a_slow_consumer_of_nats_is_counted_and_leads_to_missed() {
    let server = Nats::start();
    let a = Pod::nats(&server.url()).await;
    let b = Pod::new(|ear| Backplane::Nats(nats::Nats::with_capacity(&server.url(), ear, 1).expect("a URL")));
    b.until("it is connected", |heard| heard.missed == 1).await;
    let log = some_log();
    b.backplane.subscribe(log).await;
    a.backplane.publish(vec![(log, Bytes::from_static(b"flood")); 5000]).await.expect("it is whole");
    b.until("missed", |heard| heard.missed >= 2).await;
    b.until_figures("counted", |figures| figures.dropped > 0).await;
    b.until_figures("the link is whole", |figures| figures.is_connected && figures.cuts == 0).await;
    a.say(log, "after").await;
    b.hears(log, "after").await;
}

#[tokio::test]
async fn nats_does_not_take_what_is_too_large() {
    let server = Nats::with("max_payload: 1024\n");
    let pod = Pod::nats(&server.url()).await;
    let said = vec![(some_log(), Bytes::from(vec![0; 2048]))];
    let error = pod.backplane.publish(said).await.expect_err("it is too large");
    assert_eq!(error.kind, BackplaneErrorKind::Refused);
}

#[tokio::test]
async fn names_and_passwords_in_the_url_let_in() {
    let redis = Redis::with(Aof::Off, &["--requirepass", "p@ss"]);
    let nats = Nats::with("authorization { user: \"maru\", password: \"p@ss\" }\n");
    let token = Nats::with("authorization { token: \"s3cret\" }\n");
    let log = some_log();
    let pods = [
        Pod::redis(&redis.url().replace("//", "//default:p%40ss@")).await,
        Pod::nats(&nats.url().replace("//", "//maru:p%40ss@")).await,
        Pod::nats(&token.url().replace("//", "//s3cret@")).await,
    ];
    for pod in pods {
        pod.backplane.subscribe(log).await;
        pod.say(log, "let in").await;
        pod.hears(log, "let in").await;
    }
}

/// What was logged.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads what is logged at level `WARN` on this thread, until the guard is dropped.
fn read_log() -> (Lines, tracing::subscriber::DefaultGuard) {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    (lines, tracing::subscriber::set_default(subscriber))
}

#[tokio::test]
async fn a_wrong_password_for_redis_is_logged_once() {
    let server = Redis::with(Aof::Off, &["--requirepass", "right"]);
    let (lines, _guard) = read_log();
    let url = server.url().replace("//", "//default:wr0ng@");
    let pod = Pod::new(|ear| Backplane::redis(&url, move |inbound| ear(inbound)).expect("a URL"));
    until("it has tried several times", async || refusals(&server) >= 3).await;
    let text = lines.text();
    assert_eq!(text.matches("WARN").count(), 1, "{text}");
    assert!(!text.contains("wr0ng"), "{text}");
    pod.backplane.publish(vec![(some_log(), Bytes::new())]).await.expect_err("it is not let in");
}

/// Wrong passwords that the server has seen, as told by a connection that is let in.
fn refusals(server: &Redis) -> u32 {
    let url = server.url().replace("//", "//default:right@");
    let client = ::redis::Client::open(url).expect("a URL");
    let mut connection = client.get_connection().expect("it is let in");
    let stats: String = ::redis::cmd("INFO").arg("commandstats").query(&mut connection).expect("it answers");
    let of_auth = stats.lines().find(|line| line.starts_with("cmdstat_auth:")).expect("it has seen one");
    let (_, count) = of_auth.rsplit_once("failed_calls=").expect("it counts them");
    count.trim().parse().expect("a number")
}

#[tokio::test]
async fn a_wrong_password_for_nats_is_logged_once() {
    let server = Nats::with("authorization { user: \"maru\", password: \"right\" }\n");
    let (lines, _guard) = read_log();
    let url = server.url().replace("//", "//maru:wr0ng@");
    let pod = Pod::new(|ear| Backplane::nats(&url, move |inbound| ear(inbound)).expect("a URL"));
    // Each try costs at least 25 ms of pause: in that time there are several.
    pod.backplane.subscribe(some_log()).await;
    let text = lines.text();
    assert_eq!(text.matches("the backplane has no link").count(), 1, "{text}");
    assert!(!text.contains("wr0ng"), "{text}");
    let error = pod.backplane.publish(vec![(some_log(), Bytes::new())]).await.expect_err("it is not let in");
    assert_eq!(error.kind, BackplaneErrorKind::Unavailable);
}

#[tokio::test]
async fn a_cause_is_logged_again_after_it_was_gone() {
    let (lines, _guard) = read_log();
    let mut server = Redis::start();
    let pod = Pod::redis(&server.url()).await;
    // Redis counts as a listener who has subscribed.
    pod.backplane.subscribe(some_log()).await;
    for _ in 0..2 {
        let missed = pod.missed();
        server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        pod.until("missed", |heard| heard.missed == missed + 1).await;
    }
    server.kill();
    pod.until_figures("it is noticed", |figures| !figures.is_connected).await;
    assert!(lines.text().matches("the backplane has no link").count() >= 3, "{}", lines.text());
}
