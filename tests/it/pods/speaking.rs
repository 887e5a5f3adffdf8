//! Speaking to one pod is speaking to all; so is signing out.

use std::time::{Duration, Instant};

use loadtest::{
    http::{Client, Request},
    stream::Listen,
};
use serde_json::{Value, json};

use crate::harness::{Maru, deadline, run};

#[test]
fn said_again_to_another_pod_is_said_once() {
    let maru = Maru::start();
    let pods = maru.doors().all().to_vec();
    let (token, _) = maru.sign_in("Ann");
    let bearer = format!("Bearer {token}");
    let say = |pod, n: u32| {
        let mut client = Client::new(pod).header("Authorization", &bearer);
        client
            .post_json("/r/lobby", &json!({"text": format!("hi {n}"), "client_id": format!("k{n}")}))
            .unwrap()
    };
    // One after the other.
    let answers: Vec<_> = pods.iter().map(|pod| say(*pod, 0)).collect();
    assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [201, 200, 200]);
    let without_mark = |answer: &Value| {
        let mut answer = answer.clone();
        answer.as_object_mut().unwrap().remove("duplicate");
        answer
    };
    let first = answers[0].json();
    for again in &answers[1..] {
        assert_eq!(again.json()["duplicate"], true);
        assert_eq!(without_mark(&again.json()), without_mark(&first));
    }
    // All at once, four times on each pod.
    for n in 1..=20 {
        let answers: Vec<_> = std::thread::scope(|scope| {
            let asked: Vec<_> =
                (0..12).map(|i| pods[i % pods.len()]).map(|pod| scope.spawn(move || say(pod, n))).collect();
            asked.into_iter().map(|asked| asked.join().unwrap()).collect()
        });
        let news = answers.iter().filter(|answer| answer.status == 201).count();
        let repeats = answers.iter().filter(|a| a.status == 200 && a.json()["duplicate"] == true).count();
        assert_eq!(
            (news, repeats),
            (1, 11),
            "{:?}",
            answers.iter().map(loadtest::http::Response::text).collect::<Vec<_>>()
        );
        let first = answers[0].json();
        assert!(answers.iter().all(|answer| without_mark(&answer.json()) == without_mark(&first)));
    }
    // Another text under a key that is taken, on any pod.
    for pod in &pods {
        let mut client = Client::new(*pod).header("Authorization", &bearer);
        let other = client.post_json("/r/lobby", &json!({"text": "other", "client_id": "k0"})).unwrap();
        assert_eq!((other.status, &other.json()["code"]), (422, &json!("idempotency_key_reused")));
    }
    let page = maru.client().get("/api/history?room=lobby").unwrap().json();
    assert_eq!(page["events"].as_array().unwrap().len(), 21);
}

#[test]
fn signed_out_on_one_pod_is_out_on_all_within_a_second() {
    let maru = Maru::start();
    let pods = maru.doors().all().to_vec();
    for pod in &pods {
        let (token, _) = maru.sign_in("Ann");
        let bearer = format!("Bearer {token}");
        let mut streams: Vec<_> = pods
            .iter()
            .map(|pod| Listen::to("/r/lobby").header("Authorization", &bearer).open(*pod).unwrap())
            .collect();
        streams.iter_mut().for_each(|stream| drop(stream.wait_for("live", deadline()).unwrap()));
        let mut client = Client::new(*pod).header("Authorization", &bearer);
        let out = client.send(&Request::new("DELETE", "/api/session")).unwrap();
        assert_eq!(out.status, 204);
        let since = Instant::now();
        for stream in &mut streams {
            assert_eq!(stream.wait_for("bye", deadline()).unwrap().data, r#"{"code":"signed_out"}"#);
        }
        for pod in &pods {
            let mut client = Client::new(*pod).header("Authorization", &bearer);
            assert_eq!(client.get("/api/session").unwrap().status, 401);
        }
        assert!(since.elapsed() < Duration::from_secs(1), "only after {:?}", since.elapsed());
    }
}

#[test]
fn a_pod_without_a_secret_refuses_to_start() {
    let maru = Maru::of_one(&[]);
    let args = maru.servers().args();
    let mut args: Vec<_> = args.iter().map(String::as_str).collect();
    args.extend(["--listen", "127.0.0.1:0"]);
    let said = |args: &[&str]| {
        let output = run(args, &[]);
        assert!(!output.status.success() && output.stdout.is_empty(), "{args:?} was taken");
        String::from_utf8(output.stderr).unwrap()
    };
    let without = said(&args);
    assert!(without.contains("--secret") && without.lines().count() == 1, "{without}");
    let short = said(&[&args[..], &["--secret", "short"]].concat());
    assert!(short.contains("--secret") && short.contains("16 bytes"), "{short}");
}

#[test]
fn an_answer_that_waits_for_the_archive_says_so() {
    let maru = Maru::start();
    let answer = maru.client().post("/r/lobby?ack=stored", "text/plain", "hi").unwrap();
    assert_eq!((answer.status, &answer.json()["durability"]), (201, &json!("stored")), "{}", answer.text());
    assert_eq!(maru.servers().database.sql("SELECT COUNT(*) FROM messages"), "1");
    assert_eq!(maru.say("lobby", "ho").json()["durability"], "buffered");
}

#[test]
fn pods_that_answer_when_it_is_stored_have_stored_it() {
    let maru = Maru::with(&["--rate-limit", "off", "--ack", "stored"]);
    let mut reader = maru.listen_live("/r/lobby");
    for n in 1..=20 {
        assert_eq!(maru.say("lobby", "hi").json()["durability"], "stored");
        assert_eq!(maru.servers().database.sql("SELECT COUNT(*) FROM messages"), n.to_string());
        reader.wait_for("message", deadline()).unwrap();
    }
}
