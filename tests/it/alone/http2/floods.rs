//! What clients do to servers that speak HTTP/2: each costs little, or costs the client its connection; nobody else is
//! any the worse for it.

use std::{
    io::{ErrorKind, Write},
    net::TcpStream,
    time::Duration,
};

use loadtest::proc::Memory;

use super::{
    frames::{
        CANCEL, CONTINUATION, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, Frame, GET, GOAWAY, HEADERS,
        LISTEN, PING, PREFACE, REFUSED_STREAM, RST_STREAM, SETTINGS, Wire, frame,
    },
    start,
};
use crate::harness::{Maru, wait_for};

fn is_calmed(frames: &[Frame]) -> bool {
    frames.iter().any(|frame| frame.kind == GOAWAY && frame.error() == ENHANCE_YOUR_CALM)
}

fn assert_serves_others(maru: &Maru) {
    assert_eq!(maru.say("lobby", "all is well").status, 201);
}

/// CVE-2023-44487: streams that are reset as soon as they are begun, each of which was work.
#[test]
fn who_gives_up_stream_after_stream_loses_the_connection() {
    let maru = start(&[]);
    let mut wire = Wire::open(maru.address());
    let mut sent = 0;
    for n in 0..20_000 {
        let stream = 2 * n + 1;
        let begun = frame(HEADERS, END_STREAM | END_HEADERS, stream, LISTEN);
        let reset = frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes());
        if wire.0.write_all(&[begun, reset].concat()).is_err() {
            break;
        }
        sent = n;
    }
    wire.rest();
    assert!(sent < 20_000, "it took them all");
    assert_serves_others(&maru);
}

/// The same, but each is begun and answered before it is given up: not what h2 looks for by itself.
#[test]
fn who_waits_for_the_answer_before_giving_up_loses_the_connection_too() {
    let maru = start(&[]);
    let mut wire = Wire::open(maru.address());
    let mut answered = 0;
    'streams: for n in 0..1000 {
        let stream = 2 * n + 1;
        if wire.send(HEADERS, END_STREAM | END_HEADERS, stream, LISTEN).is_err() {
            break;
        }
        loop {
            match wire.next() {
                Some(Frame { kind: HEADERS, stream: of, .. }) if of == stream => break,
                Some(_) => {}
                None => break 'streams,
            }
        }
        answered += 1;
        _ = wire.send(RST_STREAM, 0, stream, &CANCEL.to_be_bytes());
    }
    assert!((200..1000).contains(&answered), "{answered} streams");
    wait_for("it is counted", || maru.metric("maru_http2_floods_total") == 1.0);
    assert_serves_others(&maru);
}

/// Whom the configuration believes to speak for many may give up as many streams as they have readers that leave.
#[test]
fn a_trusted_proxy_may_give_up_many() {
    let maru = start(&["--trusted-proxy", "127.0.0.1"]);
    let mut wire = Wire::open(maru.address());
    for n in 0..1000 {
        let stream = 2 * n + 1;
        wire.send(HEADERS, END_STREAM | END_HEADERS, stream, LISTEN).unwrap();
        while wire.next().expect("it goes on").kind != HEADERS {}
        wire.send(RST_STREAM, 0, stream, &CANCEL.to_be_bytes()).unwrap();
    }
    wire.send(HEADERS, END_STREAM | END_HEADERS, 2001, GET).unwrap();
    while wire.next().expect("it goes on").stream != 2001 {}
}

/// CVE-2024-27316: a head that never ends.
#[test]
fn a_head_of_endless_continuations_ends_the_connection() {
    let maru = start(&[]);
    let mut wire = Wire::open(maru.address());
    let before = Memory::of(maru.one_pod().id()).unwrap().resident;
    wire.send(HEADERS, END_STREAM, 1, GET).unwrap();
    // A field of 4,000 bytes, and again: it does not end within 400 MB.
    let field = [&b"\x00\x01x\x7f\xa1\x1e"[..], &[b'y'; 4000]].concat();
    let sent = (0..100_000).take_while(|_| wire.send(CONTINUATION, 0, 1, &field).is_ok()).count();
    assert!(sent < 100_000, "it took them all");
    wire.rest();
    let grown = Memory::of(maru.one_pod().id()).unwrap().resident.saturating_sub(before);
    assert!(grown < 8 << 20, "{grown} bytes more");
    assert_serves_others(&maru);
}

