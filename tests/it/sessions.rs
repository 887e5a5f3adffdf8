//! Section 3: who one is, for how long, under which name, and what a ticket is good for.

use loadtest::{
    http::{Request, Response},
    stream::Listen,
};
use maru::{
    clock,
    identity::{Seal, Session},
};
use serde_json::{Value, json};

use crate::harness::{Maru, assert_problem, deadline, wait_for};

fn hello(maru: &Maru, listen: &Listen) -> Value {
    let event = listen.open(maru.address()).unwrap().wait_for("hello", deadline()).unwrap();
    serde_json::from_str(&event.data).unwrap()
}

fn rename(maru: &Maru, token: &str, name: &str) -> Response {
    let request = Request::new("PATCH", "/api/session").header("Content-Type", "application/json");
    maru.client_as(token).send(&request.body(json!({"name": name}).to_string())).unwrap()
}

fn ticket(maru: &Maru, token: &str, path: &str) -> String {
    let answer = maru.client_as(token).post_json("/api/session/ticket", &json!({"path": path})).unwrap();
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()["ticket"].as_str().unwrap().to_owned()
}

fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

#[test]
fn a_session_is_a_person_a_token_and_a_cookie() {
    let maru = Maru::start();
    let answer = maru.client().post_json("/api/session", &json!({"name": "Ann", "more": 1})).unwrap();
    assert_eq!(answer.status, 201);
    let session = answer.json();
    assert_eq!((&session["user"]["name"], &session["user"]["kind"]), (&json!("Ann"), &json!("guest")));
    let expires = session["expires_at"].as_u64().unwrap();
    assert!(expires.abs_diff(now_ms() + 30 * DAY_MS) < 60_000, "{expires}");
    assert_eq!(answer.headers.get("cache-control"), Some("no-store"));

    let cookie = answer.headers.get("set-cookie").unwrap();
    let mut parts = cookie.split("; ");
    assert_eq!(parts.next().unwrap(), format!("maru_session={}", session["token"].as_str().unwrap()));
    let mut attributes: Vec<_> = parts.collect();
    attributes.sort_unstable();
    assert_eq!(attributes, ["HttpOnly", "Max-Age=2592000", "Path=/", "SameSite=Lax"]);

    // Both say the same.
    let token = session["token"].as_str().unwrap();
    let by_token = maru.client_as(token).get("/api/session").unwrap();
    let by_cookie =
        maru.client().header("Cookie", &format!("maru_session={token}")).get("/api/session").unwrap();
    assert_eq!((by_token.status, by_cookie.status), (200, 200));
    assert_eq!(by_token.json(), by_cookie.json());
    assert_eq!(
        (&by_token.json()["user"], &by_token.json()["expires_at"]),
        (&session["user"], &json!(expires))
    );
    // A young session is not renewed each time.
    assert_eq!(by_cookie.headers.get("set-cookie"), None);
    // No body at all is a guest too.
    assert_eq!(maru.client().send(&Request::new("POST", "/api/session")).unwrap().status, 201);
}

#[test]
fn a_session_that_is_used_does_not_end() {
    let secret = "a secret of some length";
    let maru = Maru::with(&["--secret", secret]);
    let seal = Seal::new(&[secret.into()]);
    let two_days_ago = clock::seconds() - 2 * DAY_MS / 1000;
    let old = Session::guest("Ann".parse().unwrap(), two_days_ago);
    let token = seal.session(&old);
    let by_token = maru.client_as(&token).get("/api/session").unwrap().json();
    let by_cookie =
        maru.client().header("Cookie", &format!("maru_session={token}")).get("/api/session").unwrap();
    let cookie = by_cookie.headers.get("set-cookie").unwrap().split(['=', ';']).nth(1).unwrap().to_owned();
    assert_eq!(by_cookie.json().get("token"), None, "scripts cannot read the cookie, and shall not");
    for new in [by_token["token"].as_str().unwrap(), &cookie] {
        let session = seal.read_session(new).unwrap();
        assert_eq!((session.id, &session.user), (old.id, &old.user));
        assert!(session.expires > old.expires + DAY_MS / 1000);
    }
    assert!(by_token["expires_at"].as_u64().unwrap() > (old.expires + 1) * 1000);
    let young = maru.client_as(by_token["token"].as_str().unwrap()).get("/api/session").unwrap().json();
    assert_eq!(young.get("token"), None);
}

