//! What people are told wherever they listen, beside the log: who writes, who has read, who of their contacts is here.
//!
//! It is told by one task, in the order in which it came about; what does not fit into its queue is not told, for it
//! is soon out of date.

use std::sync::Weak;

use serde::Serialize;
use tokio::sync::mpsc;

use super::Chat;
use crate::{
    event::{Aside, LogId, RoomId, Seq, Topic, User, UserId},
    log::{Log, LogError, Person},
};

/// News that wait to be told.
const WAITING: usize = 4096;
/// Contacts who are told that somebody came or went, at most.
const CONTACTS: usize = 1000;

/// Something to tell.
#[derive(Debug)]
pub(super) enum News {
    /// To those in a room and to the inboxes of its members, but for one.
    Members { room: RoomId, but: Option<UserId>, aside: Aside },
    /// To the inboxes of those who share a room with somebody.
    Contacts { user: UserId, aside: Aside },
}

/// Takes news.
#[derive(Clone, Debug)]
pub(super) struct Desk(mpsc::Sender<News>);

impl Desk {
    /// A desk, and what comes in there.
    pub(super) fn open() -> (Self, mpsc::Receiver<News>) {
        let (desk, news) = mpsc::channel(WAITING);
        (Desk(desk), news)
    }

    /// Somebody writes.
    pub(super) fn typing(&self, room: RoomId, user: &User) {
        let but = Some(user.id);
        self.take(News::Members { room, but, aside: typing(&room.0.to_string(), user) });
    }

    /// Somebody has read up to here. Their other devices hear of it too.
    pub(super) fn read(&self, room: RoomId, user: UserId, seq: Seq) {
        #[derive(Serialize)]
        struct Read {
            room: RoomId,
            user: UserId,
            seq: Seq,
        }
        let aside = Aside::new(Topic::Read, &Read { room, user, seq });
        self.take(News::Members { room, but: None, aside });
    }

    /// Somebody came online, or went offline.
    pub(super) fn passed(&self, user: UserId, joined: &[Person], left: &[Person]) {
        #[derive(Serialize)]
        struct Passed<'a> {
            joined: &'a [Person],
            left: &'a [Person],
        }
        self.take(News::Contacts { user, aside: Aside::new(Topic::Presence, &Passed { joined, left }) });
    }

    fn take(&self, news: News) {
        // It is full, or the pod ends: then nobody is told.
        _ = self.0.try_send(news);
    }
}

/// Somebody writes in the room that its events call so.
pub(super) fn typing(room: &str, user: &User) -> Aside {
    #[derive(Serialize)]
    struct Typing<'a> {
        room: &'a str,
        user: Person,
    }
    let user = Person { id: user.id, name: user.name.clone() };
    Aside::new(Topic::Typing, &Typing { room, user })
}

/// Tells what comes in, until `chat` is gone.
pub(super) async fn tell(chat: Weak<Chat>, mut news: mpsc::Receiver<News>) {
    while let Some(news) = news.recv().await {
        let Some(chat) = chat.upgrade() else { return };
        if let Err(e) = chat.tell_news(news).await {
            tracing::debug!(error = %e, "people were not told what is beside the log");
        }
    }
}

impl Chat {
    /// Tells those who listen to a log now, on every pod.
    pub fn tell(&self, log: LogId, aside: &Aside) {
        match &self.log {
            Log::Sqlite(_) => self.hub.tell(log, aside.clone()),
            Log::Redis(redis) => redis.say(log, aside.said()),
        }
    }

    async fn tell_news(&self, news: News) -> Result<(), LogError> {
        match news {
            News::Members { room, but, aside } => {
                self.tell(room.into(), &aside);
                let members = self.log.member_ids(room).await?;
                self.tell_inboxes(members.into_iter().filter(|user| Some(*user) != but), &aside);
            }
            News::Contacts { user, aside } => {
                self.tell_inboxes(self.log.contacts(user, CONTACTS).await?, &aside);
            }
        }
        Ok(())
    }

    fn tell_inboxes(&self, people: impl IntoIterator<Item = UserId>, aside: &Aside) {
        for user in people {
            self.tell(LogId(user.0), aside);
        }
    }
}
