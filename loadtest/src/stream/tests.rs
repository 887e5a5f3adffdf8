use super::*;
use crate::checker::{Gaps, History, Kept, Kind, check};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::thread;

/// How the fake server answers a cursor.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    Correct,
    OffByOne,
    Faulty,
}

const EVENTS: u64 = 40;

fn kept(seq: u64) -> Kept {
    let data =
        format!(r#"{{"epoch":1,"seq":{seq},"id":"id-{seq}","user":{{"id":"u"}},"text":"t","ts":{seq}}}"#);
    Kept { cursor: Cursor::new(1, seq), data }
}

/// A server whose log is full from the start and whose every connection ends somewhere: in order, in the middle of a
/// chunk, or between two pieces of an event.
fn fake(manner: Manner) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for (turn, socket) in listener.incoming().enumerate() {
            // A reader that goes away in the middle is nothing to speak of.
            let _ = serve(&socket.unwrap(), manner, turn as u64);
        }
    });
    address
}

/// Reads a request and says which seq it wants to go on after.
fn request(socket: &TcpStream) -> u64 {
    let lines = BufReader::new(socket).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
    lines.filter_map(|l| l.strip_prefix("Last-Event-ID: 1-")?.parse().ok()).last().unwrap_or_default()
}

fn serve(mut socket: &TcpStream, manner: Manner, turn: u64) -> std::io::Result<()> {
    let after = request(socket);
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut out = head.to_owned();
    let mut chunk = |block: String| out.push_str(&format!("{:x}\r\n{block}\r\n", block.len()));
    chunk(format!("event: hello\nid: 1-{after}\nretry: 1000\ndata: {{}}\n\n"));
    let first = if manner == Manner::OffByOne && after > 0 { after + 2 } else { after + 1 };
    for seq in first..=EVENTS.min(after + 3 + turn % 4) {
        chunk(format!("id: 1-{seq}\ndata: {}\n\n", kept(seq).data));
        if manner == Manner::Faulty {
            chunk("id: 1-7\n\n".to_owned());
        }
    }
    chunk("event: live\ndata: {}\n\n".to_owned());
    let end = match turn % 3 {
        0 => {
            out.push_str("0\r\n\r\n");
            out.len()
        }
        1 => out.len() - 30,
        _ => out.len(),
    };
    for piece in out.as_bytes()[..end].chunks(1 + turn as usize * 7 % 50) {
        socket.write_all(piece)?;
    }
    Ok(())
}

fn judge(manner: Manner) -> Result<(), Kind> {
    let server = fake(manner);
    let mut reader = Reader::new("r", Clock::start(), server, Listen::to("/r/lobby"));
    reader.read_to(Cursor::new(1, EVENTS), Instant::now() + Duration::from_secs(3));
    let end = Some((1..=EVENTS).map(kept).collect());
    let readers = vec![reader.into_complete_log()];
    let history =
        History { room: "lobby".to_owned(), readers, end, gaps: Gaps::Forbidden, ..History::default() };
    let verdict = check(&history);
    verdict.first().map_or(Ok(()), |v| Err(v.kind))
}

#[test]
fn a_reader_comes_back_by_its_cursor_until_it_has_all() {
    assert_eq!(judge(Manner::Correct), Ok(()));
}

#[test]
fn a_server_that_resumes_off_by_one_is_convicted_over_real_sockets() {
    assert_eq!(judge(Manner::OffByOne), Err(Kind::Hole));
}

#[test]
fn a_server_that_sends_what_it_must_not_is_convicted() {
    assert_eq!(judge(Manner::Faulty), Err(Kind::Fault));
}

#[test]
fn a_quiet_stream_is_quiet_and_then_goes_on() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = listener.local_addr().unwrap();
    let mut stream = {
        let opening = thread::spawn(move || Listen::to("/").open(server));
        let (mut socket, _) = listener.accept().unwrap();
        request(&socket);
        socket
            .write_all(b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\r\n")
            .unwrap();
        socket.write_all(b"event: hello\nid: 1-0\ndata: {}\n\nid: 1-1\nda").unwrap();
        let mut stream = opening.join().unwrap().unwrap();
        let soon = || Instant::now() + Duration::from_millis(50);
        assert!(stream.wait_for("hello", soon()).is_ok());
        assert_eq!(stream.next_event(soon()).unwrap(), Next::Quiet);
        assert!(!stream.is_at_boundary());
        socket.write_all(b"ta: 1\n\n").unwrap();
        stream
    };
    let soon = Instant::now() + Duration::from_secs(5);
    let Next::Event(event) = stream.next_event(soon).unwrap() else { panic!("no event") };
    assert_eq!((event.data.as_str(), stream.last_event_id()), ("1", "1-1"));
    assert_eq!(stream.next_event(soon).unwrap(), Next::Ended);
    assert_eq!(stream.faults(), []);
}

#[test]
fn an_answer_that_is_no_stream_is_an_error_with_its_status() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = listener.local_addr().unwrap();
    let opening = thread::spawn(move || Listen::to("/").open(server).map(drop));
    let (mut socket, _) = listener.accept().unwrap();
    request(&socket);
    socket.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").unwrap();
    let error = opening.join().unwrap().unwrap_err();
    assert!(error.kind == ErrorKind::Framing && error.what.contains("404"), "{error}");
}
