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
    bans::Bans,
    crowd::Crowd,
    limits::{Counts, Gcra, Limits},
    news::Desk,
};
use crate::{
    config::Limits as Bounds,
    event::{Lang, RoomId, UserId},
    identity::{Seal, Session},
};

/// People and addresses whose rates are remembered.
const REMEMBERED: usize = 65_536;
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

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
    desk: Desk,
    bans: Bans,
}

struct Rates {
    bounds: Bounds,
    person_streams: Mutex<Counts<UserId>>,
    address_streams: Mutex<Counts<Client>>,
    person_messages: Mutex<Limits<UserId>>,
    address_messages: Mutex<Limits<Client>>,
    address_guests: Mutex<Limits<Client>>,
    person_searches: Mutex<Limits<UserId>>,
    address_searches: Mutex<Limits<Client>>,
    person_rooms: Mutex<Limits<UserId>>,
    person_marks: Mutex<Limits<UserId>>,
    person_typing: Mutex<Limits<UserId>>,
}

impl Doors {
    pub(super) fn new(
        bounds: Option<Bounds>,
        lang: Lang,
        crowd: Option<Arc<Crowd>>,
        desk: Desk,
        seal: Arc<Seal>,
    ) -> Self {
        let limits = bounds.map(|bounds| Rates {
            bounds,
            person_streams: Mutex::new(Counts::new()),
            address_streams: Mutex::new(Counts::new()),
            person_messages: rate(bounds.person_messages, SECOND, bounds.person_burst),
            address_messages: rate(bounds.address_messages, SECOND, bounds.address_messages),
            address_guests: rate(bounds.address_guests, SECOND, bounds.address_guests),
            person_searches: rate(bounds.person_searches, SECOND, bounds.person_searches),
            address_searches: rate(bounds.address_searches, SECOND, bounds.address_searches),
            person_rooms: rate(bounds.person_rooms, MINUTE, bounds.person_rooms),
            person_marks: rate(bounds.person_marks, SECOND, bounds.person_marks),
            person_typing: rate(1, Duration::from_secs(bounds.typing_every.into()), 1),
        });
        let (due, earlier) = (Mutex::default(), Notify::new());
        let bans = Bans::new(seal);
        Doors { lang, limits, streams: AtomicUsize::new(0), due, earlier, crowd, desk, bans }
    }

    /// Language of what the server itself says.
    pub fn lang(&self) -> Lang {
        self.lang
    }

    /// Who is shut out of which room.
    pub(super) fn bans(&self) -> &Bans {
        &self.bans
    }

    /// The people on all pods, if there are others.
    pub(super) fn crowd(&self) -> Option<&Arc<Crowd>> {
        self.crowd.as_ref()
    }

    /// Where people are told of what is beside the log.
    pub(super) fn desk(&self) -> &Desk {
        &self.desk
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

    /// May this person look for people now?
    ///
    /// # Errors
    /// When they, or their address, did so too often lately.
    pub fn may_search(&self, user: UserId, client: Client) -> Result<(), Denied> {
        let Some(limits) = &self.limits else { return Ok(()) };
        check(&limits.address_searches, client)?;
        check(&limits.person_searches, user)
    }

    /// May this person make a room now?
    ///
    /// # Errors
    /// When they made too many lately.
    pub fn may_make_room(&self, user: UserId) -> Result<(), Denied> {
        let Some(limits) = &self.limits else { return Ok(()) };
        check(&limits.person_rooms, user)
    }

    /// May this person say up to where they have read?
    ///
    /// # Errors
    /// When they did too often lately.
    pub fn may_mark(&self, user: UserId) -> Result<(), Denied> {
        let Some(limits) = &self.limits else { return Ok(()) };
        check(&limits.person_marks, user)
    }

    /// May this person say that they are writing?
    ///
    /// # Errors
    /// When they did a moment ago.
    pub fn may_type(&self, user: UserId) -> Result<(), Denied> {
        let Some(limits) = &self.limits else { return Ok(()) };
        check(&limits.person_typing, user)
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

fn rate<K: std::hash::Hash + Eq + Copy>(count: u32, time: Duration, burst: u32) -> Mutex<Limits<K>> {
    Mutex::new(Limits::new(Gcra::of(count, time, burst), REMEMBERED))
}

fn check<K: std::hash::Hash + Eq + Copy>(limits: &Mutex<Limits<K>>, key: K) -> Result<(), Denied> {
    let mut limits = limits.lock().expect("no panic while locked");
    limits.check(key, Instant::now()).map_err(|wait| Denied { retry_after: wait.0 })
}
