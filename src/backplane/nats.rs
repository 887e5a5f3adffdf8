//! Over NATS core: one connection, and one task that takes in what comes from all subscriptions.
//!
//! async-nats connects again and subscribes again by itself, but says that it is connected before the server has
//! been told of anything, and its `flush` waits for the socket only. What proves that the server has got
//! everything before is an [`Echo`].
//!
//! A subscription costs about 5 KB here (0.25 KB over Redis): async-nats gives each a queue of its own.

use std::{
    collections::HashMap,
    io,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use async_nats::{
    Client, ConnectOptions, Event, PublishErrorKind, ServerAddr, Subscriber, connection::State,
};
use bytes::Bytes;
use futures_util::{
    StreamExt,
    future::{AbortHandle, Fuse, FusedFuture, FutureExt},
    stream::{SelectAll, abortable},
};
use percent_encoding::percent_decode_str;
use tokio::time::{sleep, timeout};

use super::{
    BackplaneError, BackplaneErrorKind, Ear, Figures,
    interest::Step,
    link::{ANSWER, Link, Task, pause},
    log_of_subject, subject,
};
use crate::event::LogId;

mod echo;

use echo::Echo;

/// Messages of one log that may wait to be taken in: over it they are let go. The task that takes them in does
/// little else, so this is for bursts.
const CAPACITY: usize = 16 * 1024;
/// Between two looks at whether the server is still there; it is given up after three without an answer.
const PING: Duration = Duration::from_secs(2);
/// Events of async-nats may get lost in a flood: looked after at least this often.
const LOOK: Duration = Duration::from_secs(1);
/// Pause after a question that got no answer although there is a connection.
const AGAIN: Duration = Duration::from_millis(200);
/// How long the next try of async-nats waits once nobody wants it: there is no telling it to end while it has no
/// connection.
const FOR_GOOD: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A link to NATS.
#[derive(Clone, Debug)]
pub struct Nats(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    link: Arc<Link>,
    echo: Arc<Echo>,
    /// None until the task has made it, and once it is closed.
    client: Arc<Mutex<Option<Client>>>,
    task: Task,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.link.close();
    }
}

impl Nats {
    pub(super) fn new(url: &str, ear: Ear) -> io::Result<Self> {
        Nats::with_capacity(url, ear, CAPACITY)
    }

    pub(super) fn with_capacity(url: &str, ear: Ear, capacity: usize) -> io::Result<Self> {
        let (address, options) = parse(url)?;
        let link = Arc::new(Link::new(ear));
        let echo = Arc::new(Echo::default());
        let client = Arc::default();
        let options = options.subscription_capacity(capacity);
        let options = with_events(options, Arc::clone(&link), Arc::clone(&echo));
        let listen = listen(address, options, Arc::clone(&link), Arc::clone(&echo), Arc::clone(&client));
        Ok(Nats(Arc::new(Inner { link, echo, client, task: Task::spawn(listen) })))
    }

    pub(super) async fn subscribe(&self, log: LogId) {
        self.0.link.subscribe(log).await;
    }

    pub(super) fn unsubscribe(&self, log: LogId) {
        self.0.link.unsubscribe(log);
    }

    pub(super) async fn publish(&self, said: Vec<(LogId, Bytes)>) -> Result<(), BackplaneError> {
        self.0.link.check()?;
        let client = locked(&self.0.client).clone().ok_or(BackplaneErrorKind::Unavailable)?;
        let connects = connects(&client);
        if client.connection_state() != State::Connected {
            // async-nats would keep it, and say it when nobody waits any more.
            return Err(BackplaneErrorKind::Unavailable.into());
        }
        let publish = async {
            for (log, bytes) in said {
                client.publish(subject(log), bytes).await.map_err(|e| match e.kind() {
                    PublishErrorKind::Send => BackplaneError::new(BackplaneErrorKind::Unavailable, e),
                    _ => BackplaneError::new(BackplaneErrorKind::Refused, e),
                })?;
            }
            self.0.echo.round_trip(&client).await
        };
        timeout(ANSWER, publish)
            .await
            .map_err(|e| BackplaneError::new(BackplaneErrorKind::Unavailable, e))??;
        // An echo of a later connection proves nothing about an earlier one.
        if connects == self::connects(&client) { Ok(()) } else { Err(BackplaneErrorKind::Unavailable.into()) }
    }

    pub(super) fn figures(&self) -> Figures {
        self.0.link.figures()
    }

    pub(super) async fn close(&self) {
        self.0.link.close();
        self.0.task.end().await;
        self.0.echo.cut();
        *locked(&self.0.client) = None;
    }
}

fn locked(client: &Mutex<Option<Client>>) -> MutexGuard<'_, Option<Client>> {
    client.lock().expect("no panic while locked")
}

/// Connections made so far: async-nats counts before it uses one.
fn connects(client: &Client) -> u64 {
    client.statistics().connects.load(Relaxed)
}

fn parse(url: &str) -> io::Result<(ServerAddr, ConnectOptions)> {
    let (address, options) = address(url)?;
    let options = options.name("maru").retry_on_initial_connect().max_reconnects(None);
    Ok((address, options.ping_interval(PING).connection_timeout(ANSWER)))
}

