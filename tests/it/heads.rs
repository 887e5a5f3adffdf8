//! Bytes that two readers could take in two ways get one answer and a close, and nothing is smuggled past.

use loadtest::{http::Response, speak::whole_log};

use crate::{
    harness::{Maru, assert_problem},
    raw::Raw,
};

/// What an attacker wants to have taken for a request of its own.
pub const SMUGGLED: &str = "POST /r/lobby HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\nsmuggled";
pub const POST: &str = "POST /r/lobby HTTP/1.1\r\nHost: x\r\n";

/// Fields that say in two ways how long a body is, or in one that nobody should read.
pub const FRAMINGS: [&str; 45] = [
    "Transfer-Encoding: chunked\r\nContent-Length: 5",
    "Content-Length: 5\r\nTransfer-Encoding: chunked",
    "Content-Length: 0\r\nTransfer-Encoding: chunked",
    "Content-Length: 5\r\nContent-Length: 5",
    "Content-Length: 5\r\nContent-Length: 0",
    "Content-Length: 0\r\nContent-Length: 5",
    "content-length: 5\r\nCONTENT-LENGTH: 6",
    "Content-Length: 5, 5",
    "Content-Length: 5,6",
    "Content-Length: +5",
    "Content-Length: -5",
    "Content-Length: 0x5",
    "Content-Length: 5 5",
    "Content-Length: 5.0",
    "Content-Length: \"5\"",
    "Content-Length:",
    "Content-Length: 18446744073709551616",
    "Content-Length: 9223372036854775808",
    "Content-Length: ５",
    "Transfer-Encoding: chunked, x",
    "Transfer-Encoding: x, chunked",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: chunked, chunked",
    "Transfer-Encoding: chunked, identity",
    "Transfer-Encoding: identity",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding: chunked;q=1",
    "Transfer-Encoding: \"chunked\"",
    "Transfer-Encoding:",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding : chunked",
    "Transfer-Encoding\t: chunked",
    "Transfer-Encoding: \u{b}chunked",
    "Transfer-Encoding: \0chunked",
    "Transfer-Encoding: chunked\r\n , x",
    "Transfer-Encoding:\r\n chunked",
    "X: y\r\n Transfer-Encoding: chunked",
    "X: y\r\n\tContent-Length: 5",
    "Content-Length : 5",
    "Content-Length\u{a0}: 5",
    "X: y\nContent-Length: 5",
    "X: y\rContent-Length: 5",
    "X: y\0Content-Length: 5",
];

/// Heads whose lines do not end as lines do.
pub const LINES: [&str; 5] = [
    "POST /r/lobby HTTP/1.1\nHost: x\nContent-Length: 4\n\nhalf",
    "POST /r/lobby HTTP/1.1\r\nHost: x\nContent-Length: 4\r\n\r\nhalf",
    "POST /r/lobby HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\nhalf",
    "POST /r/lobby HTTP/1.1\r\nHost: x\r\nContent-Length: 4\n\r\nhalf",
    "POST /r/lobby HTTP/1.1\rHost: x\rContent-Length: 4\r\rhalf",
];

/// What was said in the lobby.
pub fn texts(maru: &Maru) -> Vec<String> {
    let log = whole_log(&mut maru.client(), "lobby").unwrap();
    let text = |data: &str| {
        serde_json::from_str::<serde_json::Value>(data).unwrap()["text"].as_str().unwrap().to_owned()
    };
    log.iter().map(|kept| text(&kept.data)).collect()
}

/// One answer, which says what is wrong and that it is the last; then the end.
fn assert_refused(answers: &[Response], status: u16, code: &str, what: &str) {
    assert_eq!(answers.len(), 1, "{what:?} had {} answers", answers.len());
    assert_eq!(answers[0].status, status, "{what:?}: {}", answers[0].text());
    assert_problem(&answers[0], status, code);
    assert_eq!(answers[0].headers.get("connection"), Some("close"), "{what:?}");
}

#[test]
fn a_body_has_one_length() {
    let maru = Maru::start();
    for framing in FRAMINGS {
        let sent = format!("{POST}{framing}\r\n\r\n0\r\n\r\n{SMUGGLED}");
        assert_refused(&Raw::saying(&maru, sent).answers(), 400, "bad_request", framing);
    }
    assert!(texts(&maru).is_empty(), "{:?}", texts(&maru));
}

