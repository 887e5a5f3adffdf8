//! The head of an answer, and what it says about the body (RFC 9112 §4, §5, §6.3).

/// A head longer than this is an error of the server (bytes).
const HEAD_LIMIT: usize = 64 << 10;

/// Header fields in the order in which they came. Names compare without regard to case.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// The first field of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v)
    }

    /// Every field of this name, in order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// All fields.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(n, v)| (n.as_str(), v.as_str()))
    }

    /// The value of a cookie that the answer sets, without its attributes.
    #[must_use]
    pub fn set_cookie(&self, name: &str) -> Option<&str> {
        self.all("set-cookie").find_map(|line| {
            let (key, rest) = line.split_once('=')?;
            (key.trim() == name).then(|| rest.split(';').next().unwrap_or_default())
        })
    }
}

/// Status line and header fields.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Head {
    /// 10 for HTTP/1.0, 11 for HTTP/1.1.
    pub version: u8,
    /// The status code.
    pub status: u16,
    /// The header fields.
    pub headers: Headers,
}

/// How the end of the body is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Framing {
    /// After so many bytes.
    Length(u64),
    /// By chunks.
    Chunked,
    /// When the connection closes.
    UntilClose,
}

impl Head {
    /// Whether the server will close the connection after this answer.
    #[must_use]
    pub fn closes(&self) -> bool {
        let says = |word: &str| {
            self.headers
                .all("connection")
                .flat_map(|v| v.split(','))
                .any(|t| t.trim().eq_ignore_ascii_case(word))
        };
        says("close") || (self.version == 10 && !says("keep-alive"))
    }

    /// How the body of this answer to a `method` request ends.
    ///
    /// # Errors
    /// Anything that two readers could take in two ways.
    pub fn framing(&self, method: &str) -> Result<Framing, String> {
        let codings: Vec<_> = self.headers.all("transfer-encoding").collect();
        let lengths: Vec<_> = self.headers.all("content-length").collect();
        let bodiless = method == "HEAD" || matches!(self.status, 100..=199 | 204 | 304);
        match (codings.as_slice(), lengths.as_slice()) {
            ([_, ..], [_, ..]) => Err("both Transfer-Encoding and Content-Length".to_owned()),
            ([_, _, ..], _) | (_, [_, _, ..]) => Err(format!("two framings: {codings:?} {lengths:?}")),
            ([_], _) if self.version == 10 => Err("Transfer-Encoding in HTTP/1.0".to_owned()),
            ([_], _) if bodiless && method != "HEAD" => {
                Err(format!("Transfer-Encoding with {}", self.status))
            }
            ([coding], _) if !coding.eq_ignore_ascii_case("chunked") => Err(format!("coding {coding:?}")),
            (_, [length]) => {
                let plain = !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit());
                let length = length.parse().ok().filter(|_| plain).ok_or(format!("length {length:?}"))?;
                Ok(Framing::Length(if bodiless { 0 } else { length }))
            }
            _ if bodiless => Ok(Framing::Length(0)),
            ([_], _) => Ok(Framing::Chunked),
            _ => Ok(Framing::UntilClose),
        }
    }
}

/// Reads a head from the start of `bytes`: `None` while it is incomplete, else the head and its length in bytes.
///
/// # Errors
/// What RFC 9112 does not allow a server to send, in words.
pub fn parse_head(bytes: &[u8]) -> Result<Option<(Head, usize)>, String> {
    let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else {
        return if bytes.len() > HEAD_LIMIT { Err("a head without end".to_owned()) } else { Ok(None) };
    };
    let text = std::str::from_utf8(&bytes[..end]).map_err(|e| format!("head: {e}"))?;
    let mut lines = text.split("\r\n");
    let (version, status) = status_line(lines.next().unwrap_or_default())?;
    let fields = lines.map(field).collect::<Result<_, _>>()?;
    Ok(Some((Head { version, status, headers: Headers(fields) }, end + 4)))
}

fn status_line(line: &str) -> Result<(u8, u16), String> {
    let bad = || format!("status line {line:?}");
    let (version, rest) = match line.split_once(' ').ok_or_else(bad)? {
        ("HTTP/1.1", rest) => (11, rest),
        ("HTTP/1.0", rest) => (10, rest),
        _ => return Err(bad()),
    };
    let (code, reason) = rest.split_once(' ').ok_or_else(bad)?;
    let digits = code.len() == 3 && code.bytes().all(|b| b.is_ascii_digit());
    let clean = !reason.chars().any(char::is_control);
    code.parse().ok().filter(|_| digits && clean).map(|code| (version, code)).ok_or_else(bad)
}

fn field(line: &str) -> Result<(String, String), String> {
    let bad = || format!("header line {line:?}");
    let (name, value) = line.split_once(':').ok_or_else(bad)?;
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    let good =
        !name.is_empty() && name.bytes().all(token) && !value.chars().any(|c| c.is_control() && c != '\t');
    if good { Ok((name.to_owned(), value.trim_matches([' ', '\t']).to_owned())) } else { Err(bad()) }
}
