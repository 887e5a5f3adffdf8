//! People who went offline: their inbox has nobody on any pod any more. The owner of its partition learns of it, and
//! tells those who share rooms with them.

use std::sync::OnceLock;

use redis::{Value, from_redis_value};

use crate::{
    event::RoomId,
    log::{Passed, Person, redis::RedisLog},
};

type Ear = Box<dyn Fn(&Person) + Send + Sync>;

/// Who is told of them.
#[derive(Default)]
pub(in crate::log::redis) struct GoneEar(OnceLock<Ear>);

impl RedisLog {
    /// From now on `ear` is called with whoever goes offline, as the owner of their inbox's partition finds it; once
    /// for all. It must not block.
    pub fn hear_of_gone(&self, ear: impl Fn(&Person) + Send + Sync + 'static) {
        _ = self.gone.0.set(Box::new(ear));
    }

    /// What a script answered about those of a room whose grace was over. The room of an inbox has the id of its
    /// person, and nobody else is ever there.
    pub(super) fn tell_gone(&self, room: RoomId, answer: &Value) {
        let Some(ear) = self.gone.0.get() else { return };
        let said: Option<[String; 3]> =
            from_redis_value::<Vec<String>>(answer.clone()).ok().and_then(|answer| answer.try_into().ok());
        let passed =
            said.and_then(|[_, _, said]| serde_json::from_str::<Passed>(said.strip_prefix("p ")?).ok());
        for person in passed.iter().flat_map(|passed| &passed.left).filter(|person| person.id.0 == room.0) {
            ear(person);
        }
    }
}
