//! From the log of a room into the inboxes of its members, by the owner of the room's partition.
//!
//! What happens in rooms with members is put into their partition's mail by the script that appends it, and stays there
//! until it is in all inboxes. An owner that dies leaves it to the next; what comes twice an inbox takes once.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use bytes::Bytes;
use redis::{Script, ScriptInvocation};

use super::{
    Agreed, Batch, Outbox, Owned, RedisLog, fenced, inbox,
    keys::{self, Names},
    outbox,
};
use crate::{
    event::{Cursor, Entry, EventKind, Frame, LogId, MOST_ENTRIES, RoomId, UserId},
    log::{LogError, LogErrorKind},
};

/// Bytes that are sent in one go, about.
const TOGETHER: usize = 1 << 20;

static DELIVER: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("deliver.lua")));
static DELIVERED: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("delivered.lua")));

/// An entry on its way into inboxes, with what is published of it behind the cursor.
struct Letter<'a> {
    entry: &'a Entry,
    said: Bytes,
}

impl<'a> Letter<'a> {
    fn new(entry: &'a Entry) -> Self {
        let said = Frame::pointing(&entry.event, entry.room, Cursor::new(1, 1)).said();
        let mut spaces = said.iter().enumerate().filter(|(_, byte)| **byte == b' ').map(|(at, _)| at);
        let after_cursor = spaces.nth(1).map_or(said.len(), |at| at + 1);
        Letter { entry, said: said.slice(after_cursor..) }
    }
}

impl RedisLog {
    /// A reader of the mail, as [`RedisLog::outbox`] is of the outboxes.
    ///
    /// # Errors
    /// When there is no connection to be had.
    pub async fn mail(&self) -> Result<Outbox, LogError> {
        self.reader_of(Names::mail).await
    }

    /// May readers see all of this batch by now?
    ///
    /// # Errors
    /// When the server does not answer, or is not the one that was agreed on.
    pub async fn is_to_be_seen(&self, batch: &Batch) -> Result<bool, LogError> {
        if !self.gives_out_stored_only() {
            return Ok(true);
        }
        let partitions: Vec<u8> = batch.upto.keys().copied().collect();
        let marks = self.marks(&partitions).await?;
        Ok(marks.iter().zip(batch.upto.values()).all(|(marks, n)| marks.archived >= *n))
    }

    /// Puts a batch of mail into the inboxes of all whom it concerns. May be done twice.
    ///
    /// # Errors
    /// When the server does not answer, or is not the one that was agreed on; some of it may be done.
    pub async fn deliver(&self, batch: &Batch) -> Result<(), LogError> {
        let letters: Vec<Letter<'_>> = batch.entries.iter().map(Letter::new).collect();
        let to_deliver = self.addressed(&letters).await?;
        let mut bytes = 0;
        let mut together: Vec<(UserId, Vec<&Letter<'_>>)> = Vec::new();
        for (user, letters) in to_deliver {
            bytes += letters.iter().map(|letter| letter.said.len()).sum::<usize>();
            together.push((user, letters));
            if bytes > TOGETHER {
                self.send_mail(&batch.agreed, &std::mem::take(&mut together)).await?;
                bytes = 0;
            }
        }
        self.send_mail(&batch.agreed, &together).await
    }

    /// Who gets which: whoever is a member, from their join on, and whoever just left.
    async fn addressed<'a, 'b>(
        &self,
        letters: &'b [Letter<'a>],
    ) -> Result<BTreeMap<UserId, Vec<&'b Letter<'a>>>, LogError> {
        let rooms: BTreeSet<RoomId> = letters.iter().map(|letter| letter.entry.room).collect();
        let members = self.members_of(&rooms.into_iter().collect::<Vec<_>>()).await?;
        let mut addressed: BTreeMap<UserId, Vec<&Letter<'_>>> = BTreeMap::new();
        for letter in letters {
            let event = &letter.entry.event;
            for (user, membership) in members.get(&letter.entry.room).into_iter().flatten() {
                if membership.from <= event.seq {
                    addressed.entry(*user).or_default().push(letter);
                }
            }
            if event.kind == EventKind::Leave {
                addressed.entry(event.user.id).or_default().push(letter);
            }
        }
        Ok(addressed)
    }

