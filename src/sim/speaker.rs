//! Speakers: each says what it has to say, again and again until it is answered, wherever there is a pod.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use loadtest::checker::{Ack as Acknowledged, Act, Attempt, Outcome};

use super::{
    stream::cursor,
    time::{Rng, before},
    world::{World, user},
};
use crate::{
    event::{Draft, Right, Seq},
    log::{Ack, Append, LogErrorKind, Placed, Who},
};

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// What a speaker did.
pub(super) struct Speaker {
    pub(super) room: usize,
    pub(super) attempts: RefCell<Vec<Attempt>>,
    pub(super) is_done: Cell<bool>,
}

impl Speaker {
    pub(super) fn start(world: &Rc<World>, n: usize) -> Rc<Self> {
        let room = n % world.plan.rooms;
        let speaker = Rc::new(Speaker { room, attempts: RefCell::default(), is_done: Cell::new(false) });
        world.time.spawn(0, speak(Rc::clone(world), Rc::clone(&speaker), n, world.plan.messages));
        speaker
    }

    /// Somebody who says one thing in a room.
    pub(super) fn start_last(world: &Rc<World>, room: usize) -> Rc<Self> {
        let speaker = Rc::new(Speaker { room, attempts: RefCell::default(), is_done: Cell::new(false) });
        world.time.spawn(0, speak(Rc::clone(world), Rc::clone(&speaker), 100 + room, 1));
        speaker
    }
}

async fn speak(world: Rc<World>, speaker: Rc<Speaker>, n: usize, messages: usize) {
    let rng = Rng::of(world.plan.seed, 100 + n as u64);
    let mut said: Vec<u64> = Vec::new();
    let mut pod = rng.index(world.plan.pods);
    let pace = [200, 1000, 2500][rng.index(3)];
    for count in 0..messages {
        world.time.sleep(rng.millis(20, pace)).await;
        let target = said.get(rng.index(said.len().max(1))).copied();
        let act = match (rng.index(12), target) {
            (0, Some(target)) => Act::Edit { target, text: format!("{n}:{count} edited") },
            (1, Some(target)) => {
                said.retain(|seq| *seq != target);
                Act::Delete { target }
            }
            _ => Act::Say(format!("{n}:{count}")),
        };
        let client_id = matches!(act, Act::Say(_)).then(|| format!("{n}-{count}"));
        let ack = (rng.one_in(6)).then_some(Ack::Stored);
        loop {
            let sent = world.time.now();
            let outcome = post(&world, &rng, pod, n, speaker.room, &act, client_id.as_deref(), ack).await;
            let (answered, person) = (world.time.now(), format!("{n}"));
            let is_gone = matches!(&outcome, Outcome::Refused { status: 404, .. });
            if let (Outcome::Acknowledged(ack), Act::Say(_)) = (&outcome, &act) {
                said.push(ack.cursor.seq);
            }
            let is_done = is_gone || matches!(outcome, Outcome::Acknowledged(_));
            let (client_id, act) = (client_id.clone(), act.clone());
            let server = format!("pod {pod}");
            let attempt = Attempt { person, client_id, server, act, sent, answered, outcome };
            speaker.attempts.borrow_mut().push(attempt);
            if is_done {
                break;
            }
            pod = rng.index(world.plan.pods);
            world.time.sleep(rng.millis(50, 600)).await;
        }
    }
    speaker.is_done.set(true);
}

#[expect(clippy::too_many_arguments, reason = "a request is many things")]
async fn post(
    world: &Rc<World>,
    rng: &Rng,
    pod: usize,
    n: usize,
    room: usize,
    act: &Act,
    client_id: Option<&str>,
    ack: Option<Ack>,
) -> Outcome {
    world.time.sleep(rng.micros(100, 2000)).await;
    let Some(pod) = world.pod(pod) else { return refused(0, "nobody there") };
    let draft = match act {
        Act::Say(text) => Draft::Message {
            text: text.parse().expect("it is a text"),
            client_id: client_id.map(|id| id.parse().expect("it is a client_id")),
        },
        Act::Edit { target, text } => {
            Draft::Edit { target: Seq(*target), text: text.parse().expect("it is a text") }
        }
        Act::Delete { target } => Draft::Delete { target: Seq(*target), right: Right::Author },
    };
    let user = user(1000 + n);
    let append = Append { room: world.rooms[room].clone(), who: Who(user.id.0), user, draft, ack };
    let (answer, answered) = tokio::sync::oneshot::channel();
    let (asked, back) = (Rc::clone(&pod), rng.micros(100, 2000));
    pod.spawn(async move {
        let placed = asked.append(append).await;
        if let Ok(placed) = &placed {
            asked.world.note_stored(room, *placed);
        }
        _ = answer.send(placed);
    });
    drop(pod);
    let outcome = match before(answered, world.time.sleep(PATIENCE)).await {
        None => Outcome::Unknown("no answer in time".into()),
        Some(Err(_)) => Outcome::Unknown("the connection broke".into()),
        Some(Ok(Ok(placed))) => Outcome::Acknowledged(acknowledged(&placed)),
        Some(Ok(Err(e))) => match e.kind {
            LogErrorKind::OutcomeUnknown => Outcome::Unknown("outcome_unknown".into()),
            LogErrorKind::NotFound => refused(404, "not_found"),
            LogErrorKind::Unavailable => refused(503, "store_unavailable"),
            LogErrorKind::Overloaded => refused(503, "overloaded"),
            other => refused(422, &format!("{other:?}")),
        },
    };
    world.time.sleep(back).await;
    outcome
}

fn refused(status: u16, code: &str) -> Outcome {
    Outcome::Refused { status, code: code.to_owned() }
}

fn acknowledged(placed: &Placed) -> Acknowledged {
    Acknowledged {
        cursor: cursor(placed.cursor),
        id: placed.id.to_string(),
        ts: placed.ts.unsigned_abs(),
        duplicate: placed.duplicate,
    }
}
