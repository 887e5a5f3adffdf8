//! People whom the site that embeds maru knows: it says who they are with a JWT of its own (RFC 7519).
//!
//! A key is configured, or a file with a set of them, and each key says its algorithm: a secret HS256, a public key of RSA
//! RS256, of P-256 ES256, of Ed25519 EdDSA (RFC 7518 §3.1, RFC 8037 §3.1). What a token says of algorithms is compared with
//! that and never followed; its `kid` only chooses from the set, and where else it says to find keys (`jku`, `jwk`, `x5u`) is
//! not looked at.

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, RwLock},
};

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde_json::Number;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::Session;
use crate::{
    event::{Name, Refused, User, UserId, UserKind},
    files::Watched,
};

mod keys;

use keys::Key;

/// Least length of a secret shared with the site, in bytes: that of the hash (RFC 7518 §3.2).
pub const LEAST_JWT_SECRET: usize = 32;
/// The site's clock may be before ours by so much, in seconds: a token is good so long before its `nbf`. There is no
/// such time after `exp`, when the streams of its session have ended.
pub const LEEWAY: u64 = 30;
/// Bytes of a `sub` at most.
const LONGEST_SUB: usize = 255;
/// Namespace under which a `sub` becomes the id of a person (RFC 9562 §5.5). It may never change.
const PEOPLE: Uuid = Uuid::from_bytes([
    0x6d, 0x61, 0x72, 0x75, 0x3a, 0x70, 0x50, 0x65, 0xa9, 0x72, 0x73, 0x6f, 0x6e, 0x73, 0x3a, 0x3a,
]);
/// Namespace of people who are nobody's `sub`.
const STAFF: Uuid = Uuid::from_bytes([
    0x6d, 0x61, 0x72, 0x75, 0x3a, 0x73, 0x54, 0x61, 0xa9, 0x66, 0x66, 0x3a, 0x3a, 0x3a, 0x3a, 0x3a,
]);
/// The payload of our own session tokens begins so, in base64url: `{"aud":"maru-session"`. No site's does, since its
/// audience may not be called that.
const OURS: &str = "eyJhdWQiOiJtYXJ1LXNlc3Npb24i";
/// Audiences of our own tokens.
pub const RESERVED_AUDIENCES: [&str; 2] = ["maru-session", "maru-ticket"];

/// Who acts where the operator of this server does.
pub fn moderator() -> User {
    let name = "moderator".parse().expect("this is a name");
    User { id: UserId(Uuid::new_v5(&STAFF, b"moderator")), name, kind: UserKind::Member }
}

/// Has this token the form of one of our own sessions? Says nothing of whether it is good.
pub fn is_ours(token: &str) -> bool {
    token.split('.').nth(1).is_some_and(|payload| payload.starts_with(OURS))
}

/// Somebody from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outsider {
    /// Of a member; ends when the token does. Its number is the token's, so that signing out ends the token.
    pub session: Session,
    /// By which name the site knows them.
    pub sub: String,
}

/// Reads the tokens of the site.
pub struct Outside {
    keys: RwLock<Arc<[Key]>>,
    audience: String,
}

impl fmt::Debug for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let algorithms: Vec<_> = self.keys().iter().map(|key| key.algorithm).collect();
        write!(f, "Outside({algorithms:?})")
    }
}

/// What is read of a token. Each of them is looked at by hand, so that it can be said what is wrong.
#[derive(Deserialize)]
struct Claims {
    sub: Option<String>,
    name: Option<String>,
    exp: Option<Number>,
    nbf: Option<Number>,
}

impl Outside {
    /// Tokens signed with a secret that the site and this server share.
    ///
    /// # Errors
    /// When the secret is too short to be one.
    pub fn by_secret(secret: &[u8], audience: &str) -> Result<Self, Refused> {
        if secret.len() < LEAST_JWT_SECRET {
            return Err(Refused("a secret shared with a site has at least 32 bytes (RFC 7518 §3.2)"));
        }
        let key = Key::unnamed(Algorithm::HS256, DecodingKey::from_secret(secret));
        Ok(Outside::new(vec![key], audience))
    }

    /// Tokens signed with the private key that belongs to the public one in this file, or to one of those: in PEM (RFC 7468
    /// §13), or a JWK Set (RFC 7517 §5).
    ///
    /// # Errors
    /// When there is none, or one of a kind that is not taken.
    pub fn by_keys(file: &[u8], audience: &str) -> Result<Self, Refused> {
        Ok(Outside::new(keys::parse(file)?, audience))
    }

