//! Reads a whole head: a request line and its fields (RFC 9112 §3, §5, §6).

use std::net::Ipv6Addr;

use hyper::Uri;

use super::{Limits, Refusal};

/// Longest method, in bytes; the longest one registered with IANA has 17.
const METHOD: usize = 32;

/// What follows a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// So many bytes, or none.
    Length(u64),
    /// Chunks (RFC 9112 §7.1).
    Chunked,
}

/// `HTTP/1.0` or `HTTP/1.1`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    V10,
    V11,
}

/// A request line that can be read in one way only.
pub(super) struct Request {
    version: Version,
    /// Of a target in absolute form (RFC 9112 §3.2.2), as a proxy would get it: what stands there overrides
    /// `Host`.
    authority: Option<String>,
}

/// Bytes that a request line can have, with its CR LF.
pub(super) fn longest_line(limits: &Limits) -> usize {
    METHOD + b" ".len() + limits.target + b" HTTP/1.1\r\n".len()
}

/// What to say of a line that has more than [`longest_line`], and may not be whole yet.
pub(super) fn line_too_long(line: &[u8]) -> Refusal {
    match line.iter().position(|b| *b == b' ') {
        Some(method) if method <= METHOD => Refusal::uri_too_long(),
        _ => Refusal::bad("a request begins with a method"),
    }
}

/// Reads `method SP target SP version`, without its CR LF.
pub(super) fn request_line(line: &[u8], limits: &Limits) -> Result<Request, Refusal> {
    if line == b"PRI * HTTP/2.0" {
        return Err(Refusal::bad("HTTP/2 without TLS is not spoken here; HTTP/1.1 is"));
    }
    let mut parts = line.split(|b| *b == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Refusal::bad(
            "a request line is a method, a target and a version, with one space between",
        ));
    };
    if target.len() > limits.target {
        return Err(Refusal::uri_too_long());
    }
    if method.len() > METHOD || !is_token(method) {
        return Err(Refusal::bad("the method is not a token"));
    }
    let version = match version {
        b"HTTP/1.1" => Version::V11,
        b"HTTP/1.0" => Version::V10,
        _ => return Err(Refusal::bad("the version is neither HTTP/1.1 nor HTTP/1.0")),
    };
    Ok(Request { version, authority: authority(method, target)? })
}

/// The four forms of RFC 9112 §3.2. hyper would answer a target that is no URI by itself, and without a word,
/// so its own reading is asked here; it drops a fragment in silence, which would be a second reading.
fn authority(method: &[u8], target: &[u8]) -> Result<Option<String>, Refusal> {
    const WRONG: &str = "the target is not one that HTTP knows";
    let uri = Uri::try_from(target).ok().filter(|_| !target.contains(&b'#'));
    let uri = uri.ok_or(Refusal::bad(WRONG))?;
    match (method, target) {
        (b"CONNECT", _) if uri.scheme().is_none() && uri.authority().is_some() => Ok(None),
        (b"CONNECT", _) => Err(Refusal::bad(WRONG)),
        (_, [b'/', ..]) | (b"OPTIONS", b"*") => Ok(None),
        _ => match (uri.scheme_str(), uri.authority()) {
            (Some("http" | "https"), Some(authority)) if is_host(authority.as_str().as_bytes()) => {
                Ok(Some(authority.as_str().to_owned()))
            }
            _ => Err(Refusal::bad(WRONG)),
        },
    }
}

