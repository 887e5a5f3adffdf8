//! Behind proxies, each with the configuration that `deploy/` has for it.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use loadtest::{
    http::Client,
    stream::{Listen, Next},
};
use socket2::{Domain, Socket, Type};
use testbed::front::{Front, Kind};

use crate::{
    harness::{Maru, deadline, wait_for},
    heads::{FRAMINGS, LINES, POST, SMUGGLED, texts},
};

/// Who is believed about addresses.
const TRUSTED: [&str; 2] = ["--trusted-proxy", "127.0.0.1"];

fn start() -> Maru {
    Maru::with(&[&["--rate-limit", "off"], &TRUSTED[..]].concat())
}

fn in_front_of(maru: &Maru, kind: Kind) -> Front {
    Front::start(kind, maru.doors().all(), &[])
}

/// Each waits for what comes through before more is sent: what a proxy kept back would never come.
#[test]
fn events_come_through_a_proxy_at_once() {
    let maru = start();
    for kind in Kind::ALL {
        let front = in_front_of(&maru, kind);
        let mut stream = Listen::to("/r/lobby?since=live").open(front.address()).unwrap();
        stream.wait_for("live", deadline()).unwrap();
        let mut speaker = Client::new(front.address());
        for n in 0..20 {
            let answer = speaker.post("/r/lobby", "text/plain", format!("{kind:?} {n}")).unwrap();
            assert_eq!(answer.status, 201, "{kind:?}: {}", answer.text());
            // Sooner than the next ping, which might push it out.
            let message = stream.wait_for("message", Instant::now() + Duration::from_secs(10));
            assert!(message.unwrap().data.contains(&format!("{kind:?} {n}")));
        }
    }
}

/// Over HTTP/2 to the pod, without TLS: many readers on one connection.
#[test]
fn proxies_that_speak_http2_to_a_pod_carry_many_readers() {
    let maru = Maru::with(&[&["--rate-limit", "off", "--h2c", "on"], &TRUSTED[..]].concat());
    let in_http2 = [
        (Kind::Haproxy, ("server pod1 127.0.0.1:8081", "server pod1 127.0.0.1:8081 proto h2 check-proto h1")),
        (
            Kind::Caddy,
            ("flush_interval -1", "flush_interval -1\n\t\ttransport http {\n\t\t\tversions h2c\n\t\t}"),
        ),
    ];
    for (kind, instead) in in_http2 {
        let front = Front::start(kind, maru.doors().all(), &[instead]);
        let mut readers: Vec<_> = (0..50)
            .map(|_| {
                let mut stream = Listen::to("/r/lobby?since=live").open(front.address()).unwrap();
                stream.wait_for("live", deadline()).unwrap();
                stream
            })
            .collect();
        // Plain ones would be in the reading room.
        assert_eq!((maru.metric("maru_readers"), maru.metric("maru_streams")), (0.0, 50.0), "{kind:?}");
        let mut speaker = Client::new(front.address());
        for n in 0..20 {
            let answer = speaker.post("/r/lobby", "text/plain", format!("{kind:?} {n}")).unwrap();
            assert_eq!(answer.status, 201, "{kind:?}: {}", answer.text());
            for stream in &mut readers {
                let message = stream.wait_for("message", Instant::now() + Duration::from_secs(10));
                assert!(message.unwrap().data.contains(&format!("{kind:?} {n}")));
            }
        }
        drop(readers);
        // HAProxy sees that a reader has gone when it writes to it.
        wait_for("all have left", || {
            maru.say("lobby", "is anybody here?");
            maru.metric("maru_streams") == 0.0
        });
    }
}