    fn new(keys: Vec<Key>, audience: &str) -> Self {
        Outside { keys: RwLock::new(keys.into()), audience: audience.to_owned() }
    }

    fn keys(&self) -> Arc<[Key]> {
        Arc::clone(&self.keys.read().expect("no panic while locked"))
    }

    /// Reads the keys again whenever their file has changed, for ever; what cannot be read changes nothing. Who came with a
    /// key that is there no more stays as long as their session does.
    pub async fn follow(self: Arc<Self>, file: PathBuf, mut watched: Watched) {
        loop {
            watched.changed().await;
            let read = std::fs::read(&file).map_err(|e| e.to_string());
            match read.and_then(|file| keys::parse(&file).map_err(|refused| refused.0.to_owned())) {
                Ok(keys) => {
                    tracing::info!(file = %file.display(), keys = keys.len(), "the site's keys were read again");
                    *self.keys.write().expect("no panic while locked") = keys.into();
                }
                Err(e) => {
                    tracing::warn!(file = %file.display(), error = e, "the site's keys from before stay");
                }
            }
        }
    }

    fn rules(&self, algorithm: Algorithm) -> Validation {
        let mut rules = Validation::new(algorithm);
        rules.set_audience(&[&self.audience]);
        rules.set_required_spec_claims(&["aud"]);
        // Times are looked at by `read`: the leeway is that of `nbf` alone.
        rules.validate_exp = false;
        rules
    }

    /// Who this token says that its bearer is, at `now` (seconds since 1970).
    ///
    /// # Errors
    /// With what is wrong with it.
    pub fn read(&self, token: &str, now: u64) -> Result<Outsider, Refused> {
        const BAD: Refused = Refused("the token is not good, or not for this server");
        let header = jsonwebtoken::decode_header(token).map_err(|_| BAD)?;
        let keys = self.keys();
        let meant = keys.iter().filter(|key| key.is_meant(header.alg, header.kid.as_deref()));
        let mut read =
            meant.map(|key| jsonwebtoken::decode::<Claims>(token, &key.key, &self.rules(key.algorithm)));
        let read = read.find_map(Result::ok).ok_or(BAD)?;
        if read.header.crit.is_some() {
            return Err(Refused("the token asks for an extension that is not known here"));
        }
        let Claims { sub, name, exp, nbf } = read.claims;
        let exp =
            exp.as_ref().and_then(seconds).ok_or(Refused("the token does not say when it ends (exp)"))?;
        if exp <= now {
            return Err(Refused("the token is over (exp)"));
        }
        if let Some(nbf) = nbf {
            let nbf = seconds(&nbf).ok_or(Refused("the token's nbf is no time"))?;
            if nbf > now + LEEWAY {
                return Err(Refused("the token is not good yet (nbf)"));
            }
        }
        let sub = sub.filter(|sub| (1..=LONGEST_SUB).contains(&sub.len()));
        let sub = sub.ok_or(Refused("the token's sub is to have 1 to 255 bytes"))?;
        // Whoever is called something else on the site than here would be taken for another.
        let name: Option<Name> = name.and_then(|name| name.parse().ok());
        let name = name.ok_or(Refused(
            "the token's name is to have 1 to 32 characters, no control, bidi or zero-width ones",
        ))?;
        let user = User { id: UserId(Uuid::new_v5(&PEOPLE, sub.as_bytes())), name, kind: UserKind::Member };
        // Times of sessions fit in 32 bits until 2106.
        let expires = exp.min(u32::MAX.into());
        Ok(Outsider { session: Session { id: number(token), user, issued: now, expires }, sub })
    }
}

/// A `NumericDate` (RFC 7519 §2), which may have a fraction, in whole seconds since 1970.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "what does not fit is as far as it goes"
)]
fn seconds(date: &Number) -> Option<u64> {
    date.as_u64().or_else(|| date.as_f64().filter(|s| s.is_finite() && *s >= 0.0).map(|s| s as u64))
}

/// The number of a token's session: 53 bits of a hash of what is signed. Not of the signature, for which an ECDSA key
/// has more than one form.
fn number(token: &str) -> i64 {
    let signed = token.rsplit_once('.').map_or(token, |(signed, _)| signed);
    let hash = Sha256::new().chain_update(b"maru outside session\0").chain_update(signed).finalize();
    let first = hash.first_chunk::<8>().expect("a hash has 32 bytes");
    i64::from_be_bytes(*first) >> 11 & ((1 << 53) - 1)
}

#[cfg(test)]
mod tests;
