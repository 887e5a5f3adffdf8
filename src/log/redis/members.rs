//! People, rooms with members, and who is in them: as the archive has it, and as Redis does where it has the room.

use std::collections::{BTreeMap, HashMap};

use redis::{Value, from_redis_value};
use uuid::Uuid;

use super::{RedisLog, read::Tip};
use crate::{
    archive::{Gathering, Participant},
    event::{
        Ban, LogId, MOST_MEMBERS, Member, MemberRoom, Membership, NameQuery, NewRoom, Role, RoomId, Seq,
        User, UserId,
    },
    log::{Known, LogError, LogErrorKind},
};

/// Characters of a ban's reason that are kept.
const REASON: usize = 512;

/// A room with members that Redis has, which is all of it or nothing.
#[derive(Debug)]
pub(super) struct Here {
    pub(super) tip: Tip,
    pub(super) members: HashMap<UserId, Membership>,
    pub(super) read: HashMap<UserId, Seq>,
}

impl RedisLog {
    pub(in crate::log) async fn know(&self, known: Known) -> Result<(), LogError> {
        Ok(self.archive.know(&known.user, known.sub.as_deref()).await?)
    }

    pub(in crate::log) async fn person(&self, user: UserId) -> Result<Option<User>, LogError> {
        Ok(self.archive.people(&[user]).await?.pop())
    }

    pub(in crate::log) async fn search(
        &self,
        me: UserId,
        query: NameQuery,
        limit: usize,
    ) -> Result<Vec<User>, LogError> {
        Ok(self.archive.search(me, &query, limit).await?)
    }

    pub(in crate::log) async fn make_room(&self, room: NewRoom) -> Result<(MemberRoom, bool), LogError> {
        if room.others.len() >= MOST_MEMBERS {
            return Err(LogErrorKind::Crowded.into());
        }
        let is_new = self.archive.make_room(&room).await?.ok_or(LogErrorKind::NotFound)?;
        let made = self.member_room(room.id).await?.ok_or(LogErrorKind::NotFound)?;
        Ok((made, is_new))
    }

    pub(in crate::log) async fn member_room(&self, room: RoomId) -> Result<Option<MemberRoom>, LogError> {
        let Some(gathering) = self.archive.gathering(room).await? else { return Ok(None) };
        let here = self.here(&[room]).await?.pop().flatten();
        let mut rooms = self.with_members(vec![(room, gathering, here)]).await?;
        Ok(rooms.pop().map(|(room, _)| room))
    }

    pub(in crate::log) async fn membership(
        &self,
        room: RoomId,
        user: UserId,
    ) -> Result<Option<Membership>, LogError> {
        let answers = self.look(room, |pipeline, names| {
            pipeline.hexists(names.room(room), "seq").hget(names.members(room), &user.0.as_bytes()[..]);
        });
        let answers = answers.await?;
        let [is_here, membership] = &answers[..] else { return Err(LogErrorKind::Unavailable.into()) };
        if !from_redis_value::<bool>(is_here.clone())? {
            return Ok(self.archive.membership(room, user).await?);
        }
        self::membership(membership)
    }

    pub(in crate::log) async fn contacts(&self, user: UserId, limit: usize) -> Result<Vec<UserId>, LogError> {
        Ok(self.archive.contacts(user, limit).await?)
    }

    pub(in crate::log) async fn member_ids(&self, room: RoomId) -> Result<Vec<UserId>, LogError> {
        let members = self.members_of(&[room]).await?.remove(&room);
        Ok(members.unwrap_or_default().into_keys().collect())
    }

    pub(in crate::log) async fn ban(
        &self,
        ban: Ban,
        by: Option<UserId>,
        reason: Option<String>,
    ) -> Result<(), LogError> {
        let reason: Option<String> = reason.map(|reason| reason.chars().take(REASON).collect());
        Ok(self.archive.ban(ban, by, reason.as_deref()).await?)
    }

    pub(in crate::log) async fn bans(&self, after: i64) -> Result<Vec<(i64, Ban)>, LogError> {
        Ok(self.archive.bans(after).await?)
    }

    /// Who is in these rooms, as the room's log has it now.
    pub(super) async fn members_of(
        &self,
        rooms: &[RoomId],
    ) -> Result<BTreeMap<RoomId, HashMap<UserId, Membership>>, LogError> {
        let answers = self.look_over(partitions(rooms), |pipeline, names| {
            for room in rooms {
                pipeline.hexists(names.room(*room), "seq").hgetall(names.members(*room));
            }
        });
        let mut found = BTreeMap::new();
        for (pair, room) in answers.await?.chunks_exact(2).zip(rooms) {
            let members = match from_redis_value::<bool>(pair[0].clone())? {
                true => memberships(&pair[1])?,
                false => self.archived_members(*room).await?,
            };
            found.insert(*room, members);
        }
        Ok(found)
    }

