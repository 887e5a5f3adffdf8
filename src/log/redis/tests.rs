//! The scripts and their model, call by call, on a real server.

use std::{collections::HashMap, sync::Arc};

use proptest::prelude::*;
use redis::{Value, from_redis_value, streams::StreamRangeReply};
use testbed::{Aof, Redis};
use tokio::runtime::Runtime;
use uuid::Uuid;

use super::{
    call::{APPEND, Answer, Call},
    keys::{self, Names},
    link::{Link, Wire},
    members,
    model::Partition,
    outbox,
};
use crate::{
    archive::Participant,
    event::{
        ClientId, Draft, Epoch, Event, EventKind, Extent, Membership, Right, Role, Room, RoomId, RoomKind,
        Seq, Text, User, UserId, UserKind,
    },
    log::{Append, Who},
};

/// A message at this place.
pub(crate) fn event(seq: u64) -> Event {
    Event {
        room: Arc::from("lobby"),
        epoch: Epoch(1),
        seq: Seq(seq),
        id: Uuid::from_u128(seq.into()),
        kind: EventKind::Message,
        target: None,
        user: user(0),
        text: Some(Arc::from("hi")),
        status: None,
        edited: None,
        by: None,
        ts: 1_732_240_000_123,
        client_id: None,
    }
}

fn user(n: u16) -> User {
    let id = UserId(Uuid::from_u128(n.into()));
    User { id, name: "Ann".parse().unwrap(), kind: UserKind::Guest }
}

/// Three rooms of one partition, the last with members.
fn room(n: u8) -> Room {
    let id = RoomId(Uuid::from_u128(u128::from(n) << 64 | 5));
    if n == 2 {
        return Room::of_members(id);
    }
    Room { id, label: format!("room \"{n}\"").into(), kind: RoomKind::Open }
}

/// Who is in the room with members when it is seeded.
fn members_of(room: &Room, count: u16) -> Vec<Participant> {
    let member = |n| Participant {
        user: user(n).id,
        membership: Membership { role: if n == 0 { Role::Owner } else { Role::Member }, from: Seq(1) },
        read: Seq(n.into()),
    };
    // Of many, some of those who want to join are not among them.
    let members = (0..count).map(|n| if n < 2 || count < 4 { n } else { n + 100 });
    if room.kind == RoomKind::Members { members.map(member).collect() } else { Vec::new() }
}

const PARTITION: u8 = 5;
const NAMES: Names = Names { generation: 7 };
/// Few, so that it is met.
const OUTBOX: u64 = 12;
const KEPT: u64 = 3;
const FIX_KEPT: i64 = 60_000;

