//! Who somebody is: signed session tokens, tickets for streams, and the names of guests.
//!
//! A token is a JWT (RFC 7519) signed with HMAC-SHA-256 under a key derived from the pod's secret. It says all
//! there is to know, so any pod with the same secret can read it; what was taken away before its time (signing
//! out) is in [`Revoked`].

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, MutexGuard, RwLock},
};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{
    clock,
    event::{Name, User, UserId, UserKind},
};

mod lately;
pub mod names;
pub mod outside;

pub use lately::{Introduced, Introduction};

/// How long a session lasts after it was last renewed, in seconds: 30 days.
pub const SESSION_LIFE: u64 = 30 * 24 * 60 * 60;
/// A session older than this is renewed when it is used, in seconds: a day.
const RENEW_AFTER: u64 = 24 * 60 * 60;
/// How long a ticket lasts, in seconds: 12 h. EventSource comes back with the same URL, so it is not single-use.
pub const TICKET_LIFE: u64 = 12 * 60 * 60;
/// Tokens of sessions that are remembered as good, at most: about 0.5 kB each.
const KNOWN: usize = 8192;
/// Least length of a secret, in bytes.
pub const LEAST_SECRET: usize = 16;

/// Least length of the operator's token, in bytes.
pub const LEAST_ADMIN_TOKEN: usize = 16;

/// Somebody who has signed in, or was given an identity on the spot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The session's own number, drawn at random, by which it is revoked. A rename keeps it.
    pub id: i64,
    /// Who.
    pub user: User,
    /// In seconds since 1970.
    pub issued: u64,
    /// In seconds since 1970.
    pub expires: u64,
}

impl Session {
    /// A session for somebody new.
    pub fn guest(name: Name, now: u64) -> Self {
        Session::lasting(User { id: UserId::random(), name, kind: UserKind::Guest }, now, SESSION_LIFE)
    }

    /// A session of this person, for so many seconds.
    pub fn lasting(user: User, now: u64, life: u64) -> Self {
        // 53 bits, so that it is a number in any language.
        let id = i64::from_be_bytes(rand::random()) >> 11 & ((1 << 53) - 1);
        Session { id, user, issued: now, expires: now + life }
    }

    /// The same session, renewed, under this name. A member's ends when the site said, and one that was meant to be
    /// longer is never made shorter: [`Session::ends`] counts on that.
    #[must_use]
    pub fn renewed(&self, name: Name, now: u64) -> Self {
        let user = User { name, ..self.user.clone() };
        Session { id: self.id, user, issued: now, expires: self.ends(now) }
    }

    /// Is it time to give out a new token?
    pub fn is_due(&self, now: u64) -> bool {
        self.user.kind == UserKind::Guest && now >= self.issued + RENEW_AFTER
    }

    /// When the last of the tokens that there may be of this session ends, in seconds since 1970.
    pub fn ends(&self, now: u64) -> u64 {
        match self.user.kind {
            UserKind::Guest => self.expires.max(now + SESSION_LIFE),
            UserKind::Member => self.expires,
        }
    }
}

/// What is in a token.
#[derive(Serialize, Deserialize)]
struct Claims {
    aud: Audience,
    sub: UserId,
    name: Name,
    kind: UserKind,
    sid: i64,
    iat: u64,
    exp: u64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    path: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Audience {
    #[serde(rename = "maru-session")]
    Session,
    #[serde(rename = "maru-ticket")]
    Ticket,
}

/// Signs and reads tokens: with the first secret, and with any of them.
pub struct Seal {
    sign: EncodingKey,
    read: Vec<DecodingKey>,
    pepper: [u8; 32],
    rules: Validation,
    /// Tokens whose signature was found good: whoever speaks often shows the same one each time.
    known: Mutex<HashMap<Box<str>, Session>>,
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal")
    }
}

impl Seal {
    /// `secrets`: the present one, then those that are still accepted.
    ///
    /// # Panics
    /// When there is none; the configuration sees to that.
    pub fn new(secrets: &[Vec<u8>]) -> Self {
        let key = |secret: &Vec<u8>| derive(secret, "token");
        let first = secrets.first().expect("there is a secret");
        // The oldest, so that a new one in front of it changes nobody's disguise.
        let oldest = secrets.last().expect("there is a secret");
        let mut rules = Validation::new(Algorithm::HS256);
        rules.leeway = 0;
        rules.validate_aud = false; // `Audience` is what we expect, not what the caller says.
        Seal {
            sign: EncodingKey::from_secret(&key(first)),
            read: secrets.iter().map(|secret| DecodingKey::from_secret(&key(secret))).collect(),
            pepper: derive(oldest, "address"),
            rules,
            known: Mutex::default(),
        }
    }

    /// The token of a session.
    pub fn session(&self, session: &Session) -> String {
        self.write(session, Audience::Session, session.issued, session.expires, None)
    }

