//! The id of a request: by it, what is logged of a request here is found together, and with what others on its way have
//! logged of it.

use std::fmt;

use hyper::{
    HeaderMap,
    header::{HeaderName, HeaderValue},
};
use tokio::task::futures::TaskLocalFuture;

/// Not registered anywhere, and what proxies and frameworks call it.
pub(super) const NAME: HeaderName = HeaderName::from_static("x-request-id");
/// Characters that one may have that others gave.
const LONGEST: usize = 64;

tokio::task_local! {
    /// Of the request that a task answers.
    static CURRENT: Option<RequestId>;
}

/// Visible ASCII, so that it is one word in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RequestId {
    /// Drawn at random: 16 hexadecimal digits.
    Own(u64),
    /// By a proxy.
    Given(HeaderValue),
}

/// Who sent the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    /// A proxy that is believed.
    Proxy,
    Anybody,
}

impl RequestId {
    /// The one that a proxy gave, if it is well-formed; else a new one.
    pub(super) fn of(headers: &HeaderMap, from: From) -> Self {
        let given = if from == From::Proxy { given(headers) } else { None };
        given.map_or_else(|| RequestId::Own(rand::random()), RequestId::Given)
    }

    /// Does this as a part of the request: all that is logged meanwhile has its id.
    pub(super) fn of_all_in<F: Future>(self, work: F) -> TaskLocalFuture<Option<RequestId>, F> {
        CURRENT.scope(Some(self), work)
    }

    /// Does this, later or elsewhere, as a part of the request that is answered now.
    pub(super) fn carried<F: Future>(work: F) -> TaskLocalFuture<Option<RequestId>, F> {
        CURRENT.scope(RequestId::current(), work)
    }

    /// That of the request that is answered now, if one is.
    pub(crate) fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok().flatten()
    }

    pub(super) fn into_header(self) -> HeaderValue {
        match self {
            RequestId::Own(number) => HeaderValue::from_bytes(&digits(number)).expect("digits are visible"),
            RequestId::Given(id) => id,
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequestId::Own(number) => write!(f, "{number:016x}"),
            RequestId::Given(id) => f.write_str(id.to_str().expect("it is visible ASCII")),
        }
    }
}

/// As `{:016x}`, for every answer.
fn digits(number: u64) -> [u8; 16] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    std::array::from_fn(|n| DIGITS[(number >> (60 - 4 * n) & 15) as usize])
}

fn given(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut given = headers.get_all(NAME).iter();
    let id = given.next().filter(|id| is_well_formed(id.as_bytes()))?;
    given.next().is_none().then(|| id.clone())
}

fn is_well_formed(id: &[u8]) -> bool {
    (1..=LONGEST).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(ids: &[&[u8]]) -> HeaderMap {
        ids.iter().map(|id| (NAME, HeaderValue::from_bytes(id).unwrap())).collect()
    }

    #[test]
    fn what_a_proxy_gave_is_kept() {
        for id in [
            "a",
            "0af7651916cd43dd8448eb211c80319c",
            "Root=1-67891233-abcdef012345678912345678",
            &"x".repeat(64),
        ] {
            assert_eq!(RequestId::of(&headers(&[id.as_bytes()]), From::Proxy).to_string(), id);
        }
    }

    #[test]
    fn what_is_not_well_formed_or_of_anybody_is_not() {
        let long = "x".repeat(65);
        let given: [&[&[u8]]; 8] = [
            &[],
            &[b""],
            &[b"two words"],
            &[b"a\tb"],
            &["마루".as_bytes()],
            &[b"\xff"],
            &[long.as_bytes()],
            &[b"one", b"other"],
        ];
        for ids in given {
            let new = RequestId::of(&headers(ids), From::Proxy).to_string();
            assert!(new.len() == 16 && new.bytes().all(|b| b.is_ascii_hexdigit()), "{ids:?}: {new}");
        }
        assert_ne!(RequestId::of(&headers(&[b"mine"]), From::Anybody).to_string(), "mine");
    }

    #[test]
    fn the_answer_and_the_log_say_the_same() {
        for id in [RequestId::Own(0), RequestId::Own(0x0af7_6519_16cd_43dd), RequestId::Own(u64::MAX)] {
            assert_eq!(id.to_string().as_bytes(), id.into_header().as_bytes());
        }
    }
}
