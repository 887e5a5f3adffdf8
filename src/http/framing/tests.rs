use super::*;

mod readings;

/// What came of feeding these pieces: what was passed on, and how it ended.
fn feed<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<u8>, Framing) {
    let mut framing = Framing::new(Limits::default());
    let mut passed = Vec::new();
    for piece in pieces {
        framing.take(piece);
        let n = framing.ready().len().min(1 + passed.len() % 7 * 100);
        passed.extend_from_slice(&framing.ready()[..n]);
        framing.pass(n);
    }
    passed.extend_from_slice(framing.ready());
    framing.pass(framing.ready().len());
    (passed, framing)
}

fn refusal(input: impl AsRef<[u8]>) -> Refusal {
    let input = input.as_ref();
    let (passed, framing) = feed([input]);
    let (bytewise, framing_bytewise) = feed(input.chunks(1));
    assert_eq!((&passed, framing.refusal()), (&bytewise, framing_bytewise.refusal()));
    framing.refusal().unwrap_or_else(|| panic!("{:?} was not refused", String::from_utf8_lossy(input)))
}

#[track_caller]
fn assert_refused(input: impl AsRef<[u8]>, status: u16) {
    let input = input.as_ref();
    let refusal = refusal(input);
    assert_eq!(refusal.status, status, "{:?}: {refusal:?}", String::from_utf8_lossy(input));
    assert!(refusal.at_boundary);
    assert_eq!(feed([input]).0, b"", "{:?} was passed on", String::from_utf8_lossy(input));
}

#[track_caller]
fn assert_passed(input: impl AsRef<[u8]>) {
    let input = input.as_ref();
    let (passed, framing) = feed([input]);
    assert_eq!(framing.refusal(), None, "{:?}", String::from_utf8_lossy(input));
    assert_eq!(passed, input);
}

/// A request with these fields after `Host`.
fn with(fields: &str) -> String {
    format!("POST /r/lobby HTTP/1.1\r\nHost: localhost:8080\r\n{fields}\r\n")
}

#[test]
fn what_browsers_and_curl_send_is_passed() {
    for input in [
        "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /r/수다방?name=하늘 HTTP/1.1\r\nhost: [::1]:8080\r\nUser-Agent: curl/8\r\nAccept: */*\r\n\r\n",
        "GET /?q=a%20b&c={d}|e HTTP/1.1\r\nHOST:example.com \r\nX-Empty:\r\nX-Tab: \ta\tb\t\r\nX: é\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET http://Example.com/x HTTP/1.1\r\nHost: example.com\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n",
        "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nExpect: 100-continue\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0005\r\n\r\n\0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n5;a=\"b\";c\r\nhello\r\n00A\r\n\0\r\n3456789\r\n0\r\nX: y\r\n\r\n",
    ] {
        assert_passed(input);
    }
}

