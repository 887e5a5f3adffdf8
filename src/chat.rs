//! What it means to be in a room, and who may do what there.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use tokio::sync::broadcast;

use crate::{
    clock,
    config::Limits as Bounds,
    event::{self, Cursor, Draft, Lang, Name, RoomId, RoomKind, User, UserId, bye},
    hub::{Feed, Figures, Hub},
    identity::Seal,
    log::{Ack, Append, Log, LogError, Placed, Who},
    readers::ReadingRoom,
};

pub(crate) mod bans;
mod crowd;
mod doors;
mod endings;
mod known;
mod lang;
pub mod limits;
mod members;
mod news;
pub(crate) mod presence;
mod room;

pub use doors::{Denied, Doors};
pub use endings::{Endings, Select};
pub use limits::Client;
pub use room::{Room, Visit};

use bans::Visitor;
use crowd::Crowd;
use known::Later;
use news::Desk;

/// Sign-outs and leaves that a stream may lag behind before it ends itself to be on the safe side.
const ENDINGS: usize = 1024;
/// After which a browser whose stream was ended comes back, in ms.
const COME_BACK_MS: u32 = 1000;
/// How often memory of rooms that nobody holds is given back.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// The rooms of this pod and the people in them.
pub struct Chat {
    log: Log,
    hub: Hub,
    reading: ReadingRoom<Feed, Visit>,
    doors: Arc<Doors>,
    rooms: Mutex<HashMap<RoomId, Weak<Room>>>,
    endings: broadcast::Sender<Select>,
    desk: Desk,
    later: Later,
}

impl std::fmt::Debug for Chat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Chat")
    }
}

impl Chat {
    /// Joins the parts, and keeps presence going from now on.
    pub fn new(
        log: Log,
        hub: Hub,
        reading: ReadingRoom<Feed, Visit>,
        bounds: Option<Bounds>,
        lang: Lang,
        seal: Arc<Seal>,
    ) -> Arc<Self> {
        let crowd = Crowd::of(&log);
        let (desk, news) = Desk::open();
        let (later, names) = known::later();
        let doors = Arc::new(Doors::new(bounds, lang, crowd.clone(), desk.clone(), seal));
        let chat = Arc::new(Chat {
            log,
            hub,
            reading,
            doors: Arc::clone(&doors),
            rooms: Mutex::default(),
            endings: broadcast::Sender::new(ENDINGS),
            desk,
            later,
        });
        tokio::spawn(async move { doors.keep_time().await });
        if let Some(crowd) = crowd {
            crowd.gather(&chat);
        }
        tokio::spawn(news::tell(Arc::downgrade(&chat), news));
        if let Log::Redis(log) = &chat.log {
            let desk = chat.desk.clone();
            log.hear_of_gone(move |person| desk.passed(person.id, &[], std::slice::from_ref(person)));
        }
        tokio::spawn(known::retry(Arc::downgrade(&chat), names));
        chat.end_with_leaves();
        tokio::spawn(sweep(Arc::downgrade(&chat)));
        chat
    }

    /// The log, for what is only read.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Where streams go when they have caught up.
    pub fn reading(&self) -> &ReadingRoom<Feed, Visit> {
        &self.reading
    }

    /// Limits of rate and number.
    pub fn doors(&self) -> &Doors {
        &self.doors
    }

