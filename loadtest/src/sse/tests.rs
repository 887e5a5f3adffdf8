use super::*;

fn read(bytes: &[u8]) -> (Vec<Event>, Vec<FaultKind>) {
    let mut parser = Parser::new();
    parser.feed(bytes);
    let events = std::iter::from_fn(|| parser.next_event()).collect();
    (events, parser.faults().iter().map(|f| f.kind).collect())
}

fn data_of(bytes: &[u8]) -> Vec<String> {
    read(bytes).0.into_iter().map(|e| e.data).collect()
}

/// Streams of every shape, the standard's own examples among them.
const STREAMS: &[&[u8]] = &[
    b"id: 1-1\ndata: {\"seq\":1}\n\nevent: live\ndata: {}\n\n",
    b"\xef\xbb\xbfdata: a\n\ndata: b\r\n\r\ndata: c\r\rdata: d\n\r\n",
    b"data: YHOO\ndata: +2\ndata: 10\n\n",
    b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n",
    b"data\n\ndata\ndata\n\ndata:",
    b"data:test\n\ndata: test\n\n",
    "id: 가\u{2028}나\ndata: 🙂 \u{85} \u{2029}\n\nid: a\0b\ndata: x\n\n".as_bytes(),
    b"retry: 1500\nretry: 12x\nretry:\nevent\nwhat: 1\ndata: \xff\xfe\xe2\x82\n\n",
    b"id: 7\n\nevent: x\n\n\n\ndata: tail",
    b"event: a\r\ndata: 1\r\n\r\nevent: b\rdata: 2\r\r",
];

#[test]
fn a_byte_at_a_time_equals_the_whole() {
    for stream in STREAMS {
        let mut whole = Parser::new();
        whole.feed(stream);
        for size in 1..=7 {
            let mut pieces = Parser::new();
            stream.chunks(size).for_each(|piece| pieces.feed(piece));
            assert!(pieces.ready == whole.ready, "{stream:?} by {size}");
            assert_eq!(pieces.faults(), whole.faults(), "{stream:?} by {size}");
            assert_eq!(pieces.last_event_id(), whole.last_event_id());
            assert_eq!(pieces.is_between_blocks(), whole.is_between_blocks());
        }
    }
}

#[test]
fn the_examples_of_the_standard_come_out_as_it_says() {
    assert_eq!(data_of(b"data: YHOO\ndata: +2\ndata: 10\n\n"), ["YHOO\n+2\n10"]);
    let (events, _) = read(STREAMS[3]);
    assert_eq!(events.len(), 2, "the third lacks its blank line");
    assert_eq!((events[0].data.as_str(), events[0].last_event_id.as_str()), ("first event", "1"));
    assert_eq!((events[1].data.as_str(), events[1].last_event_id.as_str()), ("second event", ""));
    assert_eq!(data_of(b"data\n\ndata\ndata\n\ndata:"), ["", "\n"]);
    assert_eq!(data_of(b"data:test\n\ndata: test\n\n"), ["test", "test"]);
    assert_eq!(data_of(b"data:  two spaces\n\n"), [" two spaces"]);
}

#[test]
fn every_kind_of_line_end_ends_a_line_once() {
    assert_eq!(data_of(b"data: a\r\n\r\ndata: b\r\rdata: c\n\ndata: d\n\r\n"), ["a", "b", "c", "d"]);
    assert_eq!(data_of(b"data: a\r\n\ndata: b\n\n"), ["a", "b"], "CRLF LF is two ends");
}

