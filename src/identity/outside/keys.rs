//! The keys that a site's tokens are signed with: one in PEM, or a set of them in JSON (RFC 7517 §5).

use jsonwebtoken::{Algorithm, DecodingKey};
use rustls::pki_types::{SubjectPublicKeyInfoDer, pem::PemObject};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;

use crate::event::Refused;

/// Keys that a set has at most: each may be tried for a token that names none.
const MOST: usize = 32;
const WEAK: Refused = Refused("an RSA key has 2,048 to 8,192 bits");

/// A public key, with the algorithm that follows from it.
#[derive(Clone)]
pub(super) struct Key {
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
    /// How tokens call it (`kid`), if it has a name.
    id: Option<String>,
}

impl Key {
    /// A key without a name: tokens may call it what they like.
    pub(super) fn unnamed(algorithm: Algorithm, key: DecodingKey) -> Self {
        Key { algorithm, key, id: None }
    }

    /// May it be the one that a token means which says this of its key?
    pub(super) fn is_meant(&self, algorithm: Algorithm, id: Option<&str>) -> bool {
        let is_called = || self.id.as_deref().zip(id).is_none_or(|(own, asked)| own == asked);
        self.algorithm == algorithm && is_called()
    }
}

/// The keys in a file: PEM (RFC 7468 §13), or a JWK Set.
pub(super) fn parse(file: &[u8]) -> Result<Vec<Key>, Refused> {
    if file.trim_ascii_start().starts_with(b"{") {
        return parse_set(file);
    }
    let key = SubjectPublicKeyInfoDer::from_pem_slice(file).map_err(|_| {
        Refused("there is no public key in PEM (-----BEGIN PUBLIC KEY-----), and no JWK Set ({\"keys\": …})")
    })?;
    let (algorithm, key) = parse_der(&key)?;
    Ok(vec![Key::unnamed(algorithm, key)])
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

/// What is looked at of a key (RFC 7517 §4, RFC 7518 §6, RFC 8037 §2).
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    d: Option<IgnoredAny>,
}

/// Keys of other kinds and for other uses are passed over, as RFC 7517 §5 says.
fn parse_set(json: &[u8]) -> Result<Vec<Key>, Refused> {
    let set: Set = serde_json::from_slice(json).map_err(|_| Refused("this is no JWK Set ({\"keys\": …})"))?;
    if set.keys.len() > MOST {
        return Err(Refused("a JWK Set has at most 32 keys here"));
    }
    let mut keys = Vec::new();
    for key in set.keys {
        let Ok(key) = serde_json::from_value::<Jwk>(key) else { continue };
        if key.d.is_some() {
            return Err(Refused("there is a private key in the JWK Set: it is to have public ones alone"));
        }
        if key.usage.as_deref().is_none_or(|usage| usage == "sig") {
            keys.extend(parse_jwk(key)?);
        }
    }
    if keys.is_empty() {
        return Err(Refused("no key of the JWK Set is one for RS256, ES256 or EdDSA with Ed25519"));
    }
    Ok(keys)
}

fn parse_jwk(jwk: Jwk) -> Result<Option<Key>, Refused> {
    /// Characters of base64url that 32 bytes have.
    const OF_32: usize = 43;
    const MALFORMED: Refused = Refused("a key of the JWK Set is not well formed");
    let is_for = |name: &str| jwk.alg.as_deref().is_none_or(|alg| alg == name);
    let has_32 = |part: &Option<String>| part.as_ref().is_some_and(|part| part.len() == OF_32);
    let (algorithm, key) = match (&*jwk.kty, jwk.crv.as_deref(), &jwk) {
        ("RSA", _, Jwk { n: Some(n), e: Some(e), .. }) if is_for("RS256") => {
            // The modulus begins with no 0 (RFC 7518 §6.3.1.1), so that its length says how strong it is.
            if !(342..=1366).contains(&n.len()) || n.starts_with("AA") {
                return Err(WEAK);
            }
            (Algorithm::RS256, DecodingKey::from_rsa_components(n, e))
        }
        ("EC", Some("P-256"), Jwk { x: Some(x), y: Some(y), .. }) if is_for("ES256") => {
            if !has_32(&jwk.x) || !has_32(&jwk.y) {
                return Err(MALFORMED);
            }
            (Algorithm::ES256, DecodingKey::from_ec_components(x, y))
        }
        ("OKP", Some("Ed25519"), Jwk { x: Some(x), .. }) if is_for("EdDSA") || is_for("Ed25519") => {
            if !has_32(&jwk.x) {
                return Err(MALFORMED);
            }
            (Algorithm::EdDSA, DecodingKey::from_ed_components(x))
        }
        _ => return Ok(None),
    };
    Ok(Some(Key { algorithm, key: key.map_err(|_| MALFORMED)?, id: jwk.kid }))
}

/// `SubjectPublicKeyInfo` (RFC 5280 §4.1) of the kinds that are taken: each begins with bytes of its own.
fn parse_der(der: &[u8]) -> Result<(Algorithm, DecodingKey), Refused> {
    /// RFC 8410 §4: what stands before the 32 bytes of the key.
    const ED25519: [u8; 12] = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];
    /// RFC 5480 §2: before the 65 bytes of an uncompressed point of P-256.
    const P256: [u8; 26] = [
        0x30, 0x59, 0x30, 0x13, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d,
        3, 1, 7, 3, 0x42, 0,
    ];
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
