use jsonwebtoken::{EncodingKey, Header, jwk::Jwk};
use proptest::prelude::*;
use rustls::pki_types::{PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer, pem::PemObject};
use serde_json::{Value, json};

use super::*;
use crate::{clock, identity::Seal};

const SECRET: &[u8] = b"a secret of the site and of maru";
const RSA: &str = include_str!("../../../tests/it/keys/rsa.pem");
const P256: &str = include_str!("../../../tests/it/keys/p256.pem");
const ED25519: &str = include_str!("../../../tests/it/keys/ed25519.pem");

/// Every algorithm: who reads, and what the site signs with.
fn all() -> Vec<(Algorithm, Outside, EncodingKey)> {
    let rsa = include_str!("../../../tests/it/keys/rsa.key");
    let p256 = include_str!("../../../tests/it/keys/p256.key");
    let ed25519 = include_str!("../../../tests/it/keys/ed25519.key");
    let by_key = |pem: &str| Outside::by_keys(pem.as_bytes(), "maru").unwrap();
    let rsa = PrivatePkcs1KeyDer::from_pem_slice(rsa.as_bytes()).unwrap();
    let pkcs8 = |pem: &str| PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).unwrap();
    vec![
        (Algorithm::HS256, Outside::by_secret(SECRET, "maru").unwrap(), EncodingKey::from_secret(SECRET)),
        (Algorithm::RS256, by_key(RSA), EncodingKey::from_rsa_der(rsa.secret_pkcs1_der())),
        (Algorithm::ES256, by_key(P256), EncodingKey::from_ec_der(pkcs8(p256).secret_pkcs8_der())),
        (Algorithm::EdDSA, by_key(ED25519), EncodingKey::from_ed_der(pkcs8(ed25519).secret_pkcs8_der())),
    ]
}

fn now() -> u64 {
    clock::seconds()
}

fn claims() -> Value {
    json!({"sub": "user-7", "name": "Ann", "aud": "maru", "exp": now() + 60})
}

fn sign(algorithm: Algorithm, claims: &Value, key: &EncodingKey) -> String {
    jsonwebtoken::encode(&Header::new(algorithm), claims, key).unwrap()
}

/// Signed with the secret; the claims are these and, unless they are there, those of [`claims`].
fn with(changes: &Value) -> String {
    let mut all = claims();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(all.as_object_mut().unwrap().remove(name)),
            value => all[name] = value.clone(),
        }
    }
    sign(Algorithm::HS256, &all, &EncodingKey::from_secret(SECRET))
}

fn read(token: &str) -> Result<Outsider, Refused> {
    Outside::by_secret(SECRET, "maru").unwrap().read(token, now())
}

#[test]
fn the_algorithm_follows_from_the_key() {
    for (algorithm, outside, key) in all() {
        let token = sign(algorithm, &claims(), &key);
        let read = outside.read(&token, now()).unwrap();
        assert_eq!(read.sub, "user-7");
        assert_eq!(read.session.user.name.as_str(), "Ann");
        assert_eq!(read.session.user.kind, UserKind::Member);
        assert_eq!(read.session.expires, now() + 60);
        for (other, _, key) in all().into_iter().filter(|(other, ..)| *other != algorithm) {
            assert!(
                outside.read(&sign(other, &claims(), &key), now()).is_err(),
                "{other:?} by {algorithm:?}"
            );
        }
    }
}

#[test]
fn the_public_key_is_no_secret() {
    for (pem, of) in [(RSA, 1), (P256, 2), (ED25519, 3)] {
        let (algorithm, outside, _) = all().swap_remove(of);
        let der = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()).unwrap();
        for secret in [pem.as_bytes(), pem.trim().as_bytes(), &der, &der[12..], &der[26..]] {
            let token = sign(Algorithm::HS256, &claims(), &EncodingKey::from_secret(secret));
            assert!(outside.read(&token, now()).is_err(), "{algorithm:?}");
        }
    }
}

