//! Reads what frames a chunked body: the line before each chunk, and the trailer (RFC 9112 §7.1).

use super::{Limits, Refusal, head};

/// Hexadecimal digits of a chunk's size, leading zeros counted.
const DIGITS: usize = 16;
/// Bytes of a chunk's extensions. Nobody is known to use them; they are read over.
const EXTENSIONS: usize = 256;
/// Bytes that a chunk's line can have, with its CR LF.
pub(super) const LONGEST_CHUNK_LINE: usize = DIGITS + EXTENSIONS + b"\r\n".len();

/// Reads `size [";" extensions]`, without its CR LF.
pub(super) fn chunk_size(line: &[u8]) -> Result<u64, Refusal> {
    const WRONG: &str = "a chunk's line is not a size";
    let digits = line.iter().position(|b| !b.is_ascii_hexdigit()).unwrap_or(line.len());
    let (size, extensions) = line.split_at(digits);
    if digits > DIGITS || !matches!(extensions, [] | [b';', ..]) {
        return Err(Refusal::bad(WRONG));
    }
    if extensions.len() > EXTENSIONS {
        return Err(Refusal::bad("a chunk's line is too long"));
    }
    let size = std::str::from_utf8(size).ok().and_then(|size| i64::from_str_radix(size, 16).ok());
    size.map(i64::unsigned_abs).ok_or(Refusal::bad(WRONG))
}

/// A trailer may say anything but what a request is: those fields are for its head (RFC 9110 §6.5.1).
pub(super) fn check_trailer(trailer: &[u8], limits: &Limits) -> Result<(), Refusal> {
    const HEAD_ONLY: [&[u8]; 3] = [b"transfer-encoding", b"content-length", b"host"];
    for (n, line) in head::lines(trailer).enumerate() {
        if n == limits.fields {
            return Err(Refusal::head_too_large("the trailer has too many fields"));
        }
        let (name, _) = head::field(line)?;
        if HEAD_ONLY.iter().any(|field| name.eq_ignore_ascii_case(field)) {
            return Err(Refusal::bad("a trailer says nothing of framing or host"));
        }
    }
    Ok(())
}