#[test]
fn a_line_ends_with_cr_lf_and_nothing_else() {
    assert_refused("GET / HTTP/1.1\nHost: a\n\n", 400);
    assert_refused("GET / HTTP/1.1\r\nHost: a\n\r\n", 400);
    assert_refused("GET / HTTP/1.1\r\nHost: a\r\rX: y\r\n\r\n", 400);
    assert_refused("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    assert_refused("\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    assert_refused(with("X: a\rb\r\n"), 400);
    assert_refused("\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400);
}

#[test]
fn a_request_line_has_one_shape() {
    for line in [
        "GET /",
        "GET  / HTTP/1.1",
        " GET / HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET\t/ HTTP/1.1",
        "GET / b HTTP/1.1",
        "GET / HTTP/2.0",
        "GET / HTTP/1.2",
        "GET / HTTP/1.10",
        "GET / http/1.1",
        "GET / HTTPS/1.1",
        "GET  HTTP/1.1",
        "G(T / HTTP/1.1",
        "GET lobby HTTP/1.1",
        "GET * HTTP/1.1",
        "GET /a#b HTTP/1.1",
        "GET /\"<> HTTP/1.1",
        "GET ftp://a/ HTTP/1.1",
        "GET http:/// HTTP/1.1",
        "GET http://b/ HTTP/1.1",
        "GET http://x@a/ HTTP/1.1",
        "CONNECT / HTTP/1.1",
        "METHODSOFMORETHAN32BYTESAREUNKNOWN / HTTP/1.1",
    ] {
        assert_refused(format!("{line}\r\nHost: a\r\n\r\n"), 400);
    }
    assert_refused(b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    assert_refused("GET http://x@a/ HTTP/1.0\r\n\r\n", 400);
    assert_refused("\x16\x03\x01\x02\0\x01", 400);
    let preface = refusal("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert!(preface.detail.contains("HTTP/2"), "{preface:?}");
}

#[test]
fn a_field_has_one_shape() {
    for field in [
        "X : y",
        "X\t: y",
        " X: y",
        "X: y\r\n z",
        "X: y\r\n\tz",
        "X",
        ": y",
        "X Y: z",
        "X(: y",
        "é: y",
        "X: \0",
        "X: \x0b",
        "X: \x7f",
        "X: \x1b[31m",
    ] {
        assert_refused(with(&format!("{field}\r\n")), 400);
    }
    assert_refused("GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400);
}

#[test]
fn there_is_one_host() {
    assert_refused("GET / HTTP/1.1\r\n\r\n", 400);
    assert_refused(with("Host: localhost:8080\r\n"), 400);
    assert_refused("GET / HTTP/1.0\r\nHost: a\r\nhOST: a\r\n\r\n", 400);
    for host in [
        "",
        "a b",
        "a/b",
        "a@b",
        "a?b",
        "http://a",
        "a:b",
        "a:65536",
        "a:+1",
        "a:1:2",
        ":80",
        "é",
        "%zz",
        "%4",
        "[::1",
        "::1",
        "[]",
        "[a]",
        "[::1]x",
        "[::1%25eth0]",
        "[v1.a]",
    ] {
        assert_refused(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"), 400);
    }
    for host in ["a", "a:", "a:80", "127.0.0.1:8080", "[::1]", "[::ffff:1.2.3.4]:1", "xn--a_b.c", "%41"] {
        assert_passed(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    }
}

#[test]
fn a_body_has_one_length() {
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\ncontent-length: 6\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: 5,\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length: 5.0\r\n",
        "Content-Length: ５\r\n",
        "Content-Length:\r\n",
        "Content-Length: 9223372036854775808\r\n",
        "Content-Length: 18446744073709551621\r\n",
        "Content-Length : 5\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, gzip\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked,\r\n",
        "Transfer-Encoding: chunked;a=b\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding: \u{85}chunked\r\n",
        "Transfer-Encoding: \x0bchunked\r\n",
        "Transfer-Encoding:\r\n chunked\r\n",
        "Transfer-Encoding:\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n",
    ] {
        assert_refused(with(fields), 400);
    }
    assert_refused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400);
}

#[test]
fn there_is_a_limit_on_everything() {
    let target = |n: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(n - 1));
    assert_passed(target(4096));
    assert_refused(target(4097), 414);
    assert_refused(format!("GET /{}", "a".repeat(5000)), 414);
    assert_refused("A".repeat(5000), 400);

    let head = |n: usize| {
        let start = with("X: ").len();
        with(&format!("X: {}\r\n", "x".repeat(n - start - b"\r\n".len())))
    };
    assert_eq!(head(16 << 10).len(), 16 << 10);
    assert_passed(head(16 << 10));
    assert_refused(head((16 << 10) + 1), 431);
    assert_refused(with(&format!("X: {}", "x".repeat(20_000))), 431);

    assert_passed(with(&"X: y\r\n".repeat(63)));
    assert_refused(with(&"X: y\r\n".repeat(64)), 431);
    assert_eq!(refusal(with(&"X: y\r\n".repeat(64))).code, "head_too_large");
    assert_eq!(refusal(target(4097)).code, "uri_too_long");
}

#[test]
fn a_bad_chunk_breaks_the_body_off() {
    let head = with("Transfer-Encoding: chunked\r\n");
    for (good, bad) in [
        ("", "\r\n"),
        ("", "5\n"),
        ("", " 5\r\n"),
        ("", "5 \r\n"),
        ("", "5 ;a\r\n"),
        ("", "+5\r\n"),
        ("", "-5\r\n"),
        ("", "0x5\r\n"),
        ("", "5;a\nb\r\n"),
        ("", "5;a\rb\r\n"),
        ("", "5;\0\r\n"),
        ("", "00000000000000005\r\n"),
        ("", "8000000000000000\r\n"),
        ("", "g\r\n"),
        ("5\r\nhello", "\n"),
        ("5\r\nhello", "x\r\n"),
        ("5\r\nhello", "\rx"),
        ("5\r\nhello", "5\r\n"),
        ("0\r\n", "X : y\r\n\r\n"),
        ("0\r\n", "X: y\r\n z\r\n\r\n"),
        ("0\r\n", "X: y\n\n"),
        ("0\r\n", "Content-Length: 5\r\n\r\n"),
        ("0\r\n", "X: y\r\ntransfer-encoding: chunked\r\n\r\n"),
        ("0\r\n", "HOST: a\r\n\r\n"),
        ("0\r\n", "GET / HTTP/1.1\r\n\r\n"),
    ] {
        let input = format!("{head}{good}{bad}");
        let refusal = refusal(&input);
        assert_eq!((refusal.status, refusal.at_boundary), (400, false), "{bad:?}");
        let passed = feed([input.as_bytes()]).0;
        // The line before the trailer is passed; the trailer never is.
        assert_eq!(String::from_utf8(passed).unwrap(), format!("{head}{good}"), "{bad:?}");
    }
    let long = format!("5;{}\r\nhello\r\n0\r\n\r\n", "a".repeat(255));
    assert_passed(format!("{head}{long}"));
    assert_eq!(refusal(format!("{head}5;{}\r\n", "a".repeat(256))).status, 400);
    assert_passed(format!("{head}0\r\nX: {}\r\n\r\n", "x".repeat(4089)));
    assert_eq!(refusal(format!("{head}0\r\nX: {}\r\n\r\n", "x".repeat(4090))).status, 431);
    assert_eq!(refusal(format!("{head}0\r\n{}\r\n", "X: y\r\n".repeat(65))).status, 431);
}

#[test]
fn what_was_good_is_passed_before_the_refusal() {
    let good = with("Content-Length: 5\r\n") + "hello";
    let (passed, framing) = feed([format!("{good}GET / HTTP/1.1\r\n\r\n{good}").as_bytes()]);
    assert_eq!(passed, good.as_bytes());
    assert_eq!((framing.heads(), framing.phase()), (1, Phase::Refused));
    assert!(framing.refusal().unwrap().at_boundary);
}

#[test]
fn the_phase_says_what_is_waited_for() {
    let mut framing = Framing::new(Limits::default());
    assert_eq!(framing.phase(), Phase::Idle);
    for (piece, phase, heads) in [
        ("\r\n", Phase::Idle, 0),
        ("G", Phase::Head, 0),
        ("ET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r", Phase::Head, 0),
        ("\n", Phase::Body, 1),
        ("5\r\nhello\r\n0\r\n\r", Phase::Body, 1),
        ("\n", Phase::Idle, 1),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n\r", Phase::Head, 2),
        ("\nGET /", Phase::Head, 2),
    ] {
        framing.take(piece.as_bytes());
        assert_eq!((framing.phase(), framing.heads()), (phase, heads), "after {piece:?}");
    }
    let ready = framing.ready().len();
    framing.pass(ready - 1);
    assert_eq!(framing.ready(), b"\n");
    framing.pass(1);
    framing.take(b" HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(framing.ready().starts_with(b"\r\nGET / HTTP/1.1"));
    framing.pass(framing.ready().len());
    assert_eq!(framing.buffer.capacity(), 0, "an idle connection holds memory");
}
