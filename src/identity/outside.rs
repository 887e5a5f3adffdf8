//! People whom the site that embeds maru knows: it says who they are with a JWT of its own (RFC 7519).
//!
//! One key is configured, and the key says the algorithm: a secret HS256, a public key of RSA RS256, of P-256 ES256, of
//! Ed25519 EdDSA (RFC 7518 §3.1, RFC 8037 §3.1). What a token says of algorithms is compared with that and never
//! followed, and where it says to find keys (`kid`, `jku`, `jwk`, `x5u`) is not looked at.

use std::fmt;

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use rustls::pki_types::{SubjectPublicKeyInfoDer, pem::PemObject};
use serde::Deserialize;
use serde_json::Number;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::Session;
use crate::event::{Name, Refused, User, UserId, UserKind};

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
    key: DecodingKey,
    rules: Validation,
}

impl fmt::Debug for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Outside({:?})", self.rules.algorithms)
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
        Ok(Outside::new(Algorithm::HS256, DecodingKey::from_secret(secret), audience))
    }

    /// Tokens signed with the private key that belongs to this public key, in PEM (RFC 7468 §13).
    ///
    /// # Errors
    /// When it is none, or of a kind that is not taken.
    pub fn by_key(pem: &[u8], audience: &str) -> Result<Self, Refused> {
        let key = SubjectPublicKeyInfoDer::from_pem_slice(pem)
            .map_err(|_| Refused("there is no public key in PEM (-----BEGIN PUBLIC KEY-----)"))?;
        let (algorithm, key) = parse_key(&key)?;
        Ok(Outside::new(algorithm, key, audience))
    }

    fn new(algorithm: Algorithm, key: DecodingKey, audience: &str) -> Self {
        let mut rules = Validation::new(algorithm);
        rules.set_audience(&[audience]);
        rules.set_required_spec_claims(&["aud"]);
        // Times are looked at below: the leeway is that of `nbf` alone.
        rules.validate_exp = false;
        Outside { key, rules }
    }

    /// Who this token says that its bearer is, at `now` (seconds since 1970).
    ///
    /// # Errors
    /// With what is wrong with it.
    pub fn read(&self, token: &str, now: u64) -> Result<Outsider, Refused> {
        let read = jsonwebtoken::decode::<Claims>(token, &self.key, &self.rules);
        let read = read.map_err(|_| Refused("the token is not good, or not for this server"))?;
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

/// `SubjectPublicKeyInfo` (RFC 5280 §4.1) of the kinds that are taken: each begins with bytes of its own.
fn parse_key(der: &[u8]) -> Result<(Algorithm, DecodingKey), Refused> {
    /// RFC 8410 §4: what stands before the 32 bytes of the key.
    const ED25519: [u8; 12] = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];
    /// RFC 5480 §2: before the 65 bytes of an uncompressed point of P-256.
    const P256: [u8; 26] = [
        0x30, 0x59, 0x30, 0x13, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d,
        3, 1, 7, 3, 0x42, 0,
    ];
    const WEAK: Refused = Refused("an RSA key has 2,048 to 8,192 bits");
    /// RFC 3279 §2.3.1: between the lengths of the whole and of an RSA key.
    const RSA: [u8; 15] = [0x30, 0x0d, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0];

    if let Some(key) = der.strip_prefix(&ED25519).filter(|key| key.len() == 32) {
        return Ok((Algorithm::EdDSA, DecodingKey::from_ed_der(key)));
    }
    if let Some(point) = der.strip_prefix(&P256).filter(|point| point.len() == 65 && point[0] == 4) {
        return Ok((Algorithm::ES256, DecodingKey::from_ec_der(point)));
    }
    let bits = long(der, 0x30).and_then(|rest| long(rest.strip_prefix(&RSA)?, 3)?.strip_prefix(&[0]));
    let Some(key) = bits else {
        let is_rsa = der.windows(RSA.len()).any(|bytes| bytes == RSA);
        return Err(if is_rsa { WEAK } else { Refused("the public key is none of RSA, P-256 and Ed25519") });
    };
    // A modulus of 2,048 bits has 257 bytes, the first of them 0; shorter ones are not safe, and verify nothing.
    let modulus = long(key, 0x30).and_then(|rest| rest.strip_prefix(&[2, 0x82])?.first_chunk::<2>());
    match modulus.map(|length| u16::from_be_bytes(*length)) {
        Some(257..=1025) => Ok((Algorithm::RS256, DecodingKey::from_rsa_der(key))),
        _ => Err(WEAK),
    }
}

/// The contents of a DER value of this type whose length takes two bytes and which nothing follows.
fn long(der: &[u8], tag: u8) -> Option<&[u8]> {
    let (length, contents) = der.strip_prefix(&[tag, 0x82])?.split_first_chunk::<2>()?;
    (usize::from(u16::from_be_bytes(*length)) == contents.len()).then_some(contents)
}

#[cfg(test)]
mod tests;
