//! Start, accept, and the order of ending.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use rand::RngExt;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

use crate::{
    chat::{self, Chat, Visit},
    config::{Config, Switch},
    event::bye,
    files::Watched,
    http::{self, App, Stage},
    hub::{Feed, Feeds, Hub},
    identity::{AdminToken, Introduced, Revoked, Seal, outside::Outside},
    metrics::Metrics,
    readers::{ReadingRoom, Rules, Why},
    tls::Certificates,
};

mod stores;

use stores::Stores;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 4096;
/// Bytes that the kernel holds for a connection that does not take them; by default it would be about 4 MB.
const SEND_BUFFER: usize = 64 << 10;
/// After this long without an acknowledgement the kernel gives a connection up.
const USER_TIMEOUT: Duration = Duration::from_secs(60);
/// Descriptors that are not for streams: the store, the listener, and connections at the front desk.
pub(crate) const OTHER_FILES: usize = 700;
/// Bytes of newest events that all rooms together keep in memory, about.
const TAILS: usize = 128 << 20;
/// How long a pod that is told to end still takes traffic, until balancers have noticed.
const UNREADY: Duration = Duration::from_secs(5);
/// Beyond the drain window, for answers under way.
const AFTER_DRAIN: Duration = Duration::from_secs(5);

/// A pod that listens.
pub struct Server {
    app: Arc<App>,
    listener: TcpListener,
    stage: watch::Sender<Stage>,
    stores: Stores,
}

impl Server {
    /// Opens the store, starts the reading room and listens.
    ///
    /// # Errors
    /// A sentence that says what could not be had.
    pub async fn start(config: Config) -> io::Result<Self> {
        let open_files = raise_open_files();
        let (stage, stages) = watch::channel(Stage::Serving);
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(64);
        let reading = open_reading_room(threads)?;
        let (feeds, holes) = Feeds::new(reading.postbox(), TAILS);
        let stores = stores::open(&config, &feeds).await?;
        let log = stores.log.clone();
        let revoked = log.revoked().await.map_err(io::Error::other)?;
        let seal = Arc::new(Seal::new(&config.secrets_or_new()?));
        let outside = outside(&config)?;
        let certificates = certificates(&config)?;
        let bounds = config.limits();
        let rates = (config.rate_limit == Switch::On).then_some(bounds);
        let hub = Hub::new(feeds, log.clone(), stores.backplane.clone(), holes);
        let chat = Chat::new(log, hub.clone(), reading, rates, config.lang, Arc::clone(&seal));
        chat.hear_of_bans().await.map_err(io::Error::other)?;
        if let Some(keep) = config.keep {
            tokio::spawn(chat::retain(Arc::downgrade(&chat), keep));
        }
        let listener = listen(config.listen)?;
        let app = Arc::new(App {
            chat,
            seal,
            outside,
            introduced: Introduced::default(),
            admin: config.admin_token().map(AdminToken::new),
            revoked: Revoked::new(revoked),
            bounds,
            origins: config.origins,
            trusted_proxies: config.trusted_proxies,
            certificates,
            speaks_h2c: config.h2c == Switch::On,
            most_streams: open_files.saturating_sub(OTHER_FILES).max(1),
            metrics: Metrics::new(stores.many.clone()),
            stage: stages,
            drain: config.drain,
        });
        stores.follow(&hub, &app);
        Ok(Server { app, listener, stage, stores })
    }

