//! Section 7: what is refused, with which code, and what a page of another site may not do.

use std::net::SocketAddr;

use loadtest::{
    http::{Client, Request, Response},
    speak::whole_log,
};
use serde_json::json;

use crate::harness::{Maru, assert_problem};

const UUID: &str = "6f1c4a52-3b8e-4c9d-9a57-0d2f8e5b7c11";

fn is_silent(maru: &Maru) -> bool {
    whole_log(&mut maru.client(), "lobby").unwrap().is_empty()
}

fn json_post(maru: &Maru, target: &str, body: impl Into<Vec<u8>>) -> Response {
    maru.client().post(target, "application/json", body).unwrap()
}

#[test]
fn what_is_not_json_is_a_bad_request() {
    let maru = Maru::start();
    let deep = |depth: usize| format!("{{\"text\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    let bodies: Vec<Vec<u8>> = vec![
        b"".to_vec(),
        b"{".to_vec(),
        b"{\"text\":\"x\"".to_vec(),
        b"{\"text\":\"x\"} {}".to_vec(),
        b"{'text':'x'}".to_vec(),
        b"{\"text\":\"x\",}".to_vec(),
        b"{\"text\":\"x\",\"text\":\"y\"}".to_vec(),
        b"\xef\xbb\xbf{\"text\":\"x\"}".to_vec(),
        b"{\"text\":\"\xff\"}".to_vec(),
        b"{\"text\":\"\xed\xa0\x80\"}".to_vec(), // a surrogate in UTF-8's clothes
        br#"{"text":"\ud800"}"#.to_vec(),
        br#"{"text":"\udc00"}"#.to_vec(),
        br#"{"text":"\ud800\ud800"}"#.to_vec(),
        br#"{"text":"\ud83d x"}"#.to_vec(),
        br#"{"text":"\x41"}"#.to_vec(),
        b"{\"text\":\"a\nb\"}".to_vec(),
        b"{\"text\":null}".to_vec(),
        b"{\"text\":7}".to_vec(),
        b"{\"text\":[\"x\"]}".to_vec(),
        b"{\"txt\":\"x\"}".to_vec(),
        b"[\"x\"]".to_vec(),
        b"\"x\"".to_vec(),
        b"null".to_vec(),
        b"NaN".to_vec(),
        br#"{"text":"x","client_id":7}"#.to_vec(),
        br#"{"text":"x","client_id":""}"#.to_vec(),
        br#"{"text":"x","client_id":"a\nb"}"#.to_vec(),
        json!({"text": "x", "client_id": "x".repeat(65)}).to_string().into_bytes(),
        deep(100).into_bytes(),
        deep(7000).into_bytes(),
    ];
    for body in bodies {
        let answer = json_post(&maru, "/r/lobby", body.clone());
        assert_eq!(
            answer.status,
            400,
            "{:?}: {}",
            String::from_utf8_lossy(&body[..body.len().min(80)]),
            answer.text()
        );
        assert_problem(&answer, 400, "bad_request");
    }
    for name in ["7", "[]", "\"\\ud800\"", "{}"] {
        assert_problem(&json_post(&maru, "/api/session", format!("{{\"name\":{name}}}")), 400, "bad_request");
    }
    assert_problem(&json_post(&maru, "/api/session", "[\"Ann\"]"), 400, "bad_request");
    assert!(is_silent(&maru));
}

