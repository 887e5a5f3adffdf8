//! Readers: each reads a room from its beginning, leaves and comes back with its cursor, to any pod.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use loadtest::checker::{Asked, End, ReaderLog, Sight};

use super::{
    plan::Plan,
    stream::{Conn, serve},
    time::{Rng, before},
    world::{World, user},
};
use crate::{
    event::{Cursor, Epoch, Seq},
    http::start::after_cursor,
    hub::Start,
};

/// In which room somebody reads.
pub(super) fn room_of(plan: &Plan, reader: usize) -> usize {
    reader % plan.rooms
}

/// Who reads: some have two tabs.
pub(super) fn person_of(plan: &Plan, reader: usize) -> usize {
    if plan.seed.is_multiple_of(3) {
        reader / (2 * plan.rooms) * plan.rooms + reader % plan.rooms
    } else {
        reader
    }
}

pub(super) struct Reader {
    pub(super) room: usize,
    pub(super) person: usize,
    pub(super) log: RefCell<ReaderLog>,
    /// It stays where it is from now on.
    pub(super) stays: Cell<bool>,
    pub(super) is_out: Cell<bool>,
    pub(super) has_stream: Cell<bool>,
}

impl Reader {
    pub(super) fn start(world: &Rc<World>, n: usize) -> Rc<Self> {
        let reader = Rc::new(Reader {
            room: room_of(&world.plan, n),
            person: person_of(&world.plan, n),
            log: RefCell::new(ReaderLog::new(&format!("{n}"))),
            stays: Cell::new(false),
            is_out: Cell::new(false),
            has_stream: Cell::new(false),
        });
        world.time.spawn(0, read(Rc::clone(world), Rc::clone(&reader), n));
        reader
    }

    fn note(&self, world: &World, sight: Sight) {
        self.log.borrow_mut().note(world.time.now(), sight);
    }
}

async fn read(world: Rc<World>, reader: Rc<Reader>, n: usize) {
    let rng = Rng::of(world.plan.seed, 500 + n as u64);
    let mut number = rng.index(world.plan.pods);
    while !reader.is_out.get() {
        world.time.sleep(rng.millis(2, 700)).await;
        match world.pod(number) {
            Some(pod) => {
                let cursor = reader.log.borrow().cursor();
                let (asked, start) = match cursor {
                    Some(at) => (Asked::Own(at), after_cursor(own(at))),
                    None => (Asked::Fresh, Start::All),
                };
                reader.note(&world, Sight::Connected(asked));
                let conn = Conn::new();
                let seats = rng.one_in(2);
                let (room, person) = (world.rooms[reader.room].clone(), user(reader.person));
                pod.spawn(serve(Rc::clone(&pod), room, person, start, Rc::clone(&conn), seats));
                drop(pod);
                // Half of them stay as long as they may.
                let time = if n.is_multiple_of(2) { Duration::from_secs(1000) } else { rng.millis(20, 6000) };
                take(&world, &reader, &conn, time).await;
                conn.hang_up();
                reader.has_stream.set(false);
            }
            None => world.time.sleep(Duration::from_millis(100)).await,
        }
        number = rng.index(world.plan.pods);
    }
}

async fn take(world: &Rc<World>, reader: &Reader, conn: &Conn, time: Duration) {
    let until = world.time.now() + time;
    loop {
        let limit =
            if reader.stays.get() { Duration::from_secs(2) } else { until.saturating_sub(world.time.now()) };
        let limit = limit.min(Duration::from_secs(2));
        match before(conn.next(&world.time), world.time.sleep(limit)).await {
            Some(Some(Sight::Other { name, .. })) if name == "forbidden" => {
                reader.is_out.set(true);
                return reader.note(world, Sight::Ended(End::Ended));
            }
            Some(Some(sight)) => {
                reader.has_stream.set(true);
                reader.note(world, sight);
            }
            Some(None) => return reader.note(world, Sight::Ended(End::Broken(String::new()))),
            None if world.time.now() >= until && !reader.stays.get() => {
                return reader.note(world, Sight::Ended(End::Cut));
            }
            // Nobody answers, or there is nothing new: a heartbeat would tell which.
            None if !reader.has_stream.get() => return reader.note(world, Sight::Ended(End::Cut)),
            None => {}
        }
    }
}

fn own(at: loadtest::cursor::Cursor) -> Cursor {
    Cursor { epoch: Epoch(u32::try_from(at.epoch).unwrap_or(u32::MAX)), seq: Seq(at.seq) }
}
