//! Who may come in, how fast they may speak, and when presence has something to say.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::{
    Client, Room, Visit,
    crowd::Crowd,
    limits::{Counts, Gcra, Limits},
};
use crate::{
    config::Limits as Bounds,
    event::{Lang, RoomId, UserId},
    identity::Session,
};

/// People and addresses whose rates are remembered.
const REMEMBERED: usize = 65_536;

/// Why somebody was not let in, or may not speak now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denied {
    /// When to try again.
    pub retry_after: Duration,
}

/// What all rooms of a pod share.
pub struct Doors {
    lang: Lang,
    /// `None`: no limits of rate or number (for load tests).
    limits: Option<Rates>,
    streams: AtomicUsize,
    due: Mutex<BTreeMap<(Instant, RoomId), Arc<Room>>>,
    earlier: Notify,
    /// `None`: this pod is alone.
    crowd: Option<Arc<Crowd>>,
}

struct Rates {
    bounds: Bounds,
    person_streams: Mutex<Counts<UserId>>,
    address_streams: Mutex<Counts<Client>>,
    person_messages: Mutex<Limits<UserId>>,
    address_messages: Mutex<Limits<Client>>,
    address_guests: Mutex<Limits<Client>>,
}

impl Doors {
    pub(super) fn new(bounds: Option<Bounds>, lang: Lang, crowd: Option<Arc<Crowd>>) -> Self {
        let limits = bounds.map(|bounds| Rates {
            bounds,
            person_streams: Mutex::new(Counts::new()),
            address_streams: Mutex::new(Counts::new()),
            person_messages: rate(bounds.person_messages, bounds.person_burst),
            address_messages: rate(bounds.address_messages, bounds.address_messages),
            address_guests: rate(bounds.address_guests, bounds.address_guests),
        });
        let (due, earlier) = (Mutex::default(), Notify::new());
        Doors { lang, limits, streams: AtomicUsize::new(0), due, earlier, crowd }
    }

    /// Language of what the server itself says.
    pub fn lang(&self) -> Lang {
        self.lang
    }

    /// The people on all pods, if there are others.
    pub(super) fn crowd(&self) -> Option<&Arc<Crowd>> {
        self.crowd.as_ref()
    }

    /// Lets somebody into a room with one more stream.
    ///
    /// # Errors
    /// When the person or the address has as many streams as there may be.
    pub fn admit(&self, room: Arc<Room>, session: &Session, client: Client) -> Result<Visit, Denied> {
        // A stream may end at any moment, so there is no better time than soon.
        let denied = Denied { retry_after: Duration::from_secs(5) };
        if let Some(limits) = &self.limits {
            let mut of_person = limits.person_streams.lock().expect("no panic while locked");
            if !of_person.take(session.user.id, limits.bounds.person_streams) {
                return Err(denied);
            }
            let mut of_address = limits.address_streams.lock().expect("no panic while locked");
            if !of_address.take(client, limits.bounds.address_streams) {
                of_person.release(session.user.id);
                return Err(denied);
            }
        }
        self.streams.fetch_add(1, Ordering::Relaxed);
        Ok(Visit::new(room, session, client))
    }

    /// Streams open on this pod.
    pub fn streams(&self) -> usize {
        self.streams.load(Ordering::Relaxed)
    }

    pub(super) fn leave(&self, user: UserId, client: Client) {
        self.streams.fetch_sub(1, Ordering::Relaxed);
        if let Some(limits) = &self.limits {
            limits.person_streams.lock().expect("no panic while locked").release(user);
            limits.address_streams.lock().expect("no panic while locked").release(client);
        }
    }

    /// May this person say something now?
    ///
    /// # Errors
    /// When they, or their address, said too much lately.
    pub fn may_speak(&self, user: UserId, client: Client) -> Result<(), Denied> {
        let Some(limits) = &self.limits else { return Ok(()) };
        check(&limits.address_messages, client)?;
        check(&limits.person_messages, user)
    }

    /// May this address have one more guest?
    ///
    /// # Errors
    /// When it had too many lately.
    pub fn may_be_born(&self, client: Client) -> Result<(), Denied> {
        let Some(limits) = &self.limits else { return Ok(()) };
        check(&limits.address_guests, client)
    }

    /// Sees to it that this room is looked at when it is due.
    pub(super) fn schedule(&self, due: Instant, room: &Arc<Room>) {
        let mut waiting = self.due.lock().expect("no panic while locked");
        let is_first = waiting.first_key_value().is_none_or(|((first, _), _)| due < *first);
        waiting.insert((due, room.id()), Arc::clone(room));
        if is_first {
            self.earlier.notify_one();
        }
    }

    /// Looks at rooms when they are due, for ever.
    pub(super) async fn keep_time(&self) {
        loop {
            let now = Instant::now();
            while let Some(room) = self.next_due(now) {
                room.tick(now);
            }
            let next =
                self.due.lock().expect("no panic while locked").first_key_value().map(|((due, _), _)| *due);
            let wait = async {
                match next {
                    Some(due) => tokio::time::sleep_until(due.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = wait => {}
                () = self.earlier.notified() => {}
            }
        }
    }

    fn next_due(&self, now: Instant) -> Option<Arc<Room>> {
        let mut waiting = self.due.lock().expect("no panic while locked");
        let first = waiting.first_entry().filter(|first| first.key().0 <= now)?;
        Some(first.remove())
    }
}

fn rate<K: std::hash::Hash + Eq + Copy>(per_second: u32, burst: u32) -> Mutex<Limits<K>> {
    Mutex::new(Limits::new(Gcra { per_second, burst }, REMEMBERED))
}

fn check<K: std::hash::Hash + Eq + Copy>(limits: &Mutex<Limits<K>>, key: K) -> Result<(), Denied> {
    let mut limits = limits.lock().expect("no panic while locked");
    limits.check(key, Instant::now()).map_err(|wait| Denied { retry_after: wait.0 })
}
