//! HTTPS by the server itself.

use std::{fs, net::SocketAddr, path::Path, sync::Arc};

use hyper::StatusCode;
use loadtest::sse::Parser;
use rustix::process::Signal;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use testbed::Tls;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::http2::client::{Connection, run};
use crate::{
    harness::{self, Maru, assert_problem, wait_for},
    raw::Raw,
};

fn start(tls: &Tls, args: &[&str]) -> Maru {
    let (certificate, key) = (tls.certificate(), tls.key());
    let files = ["--tls-cert", certificate.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    Maru::with(&[&["--rate-limit", "off"], &files[..], args].concat())
}

/// A client that trusts `authority` alone, and offers these protocols.
async fn connect(
    server: SocketAddr,
    authority: &Path,
    protocols: &[&[u8]],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority).unwrap()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let socket = TcpStream::connect(server).await?;
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, socket).await
}

/// Without a word about protocols it is HTTP/1.1.
async fn http1(maru: &Maru, tls: &Tls) -> TlsStream<TcpStream> {
    connect(maru.address(), &tls.authority(), &[]).await.unwrap()
}

async fn http2(maru: &Maru, tls: &Tls) -> Connection {
    let socket = connect(maru.address(), &tls.authority(), &[b"h2", b"http/1.1"]).await.unwrap();
    assert_eq!(socket.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    Connection::over(socket, &h2::client::Builder::new()).await
}

/// Reads until what was read holds `end`.
async fn read_until(socket: &mut TlsStream<TcpStream>, end: &str) -> String {
    let mut all = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&all);
        if text.contains(end) {
            return text.into_owned();
        }
        match socket.read(&mut piece).await {
            Ok(0) | Err(_) => panic!("no {end:?} in {text}"),
            Ok(n) => all.extend_from_slice(&piece[..n]),
        }
    }
}

#[test]
fn both_protocols_are_spoken_within_tls() {
    let tls = Tls::new();
    let maru = start(&tls, &[]);
    run(async {
        let mut connection = http2(&maru, &tls).await;
        let mut stream = connection.listen("/r/lobby?since=live").await;
        stream.wait_for("live").await;

        let mut plain = http1(&maru, &tls).await;
        let say = "POST /r/lobby HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello";
        // Twice on one connection.
        for cursor in ["\"1-1\"", "\"1-2\""] {
            plain.write_all(say.as_bytes()).await.unwrap();
            let answer = read_until(&mut plain, "}").await;
            assert!(answer.starts_with("HTTP/1.1 201 ") && answer.contains(cursor), "{answer}");
            assert!(answer.contains("SameSite=Lax; Secure\r\n"), "{answer}");
        }
        assert_eq!(stream.texts(2).await.0, ["hello", "hello"]);

        let mut listener = http1(&maru, &tls).await;
        listener.write_all(b"GET /r/lobby?since=1-1 HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let replayed = read_until(&mut listener, "event: live").await;
        assert!(
            replayed.contains("id: 1-2")
                && !replayed.contains("id: 1-1\ndata: {\"room\":\"lobby\",\"epoch\"")
        );
        connection.say("/r/lobby", "over TLS").await;
        read_until(&mut listener, "over TLS").await;
        // No reader thread can write it.
        assert_eq!(maru_metric(&mut connection, "maru_readers").await, 0.0);
        assert_eq!(maru_metric(&mut connection, "maru_streams").await, 2.0);
        // Without a word of goodbye, too.
        drop((listener, stream));
        while maru_metric(&mut connection, "maru_streams").await > 0.0 {
            connection.say("/r/lobby", "is anybody here?").await;
        }
    });
}

async fn maru_metric(connection: &mut Connection, name: &str) -> f64 {
    let text = String::from_utf8(connection.get("/metrics").await.body).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).expect("the metric");
    line.parse().unwrap()
}

/// What is too much for a client's window at once, and more than one record of TLS.
#[test]
fn a_long_replay_comes_whole() {
    let tls = Tls::new();
    let maru = start(&tls, &[]);
    run(async {
        let mut connection = http2(&maru, &tls).await;
        for n in 0..500 {
            let said = connection.say("/r/lobby", format!("{n} {}", "x".repeat(4000))).await;
            assert_eq!(said.status, StatusCode::CREATED);
        }
        let mut stream = connection.listen("/r/lobby?since=all").await;
        let numbers = |texts: Vec<String>| -> Vec<usize> {
            texts.iter().map(|text| text.split(' ').next().unwrap().parse().unwrap()).collect()
        };
        assert_eq!(numbers(stream.texts(500).await.0), (0..500).collect::<Vec<_>>());

        let mut listener = http1(&maru, &tls).await;
        listener.write_all(b"GET /r/lobby?since=all HTTP/1.0\r\n\r\n").await.unwrap();
        let text = read_until(&mut listener, "event: live\n").await;
        let mut parser = Parser::new();
        parser.feed(text.split_once("\r\n\r\n").unwrap().1.as_bytes());
        let messages = std::iter::from_fn(|| parser.next_event()).filter(|event| event.name == "message");
        let texts = messages.map(|event| {
            let value: serde_json::Value = serde_json::from_str(&event.data).unwrap();
            value["text"].as_str().unwrap().to_owned()
        });
        assert_eq!(numbers(texts.collect()), (0..500).collect::<Vec<_>>());
    });
}

