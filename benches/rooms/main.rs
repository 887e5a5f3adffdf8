//! A page of somebody's room list, and a search by name: in a town of 100,000 people, for one of them who is in 1,000
//! rooms, and for one whose rooms are all full. Beside criterion's mean, the 99th of 100.
//!
//! A store is measured by what it has under [`Store`]; [`Town`] says what is in it, and is the same for all.

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use criterion::{Criterion, criterion_group, criterion_main};
use maru::{
    event::{ListPlace, Listed, MOST_MEMBERS, Name, NameQuery, RoomId, SearchKeys, User, UserId, UserKind},
    log::{Log, SqliteLog},
};
use rusqlite::{Connection, params};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use uuid::Uuid;

const PEOPLE: usize = 100_000;
/// Rooms of the one who is measured.
const ROOMS: usize = 1000;
/// Rooms of others, so that the tables are of some size.
const OTHERS: usize = 20_000;
/// Rooms of the one whose rooms are all full.
const FULL: usize = 30;
/// Messages of each room.
const MESSAGES: usize = 200;
const PAGE: usize = 30;
/// Calls that the 99th of 100 is found of.
const CALLS: usize = 1000;
/// The longest that it may take.
const MOST: Duration = Duration::from_millis(20);
/// The time of the first message, in ms since 1970.
const BEGAN: i64 = 1_732_240_000_000;

/// A room with as many messages as it says, the newest `unread` of which the first member has not read.
struct Place {
    id: RoomId,
    is_direct: bool,
    members: Vec<usize>,
    messages: usize,
    unread: usize,
    last_ts: i64,
}

/// Who is there, and in which rooms. The first person has [`ROOMS`] rooms, the second [`FULL`].
struct Town {
    people: Vec<User>,
    rooms: Vec<Place>,
}

/// Numbers that look drawn and are the same each time (SplitMix64).
struct Draw(u64);

impl Draw {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut n = self.0;
        n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((n ^ (n >> 31)) % end as u64) as usize
    }

    fn id(&mut self) -> Uuid {
        let (high, low) = (self.below(usize::MAX), self.below(usize::MAX));
        uuid::Builder::from_random_bytes((((high as u128) << 64) | low as u128).to_be_bytes()).into_uuid()
    }
}

impl Town {
    fn new() -> Self {
        let mut draw = Draw(1);
        let people = (0..PEOPLE).map(|_| person(&mut draw)).collect();
        let mut town = Town { people, rooms: Vec::new() };
        for n in 0..ROOMS {
            // One of ten is a group, one of two hundred a full one.
            let size = match n {
                _ if n % 200 == 0 => MOST_MEMBERS,
                _ if n % 10 == 0 => 8 + draw.below(24),
                _ => 2,
            };
            town.add(&mut draw, 0, size, MESSAGES);
        }
        for _ in 0..FULL {
            town.add(&mut draw, 1, MOST_MEMBERS, MESSAGES);
        }
        for _ in 0..OTHERS {
            let first = 2 + draw.below(PEOPLE - 2);
            town.add(&mut draw, first, 2, 5);
        }
        town
    }

    fn add(&mut self, draw: &mut Draw, first: usize, size: usize, messages: usize) {
        let mut members = vec![first];
        while members.len() < size {
            let other = 2 + draw.below(PEOPLE - 2);
            if !members.contains(&other) {
                members.push(other);
            }
        }
        let (id, is_direct) = (RoomId(draw.id()), size == 2);
        let (unread, last_ts) = (draw.below(messages), BEGAN + draw.below(1_000_000_000) as i64);
        self.rooms.push(Place { id, is_direct, members, messages, unread, last_ts });
    }
}

/// Half of them have a Korean name of three syllables, half one of Latin letters.
fn person(draw: &mut Draw) -> User {
    let id = UserId(draw.id());
    let name: String = match draw.below(2) {
        0 => (0..3).map(|_| char::from_u32(0xac00 + draw.below(11_172) as u32).unwrap()).collect(),
        _ => (0..8).map(|_| char::from(b'a' + draw.below(26) as u8)).collect(),
    };
    User { id, name: name.parse::<Name>().unwrap(), kind: UserKind::Guest }
}

/// What is measured.
trait Store {
    fn name(&self) -> &'static str;
    async fn page(&self, user: UserId, after: Option<ListPlace>) -> Vec<Listed>;
    async fn search(&self, me: UserId, query: &NameQuery) -> Vec<User>;
}

/// The log of one machine.
struct Sqlite {
    log: Log,
    _data: TempDir,
}

impl Store for Sqlite {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    async fn page(&self, user: UserId, after: Option<ListPlace>) -> Vec<Listed> {
        self.log.rooms_of(user, after, PAGE).await.unwrap()
    }

    async fn search(&self, me: UserId, query: &NameQuery) -> Vec<User> {
        self.log.search(me, query.clone(), 20).await.unwrap()
    }
}