#[test]
fn the_cookie_is_secure_over_tls() {
    let maru = Maru::with(&["--trusted-proxy", "127.0.0.1"]);
    let over = |proto: &str| {
        let request = Request::new("POST", "/api/session").header("X-Forwarded-Proto", proto);
        maru.client().send(&request).unwrap().headers.get("set-cookie").unwrap().contains("; Secure")
    };
    assert!(over("https") && !over("http"));
    // Whoever is not a trusted proxy cannot say so.
    let request = Request::new("POST", "/api/session").header("X-Forwarded-Proto", "https");
    let answer = maru.client().from_source([127, 0, 0, 2].into()).send(&request).unwrap();
    assert!(!answer.headers.get("set-cookie").unwrap().contains("Secure"));
}

#[test]
fn the_cookie_is_found_among_others() {
    let maru = Maru::start();
    let (token, user) = maru.sign_in("Ann");
    for cookies in [
        format!("a=b; maru_session={token}"),
        format!("maru_session={token};theme=dark"),
        format!("xmaru_session=no; maru_session={token}"),
        format!("maru_session_2=no; maru_session={token}"),
        // Another program on the same host may have set whatever it likes.
        format!("이름=하늘; maru_session={token}"),
    ] {
        let who = maru.client().header("Cookie", &cookies).get("/api/session").unwrap();
        assert_eq!((who.status, &who.json()["user"]), (200, &user), "{cookies}");
    }
    for cookies in
        [format!("xmaru_session={token}"), format!("maru_session_2={token}"), "maru_session=".into()]
    {
        let who = maru.client().header("Cookie", &cookies).get("/api/session").unwrap();
        assert_problem(&who, 401, "unauthenticated");
    }
}

#[test]
fn whoever_listens_or_speaks_without_a_session_becomes_a_guest_and_stays_one() {
    let maru = Maru::start();
    let stream = maru.listen("/r/lobby?name=Ann");
    let cookie = format!("maru_session={}", stream.headers().set_cookie("maru_session").unwrap());
    let mut ann = maru.client().header("Cookie", &cookie);
    let who = ann.get("/api/session").unwrap().json();
    assert_eq!(who["user"]["name"], "Ann");
    let spoken = ann.post("/r/lobby?name=Bob", "text/plain", "hi").unwrap();
    assert_eq!((spoken.status, spoken.headers.get("set-cookie")), (201, None));
    let again = hello(&maru, &Listen::to("/r/lobby").header("Cookie", &cookie));
    assert_eq!(again["user"], who["user"]);

    let spoken = maru.client().post("/r/attic?name=Cho", "text/plain", "hi").unwrap();
    let cookie = format!("maru_session={}", spoken.headers.set_cookie("maru_session").unwrap());
    let who = maru.client().header("Cookie", &cookie).get("/api/session").unwrap().json();
    let events = maru.client().get("/api/history?room=attic").unwrap().json();
    assert_eq!((&who["user"]["name"], &events["events"][0]["user"]), (&json!("Cho"), &who["user"]));
}

#[test]
fn a_guest_who_never_speaks_leaves_no_row() {
    let mut maru = Maru::with(&["--drain", "0s"]);
    maru.listen_live("/r/lobby?name=Zebulon");
    // Whoever asks for a session by a name can be found by it; who gets one drawn cannot.
    let drawn = maru.client().post_json("/api/session", &json!({})).unwrap().json();
    let drawn = drawn["user"]["name"].as_str().unwrap().to_owned();
    assert_problem(
        &maru.client().post("/r/lobby?name=Zebulon", "text/plain", "").unwrap(),
        400,
        "bad_request",
    );
    maru.client().post("/r/lobby?name=Yolanda", "text/plain", "hi").unwrap();
    maru.tell_to_end();
    assert!(maru.ended().success());
    assert!(maru.has_stored("Yolanda") && !maru.has_stored("Zebulon") && !maru.has_stored(&drawn));
}