#[test]
fn a_head_has_one_form() {
    let maru = Maru::start();
    let heads = [
        // Hosts.
        "GET /healthz HTTP/1.1\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: x\r\nhost: y\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost:\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: x, y\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: x/y\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: a@b\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: x:99999\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: [::1\r\n\r\n",
        "GET http://y/healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        // Request lines.
        "GET /healthz\r\n\r\n",
        "GET  /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /healthz  HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /healthz HTTP/1.1 \r\nHost: x\r\n\r\n",
        " GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET\t/healthz\tHTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /heal thz HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /healthz HTTP/1.2\r\nHost: x\r\n\r\n",
        "GET /healthz HTTP/2.0\r\nHost: x\r\n\r\n",
        "GET /healthz HTTP/1.10\r\nHost: x\r\n\r\n",
        "GET /healthz http/1.1\r\nHost: x\r\n\r\n",
        "GET /healthz ICE/1.0\r\nHost: x\r\n\r\n",
        "GET healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /healthz#part HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET * HTTP/1.1\r\nHost: x\r\n\r\n",
        "G(T /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /heal\u{7f}thz HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET ftp://x/healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        "CONNECT x HTTP/1.1\r\nHost: x\r\n\r\n",
        // Fields.
        "GET /healthz HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: x\r\n: no name\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: x\r\nna me: y\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: x\r\nnäme: y\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: x\r\nX: \u{8}\r\n\r\n",
        "GET /healthz HTTP/1.1\r\n Host: x\r\n\r\n",
        // Other protocols.
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\u{3}\u{3}",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "EHLO mail.example\r\n",
        "\0\0\0\0",
        "\r\n\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        // HTTP/1.0 has no chunks.
        "POST /r/lobby HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ];
    for head in LINES.into_iter().chain(heads) {
        assert_refused(&Raw::saying(&maru, format!("{head}{SMUGGLED}")).answers(), 400, "bad_request", head);
    }
    assert!(texts(&maru).is_empty(), "{:?}", texts(&maru));
    assert_eq!(maru.client().get("/healthz").unwrap().status, 200);
}

#[test]
fn chunks_have_one_form() {
    let maru = Maru::start();
    let bodies = [
        "0x5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello!\r\n0\r\n\r\n",
        "6\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n\r\n\r\n",
        "g\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "FFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n",
        "00000000000000005\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\n\n",
        "5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n",
        "5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
        "5\r\nhello\r\n0\r\nHost: y\r\n\r\n",
        "5\r\nhello\r\n0\r\n folded\r\n\r\n",
        "5;x\nhello\r\n0\r\n\r\n",
        "5;x\0\r\nhello\r\n0\r\n\r\n",
    ];
    for body in bodies {
        let sent = format!("{POST}Transfer-Encoding: chunked\r\n\r\n{body}{SMUGGLED}");
        let answers = Raw::saying(&maru, sent).answers();
        // Some bytes mean another length, and then the body is what is wrong.
        assert_eq!(answers.len(), 1, "{body:?}");
        assert!(matches!(answers[0].status, 400 | 413), "{body:?}: {}", answers[0].text());
        assert_problem(&answers[0], answers[0].status, answers[0].json()["code"].as_str().unwrap());
    }
    assert!(texts(&maru).is_empty(), "{:?}", texts(&maru));
}

#[test]
fn unusual_heads_with_one_reading_are_read() {
    let maru = Maru::start();
    let heads = [
        ("GET /healthz HTTP/1.0\r\n\r\n", 200),
        ("GET /healthz HTTP/1.0\r\nHost: x\r\n\r\n", 200),
        ("\r\nGET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 200),
        ("GET /healthz HTTP/1.1\r\nhOST:x\r\nconnection:\tCLOSE \r\nEmpty:\r\n\r\n", 200),
        ("GET http://x/healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 200),
        ("GET /healthz HTTP/1.1\r\nHost: [::1]:8080\r\nConnection: close\r\nX: h\u{e9}\r\n\r\n", 200),
        ("BREW /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 405),
        ("GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 404),
        ("GET //healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 404),
        ("GET /../healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 404),
    ];
    for (head, status) in heads {
        let answers = Raw::saying(&maru, head).answers();
        assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [status], "{head:?}");
    }
    let chunked = "Connection: close\r\nTransfer-Encoding: Chunked\r\n\r\n2;a=\"b\"\r\nhe\r\n003\r\nllo\r\n0\r\nX: y\r\n\r\n";
    let answers = Raw::saying(&maru, format!("{POST}{chunked}")).answers();
    assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [201]);
    assert_eq!(texts(&maru), ["hello"]);
}

#[test]
fn too_long_a_target_and_too_large_a_head_are_answered_before_they_end() {
    let maru = Maru::start();
    // None of them ends: whoever waits for the end would wait until the time is over.
    let target = format!("GET /{}", "x".repeat(5000));
    assert_refused(&Raw::saying(&maru, target).answers(), 414, "uri_too_long", "a target");
    let method = "X".repeat(5000);
    assert_refused(&Raw::saying(&maru, method).answers(), 400, "bad_request", "a method");
    let field = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}", "x".repeat(17_000));
    assert_refused(&Raw::saying(&maru, field).answers(), 431, "head_too_large", "a field");
    let fields = format!("GET / HTTP/1.1\r\nHost: x\r\n{}", "X: y\r\n".repeat(4000));
    assert_refused(&Raw::saying(&maru, fields).answers(), 431, "head_too_large", "many fields");
    let trailer = format!("{POST}Transfer-Encoding: chunked\r\n\r\n0\r\n{}", "X: y\r\n".repeat(4000));
    let answers = Raw::saying(&maru, trailer).answers();
    assert!(answers.len() == 1 && (400..500).contains(&answers[0].status));
    assert!(texts(&maru).is_empty(), "{:?}", texts(&maru));
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let maru = Maru::start();
    let mut sent = String::new();
    for i in 1..=50 {
        let text = format!("message {i}");
        sent.push_str(&format!("{POST}Content-Length: {}\r\n\r\n{text}", text.len()));
        sent.push_str(&format!("GET /api/history?room=lobby&after=1-{} HTTP/1.1\r\nHost: x\r\n\r\n", i - 1));
    }
    let mut raw = Raw::to(&maru);
    std::thread::scope(|scope| {
        let mut half = Raw::from_socket(raw.socket().try_clone().unwrap());
        scope.spawn(move || half.send(sent));
        for i in 1..=50 {
            let spoken = raw.answer().unwrap();
            assert_eq!((spoken.status, &spoken.json()["seq"]), (201, &i.into()));
            let listed = raw.answer().unwrap().json();
            assert_eq!(listed["events"].as_array().unwrap().len(), 1);
            assert_eq!(listed["events"][0]["text"], format!("message {i}"));
        }
    });
}

#[test]
fn what_comes_before_a_bad_head_is_answered_first() {
    let maru = Maru::start();
    let good = format!("{POST}Content-Length: 4\r\n\r\ngood");
    let answers =
        Raw::saying(&maru, format!("{good}{good}{POST}Content-Length: x\r\n\r\n{SMUGGLED}")).answers();
    assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [201, 201, 400]);
    assert_refused(&answers[2..], 400, "bad_request", "the third");
    assert_eq!(texts(&maru), ["good", "good"]);
}

#[test]
fn nothing_is_read_after_a_stream_was_asked_for() {
    let maru = Maru::start();
    let mut raw = Raw::saying(&maru, format!("GET /r/lobby HTTP/1.1\r\nHost: x\r\n\r\n{SMUGGLED}"));
    maru.wait_for_metric("maru_streams", |streams| streams == 1.0);
    raw.send(SMUGGLED);
    maru.say("lobby", "spoken");
    assert_eq!(texts(&maru), ["spoken"]);
}

#[test]
fn a_body_is_asked_for_when_the_client_waits_for_that() {
    let maru = Maru::start();
    let mut raw = Raw::saying(&maru, format!("{POST}Content-Length: 5\r\nExpect: 100-continue\r\n\r\n"));
    assert_eq!(raw.answer().unwrap().status, 100);
    raw.send("hello");
    assert_eq!(raw.answer().unwrap().status, 201);
    // What would not be taken is not asked for.
    for (head, status) in [
        (format!("{POST}Content-Length: 99999\r\n"), 413),
        (format!("{POST}Content-Length: 9\r\nContent-Type: multipart/form-data\r\n"), 415),
        ("POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n".to_owned(), 404),
        ("POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n".to_owned(), 405),
    ] {
        let answers = Raw::saying(&maru, format!("{head}Expect: 100-continue\r\n\r\n")).answers();
        assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [status], "{head}");
    }
    assert_eq!(texts(&maru), ["hello"]);
}

#[test]
fn a_body_that_nobody_wants_is_no_next_request() {
    let maru = Maru::start();
    for head in ["POST /nowhere", "POST /healthz", "GET /healthz", "DELETE /api/session"] {
        let length = SMUGGLED.len();
        let sent = format!("{head} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{SMUGGLED}");
        let mut raw = Raw::saying(&maru, sent);
        assert!(raw.answer().is_some());
        // Whether it closes or goes on, the next is the next.
        if raw.try_send("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n") {
            assert!(raw.answers().iter().all(|answer| answer.status == 200), "{head}");
        }
    }
    assert!(texts(&maru).is_empty(), "{:?}", texts(&maru));
}
