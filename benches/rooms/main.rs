//! A page of somebody's room list, and a search by name: in a town of 100,000 people, for one of them who is in 1,000
//! rooms, and for one whose rooms are all full. Beside criterion's mean, the 99th of 100.
//!
//! [`town`] says what is in a store.

mod mariadb;
mod sqlite;
mod town;

use std::{
    any::Any,
    hint::black_box,
    time::{Duration, Instant},
};

use criterion::{Criterion, criterion_group, criterion_main};
use maru::{
    event::{ListPlace, Listed, MOST_MEMBERS, NameQuery, User, UserId},
    log::Log,
};
use tokio::runtime::Runtime;

use town::{FULL, Town};

const PAGE: usize = 30;
/// Calls that the 99th of 100 is found of.
const CALLS: usize = 1000;
/// The longest that it may take.
const MOST: Duration = Duration::from_millis(20);

/// What is measured.
struct Store {
    name: &'static str,
    log: Log,
    /// What it stands on, for as long.
    _kept: Box<dyn Any>,
}

impl Store {
    async fn page(&self, user: UserId, after: Option<ListPlace>) -> Vec<Listed> {
        self.log.rooms_of(user, after, PAGE).await.unwrap()
    }

    async fn search(&self, me: UserId, query: &NameQuery) -> Vec<User> {
        self.log.search(me, query.clone(), 20).await.unwrap()
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

fn measure(c: &mut Criterion, runtime: &Runtime, town: &Town, store: &Store) {
    let (me, full) = (town.people[0].id, town.people[1].id);
    let name = store.name;
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
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    measure(c, &runtime, &town, &sqlite::store(&town, &runtime));
    measure(c, &runtime, &town, &mariadb::store(&town, &runtime));
}

criterion_group!(benches, rooms);
criterion_main!(benches);