#[test]
fn a_name_that_is_not_asked_for_is_two_words_in_the_callers_language() {
    let maru = Maru::start();
    let name = |accepted: Option<&str>| {
        let mut request = Request::new("POST", "/api/session");
        if let Some(accepted) = accepted {
            request = request.header("Accept-Language", accepted);
        }
        maru.client().send(&request).unwrap().json()["user"]["name"].as_str().unwrap().to_owned()
    };
    let is_korean = |name: &str| name.chars().all(|c| c == ' ' || ('가'..='힣').contains(&c));
    let is_english = |name: &str| name.chars().all(|c| c == ' ' || c.is_ascii_alphabetic());
    for accepted in ["ko", "ko-KR,ko;q=0.9,en;q=0.8", "en;q=0.5, ko"] {
        let name = name(Some(accepted));
        assert!(is_korean(&name) && name.split(' ').count() == 2, "{name:?} for {accepted}");
    }
    for accepted in [None, Some("en-US,en;q=0.9"), Some("fr"), Some(""), Some("ko;q=0"), Some("%%%")] {
        let name = name(accepted);
        assert!(is_english(&name) && name.split(' ').count() == 2, "{name:?} for {accepted:?}");
    }
    // On the spot too.
    let by_stream = hello(&maru, &Listen::to("/r/lobby").header("Accept-Language", "ko"));
    assert!(is_korean(by_stream["user"]["name"].as_str().unwrap()), "{by_stream}");
    // Who says nothing gets the server's.
    let korean = Maru::with(&["--lang", "ko"]);
    let answer = korean.client().send(&Request::new("POST", "/api/session")).unwrap().json();
    assert!(is_korean(answer["user"]["name"].as_str().unwrap()), "{answer}");
}

