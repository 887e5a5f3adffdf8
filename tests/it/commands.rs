//! What the program does besides serving.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    process::Output,
    thread,
    time::{Duration, Instant},
};

use loadtest::http::Request;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Maru, assert_problem, run};

/// Standard output of a command that succeeded: one line.
fn line(output: &Output) -> String {
    let said = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    assert_eq!(said.lines().count(), 1, "{said}");
    said.trim_end().to_owned()
}

/// Standard error of one that did not: one line too.
fn complaint(output: &Output) -> String {
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(output.status.code() == Some(1) && output.stdout.is_empty(), "{output:?}");
    assert_eq!(said.lines().count(), 1, "{said}");
    said.trim_end().to_owned()
}

fn health_of(address: SocketAddr) -> Output {
    run(&["health", "--listen", &address.to_string()], &[])
}

#[test]
fn health_says_whether_the_server_is_alive() {
    let mut maru = Maru::of_one(&[]);
    let address = maru.one_pod().address();
    let said = line(&maru.one_pod().command(&["health"]));
    assert!(said.contains(&format!("http://{address}/healthz is alive")), "{said}");
    let everywhere = format!("0.0.0.0:{}", address.port());
    line(&run(&["health"], &[("MARU_LISTEN", &everywhere)]));
    // A setting may stand before the command, and is stronger than a variable.
    line(&run(&["--listen", &everywhere, "health"], &[("MARU_LISTEN", "127.0.0.1:1")]));

    maru.one_pod().signal(Signal::STOP);
    let since = Instant::now();
    let said = complaint(&health_of(address));
    assert!(said.contains("no answer within 5 s"), "{said}");
    assert!(since.elapsed() < Duration::from_secs(8), "{:?}", since.elapsed());
    maru.one_pod().signal(Signal::CONT);
    maru.kill();
    let said = complaint(&health_of(address));
    assert!(said.contains(&address.to_string()), "{said}");
    assert!(complaint(&run(&["health", "--listen", "127.0.0.1:0"], &[])).contains("port 0"));
}

#[test]
fn health_is_not_content_with_any_answer() {
    for (answer, complains) in [
        ("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", "503"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok\n", "healthz"),
        ("+PONG\r\n", "healthz"),
        ("", "healthz"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let answering = thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            assert!(socket.read(&mut [0; 1024]).unwrap() > 0);
            socket.write_all(answer.as_bytes()).unwrap();
        });
        let said = complaint(&health_of(address));
        assert!(said.contains(complains), "{answer:?}: {said}");
        answering.join().unwrap();
    }
}

#[test]
fn a_token_is_good_on_every_pod() {
    let maru = Maru::start();
    let token = line(&maru.one_pod().command(&["token", "--name", "Bot"]));
    let mut ids = Vec::new();
    for address in maru.doors().all() {
        let mut client =
            loadtest::http::Client::new(*address).header("Authorization", &format!("Bearer {token}"));
        let who = client.get("/api/session").unwrap().json();
        assert_eq!((&who["user"]["name"], &who["user"]["kind"]), (&json!("Bot"), &json!("guest")));
        ids.push(who["user"]["id"].clone());
        assert_eq!(client.post("/r/lobby", "text/plain", "beep").unwrap().status, 201);
    }
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

#[test]
fn a_token_stands_for_the_person_that_it_names_as_long_as_it_says() {
    let maru = Maru::start();
    let pod = maru.one_pod();
    let first: Value =
        serde_json::from_str(&line(&pod.command(&["token", "--name", "Bot", "--json"]))).unwrap();
    let answered = maru.client().post_json("/api/session", &json!({"name": "Ann"})).unwrap().json();
    let fields = |answer: &Value| answer.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(fields(&first), fields(&answered));
    let mut client = maru.client_as(first["token"].as_str().unwrap());
    let said = client.post("/r/lobby", "text/plain", "beep").unwrap().json();

    let id = first["user"]["id"].as_str().unwrap();
    let words = ["token", "--name", "Bot 2", "--user", id, "--days", "400", "--json"];
    let second: Value = serde_json::from_str(&line(&pod.command(&words))).unwrap();
    let later = second["expires_at"].as_u64().unwrap() - first["expires_at"].as_u64().unwrap();
    assert!((370 * 86_400_000..370 * 86_400_000 + 60_000).contains(&later), "{later}");
    let mut client = maru.client_as(second["token"].as_str().unwrap());
    let who = client.get("/api/session").unwrap().json();
    assert_eq!((&who["user"]["id"], &who["user"]["name"]), (&first["user"]["id"], &json!("Bot 2")));
    let target = format!("/api/chat/lobby/messages/{}", said["seq"]);
    let edit = Request::new("PATCH", &target).header("Content-Type", "application/json");
    assert_eq!(client.send(&edit.body(r#"{"text": "boop"}"#)).unwrap().status, 200);

    // Signed out, it is over as every other is.
    assert_eq!(client.send(&Request::new("DELETE", "/api/session")).unwrap().status, 204);
    assert_problem(&client.get("/api/session").unwrap(), 401, "unauthenticated");
}

#[test]
fn no_token_is_minted_without_a_secret_or_for_somebody_else() {
    let data = tempfile::TempDir::new().unwrap();
    let folder = data.path().join("maru-data");
    let said = complaint(&run(&["token", "--name", "Bot", "--data", folder.to_str().unwrap()], &[]));
    assert!(said.contains("MARU_SECRET") && said.contains(folder.to_str().unwrap()), "{said}");
    assert!(!folder.exists(), "it made a data directory");

    let secret = ("MARU_SECRET", "the secret of the tests");
    line(&run(&["token", "--name", "Bot"], &[secret]));
    assert!(complaint(&run(&["token", "--name", "Bot"], &[("MARU_SECRET", "short")])).contains("--secret"));
    assert!(complaint(&run(&["--new-epoch", "token", "--name", "Bot"], &[secret])).contains("--new-epoch"));
    // UUIDv5: as `sub`s of a site become.
    let member = "5c2f8b1e-7d3a-5c4f-9a49-0d8f5bb8a3c1";
    for wrong in [
        &["--name", "Bot", "--user", member][..],
        &["--name", "Bot", "--user", "bot"],
        &["--name", ""],
        &[],
        &["--name", "Bot", "--days", "0"],
    ] {
        let output = run(&[&["token"], wrong].concat(), &[secret]);
        assert!(!output.status.success() && output.stdout.is_empty(), "{wrong:?}: {output:?}");
    }
}
