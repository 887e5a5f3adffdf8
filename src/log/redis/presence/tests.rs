//! The scripts of presence and their model, call by call, on a real server.

use std::collections::BTreeSet;

use proptest::prelude::*;
use redis::{Value, from_redis_value};
use testbed::{Aof, Redis};
use tokio::runtime::Runtime;

use super::{
    model::{Known, People},
    owner::{burying, reaping},
    *,
};
use crate::log::{
    Notice, Passed,
    redis::link::{Link, Wire},
};

const PARTITION: u8 = 5;
/// Graces that are over at once, and that are not over while the test runs.
const GRACES: [u64; 2] = [0, 3_600_000];

fn agreed() -> Agreed {
    Agreed { generation: 7, run_id: "run".into() }
}

/// Two rooms of one partition.
fn room(n: u8) -> RoomId {
    RoomId(Uuid::from_u128(u128::from(n) << 64 | 5))
}

/// Ids with bytes that mean something to Lua, and to whoever reads them as text.
fn user(n: u8) -> UserId {
    UserId(Uuid::from_bytes([n, 0, b'%', b':', b'1', 255, 13, 10, 0, 0, 0, 0, 0, 0, 0, 7]))
}

fn pod(n: u8) -> Uuid {
    Uuid::from_bytes([b'1', n, 0, b':', b'%', b'2', 0, 255, 10, 13, 0, 0, 0, 0, 0, 1])
}

