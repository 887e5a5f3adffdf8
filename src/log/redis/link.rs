//! One connection to the server, many requests under way on it, and which process answers there.

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use deadpool_redis::{Manager, Pool, Runtime};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, RedisResult, Script,
    ScriptInvocation, ServerErrorKind, Value,
    aio::{ConnectionLike, MultiplexedConnection},
};
use tokio::{sync::Semaphore, time::Instant};

/// After this long without an answer the outcome of a request is unknown.
const ANSWER: Duration = Duration::from_secs(5);
/// How long a request may wait at the server for something to come.
pub(super) const WAIT: Duration = Duration::from_secs(1);
/// Connections for what takes long or is rare, at most.
const POOL: usize = 8;
/// How long making a connection may take: one that was begun into a dead network must have ended, and the next have
/// been made, within the 5 s in which all is well again after a fault.
const CONNECT: Duration = Duration::from_secs(3);
/// After a connection could not be made, the next is not tried before this.
const PAUSE: Duration = Duration::from_millis(100);

/// A connection together with the run id of the process at its other end, which a restart changes (`INFO server`).
#[derive(Clone)]
pub(super) struct Wire {
    pub(super) run_id: Arc<str>,
    /// Of the server.
    pub(super) version: Arc<str>,
    connection: MultiplexedConnection,
    number: u64,
}

impl Wire {
    /// Runs a script; one that the server has lost is given to it again.
    pub(super) async fn run<T: FromRedisValue>(&mut self, call: &ScriptInvocation<'_>) -> RedisResult<T> {
        call.invoke_async(&mut self.connection).await
    }

    /// Sends calls of one script together and gives the answer to each. What the server did not do because it has lost
    /// the script is sent again behind it.
    pub(super) async fn run_all(&mut self, script: &Script, calls: Vec<Cmd>) -> Vec<RedisResult<Vec<Value>>> {
        let mut pipeline = Pipeline::with_capacity(calls.len());
        for call in calls {
            pipeline.add_command(call);
        }
        let mut answers = self.ask_each(&mut pipeline).await;
        let mut again = Pipeline::new();
        again.load_script(script).ignore();
        let mut lost = Vec::new();
        for (call, answer) in pipeline.cmd_iter().zip(&mut answers) {
            if answer.as_ref().is_err_and(is_script_lost) {
                again.add_command(call.clone());
                lost.push(answer);
            }
        }
        if !lost.is_empty() {
            let second = self.ask_each(&mut again).await;
            lost.into_iter().zip(second).for_each(|(first, second)| *first = second);
        }
        answers
    }

    async fn ask_each(&mut self, pipeline: &mut Pipeline) -> Vec<RedisResult<Vec<Value>>> {
        match self.ask(pipeline.ignore_errors()).await {
            Ok(answers) => answers,
            Err(e) => pipeline.cmd_iter().map(|_| Err(e.clone())).collect(),
        }
    }

    /// Sends a pipeline and gives all its answers.
    pub(super) async fn ask<T: FromRedisValue>(&mut self, pipeline: &Pipeline) -> RedisResult<T> {
        pipeline.query_async(&mut self.connection).await
    }
}

/// What was learned of the server when a connection was made.
struct Server {
    run_id: String,
    version: String,
}

/// The way to the server: one connection, made anew when it was lost. Nothing is ever sent twice by itself.
pub(super) struct Link {
    client: Client,
    wire: Mutex<Option<Wire>>,
    /// One at a time makes a connection.
    turn: Semaphore,
    making: Mutex<Making>,
    pool: OnceLock<Pool>,
    /// Nobody answers, and that was said.
    is_out: AtomicBool,
}

#[derive(Default)]
struct Making {
    count: u64,
    not_before: Option<Instant>,
}

impl Link {
    /// # Errors
    /// When the URL is none.
    pub(super) fn new(url: &str) -> io::Result<Self> {
        // TLS needs to be told whose cryptography it is to use; it may have been told already.
        _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = Client::open(url).map_err(|e| io::Error::other(format!("--redis: {e}")))?;
        Ok(Link {
            client,
            wire: Mutex::default(),
            turn: Semaphore::new(1),
            making: Mutex::default(),
            pool: OnceLock::new(),
            is_out: AtomicBool::new(false),
        })
    }

