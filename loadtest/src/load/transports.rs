//! What a reader costs over plain HTTP/1.1, over TLS, and over HTTP/2: only the first leaves for the reading room.

use super::plot::{Chart, Charts};
use super::target::Target;
use super::{Failure, Progress, mean};
use crate::http::{ChunkedDecoder, parse_head};
use crate::proc;
use crate::sse::{Event, Parser};
use bytes::Bytes;
use h2::client::SendRequest;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, RootCertStore};
use serde::Serialize;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use testbed::Tls;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// Longest wait for anything: all readers there, or one message with all of them.
const PATIENCE: Duration = Duration::from_secs(30);

const ROOM: &str = "/r/transports";

/// What to measure.
#[derive(Clone, Debug, clap::Args)]
pub struct Transports {
    /// The maru to start; default: the one beside this program
    #[arg(long)]
    server: Option<PathBuf>,
    /// The server on core 0, the load on core 1
    #[arg(long)]
    pin: bool,
    /// Readers of the room
    #[arg(long, default_value_t = 500)]
    readers: usize,
    /// Messages of one measurement, one in flight
    #[arg(long, default_value_t = 400)]
    messages: u64,
    /// How often each is measured, in turns
    #[arg(long, default_value_t = 2)]
    rounds: usize,
}

/// How readers come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
enum Transport {
    Plain,
    Tls,
    /// A connection each.
    Http2,
    /// So many on a connection, as a browser's tabs are, or a proxy's readers.
    Http2Shared(usize),
    /// The same without TLS, by prior knowledge.
    H2c(usize),
}

const ALL: [Transport; 5] =
    [Transport::Plain, Transport::Tls, Transport::Http2, Transport::Http2Shared(50), Transport::H2c(50)];

impl Transport {
    fn is_tls(self) -> bool {
        matches!(self, Transport::Tls | Transport::Http2 | Transport::Http2Shared(_))
    }

    /// Readers on one connection of HTTP/2; none of HTTP/1.1.
    fn shared(self) -> Option<usize> {
        match self {
            Transport::Plain | Transport::Tls => None,
            Transport::Http2 => Some(1),
            Transport::Http2Shared(count) | Transport::H2c(count) => Some(count),
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Transport::Plain => f.write_str("HTTP/1.1"),
            Transport::Tls => f.write_str("HTTP/1.1 over TLS"),
            Transport::Http2 => f.write_str("HTTP/2 over TLS"),
            Transport::Http2Shared(count) => write!(f, "HTTP/2 over TLS, {count} a connection"),
            Transport::H2c(count) => write!(f, "HTTP/2, {count} a connection"),
        }
    }
}

/// One round of one transport.
#[derive(Clone, Debug, Serialize)]
struct Measured {
    round: usize,
    transport: Transport,
    /// Server CPU per delivery, less that of speaking alone (µs).
    us_per_delivery: f64,
    /// Server memory that each reader took (bytes).
    resident_per_reader: f64,
}

/// All measurements.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    scenario: &'static str,
    machine: String,
    readers: usize,
    messages: u64,
    runs: Vec<Measured>,
}

/// Measures each transport in turns, on a server of its own.
///
/// # Errors
/// When an event is lost, repeated or out of order, comes too late, or nothing can be set up.
pub fn transports(args: &Transports) -> Result<Report, Failure> {
    super::check_open_files(args.readers)?;
    if args.pin {
        proc::pin(std::process::id(), 1)?;
    }
    let tls = Tls::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut runs = Vec::new();
    for round in 1..=args.rounds {
        for transport in ALL {
            let measured = runtime.block_on(measure(args, round, transport, &tls))?;
            eprintln!("{measured}");
            runs.push(measured);
        }
    }
    let machine = proc::machine();
    Ok(Report { scenario: "transports", machine, readers: args.readers, messages: args.messages, runs })
}