#[test]
fn no_other_algorithm_and_none_is_taken() {
    for (algorithm, outside, key) in all() {
        let token = sign(algorithm, &claims(), &key);
        let payload = token.split('.').nth(1).unwrap();
        // {"alg":"none"}, {"alg":"None"}, {"alg":"HS512"}, {}
        for header in ["eyJhbGciOiJub25lIn0", "eyJhbGciOiJOb25lIn0", "eyJhbGciOiJIUzUxMiJ9", "e30"] {
            let signature = token.rsplit('.').next().unwrap();
            for signature in ["", signature] {
                assert!(outside.read(&format!("{header}.{payload}.{signature}"), now()).is_err());
            }
        }
    }
    for algorithm in [Algorithm::HS384, Algorithm::HS512] {
        assert!(read(&sign(algorithm, &claims(), &EncodingKey::from_secret(SECRET))).is_err());
    }
}

#[test]
fn keys_that_a_token_names_are_not_looked_at() {
    let (_, _, key) = all().swap_remove(3);
    let public = SubjectPublicKeyInfoDer::from_pem_slice(ED25519.as_bytes()).unwrap();
    let mut header = Header::new(Algorithm::EdDSA);
    header.kid = Some("../../keys/ed25519.pem".into());
    header.jku = Some("https://site.example/keys.json".into());
    header.x5u = Some("https://site.example/key.pem".into());
    let other = Outside::by_keys(P256.as_bytes(), "maru").unwrap();
    assert!(other.read(&jsonwebtoken::encode(&header, &claims(), &key).unwrap(), now()).is_err());
    // Nor do they harm a token that is good.
    let outside = Outside::by_keys(ED25519.as_bytes(), "maru").unwrap();
    assert!(outside.read(&jsonwebtoken::encode(&header, &claims(), &key).unwrap(), now()).is_ok());
    assert_eq!(public.len(), 44);
}

