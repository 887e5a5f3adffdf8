//! Between Redis and MySQL: what goes there, what is read back, and what is said while MySQL is away.

use std::time::Instant;

use loadtest::http::Request;
use serde_json::Value;

use crate::harness::{Maru, assert_problem, deadline, wait_for};

fn texts(page: &Value) -> Vec<&str> {
    let events = page["events"].as_array().expect("events");
    events.iter().map(|event| event["text"].as_str().expect("a text")).collect()
}

#[test]
fn a_row_that_mysql_refuses_is_put_aside_and_all_others_go_on() {
    let maru = Maru::start();
    let database = maru.servers().database.clone();
    database.sql(
        "DELIMITER //\n\
         CREATE TRIGGER poison BEFORE INSERT ON messages FOR EACH ROW BEGIN \
         IF NEW.text = 'poison' THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no'; END IF; END//",
    );
    for n in 0..20 {
        assert_eq!(maru.say("lobby", if n == 7 { "poison" } else { "fine" }).status, 201);
    }
    wait_for("everything is stored", || maru.servers().outboxes() == 0);
    assert_eq!(database.sql("SELECT COUNT(*), SUM(text = 'fine'), MAX(seq) FROM messages"), "20\t19\t20");
    // Its place is kept, and what it was is kept for whoever runs this.
    assert_eq!(
        database.sql("SELECT seq, status, LENGTH(text) FROM messages WHERE text <> 'fine'"),
        "8\tdeleted\t0"
    );
    assert_eq!(database.sql("SELECT seq, json LIKE '%poison%' FROM quarantine"), "8\t1");
    assert!(maru.metric("maru_quarantined_total") >= 1.0);
}