    /// The connection, made if there is none.
    pub(super) async fn wire(&self) -> RedisResult<Wire> {
        if let Some(wire) = self.present() {
            return Ok(wire);
        }
        let _turn = self.turn.acquire().await.map_err(io::Error::other)?;
        if let Some(wire) = self.present() {
            return Ok(wire);
        }
        if self.making().not_before.is_some_and(|at| Instant::now() < at) {
            return Err(io::Error::from(io::ErrorKind::NotConnected).into());
        }
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(Some(ANSWER))
            .set_connection_timeout(Some(CONNECT));
        let made = async {
            let mut connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
            let server = server(&mut connection).await?;
            Ok((connection, server))
        };
        let (connection, server) = made.await.inspect_err(|e: &RedisError| {
            self.making().not_before = Some(Instant::now() + PAUSE);
            if !self.is_out.swap(true, Ordering::Relaxed) {
                tracing::warn!(error = %e, "Redis cannot be reached; trying again");
            }
        })?;
        if self.is_out.swap(false, Ordering::Relaxed) {
            tracing::info!("Redis answers again");
        }
        let number = {
            let mut making = self.making();
            making.count += 1;
            making.count
        };
        let wire = Wire { run_id: server.run_id.into(), version: server.version.into(), connection, number };
        *self.wire.lock().expect("no panic while locked") = Some(wire.clone());
        Ok(wire)
    }

    /// A request failed: if that says that the connection is gone, the next makes another.
    pub(super) fn failed(&self, wire: &Wire, e: &RedisError) {
        if !e.is_io_error() {
            tracing::error!(error = %e, "Redis did not do what it was asked");
        }
        // One that no answer comes on may lead nowhere, and nobody will ever say so.
        if e.is_io_error() || e.is_unrecoverable_error() {
            self.forget(wire);
        }
    }

    /// Lets go of a connection: the next request makes another.
    pub(super) fn forget(&self, wire: &Wire) {
        let mut present = self.wire.lock().expect("no panic while locked");
        if present.as_ref().is_some_and(|present| present.number == wire.number) {
            *present = None;
            // What led there beside it is not to be trusted either.
            if let Some(pool) = self.pool.get() {
                pool.retain(|_, _| false);
            }
        }
    }

    /// Connections for what takes long or is rare.
    ///
    /// # Errors
    /// When they cannot be made, or were asked for before.
    pub(super) fn pool(&self) -> io::Result<Pool> {
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(Some(ANSWER))
            .set_connection_timeout(Some(CONNECT));
        let address = self.client.get_connection_info().clone();
        let manager = Manager::new_with_config(address, config).map_err(io::Error::other)?;
        let pool = Pool::builder(manager).max_size(POOL).wait_timeout(Some(ANSWER));
        let pool = pool.create_timeout(Some(CONNECT)).recycle_timeout(Some(ANSWER));
        let pool = pool.runtime(Runtime::Tokio1).build().map_err(io::Error::other)?;
        self.pool.set(pool.clone()).map_err(|_| io::ErrorKind::AlreadyExists)?;
        Ok(pool)
    }

    /// A connection of one's own, for requests that wait at the server for up to [`WAIT`].
    pub(super) async fn patient(&self) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(Some(WAIT + ANSWER))
            .set_connection_timeout(Some(CONNECT));
        self.client.get_multiplexed_async_connection_with_config(&config).await
    }

    fn making(&self) -> MutexGuard<'_, Making> {
        self.making.lock().expect("no panic while locked")
    }

    fn present(&self) -> Option<Wire> {
        self.wire.lock().expect("no panic while locked").clone()
    }
}

fn is_script_lost(e: &RedisError) -> bool {
    e.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

/// Who answers, by `INFO server`.
async fn server(connection: &mut impl ConnectionLike) -> RedisResult<Server> {
    let info: String = redis::cmd("INFO").arg("server").query_async(connection).await?;
    let field = |name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_default().trim().to_owned()
    };
    Ok(Server { run_id: field("run_id"), version: field("redis_version") })
}