    async fn send_mail(
        &self,
        agreed: &Agreed,
        together: &[(UserId, Vec<&Letter<'_>>)],
    ) -> Result<(), LogError> {
        if together.is_empty() {
            return Ok(());
        }
        let mut pipeline = redis::pipe();
        pipeline.load_script(&DELIVER).ignore();
        for (user, letters) in together {
            let channel = self.channel.map_or_else(String::new, |channel| channel(LogId(user.0)));
            pipeline.invoke_script(&delivering(agreed, *user, letters, &channel));
        }
        let mut connection = self.pool.get().await.map_err(outbox::unreachable)?;
        let answers: Vec<Vec<String>> = pipeline.query_async(&mut connection).await?;
        for (answer, (user, letters)) in answers.iter().zip(together) {
            match answer.split_first().map(|(word, places)| (word.as_str(), places)) {
                Some(("OK", places)) if places.len() == letters.len() => {
                    if self.channel.is_none() {
                        self.say_mail(agreed, *user, letters, places);
                    }
                }
                Some(("FENCED", _)) => {
                    self.suspect();
                    return Err(fenced());
                }
                _ => return Err(LogErrorKind::Unavailable.into()),
            }
        }
        Ok(())
    }

    fn say_mail(&self, agreed: &Agreed, user: UserId, letters: &[&Letter<'_>], places: &[String]) {
        for (letter, place) in letters.iter().zip(places) {
            let Some(seq) = place.parse().ok().filter(|seq| *seq > 0) else { continue };
            let cursor = Cursor::new(inbox::epoch(agreed.generation).0, seq);
            self.say(LogId(user.0), Frame::pointing(&letter.entry.event, letter.entry.room, cursor).said());
        }
    }

    /// The inboxes have this batch: lets go of it.
    ///
    /// # Errors
    /// When the server does not answer, or is not the one that was agreed on.
    pub async fn delivered(&self, batch: &Batch, owned: &[Owned]) -> Result<(), LogError> {
        let agreed = &batch.agreed;
        let mut pipeline = redis::pipe();
        pipeline.load_script(&DELIVERED).ignore();
        for (partition, n) in &batch.upto {
            let Some(owned) = owned.iter().find(|owned| owned.partition == *partition) else { continue };
            let mut delivered = DELIVERED.key(keys::meta(*partition));
            delivered.key(agreed.names().mail(*partition));
            delivered.arg(agreed.generation).arg(&*agreed.run_id).arg(owned.token).arg(*n);
            pipeline.invoke_script(&delivered);
        }
        let mut connection = self.pool.get().await.map_err(outbox::unreachable)?;
        let answers: Vec<Vec<String>> = pipeline.query_async(&mut connection).await?;
        if answers.iter().any(|answer| answer.first().is_some_and(|word| word == "FENCED")) {
            self.suspect();
            return Err(fenced());
        }
        Ok(())
    }
}

/// The call of the script that puts these into somebody's inbox.
fn delivering(
    agreed: &Agreed,
    user: UserId,
    letters: &[&Letter<'_>],
    channel: &str,
) -> ScriptInvocation<'static> {
    let (names, partition) = (agreed.names(), LogId(user.0).partition());
    let mut deliver = DELIVER.key(keys::meta(partition));
    deliver.key(names.inbox(user)).key(names.mailbox(user)).key(names.inboxes(partition));
    deliver.arg(agreed.generation).arg(&*agreed.run_id).arg(&user.0.as_bytes()[..]);
    deliver
        .arg(inbox::epoch(agreed.generation).0)
        .arg(inbox::base(agreed.generation).0)
        .arg(MOST_ENTRIES)
        .arg(channel);
    for letter in letters {
        deliver.arg(&letter.entry.room.0.as_bytes()[..]).arg(letter.entry.event.seq.0);
        deliver.arg(if channel.is_empty() { &[][..] } else { &letter.said });
    }
    deliver
}
