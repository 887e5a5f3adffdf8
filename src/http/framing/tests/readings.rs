//! Properties: good requests pass however they come, and nothing passes that has two readings.

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;

/// A good request, and sometimes a body that looks like another one.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let body = prop_oneof![
        vec(any::<u8>(), 0..40),
        Just(b"GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        Just(b"0\r\n\r\n".to_vec()),
    ];
    let fields =
        vec(select(&["X: y", "Accept: */*", "Cookie: a=b; c=d", "X-Long: Content-Length: 7"][..]), 0..4);
    let chunks = vec((body.clone(), select(&["", ";a", ";a=\"b c\""][..])), 0..4);
    let trailer = select(&["", "X: y\r\n", "A: b\r\nC: d\r\n"][..]);
    (0..3u8, fields, body, chunks, trailer, any::<bool>()).prop_map(
        |(kind, fields, body, chunks, trailer, crlf)| {
            let mut message = Vec::new();
            let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
            message.extend_from_slice(if crlf { b"\r\n" } else { b"" });
            message.extend_from_slice(format!("POST /r/a?b HTTP/1.1\r\nHost: a\r\n{fields}").as_bytes());
            match kind {
                0 => message.extend_from_slice(b"\r\n"),
                1 => {
                    message.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
                    message.extend_from_slice(&body);
                }
                _ => {
                    message.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
                    for (chunk, extension) in chunks.iter().filter(|(chunk, _)| !chunk.is_empty()) {
                        message.extend_from_slice(format!("{:x}{extension}\r\n", chunk.len()).as_bytes());
                        message.extend_from_slice(chunk);
                        message.extend_from_slice(b"\r\n");
                    }
                    message.extend_from_slice(format!("0\r\n{trailer}\r\n").as_bytes());
                }
            }
            message
        },
    )
}

/// Things that some reader takes for a line's end, a space, a length.
const HOSTILE: [&str; 34] = [
    "\n",
    "\r",
    "\r\n",
    "\n\n",
    "\r\n\r\n",
    " ",
    "\t",
    "\0",
    "\x0b",
    "\x0c",
    ",",
    "+",
    "-",
    "0x",
    ";",
    ":",
    "5",
    "0\r\n\r\n",
    "Content-Length: 5\r\n",
    "Content-Length: 5, 6\r\n",
    "Content-Length : 5\r\n",
    "Content-Length: +5\r\n",
    "\nContent-Length: 5",
    "X: y\rContent-Length: 5\r\n",
    " Content-Length: 5\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: chunked, x\r\n",
    "Transfer-Encoding: xchunked\r\n",
    "Transfer-Encoding:\x0bchunked\r\n",
    "Transfer-Encoding : chunked\r\n",
    "Transfer-Encoding:\r\n chunked\r\n",
    "Host: b\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n",
];

/// The fields and lines that frame a message, and what some reader takes for them.
const TWISTS: [(&str, &str); 8] = [
    ("HTTP/1.1", "HTTP/1.0"),
    ("Content-Length: ", "Content-Length: 0, "),
    ("Content-Length: ", "Content-Length: +"),
    ("Content-Length: ", "Content-Length: 0 "),
    ("Encoding: chunked", "Encoding: chunked, x"),
    ("Encoding: chunked", "Encoding: chunked x"),
    ("chunked\r\n\r\n", "chunked\r\n\r\n0x"),
    ("\r\n0\r\n", "\r\n0\r\nContent-Length: 5\r\n"),
];

fn attack() -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<prop::sample::Index>(), 0..8u8, select(&HOSTILE[..]), select(&TWISTS[..]));
    (vec(message(), 1..4), vec(change, 0..5)).prop_map(|(messages, changes)| {
        let mut bytes = messages.concat();
        for (at, kind, hostile, (straight, twisted)) in changes {
            let places = |before: &[u8]| -> Vec<usize> {
                (0..bytes.len()).filter(|i| bytes[*i..].starts_with(before)).collect()
            };
            let (lines, straights) = (places(b"\n"), places(straight.as_bytes()));
            bytes = match kind {
                0 => splice(&bytes, at.index(bytes.len() + 1), bytes.len(), ""),
                1 => splice(&bytes, at.index(bytes.len() + 1), 0, hostile),
                2 => splice(&bytes, at.index(bytes.len() + 1), 1, hostile),
                3..6 if !lines.is_empty() => splice(&bytes, at.get(&lines) + 1, 0, hostile),
                _ if !straights.is_empty() => splice(&bytes, *at.get(&straights), straight.len(), twisted),
                _ => continue,
            };
        }
        bytes
    })
}

fn splice(bytes: &[u8], at: usize, removed: usize, inserted: &str) -> Vec<u8> {
    [&bytes[..at], inserted.as_bytes(), &bytes[(at + removed).min(bytes.len())..]].concat()
}

/// A reader as there are many: what it does not understand it reads somehow. Each bit is one of its ways.
struct Lenient {
    habits: u16,
}

impl Lenient {
    const HABITS: u16 = 10;

    fn has(&self, habit: u16) -> bool {
        self.habits & 1 << habit != 0
    }