async fn measure(
    args: &Transports,
    round: usize,
    transport: Transport,
    tls: &Tls,
) -> Result<Measured, Failure> {
    let (chain, key) = (tls.certificate(), tls.key());
    let path = |file: &Path| file.to_string_lossy().into_owned();
    let (chain, key) = (path(&chain), path(&key));
    let mut extra = vec!["--rate-limit", "off"];
    match transport {
        Transport::H2c(_) => extra.extend(["--h2c", "on"]),
        _ if transport.is_tls() => extra.extend(["--tls-cert", &chain, "--tls-key", &key]),
        _ => {}
    }
    let target = Target::maru(args.server.as_deref(), &extra, args.pin)?;
    let dial = Dial { target: &target, tls: transport.is_tls().then(|| trusting(tls, transport)) };

    let heard = Arc::new(Heard::default());
    let mut speaker = dial.speaker(tls).await?;
    for n in 0..args.messages / 4 {
        say(&mut *speaker, n).await?;
    }
    let alone = cpu_of(&target, args.messages, &mut *speaker, &heard, 0).await?;

    let before = target.resident()?;
    let progress = Progress::new(&transport.to_string(), args.readers as u64);
    let mut there = 0;
    while there < args.readers {
        let count = transport.shared().unwrap_or(1).min(args.readers - there);
        dial.listen(transport, count, &heard).await?;
        there += count;
        heard.wait_until(|heard| heard.live.load(Ordering::Relaxed) == there).await?;
        progress.set(there as u64);
    }
    drop(progress);
    target.wait_idle()?;
    let memory = target.resident()?.saturating_sub(before);

    let listened = cpu_of(&target, args.messages, &mut *speaker, &heard, args.readers as u64).await?;
    if heard.wrong.load(Ordering::Relaxed) > 0 {
        return Err(Failure::Wrong(format!("{transport}: an event was lost, repeated or out of order")));
    }
    let deliveries = args.messages * args.readers as u64;
    Ok(Measured {
        round,
        transport,
        us_per_delivery: listened.saturating_sub(alone).as_secs_f64() * 1e6 / deliveries as f64,
        resident_per_reader: memory as f64 / args.readers as f64,
    })
}

/// The server's CPU while so many messages are said, each heard by all before the next.
async fn cpu_of(
    target: &Target,
    messages: u64,
    speaker: &mut dyn Wire,
    heard: &Heard,
    readers: u64,
) -> Result<Duration, Failure> {
    let before = target.cpu()?;
    for n in 0..messages {
        let due = heard.messages.load(Ordering::Relaxed) + readers;
        say(speaker, n).await?;
        heard.wait_until(|heard| heard.messages.load(Ordering::Relaxed) >= due).await?;
    }
    Ok(target.cpu()?.since(&before))
}

/// What all readers have heard.
#[derive(Default)]
struct Heard {
    live: AtomicUsize,
    messages: AtomicU64,
    wrong: AtomicU64,
    news: Notify,
}

impl Heard {
    async fn wait_until(&self, holds: impl Fn(&Self) -> bool) -> Result<(), Failure> {
        let waiting = async {
            while !holds(self) {
                self.news.notified().await;
            }
        };
        let late = |_| Failure::Late(format!("readers have not heard all after {PATIENCE:?}"));
        timeout(PATIENCE, waiting).await.map_err(late)
    }

    /// Takes what a reader got; gives the seq of its last event.
    fn take(&self, parser: &mut Parser, last: &mut Option<u64>) {
        while let Some(Event { name, id, .. }) = parser.next_event() {
            match name.as_str() {
                "live" => {
                    self.live.fetch_add(1, Ordering::Relaxed);
                }
                "message" => {
                    let seq = id.and_then(|id| id.split_once('-')?.1.parse::<u64>().ok());
                    let is_next = seq.is_some() && last.is_none_or(|last| seq == Some(last + 1));
                    self.wrong.fetch_add(u64::from(!is_next), Ordering::Relaxed);
                    *last = seq;
                    self.messages.fetch_add(1, Ordering::Relaxed);
                }
                _ => continue,
            }
            self.news.notify_one();
        }
    }
}

/// A connection, whatever carries it.
trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Wire for S {}

/// How connections are made.
struct Dial<'a> {
    target: &'a Target,
    tls: Option<Arc<ClientConfig>>,
}

impl Dial<'_> {
    async fn connect(&self) -> Result<Box<dyn Wire>, Failure> {
        let socket = TcpStream::connect(self.target.address()).await?;
        socket.set_nodelay(true)?;
        let Some(tls) = &self.tls else { return Ok(Box::new(socket)) };
        let name = ServerName::try_from("localhost").map_err(|e| Failure::Setup(e.to_string()))?;
        Ok(Box::new(TlsConnector::from(Arc::clone(tls)).connect(name, socket).await?))
    }

    /// Who speaks does so in HTTP/1.1, on one connection.
    async fn speaker(&self, tls: &Tls) -> Result<Box<dyn Wire>, Failure> {
        let plain = self.tls.as_ref().map(|_| trusting(tls, Transport::Tls));
        Dial { target: self.target, tls: plain }.connect().await
    }

    /// So many readers more, on one connection.
    async fn listen(&self, transport: Transport, count: usize, heard: &Arc<Heard>) -> Result<(), Failure> {
        let wire = self.connect().await?;
        if transport.shared().is_none() {
            tokio::spawn(listen_http1(wire, Arc::clone(heard)));
            return Ok(());
        }
        let broken = |e: h2::Error| Failure::Setup(format!("no HTTP/2: {e}"));
        // The default, 64 KiB, would be for all together.
        let mut builder = h2::client::Builder::new();
        builder.initial_connection_window_size(1 << 24);
        let (requests, connection) = builder.handshake(wire).await.map_err(broken)?;
        tokio::spawn(connection);
        for _ in 0..count {
            tokio::spawn(listen_http2(requests.clone(), Arc::clone(heard)));
        }
        Ok(())
    }
}

