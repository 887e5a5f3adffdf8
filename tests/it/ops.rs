//! For those who run it: start, settings, figures, logs.

use std::collections::{HashMap, HashSet};

use loadtest::http::{Request, Response};
use serde_json::{Value, json};

use crate::harness::{Maru, Stage, assert_problem, deadline, stage};

#[test]
fn it_says_that_it_is_alive_and_ready() {
    let maru = Maru::start();
    for target in ["/healthz", "/readyz", "/healthz/"] {
        let answer = maru.client().get(target).unwrap();
        assert_eq!(
            (answer.status, answer.headers.get("content-type")),
            (200, Some("text/plain; charset=utf-8"))
        );
    }
    let api = maru.client().get("/openapi.json").unwrap();
    assert_eq!((api.status, api.headers.get("content-type")), (200, Some("application/json")));
    assert!(api.json()["openapi"].as_str().unwrap().starts_with("3."));
}

#[test]
fn the_greeting_tells_where_it_listens_and_how_many_it_can_take() {
    let maru = Maru::start();
    let pod = maru.one_pod();
    let greeting = pod.greeting.join("\n");
    let address = pod.address();
    for said in [
        format!("http://{address}"),
        format!("http://{address}/r/lobby"),
        format!("curl -N {address}/r/lobby"),
        format!("curl -d hello {address}/r/lobby"),
        match stage() {
            Stage::Alone => pod.data().display().to_string(),
            Stage::Redis | Stage::Nats => "in MySQL".to_owned(),
        },
        "ulimit -n".to_owned(),
    ] {
        assert!(greeting.contains(&said), "no {said:?} in {greeting}");
    }
    let most =
        greeting.lines().find_map(|line| line.split_once(" streams at once")?.0.split(' ').next_back());
    assert!(most.unwrap().parse::<u32>().unwrap() > 0);
}

