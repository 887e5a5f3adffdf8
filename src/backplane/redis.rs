//! Over Redis pub/sub: one connection to listen, owned by one task, and one to speak, shared by all who do.
//!
//! Redis forgets subscriptions with their connection, so each new one is told everything again. A pod that reads
//! too slowly is cut by the server at its `client-output-buffer-limit pubsub`, which is what bounds the queue
//! between the two.

use std::{
    io,
    pin::pin,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use ::redis::{
    AsyncConnectionConfig, Client, IntoConnectionInfo, Pipeline, RedisError, RedisResult, Value,
    aio::{MultiplexedConnection, PubSub, PubSubSink},
};
use bytes::Bytes;
use futures_util::{
    StreamExt,
    future::{Fuse, FusedFuture, FutureExt},
};
use tokio::{
    sync::OnceCell,
    time::{sleep, timeout},
};

use super::{
    BackplaneError, BackplaneErrorKind, Ear, Figures, channel,
    interest::Step,
    link::{ANSWER, Link, Task, pause},
    log_of_channel,
};
use crate::event::LogId;

/// After so long without a word the server is asked whether it is still there.
const QUIET: Duration = Duration::from_secs(5);
/// How long connecting may take, greeting included.
const CONNECT: Duration = Duration::from_secs(5);

/// A link to Redis.
#[derive(Clone, Debug)]
pub struct Redis(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    link: Arc<Link>,
    client: Client,
    /// Empty until somebody speaks; another one after a failure. The cell lets one connect and others wait.
    speaker: Mutex<Arc<OnceCell<MultiplexedConnection>>>,
    task: Task,
}

impl Redis {
    pub(super) fn new(url: &str, ear: Ear) -> io::Result<Self> {
        let client = client(url).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
        // For rediss; an error says that the process has one already.
        _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let link = Arc::new(Link::new(ear));
        let task = Task::spawn(listen(client.clone(), Arc::clone(&link)));
        Ok(Redis(Arc::new(Inner { link, client, speaker: Mutex::default(), task })))
    }

    pub(super) async fn subscribe(&self, log: LogId) {
        self.0.link.subscribe(log).await;
    }

    pub(super) fn unsubscribe(&self, log: LogId) {
        self.0.link.unsubscribe(log);
    }

    pub(super) async fn publish(&self, said: Vec<(LogId, Bytes)>) -> Result<(), BackplaneError> {
        if self.0.link.is_closed() {
            return Err(BackplaneErrorKind::Closed.into());
        }
        if said.is_empty() {
            return Ok(());
        }
        let mut pipeline = Pipeline::with_capacity(said.len());
        for (log, bytes) in &said {
            pipeline.cmd("PUBLISH").arg(channel(*log)).arg(&bytes[..]).ignore();
        }
        let speaker = Arc::clone(&self.speaker());
        let connected = speaker.get_or_try_init(|| connect_to_speak(&self.0.client)).await;
        let mut connection = connected.map_err(unavailable)?.clone();
        match pipeline.query_async::<()>(&mut connection).await {
            Ok(()) => Ok(()),
            Err(e) if matches!(e.code(), Some("ERR" | "NOPERM")) => {
                Err(BackplaneError::new(BackplaneErrorKind::Refused, e))
            }
            Err(e) => {
                self.replace(&speaker);
                Err(unavailable(e))
            }
        }
    }

    pub(super) fn figures(&self) -> Figures {
        self.0.link.figures()
    }

    pub(super) async fn close(&self) {
        self.0.link.close();
        *self.speaker() = Arc::default();
        self.0.task.end().await;
    }

    /// Whoever speaks next connects, unless somebody has done so already.
    fn replace(&self, broken: &Arc<OnceCell<MultiplexedConnection>>) {
        let mut speaker = self.speaker();
        if Arc::ptr_eq(&speaker, broken) {
            *speaker = Arc::default();
        }
    }

    fn speaker(&self) -> std::sync::MutexGuard<'_, Arc<OnceCell<MultiplexedConnection>>> {
        self.0.speaker.lock().expect("no panic while locked")
    }
}

fn unavailable(e: RedisError) -> BackplaneError {
    BackplaneError::new(BackplaneErrorKind::Unavailable, e)
}

fn client(url: &str) -> RedisResult<Client> {
    let info = url.into_connection_info()?;
    let any_database = info.redis_settings().clone().set_db(0);
    Client::open(info.set_redis_settings(any_database))
}

async fn connect_to_speak(client: &Client) -> RedisResult<MultiplexedConnection> {
    let config =
        AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT)).set_response_timeout(Some(ANSWER));
    client.get_multiplexed_async_connection_with_config(&config).await
}

/// Connects and listens, again and again.
async fn listen(client: Client, link: Arc<Link>) {
    let mut attempt = 0;
    loop {
        let cause = match timeout(CONNECT, client.get_async_pubsub()).await {
            Ok(Ok(pubsub)) => attend(pubsub, &link).await,
            Ok(Err(e)) => e,
            Err(_) => silence(),
        };
        if link.is_up() {
            link.cut();
            attempt = 0;
        }
        link.complain(&cause);
        attempt += 1;
        sleep(pause(attempt)).await;
    }
}

/// Listens until the link is cut; gives the cause.
async fn attend(pubsub: PubSub, link: &Link) -> RedisError {
    let (sink, mut said) = pubsub.split();
    link.begin();
    let mut heard = Instant::now();
    // One question at a time, so that those about one log keep their order.
    let mut asked = pin!(Fuse::terminated());
    loop {
        if asked.is_terminated() {
            link.settle();
            let question = match link.next() {
                Some(step) => Some(Question::Tell(step)),
                None => (heard.elapsed() >= QUIET).then_some(Question::AreYouThere),
            };
            if let Some(question) = question {
                asked.set(ask(sink.clone(), question).fuse());
            }
        }
        let quiet = if asked.is_terminated() { heard + QUIET } else { Instant::now() + ANSWER };
        tokio::select! {
            message = said.next() => {
                heard = Instant::now();
                match message {
                    Some(message) => link.hear(log_of_channel(message.get_channel_name()), || {
                        Bytes::copy_from_slice(message.get_payload_bytes())
                    }),
                    None => return io::Error::from(io::ErrorKind::ConnectionReset).into(),
                }
            }
            (question, answer) = &mut asked => {
                heard = Instant::now();
                match (question, answer) {
                    (Question::Tell(step), Ok(())) => link.done(&step),
                    (Question::AreYouThere, Ok(())) => {}
                    (_, Err(e)) => return e,
                }
            }
            () = link.woken(quiet) => {}
        }
    }
}

enum Question {
    Tell(Step),
    AreYouThere,
}

/// Resolves with the server's answer to all of it.
async fn ask(mut sink: PubSubSink, question: Question) -> (Question, RedisResult<()>) {
    let answer = async {
        match &question {
            Question::Tell(Step::Subscribe(logs)) => sink.subscribe(channels(logs)).await,
            Question::Tell(Step::Unsubscribe(logs)) => sink.unsubscribe(channels(logs)).await,
            Question::AreYouThere => sink.ping::<Value>().await.map(drop),
        }
    };
    let answer = timeout(ANSWER, answer).await.unwrap_or_else(|_| Err(silence()));
    (question, answer)
}

fn channels(logs: &[LogId]) -> Vec<String> {
    logs.iter().copied().map(channel).collect()
}

fn silence() -> RedisError {
    io::Error::new(io::ErrorKind::TimedOut, "no answer").into()
}
