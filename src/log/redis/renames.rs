//! Who has another name now: told to all pods, since any of them may have streams of that person.
//!
//! Names in events are those of their time, so this is for presence alone, and what is lost of it is not missed for
//! long: a name comes with the next message, too.

use redis::{from_redis_value, streams::StreamRangeReply};
use uuid::Uuid;

use super::RedisLog;
use crate::{
    clock,
    event::{Name, UserId},
    log::LogError,
};

/// Renames that are kept for pods that have not read them yet.
const KEPT: usize = 1000;

/// How far a pod has read.
#[derive(Clone, Debug)]
pub struct Renames {
    after: String,
}

impl Renames {
    /// From now on.
    pub fn from_now() -> Self {
        // Entries have the server's time as their ids.
        Renames { after: format!("{}-0", clock::millis()) }
    }
}

impl RedisLog {
    /// Tells all pods of a name.
    ///
    /// # Errors
    /// When the server does not answer, or is not the one that was agreed on.
    pub async fn tell_name(&self, user: UserId, name: &Name) -> Result<(), LogError> {
        let (mut wire, agreed) = self.ready().await?;
        let mut add = redis::pipe();
        add.cmd("XADD").arg(agreed.names().renames()).arg("MAXLEN").arg("~").arg(KEPT).arg("*");
        add.arg("u").arg(&user.0.as_bytes()[..]).arg("n").arg(name.as_str());
        self.ask(&mut wire, &add).await.map(|_| ())
    }

    /// The names that were told since this was last asked.
    ///
    /// # Errors
    /// As [`RedisLog::tell_name`].
    pub async fn told_names(&self, renames: &mut Renames) -> Result<Vec<(UserId, Name)>, LogError> {
        let (mut wire, agreed) = self.ready().await?;
        let mut range = redis::pipe();
        range.xrange_count(agreed.names().renames(), format!("({}", renames.after), "+", KEPT);
        let mut answers = self.ask(&mut wire, &range).await?;
        let found: StreamRangeReply = from_redis_value(answers.remove(0))?;
        if let Some(last) = found.ids.last() {
            renames.after.clone_from(&last.id);
        }
        let read = |id: &redis::streams::StreamId| {
            let user = Uuid::from_slice(&id.get::<Vec<u8>>("u")?).ok()?;
            Some((UserId(user), id.get::<String>("n")?.parse().ok()?))
        };
        Ok(found.ids.iter().filter_map(read).collect())
    }
}