#[test]
fn the_metrics_are_well_formed_and_count() {
    // The page of one pod is looked at.
    let maru = Maru::of_one(&["--rate-limit", "off"]);
    let _stream = maru.listen_live("/r/lobby");
    let body = json!({"text": "hi", "client_id": "k"});
    let (token, _) = maru.sign_in("Ann");
    for _ in 0..3 {
        maru.client_as(&token).post_json("/r/lobby", &body).unwrap();
    }
    maru.client().get("/r/lobby?history=1&since=7-7&poll=1").unwrap();
    maru.client().send(&Request::new("GET", "/healthz").header("Host", "a b")).unwrap();
    assert_eq!((maru.metric("maru_messages_total"), maru.metric("maru_duplicates_total")), (1.0, 2.0));
    assert_eq!((maru.metric("maru_streams"), maru.metric("maru_gaps_total")), (1.0, 1.0));
    assert_eq!(maru.metric("maru_refused_heads_total"), 1.0);
    assert_eq!(maru.metric(r#"maru_http_answers_total{method="POST",status="200"}"#), 2.0);

    let answer = maru.client().get("/metrics").unwrap();
    assert!(answer.headers.get("content-type").unwrap().starts_with("application/openmetrics-text"));
    let text = answer.text();
    let mut lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.pop(), Some("# EOF"));
    let (mut kinds, mut helped, mut samples) = (HashMap::new(), HashSet::new(), HashSet::new());
    for line in lines {
        let words: Vec<_> = line.splitn(4, ' ').collect();
        match words[..] {
            ["#", "HELP", name, _] => assert!(helped.insert(name.to_owned()), "{line}"),
            ["#", "TYPE", name, kind] => {
                assert!(matches!(kind, "counter" | "gauge" | "histogram"), "{line}");
                assert!(kinds.insert(name.to_owned(), kind.to_owned()).is_none(), "{line}");
            }
            _ => {
                let (sample, value) = line.rsplit_once(' ').unwrap();
                assert!(value.parse::<f64>().unwrap().is_finite(), "{line}");
                assert!(samples.insert(sample.to_owned()), "{sample} is there twice");
                let name = sample.split('{').next().unwrap();
                let suffixes = [("_total", "counter"), ("_bucket", "histogram")];
                let suffixes = suffixes.into_iter().chain([("_sum", "histogram"), ("_count", "histogram")]);
                let family = suffixes
                    .filter_map(|(suffix, kind)| Some((name.strip_suffix(suffix)?, kind)))
                    .find(|(family, kind)| kinds.get(*family).is_some_and(|known| known == kind));
                let family = family.map_or(name, |(family, _)| family);
                let kind = kinds.get(family).unwrap_or_else(|| panic!("{line} has no type"));
                let is_named = family.starts_with("maru_") || family.starts_with("process_");
                assert!(helped.contains(family) && is_named, "{line}");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            }
        }
    }
}

#[test]
fn a_flag_is_stronger_than_a_variable_and_that_than_the_default() {
    let name = |maru: &Maru| {
        let session = maru.client().send(&Request::new("POST", "/api/session")).unwrap().json();
        session["user"]["name"].as_str().unwrap().is_ascii()
    };
    assert!(name(&Maru::with(&[])));
    assert!(!name(&Maru::with_envs(&[], &[("MARU_LANG", "ko")])));
    assert!(name(&Maru::with_envs(&["--lang", "en"], &[("MARU_LANG", "ko")])));
    let limits =
        [("MARU_LIMITS", "text=5,history=7"), ("MARU_RATE_LIMIT", "off"), ("MARU_LISTEN", "127.0.0.1:1")];
    let maru = Maru::with_envs(&[], &limits);
    assert_problem(&maru.say("lobby", "123456"), 413, "too_large");
    for _ in 0..15 {
        assert_eq!(maru.say("lobby", "12345").status, 201);
    }
    assert_problem(&maru.client().get("/r/lobby?history=8").unwrap(), 400, "bad_request");
}

#[test]
fn the_log_has_no_texts_and_no_tokens() {
    for style in ["json,debug", "text,debug", "json,trace"] {
        let secret = "the-very-secret-of-this-maru";
        let mut maru = Maru::with(&[
            "--log",
            style,
            "--drain",
            "0s",
            "--secret",
            secret,
            "--rate-limit",
            "off",
            "--keep",
            "1s",
        ]);
        let (token, _) = maru.sign_in("Ann");
        let mut ann = maru.client_as(&token);
        let cookie = format!("maru_session={token}");
        let ticket = ann.post_json("/api/session/ticket", &json!({"path": "/r/lobby"})).unwrap().json();
        let ticket = ticket["ticket"].as_str().unwrap();
        ann.post("/r/lobby", "text/plain", "nobodys-business").unwrap();
        ann.post_json("/r/lobby", &json!({"text": "nobodys-business", "client_id": "k"})).unwrap();
        ann.post("/r/lobby", "application/json", "{\"text\":\"nobodys-business\"").unwrap();
        ann.post("/r/lobby", "application/json", "{\"nobodys-business\":7}").unwrap();
        ann.post("/r/lobby", "text/plain", format!("nobodys-business{}", "x".repeat(5000))).unwrap();
        ann.send(&Request::new("PATCH", "/api/chat/lobby/messages/1").body("nobodys-business 2")).unwrap();
        ann.send(&Request::new("DELETE", "/api/chat/lobby/messages/1")).unwrap();
        maru.client().header("Cookie", &cookie).get("/api/session").unwrap();
        maru.client_as(&format!("{token}x")).get("/api/session").unwrap();
        maru.client().get(&format!("/r/lobby?poll=1&ticket={ticket}")).unwrap();
        maru.client().get(&format!("/r/attic?poll=1&ticket={ticket}")).unwrap();
        maru.client()
            .send(&Request::new("GET", "/healthz").header("Host", "a b").header("Cookie", &cookie))
            .unwrap();
        let mut stream = maru.listen_live(&format!("/r/lobby?ticket={ticket}"));
        ann.send(&Request::new("DELETE", "/api/session").header("X-Forwarded-For", "198.51.100.7")).unwrap();
        stream.wait_for("bye", deadline()).unwrap();
        drop(stream);
        maru.tell_to_end();
        assert!(maru.ended().success());
        let log = maru.log();
        assert!(log.lines().count() >= 2, "{log}");
        for hidden in [
            &token[..],
            ticket,
            token.rsplit('.').next().unwrap(),
            ticket.rsplit('.').next().unwrap(),
            "nobodys-business",
            secret,
        ] {
            assert!(!log.contains(hidden), "{hidden} is in the log: {log}");
        }
        for line in log.lines() {
            if style.starts_with("json") {
                let entry: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
                assert!(entry["level"].is_string() && entry["timestamp"].is_string(), "{line}");
            } else {
                assert!(!line.contains('\u{1b}'), "colours in a pipe: {line}");
            }
        }
    }
}

#[test]
fn every_line_about_a_request_has_its_id_and_so_has_the_answer() {
    let args = ["--log", "json,debug", "--drain", "0s", "--admin-token", "the operator's token"];
    let mut maru =
        Maru::with(&[&args[..], &["--origin", "https://blog.example", "--rate-limit", "off"]].concat());
    let (token, user) = maru.sign_in("Ann");
    let mut ids = Vec::new();
    let mut id_of = |answer: &Response| {
        let id = answer.headers.get("x-request-id").expect("it has one").to_owned();
        assert!(id.len() == 16 && !ids.contains(&id), "{id} {ids:?}");
        ids.push(id);
    };
    let mut ann = maru.client_as(&token);
    id_of(&ann.post("/r/lobby", "text/plain", "hi").unwrap());
    id_of(&ann.get("/nowhere").unwrap());
    id_of(&ann.post("/r/lobby", "application/json", "{").unwrap());
    // Nobody's own is taken, but a proxy's that is believed.
    id_of(&ann.send(&Request::new("GET", "/healthz").header("X-Request-Id", "mine")).unwrap());
    let ban = json!({"user": user["id"], "seconds": 5, "reason": "spam"});
    id_of(&maru.client_as("the operator's token").post_json("/api/chat/lobby/bans", &ban).unwrap());
    let from_blog = Request::new("GET", "/healthz").header("Origin", "https://blog.example");
    let answer = maru.client().send(&from_blog).unwrap();
    assert!(answer.headers.get("access-control-expose-headers").unwrap().contains("X-Request-Id"));
    id_of(&answer);
    let stream = maru.listen_live("/r/attic");
    let id = stream.headers().get("x-request-id").expect("it has one").to_owned();
    ids.push(id);
    drop(stream);
    maru.tell_to_end();
    assert!(maru.ended().success());
    let log: Vec<Value> = maru.log().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |id: &str| log.iter().filter(|line| line["request_id"] == id).collect::<Vec<_>>();
    for id in &ids {
        let said = |line: &&&Value| line["fields"]["message"] == "answered";
        assert_eq!(of(id).iter().filter(said).count(), 1, "{id} in {log:#?}");
    }
    assert!(of(&ids[4]).iter().any(|line| line["fields"]["message"] == "shut out"), "{log:#?}");
    assert!(log.iter().any(|line| line["request_id"].is_null()), "what belongs to no request has none");
}

#[test]
fn the_id_that_a_trusted_proxy_gave_is_kept_if_it_is_one() {
    let args = ["--log", "text,debug", "--drain", "0s", "--trusted-proxy", "127.0.0.1"];
    let mut maru = Maru::with(&args);
    let ask = |id: &str| {
        let answer = maru.client().send(&Request::new("GET", "/nowhere").header("X-Request-Id", id)).unwrap();
        assert_problem(&answer, 404, "not_found");
        answer.headers.get("x-request-id").unwrap().to_owned()
    };
    assert_eq!(ask("0af7651916cd43dd8448eb211c80319c"), "0af7651916cd43dd8448eb211c80319c");
    // It is one word, whatever it says.
    assert_eq!(ask(r#"}",{"level":"ERROR"#), r#"}",{"level":"ERROR"#);
    for wrong in ["two words", "마루", "", &"x".repeat(65)] {
        let id = ask(wrong);
        assert!(id.len() == 16 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{wrong:?}: {id}");
    }
    maru.tell_to_end();
    assert!(maru.ended().success());
    let log = maru.log();
    let is_it = |line: &str| {
        line.ends_with(" request_id=0af7651916cd43dd8448eb211c80319c") && line.contains("answered")
    };
    assert!(log.lines().any(is_it), "{log}");
}

/// Whatever people send, a line of the log is maru's own: nobody forges one, nor speaks to the terminal of who reads it.
#[test]
fn nobody_writes_lines_into_the_log() {
    const FORGED: &str = "\r\n2026-01-01T00:00:00Z ERROR forged\u{1b}[31m\u{2028}";
    let escaped = loadtest::speak::percent_encoded(FORGED);
    for style in ["json,trace", "text,trace"] {
        let args =
            ["--log", style, "--drain", "0s", "--rate-limit", "off", "--admin-token", "the operator's token"];
        // Whose X-Request-Id would be taken.
        let mut maru = Maru::with(&[&args[..], &["--trusted-proxy", "127.0.0.1"]].concat());
        let (token, user) = maru.sign_in("Ann");
        let mut ann = maru.client_as(&token);
        for target in [
            format!("/r/{escaped}?name={escaped}"),
            format!("/r/lobby?name={escaped}"),
            format!("/r/lobby?ticket={escaped}"),
            format!("/r/lobby?last_event_id={escaped}"),
            format!("/api/history?room={escaped}&before={escaped}"),
            format!("/api/chat/search?q={escaped}"),
            format!("/{escaped}"),
        ] {
            // Some are streams.
            ann.open(&Request::new("GET", &target)).unwrap();
        }
        for body in [
            json!({"text": FORGED, "client_id": FORGED}),
            json!({"text": FORGED}),
            json!({"text": {FORGED: 1}}),
            json!({FORGED: FORGED}),
        ] {
            ann.post_json("/r/lobby", &body).unwrap();
            ann.post_json("/api/session", &body).unwrap();
        }
        assert_eq!(ann.post_json("/api/session", &json!({"name": FORGED})).unwrap().status, 400);
        let names = ["User-Agent", "X-Forwarded-For", "Last-Event-ID", "Cookie", "Origin", "Accept-Language"];
        for name in names.into_iter().chain(["X-Request-Id"]) {
            let value = FORGED.replace(['\r', '\n'], "\t").replace('\u{1b}', "");
            ann.send(&Request::new("GET", "/api/history?room=lobby").header(name, &value)).unwrap();
        }
        let ban = json!({"user": user["id"], "seconds": 5, "reason": FORGED});
        let answer = maru.client_as("the operator's token").post_json("/api/chat/lobby/bans", &ban).unwrap();
        assert_eq!(answer.status, 201, "{}", answer.text());
        maru.tell_to_end();
        assert!(maru.ended().success());
        let log = maru.log();
        assert!(log.lines().count() > 20, "{log}");
        for line in log.lines() {
            assert!(!line.contains(|c: char| c.is_control() || c == '\u{2028}'), "{line:?}");
            let is_own = match style.starts_with("json") {
                true => serde_json::from_str::<Value>(line).is_ok_and(|entry| {
                    entry["timestamp"].as_str().is_some_and(|at| !at.starts_with("2026-01-01"))
                }),
                // A time of today, to the microsecond.
                false => line.as_bytes().get(26) == Some(&b'Z') && !line.contains("Z ERROR forged"),
            };
            assert!(is_own, "{line:?}");
        }
    }
}
