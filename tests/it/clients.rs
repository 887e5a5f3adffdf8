//! Networks that fail between clients and pods: nothing is lost, nothing comes twice, and nothing is kept for whoever is
//! gone.

use std::{
    cell::Cell,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use loadtest::{
    http::{Client, Request},
    proc,
    speak::whole_log,
};
use testbed::{Fault, Network, Way, Whom};

use crate::{
    harness::{Maru, PATIENCE, Pod, Stage, To, Ways, at_length, deadline, stage, wait_for},
    trial::{Progress, harmed_on},
};

/// What a pod may open more than it had at the start: connections to its servers, as it needs them; alone each of four
/// that read opens the write-ahead log when it first does.
fn may_open() -> usize {
    if stage() == Stage::Alone { 4 } else { 64 }
}

fn open_files(pod: &Pod) -> usize {
    proc::open_files(pod.id()).expect("it runs")
}

/// People speak and listen through proxies, to which something is done; when all is over, the pods have nothing left
/// of them.
fn harmed_on_the_way(fault: &str, harm: impl Fn(&Ways, &Progress)) {
    let ways = Ways::default();
    let had = Cell::new(0);
    let start = || {
        let maru = ways.to_pods();
        had.set(maru.pods().iter().map(open_files).max().expect("there is one"));
        maru
    };
    let harm = |_: &mut Maru, progress: &Progress| {
        harm(&ways, progress);
        ways.heal();
    };
    harmed_on(start, fault, harm, |trial| {
        trial.assert_holds();
        trial.assert_no_gaps();
        ways.take_away();
        let more = may_open();
        for pod in trial.maru.pods() {
            wait_for("the streams have ended", || pod.metric("maru_streams") == 0.0);
            // One is open while it is asked for its figures.
            wait_for("what they had is closed", || open_files(pod) <= had.get() + more);
        }
    });
}

#[test]
fn bytes_come_one_by_one() {
    harmed_on_the_way("clients are sent single bytes", |ways, progress| {
        for n in 0..ways.count() {
            ways.nth(n).harm(Whom::All, Fault::Slices(Way::Both, 1));
        }
        progress.go_on(at_length(150));
    });
}

#[test]
fn connections_of_clients_are_reset_at_any_byte() {
    harmed_on_the_way("clients are cut off by resets", |ways, progress| {
        for _ in 0..at_length(30) {
            let way = ways.nth(progress.any(0..ways.count()));
            let bytes = progress.any(0..2000);
            match progress.any(0..3) {
                0 => way.harm(Whom::There, Fault::ResetAfter(bytes)),
                1 => way.harm_one(progress.any(0..20) as usize, Fault::Reset),
                // Each that is made does not get far; so perhaps nobody is answered.
                _ => {
                    way.harm(Whom::ToCome, Fault::ResetAfter(bytes));
                    progress.go_on_for(Duration::from_millis(200), 10);
                    way.heal();
                }
            }
            drop(way);
            progress.go_on(10);
        }
    });
}

#[test]
fn connections_of_clients_fall_silent() {
    harmed_on_the_way("clients are half-open, half-closed, and not heard", |ways, progress| {
        for round in 0..at_length(8) {
            let way = ways.nth(progress.any(0..ways.count()));
            let nth = progress.any(0..20) as usize;
            let lane = [Way::Up, Way::Down, Way::Both][progress.any(0..3) as usize];
            match round % 4 {
                0 => way.harm(Whom::There, Fault::Silence(lane)),
                1 => way.harm_one(nth, Fault::HalfClose(lane)),
                2 => way.harm(Whom::There, Fault::Deafness(lane)),
                _ => way.harm(Whom::All, Fault::Delay(lane, Duration::from_millis(progress.any(1..50)))),
            }
            drop(way);
            progress.go_on_for(Duration::from_millis(300), 50);
            ways.heal();
        }
    });
}

#[test]
fn a_post_that_is_cut_at_any_byte_is_said_once_when_it_is_said_again() {
    let ways = Ways::default();
    let maru = ways.to_pods();
    let (token, _) = maru.sign_in("Ann");
    let way = ways.to(To::Pod(0));
    let post = |address, n: u64| {
        let mut client = Client::new(address).timeout(Duration::from_secs(5));
        let request = Request::new("POST", "/r/lobby").header("Authorization", &format!("Bearer {token}"));
        let request = request.header("Content-Type", "text/plain").header("Idempotency-Key", &n.to_string());
        client.send(&request.body(format!("said {n}")))
    };
    let mut cut = 0;
    let mut bytes = 0;
    // From nothing at all, over the request, to the last byte of the answer.
    loop {
        way.harm(Whom::ToCome, Fault::ResetAfter(bytes));
        let first = post(way.address(), bytes);
        way.heal();
        let again = post(maru.pods()[0].address(), bytes).expect("an answer");
        let Ok(first) = first else {
            assert!(matches!(again.status, 200 | 201), "{}", again.text());
            (cut, bytes) = (cut + 1, bytes + if at_length(1) > 1 { 1 } else { 23 });
            continue;
        };
        assert_eq!((first.status, again.status), (201, 200), "{}", again.text());
        assert_eq!(first.json()["cursor"], again.json()["cursor"]);
        break;
    }
    assert!(cut > 20, "{cut}");
    let log = whole_log(&mut maru.client(), "lobby").expect("the log can be read");
    assert_eq!(log.len(), cut + 1);
}

/// Readers in a network of their own, since the kernel of a proxy acknowledges what nobody takes.
struct Readers(Child);

impl Readers {
    fn start(network: &Network, pod: &Pod, count: usize) -> Self {
        const PROGRAM: &str = "import socket, sys, selectors
all = selectors.DefaultSelector()
for _ in range(int(sys.argv[3])):
    s = socket.create_connection((sys.argv[1], int(sys.argv[2])))
    s.sendall(b'GET /r/lobby HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')
    all.register(s, selectors.EVENT_READ)
while True:
    for key, _ in all.select():
        key.fileobj.recv(65536)";
        let tool = network.tool();
        let address = pod.address();
        let mut command = Command::new(&tool[0]);
        command.args(&tool[1..]).args(["python3", "-c", PROGRAM]);
        command.args([address.ip().to_string(), address.port().to_string(), count.to_string()]);
        Readers(
            command.stdin(Stdio::null()).spawn().expect("python3 is not installed here; ./test installs it"),
        )
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

#[test]
fn readers_who_vanish_without_a_word_are_let_go_of() {
    let network = match Network::new() {
        Ok(network) => network,
        Err(why) => return eprintln!("not tried here: {why}"),
    };
    let link = network.link().expect("a link");
    let maru = Maru::each_begun_as(|n, _, start| {
        if n == 0 {
            start.host = link.outer();
        }
    });
    let pod = &maru.pods()[0];
    let had = open_files(pod);
    let readers = Readers::start(&network, pod, 20);
    wait_for("they listen", || pod.metric("maru_readers") == 20.0);
    link.cut(Way::Both);
    drop(readers);
    assert!(pod.metric("maru_streams") == 20.0, "somebody said something");
    if at_length(1) > 1 {
        // Nobody speaks: heartbeats are not acknowledged, for as long as TCP may wait for that.
        for _ in 0..4 {
            let until = Instant::now() + PATIENCE;
            while pod.metric("maru_streams") > 0.0 && Instant::now() < until {
                thread::sleep(Duration::from_millis(100));
            }
        }
    } else {
        let mut client = pod.client();
        let text = "x".repeat(4000);
        let until = deadline();
        while pod.metric("maru_streams") > 0.0 {
            assert!(Instant::now() < until, "they are never ended");
            for _ in 0..50 {
                let said = client.post("/r/lobby", "text/plain", text.clone()).expect("an answer");
                assert_eq!(said.status, 201, "{}", said.text());
            }
        }
    }
    assert!(pod.metric("maru_streams") == 0.0);
    wait_for("what they had is closed", || open_files(pod) <= had + may_open());
}