    /// The end of the line that starts at `at`, and the start of the next one.
    fn line(&self, bytes: &[u8], at: usize) -> Option<(usize, usize)> {
        let ends = |i: usize| {
            (bytes[i..].starts_with(b"\r\n").then_some(2))
                .or((self.has(0) && bytes[i] == b'\n').then_some(1))
                .or((self.has(1) && bytes[i] == b'\r').then_some(1))
        };
        (at..bytes.len()).find_map(|i| ends(i).map(|n| (i, i + n)))
    }

    /// Like C's `strtoull`: leading space and a sign are fine, and it stops where the digits stop.
    fn number(&self, s: &str, radix: u32) -> usize {
        let s = s.trim().trim_start_matches('+');
        let s = if radix == 16 { s.trim_start_matches("0x") } else { s };
        let digits = s.find(|c: char| !c.is_digit(radix)).unwrap_or(s.len());
        usize::from_str_radix(&s[..digits], radix).unwrap_or(0)
    }

    /// Where each head ends, as this reader sees it.
    fn heads(&self, bytes: &[u8]) -> Vec<usize> {
        let mut heads = Vec::new();
        let mut at = 0;
        while let Some((end, next)) = self.line(bytes, at) {
            at = if end == at {
                next
            } else {
                let Some(next) = self.message(bytes, at, &mut heads) else { break };
                next
            };
        }
        heads
    }

    fn message(&self, bytes: &[u8], start: usize, heads: &mut Vec<usize>) -> Option<usize> {
        let (end, mut at) = self.line(bytes, start)?;
        let old = bytes[start..end].ends_with(b"HTTP/1.0");
        let mut fields: Vec<(String, String)> = Vec::new();
        loop {
            let (end, next) = self.line(bytes, at)?;
            let line = String::from_utf8_lossy(&bytes[at..end]).into_owned();
            at = next;
            if line.is_empty() {
                break;
            }
            match (fields.last_mut(), line.split_once(':')) {
                (Some((_, last)), _) if self.has(2) && line.starts_with([' ', '\t']) => last.push_str(&line),
                (_, Some((name, value))) => {
                    let name = if self.has(3) { name.trim() } else { name };
                    let value = if self.has(4) { value.split('\0').next().unwrap() } else { value };
                    fields.push((name.to_ascii_lowercase(), value.trim().to_ascii_lowercase()));
                }
                _ => {}
            }
        }
        heads.push(at);
        let mut lengths = fields
            .iter()
            .filter(|(name, _)| name == "content-length")
            .flat_map(|(_, value)| value.split(','));
        let length = if self.has(5) { lengths.next() } else { lengths.next_back() };
        let is_chunked = |value: &str| {
            if self.has(6) {
                value.contains("chunked")
            } else {
                value.split(',').next_back().unwrap().trim() == "chunked"
            }
        };
        let chunked = fields.iter().any(|(name, value)| name == "transfer-encoding" && is_chunked(value));
        let chunked = chunked && !(self.has(7) && old) && !(self.has(8) && length.is_some());
        if !chunked {
            return Some(at + length.map_or(0, |length| self.number(length, 10)));
        }
        loop {
            let (end, next) = self.line(bytes, at)?;
            let size = self.number(&String::from_utf8_lossy(&bytes[at..end]), 16);
            if size == 0 {
                at = next;
                break;
            }
            at = next + size;
            at = if self.has(9) { at + 2 } else { self.line(bytes, at)?.1 };
        }
        loop {
            let (end, next) = self.line(bytes, at)?;
            if end == at {
                return Some(next);
            }
            at = next;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn what_is_good_is_passed_as_it_came_however_it_comes(
        messages in vec(message(), 1..5),
        cuts in vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let input = messages.concat();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(input.len())).chain([0, input.len()]).collect();
        cuts.sort_unstable();
        let (passed, framing) = feed(cuts.windows(2).map(|cut| &input[cut[0]..cut[1]]));
        prop_assert_eq!(framing.refusal(), None);
        prop_assert_eq!(framing.phase(), Phase::Idle);
        prop_assert_eq!(framing.heads(), messages.len() as u64);
        prop_assert_eq!(passed, input);
    }

    #[test]
    fn a_refusal_does_not_depend_on_how_it_comes(input in attack(), size in 1usize..9) {
        let (whole, framing) = feed([&input[..]]);
        let (pieces, framing_of_pieces) = feed(input.chunks(size));
        prop_assert!(input.starts_with(&whole));
        prop_assert_eq!(whole, pieces);
        prop_assert_eq!(framing.refusal(), framing_of_pieces.refusal());
        prop_assert_eq!(framing.phase(), framing_of_pieces.phase());
        prop_assert_eq!(framing.heads(), framing_of_pieces.heads());
    }

    #[test]
    fn nothing_passes_that_others_read_in_another_way(input in attack()) {
        let (passed, _) = feed([&input[..]]);
        let mut framing = Framing::new(Limits::default());
        let ends = (1..=passed.len()).filter(|end| {
            let before = framing.heads();
            framing.take(&passed[end - 1..*end]);
            framing.heads() > before
        });
        let ends: Vec<usize> = ends.collect();
        for habits in 0..1 << Lenient::HABITS {
            prop_assert_eq!(
                &Lenient { habits }.heads(&passed), &ends,
                "{:#b} reads {:?} in another way", habits, String::from_utf8_lossy(&passed)
            );
        }
    }
}