/// What is done to both.
#[derive(Clone, Debug)]
enum Step {
    Append {
        room: u8,
        user: u16,
        draft: Draft,
        is_unknown: bool,
        author: Option<u16>,
    },
    /// With another generation, or another process.
    Astray {
        generation: i64,
        run_id: &'static str,
    },
    Seed {
        room: u8,
        tip: u64,
        retired: u64,
        members: u16,
    },
    Archived {
        n: u64,
    },
    /// Or earlier: the clocks of pods differ.
    Later {
        ms: i64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let text =
        prop_oneof![Just("hi"), Just("안녕 \"\\\n\u{0}"), Just("x")].prop_map(|s| s.parse::<Text>().unwrap());
    let client_id = prop_oneof![Just(None), Just(Some("a")), Just(Some("b"))]
        .prop_map(|id| id.map(|id| id.parse::<ClientId>().unwrap()));
    let target = (1u64..12).prop_map(Seq);
    let draft = prop_oneof![
        4 => (text.clone(), client_id).prop_map(|(text, client_id)| Draft::Message { text, client_id }),
        1 => (target.clone(), text).prop_map(|(target, text)| Draft::Edit { target, text }),
        1 => (target, prop_oneof![Just(Right::Author), Just(Right::Moderator)])
            .prop_map(|(target, right)| Draft::Delete { target, right }),
    ];
    let of_members = prop_oneof![
        1 => Just(Draft::Open),
        2 => (0u16..4).prop_map(|n| Draft::Join { member: user(n) }),
        2 => (0u16..4).prop_map(|n| Draft::Leave { member: user(n) }),
        4 => draft.clone(),
    ];
    let author = prop_oneof![Just(None), (0u16..2).prop_map(Some)];
    let append = prop_oneof![
        (0u8..2, 0u16..2, draft, any::<bool>(), author.clone()),
        (Just(2u8), 0u16..4, of_members, any::<bool>(), author),
    ];
    prop_oneof![
        18 => append.prop_map(|(room, user, draft, is_unknown, author)| Step::Append {
            room, user, draft, is_unknown, author
        }),
        1 => (6i64..9, prop_oneof![Just("run"), Just("ran")])
            .prop_map(|(generation, run_id)| Step::Astray { generation, run_id }),
        3 => (0u8..3, 0u64..4, 0u64..2, prop_oneof![6 => 1u16..4, 1 => Just(256)])
            .prop_map(|(room, tip, retired, members)| Step::Seed { room, tip, retired, members }),
        2 => (0u64..12).prop_map(|n| Step::Archived { n }),
        2 => prop_oneof![Just(1i64), Just(70_000), Just(-70_000), Just(keys::DAY_MS / 2), Just(keys::DAY_MS)]
            .prop_map(|ms| Step::Later { ms }),
    ]
}

/// The server, spoken to by the scripts alone.
struct Real {
    wire: Wire,
}

impl Real {
    async fn begin(mut wire: Wire, keys_since: i64) -> Self {
        let () = wire.ask(redis::pipe().cmd("FLUSHALL").ignore()).await.unwrap();
        let begin = redis::Script::new(include_str!("begin.lua"));
        let mut begin = begin.prepare_invoke();
        begin.key(keys::meta(PARTITION)).arg(NAMES.generation).arg("run").arg(keys_since);
        assert_eq!(wire.run::<Vec<String>>(&begin).await.unwrap(), ["OK"]);
        Real { wire }
    }

    async fn append(&mut self, call: &Call, generation: i64, run_id: &str, now: i64) -> Answer {
        let call = call.command(Names { generation }, run_id, now, OUTBOX);
        let answers = self.wire.run_all(&APPEND, vec![call]).await;
        Answer::read(answers[0].as_ref().unwrap()).expect("a known answer")
    }

    async fn seed(
        &mut self,
        room: RoomId,
        extent: &Extent,
        ts: i64,
        retired: u64,
        members: &[Participant],
    ) -> bool {
        let seed = redis::Script::new(include_str!("seed.lua"));
        let mut seed = seed.prepare_invoke();
        seed.key(keys::meta(PARTITION)).key(NAMES.room(room)).key(NAMES.recent(PARTITION));
        seed.key(NAMES.members(room)).key(NAMES.read(room));
        seed.arg(NAMES.generation).arg("run").arg(retired).arg(extent.epoch.0).arg(extent.base.0);
        seed.arg(extent.tip.0).arg(ts).arg(extent.first.0).arg("[]").arg(&room.0.as_bytes()[..]);
        for Participant { user, membership, read } in members {
            seed.arg(&user.0.as_bytes()[..]).arg(members::written(membership)).arg(read.0);
        }
        self.wire.run::<Vec<String>>(&seed).await.unwrap() == ["OK"]
    }

    async fn archived(&mut self, n: u64, rooms: &[(RoomId, Seq)], now: i64) {
        assert_eq!(self.archived_in(NAMES, n, rooms, now).await, ["OK"]);
    }

    async fn archived_in(&mut self, agreed: Names, n: u64, rooms: &[(RoomId, Seq)], now: i64) -> Vec<String> {
        let archived = redis::Script::new(include_str!("archived.lua"));
        let mut archived = archived.prepare_invoke();
        archived.key(keys::meta(PARTITION)).key(NAMES.out(PARTITION));
        archived.arg(agreed.generation).arg("run").arg(0).arg(n).arg(now).arg(KEPT).arg(FIX_KEPT);
        for (room, seq) in rooms {
            archived.key(NAMES.room(*room)).key(NAMES.log(*room)).key(NAMES.fix(*room)).arg(seq.0);
        }
        self.wire.run(&archived).await.unwrap()
    }

