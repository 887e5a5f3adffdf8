//! People whom the site that embeds maru knows: who they are, how long, and that nobody else passes for them.

use std::path::Path;

use jsonwebtoken::{Algorithm, EncodingKey, Header, jwk::Jwk};
use loadtest::{
    http::{Request, Response},
    stream::{Listen, Next},
};
use rustls::pki_types::{PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, pem::PemObject};
use serde_json::{Value, json};

use crate::harness::{Maru, assert_problem, deadline, run, wait_for};

const SECRET: &str = "a secret of the site and of maru";

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

fn claims(sub: &str, name: &str, seconds: u64) -> Value {
    json!({"sub": sub, "name": name, "aud": "maru", "exp": now() + seconds})
}

fn token(claims: &Value) -> String {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key).unwrap()
}

fn of(sub: &str, name: &str) -> String {
    token(&claims(sub, name, 600))
}

fn start() -> Maru {
    Maru::with(&["--rate-limit", "off", "--jwt-secret", SECRET])
}

fn key_file(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/keys").join(name).display().to_string()
}

fn who(maru: &Maru, token: &str) -> Response {
    maru.client_as(token).get("/api/session").unwrap()
}

#[test]
fn a_token_of_the_site_is_a_member_everywhere() {
    let maru = start();
    let ann = of("user-7", "Ann");
    let me = who(&maru, &ann).json();
    assert_eq!((&me["user"]["name"], &me["user"]["kind"]), (&json!("Ann"), &json!("member")));
    assert_eq!(maru.client_as(&ann).post("/r/lobby", "text/plain", "hi").unwrap().status, 201);
    let events = maru.client().get("/api/history?room=lobby").unwrap().json();
    assert_eq!(events["events"][0]["user"], me["user"]);
    let bearer = format!("Bearer {ann}");
    let mut stream = Listen::to("/r/lobby").header("Authorization", &bearer).open(maru.address()).unwrap();
    let hello: Value = serde_json::from_str(&stream.wait_for("hello", deadline()).unwrap().data).unwrap();
    assert_eq!(hello["user"], me["user"]);
    // The same person in another session, who has another name by now, and still may change what she said.
    let anna = of("user-7", "Anna");
    assert_eq!(who(&maru, &anna).json()["user"]["id"], me["user"]["id"]);
    let edit = Request::new("PATCH", "/api/chat/lobby/messages/1").header("Content-Type", "application/json");
    assert_eq!(maru.client_as(&anna).send(&edit.body(r#"{"text":"hello"}"#)).unwrap().status, 200);
    assert_ne!(who(&maru, &of("user-8", "Ann")).json()["user"]["id"], me["user"]["id"]);
}

#[test]
fn whoever_the_site_names_is_found_by_that_name() {
    let maru = start();
    let (ben, _) = maru.sign_in("Ben");
    let found = |name: &str| {
        let found = maru.client_as(&ben).get(&format!("/api/chat/search?q={name}")).unwrap().json();
        found["users"].as_array().unwrap().clone()
    };
    let id = who(&maru, &of("user-7", "Ottilie")).json()["user"]["id"].clone();
    assert_eq!(found("ottil"), [json!({"id": id, "name": "Ottilie"})]);
    assert_eq!(who(&maru, &of("user-7", "Philippa")).status, 200);
    wait_for("the new name", || found("philip") == [json!({"id": id, "name": "Philippa"})]);
    wait_for("the old one is gone", || found("ottil").is_empty());
}

#[test]
fn the_site_says_by_which_name_its_people_go() {
    let maru = start();
    let rename = Request::new("PATCH", "/api/session").header("Content-Type", "application/json");
    let answer = maru.client_as(&of("user-7", "Ann")).send(&rename.body(r#"{"name":"Bob"}"#)).unwrap();
    assert_problem(&answer, 403, "forbidden");
    for name in ["", "a\u{202e}b", &"n".repeat(33)] {
        let answer = who(&maru, &of("user-7", name));
        assert_problem(&answer, 401, "unauthenticated");
        assert!(answer.json()["detail"].as_str().unwrap().contains("name"), "{}", answer.text());
    }
}

#[test]
fn a_cookie_stands_for_the_token_and_ends_with_it() {
    let maru = start();
    let claims = claims("user-7", "Ann", 120);
    let ann = token(&claims);
    let answer = maru.client_as(&ann).post_json("/api/session", &json!({"name": "Bob"})).unwrap();
    assert_eq!(answer.status, 201, "{}", answer.text());
    let session = answer.json();
    assert_eq!(session["user"], who(&maru, &ann).json()["user"]);
    assert_eq!(session["expires_at"], claims["exp"].as_u64().unwrap() * 1000);
    let line = answer.headers.get("set-cookie").unwrap();
    let life: u64 = line.split("Max-Age=").nth(1).unwrap().split(';').next().unwrap().parse().unwrap();
    assert!((60..=120).contains(&life), "{line}");
    let cookie = format!("maru_session={}", answer.headers.set_cookie("maru_session").unwrap());
    let by_cookie = maru.client().header("Cookie", &cookie).get("/api/session").unwrap();
    assert_eq!(by_cookie.json()["user"], session["user"]);
    assert_eq!(by_cookie.headers.get("set-cookie"), None);
    // Nobody becomes a member by having been a guest, and an old token does not keep anybody out.
    for token in ["nonsense", &maru.sign_in("Cho").0] {
        let answer = maru.client_as(token).post_json("/api/session", &json!({"name": "Dan"})).unwrap();
        if answer.status == 201 {
            assert_eq!(answer.json()["user"]["kind"], "guest");
        } else {
            assert_problem(&answer, 401, "unauthenticated");
        }
    }
}

#[test]
fn signing_out_ends_the_token_and_its_cookie_on_every_pod() {
    let maru = start();
    let (ann, other) = (of("user-7", "Ann"), token(&claims("user-7", "Ann", 700)));
    let answer = maru.client_as(&ann).post_json("/api/session", &json!({})).unwrap();
    let cookie = format!("maru_session={}", answer.headers.set_cookie("maru_session").unwrap());
    let bearer = format!("Bearer {ann}");
    let mut stream = Listen::to("/r/lobby").header("Authorization", &bearer).open(maru.address()).unwrap();
    stream.wait_for("live", deadline()).unwrap();
    assert_eq!(maru.client_as(&ann).send(&Request::new("DELETE", "/api/session")).unwrap().status, 204);
    let bye = stream.wait_for("bye", deadline()).unwrap();
    assert!(bye.data.contains("signed_out"), "{}", bye.data);
    wait_for("she is out everywhere", || {
        maru.on_all(|client| {
            client.header("Authorization", &bearer).get("/api/session").unwrap().status == 401
        }) && maru
            .on_all(|client| client.header("Cookie", &cookie).get("/api/session").unwrap().status == 401)
    });
    // Of the other session nothing was said.
    assert_eq!(who(&maru, &other).status, 200);
}

#[test]
fn a_stream_ends_with_the_token() {
    let maru = start();
    let bearer = format!("Bearer {}", token(&claims("user-7", "Ann", 3)));
    for accept in ["text/event-stream", "application/x-ndjson"] {
        let listen = Listen::to("/r/lobby").header("Authorization", &bearer).header("Accept", accept);
        if accept == "text/event-stream" {
            let mut stream = listen.open(maru.address()).unwrap();
            stream.wait_for("live", deadline()).unwrap();
            let bye = stream.wait_for("bye", deadline()).unwrap();
            assert!(bye.data.contains("expired"), "{}", bye.data);
            assert_eq!(stream.next_event(deadline()).unwrap(), Next::Ended);
        }
        let answer = maru.client().header("Authorization", &bearer).get("/r/lobby").unwrap();
        assert_problem(&answer, 401, "unauthenticated");
    }
}

#[test]
fn every_kind_of_public_key_is_known_by_its_file() {
    let pem = |name: &str| std::fs::read(key_file(name)).unwrap();
    let rsa = PrivatePkcs1KeyDer::from_pem_slice(&pem("rsa.key")).unwrap();
    let pkcs8 = |name: &str| PrivatePkcs8KeyDer::from_pem_slice(&pem(name)).unwrap();
    let keys = [
        ("rsa.pem", Algorithm::RS256, EncodingKey::from_rsa_der(rsa.secret_pkcs1_der())),
        ("p256.pem", Algorithm::ES256, EncodingKey::from_ec_der(pkcs8("p256.key").secret_pkcs8_der())),
        ("ed25519.pem", Algorithm::EdDSA, EncodingKey::from_ed_der(pkcs8("ed25519.key").secret_pkcs8_der())),
    ];
    for (file, algorithm, key) in &keys {
        let maru = Maru::of_one(&["--jwt-key", &key_file(file), "--jwt-audience", "chat"]);
        let claims = json!({"sub": "user-7", "name": "Ann", "aud": ["chat"], "exp": now() + 60});
        for (_, other, key) in &keys {
            let token = jsonwebtoken::encode(&Header::new(*other), &claims, key).unwrap();
            assert_eq!(
                who(&maru, &token).status,
                if other == algorithm { 200 } else { 401 },
                "{file} {other:?}"
            );
        }
        let confused = EncodingKey::from_secret(&pem(file));
        let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &confused).unwrap();
        assert_problem(&who(&maru, &token), 401, "unauthenticated");
        let other = json!({"sub": "user-7", "name": "Ann", "aud": "maru", "exp": now() + 60});
        let token = jsonwebtoken::encode(&Header::new(*algorithm), &other, key).unwrap();
        assert_problem(&who(&maru, &token), 401, "unauthenticated");
    }
}

/// A site that changes its keys puts the new one beside the old one first, and takes that away later.
#[test]
fn keys_of_a_site_are_read_again_when_their_file_changes() {
    let key = |name: &str| {
        let pem = std::fs::read(key_file(name)).unwrap();
        PrivatePkcs8KeyDer::from_pem_slice(&pem).unwrap().secret_pkcs8_der().to_vec()
    };
    let old = (Algorithm::ES256, EncodingKey::from_ec_der(&key("p256.key")), "old");
    let new = (Algorithm::EdDSA, EncodingKey::from_ed_der(&key("ed25519.key")), "new");
    let set = |keys: &[&(Algorithm, EncodingKey, &str)]| {
        let published = |(algorithm, key, id): &&(Algorithm, EncodingKey, &str)| {
            let mut jwk = serde_json::to_value(Jwk::from_encoding_key(key, *algorithm).unwrap()).unwrap();
            jwk["kid"] = (*id).into();
            jwk
        };
        json!({"keys": keys.iter().map(published).collect::<Vec<_>>()}).to_string()
    };
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("jwks.json");
    std::fs::write(&file, set(&[&old])).unwrap();
    let maru = Maru::of_one(&["--jwt-key", file.to_str().unwrap()]);
    let claims = json!({"sub": "user-7", "name": "Ann", "aud": "maru", "exp": now() + 600});
    let status = |(algorithm, key, id): &(Algorithm, EncodingKey, &str)| {
        let header = Header { kid: Some((*id).to_owned()), ..Header::new(*algorithm) };
        who(&maru, &jsonwebtoken::encode(&header, &claims, key).unwrap()).status
    };
    assert_eq!((status(&old), status(&new)), (200, 401));
    std::fs::write(&file, "{").unwrap();
    wait_for("it says so", || maru.log().contains("the site's keys from before stay"));
    assert_eq!(status(&old), 200);
    std::fs::write(&file, set(&[&old, &new])).unwrap();
    wait_for("the new one is taken", || status(&new) == 200);
    assert_eq!(status(&old), 200);
    std::fs::write(&file, set(&[&new])).unwrap();
    wait_for("the old one is not", || status(&old) == 401);
    assert_eq!(status(&new), 200);
}

#[test]
fn without_a_site_its_tokens_are_nothing() {
    let maru = Maru::start();
    assert_problem(&who(&maru, &of("user-7", "Ann")), 401, "unauthenticated");
}

#[test]
fn settings_that_cannot_be_meant_are_refused_with_a_sentence() {
    for (args, says) in [
        (vec!["--jwt-secret", "short"], "32 bytes"),
        (vec!["--jwt-key", "/nowhere/key.pem"], "cannot read"),
        (vec!["--jwt-key", &key_file("rsa1024.pem")], "2,048"),
        (vec!["--jwt-key", &key_file("p384.pem")], "P-256"),
        (vec!["--jwt-key", &key_file("ed25519.key")], "PUBLIC KEY"),
        (vec!["--jwt-secret", SECRET, "--jwt-key", &key_file("p256.pem")], "give one"),
        (vec!["--jwt-secret", SECRET, "--jwt-audience", "maru-session"], "--jwt-audience"),
        (vec!["--admin-token", "short"], "16 bytes"),
    ] {
        let output = run(&args, &[]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(says), "{args:?}: {said}");
        assert!(!said.contains(SECRET), "{said}");
    }
}
