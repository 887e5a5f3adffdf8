//! Ways between processes: what is sent arrives later, in order, or not at all.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use futures_util::FutureExt;
use tokio::sync::oneshot;

use super::time::{Rng, Time, before};

/// Why nobody knows what became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// The connection is gone.
    Gone,
    /// There was no answer in time.
    Late,
}

/// One connection between two processes, made anew when it breaks.
pub(super) struct Link {
    time: Time,
    rng: Rng,
    /// Nothing passes, and who sends learns that.
    is_cut: Cell<bool>,
    /// Everything takes so much longer, at most.
    drag: Cell<Duration>,
    /// Counts how often it broke.
    breaks: Cell<u64>,
    /// When the last that was sent arrives: later things arrive later.
    there: Cell<Duration>,
    back: Cell<Duration>,
}

impl Link {
    pub(super) fn new(time: &Time, rng: Rng) -> Rc<Self> {
        Rc::new(Link {
            time: time.clone(),
            rng,
            is_cut: Cell::new(false),
            drag: Cell::default(),
            breaks: Cell::new(0),
            there: Cell::default(),
            back: Cell::default(),
        })
    }

    /// Ends the connection, with what is under way on it.
    pub(super) fn sever(&self) {
        self.breaks.set(self.breaks.get() + 1);
    }

    pub(super) fn cut(&self, is_cut: bool) {
        self.is_cut.set(is_cut);
        self.sever();
    }

    pub(super) fn is_cut(&self) -> bool {
        self.is_cut.get()
    }

    pub(super) fn drag(&self, drag: Duration) {
        self.drag.set(drag);
    }

    pub(super) fn breaks(&self) -> u64 {
        self.breaks.get()
    }

    fn latency(&self) -> Duration {
        let mut latency = self.rng.micros(100, 900);
        if self.rng.one_in(40) {
            latency += self.rng.millis(1, 25);
        }
        latency + self.drag.get().mul_f64(self.rng.share())
    }

    /// When something that is sent now arrives there.
    pub(super) fn arrival(&self) -> Duration {
        let at = (self.time.now() + self.latency()).max(self.there.get() + Duration::from_micros(1));
        self.there.set(at);
        at
    }

    /// When an answer that is sent now arrives back here.
    fn return_of(&self) -> Duration {
        let at = (self.time.now() + self.latency()).max(self.back.get() + Duration::from_micros(1));
        self.back.set(at);
        at
    }
}

/// A process at the other end of links, as far as they care.
pub(super) struct Host {
    /// Which life of it this is; 0 while it is down.
    pub(super) life: Cell<u64>,
    /// It does nothing before then.
    pub(super) hangs_until: Cell<Duration>,
}

impl Host {
    pub(super) fn new() -> Self {
        Host { life: Cell::new(1), hangs_until: Cell::default() }
    }
}

/// Has `work` done at the other end, in its own time whatever becomes of the sender, and waits for the answer.
pub(super) async fn request<R: 'static>(
    link: &Rc<Link>,
    host: &Rc<Host>,
    life: u64,
    patience: Duration,
    work: impl FnOnce() -> R + 'static,
) -> Result<R, Broken> {
    let time = link.time.clone();
    let breaks = link.breaks();
    let (answer, answered) = oneshot::channel();
    let arrival = link.arrival();
    let (way, host, clock) = (Rc::clone(link), Rc::clone(host), time.clone());
    time.spawn(0, async move {
        clock.sleep_until(arrival).await;
        let is_up = |way: &Link, host: &Host| {
            !way.is_cut() && way.breaks() == breaks && host.life.get() == life && life > 0
        };
        while is_up(&way, &host) && clock.now() < host.hangs_until.get() {
            let at = host.hangs_until.get().max(way.there.get() + Duration::from_micros(1));
            way.there.set(at);
            clock.sleep_until(at).await;
        }
        if !is_up(&way, &host) {
            return drop(answer);
        }
        let done = work();
        clock.sleep_until(way.return_of()).await;
        if is_up(&way, &host) {
            _ = answer.send(done);
        }
    });
    let answered = answered.map(|answer| answer.map_err(|_| Broken::Gone));
    before(answered, time.sleep(patience)).await.unwrap_or(Err(Broken::Late))
}

/// What one process says to another that listens, in order.
pub(super) struct Pipe<T> {
    arrived: RefCell<Vec<T>>,
    bell: tokio::sync::Notify,
}

impl<T> Default for Pipe<T> {
    fn default() -> Self {
        Pipe { arrived: RefCell::default(), bell: tokio::sync::Notify::new() }
    }
}

impl<T> Pipe<T> {
    pub(super) fn push(&self, said: T) {
        self.arrived.borrow_mut().push(said);
        self.bell.notify_one();
    }

    /// Everything that has arrived; waits until there is something.
    pub(super) async fn take(&self) -> Vec<T> {
        loop {
            let arrived = std::mem::take(&mut *self.arrived.borrow_mut());
            if !arrived.is_empty() {
                return arrived;
            }
            self.bell.notified().await;
        }
    }
}