#[test]
fn a_rename_gives_a_new_token_and_what_was_said_keeps_the_old_name() {
    let maru = Maru::start();
    let (token, user) = maru.sign_in("Ann");
    maru.client_as(&token).post("/r/lobby", "text/plain", "as Ann").unwrap();
    let answer = rename(&maru, &token, "  Anna ");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let renamed = answer.json();
    assert_eq!((&renamed["user"]["name"], &renamed["user"]["id"]), (&json!("Anna"), &user["id"]));
    let new = renamed["token"].as_str().unwrap();
    assert_ne!(new, token);
    assert_eq!(answer.headers.set_cookie("maru_session"), Some(new));
    assert_eq!(maru.client_as(new).get("/api/session").unwrap().json()["user"], renamed["user"]);
    maru.client_as(new).post("/r/lobby", "text/plain", "as Anna").unwrap();
    let events = maru.client().get("/api/history?room=lobby").unwrap().json();
    let names: Vec<_> = (0..2).map(|i| events["events"][i]["user"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["Ann", "Anna"]);
    // It is still her message.
    let delete = Request::new("DELETE", "/api/chat/lobby/messages/1");
    assert_eq!(maru.client_as(new).send(&delete).unwrap().status, 200);
    // Names are not unique.
    assert_eq!(maru.sign_in("Anna").1["name"], "Anna");
    let nameless =
        Request::new("PATCH", "/api/session").header("Content-Type", "application/json").body("{}");
    assert_problem(&maru.client_as(new).send(&nameless).unwrap(), 400, "bad_request");
}

#[test]
fn signing_out_ends_every_token_of_the_session_also_after_a_restart() {
    let mut maru = Maru::start();
    let (token, _) = maru.sign_in("Ann");
    let (other, _) = maru.sign_in("Bob");
    let renamed = rename(&maru, &token, "Anna").json()["token"].as_str().unwrap().to_owned();
    let ticket = ticket(&maru, &token, "/r/lobby");
    let end = Request::new("DELETE", "/api/session").header("Cookie", &format!("maru_session={renamed}"));
    let answer = maru.client().send(&end).unwrap();
    assert_eq!((answer.status, answer.body.len()), (204, 0));
    let gone = answer.headers.get("set-cookie").unwrap();
    assert!(
        gone.starts_with("maru_session=;") && gone.contains("Max-Age=0") && gone.contains("Path=/"),
        "{gone}"
    );
    wait_for("she is out", || {
        maru.on_all(|client| {
            let bearer = format!("Bearer {renamed}");
            client.header("Authorization", &bearer).get("/api/session").unwrap().status == 401
        })
    });
    for _ in 0..2 {
        for dead in [&token, &renamed] {
            assert_problem(&maru.client_as(dead).get("/api/session").unwrap(), 401, "unauthenticated");
            assert_problem(
                &maru.client_as(dead).post("/r/lobby", "text/plain", "x").unwrap(),
                401,
                "unauthenticated",
            );
            // The cookie alone is as none where anybody may come.
            let cookie = format!("maru_session={dead}");
            let by_cookie =
                maru.client().header("Cookie", &cookie).post("/r/attic", "text/plain", "x").unwrap();
            assert_eq!(by_cookie.status, 201);
            assert!(by_cookie.headers.set_cookie("maru_session").is_some());
        }
        let by_ticket = maru.client().get(&format!("/r/lobby?ticket={ticket}")).unwrap();
        assert_problem(&by_ticket, 401, "unauthenticated");
        assert_eq!(maru.client_as(&other).get("/api/session").unwrap().status, 200);
        maru.kill();
        maru.restart();
    }
    assert_problem(
        &maru.client_as(&token).send(&Request::new("DELETE", "/api/session")).unwrap(),
        401,
        "unauthenticated",
    );
}

#[test]
fn a_broken_cookie_counts_as_none_on_open_rooms() {
    let maru = Maru::start();
    let (token, user) = maru.sign_in("Ann");
    let foreign = Maru::start().sign_in("Mallory").0;
    let (head, rest) = token.split_once('.').unwrap();
    let cut = &token[..token.len() - 4];
    for broken in ["", "x", "a.b.c", cut, &format!("{head}x.{rest}"), &format!("{token}."), &foreign] {
        let cookie = format!("maru_session={broken}");
        let hello = hello(&maru, &Listen::to("/r/lobby").header("Cookie", &cookie));
        assert_ne!(hello["user"]["id"], user["id"]);
        let spoken = maru.client().header("Cookie", &cookie).post("/r/lobby", "text/plain", "hi").unwrap();
        assert_eq!(spoken.status, 201, "{broken}: {}", spoken.text());
        assert!(spoken.headers.set_cookie("maru_session").is_some());
        let who = maru.client().header("Cookie", &cookie).get("/api/session").unwrap();
        assert_problem(&who, 401, "unauthenticated");
    }
}

#[test]
fn a_ticket_reads_its_path_and_nothing_else() {
    let maru = Maru::with(&["--rate-limit", "off", "--origin", "https://blog.example"]);
    let (token, user) = maru.sign_in("Ann");
    let answer =
        maru.client_as(&token).post_json("/api/session/ticket", &json!({"path": "/r/lobby"})).unwrap();
    let expires = answer.json()["expires_at"].as_u64().unwrap();
    assert!(expires.abs_diff(now_ms() + DAY_MS / 2) < 60_000, "{expires}");
    let ticket = answer.json()["ticket"].as_str().unwrap().to_owned();

    // A page of another site opens a stream with it, again and again.
    for _ in 0..2 {
        let target = format!("/r/lobby?ticket={ticket}");
        let listen = Listen::to(&target)
            .header("Origin", "https://blog.example")
            .header("Sec-Fetch-Site", "cross-site");
        let mut stream = listen.open(maru.address()).unwrap();
        assert_eq!(stream.headers().get("access-control-allow-origin"), Some("https://blog.example"));
        assert_eq!(stream.headers().get("set-cookie"), None);
        let hello: Value = serde_json::from_str(&stream.wait_for("hello", deadline()).unwrap().data).unwrap();
        assert_eq!(hello["user"], user);
        stream.wait_for("live", deadline()).unwrap();
        maru.say("lobby", "to her");
        stream.wait_for("message", deadline()).unwrap();
    }
    assert_eq!(
        maru.client().get(&format!("/r/lobby/?ticket={ticket}&poll=1&history=5")).unwrap().status,
        200
    );
    for other in ["/r/attic", "/api/chat/lobby/events", "/api/session", "/api/history", "/api/chat/lobby"] {
        let answer = maru.client().get(&format!("{other}?ticket={ticket}&room=lobby")).unwrap();
        assert_problem(&answer, 401, "unauthenticated");
    }
    // It is no token, and it does not write.
    assert_problem(&maru.client_as(&ticket).get("/api/session").unwrap(), 401, "unauthenticated");
    let cookie = format!("maru_session={ticket}");
    let by_cookie = maru.client().header("Cookie", &cookie).get("/api/session").unwrap();
    assert_problem(&by_cookie, 401, "unauthenticated");
    let spoken = maru.client().post(&format!("/r/lobby?ticket={ticket}"), "text/plain", "hi").unwrap();
    if spoken.status == 201 {
        // As anybody may, and not as her.
        let cursor = spoken.json()["seq"].as_u64().unwrap() - 1;
        let page = maru.client().get(&format!("/api/history?room=lobby&after=1-{cursor}")).unwrap().json();
        assert_ne!(page["events"][0]["user"]["id"], user["id"]);
    }
    let delete = Request::new("DELETE", &format!("/api/session?ticket={ticket}"));
    assert_problem(&maru.client().send(&delete).unwrap(), 401, "unauthenticated");
    // A token is no ticket.
    assert_problem(&maru.client().get(&format!("/r/lobby?ticket={token}")).unwrap(), 401, "unauthenticated");
    for path in
        ["", "r/lobby", "https://x/r/lobby", "/r/lobby?x", "/r/lobby#x", &format!("/{}", "x".repeat(2000))]
    {
        let answer = maru.client_as(&token).post_json("/api/session/ticket", &json!({"path": path})).unwrap();
        assert_problem(&answer, 400, "bad_request");
    }
}

#[test]
fn a_ticket_knows_its_path_however_it_is_written() {
    let maru = Maru::start();
    let (token, _) = maru.sign_in("Ann");
    let encoded = format!("/r/{}", loadtest::speak::percent_encoded("수다방"));
    for path in ["/r/수다방", "/r/수다방/", &encoded] {
        let ticket = ticket(&maru, &token, path);
        for target in [&encoded, &format!("{encoded}/")] {
            maru.listen_live(&format!("{target}?ticket={ticket}"));
        }
    }
}

#[test]
fn secrets_rotate_without_signing_anybody_out() {
    let (old, new) = ("the old secret of this pod", "the new secret of this pod");
    let mut maru = Maru::with(&["--secret", old]);
    let (token, user) = maru.sign_in("Ann");
    let ticket = ticket(&maru, &token, "/r/lobby");
    let is_known = |maru: &Maru, token: &str| {
        let answer = maru.client_as(token).get("/api/session").unwrap();
        if answer.status == 200 {
            assert_eq!(answer.json()["user"]["id"], user["id"]);
        }
        answer.status == 200
    };
    assert!(is_known(&maru, &token));
    maru.restart_with(&["--secret", &format!("{new},{old}")]);
    assert!(is_known(&maru, &token));
    maru.listen_live(&format!("/r/lobby?ticket={ticket}"));
    // What is given out now lasts.
    let renewed = rename(&maru, &token, "Anna").json()["token"].as_str().unwrap().to_owned();
    maru.restart_with(&["--secret", new]);
    assert!(is_known(&maru, &renewed) && !is_known(&maru, &token));
}

#[test]
fn a_rename_is_seen_by_those_who_ask_who_is_here() {
    let maru = Maru::start();
    let (token, user) = maru.sign_in("Ann");
    let bearer = format!("Bearer {token}");
    let mut stream = Listen::to("/r/lobby").header("Authorization", &bearer).open(maru.address()).unwrap();
    stream.wait_for("live", deadline()).unwrap();
    assert_eq!(rename(&maru, &token, "Anna").status, 200);
    wait_for("the new name", || {
        let members = maru.client().get("/api/chat/lobby/members").unwrap().json();
        members["members"][0]["id"] == user["id"] && members["members"][0]["name"] == "Anna"
    });
}