#[test]
fn json_is_read_as_json_is_written() {
    let maru = Maru::start();
    let deep = format!("{{\"more\":{}{},\"text\":\"deep\"}}", "[".repeat(100), "]".repeat(100));
    let bodies = [
        (" {\n\"text\" : \"spaced\"\t}\r\n", "spaced"),
        (r#"{"text":"\ud83d\ude00","more":{"text":"no"},"x":null}"#, "😀"),
        (r#"{"text":"\u0000\n\/"}"#, "\0\n/"),
        (r#"{"text":"x","client_id":null}"#, "x"),
        (&deep, "deep"),
    ];
    for kind in ["application/json", "Application/JSON; charset=utf-8", "application/vnd.chat+json"] {
        for (body, text) in bodies {
            let answer = maru.client().post("/r/lobby", kind, body).unwrap();
            assert_eq!(answer.status, 201, "{body}: {}", answer.text());
            let page = maru.client().get("/api/history?room=lobby&limit=1").unwrap().json();
            assert_eq!(page["events"][0]["text"], text);
        }
    }
    // Whatever depth means, the pod outlives it.
    let deeper = format!("{{\"text\":\"x\",\"more\":{}{}}}", "[".repeat(7000), "]".repeat(7000));
    let answer = json_post(&maru, "/r/lobby", deeper);
    assert!(matches!(answer.status, 201 | 400), "{}", answer.text());
    assert_eq!(maru.client().get("/healthz").unwrap().status, 200);
}

#[test]
fn a_text_is_utf_8() {
    let maru = Maru::start();
    for text in [&b"\xff"[..], b"a\xc0\x80b", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xea\xb0"] {
        assert_problem(&maru.client().post("/r/lobby", "text/plain", text).unwrap(), 400, "bad_request");
    }
    let key = |key: &str| Request::new("POST", "/r/lobby").header("Idempotency-Key", key).body("x");
    assert_problem(&maru.client().send(&key(&"x".repeat(65))).unwrap(), 400, "bad_request");
    for target in ["/r/lobby?name=%FF%FE", "/r/lobby?ack=never"] {
        let answer = maru.client().post(target, "text/plain", "x").unwrap();
        assert!(matches!(answer.status, 201 | 400), "{}", answer.text());
    }
    assert_problem(&maru.client().post("/r/lobby?ack=never", "text/plain", "x").unwrap(), 400, "bad_request");
}

#[test]
fn a_type_that_is_not_understood_is_415() {
    let maru = Maru::start();
    for kind in ["multipart/form-data; boundary=x", "Multipart/Mixed", "multipart/form-data"] {
        assert_problem(&maru.client().post("/r/lobby", kind, "--x--").unwrap(), 415, "unsupported_type");
    }
    let (token, _) = maru.sign_in("Ann");
    for (method, target) in
        [("POST", "/api/session"), ("PATCH", "/api/session"), ("POST", "/api/session/ticket")]
    {
        let request = Request::new(method, target).header("Content-Type", "text/plain").body("name=Ann");
        assert_problem(&maru.client_as(&token).send(&request).unwrap(), 415, "unsupported_type");
    }
    assert!(is_silent(&maru));
}

#[test]
fn what_is_not_there_is_404_and_so_is_what_one_may_not_know_of() {
    let maru = Maru::start();
    let (token, _) = maru.sign_in("Ann");
    let unknown = maru.client().get("/nowhere").unwrap();
    assert_problem(&unknown, 404, "not_found");
    let gets = [
        "/nowhere/at/all".to_owned(),
        "/r".to_owned(),
        "/r//".to_owned(),
        "/api".to_owned(),
        "/api/chat/lobby/nothing".to_owned(),
        "/assets/0/../../etc/passwd".to_owned(),
        "/assets/0/..%2f..%2fetc%2fpasswd".to_owned(),
        "/assets/0/app.rs".to_owned(),
        format!("/r/{UUID}"),
        format!("/r/{}", UUID.to_uppercase()),
        format!("/r/{}", UUID.replace('-', "")),
        format!("/r/{UUID}/"),
        format!("/r/{UUID}?poll=1"),
        format!("/api/chat/{UUID}"),
        format!("/api/chat/{UUID}/events"),
        format!("/api/chat/{UUID}/members"),
        format!("/api/history?room={UUID}"),
    ];
    for target in &gets {
        for mut client in [maru.client(), maru.client_as(&token)] {
            let answer = client.get(target).unwrap();
            assert_problem(&answer, 404, "not_found");
            assert_eq!(answer.text(), unknown.text(), "{target}");
            let names = |answer: &Response| {
                let mut names: Vec<_> = answer.headers.iter().map(|(name, _)| name.to_lowercase()).collect();
                names.sort();
                names
            };
            assert_eq!(names(&answer), names(&unknown), "{target}");
        }
    }
    for (method, target) in [
        ("POST", format!("/r/{UUID}")),
        ("POST", format!("/api/chat/{UUID}/messages")),
        ("PATCH", format!("/api/chat/{UUID}/messages/1")),
        ("DELETE", format!("/api/chat/{UUID}/messages/1")),
        ("DELETE", "/api/chat/lobby/messages/1".to_owned()),
        ("POST", "/nowhere".to_owned()),
    ] {
        let answer = maru.client_as(&token).send(&Request::new(method, &target).body("x")).unwrap();
        assert_problem(&answer, 404, "not_found");
        assert_eq!(answer.text(), unknown.text(), "{method} {target}");
    }
}

#[test]
fn a_name_that_no_room_can_have_is_a_bad_request() {
    let maru = Maru::start();
    let long = "x".repeat(65);
    for name in ["a b", "a.b", "a/b", "😀", "a\n", "search", "SEARCH", "..", long.as_str()] {
        let target = format!("/r/{}", loadtest::speak::percent_encoded(name));
        assert_problem(&maru.client().get(&target).unwrap(), 400, "bad_request");
        assert_problem(&maru.client().post(&target, "text/plain", "x").unwrap(), 400, "bad_request");
    }
    for query in [
        "",
        "?room=",
        "?room=a%20b",
        "?room=lobby&limit=0",
        "?room=lobby&limit=201",
        "?room=lobby&limit=x",
        "?room=lobby&before=x",
        "?room=lobby&after=1",
        "?room=lobby&before=1-5&after=1-1",
    ] {
        assert_problem(&maru.client().get(&format!("/api/history{query}")).unwrap(), 400, "bad_request");
    }
}

#[test]
fn a_method_that_a_path_does_not_know_is_405_with_those_that_it_does() {
    let maru = Maru::start();
    for (method, target, allowed) in [
        ("PUT", "/r/lobby", "GET, HEAD, OPTIONS, POST"),
        ("DELETE", "/r/lobby/", "GET, HEAD, OPTIONS, POST"),
        ("PUT", "/api/session", "DELETE, GET, HEAD, OPTIONS, PATCH, POST"),
        ("GET", "/api/session/ticket", "OPTIONS, POST"),
        ("POST", "/api/history", "GET, HEAD, OPTIONS"),
        ("GET", "/api/chat/lobby/messages", "OPTIONS, POST"),
        ("GET", "/api/chat/lobby/messages/1", "DELETE, OPTIONS, PATCH"),
        ("POST", "/healthz", "GET, HEAD, OPTIONS"),
        ("TRACE", "/healthz", "GET, HEAD, OPTIONS"),
        ("PROPFIND", "/", "GET, HEAD, OPTIONS"),
        ("get", "/healthz", "GET, HEAD, OPTIONS"),
    ] {
        let answer = maru.client().send(&Request::new(method, target)).unwrap();
        assert_problem(&answer, 405, "method_not_allowed");
        let mut methods: Vec<_> = answer.headers.get("allow").unwrap().split(", ").collect();
        methods.sort_unstable();
        assert_eq!(methods.join(", "), allowed, "{method} {target}");
    }
    let head = maru.client().send(&Request::new("HEAD", "/healthz")).unwrap();
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[test]
fn who_one_is_must_be_shown_where_it_matters_and_must_be_true_where_it_is_shown() {
    let maru = Maru::start();
    maru.say("lobby", "hi");
    for (method, target, body) in [
        ("GET", "/api/session", None),
        ("PATCH", "/api/session", Some(r#"{"name":"Bob"}"#)),
        ("DELETE", "/api/session", None),
        ("POST", "/api/session/ticket", Some(r#"{"path":"/r/lobby"}"#)),
        ("PATCH", "/api/chat/lobby/messages/1", Some(r#"{"text":"ho"}"#)),
        ("DELETE", "/api/chat/lobby/messages/1", None),
    ] {
        let mut request = Request::new(method, target);
        if let Some(body) = body {
            request = request.header("Content-Type", "application/json").body(body);
        }
        assert_problem(&maru.client().send(&request).unwrap(), 401, "unauthenticated");
        assert_problem(&maru.client_as("nonsense").send(&request).unwrap(), 401, "unauthenticated");
    }
    // A token is meant: whoever gives a bad one is not made a guest.
    assert_problem(&maru.client_as("nonsense").get("/r/lobby").unwrap(), 401, "unauthenticated");
    assert_problem(
        &maru.client_as("a.b.c").post("/r/lobby", "text/plain", "x").unwrap(),
        401,
        "unauthenticated",
    );
    assert_problem(&maru.client().get("/r/lobby?ticket=nonsense").unwrap(), 401, "unauthenticated");
}

#[test]
fn a_refusal_says_nothing_of_what_is_inside() {
    let maru = Maru::start();
    let (token, _) = maru.sign_in("Ann");
    let answers = [
        maru.client().get("/nowhere").unwrap(),
        json_post(&maru, "/r/lobby", "{"),
        json_post(&maru, "/r/lobby", r#"{"text":7}"#),
        maru.client_as(&format!("{token}x")).get("/api/session").unwrap(),
        maru.client().get("/api/history?room=lobby&before='%3B%20DROP").unwrap(),
        maru.client().send(&Request::new("PUT", "/r/lobby")).unwrap(),
    ];
    for answer in answers {
        let text = answer.text();
        for inside in ["panick", ".rs", "src/", "SELECT", "sqlite", "serde", "struct ", &token] {
            assert!(!text.contains(inside), "{text}");
        }
        assert_eq!(answer.headers.get("server"), None);
        assert_eq!(answer.headers.get("x-content-type-options"), Some("nosniff"));
    }
}

/// What a browser sends from a page somewhere, with the cookie of somebody.
fn from_page(server: SocketAddr, headers: &[(&str, &str)], cookie: Option<&str>) -> Response {
    let mut request = Request::new("POST", "/r/lobby");
    for (name, value) in headers {
        request = request.header(name, value);
    }
    if let Some(cookie) = cookie {
        request = request.header("Cookie", &format!("maru_session={cookie}"));
    }
    Client::new(server).send(&request.body("hi")).unwrap()
}

#[test]
fn a_post_with_the_cookie_comes_from_this_site_or_a_configured_one_or_a_program() {
    let maru = Maru::with(&["--rate-limit", "off", "--origin", "https://blog.example,http://localhost:3000"]);
    let (token, _) = maru.sign_in("Ann");
    // Each pod is a site of its own, by its port.
    let server = maru.address();
    let own = format!("http://{server}");
    let own_tls = format!("https://{server}");
    let other_port = format!("http://127.0.0.1:{}", server.port() ^ 1);
    let cases: &[(&[(&str, &str)], bool)] = &[
        (&[], true),
        (&[("Origin", &own)], true),
        (&[("Origin", &own_tls)], true),
        (&[("Origin", &own), ("Sec-Fetch-Site", "same-origin")], true),
        (&[("Sec-Fetch-Site", "same-origin")], true),
        (&[("Sec-Fetch-Site", "none")], true),
        (&[("Origin", "https://blog.example"), ("Sec-Fetch-Site", "cross-site")], true),
        (&[("Origin", "http://localhost:3000")], true),
        (&[("Host", "chat.example"), ("Origin", "https://chat.example")], true),
        (&[("Origin", "null")], false),
        (&[("Origin", "null"), ("Sec-Fetch-Site", "same-origin")], false),
        (&[("Origin", "https://evil.example")], false),
        (&[("Origin", "https://evil.example"), ("Sec-Fetch-Site", "same-origin")], false),
        (&[("Origin", "http://blog.example")], false),
        (&[("Origin", "https://blog.example:444")], false),
        (&[("Origin", "https://blog.example.evil.example")], false),
        (&[("Origin", "https://notblog.example")], false),
        (&[("Origin", &other_port)], false),
        (&[("Origin", "")], false),
        (&[("Origin", "file://")], false),
        (&[("Sec-Fetch-Site", "cross-site")], false),
        (&[("Sec-Fetch-Site", "same-site")], false),
        (&[("Sec-Fetch-Site", "")], false),
        (&[("Host", "chat.example"), ("Origin", "https://chat.example:8443")], false),
    ];
    for (headers, is_own) in cases {
        let answer = from_page(server, headers, Some(&token));
        if *is_own {
            assert_eq!(answer.status, 201, "{headers:?}: {}", answer.text());
        } else {
            assert_problem(&answer, 403, "bad_origin");
        }
        // Without the cookie there is nothing to misuse.
        assert_eq!(from_page(server, headers, None).status, 201, "{headers:?}");
    }
    // All that changes something, a broken cookie too, and a cookie among others.
    let foreign = |method: &str, target: &str, cookie: &str| {
        let request =
            Request::new(method, target).header("Origin", "https://evil.example").header("Cookie", cookie);
        maru.client().send(&request.header("Content-Type", "application/json").body("{}")).unwrap()
    };
    let cookie = format!("theme=dark; maru_session={token}");
    for (method, target) in [
        ("POST", "/api/session"),
        ("PATCH", "/api/session"),
        ("DELETE", "/api/session"),
        ("POST", "/api/session/ticket"),
        ("DELETE", "/api/chat/lobby/messages/1"),
    ] {
        assert_problem(&foreign(method, target, &cookie), 403, "bad_origin");
    }
    assert_problem(&foreign("POST", "/api/session", "maru_session=broken"), 403, "bad_origin");
    assert_eq!(maru.client_as(&token).get("/api/session").unwrap().status, 200);
}

#[test]
fn cors_answers_configured_origins_exactly() {
    let maru = Maru::with(&["--rate-limit", "off", "--origin", "https://blog.example"]);
    let ask = |method: &str, target: &str, origin: &str| {
        let request = Request::new(method, target).header("Origin", origin);
        maru.client().send(&request.header("Access-Control-Request-Method", "POST")).unwrap()
    };
    let allowed = |answer: &Response| answer.headers.get("access-control-allow-origin").map(str::to_owned);
    for (method, target) in [
        ("GET", "/api/history?room=lobby"),
        ("GET", "/nowhere"),
        ("PUT", "/r/lobby"),
        ("GET", "/r/lobby?history=x"),
    ] {
        let answer = ask(method, target, "https://blog.example");
        assert_eq!(allowed(&answer).as_deref(), Some("https://blog.example"), "{method} {target}");
        assert_eq!(answer.headers.get("access-control-allow-credentials"), Some("true"));
        assert!(answer.headers.all("vary").any(|vary| vary.contains("Origin")));
        for other in ["https://evil.example", "null", "http://blog.example", "https://blog.example.", "*"] {
            let answer = ask(method, target, other);
            assert_eq!(allowed(&answer), None, "{other}");
            assert!(answer.headers.all("vary").any(|vary| vary.contains("Origin")));
        }
    }
    // A preflight of what a page would send.
    let preflight = ask("OPTIONS", "/r/lobby", "https://blog.example");
    assert_eq!(preflight.status, 204, "{}", preflight.text());
    assert_eq!(allowed(&preflight).as_deref(), Some("https://blog.example"));
    let says = |name: &str, what: &str| {
        preflight.headers.get(name).unwrap().split(',').any(|one| one.trim().eq_ignore_ascii_case(what))
    };
    assert!(says("access-control-allow-methods", "POST"));
    for field in ["content-type", "authorization", "idempotency-key", "last-event-id"] {
        assert!(says("access-control-allow-headers", field), "{field}");
    }
    assert_eq!(allowed(&ask("OPTIONS", "/r/lobby", "https://evil.example")), None);
    assert_problem(&ask("OPTIONS", "/nowhere", "https://blog.example"), 404, "not_found");
    // The answer to a refused origin can at least be read by nobody else.
    let closed = Maru::start();
    let request = Request::new("OPTIONS", "/r/lobby").header("Origin", "https://blog.example");
    assert_eq!(allowed(&closed.client().send(&request).unwrap()), None);
}