/// With time-outs of 20 s in place of 60 s: after two pings a proxy that did not count them would have cut the stream.
#[test]
fn a_quiet_stream_outlives_the_time_outs_of_proxies() {
    let maru = start();
    thread::scope(|scope| {
        for kind in Kind::ALL {
            let maru = &maru;
            scope.spawn(move || {
                let shorter: &[_] = match kind {
                    Kind::Nginx => &[
                        ("proxy_read_timeout 60s", "proxy_read_timeout 20s"),
                        ("proxy_send_timeout 60s", "proxy_send_timeout 20s; send_timeout 20s"),
                    ],
                    Kind::Haproxy => &[
                        ("timeout client 60s", "timeout client 20s"),
                        ("timeout server 60s", "timeout server 20s"),
                    ],
                    // It has none for what it passes on.
                    Kind::Caddy => &[],
                };
                let front = Front::start(kind, maru.doors().all(), shorter);
                // Where nobody else comes and goes: any other event would do for a ping.
                let room = format!("/r/attic-of-{kind:?}");
                let mut stream = Listen::to(&room).open(front.address()).unwrap();
                for _ in 0..2 {
                    stream.wait_for("ping", deadline()).unwrap_or_else(|e| panic!("{kind:?}: {e}"));
                }
                let answer = Client::new(front.address()).post(&room, "text/plain", "still here?").unwrap();
                assert_eq!(answer.status, 201);
                stream.wait_for("message", deadline()).unwrap();
            });
        }
    });
}

/// A request from another address of the loopback, which says that it comes from elsewhere; gives the status.
fn ask_from(from: Ipv4Addr, server: SocketAddr, claim: &str) -> u16 {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
    socket.connect(&server.into()).unwrap();
    let mut socket = TcpStream::from(socket);
    let head = "POST /api/session HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n";
    let claims = format!("X-Forwarded-For: {claim}\r\nForwarded: for={claim}\r\nX-Real-IP: {claim}\r\n\r\n");
    socket.write_all(format!("{head}{claims}").as_bytes()).unwrap();
    let answer = until_quiet(&mut socket);
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.unwrap_or_else(|| panic!("no answer: {answer:?}"))
}

/// The rate of new guests is by address.
#[test]
fn addresses_are_those_that_the_proxy_saw_and_not_what_clients_say() {
    let maru = Maru::with(&[&["--limit", "address-guests=1"], &TRUSTED[..]].concat());
    for (n, kind) in (1..).zip(Kind::ALL) {
        let front = in_front_of(&maru, kind);
        let [one, other] = [Ipv4Addr::new(127, 0, n, 9), Ipv4Addr::new(127, 0, n, 10)];
        let mut claims = (1..=200).map(|i| format!("10.1.{n}.{i}"));
        let refused = claims.find_map(|claim| match ask_from(one, front.address(), &claim) {
            201 => None,
            status => Some(status),
        });
        assert_eq!(refused, Some(429), "{kind:?} lets clients choose their address");
        assert_eq!(ask_from(other, front.address(), "10.1.1.1"), 201, "{kind:?} shows one address for all");
    }
}

/// The id that the pod's log has is the proxy's, another for each request.
#[test]
fn requests_have_the_id_that_the_proxy_gave_and_not_the_clients() {
    let maru = start();
    for kind in Kind::ALL {
        let front = in_front_of(&maru, kind);
        let mut client = Client::new(front.address()).header("X-Request-Id", "made-up");
        let mut ids: Vec<_> = (0..3)
            .map(|_| client.get("/healthz").unwrap().headers.get("x-request-id").unwrap().to_owned())
            .collect();
        assert!(!ids.iter().any(|id| id == "made-up"), "{kind:?} {ids:?}");
        // Our own have 16 digits: these are not.
        assert!(ids.iter().all(|id| id.len() > 16), "{kind:?} {ids:?}");
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 3, "{kind:?} {ids:?}");
    }
}