    /// A room with its feed, whoever is in it.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn room(&self, room: &event::Room) -> Result<Arc<Room>, LogError> {
        if let Some(room) = self.present(room.id) {
            return Ok(room);
        }
        let feed = self.hub.open(room).await?;
        let mut rooms = self.rooms.lock().expect("no panic while locked");
        if let Some(room) = rooms.get(&room.id).and_then(Weak::upgrade) {
            return Ok(room);
        }
        let opened = Arc::new(Room::new(feed, Arc::clone(&self.doors)));
        rooms.insert(room.id, Arc::downgrade(&opened));
        Ok(opened)
    }

    /// Sees to it that this pod is as far in a room's log as a reader was on another; see [`Hub::reach`].
    ///
    /// # Errors
    /// When the log cannot be read, or not in time.
    pub async fn reach(&self, feed: &Arc<Feed>, place: Cursor) -> Result<(), LogError> {
        self.hub.reach(feed, place).await
    }

    /// The room, if somebody has it open here.
    pub fn present(&self, room: RoomId) -> Option<Arc<Room>> {
        self.rooms.lock().expect("no panic while locked").get(&room)?.upgrade()
    }

    /// Adds to a room's log; answers when it is as safe as asked for, or as everything here is.
    ///
    /// # Errors
    /// As the log says.
    pub async fn speak(
        &self,
        room: event::Room,
        user: User,
        who: Who,
        draft: Draft,
        ack: Option<Ack>,
    ) -> Result<Placed, LogError> {
        let (id, kind, speaker) = (room.id, room.kind, user.id);
        if let Some(room) = self.present(id) {
            room.spoken(speaker, &user.name);
        }
        let moves_mark = kind == RoomKind::Members && matches!(draft, Draft::Message { .. });
        let placed = self.log.append(Append { room, user, who, draft, ack }).await?;
        if moves_mark && !placed.duplicate {
            self.desk.read(id, speaker, placed.cursor.seq);
        }
        Ok(placed)
    }

    /// Somebody has another name: in every room that they are in now, on every pod.
    pub async fn rename(&self, user: UserId, name: &Name) {
        self.renamed(user, name);
        if let Log::Redis(log) = &self.log
            && let Err(e) = log.tell_name(user, name).await
        {
            tracing::debug!(error = %e, "other pods learn of a name with its next message");
        }
    }

    /// Somebody has another name: in every room that they are in now, on this pod.
    pub fn renamed(&self, user: UserId, name: &Name) {
        for room in self.all() {
            room.rename(user, name);
        }
    }

    /// How many people are in a room, on all pods if they can be asked.
    pub async fn online(&self, room: RoomId) -> usize {
        match self.doors.crowd() {
            Some(crowd) => crowd.people(room, 0).await.map(|(online, _)| online),
            None => None,
        }
        .unwrap_or_else(|| self.present(room).map_or(0, |room| room.online()))
    }

    /// How many people are in a room, and up to `limit` of them, on all pods if they can be asked.
    pub async fn people(&self, room: RoomId, limit: usize) -> (usize, Vec<User>) {
        match self.doors.crowd() {
            Some(crowd) => crowd.people(room, limit).await,
            None => None,
        }
        .unwrap_or_else(|| match self.present(room) {
            Some(room) => (room.online(), room.people(limit)),
            None => (0, Vec::new()),
        })
    }

    /// Everybody has gone from here: waits until the other pods can know it, but not for long.
    pub async fn close(&self) {
        if let Some(crowd) = self.doors.crowd() {
            crowd.emptied().await;
        }
    }

    fn all(&self) -> Vec<Arc<Room>> {
        self.rooms.lock().expect("no panic while locked").values().filter_map(Weak::upgrade).collect()
    }

    /// Keeps that a session is over, until it would have been anyway (seconds since 1970).
    ///
    /// # Errors
    /// When it cannot be stored; then it goes on.
    pub async fn revoke(&self, session: i64, until: u64) -> Result<(), LogError> {
        self.log.revoke(session, until.cast_signed()).await
    }

    /// Ends the streams that are meant, wherever they are.
    pub fn end(&self, select: Select) {
        // In this order: who is on the way to a seat looks here once more when they sat down. Nobody listens when no
        // stream is on the courteous path.
        _ = self.endings.send(select);
        self.reading.end(&select, &bye(select.code(), COME_BACK_MS));
    }

    /// Tells a stream that is not in the reading room, from now on, whether it is to end.
    pub fn endings(&self, visit: &Visit) -> Endings {
        Endings::new(self.endings.subscribe(), visit.whom(), Arc::clone(&self.doors))
    }

    /// Whoever is not a member of a room any more hears nothing more there.
    fn end_with_leaves(self: &Arc<Self>) {
        let weak = Arc::downgrade(self);
        self.hub.hear_of_leavers(move |room, user| {
            if let Some(chat) = weak.upgrade() {
                chat.end(Select::Member { room, user });
            }
        });
    }

    /// Rooms that are open here, and the feeds under them.
    pub fn figures(&self) -> (usize, Figures) {
        (self.rooms.lock().expect("no panic while locked").len(), self.hub.figures())
    }
}

/// Gives back what is left of rooms that everybody has left.
async fn sweep(chat: Weak<Chat>) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        let Some(chat) = chat.upgrade() else { return };
        let mut rooms = chat.rooms.lock().expect("no panic while locked");
        rooms.retain(|_, room| room.strong_count() > 0);
        if rooms.len() * 4 < rooms.capacity() {
            rooms.shrink_to_fit();
        }
        drop(rooms);
        chat.hub.sweep();
    }
}

/// Lets go of messages older than `keep`, in small steps, until `chat` is gone.
pub async fn retain(chat: Weak<Chat>, keep: Duration) {
    // Often enough that nothing is kept a tenth longer than asked, and seldom enough to cost nothing.
    let every = (keep / 10).clamp(Duration::from_millis(100), Duration::from_secs(60));
    loop {
        tokio::time::sleep(every).await;
        loop {
            let Some(chat) = chat.upgrade() else { return };
            let horizon = clock::millis() - i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
            match chat.log.trim(horizon).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(e) => {
                    tracing::warn!(error = %e, "retention could not remove old messages; trying again later");
                    break;
                }
            }
        }
    }
}