    /// The session of a token, if it is one of ours and not over.
    pub fn read_session(&self, token: &str) -> Option<Session> {
        if let Some(session) = self.lock_known().get(token) {
            return (session.expires >= clock::seconds()).then(|| session.clone());
        }
        let session = self.read(token, Audience::Session).map(session_of)?;
        let mut known = self.lock_known();
        if known.len() >= KNOWN {
            known.clear();
        }
        known.insert(token.into(), session.clone());
        Some(session)
    }

    /// A ticket that lets this session's person read `path`, and when it ends (seconds since 1970).
    pub fn ticket(&self, session: &Session, path: &str, now: u64) -> (String, u64) {
        let expires = (now + TICKET_LIFE).min(session.expires);
        (self.write(session, Audience::Ticket, now, expires, Some(path.to_owned())), expires)
    }

    /// The session that a ticket for `path` stands for. It ends when the ticket does.
    pub fn read_ticket(&self, ticket: &str, path: &str) -> Option<Session> {
        self.read(ticket, Audience::Ticket)
            .filter(|claims| claims.path.as_deref() == Some(path))
            .map(session_of)
    }

    /// An address in disguise: the same for the same address, and of no use without the secret.
    pub fn disguise(&self, address: &[u8]) -> Uuid {
        let mut hash = Sha256::new();
        hash.update(self.pepper);
        hash.update(address);
        Uuid::from_slice(&hash.finalize()[..16]).expect("16 bytes are a UUID")
    }

    fn write(&self, session: &Session, aud: Audience, iat: u64, exp: u64, path: Option<String>) -> String {
        let User { id, name, kind } = session.user.clone();
        let claims = Claims { aud, sub: id, name, kind, sid: session.id, iat, exp, path };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.sign)
            .expect("claims are plain data")
    }

    fn lock_known(&self) -> MutexGuard<'_, HashMap<Box<str>, Session>> {
        self.known.lock().expect("no panic while locked")
    }

    fn read(&self, token: &str, aud: Audience) -> Option<Claims> {
        let claims =
            |key| jsonwebtoken::decode::<Claims>(token, key, &self.rules).ok().map(|data| data.claims);
        self.read.iter().find_map(claims).filter(|claims| claims.aud == aud)
    }
}

fn session_of(claims: Claims) -> Session {
    let Claims { sub, name, kind, sid, iat, exp, .. } = claims;
    Session { id: sid, user: User { id: sub, name, kind }, issued: iat, expires: exp }
}

/// A key of its own for each use, so that a token can never pass for something else.
fn derive(secret: &[u8], purpose: &str) -> [u8; 32] {
    let mut inner = Sha256::new();
    inner.update(b"maru ");
    inner.update(purpose);
    inner.update([0]);
    inner.update(secret);
    // Hashed twice: SHA-256 of a secret prefix can be extended.
    Sha256::digest(inner.finalize()).into()
}

/// What shows that a request is of the operator of this server.
pub struct AdminToken {
    salt: [u8; 32],
    digest: [u8; 32],
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken")
    }
}

impl AdminToken {
    /// The token that is configured.
    pub fn new(token: &str) -> Self {
        let salt = rand::random();
        AdminToken { salt, digest: salted(&salt, token) }
    }

    /// Is it this? How long the answer takes says nothing of the token: what is compared are digests under a salt that
    /// nobody knows.
    pub fn is(&self, given: &str) -> bool {
        salted(&self.salt, given) == self.digest
    }
}

fn salted(salt: &[u8; 32], token: &str) -> [u8; 32] {
    Sha256::new().chain_update(salt).chain_update(token).finalize().into()
}

/// Sessions that were signed out before they expired.
#[derive(Debug, Default)]
pub struct Revoked(RwLock<HashMap<i64, i64>>);

impl Revoked {
    /// As kept: session and expiry in seconds since 1970.
    pub fn new(kept: Vec<(i64, i64)>) -> Self {
        Revoked(RwLock::new(kept.into_iter().collect()))
    }

    /// Is this session over?
    pub fn contains(&self, session: i64) -> bool {
        self.0.read().expect("no panic while locked").contains_key(&session)
    }