#[test]
fn while_mysql_is_away_what_redis_has_is_given_and_the_rest_is_an_error() {
    let mut maru = Maru::on_servers_of_its_own(&[], None);
    // Redis keeps the newest 200 of a room.
    for n in 1..=260 {
        assert_eq!(maru.say("lobby", &format!("{n}")).status, 201);
    }
    wait_for("everything is stored", || maru.servers().outboxes() == 0);
    let whole = maru.client().get("/api/history?room=lobby&after=1-0&limit=200").unwrap().json();
    assert_eq!(texts(&whole).len(), 200);

    maru.servers_mut().maria().kill();
    let newest = maru.client().get("/api/history?room=lobby&limit=10").unwrap().json();
    assert_eq!(texts(&newest), ["251", "252", "253", "254", "255", "256", "257", "258", "259", "260"]);
    let older = maru.client().get("/api/history?room=lobby&before=1-30").unwrap();
    assert_problem(&older, 503, "store_unavailable");
    let across = maru.client().get("/api/history?room=lobby&after=1-50&limit=200").unwrap();
    assert_problem(&across, 503, "store_unavailable");
    // People go on.
    let mut reader = maru.listen_live("/r/lobby");
    assert_eq!(maru.say("lobby", "261").status, 201);
    assert!(reader.wait_for("message", deadline()).unwrap().data.contains("261"));
    let unsure = maru.client().post("/r/lobby?ack=stored", "text/plain", "262").unwrap();
    assert_problem(&unsure, 503, "outcome_unknown");

    maru.servers_mut().maria().start_again();
    wait_for("everything is stored", || maru.servers().outboxes() == 0);
    let mut seen = Vec::new();
    let mut after = String::from("1-0");
    loop {
        let page =
            maru.client().get(&format!("/api/history?room=lobby&after={after}&limit=47")).unwrap().json();
        seen.extend(texts(&page).into_iter().map(str::to_owned));
        let Some(next) = page["after"].as_str() else { break };
        after = next.to_owned();
    }
    assert_eq!(seen, (1..=262).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[test]
fn with_ack_stored_nothing_is_shown_before_mysql_has_it() {
    let mut maru = Maru::on_servers_of_its_own(&["--ack", "stored"], None);
    assert_eq!(maru.say("lobby", "first").status, 201);
    let mut reader = maru.listen_live("/r/lobby?since=all");
    maru.servers_mut().maria().hang();
    let door = maru.address();
    let speaker = std::thread::spawn(move || {
        loadtest::http::Client::new(door).post("/r/lobby", "text/plain", "second").expect("an answer")
    });
    wait_for("it is in Redis", || maru.servers().outboxes() == 1);
    let newest = maru.client().get("/api/history?room=lobby").unwrap().json();
    assert_eq!(texts(&newest), ["first"]);
    let replay = maru.listen("/r/lobby?since=all").wait_for("live", deadline()).unwrap();
    assert!(replay.data.contains("1-1"), "{replay:?}");
    maru.servers_mut().maria().go_on();
    assert_eq!(speaker.join().unwrap().json()["durability"], "stored");
    assert!(reader.wait_for("message", deadline()).unwrap().data.contains("second"));
}

#[test]
fn edits_and_deletions_hold_on_both_sides_of_the_seam() {
    let maru = Maru::start();
    let (token, _) = maru.sign_in("Ann");
    let said = |text: &str| {
        let body = serde_json::json!({"text": text});
        let answer = maru.client_as(&token).post_json("/api/chat/lobby/messages", &body).unwrap();
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()["seq"].as_u64().unwrap()
    };
    let (edited, deleted) = (said("old words"), said("secret words"));
    for n in 0..250 {
        said(&format!("{n}"));
    }
    wait_for("both are in MySQL alone", || maru.servers().outboxes() == 0);
    let path = |seq: u64| format!("/api/chat/lobby/messages/{seq}");
    let edit = Request::new("PATCH", &path(edited)).header("Content-Type", "application/json");
    let edit = edit.body(r#"{"text": "new words"}"#);
    assert_eq!(maru.client_as(&token).send(&edit).unwrap().status, 200);
    let delete = |token: &str, seq| maru.client_as(token).send(&Request::new("DELETE", &path(seq))).unwrap();
    assert_eq!(delete(&token, deleted).status, 200);
    // Not yet stored, or stored already: it makes no difference.
    let until = Instant::now() + std::time::Duration::from_secs(1);
    while Instant::now() < until {
        let page = maru.client().get("/api/history?room=lobby&after=1-0&limit=2").unwrap().json();
        assert_eq!(texts(&page), ["new words", ""], "{page}");
        let replay = maru.listen("/r/lobby?since=all").wait_for("message", deadline()).unwrap();
        assert!(replay.data.contains("old words"), "replayed as written: {}", replay.data);
    }
    assert_problem(&delete(&token, deleted), 404, "not_found");
    let (other, _) = maru.sign_in("Bob");
    assert_problem(&delete(&other, edited), 403, "forbidden");
}

#[test]
fn the_metrics_tell_which_server_is_away() {
    let mut maru = Maru::on_servers_of_its_own(&[], None);
    let is_well = |maru: &Maru| {
        maru.metric_of_each("maru_redis_answers").iter().all(|answers| *answers == 1.0)
            && maru.metric_of_each("maru_agreed").iter().all(|agreed| *agreed == 1.0)
            && maru.metric_of_each("maru_lease_age_seconds").iter().all(|age| *age < 4.0)
    };
    wait_for("all is well", || is_well(&maru));
    maru.servers_mut().maria().kill();
    wait_for("MySQL has not heard of them", || maru.metric("maru_lease_age_seconds") > 15.0);
    assert_eq!(maru.metric("maru_redis_answers"), maru.pods().len() as f64);
    maru.servers_mut().maria().start_again();
    wait_for("all is well again", || is_well(&maru));
    maru.servers_mut().redis.kill();
    wait_for("Redis does not answer", || maru.metric("maru_redis_answers") == 0.0);
    maru.servers_mut().redis.start_again();
    wait_for("all agree on the new one", || is_well(&maru));
}
