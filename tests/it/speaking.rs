//! POST: what is answered, and when asking twice is the same as asking once.

use loadtest::http::Request;
use serde_json::json;

use crate::harness::{Maru, deadline, wait_for};

#[test]
fn a_message_gets_its_place_and_comes_back_in_history() {
    let maru = Maru::start();
    let answer = maru.say("lobby", "hello\n");
    assert_eq!(answer.status, 201);
    let placed = answer.json();
    assert_eq!((&placed["seq"], &placed["epoch"], &placed["cursor"]), (&json!(1), &json!(1), &json!("1-1")));
    assert_eq!((&placed["room"], &placed["duplicate"]), (&json!("lobby"), &json!(false)));
    assert_eq!(placed["durability"], maru.durability());
    let page = maru.client().get("/api/history?room=lobby").unwrap().json();
    let event = &page["events"][0];
    assert_eq!((&event["text"], &event["id"], &event["ts"]), (&json!("hello"), &placed["id"], &placed["ts"]));
    assert_eq!((&event["type"], &page["tip"]), (&json!("message"), &json!("1-1")));
}

#[test]
fn one_trailing_newline_is_taken_off_and_no_more() {
    let maru = Maru::start();
    for (sent, kept) in
        [("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), ("\na", "\na"), ("a ", "a "), ("\n\n", "\n")]
    {
        let seq = maru.say("lobby", sent).json()["seq"].clone();
        let page = maru.client().get("/api/history?room=lobby&limit=1").unwrap().json();
        assert_eq!((&page["events"][0]["seq"], &page["events"][0]["text"]), (&seq, &json!(kept)), "{sent:?}");
    }
}

#[test]
fn every_type_but_json_is_the_text_itself() {
    let maru = Maru::start();
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/octet-stream", "text/html"] {
        let answer = maru.client().post("/r/lobby", kind, "{\"a\"=1&b").unwrap();
        assert_eq!(answer.status, 201, "{kind}: {}", answer.text());
    }
    let bare = Request::new("POST", "/r/lobby").body("no type");
    assert_eq!(maru.client().send(&bare).unwrap().status, 201);
    let json = maru.client().post_json("/r/lobby", &json!({"text": "in JSON", "more": 1})).unwrap();
    assert_eq!(json.status, 201);
    let events = maru.client().get("/api/history?room=lobby").unwrap().json()["events"].clone();
    assert_eq!(events[0]["text"], "{\"a\"=1&b");
    assert_eq!(events[5]["text"], "in JSON");
}

#[test]
fn hostile_texts_come_back_as_they_were_on_every_path() {
    let maru = Maru::start();
    let mut live = maru.listen_live("/r/lobby");
    let texts = [
        "\r",
        "\n\n",
        "a\r\nb",
        "\0",
        "\u{feff}bom",
        "\u{2028}\u{2029}",
        "data: x",
        "id: 9-9\n\nevent: bye",
        "한국어 수다방",
        "👩‍👩‍👧‍👦🏳️‍🌈",
        "</script><img src=x onerror=alert(1)>",
        "\u{202e}turned",
        "'; DROP TABLE messages; --",
        "{\"text\":\"x\"}",
    ];
    for text in texts {
        let answer = maru.client().post_json("/r/lobby", &json!({"text": text})).unwrap();
        assert_eq!(answer.status, 201, "{text:?}: {}", answer.text());
    }
    let mut replayed = maru.listen("/r/lobby?since=all");
    let listed = maru.client().get("/api/history?room=lobby").unwrap().json();
    for (i, text) in texts.iter().enumerate() {
        let now = live.wait_for("message", deadline()).unwrap();
        let then = replayed.wait_for("message", deadline()).unwrap();
        assert_eq!(now.data, then.data, "live and replayed bytes differ");
        let event: serde_json::Value = serde_json::from_str(&now.data).unwrap();
        assert_eq!((&event["text"], &listed["events"][i]["text"]), (&json!(text), &json!(text)));
    }
    assert!(live.faults().is_empty() && replayed.faults().is_empty());
}

#[test]
fn asking_twice_with_one_client_id_is_asking_once() {
    let maru = Maru::start();
    let (token, _) = maru.sign_in("Ann");
    let mut ann = maru.client_as(&token);
    let first = ann.post_json("/r/lobby", &json!({"text": "hi", "client_id": "k1"})).unwrap();
    let again = ann.post_json("/r/lobby", &json!({"text": "hi", "client_id": "k1"})).unwrap();
    assert_eq!((first.status, again.status), (201, 200));
    let mut expected = first.json();
    expected["duplicate"] = json!(true);
    assert_eq!(again.json(), expected);
    // The header is the same key, another path the same room.
    let header = Request::new("POST", "/api/chat/LOBBY/messages").header("Idempotency-Key", "k1").body("hi");
    assert_eq!(ann.send(&header).unwrap().json(), expected);
    let other = ann.post_json("/r/lobby", &json!({"text": "ho", "client_id": "k1"})).unwrap();
    assert_eq!((other.status, other.json()["code"].clone()), (422, json!("idempotency_key_reused")));
    // Another room, and another person, have keys of their own.
    assert_eq!(ann.post_json("/r/attic", &json!({"text": "hi", "client_id": "k1"})).unwrap().status, 201);
    let (token, _) = maru.sign_in("Bob");
    let bobs =
        maru.client_as(&token).post_json("/r/lobby", &json!({"text": "hi", "client_id": "k1"})).unwrap();
    assert_eq!(bobs.status, 201);
    let page = maru.client().get("/api/history?room=lobby").unwrap().json();
    assert_eq!(page["events"].as_array().unwrap().len(), 2);
    assert_eq!(page["events"][0]["client_id"], "k1");
}

#[test]
fn without_a_session_the_address_is_whose_keys_they_are() {
    let maru = Maru::start();
    let from = |source: [u8; 4]| {
        let mut client = maru.client().from_source(source.into());
        client.post_json("/r/lobby", &json!({"text": "hi", "client_id": "k"})).unwrap()
    };
    let first = from([127, 0, 0, 2]);
    let again = from([127, 0, 0, 2]);
    assert_eq!((first.status, again.status), (201, 200));
    assert_eq!(first.json()["id"], again.json()["id"]);
    assert_eq!(from([127, 0, 0, 3]).status, 201);
}

#[test]
fn keys_survive_a_kill() {
    let mut maru = Maru::start();
    let (token, _) = maru.sign_in("Ann");
    let body = json!({"text": "hi", "client_id": "k"});
    let first = maru.client_as(&token).post_json("/r/lobby", &body).unwrap();
    maru.kill();
    maru.restart();
    let again = maru.client_as(&token).post_json("/r/lobby", &body).unwrap();
    assert_eq!((again.status, &again.json()["cursor"]), (200, &first.json()["cursor"]));
}

#[test]
fn the_speakers_own_stream_carries_the_client_id() {
    let maru = Maru::start();
    let mut stream = maru.listen_live("/r/lobby");
    maru.client().post_json("/r/lobby", &json!({"text": "hi", "client_id": "k7"})).unwrap();
    let event = stream.wait_for("message", deadline()).unwrap();
    assert!(event.data.contains(r#""client_id":"k7""#), "{}", event.data);
}

#[test]
fn an_edited_message_is_replayed_as_written_and_listed_with_its_new_text() {
    let maru = Maru::start();
    let (token, _) = maru.sign_in("Ann");
    let mut ann = maru.client_as(&token);
    ann.post("/r/lobby", "text/plain", "frist").unwrap();
    let edit = Request::new("PATCH", "/api/chat/lobby/messages/1")
        .header("Content-Type", "application/json")
        .body(json!({"text": "first"}).to_string());
    let answer = ann.send(&edit).unwrap();
    assert_eq!((answer.status, &answer.json()["seq"]), (200, &json!(2)), "{}", answer.text());
    let listed = maru.client().get("/api/history?room=lobby").unwrap().json();
    assert_eq!(
        (&listed["events"][0]["text"], &listed["events"][0]["edited"]),
        (&json!("first"), &answer.json()["ts"])
    );
    let mut stream = maru.listen("/r/lobby?since=all");
    let message: serde_json::Value =
        serde_json::from_str(&stream.wait_for("message", deadline()).unwrap().data).unwrap();
    let edit: serde_json::Value =
        serde_json::from_str(&stream.wait_for("message", deadline()).unwrap().data).unwrap();
    assert_eq!((&message["text"], &message["edited"]), (&json!("frist"), &json!(null)));
    assert_eq!((&edit["type"], &edit["target"], &edit["text"]), (&json!("edit"), &json!(1), &json!("first")));
}

#[test]
fn only_ones_own_message_can_be_changed_and_only_while_it_is_there() {
    let maru = Maru::start();
    let (token, _) = maru.sign_in("Ann");
    let (stranger, _) = maru.sign_in("Bob");
    let mut ann = maru.client_as(&token);
    let mut bob = maru.client_as(&stranger);
    ann.post("/r/lobby", "text/plain", "mine").unwrap();
    let edit = |seq: &str| Request::new("PATCH", &format!("/api/chat/lobby/messages/{seq}")).body("ours");
    let delete = |seq: &str| Request::new("DELETE", &format!("/api/chat/lobby/messages/{seq}"));
    assert_eq!(bob.send(&edit("1")).unwrap().status, 403);
    assert_eq!(bob.send(&delete("1")).unwrap().status, 403);
    assert_eq!(maru.client().send(&delete("1")).unwrap().status, 401);
    for nowhere in ["2", "0", "x", "99999999999999999999", "-1"] {
        assert_eq!(ann.send(&delete(nowhere)).unwrap().status, 404, "{nowhere}");
    }
    assert_eq!(ann.send(&delete("1")).unwrap().status, 200);
    assert_eq!(ann.send(&delete("1")).unwrap().status, 404);
    assert_eq!(ann.send(&edit("1")).unwrap().status, 404);
    // A deletion is no message.
    assert_eq!(ann.send(&delete("2")).unwrap().status, 404);
}

#[test]
fn a_deleted_text_is_never_given_out_again() {
    let maru = Maru::start();
    let (token, _) = maru.sign_in("Ann");
    let mut ann = maru.client_as(&token);
    // One reader keeps the room, and so the text, in memory.
    let mut live = maru.listen_live("/r/lobby");
    ann.post("/r/lobby", "text/plain", "secret one").unwrap();
    let edit = Request::new("PATCH", "/api/chat/lobby/messages/1").body("secret two");
    assert_eq!(ann.send(&edit).unwrap().status, 200);
    for _ in 0..2 {
        live.wait_for("message", deadline()).unwrap();
    }
    assert_eq!(ann.send(&Request::new("DELETE", "/api/chat/lobby/messages/1")).unwrap().status, 200);
    let deletion = live.wait_for("message", deadline()).unwrap();
    assert!(deletion.data.contains(r#""type":"delete","target":1"#), "{}", deletion.data);

    let mut paths = vec![maru.client().get("/api/history?room=lobby").unwrap().text()];
    paths.push(maru.client().get("/r/lobby?poll=1").unwrap().text());
    for target in ["/r/lobby", "/r/lobby?since=all", "/r/lobby?since=1-0", "/r/lobby?history=1000"] {
        let mut stream = maru.listen(target);
        let mut seen = String::new();
        for _ in 0..3 {
            seen.push_str(&stream.wait_for("message", deadline()).unwrap().data);
        }
        paths.push(seen);
    }
    for seen in paths {
        assert!(!seen.contains("secret"), "{seen}");
        assert_eq!(seen.matches(r#""text":"","status":"deleted""#).count(), 2, "{seen}");
    }
    wait_for("it is in no store", || !maru.has_stored("secret two"));
}
