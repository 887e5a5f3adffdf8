//! The page as it is sent: who may frame it, how it is packed, and what pages of other sites load.

use std::io::Read;

use flate2::read::GzDecoder;
use loadtest::http::{Request, Response};

use crate::harness::Maru;

const BLOG: &str = "https://blog.example";

fn get(maru: &Maru, target: &str, accept_encoding: &str) -> Response {
    let request = Request::new("GET", target).header("Accept", "text/html");
    maru.client().send(&request.header("Accept-Encoding", accept_encoding)).unwrap()
}

fn ancestors(answer: &Response) -> String {
    let policy = answer.headers.get("content-security-policy").expect("a page has a policy");
    policy.split_once("frame-ancestors ").expect("it says who may frame it").1.to_owned()
}

/// What the document asks for next.
fn assets(html: &str) -> Vec<String> {
    let links = html.split('"').filter(|part| part.starts_with("/assets/"));
    links.map(str::to_owned).collect()
}

#[test]
fn only_the_page_for_frames_is_framed_and_only_by_configured_sites() {
    let open = Maru::with(&["--rate-limit", "off", "--origin", "https://blog.example,http://localhost:3000"]);
    let closed = Maru::start();
    for target in ["/", "/r/lobby", "/chat/", "/chat/x"] {
        let answer = get(&open, target, "identity");
        assert_eq!(
            (ancestors(&answer).as_str(), answer.headers.get("x-frame-options")),
            ("'none'", Some("DENY"))
        );
    }
    for target in ["/embed/lobby", "/embed/%EC%88%98%EB%8B%A4/", "/embed/a.b"] {
        for (maru, who) in [(&open, "'self' https://blog.example http://localhost:3000"), (&closed, "'self'")]
        {
            let answer = get(maru, target, "identity");
            assert_eq!((answer.status, ancestors(&answer).as_str()), (200, who), "{target}");
            // It cannot name origins, and is stronger in old browsers.
            assert_eq!(answer.headers.get("x-frame-options"), None);
            assert_eq!(answer.headers.get("referrer-policy"), Some("no-referrer"));
            assert!(answer.text().contains("/framed.js"));
        }
    }
}

#[test]
fn whoever_opens_direct_messages_in_a_window_has_no_hold_of_it() {
    let maru = Maru::start();
    for (target, policy) in
        [("/chat/", Some("same-origin")), ("/chat/x", Some("same-origin")), ("/r/lobby", None)]
    {
        assert_eq!(
            get(&maru, target, "identity").headers.get("cross-origin-opener-policy"),
            policy,
            "{target}"
        );
    }
}

#[test]
fn what_the_page_is_made_of_is_packed_for_those_who_take_it() {
    let maru = Maru::start();
    let html = get(&maru, "/r/lobby", "identity").text();
    let mut targets = assets(&html);
    assert_eq!(targets.len(), 4, "{targets:?}");
    targets
        .extend(["/", "/r/lobby", "/embed/lobby", "/maru.js", "/tokens.js", "/embed.js"].map(str::to_owned));
    let mut saved = 0;
    for target in &targets {
        let plain = get(&maru, target, "gzip;q=0, br");
        let packed = get(&maru, target, "gzip, deflate, br");
        for answer in [&plain, &packed] {
            assert_eq!(answer.status, 200, "{target}");
            let mut vary = answer.headers.all("vary");
            assert!(vary.any(|fields| fields.contains("Accept-Encoding")), "{target}");
        }
        assert_eq!(plain.headers.get("content-encoding"), None, "{target}");
        assert_eq!(packed.headers.get("content-type"), plain.headers.get("content-type"));
        if packed.headers.get("content-encoding") == Some("gzip") {
            let mut unpacked = Vec::new();
            GzDecoder::new(&packed.body[..]).read_to_end(&mut unpacked).unwrap();
            assert!(unpacked == plain.body, "{target} is another text");
        } else {
            assert!(plain.body.len() < 512, "{target}: {} bytes are sent as they are", plain.body.len());
        }
        saved += plain.body.len() - packed.body.len();
    }
    assert!(saved > 100 << 10, "{saved} bytes saved");
    // Nothing that is said is packed: texts of several people in one answer would tell of each other by its length.
    maru.say("lobby", &"a".repeat(2000));
    let history = get(&maru, "/api/history?room=lobby", "gzip");
    assert_eq!((history.status, history.headers.get("content-encoding")), (200, None));
}

#[test]
fn pages_of_any_site_may_load_the_modules() {
    for maru in [Maru::start(), Maru::with(&["--origin", BLOG])] {
        for (target, words) in [
            ("/maru.js", "export class Room"),
            ("/tokens.js", "export class Tokens"),
            ("/embed.js", "data-room"),
        ] {
            let request = Request::new("GET", target).header("Origin", "https://other.example");
            let answer = maru.client().send(&request).unwrap();
            assert_eq!((answer.status, answer.text().contains(words)), (200, true), "{target}");
            for (name, value) in [
                ("content-type", "text/javascript; charset=utf-8"),
                ("cache-control", "no-cache"),
                ("access-control-allow-origin", "*"),
                ("cross-origin-resource-policy", "cross-origin"),
                ("x-content-type-options", "nosniff"),
            ] {
                assert_eq!(answer.headers.get(name), Some(value), "{target}");
            }
        }
    }
}

#[test]
fn a_page_of_a_configured_site_may_use_a_token() {
    let maru = Maru::with(&["--rate-limit", "off", "--origin", BLOG]);
    let asked = |method: &str, target: &str| {
        let request = Request::new("OPTIONS", target).header("Origin", BLOG);
        let request = request.header("Access-Control-Request-Method", method);
        maru.client()
            .send(&request.header("Access-Control-Request-Headers", "authorization,content-type"))
            .unwrap()
    };
    let says = |answer: &Response, name: &str, what: &str| {
        answer.headers.get(name).unwrap().split(", ").any(|one| one.eq_ignore_ascii_case(what))
    };
    for (method, target) in [
        ("POST", "/api/session"),
        ("PATCH", "/api/session"),
        ("DELETE", "/api/session"),
        ("POST", "/api/session/ticket"),
        ("GET", "/api/history"),
        ("POST", "/api/chat/lobby/messages"),
        ("PATCH", "/api/chat/lobby/messages/1"),
    ] {
        let answer = asked(method, target);
        assert_eq!((answer.status, answer.headers.get("access-control-allow-origin")), (204, Some(BLOG)));
        assert!(says(&answer, "access-control-allow-methods", method), "{method} {target}");
        assert!(says(&answer, "access-control-allow-headers", "authorization"), "{method} {target}");
        assert!(says(&answer, "access-control-allow-headers", "content-type"), "{method} {target}");
    }
    // And then what was asked for.
    let (token, _) = maru.sign_in("Ann");
    let spoken = Request::new("POST", "/api/chat/lobby/messages")
        .header("Origin", BLOG)
        .header("Sec-Fetch-Site", "cross-site")
        .header("Authorization", &format!("Bearer {token}"))
        .header("Content-Type", "application/json");
    let answer = maru.client().send(&spoken.body(r#"{"text":"hi"}"#)).unwrap();
    assert_eq!((answer.status, answer.headers.get("access-control-allow-origin")), (201, Some(BLOG)));
}