#[derive(Clone, Debug)]
enum Step {
    Move(u8, Move, usize),
    Reap(u8),
    Bury(u8, u8, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let name =
        prop_oneof![Just("Ann"), Just("9:안녕 \"\\/"), Just("x")].prop_map(|s| s.parse::<Name>().unwrap());
    let again =
        prop_oneof![2 => Just(None), 1 => name.clone().prop_map(|name| Some((name, UserKind::Guest)))];
    let quiet = prop_oneof![3 => Just(Quiet::No), 1 => Just(Quiet::Yes)];
    let what = prop_oneof![
        4 => (name.clone(), quiet).prop_map(|(name, quiet)| What::Enter(name, UserKind::Guest, quiet)),
        4 => (any::<bool>(), again).prop_map(|(is_last, again)| What::Leave { is_last, again }),
        1 => name.prop_map(What::Rename),
    ];
    prop_oneof![
        10 => (0u8..3, 0u8..2, 0u8..4, what, 0usize..2).prop_map(|(pod, at, who, what, grace)| {
            Step::Move(pod, Move { room: room(at), user: user(who), what }, grace)
        }),
        2 => (0u8..2).prop_map(Step::Reap),
        1 => (0u8..2, 0u8..3, 0usize..2).prop_map(|(room, pod, grace)| Step::Bury(room, pod, grace)),
    ]
}

/// What a script answered beside `OK`.
async fn run(wire: &mut Wire, call: &ScriptInvocation<'_>) -> Vec<String> {
    let mut answer: Vec<String> = wire.run(call).await.unwrap();
    assert_eq!(answer.remove(0), "OK");
    answer
}

/// What the pods hear of it.
fn passed(said: &str) -> Option<Passed> {
    match Notice::heard(room(0).into(), said.as_bytes()) {
        Some(Notice::Passed(_, passed)) => Some(passed),
        Some(other) => panic!("{other:?}"),
        None => None,
    }
}

async fn ask<T: redis::FromRedisValue>(wire: &mut Wire, command: redis::Cmd) -> T {
    let mut answers: Vec<Value> = wire.ask(redis::pipe().add_command(command)).await.unwrap();
    from_redis_value(answers.remove(0)).unwrap()
}

/// What is kept is what the model keeps.
async fn is_like(wire: &mut Wire, model: &People) -> Result<(), TestCaseError> {
    let names = agreed().names();
    let mut pods = BTreeSet::new();
    for room in [room(0), room(1)] {
        let found: Vec<(Vec<u8>, Vec<u8>)> = ask(wire, redis::Cmd::hgetall(names.here(room))).await;
        prop_assert_eq!(found.len(), model.online(room));
        for (id, value) in found {
            let User { id, name, kind } = read(&id, &value).unwrap();
            let Known { name: known, pods, .. } = &model.here[&(room, id)];
            prop_assert_eq!((&name, kind), (known, UserKind::Guest));
            let at = value.len() - name.as_str().len() - 16 * pods.len();
            let written: BTreeSet<Uuid> = value[at..at + 16 * pods.len()]
                .chunks(16)
                .map(|pod| Uuid::from_slice(pod).unwrap())
                .collect();
            prop_assert_eq!(&written, pods);
            let head = format!("guest{}:", pods.len()).into_bytes();
            prop_assert_eq!(&value[..at], &head[..]);
        }
    }
    let graces: Vec<Vec<u8>> = ask(wire, redis::Cmd::zrange(names.grace(PARTITION), 0, -1)).await;
    let graces: BTreeSet<Vec<u8>> = graces.into_iter().collect();
    let wanted = model.grace.keys().map(|(room, user)| [*room.0.as_bytes(), *user.0.as_bytes()].concat());
    prop_assert_eq!(graces, wanted.collect::<BTreeSet<_>>());
    for n in 0..3 {
        let rooms: BTreeSet<Vec<u8>> = ask(wire, redis::Cmd::smembers(names.at(PARTITION, pod(n)))).await;
        let wanted =
            model.at.iter().filter(|(of, _)| *of == pod(n)).map(|(_, room)| room.0.as_bytes().to_vec());
        prop_assert_eq!(&rooms, &wanted.collect::<BTreeSet<_>>());
        if !rooms.is_empty() {
            pods.insert(pod(n).as_bytes().to_vec());
        }
    }
    let found: BTreeSet<Vec<u8>> = ask(wire, redis::Cmd::smembers(names.pods(PARTITION))).await;
    prop_assert_eq!(found, pods);
    Ok(())
}

async fn begin(wire: &mut Wire) {
    let () = wire.ask(redis::pipe().cmd("FLUSHALL").ignore()).await.unwrap();
    let meta = [("generation", "7"), ("run", "run"), ("token", "3")];
    let () = ask(wire, redis::Cmd::hset_multiple(keys::meta(PARTITION), &meta)).await;
}

async fn both(mut wire: Wire, steps: Vec<Step>) -> Result<(), TestCaseError> {
    begin(&mut wire).await;
    let mut model = People::default();
    for step in steps {
        match step {
            Step::Move(n, each, grace) => {
                let call = invocation(&agreed(), pod(n), &each, "", GRACES[grace]);
                let answer = run(&mut wire, &call).await;
                let (moved, told) = model.apply(pod(n), &each, grace as u64);
                prop_assert_eq!(answer.get(2).is_some_and(|word| word == "first"), moved.is_first);
                prop_assert_eq!((&answer[0], passed(&answer[1])), (&moved.online.to_string(), told));
            }
            Step::Reap(n) => {
                let users = [0, 1, 2, 3].map(user);
                let users: Vec<&[u8]> = users.iter().map(|user| &user.0.as_bytes()[..]).collect();
                let answer = run(&mut wire, &reaping(&agreed(), 3, room(n), &users, "")).await;
                let mut told = passed(&answer[1]);
                if let Some(told) = &mut told {
                    told.left.sort_unstable_by_key(|person| person.id);
                }
                prop_assert_eq!(told, model.reap(room(n), 0));
                prop_assert_eq!(&answer[0], &model.online(room(n)).to_string());
            }
            Step::Bury(n, of, grace) => {
                let call = burying(&agreed(), 3, room(n), pod(of), "0", GRACES[grace]);
                prop_assert_eq!(run(&mut wire, &call).await, ["0"]);
                model.bury(room(n), pod(of), grace as u64);
            }
        }
    }
    is_like(&mut wire, &model).await
}

#[test]
fn the_scripts_do_what_the_model_says() {
    let redis = Redis::with(Aof::Off, &[]);
    let runtime = Runtime::new().unwrap();
    let link = Link::new(&redis.url()).unwrap();
    let wire = runtime.block_on(link.wire()).unwrap();
    proptest!(|(steps in proptest::collection::vec(step(), 0..40))| {
        runtime.block_on(both(wire.clone(), steps))?;
    });
}

#[test]
fn whoever_means_another_server_changes_nothing() {
    let redis = Redis::with(Aof::Off, &[]);
    Runtime::new().unwrap().block_on(async {
        let mut wire = Link::new(&redis.url()).unwrap().wire().await.unwrap();
        begin(&mut wire).await;
        let enter = What::Enter("Ann".parse().unwrap(), UserKind::Guest, Quiet::No);
        let leave = What::Leave { is_last: true, again: Some(("Ann".parse().unwrap(), UserKind::Guest)) };
        for (generation, run_id) in [(6, "run"), (8, "run"), (7, "ran")] {
            let astray = Agreed { generation, run_id: run_id.into() };
            for what in [enter.clone(), leave.clone(), What::Rename("Bob".parse().unwrap())] {
                let each = Move { room: room(0), user: user(0), what };
                let call = invocation(&astray, pod(0), &each, "", 0);
                assert_eq!(wire.run::<Vec<String>>(&call).await.unwrap(), ["FENCED"]);
            }
            for call in [reaping(&astray, 3, room(0), &[], ""), burying(&astray, 3, room(0), pod(0), "0", 0)]
            {
                assert_eq!(wire.run::<Vec<String>>(&call).await.unwrap(), ["FENCED"]);
            }
        }
        for call in [reaping(&agreed(), 2, room(0), &[], ""), burying(&agreed(), 2, room(0), pod(0), "0", 0)]
        {
            assert_eq!(wire.run::<Vec<String>>(&call).await.unwrap(), ["LOST"]);
        }
        let keys: Vec<String> = ask(&mut wire, redis::Cmd::keys("*")).await;
        assert_eq!(keys, [keys::meta(PARTITION)]);
    });
}