/// The bare address, and options with the name and password (or the token) that stood in it: async-nats would
/// pass over them, and write them to its log.
pub(crate) fn address(url: &str) -> io::Result<(ServerAddr, ConnectOptions)> {
    // For tls; an error says that the process has one already.
    _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, what.to_owned());
    let whole: ServerAddr = url.parse()?;
    if !["nats", "tls"].contains(&whole.scheme()) {
        return Err(invalid("a NATS server is at nats:// or tls://"));
    }
    let host =
        if whole.host().contains(':') { format!("[{}]", whole.host()) } else { whole.host().to_owned() };
    let bare = format!("{}://{host}:{}", whole.scheme(), whole.port()).parse()?;
    let decoded = |text: &str| match percent_decode_str(text).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(invalid("the name or password is not UTF-8")),
    };
    let options = match (whole.username(), whole.password()) {
        (None, _) => ConnectOptions::new(),
        (Some(token), None) => ConnectOptions::with_token(decoded(token)?),
        (Some(user), Some(word)) => ConnectOptions::with_user_and_password(decoded(user)?, decoded(word)?),
    };
    Ok((bare, options))
}

fn with_events(options: ConnectOptions, link: Arc<Link>, echo: Arc<Echo>) -> ConnectOptions {
    let closing = Arc::clone(&link);
    let delay = move |attempt| if closing.is_closed() { FOR_GOOD } else { pause(attempt) };
    options.reconnect_delay_callback(delay).event_callback(move |event| {
        match event {
            Event::Connected => link.wake(),
            Event::Disconnected => {
                echo.cut();
                link.complain(&"the link was cut");
                link.wake();
            }
            Event::SlowConsumer(_) => link.let_go(),
            Event::ServerError(e) => link.complain(&e),
            Event::ClientError(e) => link.complain(&e),
            Event::LameDuckMode | Event::Draining | Event::Closed => {}
        }
        std::future::ready(())
    })
}

async fn listen(
    address: ServerAddr,
    options: ConnectOptions,
    link: Arc<Link>,
    echo: Arc<Echo>,
    shared: Arc<Mutex<Option<Client>>>,
) {
    let made = async {
        let client = options.connect(address).await?;
        let echoes = client.subscribe(echo.subject()).await?;
        Ok::<_, async_nats::Error>((client, echoes))
    };
    match made.await {
        Ok((client, echoes)) => {
            *locked(&shared) = Some(client.clone());
            tokio::join!(attend(&client, &link, &echo), echo.hear(echoes));
        }
        // It connects in the background, so this is about the address, which was parsed already.
        Err(e) => link.complain(&e),
    }
}

/// Takes in what comes, and tells the server what is wanted, until it is dropped.
async fn attend(client: &Client, link: &Link, echo: &Arc<Echo>) {
    let mut said = SelectAll::new();
    let mut endings: HashMap<LogId, AbortHandle> = HashMap::new();
    let mut whole = Moment::default();
    let mut asked = pin!(Fuse::terminated());
    loop {
        let now = Moment { connects: connects(client), dropped: link.dropped() };
        let is_connected = client.connection_state() == State::Connected;
        if link.is_up() && !(is_connected && now.connects == whole.connects) {
            link.cut();
        }
        if asked.is_terminated() && is_connected {
            if now != whole {
                asked.set(ask(client.clone(), Arc::clone(echo), Question::Whole(now)).fuse());
            } else {
                link.settle();
                match link.next() {
                    Some(step @ Step::Subscribe(_)) => {
                        asked.set(ask(client.clone(), Arc::clone(echo), Question::Tell(step)).fuse());
                    }
                    Some(Step::Unsubscribe(logs)) => {
                        // What ends is dropped where it is polled next, and async-nats unsubscribes it.
                        logs.iter().filter_map(|log| endings.remove(log)).for_each(|ending| ending.abort());
                        continue;
                    }
                    None => {}
                }
            }
        }
        tokio::select! {
            Some(message) = said.next(), if !said.is_empty() => {
                let message: async_nats::Message = message;
                link.hear(log_of_subject(&message.subject), || message.payload);
            }
            (question, answer) = &mut asked => match (question, answer) {
                (Question::Whole(moment), Ok(_)) => {
                    whole = moment;
                    link.owe();
                }
                (Question::Tell(step), Ok(subscribers)) => {
                    for (log, subscriber) in subscribers {
                        let (subscriber, ending) = abortable(subscriber);
                        said.push(subscriber);
                        endings.insert(log, ending);
                    }
                    link.done(&step);
                }
                (Question::Tell(step), Err(e)) => {
                    link.failed(&step);
                    link.complain(&e);
                }
                (Question::Whole(_), Err(e)) => link.complain(&e),
            },
            () = link.woken(Instant::now() + LOOK) => {}
        }
    }
}

/// As long as it stays the same, nothing was missed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Moment {
    connects: u64,
    dropped: u64,
}

enum Question {
    Tell(Step),
    /// Have you got everything that async-nats sends after it has connected?
    Whole(Moment),
}

type Answer = Result<Vec<(LogId, Subscriber)>, async_nats::Error>;

/// Resolves when the server has it, or after a while for another try.
async fn ask(client: Client, echo: Arc<Echo>, question: Question) -> (Question, Answer) {
    let answer = async {
        let mut subscribers = Vec::new();
        if let Question::Tell(Step::Subscribe(logs)) = &question {
            for &log in logs {
                subscribers.push((log, client.subscribe(subject(log)).await?));
            }
        }
        echo.round_trip(&client).await?;
        Ok(subscribers)
    };
    let answer = timeout(ANSWER, answer).await.unwrap_or_else(|e| Err(e.into()));
    if answer.is_err() {
        sleep(AGAIN).await;
    }
    (question, answer)
}