    async fn stream(&mut self, key: String) -> StreamRangeReply {
        let mut answers: Vec<Value> = self.wire.ask(redis::pipe().xrange_all(key)).await.unwrap();
        from_redis_value(answers.remove(0)).unwrap()
    }

    /// What is kept is what the model keeps.
    async fn is_like(&mut self, model: &Partition) -> Result<(), TestCaseError> {
        let out = self.stream(NAMES.out(PARTITION)).await;
        let found: Vec<_> = out.ids.iter().map(|id| (id.id.clone(), outbox::read(id).unwrap())).collect();
        let wanted: Vec<_> = model.out.iter().map(|(n, entry)| (format!("{n}-0"), entry.clone())).collect();
        prop_assert_eq!(found, wanted);
        let mail = self.stream(NAMES.mail(PARTITION)).await;
        let found: Vec<_> = mail.ids.iter().map(|id| (id.id.clone(), outbox::read(id).unwrap())).collect();
        let wanted: Vec<_> = model.mail.iter().map(|(n, entry)| (format!("{n}-0"), entry.clone())).collect();
        prop_assert_eq!(found, wanted);
        for (room, head) in &model.rooms {
            let log = self.stream(NAMES.log(*room)).await;
            let json: Vec<String> = log.ids.iter().map(|id| id.get("e").unwrap()).collect();
            let wanted = head.log.values().map(|entry| serde_json::to_string(&entry.event).unwrap());
            prop_assert_eq!(json, wanted.collect::<Vec<_>>());
            let mut answers: Vec<Value> = self
                .wire
                .ask(
                    redis::pipe()
                        .hmget(NAMES.room(*room), &["epoch", "seq", "ts", "archived"])
                        .hgetall(NAMES.fix(*room))
                        .hgetall(NAMES.members(*room))
                        .hgetall(NAMES.read(*room)),
                )
                .await
                .unwrap();
            let read: HashMap<Vec<u8>, u64> = from_redis_value(answers.pop().unwrap()).unwrap();
            let wanted = head.read.iter().map(|(user, seq)| (user.0.as_bytes().to_vec(), seq.0));
            prop_assert_eq!(read, wanted.collect::<HashMap<_, _>>());
            let found: HashMap<Vec<u8>, String> = from_redis_value(answers.pop().unwrap()).unwrap();
            let wanted = head.members.iter();
            let wanted = wanted.map(|(user, it)| (user.0.as_bytes().to_vec(), members::written(it)));
            prop_assert_eq!(found, wanted.collect::<HashMap<_, _>>());
            let fixes: HashMap<u64, String> = from_redis_value(answers.pop().unwrap()).unwrap();
            let fields: Vec<i64> = from_redis_value(answers.pop().unwrap()).unwrap();
            let numbers =
                [i64::from(head.epoch.0), head.seq.0.cast_signed(), head.ts, head.archived.0.cast_signed()];
            prop_assert_eq!(fields, numbers);
            let wanted = head.fixes.iter().map(|(seq, fixed)| {
                let kind = &fixed.kind.as_str()[..1];
                (seq.0, format!("{kind}{}:{}:{}", fixed.n, fixed.ts, fixed.text))
            });
            prop_assert_eq!(fixes, wanted.collect::<HashMap<_, _>>());
        }
        Ok(())
    }
}

async fn both(wire: Wire, keys_since: i64, steps: Vec<Step>) -> Result<(), TestCaseError> {
    // Noon, so that a step of half a day goes over midnight.
    let mut now = 20_000 * keys::DAY_MS + keys::DAY_MS / 2;
    let mut real = Real::begin(wire, now - keys_since).await;
    let mut model = Partition::default();
    model.begin(NAMES.generation, "run", now - keys_since);
    for step in steps {
        match step {
            Step::Append { room: n, user: u, draft, is_unknown, author } => {
                let user = user(u);
                let who = Who(user.id.0);
                let mut call = Call::new(Append { room: room(n), user, who, draft, ack: None }, None);
                call.is_unknown = is_unknown;
                call.author = author.map(|author| self::user(author).id);
                let answer = real.append(&call, NAMES.generation, "run", now).await;
                prop_assert_eq!(answer, model.append(&call, NAMES.generation, "run", now, OUTBOX));
            }
            Step::Astray { generation, run_id } => {
                let draft = Draft::Delete { target: Seq(1_000_000), right: Right::Author };
                let append = Append { room: room(0), user: user(0), who: Who(Uuid::nil()), draft, ack: None };
                let call = Call::new(append, None);
                let answer = real.append(&call, generation, run_id, now).await;
                prop_assert_eq!(answer, model.append(&call, generation, run_id, now, OUTBOX));
            }
            Step::Seed { room: n, tip, retired, members } => {
                let extent = Extent { tip: Seq(tip), ..Extent::empty(0) };
                let (room, members) = (room(n), members_of(&room(n), members));
                let is_done = real.seed(room.id, &extent, now - 5, retired, &members).await;
                prop_assert_eq!(is_done, model.seed(room.id, &extent, now - 5, retired, &members));
            }
            Step::Archived { n } => {
                let n = n.min(model.meta.as_ref().unwrap().n);
                let mut rooms: HashMap<RoomId, Seq> = HashMap::new();
                for (_, entry) in model.out.range(..=n) {
                    rooms.insert(entry.room, entry.event.seq);
                }
                real.archived(n, &rooms.into_iter().collect::<Vec<_>>(), now).await;
                model.archived(n, now, KEPT, FIX_KEPT);
            }
            Step::Later { ms } => now += ms,
        }
    }
    real.is_like(&model).await
}

#[test]
fn the_scripts_do_what_the_model_says() {
    let redis = Redis::with(Aof::Off, &[]);
    let runtime = Runtime::new().unwrap();
    let link = Link::new(&redis.url()).unwrap();
    let wire = runtime.block_on(link.wire()).unwrap();
    let cases = proptest::collection::vec(step(), 0..40);
    let keys_since = prop_oneof![Just(keys::DAY_MS * 2), Just(0), Just(keys::DAY_MS / 4)];
    proptest!(|(steps in cases, keys_since in keys_since)| {
        runtime.block_on(both(wire.clone(), keys_since, steps))?;
    });
}

#[test]
fn what_was_archived_of_an_older_generation_trims_nothing_of_this_one() {
    let redis = Redis::with(Aof::Off, &[]);
    Runtime::new().unwrap().block_on(async {
        let link = Link::new(&redis.url()).unwrap();
        let mut real = Real::begin(link.wire().await.unwrap(), 0).await;
        assert!(real.seed(room(0).id, &Extent::empty(0), 0, 0, &[]).await);
        let draft = Draft::Message { text: "hi".parse().unwrap(), client_id: None };
        let who = Who(Uuid::nil());
        let call = Call::new(Append { room: room(0), user: user(0), who, draft, ack: None }, None);
        real.append(&call, NAMES.generation, "run", 1).await;
        let older = Names { generation: NAMES.generation - 1 };
        assert_eq!(real.archived_in(older, 100, &[(room(0).id, Seq(100))], 1).await, ["FENCED"]);
        assert_eq!(real.stream(NAMES.out(PARTITION)).await.ids.len(), 1);
    });
}

#[test]
fn a_quiet_room_goes_with_its_members_once_the_archive_has_its_marks() {
    let redis = Redis::with(Aof::Off, &[]);
    Runtime::new().unwrap().block_on(async {
        let link = Link::new(&redis.url()).unwrap();
        let mut real = Real::begin(link.wire().await.unwrap(), 0).await;
        let rooms = [room(1), room(2)];
        for room in &rooms {
            let extent = Extent { tip: Seq(9), ..Extent::empty(0) };
            assert!(real.seed(room.id, &extent, 5, 0, &members_of(room, 2)).await);
        }
        let id = &rooms[1].id.0.as_bytes()[..];
        let mark = redis::Script::new(include_str!("mark.lua"));
        let mut mark = mark.prepare_invoke();
        mark.key(keys::meta(PARTITION)).key(NAMES.room(rooms[1].id)).key(NAMES.members(rooms[1].id));
        mark.key(NAMES.read(rooms[1].id))
            .key(NAMES.marked(PARTITION))
            .arg(NAMES.generation)
            .arg("run")
            .arg(id);
        mark.arg(&user(1).id.0.as_bytes()[..]).arg(100).arg("seq");
        assert_eq!(real.wire.run::<Vec<String>>(&mark).await.unwrap(), ["OK", "9"]);
        assert_eq!(real.wire.run::<Vec<String>>(&mark).await.unwrap(), ["SAME"]);
        let retire = redis::Script::new(include_str!("retire.lua"));
        let mut retire = retire.prepare_invoke();
        retire.key(keys::meta(PARTITION)).key(NAMES.recent(PARTITION)).key(NAMES.marked(PARTITION));
        retire.arg(NAMES.generation).arg("run").arg(0).arg(6);
        for room in &rooms {
            retire.key(NAMES.room(room.id)).key(NAMES.log(room.id)).key(NAMES.fix(room.id));
            retire.key(NAMES.members(room.id)).key(NAMES.read(room.id)).arg(&room.id.0.as_bytes()[..]);
        }
        assert_eq!(real.wire.run::<Vec<String>>(&retire).await.unwrap(), ["OK", "1"]);
        let script = redis::Script::new(include_str!("marked.lua"));
        // Another mark than the last is not the one that the archive has.
        for (number, left) in [("7", "1"), ("1", "0")] {
            let mut marked = script.prepare_invoke();
            marked.key(keys::meta(PARTITION)).key(NAMES.marked(PARTITION)).arg(NAMES.generation).arg("run");
            marked.arg(id).arg(number);
            assert_eq!(real.wire.run::<Vec<String>>(&marked).await.unwrap(), ["OK"]);
            assert_eq!(redis.command(&["ZCARD", &NAMES.marked(PARTITION)]), format!(":{left}"));
        }
        assert_eq!(real.wire.run::<Vec<String>>(&retire).await.unwrap(), ["OK", "2"]);
        for key in [NAMES.room(rooms[1].id), NAMES.members(rooms[1].id), NAMES.read(rooms[1].id)] {
            assert_eq!(redis.command(&["EXISTS", &key]), ":0");
        }
    });
}

#[test]
fn a_script_that_the_server_lost_is_given_to_it_again() {
    let redis = Redis::with(Aof::Off, &[]);
    Runtime::new().unwrap().block_on(async {
        let link = Link::new(&redis.url()).unwrap();
        let mut real = Real::begin(link.wire().await.unwrap(), 0).await;
        assert!(real.seed(room(0).id, &Extent::empty(0), 0, 0, &[]).await);
        let text = "hi".parse().unwrap();
        let draft = Draft::Message { text, client_id: None };
        let call =
            Call::new(Append { room: room(0), user: user(0), who: Who(Uuid::nil()), draft, ack: None }, None);
        for n in 1..=2 {
            let answer = real.append(&call, NAMES.generation, "run", 1).await;
            assert!(matches!(answer, Answer::Done { n: at, .. } if at == n), "{answer:?}");
            redis.command(&["SCRIPT", "FLUSH"]);
        }
        let many = vec![call.command(NAMES, "run", 1, OUTBOX); 3];
        let answers = real.wire.run_all(&APPEND, many).await;
        let answers: Vec<_> = answers.iter().map(|said| Answer::read(said.as_ref().unwrap())).collect();
        assert!(
            matches!(
                answers[..],
                [
                    Some(Answer::Done { n: 3, .. }),
                    Some(Answer::Done { n: 4, .. }),
                    Some(Answer::Done { n: 5, .. })
                ]
            ),
            "{answers:?}"
        );
    });
}

#[test]
fn a_connection_that_was_cut_is_made_anew_and_says_who_answers() {
    let mut redis = Redis::start();
    Runtime::new().unwrap().block_on(async {
        let link = Link::new(&redis.url()).unwrap();
        let mut before = link.wire().await.unwrap();
        redis.kill();
        redis.start_again();
        let failed = before.ask::<Value>(redis::pipe().ping()).await.unwrap_err();
        link.failed(&before, &failed);
        let after = link.wire().await.unwrap();
        assert_ne!(before.run_id, after.run_id);
    });
}