    /// This session is over from now on. Forgets those that have expired by themselves.
    pub fn insert(&self, session: i64, until: i64, now: u64) {
        let mut revoked = self.0.write().expect("no panic while locked");
        revoked.retain(|_, until| *until > now.cast_signed());
        revoked.insert(session, until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal(secrets: &[&str]) -> Seal {
        Seal::new(&secrets.iter().map(|s| s.as_bytes().to_vec()).collect::<Vec<_>>())
    }

    fn ann() -> Session {
        Session::guest("Ann".parse().unwrap(), clock::seconds())
    }

    #[test]
    fn a_session_is_read_back_as_written() {
        let (seal, ann) = (seal(&["one"]), ann());
        assert_eq!(seal.read_session(&seal.session(&ann)), Some(ann));
    }

    #[test]
    fn both_secrets_are_accepted_while_they_rotate() {
        let ann = ann();
        let old = seal(&["old"]).session(&ann);
        assert_eq!(seal(&["new", "old"]).read_session(&old), Some(ann));
        assert_eq!(seal(&["new"]).read_session(&old), None);
    }

    #[test]
    fn a_token_that_was_changed_is_none() {
        let seal = seal(&["one"]);
        let token = seal.session(&ann());
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            // The last character of base64 may have bits that say nothing.
            if at + 1 < token.len() {
                assert_eq!(seal.read_session(std::str::from_utf8(&changed).unwrap()), None, "at {at}");
            }
        }
        // No algorithm, or another one.
        let payload = token.split('.').nth(1).unwrap();
        for header in ["eyJhbGciOiJub25lIn0", "eyJhbGciOiJIUzUxMiJ9"] {
            assert_eq!(seal.read_session(&format!("{header}.{payload}.")), None);
        }
    }

    #[test]
    fn an_expired_session_is_none() {
        let seal = seal(&["one"]);
        let over = Session { issued: 1, expires: clock::seconds() - 1, ..ann() };
        assert_eq!(seal.read_session(&seal.session(&over)), None);
    }

    #[test]
    fn a_session_that_is_remembered_ends_with_its_token() {
        let seal = seal(&["one"]);
        let soon = Session { expires: clock::seconds() + 1, ..ann() };
        let token = seal.session(&soon);
        assert_eq!(seal.read_session(&token), Some(soon.clone()));
        while clock::seconds() <= soon.expires {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        assert_eq!(seal.read_session(&token), None);
    }

    #[test]
    fn few_sessions_are_remembered() {
        let seal = seal(&["one"]);
        for _ in 0..KNOWN + 10 {
            let session = ann();
            assert_eq!(seal.read_session(&seal.session(&session)), Some(session));
            assert!(seal.lock_known().len() <= KNOWN);
        }
    }

    #[test]
    fn a_ticket_is_good_for_its_path_alone_and_never_a_session() {
        let (seal, ann) = (seal(&["one"]), ann());
        let (ticket, expires) = seal.ticket(&ann, "/r/lobby", clock::seconds());
        assert_eq!(seal.read_ticket(&ticket, "/r/lobby").unwrap().user, ann.user);
        assert!(expires <= clock::seconds() + TICKET_LIFE);
        assert_eq!(seal.read_ticket(&ticket, "/r/lobby2"), None);
        assert_eq!(seal.read_session(&ticket), None);
        assert_eq!(seal.read_ticket(&seal.session(&ann), "/r/lobby"), None);
    }

    #[test]
    fn a_members_session_is_never_prolonged() {
        let now = clock::seconds();
        let guest = Session { issued: now - 2 * RENEW_AFTER, expires: now + 60, ..ann() };
        let member = Session { user: User { kind: UserKind::Member, ..guest.user.clone() }, ..guest.clone() };
        let name = || guest.user.name.clone();
        assert!(guest.is_due(now) && !member.is_due(now));
        assert_eq!(guest.renewed(name(), now).expires, now + SESSION_LIFE);
        assert_eq!(member.renewed(name(), now).expires, now + 60);
        assert_eq!((guest.ends(now), member.ends(now)), (now + SESSION_LIFE, now + 60));
        let seal = seal(&["one"]);
        assert_eq!(seal.read_session(&seal.session(&member)), Some(member));
    }

    #[test]
    fn a_long_session_is_over_for_all_its_tokens_when_it_is_signed_out() {
        const YEAR: u64 = 365 * 24 * 60 * 60;
        let now = clock::seconds();
        let first = Session::lasting(ann().user, now, YEAR);
        let later = first.renewed(first.user.name.clone(), now + 2 * RENEW_AFTER);
        assert_eq!((first.expires, later.expires), (now + YEAR, now + YEAR));
        // Whichever of them signs out, and whenever it does.
        for at in [now, now + YEAR - 1] {
            assert!(later.ends(at) >= first.expires && first.ends(at) >= later.expires);
        }
    }

    #[test]
    fn the_operators_token_is_itself_alone() {
        let token = AdminToken::new("sixteen bytes...");
        assert!(token.is("sixteen bytes..."));
        for other in ["", "sixteen bytes..", "sixteen bytes....", "Sixteen bytes..."] {
            assert!(!token.is(other), "{other:?}");
        }
    }

    #[test]
    fn an_address_is_disguised_the_same_way_each_time() {
        assert_eq!(seal(&["one"]).disguise(b"a"), seal(&["one"]).disguise(b"a"));
        assert_ne!(seal(&["one"]).disguise(b"a"), seal(&["two"]).disguise(b"a"));
        assert_eq!(seal(&["one"]).disguise(b"a"), seal(&["two", "one"]).disguise(b"a"));
    }
}
