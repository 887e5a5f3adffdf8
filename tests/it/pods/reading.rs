//! Readers on all pods: the same bytes, in the same order, from any of them.

use std::{collections::HashSet, time::Duration};

use loadtest::stream::{Listen, Next};

use crate::{
    harness::{Maru, at_length, deadline},
    trial::{Cast, Trial},
};

#[test]
fn every_reader_on_every_pod_gets_the_same_bytes_in_the_same_order() {
    let messages = at_length(2000);
    let messages = messages.div_ceil(6);
    let cast = Cast { rooms: 1, speakers: 6, readers: 20, messages, wanders: false, pause: Duration::ZERO };
    let trial = Trial::run(Maru::start(), &cast, |_, _| {});
    trial.assert_nothing_is_missing();
    let said = cast.messages * 6;
    assert_eq!(trial.kept() as u64, said);
    let mut seen: Vec<Vec<_>> = trial.readers().map(|reader| reader.events().collect()).collect();
    let first = seen.pop().unwrap();
    assert_eq!(first.len() as u64, said);
    assert!(seen.iter().all(|other| *other == first), "readers differ");
    let counts =
        trial.maru.servers().database.sql(
            "SELECT COUNT(*), COUNT(DISTINCT seq), MIN(seq), MAX(seq), COUNT(DISTINCT id) FROM messages",
        );
    assert_eq!(counts, format!("{said}\t{said}\t1\t{said}\t{said}"));
}

#[test]
fn readers_that_wander_from_pod_to_pod_miss_nothing_and_see_nothing_twice() {
    let trial =
        Trial::run(Maru::start(), &Cast { readers: 20, messages: at_length(150), ..Cast::SMALL }, |_, _| {});
    trial.assert_nothing_is_missing();
}

#[test]
fn a_reader_follows_its_cursor_from_pod_to_pod() {
    let maru = Maru::start();
    let pods: Vec<_> = maru.doors().all().to_vec();
    let messages = at_length(300);
    std::thread::scope(|scope| {
        for speaker in 0..3 {
            let maru = &maru;
            scope.spawn(move || {
                for n in 0..messages / 3 {
                    assert_eq!(maru.say("lobby", &format!("{speaker} {n}")).status, 201);
                }
            });
        }
        let (mut at, mut visited) = (0, HashSet::new());
        for turn in 0.. {
            let pod = pods[turn % pods.len()];
            visited.insert(pod);
            let mut stream = Listen::to("/r/lobby").after(&format!("1-{at}")).open(pod).unwrap();
            for _ in 0..4 {
                match stream.next_event(deadline()).unwrap() {
                    Next::Event(event) if event.name == "message" => {
                        at += 1;
                        assert_eq!(event.id, Some(format!("1-{at}")));
                    }
                    Next::Event(event) => {
                        assert!(matches!(event.name.as_str(), "hello" | "live"), "{event:?}");
                    }
                    other => panic!("{other:?} after 1-{at}"),
                }
                if at == messages {
                    break;
                }
            }
            if at == messages {
                break;
            }
        }
        assert_eq!(visited.len(), pods.len());
    });
}
