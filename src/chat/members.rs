//! What people do with rooms that have members.

use std::collections::HashSet;

use super::{Chat, news::typing};
use crate::{
    event::{
        self, Draft, Event, EventKind, MOST_UNREAD, MemberRoom, NewRoom, Part, RoomId, RoomKind, Seq, User,
        UserId,
    },
    log::{Append, LogError, LogErrorKind, Who},
};

/// Events looked at in one read, and reads at most, when unread messages are counted.
const PAGE: usize = 200;
const PAGES: usize = 50;

impl Chat {
    /// Makes a room, or finds it made already (then `false`); either way its log has begun.
    ///
    /// # Errors
    /// `NotFound` when one of its members is nobody that is known; else as the log says.
    pub async fn make_room(&self, room: NewRoom) -> Result<(MemberRoom, bool), LogError> {
        let maker = room.maker.clone();
        let (made, is_new) = self.log.make_room(room).await?;
        self.change(made.id, maker, Draft::Open).await?;
        Ok((made, is_new))
    }

    /// Has somebody be a member of a group; false when they are one already.
    ///
    /// # Errors
    /// `NotFound` when the `actor` is no member, `Crowded` when there are too many; else as the log says.
    pub async fn add(&self, room: RoomId, actor: User, member: User) -> Result<bool, LogError> {
        self.change(room, actor, Draft::Join { member }).await
    }

    /// Has somebody not be a member of a group any more.
    ///
    /// # Errors
    /// `NotFound` when they are none; else as the log says.
    pub async fn leave(&self, room: RoomId, user: User) -> Result<(), LogError> {
        self.change(room, user.clone(), Draft::Leave { member: user }).await.map(drop)
    }

    /// Somebody has read up to `seq`; gives their mark.
    ///
    /// # Errors
    /// `NotFound` when they are no member; else as the log says.
    pub async fn read(&self, room: RoomId, user: UserId, seq: Seq) -> Result<Seq, LogError> {
        if let Some(mark) = self.log.mark_read(room, user, seq).await? {
            self.desk.read(room, user, mark);
            return Ok(mark);
        }
        let members = self.log.member_room(room).await?.map(|room| room.members).unwrap_or_default();
        let member = members.into_iter().find(|member| member.user.id == user);
        Ok(member.ok_or(LogErrorKind::NotFound)?.read)
    }

    /// Others' messages above `read` that stand, up to [`MOST_UNREAD`]. Looks at so many events at most that a log of
    /// nothing but edits costs no more than other requests.
    ///
    /// # Errors
    /// As the log says.
    pub async fn unread(&self, room: &event::Room, user: UserId, read: Seq) -> Result<usize, LogError> {
        let (mut unread, mut after) = (0, read);
        for _ in 0..PAGES {
            let events = self.log.page(room, Part::After(after), PAGE).await?;
            let is_unread = |event: &&Event| {
                event.kind == EventKind::Message && event.user.id != user && event.status.is_none()
            };
            unread += events.iter().filter(is_unread).count();
            after = events.last().map_or(after, |last| last.seq);
            if unread >= MOST_UNREAD || events.len() < PAGE {
                break;
            }
        }
        Ok(unread.min(MOST_UNREAD))
    }

    /// Somebody who may be in it is writing in a room.
    pub fn typing(&self, room: &event::Room, user: &User) {
        match room.kind {
            RoomKind::Members => self.desk.typing(room.id, user),
            RoomKind::Open | RoomKind::Inbox => self.tell(room.id.into(), &typing(&room.label, user)),
        }
    }

    /// Who of these people is online: has an inbox stream, on any pod if they can be asked.
    pub async fn online_of(&self, people: HashSet<UserId>) -> HashSet<UserId> {
        let people: Vec<UserId> = people.into_iter().collect();
        let told = match self.doors.crowd() {
            Some(crowd) => crowd.online_of(&people).await,
            None => None,
        };
        let is_here = |user: &UserId| self.present(RoomId(user.0)).is_some_and(|inbox| inbox.online() > 0);
        told.unwrap_or_else(|| people.into_iter().filter(is_here).collect())
    }

    /// A change of membership; false when it is so already.
    async fn change(&self, room: RoomId, actor: User, draft: Draft) -> Result<bool, LogError> {
        let who = Who(actor.id.0);
        let room = event::Room::of_members(room);
        match self.log.append(Append { room, user: actor, who, draft, ack: None }).await {
            Ok(_) => Ok(true),
            Err(e) if e.kind == LogErrorKind::NoChange => Ok(false),
            Err(e) => Err(e),
        }
    }
}