/// New connections are shown the new certificate; those that there are go on.
#[test]
fn a_certificate_that_changes_is_read_again() {
    let (old, new) = (Tls::new(), Tls::new());
    let maru = start(&old, &[]);
    run(async {
        let mut connection = http2(&maru, &old).await;
        let mut stream = connection.listen("/r/lobby?since=live").await;
        stream.wait_for("live").await;

        // One file after the other, as tools do that renew them: what is there in between is no pair.
        fs::write(old.certificate(), "nothing that could be read").unwrap();
        let complains = || maru.log().matches("the certificate from before stays").count();
        wait_for("it says so", || complains() == 1);
        assert!(connect(maru.address(), &old.authority(), &[]).await.is_ok());
        fs::copy(new.certificate(), old.certificate()).unwrap();
        wait_for("it says so again", || complains() == 2);
        assert!(connect(maru.address(), &old.authority(), &[]).await.is_ok());

        // By renaming, with a time from before.
        let beside = old.key().with_extension("new");
        fs::copy(new.key(), &beside).unwrap();
        fs::rename(&beside, old.key()).unwrap();
        wait_for("it is read", || maru.log().contains("the certificate was read again"));
        assert!(connect(maru.address(), &new.authority(), &[]).await.is_ok());
        assert!(connect(maru.address(), &old.authority(), &[]).await.is_err());

        connection.say("/r/lobby", "as before").await;
        assert_eq!(stream.texts(1).await.0, ["as before"]);
    });
}

/// The certificate names the site, and not the address that a container asks itself at.
#[test]
fn health_is_asked_over_tls() {
    let tls = Tls::new();
    let maru = start(&tls, &[]);
    let output = maru.one_pod().command(&["health"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.starts_with("https://127.0.0.1:"), "{output:?}");
}

#[test]
fn the_doctor_reads_the_certificate() {
    let tls = Tls::new();
    let (certificate, key) = (tls.certificate(), tls.key());
    let [certificate, key] = [&certificate, &key].map(|file| file.to_str().unwrap());
    let examined = |key: &str| {
        let output = harness::run(&["doctor", "--tls-cert", certificate, "--tls-key", key], &[]);
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(examined(key).contains(&format!("HTTPS, with the certificate of {certificate}")));
    assert!(examined("/nowhere.key").contains("cannot read a private key from /nowhere.key"));
}

#[test]
fn what_is_no_tls_is_told_so() {
    let tls = Tls::new();
    let maru = start(&tls, &["--limit", "head-time=1"]);
    let mut raw = Raw::saying(&maru, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_problem(&raw.answer().expect("an answer"), 400, "bad_request");
    assert!(raw.answer().is_none());
    // A handshake that is begun and not gone on with, and one that never was.
    for begun in [&b"\x16\x03\x01\x02\x00\x01\x00"[..], b"\x16", b""] {
        assert!(Raw::saying(&maru, begun).answer().is_none());
    }
    run(async {
        let mut connection = http2(&maru, &tls).await;
        // What was closed before it said anything is not counted.
        assert_eq!(maru_metric(&mut connection, "maru_failed_handshakes_total").await, 3.0);
        assert!(connect(maru.address(), &tls.authority(), &[b"spdy/3"]).await.is_err());
    });
}

#[test]
fn a_pod_that_ends_says_goodbye_within_tls() {
    let tls = Tls::new();
    let mut maru = start(&tls, &["--drain", "1s"]);
    run(async {
        let mut listener = http1(&maru, &tls).await;
        listener.write_all(b"GET /r/lobby HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        read_until(&mut listener, "event: live").await;
        let mut connection = http2(&maru, &tls).await;
        assert_eq!(connection.get("/healthz").await.status, StatusCode::OK);
        maru.signal(Signal::TERM);
        read_until(&mut listener, "event: bye").await;
        let mut rest = Vec::new();
        listener.read_to_end(&mut rest).await.expect("an end of TLS (close_notify), and not of TCP alone");
        connection.has_ended().await;
    });
    assert!(maru.ended().success());
}

#[test]
fn settings_that_cannot_be_meant_are_refused() {
    let (tls, other) = (Tls::new(), Tls::new());
    let (certificate, key, others) = (tls.certificate(), tls.key(), other.key());
    let [certificate, key, others] = [&certificate, &key, &others].map(|file| file.to_str().unwrap());
    for (args, complaint) in [
        (&["--tls-cert", certificate][..], "--tls-cert needs --tls-key"),
        (&["--tls-key", key], "--tls-key needs --tls-cert"),
        (&["--tls-cert", certificate, "--tls-key", others], "cannot read the certificate of"),
        (&["--tls-cert", key, "--tls-key", key], "cannot read certificates from"),
        (&["--tls-cert", certificate, "--tls-key", certificate], "cannot read a private key from"),
        (&["--tls-cert", "/nowhere.pem", "--tls-key", key], "cannot read certificates from /nowhere.pem"),
        (&["--tls-cert", certificate, "--tls-key", key, "--h2c", "on"], "--h2c is HTTP/2 without TLS"),
    ] {
        let output = harness::run(&[&["--listen", "127.0.0.1:0"], args].concat(), &[]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(complaint), "{args:?}: {said}");
    }
}