#[test]
fn a_byte_order_mark_is_only_one_at_the_very_start() {
    assert_eq!(data_of(b"\xef\xbb\xbfdata: a\n\n"), ["a"]);
    assert!(data_of(b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n").is_empty());
    assert!(data_of(b"\n\xef\xbb\xbfdata: a\n\n").is_empty());
}

#[test]
fn an_id_stays_until_another_comes_and_one_with_nul_is_ignored() {
    let (events, faults) = read(b"id: 1-1\ndata: 1\n\ndata: 2\n\nid: 1-\x009\ndata: 3\n\nid:\ndata: 4\n\n");
    let ids: Vec<_> = events.iter().map(|e| e.last_event_id.as_str()).collect();
    assert_eq!(ids, ["1-1", "1-1", "1-1", ""]);
    assert_eq!(events[1].id, None);
    assert!(faults.contains(&FaultKind::IdWithNul));
}

#[test]
fn a_block_without_data_moves_the_cursor_but_is_no_event() {
    let mut parser = Parser::new();
    parser.feed(b"id: 1-5\n\nevent: x\n\n");
    assert_eq!(parser.next_event(), None);
    assert_eq!(parser.last_event_id(), "1-5");
    parser.feed(b"data: {}\n\n");
    assert_eq!(parser.next_event().unwrap().name, "message", "the dropped block's name is forgotten");
}

#[test]
fn retry_takes_digits_only() {
    let mut parser = Parser::new();
    parser.feed(b"retry: 1500\n\nretry: 12x\n\nretry:\n\nretry: -4\n\nretry: 99999999999999999999999\n\n");
    assert_eq!(parser.retry(), Some(1500));
    let bad = parser.faults().iter().filter(|f| f.kind == FaultKind::BadRetry).count();
    assert_eq!(bad, 4);
}

#[test]
fn what_maru_sends_is_without_fault() {
    let stream = "event: hello\nid: 1-41\nretry: 1234\ndata: {\"tip\":\"1-42\"}\n\n\
        id: 1-42\ndata: {\"text\":\"data: id: \\n\\r 안녕 🙂 \u{2028}\"}\n\n\
        event: live\ndata: {}\n\nevent: ping\ndata: {\"ts\":1}\n\nevent: gap\nid: 2-7\ndata: {}\n\n\
        event: bye\nretry: 9000\ndata: {\"code\":\"drain\"}\n\n";
    let (events, faults) = read(stream.as_bytes());
    assert_eq!((events.len(), faults), (6, vec![]));
}

#[test]
fn each_kind_of_fault_is_seen() {
    use FaultKind::*;
    let table: &[(&[u8], FaultKind)] = &[
        (b"\xef\xbb\xbfid: 1-1\ndata: 1\n\n", ByteOrderMark),
        (b"id: 1-1\r\ndata: 1\n\n", CarriageReturn),
        (b"id: 1-1\ndata: \"\xff\"\n\n", InvalidUtf8),
        (b": hi\nid: 1-1\ndata: 1\n\n", Comment),
        (b"room: x\nid: 1-1\ndata: 1\n\n", UnknownField),
        (b"id: 1-1\nid: 1-1\ndata: 1\n\n", RepeatedField),
        (b"id: 41\ndata: 1\n\n", IdNotACursor),
        (b"id: 1-1\nretry: 5\ndata: 1\n\n", StrayRetry),
        (b"id: 1-1\n\n", IdWithoutData),
        (b"event: ping\n\n", BlockWithoutData),
        (b"id: 1-1\ndata: 1\n\n\n", EmptyBlock),
        (b"id: 1-1\ndata: 1\ndata: 2\n\n", ManyDataLines),
        (b"id: 1-1\ndata: {\n\n", DataNotJson),
        (b"data: 1\n\n", EventWithoutId),
        (b"event: hello\ndata: {}\n\n", ControlWithoutId),
        (b"event: ping\nid: 1-1\ndata: {}\n\n", NamedEventWithId),
        (b"event: message\ndata: {}\n\n", UnknownName),
    ];
    for (stream, kind) in table {
        assert_eq!(read(stream).1, [*kind], "{}", String::from_utf8_lossy(stream));
    }
    let mut parser = Parser::new();
    parser.feed(b"id: 1-1\ndata: 1\n\nid: 1-2\nda");
    parser.finish();
    assert_eq!(parser.faults()[0].kind, UnfinishedBlock);
    assert_eq!(parser.last_event_id(), "1-1");
}
