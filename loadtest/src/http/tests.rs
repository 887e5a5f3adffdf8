use super::*;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

fn head(text: &str) -> Result<Head, String> {
    parse_head(text.as_bytes()).map(|found| found.expect("complete").0)
}

fn framing(text: &str) -> Result<Framing, String> {
    head(text)?.framing("GET")
}

fn decode(input: &[u8]) -> Result<(Vec<u8>, usize, bool), String> {
    let (mut decoder, mut out) = (ChunkedDecoder::new(), Vec::new());
    let used = decoder.feed(input, &mut out)?;
    Ok((out, used, decoder.is_done()))
}

#[test]
fn chunks_come_out_the_same_however_they_are_cut() {
    let input = b"5\r\nhello\r\n1\r\n \r\n00A\r\n0123456789\r\n0\r\n\r\nHTTP/1.1";
    let whole = decode(input).unwrap();
    assert_eq!(whole, (b"hello 0123456789".to_vec(), input.len() - 8, true));
    for size in 1..9 {
        let (mut decoder, mut out, mut used) = (ChunkedDecoder::new(), Vec::new(), 0);
        for piece in input.chunks(size) {
            used += decoder.feed(piece, &mut out).unwrap();
        }
        assert_eq!((out, used, decoder.is_done()), whole, "by {size}");
        assert_eq!(decoder.chunks(), 3);
    }
}

#[test]
fn malformed_chunks_are_complained_about() {
    let bad: [&[u8]; 10] = [
        b"\r\n",
        b"5\nhello\r\n",
        b"5\r\nhello!\r\n",
        b"5\r\nhello\n",
        b"5;x=y\r\nhello\r\n",
        b" 5\r\nhello\r\n",
        b"0x5\r\nhello\r\n",
        b"-5\r\nhello\r\n",
        b"11111111111111111\r\n",
        b"0\r\nX-Trailer: a\r\n\r\n",
    ];
    for input in bad {
        assert!(decode(input).is_err(), "{}", String::from_utf8_lossy(input));
    }
}

#[test]
fn a_cut_chunk_is_not_at_a_boundary() {
    let mut decoder = ChunkedDecoder::new();
    assert!(decoder.is_between_chunks());
    decoder.feed(b"5\r\nhel", &mut Vec::new()).unwrap();
    assert!(!decoder.is_between_chunks());
    decoder.feed(b"lo\r\n", &mut Vec::new()).unwrap();
    assert!(decoder.is_between_chunks() && !decoder.is_done());
}

#[test]
fn heads_that_can_be_read_in_two_ways_are_refused() {
    let ok = "HTTP/1.1 200 OK\r\n";
    assert_eq!(framing(&format!("{ok}Content-Length: 5\r\n\r\n")), Ok(Framing::Length(5)));
    assert_eq!(framing(&format!("{ok}Transfer-Encoding: chunked\r\n\r\n")), Ok(Framing::Chunked));
    assert_eq!(framing(&format!("{ok}\r\n")), Ok(Framing::UntilClose));
    assert_eq!(framing("HTTP/1.1 204 No Content\r\n\r\n"), Ok(Framing::Length(0)));
    for bad in [
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Content-Length: +5",
        "Content-Length: 5, 5",
        "Content-Length:",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    ] {
        assert!(framing(&format!("{ok}{bad}\r\n\r\n")).is_err(), "{bad}");
    }
}

#[test]
fn malformed_heads_are_refused() {
    for bad in [
        "HTTP/2 200 OK\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 200\r\n\r\n",
        "HTTP/1.1 200 OK\nA: b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\nB: c\r\n\r\n",
    ] {
        assert!(head(bad).is_err(), "{bad:?}");
    }
    assert_eq!(parse_head(b"HTTP/1.1 200 OK\r\nA: b\r\n"), Ok(None));
}

#[test]
fn cookies_are_found_in_any_of_their_lines() {
    let head =
        head("HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nset-cookie: maru_session=x.y=; Path=/\r\n\r\n").unwrap();
    assert_eq!(head.headers.set_cookie("maru_session"), Some("x.y="));
}

/// A server of one connection per script: for each request it reads a head and writes the given bytes.
fn scripted(scripts: Vec<Vec<&'static [u8]>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for answers in scripts {
            let (mut socket, _) = listener.accept().unwrap();
            for answer in answers {
                let mut seen = Vec::new();
                while !seen.ends_with(b"\r\n\r\n") && !seen.ends_with(b"body") {
                    let mut byte = [0];
                    socket.read_exact(&mut byte).unwrap();
                    seen.push(byte[0]);
                    if seen.ends_with(b"\r\n\r\n") && seen.windows(4).any(|w| w == b"POST") {
                        let mut body = [0; 4];
                        socket.read_exact(&mut body).unwrap();
                        break;
                    }
                }
                for piece in answer.chunks(3) {
                    socket.write_all(piece).unwrap();
                }
            }
        }
    });
    address
}

#[test]
fn a_connection_carries_many_requests_and_a_closed_one_is_replaced() {
    let address = scripted(vec![
        vec![
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 7\r\n\r\n{\"a\":1}",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx",
        ],
        vec![b"HTTP/1.1 204 No Content\r\n\r\n"],
        vec![b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort"],
        vec![b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"],
    ]);
    let mut client = Client::new(address).from_source("127.0.3.4".parse().unwrap());
    assert_eq!(client.post("/", "text/plain", "body").unwrap().json()["a"], 1);
    assert_eq!(client.get("/").unwrap().text(), "abc");
    assert_eq!(client.get("/").unwrap().text(), "x");
    assert_eq!(client.get("/").unwrap().status, 204);
    // The scripted server closes after its last answer; wait until that is seen, then it reconnects.
    while client.wire.as_ref().is_some_and(Wire::is_fresh) {
        thread::yield_now();
    }
    assert_eq!(client.get("/").unwrap_err().kind, ErrorKind::Closed);
    assert_eq!(client.get("/").unwrap_err().kind, ErrorKind::Framing);
}

#[test]
fn nobody_there_is_known_as_not_sent() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(Client::new(gone).get("/").unwrap_err().kind, ErrorKind::Connect);
}