impl Sqlite {
    fn of(town: &Town, runtime: &Runtime) -> Self {
        let data = TempDir::new().unwrap();
        let log = SqliteLog::open(data.path(), |_| {}).unwrap();
        runtime.block_on(Log::Sqlite(Arc::new(log)).close());
        let mut connection = Connection::open(data.path().join("maru.db")).unwrap();
        let filling = connection.transaction().unwrap();
        for user in &town.people {
            let SearchKeys { name, initials } = SearchKeys::of(&user.name);
            filling
                .prepare_cached(
                    "INSERT INTO users (id, kind, name, name_key, initials, created)
                     VALUES (?1, 'guest', ?2, ?3, ?4, 0)",
                )
                .unwrap()
                .execute(params![user.id.0.as_bytes(), user.name.as_str(), name, initials])
                .unwrap();
        }
        town.rooms.iter().for_each(|place| fill(&filling, town, place));
        filling.commit().unwrap();
        drop(connection);
        let log = Log::Sqlite(Arc::new(SqliteLog::open(data.path(), |_| {}).unwrap()));
        Sqlite { log, _data: data }
    }
}

fn fill(filling: &Connection, town: &Town, place: &Place) {
    let id = &place.id.0.as_bytes()[..];
    let kind = if place.is_direct { "direct" } else { "group" };
    filling
        .prepare_cached("INSERT INTO rooms VALUES (?1, ?2, NULL, NULL, 1, 0, ?3, 1, ?4, 0)")
        .unwrap()
        .execute(params![id, kind, place.messages, place.last_ts])
        .unwrap();
    for (n, member) in place.members.iter().enumerate() {
        let read = if n == 0 { place.messages - place.unread } else { 0 };
        filling
            .prepare_cached("INSERT INTO participants VALUES (?1, ?2, 'member', ?3, 1, ?4)")
            .unwrap()
            .execute(params![id, town.people[*member].id.0.as_bytes(), n + 1, read])
            .unwrap();
    }
    for seq in 1..=place.messages {
        let speaker = &town.people[place.members[1 + seq % (place.members.len() - 1)]];
        filling
            .prepare_cached(
                "INSERT INTO messages (room_id, seq, epoch, id, kind, user_id, user_kind, user_name, text, ts,
                 counted) VALUES (?1, ?2, 1, ?1, 'message', ?3, 'guest', ?4, ?5, ?6, 1)",
            )
            .unwrap()
            .execute(params![
                id,
                seq,
                speaker.id.0.as_bytes(),
                speaker.name.as_str(),
                "where shall we meet tonight, and who brings what?",
                place.last_ts - (place.messages - seq) as i64,
            ])
            .unwrap();
    }
}

/// What this process has had of the processors.
fn worked() -> Duration {
    let worked = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    worked.try_into().expect("a process has had some time")
}

/// Each call in its turn; says the 99th of 100, and whether that is too long. Where others use the machine too, what a
/// call needed of a processor says more.
fn p99(store: &str, what: &str, mut call: impl FnMut()) {
    let before = worked();
    let mut took: Vec<Duration> = (0..CALLS)
        .map(|_| {
            let began = Instant::now();
            call();
            began.elapsed()
        })
        .collect();
    let worked = (worked() - before) / CALLS as u32;
    took.sort_unstable();
    let (half, p99) = (took[CALLS / 2], took[CALLS * 99 / 100]);
    let verdict = if p99 <= MOST { "within" } else { "NOT within" };
    println!("{store}: {what}: p50 {half:?}, p99 {p99:?}, {verdict} {MOST:?}; processor {worked:?}");
}

fn measure(c: &mut Criterion, runtime: &Runtime, town: &Town, store: &impl Store) {
    let (me, full) = (town.people[0].id, town.people[1].id);
    let name = store.name();
    // Every page in turn, so that the slowest are among them.
    let mut after = None;
    let mut walk = || {
        let page = runtime.block_on(store.page(me, after));
        after = page.last().filter(|_| page.len() == PAGE).map(|last| last.place);
        assert!(!page.is_empty() && page.iter().all(|listed| listed.last.is_some()));
        black_box(&page);
    };
    p99(name, "a page of 30 of 1,000 rooms", &mut walk);
    c.bench_function(&format!("{name}/rooms"), |b| b.iter(&mut walk));
    let mut crowd = || {
        let page = runtime.block_on(store.page(full, None));
        assert!(page.len() == FULL && page[0].room.members.len() == MOST_MEMBERS);
        black_box(&page);
    };
    p99(name, "a page of 30 full groups", &mut crowd);
    c.bench_function(&format!("{name}/full groups"), |b| b.iter(&mut crowd));
    for (what, typed) in [("a letter", "m"), ("a prefix", "mar"), ("a syllable", "마"), ("initials", "ㅁㄹ")]
    {
        let query = NameQuery::new(typed).unwrap();
        let mut search = || {
            let found = runtime.block_on(store.search(me, &query));
            assert!(!found.is_empty());
            black_box(&found);
        };
        p99(name, &format!("a search by {what}"), &mut search);
        c.bench_function(&format!("{name}/search by {what}"), |b| b.iter(&mut search));
    }
}

fn rooms(c: &mut Criterion) {
    let town = Town::new();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    measure(c, &runtime, &town, &Sqlite::of(&town, &runtime));
}

criterion_group!(benches, rooms);
criterion_main!(benches);
