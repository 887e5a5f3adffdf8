//! One run from its beginning to its judgement.

use std::{rc::Rc, time::Duration};

use super::{
    judge::{HEALED, Record},
    plan::Plan,
    pod::Pod,
    reader::Reader,
    speaker::Speaker,
    stream::cursor,
    time::before,
    world::World,
};
use crate::{event::Seq, hub::ReadLog, log::Standing};

/// How long after the last fault everybody has to have been answered: leases of 10 s, and what waits for each other.
const ANSWERED: Duration = Duration::from_secs(45);
/// When all is over, an answer takes at most as long as the lease of a pod that died, whose partitions wait for it.
const ANSWERED_LAST: Duration = Duration::from_secs(15);
/// And then the archive has everything and readers have read to the end.
const SETTLED: Duration = Duration::from_secs(25);
/// A pod that died is forgotten within 30 s, and a grace takes 10 s more.
const PRESENCE: Duration = Duration::from_secs(45);

/// What came of a run.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub(super) complaints: Vec<String>,
    /// Messages in all rooms.
    pub(super) kept: usize,
    pub(super) fences: u64,
    pub(super) left_out: u64,
    /// A room began a new epoch.
    pub(super) is_torn: bool,
    pub(super) polls: u64,
}

/// Runs a plan.
pub(super) fn run(plan: &Plan) -> Outcome {
    let world = World::new(plan);
    let speakers: Vec<_> = (0..plan.speakers).map(|n| Speaker::start(&world, n)).collect();
    let readers: Vec<_> = (0..plan.readers).map(|n| Reader::start(&world, n)).collect();
    let record = Record { world: Rc::clone(&world), speakers, readers, late: Vec::new() };
    let (done, ended) = tokio::sync::oneshot::channel();
    let time = world.time.clone();
    world.time.spawn(0, async move {
        let record = direct(record).await;
        _ = done.send(record);
        time.halt();
    });
    world.time.run_until(Duration::from_secs(100_000));
    let record = { ended }.try_recv().expect("a run comes to an end");
    let outcome = Outcome {
        complaints: record.complaints(),
        kept: world.mysql.tables.borrow().messages.len(),
        fences: world.note.borrow().fences,
        left_out: world.note.borrow().left_out,
        is_torn: world.mysql.tables.borrow().rooms.values().any(|held| held.epoch.0 > 1),
        polls: world.time.polls(),
    };
    drop(record);
    world.end();
    outcome
}

/// Waits for everything to come to rest, and says what does not.
async fn direct(mut record: Record) -> Record {
    let world = Rc::clone(&record.world);
    let time = &world.time;
    time.sleep_until(world.plan.healed()).await;
    let until =
        time.now() + ANSWERED + Duration::from_secs(4) * u32::try_from(world.plan.messages).unwrap_or(0);
    while time.now() < until && !record.speakers.iter().all(|speaker| speaker.is_done.get()) {
        time.sleep(Duration::from_millis(100)).await;
    }
    for (n, speaker) in record.speakers.iter().enumerate().filter(|(_, speaker)| !speaker.is_done.get()) {
        record.late.push(format!(
            "P10: speaker {n} is not answered any more: {:?}",
            speaker.attempts.borrow().last()
        ));
    }
    time.sleep_until(world.plan.healed() + HEALED).await;
    let until = time.now() + SETTLED;
    while time.now() < until && !is_settled(&world) {
        time.sleep(Duration::from_millis(100)).await;
    }
    if !is_settled(&world) {
        record.late.push("P10: the archive does not get what Redis has, or the pods do not agree".into());
    }
    // So that what began since is seen to have begun.
    let last: Vec<_> = (0..world.plan.rooms).map(|room| Speaker::start_last(&world, room)).collect();
    let until = time.now() + ANSWERED_LAST;
    while time.now() < until && !last.iter().all(|last| last.is_done.get()) {
        time.sleep(Duration::from_millis(100)).await;
    }
    if record.late.is_empty() && !last.iter().all(|last| last.is_done.get()) {
        let silent = last.iter().find(|last| !last.is_done.get());
        let attempt = silent.and_then(|silent| silent.attempts.borrow().last().cloned());
        record.late.push(format!("P10: when all is over, somebody is not answered: {attempt:?}"));
    }
    record.speakers.extend(last);
    let until = time.now() + SETTLED;
    while time.now() < until && !is_settled(&world) {
        time.sleep(Duration::from_millis(100)).await;
    }
    if world.plan.presence {
        time.sleep(PRESENCE).await;
    }
    if record.late.is_empty() {
        record.late = differences(&world).await;
    }
    record.readers.iter().for_each(|reader| reader.stays.set(true));
    let until = time.now() + SETTLED;
    while time.now() < until && !record.readers.iter().all(|reader| has_all(&world, reader)) {
        time.sleep(Duration::from_millis(100)).await;
    }
    let reading = record.readers.iter().filter(|reader| !reader.is_out.get());
    reading.for_each(|reader| reader.log.borrow_mut().reads_to_the_end());
    record
}

/// Do the pods agree, and has the archive everything?
fn is_settled(world: &World) -> bool {
    let pods = world.pods.borrow();
    let stand = |pod: &Rc<Pod>| matches!(*pod.standing.borrow(), Standing::Agreed(_));
    let is_empty = world.redis.store.borrow().partitions.values().all(|of| of.out.is_empty());
    pods.iter().all(|pod| pod.as_ref().is_some_and(stand)) && is_empty
}

fn has_all(world: &World, reader: &Reader) -> bool {
    let room = world.rooms[reader.room].id;
    let tables = world.mysql.tables.borrow();
    let tip = tables.messages.range((room, Seq(0))..=(room, Seq::MAX)).next_back();
    let tip = tip.map(|(_, entry)| cursor(entry.event.cursor()));
    let at = reader.log.borrow().cursor();
    reader.is_out.get() || reader.has_stream.get() && (tip.is_none() || at >= tip)
}

/// Rooms that a pod gives out otherwise than the archive has them (P7, P10).
async fn differences(world: &Rc<World>) -> Vec<String> {
    let mut found = Vec::new();
    for room in &world.rooms {
        for number in 0..world.plan.pods {
            let Some(pod) = world.pod(number) else { continue };
            let (answer, answered) = tokio::sync::oneshot::channel();
            let (asked, of) = (Rc::clone(&pod), room.clone());
            pod.spawn(async move { _ = answer.send(ReadLog::read(&*asked, &of, Seq(0), 10_000).await) });
            let read = before(answered, world.time.sleep(Duration::from_secs(10))).await;
            let Some(Ok(Ok(frames))) = read else {
                found.push(format!("P10: pod {number} cannot read {}", room.label));
                continue;
            };
            let tables = world.mysql.tables.borrow();
            let kept = tables.messages.range((room.id, Seq(0))..=(room.id, Seq::MAX));
            let kept: Vec<_> = kept.map(|(_, entry)| crate::event::Frame::new(&entry.event)).collect();
            if kept != frames {
                let (gives, has) = (frames.len(), kept.len());
                found.push(format!(
                    "P7: pod {number} gives {gives} events of {}, the table has {has}",
                    room.label
                ));
            }
        }
    }
    found
}