/// What comes until the other side closes, or has been silent for a moment.
fn until_quiet(socket: &mut TcpStream) -> String {
    socket.set_read_timeout(Some(Duration::from_millis(1500))).unwrap();
    let (mut all, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        match socket.read(&mut piece) {
            Ok(0) => break,
            Ok(n) => all.extend_from_slice(&piece[..n]),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&all).into_owned()
}

/// Requests to speak that maru has answered, and heads that it has refused.
fn answered(maru: &Maru) -> f64 {
    let metrics = maru.client().get("/metrics").unwrap().text();
    let counts = metrics.lines().filter(|line| {
        line.starts_with(r#"maru_http_answers_total{method="POST""#)
            || line.starts_with("maru_refused_heads_total")
    });
    counts.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

/// A proxy and maru take the same bytes for the same requests: what an attacker is answered is what maru has answered, and
/// whoever comes next gets an answer of their own.
#[test]
fn nothing_is_smuggled_past_a_proxy() {
    let maru = start();
    let end = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let framings = FRAMINGS.iter().map(|framing| format!("{POST}{framing}\r\n\r\n0\r\n\r\n{SMUGGLED}{end}"));
    let lines = LINES.iter().map(|head| format!("{head}{SMUGGLED}{end}"));
    let attacks: Vec<_> = framings.chain(lines).collect();
    let plain = format!("{POST}Content-Length: 4\r\n\r\nhalf{SMUGGLED}{end}");
    for kind in Kind::ALL {
        let front = in_front_of(&maru, kind);
        let mut socket = TcpStream::connect(front.address()).unwrap();
        socket.write_all(plain.as_bytes()).unwrap();
        let answers = until_quiet(&mut socket);
        assert_eq!(answers.matches("HTTP/1.1 201").count(), 2, "{kind:?}: {answers}");
        for attack in &attacks {
            let before = answered(&maru);
            let mut socket = TcpStream::connect(front.address()).unwrap();
            // A proxy may close before it has read all.
            _ = socket.write_all(attack.as_bytes());
            let answers = until_quiet(&mut socket).to_lowercase();
            let posts = answers.split("http/1.").skip(1).filter(|answer| {
                let is_end = answer.ends_with("\r\n\r\nok\n");
                !is_end && (answer.contains("\"cursor\"") || answer.contains("application/problem+json"))
            });
            let (told, handled) = (posts.count() as f64, answered(&maru) - before);
            assert_eq!(told, handled, "{kind:?} and maru differ about {attack:?}:\n{answers}");
            let next = Client::new(front.address()).get("/api/history?room=attic").unwrap();
            assert_eq!(
                (next.status, &next.json()["room"]),
                (200, &"attic".into()),
                "{kind:?} after {attack:?}"
            );
        }
    }
    // Where a proxy saw two requests there were two, with these bodies and no others.
    let known = ["0\r\n", "half", "smuggled"];
    assert!(texts(&maru).iter().all(|text| known.contains(&&**text)), "{:?}", texts(&maru));
}

/// However it is written; what maru does not know by that name may be passed on.
#[test]
fn the_metrics_are_not_for_whoever_comes_through_a_proxy() {
    let maru = start();
    for kind in Kind::ALL {
        let front = in_front_of(&maru, kind);
        for target in [
            "/metrics",
            "/metrics/",
            "/metrics?x",
            "/metrics/?x",
            "/%6detrics",
            "/%6Detrics%2f",
            "//metrics",
            "/metrics//",
            "/./metrics",
            "/r/../metrics",
            "/METRICS",
        ] {
            // Some refuse such a target, and close.
            if let Ok(answer) = Client::new(front.address()).get(target) {
                assert!(!answer.text().contains("maru_"), "{kind:?} gives {target}");
            }
        }
        assert_eq!(Client::new(front.address()).get("/metrics").unwrap().status, 404, "{kind:?}");
    }
    assert!(maru.client().get("/metrics/").unwrap().text().contains("maru_"));
}

/// Where there is one pod and it ends, there is nobody to go to, and the proxy says so at once.
#[test]
fn a_proxy_without_a_pod_says_so() {
    let mut maru = start();
    for kind in Kind::ALL {
        let front = in_front_of(&maru, kind);
        let mut stream = Listen::to("/r/lobby").open(front.address()).unwrap();
        stream.wait_for("live", deadline()).unwrap();
        maru.kill();
        loop {
            // Cut, or ended: either way a reader knows that it has to come back.
            match stream.next_event(deadline()) {
                Ok(Next::Event(_)) => {}
                Ok(Next::Ended) | Err(_) => break,
                Ok(Next::Quiet) => panic!("{kind:?} does not tell its readers"),
            }
        }
        let status = Client::new(front.address()).get("/readyz").unwrap().status;
        assert!([502, 503, 504].contains(&status), "{kind:?}: {status}");
        maru.restart();
        wait_for("it is found again", || {
            Client::new(front.address()).get("/readyz").is_ok_and(|answer| answer.status == 200)
        });
    }
}