/// Frames of no bytes count too.
#[test]
fn empty_continuations_end_the_connection() {
    let maru = start(&[]);
    let mut wire = Wire::open(maru.address());
    wire.send(HEADERS, END_STREAM, 1, GET).unwrap();
    let sent = (0..1_000_000).take_while(|_| wire.send(CONTINUATION, 0, 1, &[]).is_ok()).count();
    assert!(sent < 1_000_000, "it took them all");
    wire.rest();
    assert_serves_others(&maru);
}

/// One entry of HPACK's table, named again and again: few bytes that mean many.
#[test]
fn few_bytes_that_mean_a_head_of_megabytes_are_refused() {
    let maru = start(&[]);
    let mut wire = Wire::open(maru.address());
    // Added to the table (RFC 7541 §6.2.1) as its newest entry, number 62, and then named by that number.
    let entry = [&b"\x40\x01x\x7f\xa1\x1e"[..], &[b'y'; 4000]].concat();
    let head = [GET, &entry, &[0x80 | 62; 4000]].concat();
    wire.send(HEADERS, END_STREAM | END_HEADERS, 1, &head).unwrap();
    let answer = wire.next().map(|mut frame| {
        while frame.stream != 1 && frame.kind != GOAWAY {
            frame = wire.next().expect("an answer");
        }
        frame
    });
    // 431 as h2 says it, a literal with the name of number 8 of the static table, or the end.
    let Some(answer) = answer else { return assert_serves_others(&maru) };
    let is_refused =
        answer.kind == RST_STREAM || answer.kind == GOAWAY || answer.payload.first() == Some(&0x48);
    assert!(is_refused, "{answer:?}");
    assert_serves_others(&maru);
}

/// Frames that are to be answered, from somebody who reads no answer.
#[test]
fn answers_that_nobody_reads_take_no_memory() {
    let maru = start(&[]);
    for (kind, payload) in [(PING, &[0; 8][..]), (SETTINGS, &[])] {
        let mut wire = Wire::open(maru.address());
        let before = Memory::of(maru.one_pod().id()).unwrap().resident;
        wire.0.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
        let many = frame(kind, 0, 0, payload).repeat(10_000);
        // It reads no more once it cannot write: then the kernel's buffers fill, too.
        for _ in 0..1000 {
            if let Err(e) = wire.0.write_all(&many) {
                assert!(
                    matches!(
                        e.kind(),
                        ErrorKind::WouldBlock
                            | ErrorKind::TimedOut
                            | ErrorKind::ConnectionReset
                            | ErrorKind::BrokenPipe
                    ),
                    "{e}"
                );
                break;
            }
        }
        let grown = Memory::of(maru.one_pod().id()).unwrap().resident.saturating_sub(before);
        assert!(grown < 8 << 20, "{grown} bytes more");
        assert_serves_others(&maru);
    }
}

#[test]
fn more_streams_than_there_may_be_are_refused_one_by_one() {
    let maru = start(&[]);
    let mut wire = Wire::open(maru.address());
    for n in 0..=250 {
        wire.send(HEADERS, END_STREAM | END_HEADERS, 2 * n + 1, LISTEN).unwrap();
    }
    let refused = std::iter::from_fn(|| wire.next()).find(|frame| frame.kind == RST_STREAM);
    let refused = refused.expect("the connection stays");
    assert_eq!((refused.stream, refused.error()), (501, REFUSED_STREAM));
    // A place is free again.
    wire.send(RST_STREAM, 0, 1, &CANCEL.to_be_bytes()).unwrap();
    wire.send(HEADERS, END_STREAM | END_HEADERS, 503, GET).unwrap();
    while wire.next().expect("it goes on").stream != 503 {}
}

#[test]
fn who_says_nothing_is_not_waited_for() {
    let maru = start(&["--limit", "head-time=1"]);
    for begun in [&b""[..], b"P", b"PRI * HT", PREFACE, b"PRI * HTTP/2.0\r\n\r\nSMALL\r\n\r\n"] {
        let mut socket = TcpStream::connect(maru.address()).unwrap();
        socket.write_all(begun).unwrap();
        Wire(socket).rest();
    }
    // All was said but a request.
    let mut wire = Wire::open(maru.address());
    let said = wire.rest();
    assert!(!is_calmed(&said) && said.iter().any(|frame| frame.kind == GOAWAY), "{said:?}");
}