#[test]
fn an_extension_that_must_be_understood_is_not() {
    let header = Header { crit: Some(vec!["b64".into()]), ..Header::new(Algorithm::HS256) };
    let token = jsonwebtoken::encode(&header, &claims(), &EncodingKey::from_secret(SECRET)).unwrap();
    assert!(read(&token).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_token_that_was_changed_is_refused(of in 0..4_usize, at in any::<prop::sample::Index>(), to in "[A-Za-z0-9_.=-]") {
        let (algorithm, outside, key) = all().swap_remove(of);
        let token = sign(algorithm, &claims(), &key);
        let at = at.index(token.len());
        let changed = format!("{}{to}{}", &token[..at], &token[at + 1..]);
        prop_assume!(changed != token);
        prop_assert!(outside.read(&changed, now()).is_err(), "{algorithm:?} at {at}: {to:?}");
    }
}

#[test]
fn times_are_honoured() {
    assert_eq!(read(&with(&json!({"exp": now() - 1}))), Err(Refused("the token is over (exp)")));
    // On or after it (RFC 7519 §4.1.4).
    let token = with(&json!({"exp": 1000}));
    let outside = Outside::by_secret(SECRET, "maru").unwrap();
    assert!(outside.read(&token, 999).is_ok() && outside.read(&token, 1000).is_err());
    let token = with(&json!({"exp": 2000, "nbf": 1000}));
    assert!(outside.read(&token, 1000 - LEEWAY).is_ok() && outside.read(&token, 1000 - LEEWAY - 1).is_err());
    // They may have fractions, and no bound.
    assert_eq!(outside.read(&with(&json!({"exp": 1000.9})), 0).unwrap().session.expires, 1000);
    assert_eq!(outside.read(&with(&json!({"exp": 1e300})), 0).unwrap().session.expires, u64::from(u32::MAX));
    for wrong in [
        json!({"exp": null}),
        json!({"exp": "1"}),
        json!({"exp": -1}),
        json!({"nbf": "x"}),
        json!({"nbf": -1}),
    ] {
        assert!(read(&with(&wrong)).is_err(), "{wrong}");
    }
}

#[test]
fn an_audience_is_required_and_is_this_server() {
    for good in [json!("maru"), json!(["maru"]), json!(["other", "maru"])] {
        assert!(read(&with(&json!({"aud": good}))).is_ok(), "{good}");
    }
    for wrong in
        [Value::Null, json!("Maru"), json!(""), json!(["other"]), json!([]), json!(7), json!({"maru": 1})]
    {
        assert!(read(&with(&json!({"aud": wrong}))).is_err(), "{wrong}");
    }
}

#[test]
fn a_subject_and_a_name_are_required_and_bounded() {
    for sub in ["a", "하늘", &"s".repeat(255)] {
        assert_eq!(read(&with(&json!({"sub": sub}))).unwrap().sub, sub);
    }
    for wrong in [Value::Null, json!(""), json!("s".repeat(256)), json!(7)] {
        assert!(read(&with(&json!({"sub": wrong}))).is_err(), "{wrong}");
    }
    assert_eq!(read(&with(&json!({"name": " 하늘 "}))).unwrap().session.user.name.as_str(), "하늘");
    for wrong in [Value::Null, json!(""), json!("n".repeat(33)), json!("a\u{202e}b"), json!(7)] {
        assert!(read(&with(&json!({"name": wrong}))).is_err(), "{wrong}");
    }
}

#[test]
fn the_same_subject_is_the_same_person_in_sessions_of_their_own() {
    let (one, two) =
        (read(&with(&json!({"jti": 1}))).unwrap(), read(&with(&json!({"name": "Anna"}))).unwrap());
    assert_eq!(one.session.user.id, two.session.user.id);
    assert_ne!(one.session.id, two.session.id);
    assert_eq!(one.session.user.id.0.to_string(), "7c577679-d6b9-5624-815a-e185cc847a2f");
    assert_ne!(read(&with(&json!({"sub": "moderator"}))).unwrap().session.user.id, moderator().id);
}

#[test]
fn our_own_tokens_are_told_from_the_sites() {
    let seal = Seal::new(&[SECRET.to_vec()]);
    let ann = Session::guest("Ann".parse().unwrap(), now());
    assert!(is_ours(&seal.session(&ann)));
    assert!(!is_ours(&seal.ticket(&ann, "/r/lobby", now()).0));
    for (algorithm, _, key) in all() {
        assert!(!is_ours(&sign(algorithm, &claims(), &key)));
    }
    // Even where a site has the same secret, what one signs is nothing to the other.
    assert!(read(&seal.session(&ann)).is_err());
    assert_eq!(seal.read_session(&with(&json!({}))), None);
}

#[test]
fn keys_that_are_none_are_refused_at_the_start() {
    assert!(Outside::by_secret(&SECRET[1..], "maru").is_err());
    let weak = include_str!("../../../tests/it/keys/rsa1024.pem");
    let p384 = include_str!("../../../tests/it/keys/p384.pem");
    let private = include_str!("../../../tests/it/keys/ed25519.key");
    for (pem, says) in [(weak, "2,048"), (p384, "none of"), (private, "PUBLIC KEY"), ("", "PUBLIC KEY")] {
        let refused = Outside::by_keys(pem.as_bytes(), "maru").unwrap_err();
        assert!(refused.0.contains(says), "{refused}");
    }
}

/// A public key as sites publish it, called so.
fn published(algorithm: Algorithm, key: &EncodingKey, id: &str) -> Value {
    let mut jwk = serde_json::to_value(Jwk::from_encoding_key(key, algorithm).unwrap()).unwrap();
    jwk["kid"] = id.into();
    jwk
}

fn set(keys: &[Value]) -> Result<Outside, Refused> {
    Outside::by_keys(json!({"keys": keys}).to_string().as_bytes(), "maru")
}

fn signed_by(algorithm: Algorithm, key: &EncodingKey, id: Option<&str>) -> String {
    let header = Header { kid: id.map(str::to_owned), ..Header::new(algorithm) };
    jsonwebtoken::encode(&header, &claims(), key).unwrap()
}

#[test]
fn a_set_has_a_key_for_each_name_and_algorithm() {
    let keys: Vec<_> = all().into_iter().skip(1).map(|(algorithm, _, key)| (algorithm, key)).collect();
    let names = ["2026-10", "2026-11", "2026-12"];
    let jwks: Vec<_> =
        keys.iter().zip(names).map(|((algorithm, key), name)| published(*algorithm, key, name)).collect();
    let outside = set(&jwks).unwrap();
    for ((algorithm, key), name) in keys.iter().zip(names) {
        for (id, is_good) in [(Some(name), true), (None, true), (Some("2025-01"), false)] {
            let read = outside.read(&signed_by(*algorithm, key, id), now());
            assert_eq!(read.is_ok(), is_good, "{algorithm:?} {id:?}");
        }
        let others = names.iter().filter(|other| **other != name);
        for other in others {
            assert!(outside.read(&signed_by(*algorithm, key, Some(other)), now()).is_err());
        }
    }
    // A key without a name is meant by any.
    let mut unnamed = jwks[2].clone();
    unnamed.as_object_mut().unwrap().remove("kid");
    let token = signed_by(Algorithm::EdDSA, &keys[2].1, Some("whatever"));
    assert!(set(&[unnamed]).unwrap().read(&token, now()).is_ok());
    // The secret of nobody is in it.
    let file = json!({"keys": jwks}).to_string();
    let confused = EncodingKey::from_secret(file.as_bytes());
    assert!(outside.read(&signed_by(Algorithm::HS256, &confused, None), now()).is_err());
}

#[test]
fn keys_for_something_else_are_passed_over_and_wrong_ones_refused() {
    let (_, _, key) = all().swap_remove(3);
    let good = published(Algorithm::EdDSA, &key, "good");
    let with = |name: &str, value: Value| {
        let mut other = good.clone();
        other[name] = value;
        other
    };
    let passed_over = [
        json!({"kty": "oct", "k": "c2VjcmV0IG9mIG5vYm9keSBhdCBhbGwgaGVyZSE"}),
        json!({"kty": "EC", "crv": "P-384", "x": "AA", "y": "AA"}),
        json!({"kty": "RSA", "alg": "PS256", "n": "AQAB", "e": "AQAB"}),
        json!({"kty": "of the future"}),
        json!("no key at all"),
        with("use", "enc".into()),
        with("crv", "X25519".into()),
        with("alg", "ES512".into()),
    ];
    let outside = set(&[&passed_over[..], std::slice::from_ref(&good)].concat()).unwrap();
    assert!(outside.read(&signed_by(Algorithm::EdDSA, &key, None), now()).is_ok());

    let (_, _, rsa) = all().swap_remove(1);
    let mut weak = published(Algorithm::RS256, &rsa, "weak");
    weak["n"] = weak["n"].as_str().unwrap()[..171].into();
    for (keys, says) in [
        (passed_over.to_vec(), "no key of the JWK Set"),
        (vec![], "no key of the JWK Set"),
        (vec![good.clone(), with("d", "private".into())], "private key"),
        (vec![with("x", "short".into())], "not well formed"),
        (vec![with("x", "!".repeat(43).into())], "not well formed"),
        (vec![weak], "2,048"),
        (vec![good.clone(); 33], "32 keys"),
    ] {
        let refused = set(&keys).unwrap_err();
        assert!(refused.0.contains(says), "{refused}");
    }
    for wrong in ["{", "{}", r#"{"keys": {}}"#] {
        assert!(Outside::by_keys(wrong.as_bytes(), "maru").unwrap_err().0.contains("JWK Set"));
    }
}