/// Reads a whole head, of which it is known that every line ends with CR LF, that the last is empty, and that
/// there are no other control characters but HTAB.
pub(super) fn read(head: &[u8], limits: &Limits) -> Result<Body, Refusal> {
    let mut lines = lines(head);
    let request = request_line(lines.next().unwrap_or_default(), limits)?;
    let (mut host, mut length, mut coding) = (None, None, None);
    for (n, line) in lines.enumerate() {
        if n == limits.fields {
            return Err(Refusal::head_too_large("the head has too many fields"));
        }
        let (name, value) = field(line)?;
        let (once, twice) = if name.eq_ignore_ascii_case(b"host") {
            (&mut host, "Host is there twice")
        } else if name.eq_ignore_ascii_case(b"content-length") {
            (&mut length, "Content-Length is there twice")
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            (&mut coding, "Transfer-Encoding is there twice")
        } else {
            continue;
        };
        if once.replace(value).is_some() {
            return Err(Refusal::bad(twice));
        }
    }
    check_host(&request, host)?;
    match (coding, length) {
        (Some(_), Some(_)) => Err(Refusal::bad("Transfer-Encoding and Content-Length exclude each other")),
        (Some(_), None) if request.version == Version::V10 => {
            Err(Refusal::bad("HTTP/1.0 has no Transfer-Encoding"))
        }
        (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => Ok(Body::Chunked),
        (Some(_), None) => Err(Refusal::bad("the only Transfer-Encoding understood is chunked")),
        (None, Some(length)) => content_length(length).map(Body::Length),
        (None, None) => Ok(Body::Length(0)),
    }
}

/// A field's name and its value, without the white space around the value.
pub(super) fn field(line: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    if line.starts_with(b" ") || line.starts_with(b"\t") {
        return Err(Refusal::bad("a field stands on one line"));
    }
    let colon = line.iter().position(|b| *b == b':').ok_or(Refusal::bad("a field has a name and a colon"))?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    if name.ends_with(b" ") || name.ends_with(b"\t") {
        return Err(Refusal::bad("there is no space before a field's colon"));
    }
    if !is_token(name) {
        return Err(Refusal::bad("a field's name is a token"));
    }
    Ok((name, value.trim_ascii()))
}

/// The lines before the empty one that ends a head or a trailer.
pub(super) fn lines(section: &[u8]) -> impl Iterator<Item = &[u8]> {
    section
        .split(|b| *b == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .take_while(|l| !l.is_empty())
}

/// RFC 9112 §3.2: exactly one `Host` in HTTP/1.1, and the same host whichever way one reads the request.
fn check_host(request: &Request, host: Option<&[u8]>) -> Result<(), Refusal> {
    match (host, &request.authority) {
        (None, _) if request.version == Version::V10 => Ok(()),
        (None, _) => Err(Refusal::bad("Host is missing")),
        (Some(host), _) if !is_host(host) => Err(Refusal::bad("Host is not a host")),
        (Some(host), Some(authority)) if !host.eq_ignore_ascii_case(authority.as_bytes()) => {
            Err(Refusal::bad("the target names another host than Host"))
        }
        _ => Ok(()),
    }
}

/// `host [":" port]` as RFC 3986 §3.2.2 has it, but not empty: a name, an IPv4 address, or an IPv6 address in
/// brackets.
fn is_host(host: &[u8]) -> bool {
    let Ok(host) = std::str::from_utf8(host) else { return false };
    let (name_is_good, port) = if let Some(bracketed) = host.strip_prefix('[') {
        let Some((address, port)) = bracketed.split_once(']') else { return false };
        (address.parse::<Ipv6Addr>().is_ok(), port)
    } else {
        let name = host.split(':').next().unwrap_or_default();
        (is_reg_name(name.as_bytes()), &host[name.len()..])
    };
    name_is_good && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
}

fn is_port(port: &str) -> bool {
    port.bytes().all(|b| b.is_ascii_digit()) && (port.is_empty() || port.parse::<u16>().is_ok())
}

fn is_reg_name(name: &[u8]) -> bool {
    let mut rest = name;
    while let [first, after @ ..] = rest {
        rest = match (first, after) {
            (b'%', [a, b, after @ ..]) if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => after,
            (b'%', _) => return false,
            (b, _) if b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(b) => after,
            _ => return false,
        };
    }
    !name.is_empty()
}

/// Digits only, and below 2^63, so that no reader's signed number overflows.
fn content_length(value: &[u8]) -> Result<u64, Refusal> {
    let digits = std::str::from_utf8(value).ok().filter(|v| v.bytes().all(|b| b.is_ascii_digit()));
    let length = digits.and_then(|digits| digits.parse::<i64>().ok());
    length.map(i64::unsigned_abs).ok_or(Refusal::bad("Content-Length is not a length"))
}

/// RFC 9110 §5.6.2.
fn is_token(s: &[u8]) -> bool {
    !s.is_empty() && s.iter().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b))
}