    /// Does it speak HTTPS?
    pub fn is_tls(&self) -> bool {
        self.app.certificates.is_some()
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// How many streams the limit of open files allows.
    pub fn most_streams(&self) -> usize {
        self.app.most_streams
    }

    /// Serves until `told` says to end; then takes traffic a little longer, answers what it has, sends streams
    /// off, and closes the store.
    ///
    /// # Errors
    /// None that a connection could cause.
    pub async fn run(self, told: impl Future<Output = ()>) -> io::Result<()> {
        let Server { app, listener, stage, stores } = self;
        let mut connections = JoinSet::new();
        {
            let accepting = accept(&app, &listener, &mut connections);
            tokio::select! {
                () = accepting => {}
                () = told => {}
            }
        }
        tracing::info!(drain = ?app.drain, "told to end: unready, then draining");
        stage.send_replace(Stage::Unready);
        _ = tokio::time::timeout(UNREADY.min(app.drain), accept(&app, &listener, &mut connections)).await;
        close(&app, listener, &mut connections);

        stage.send_replace(Stage::Draining);
        let until = Instant::now() + app.drain + AFTER_DRAIN;
        app.chat.reading().drain(app.drain);
        let ended = async {
            while connections.join_next().await.is_some() {}
            while app.chat.doors().streams() > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout_at(until.into(), ended).await.is_err() {
            tracing::warn!(left = app.chat.doors().streams(), "some connections did not end in time");
        }
        connections.shutdown().await;
        let reading = app.chat.reading().clone();
        _ = tokio::task::spawn_blocking(move || reading.close()).await;
        app.chat.close().await;
        stores.close().await;
        tracing::info!("ended");
        Ok(())
    }
}

/// Takes connections, for ever.
async fn accept(app: &Arc<App>, listener: &TcpListener, connections: &mut JoinSet<()>) {
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, peer)) => serve(app, socket, peer, connections),
                Err(e) => {
                    // Out of descriptors, most likely: those in use must end first.
                    tracing::warn!(error = %e, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Takes no more connections, but for those that the kernel has made already: it would reset them.
fn close(app: &Arc<App>, listener: TcpListener, connections: &mut JoinSet<()>) {
    // From now on it makes one at most, while these are taken.
    _ = SockRef::from(&listener).listen(0);
    let accept = |listener: &std::net::TcpListener| {
        let (socket, peer) = listener.accept()?;
        socket.set_nonblocking(true)?;
        io::Result::Ok((TcpStream::from_std(socket)?, peer))
    };
    if let Ok(listener) = listener.into_std() {
        while let Ok((socket, peer)) = accept(&listener) {
            serve(app, socket, peer, connections);
        }
    }
}

fn serve(app: &Arc<App>, socket: TcpStream, peer: SocketAddr, connections: &mut JoinSet<()>) {
    connections.spawn(http::serve(Arc::clone(app), socket, peer.ip().to_canonical()));
}

fn open_reading_room(threads: usize) -> io::Result<ReadingRoom<Feed, Visit>> {
    ReadingRoom::open(threads, Rules::default(), |why| {
        let (code, retry) = match why {
            Why::TooSlow | Why::Lost => ("too_slow", 1000..3000),
            Why::Expired => ("expired", 1000..3000),
            Why::Draining(window) => {
                let ms = u32::try_from(window.as_millis()).unwrap_or(u32::MAX);
                ("draining", 1000..ms.max(2000))
            }
            Why::Left | Why::Stuck | Why::Told => ("again", 1000..3000),
        };
        bye(code, rand::rng().random_range(retry))
    })
}

/// A listener whose connections inherit what streams need.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let open = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        socket.set_send_buffer_size(SEND_BUFFER)?;
        #[cfg(target_os = "linux")]
        socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    };
    open().map_err(|e| io::Error::new(e.kind(), format!("cannot listen on {address}: {e}")))
}

/// Raises the limit of open files as far as it goes; gives the limit.
fn raise_open_files() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let current = if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    usize::try_from(current.unwrap_or(1 << 20)).unwrap_or(1 << 20)
}

/// Who reads the tokens of the site that embeds maru, if one does; its keys are read again when they change.
fn outside(config: &Config) -> io::Result<Option<Arc<Outside>>> {
    let file = config.jwt_key.as_deref().filter(|file| !file.as_os_str().is_empty());
    let watched = file.map(|file| Watched::new(&[file]));
    let outside = config.outside().map_err(io::Error::other)?.map(Arc::new);
    if let (Some(outside), Some(file), Some(watched)) = (&outside, file, watched) {
        tokio::spawn(Arc::clone(outside).follow(file.to_owned(), watched));
    }
    Ok(outside)
}

/// The certificate that is shown, if HTTPS is spoken; read again when it changes.
fn certificates(config: &Config) -> io::Result<Option<Arc<Certificates>>> {
    let Some((chain, key)) = config.certificates().map_err(io::Error::other)? else { return Ok(None) };
    let files = Watched::new(&[chain, key]);
    let certificates = Arc::new(Certificates::read(chain.to_owned(), key.to_owned())?);
    tokio::spawn(Arc::clone(&certificates).follow(files));
    Ok(Some(certificates))
}