    async fn archived_members(&self, room: RoomId) -> Result<HashMap<UserId, Membership>, LogError> {
        let members = self.archive.members(room).await?.unwrap_or_default();
        Ok(members.into_iter().map(|member| (member.user, member.membership)).collect())
    }

    /// What Redis has of these rooms.
    pub(super) async fn here(&self, rooms: &[RoomId]) -> Result<Vec<Option<Here>>, LogError> {
        let answers = self.look_over(partitions(rooms), |pipeline, names| {
            for room in rooms {
                pipeline.hmget(names.room(*room), Tip::FIELDS);
                pipeline.hgetall(names.members(*room)).hgetall(names.read(*room));
            }
        });
        answers.await?.chunks_exact(3).map(Here::read).collect()
    }

    /// Rooms as their members see them, by what Redis has of them where it has them. Gives that too.
    pub(super) async fn with_members(
        &self,
        rooms: Vec<(RoomId, Gathering, Option<Here>)>,
    ) -> Result<Vec<(MemberRoom, Option<Here>)>, LogError> {
        let mut people: HashMap<UserId, User> = HashMap::new();
        for (_, gathering, _) in &rooms {
            people.extend(gathering.people.iter().map(|user| (user.id, user.clone())));
        }
        let here = rooms.iter().filter_map(|(_, _, here)| here.as_ref());
        let mut strangers: Vec<UserId> = here
            .flat_map(|here| here.members.keys())
            .filter(|user| !people.contains_key(user))
            .copied()
            .collect();
        if !strangers.is_empty() {
            strangers.sort_unstable();
            strangers.dedup();
            people.extend(self.archive.people(&strangers).await?.into_iter().map(|user| (user.id, user)));
        }
        let with_members = |(id, gathering, here): (RoomId, Gathering, Option<Here>)| {
            let Gathering { shape, name, members, .. } = gathering;
            let members = match &here {
                Some(here) => here.participants(&members),
                None => members,
            };
            (MemberRoom::new(id, shape, name, in_order(members, &people)), here)
        };
        Ok(rooms.into_iter().map(with_members).collect())
    }
}

impl Here {
    /// What is asked of a room in three commands; `None` when it is not here.
    pub(super) fn read(answers: &[Value]) -> Result<Option<Self>, LogError> {
        let [fields, members, read] = answers else { return Err(LogErrorKind::Unavailable.into()) };
        let Some(tip) = Tip::read(&from_redis_value::<Vec<Option<String>>>(fields.clone())?) else {
            return Ok(None);
        };
        let read: HashMap<Vec<u8>, u64> = from_redis_value(read.clone())?;
        let read = read.into_iter().filter_map(|(user, seq)| Some((user_id(&user)?, Seq(seq)))).collect();
        Ok(Some(Here { tip, members: memberships(members)?, read }))
    }

    fn participants(&self, archived: &[Participant]) -> Vec<Participant> {
        let archived: HashMap<UserId, Seq> =
            archived.iter().map(|member| (member.user, member.read)).collect();
        let read = |user| self.read.get(user).max(archived.get(user)).copied().unwrap_or(Seq(0));
        let members = self.members.iter();
        members
            .map(|(user, membership)| Participant { user: *user, membership: *membership, read: read(user) })
            .collect()
    }
}

/// The members of a room in the order in which they came, its maker first.
fn in_order(mut members: Vec<Participant>, people: &HashMap<UserId, User>) -> Vec<Member> {
    members
        .sort_by_key(|member| (member.membership.from, member.membership.role != Role::Owner, member.user));
    let known = members.into_iter().filter_map(|Participant { user, membership, read }| {
        Some(Member { user: people.get(&user)?.clone(), role: membership.role, read })
    });
    known.collect()
}

pub(super) fn partitions(rooms: &[RoomId]) -> impl Iterator<Item = u8> {
    rooms.iter().map(|room| LogId::from(*room).partition())
}

/// `<from>:<role>`, as it stands in `members`.
pub(super) fn written(membership: &Membership) -> String {
    format!("{}:{}", membership.from, membership.role.as_str())
}

fn read(written: &str) -> Option<Membership> {
    let (from, role) = written.split_once(':')?;
    Some(Membership { role: role.parse().ok()?, from: from.parse().ok()? })
}

/// A whole `members`.
fn memberships(answer: &Value) -> Result<HashMap<UserId, Membership>, LogError> {
    let found: HashMap<Vec<u8>, String> = from_redis_value(answer.clone())?;
    Ok(found.iter().filter_map(|(user, it)| Some((user_id(user)?, read(it)?))).collect())
}

fn user_id(bytes: &[u8]) -> Option<UserId> {
    Uuid::from_slice(bytes).ok().map(UserId)
}

/// What somebody is in a room, as `HGET members` answers it.
pub(super) fn membership(answer: &Value) -> Result<Option<Membership>, LogError> {
    let found: Option<String> = from_redis_value(answer.clone())?;
    Ok(found.and_then(|written| read(&written)))
}