/// Trusts the server of this test alone.
fn trusting(tls: &Tls, transport: Transport) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(tls.authority()).expect("it was made just now");
    roots.add(authority).expect("it is an authority");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has them")
        .with_root_certificates(roots)
        .with_no_client_auth();
    if transport.shared().is_some() {
        config.alpn_protocols = vec![b"h2".to_vec()];
    }
    Arc::new(config)
}

async fn say(speaker: &mut dyn Wire, n: u64) -> Result<(), Failure> {
    let text = format!("message {n:08}");
    let request =
        format!("POST {ROOM} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{text}", text.len());
    speaker.write_all(request.as_bytes()).await?;
    speaker.flush().await?;
    let mut answer = Vec::new();
    loop {
        if speaker.read_buf(&mut answer).await? == 0 {
            return Err(Failure::Late("the server hung up on the speaker".to_owned()));
        }
        let Some((head, length)) = parse_head(&answer).map_err(Failure::Wrong)? else { continue };
        let body = head.headers.get("content-length").and_then(|length| length.parse::<usize>().ok());
        if head.status != 201 {
            return Err(Failure::Wrong(format!("a message was answered with {}", head.status)));
        }
        if body.is_some_and(|body| answer.len() == length + body) {
            return Ok(());
        }
    }
}

async fn listen_http1(mut wire: Box<dyn Wire>, heard: Arc<Heard>) {
    let request = format!("GET {ROOM}?since=live HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let (mut head, mut chunks, mut parser) = (Some(Vec::new()), ChunkedDecoder::default(), Parser::new());
    let (mut last, mut received, mut body) = (None, Vec::new(), Vec::new());
    if wire.write_all(request.as_bytes()).await.is_err() || wire.flush().await.is_err() {
        return;
    }
    while wire.read_buf(&mut received).await.is_ok_and(|n| n > 0) {
        if let Some(begun) = &mut head {
            begun.append(&mut received);
            let Ok(Some((_, length))) = parse_head(begun) else { continue };
            received = begun.split_off(length);
            head = None;
        }
        if chunks.feed(&received, &mut body).is_err() {
            heard.wrong.fetch_add(1, Ordering::Relaxed);
        }
        parser.feed(&body);
        heard.take(&mut parser, &mut last);
        received.clear();
        body.clear();
    }
}

async fn listen_http2(requests: SendRequest<Bytes>, heard: Arc<Heard>) {
    let uri = format!("https://localhost{ROOM}?since=live");
    let request = http::Request::get(uri).body(()).expect("a request");
    let Ok(mut requests) = requests.ready().await else { return };
    let Ok((answer, _)) = requests.send_request(request, true) else { return };
    let Ok(answer) = answer.await else { return };
    let (mut body, mut parser, mut last) = (answer.into_body(), Parser::new(), None);
    while let Some(Ok(piece)) = body.data().await {
        // More than was received cannot be given back.
        _ = body.flow_control().release_capacity(piece.len());
        parser.feed(&piece);
        heard.take(&mut parser, &mut last);
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { round, transport, us_per_delivery, resident_per_reader } = self;
        let kib = resident_per_reader / 1024.0;
        write!(
            f,
            "round {round} {:35} {us_per_delivery:6.2} µs a delivery, {kib:6.1} KiB a reader",
            transport.to_string()
        )
    }
}

impl Charts for Report {
    fn charts(&self) -> Vec<Chart> {
        Vec::new()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scenario, machine, readers, messages, runs } = self;
        write!(f, "{scenario} on {machine}, {readers} readers, {messages} messages")?;
        let of = |transport, what: fn(&Measured) -> f64| {
            mean(runs.iter().filter(|run| run.transport == transport).map(what))
        };
        let plain = of(Transport::Plain, |run| run.us_per_delivery);
        for transport in ALL {
            let cost = of(transport, |run| run.us_per_delivery);
            let memory = of(transport, |run| run.resident_per_reader) / 1024.0;
            let (name, ratio) = (transport.to_string(), cost / plain);
            write!(f, "\n  {name:35} {cost:6.2} µs a delivery, {ratio:5.2} ×, {memory:6.1} KiB a reader")?;
        }
        Ok(())
    }
}
