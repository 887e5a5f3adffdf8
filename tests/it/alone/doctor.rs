//! `maru doctor`: settings and machine, and whether what stands before a server passes streams on.

use std::{fs, os::unix::fs::PermissionsExt, process::Output, thread, time::Duration};

use loadtest::speak::whole_log;
use tempfile::TempDir;
use testbed::{
    Fault, FaultProxy, Port, Tls, Way, Whom,
    front::{Front, Kind},
};

use crate::harness::{Maru, run, wait_for};

mod servers;

fn said(output: &Output) -> String {
    assert!(output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout.clone()).expect("text")
}

/// A line that begins so and has all these words.
fn has(said: &str, begins: &str, words: &[&str]) {
    let is_it = |line: &str| line.starts_with(begins) && words.iter().all(|word| line.contains(word));
    assert!(said.lines().any(is_it), "no {begins:?} with {words:?} in\n{said}");
}

/// Through this way to the server.
fn through(url: &str, more: &[&str], envs: &[(&str, &str)]) -> Output {
    run(&[&["doctor", "--url", url], more].concat(), envs)
}

#[test]
fn what_is_in_order_is_said_to_be_and_what_is_unwise_too() {
    let data = TempDir::new().unwrap();
    let path = data.path().to_str().unwrap();
    let found = run(&["doctor", "--data", path], &[]);
    let text = said(&found);
    assert!(found.status.success(), "{text}");
    has(&text, "ok    settings  ", &["one process", "SQLite"]);
    has(&text, "ok    data      ", &[path, "can be written"]);
    assert!(text.lines().last().unwrap().ends_with(" 0 failed"), "{text}");
    assert_eq!(fs::read_dir(data.path()).unwrap().count(), 0, "it left something behind");

    fs::write(data.path().join("secret"), "0123456789abcdef0123456789abcdef").unwrap();
    fs::set_permissions(data.path().join("secret"), fs::Permissions::from_mode(0o644)).unwrap();
    let unwise = [
        "doctor",
        "--data",
        path,
        "--listen",
        "0.0.0.0:8080",
        "--rate-limit",
        "off",
        "--origin",
        "http://blog.example",
    ];
    let unwise = run(&unwise, &[("MARU_ADMIN_TOKEN", "the operator's word")]);
    let text = said(&unwise);
    assert!(unwise.status.success(), "{text}");
    for words in ["--listen", "--rate-limit", "--origin http://blog.example", "--admin-token is shorter"] {
        has(&text, "warn  settings  ", &[words]);
    }
    has(&text, "warn  data      ", &["chmod 600"]);
    assert!(!text.contains("the operator's word") && !text.contains("0123456789abcdef"), "{text}");

    let wrong = run(&["doctor", "--data", "/proc/maru", "--ack", "buffered"], &[]);
    let text = said(&wrong);
    assert_eq!(wrong.status.code(), Some(1), "{text}");
    has(&text, "fail  settings  ", &["--redis"]);
    let nowhere = run(&["doctor", "--data", "/proc/maru"], &[]);
    assert_eq!(nowhere.status.code(), Some(1));
    has(&said(&nowhere), "fail  data      ", &["nothing can be written"]);
}

#[test]
fn a_way_that_passes_streams_on_is_in_order() {
    let maru = Maru::start();
    let front = Front::start(Kind::Nginx, maru.doors().all(), &[]);
    let found = through(&format!("http://{}", front.address()), &["--wait", "20s"], &[]);
    let text = said(&found);
    assert!(found.status.success(), "{text}");
    has(&text, "ok    stream    ", &["text/event-stream", "not compressed", "taken on the way", "nginx"]);
    has(&text, "ok    stream    ", &["hello came"]);
    has(&text, "ok    stream    ", &["events come", "at worst"]);
    has(&text, "ok    stream    ", &["a ping came"]);
    has(&text, "ok    stream    ", &["still there after"]);
}

/// nginx that nobody has told of streams, and these words besides.
fn buffering(maru: &Maru, more: &str) -> Front {
    let port = Port::any();
    let config = format!(
        "daemon off; pid /dev/null; error_log stderr; events {{}}\nhttp {{ access_log off; server {{ listen {}; location / {{ \
         proxy_pass http://{}; {more} }} }} }}",
        port.address(),
        maru.address(),
    );
    Front::with(Kind::Nginx, port, &config)
}

#[test]
fn a_way_that_keeps_streams_back_or_cuts_them_is_found() {
    let maru = Maru::start();
    let front = buffering(&maru, "proxy_buffering on; proxy_ignore_headers X-Accel-Buffering;");
    let found = through(&format!("http://{}", front.address()), &[], &[]);
    let text = said(&found);
    assert_eq!(found.status.code(), Some(1), "{text}");
    has(&text, "fail  stream    ", &["proxy_buffering off"]);

    let front = buffering(
        &maru,
        "gzip on; gzip_types text/event-stream; gzip_proxied any; gzip_min_length 0; gzip_http_version 1.0;",
    );
    let found = through(&format!("http://{}", front.address()), &[], &[]);
    let text = said(&found);
    assert_eq!(found.status.code(), Some(1), "{text}");
    has(&text, "fail  stream    ", &["compresses the stream (gzip)"]);
    // What else there is to say is said without it.
    has(&text, "ok    stream    ", &["events come"]);

    let front = buffering(&maru, "proxy_read_timeout 5s;");
    let found = through(&format!("http://{}", front.address()), &[], &[]);
    let text = said(&found);
    assert_eq!(found.status.code(), Some(1), "{text}");
    has(&text, "fail  stream    ", &["was cut after", "proxy_read_timeout"]);
}

#[test]
fn a_way_that_is_slow_or_leads_elsewhere_is_found() {
    let maru = Maru::start();
    // A stream that comes later than what is asked beside it.
    let way = FaultProxy::to(maru.address());
    way.harm(Whom::ToCome, Fault::Delay(Way::Down, Duration::from_millis(800)));
    let text = thread::scope(|scope| {
        let examined = scope.spawn(|| said(&through(&format!("http://{}", way.address()), &[], &[])));
        wait_for("it listens", || way.connections() > 0);
        // The connection that it speaks on is as quick as any.
        way.harm(Whom::ToCome, Fault::Delay(Way::Down, Duration::ZERO));
        examined.join().expect("it ends")
    });
    has(&text, "fail  stream    ", &["events come", "gathers bytes"]);
    let nobody = Port::any();
    let nowhere = through(&format!("http://{}", nobody.address()), &[], &[]);
    assert_eq!(nowhere.status.code(), Some(1));
    has(&said(&nowhere), "fail  stream    ", &["cannot be asked", "refused"]);
    let port = Port::any();
    let config = format!(
        "daemon off; pid /dev/null; error_log stderr; events {{}}\nhttp {{ access_log off; server {{ listen {}; return 200 hi; }} }}",
        port.address()
    );
    let other = Front::with(Kind::Nginx, port, &config);
    let elsewhere = through(&format!("http://{}", other.address()), &[], &[]);
    assert_eq!(elsewhere.status.code(), Some(1));
    has(&said(&elsewhere), "fail  stream    ", &["is maru behind that URL?"]);
}

#[test]
fn a_server_behind_tls_is_asked_over_it_and_its_certificate_is_looked_at() {
    let maru = Maru::start();
    let tls = Tls::new();
    let port = Port::any();
    let config = format!(
        "daemon off; pid /dev/null; error_log stderr; events {{}}\nhttp {{ access_log off; server {{ listen {} ssl; ssl_certificate {}; \
         ssl_certificate_key {}; location / {{ proxy_pass http://{}; proxy_http_version 1.1; proxy_buffering off; }} }} }}",
        port.address(),
        tls.certificate().display(),
        tls.key().display(),
        maru.address(),
    );
    let front = Front::with(Kind::Nginx, port, &config);
    let url = format!("https://localhost:{}", front.address().port());
    let authority = tls.authority();
    let trusted = through(&url, &[], &[("SSL_CERT_FILE", authority.to_str().unwrap())]);
    let text = said(&trusted);
    assert!(trusted.status.success(), "{text}");
    has(&text, "ok    stream    ", &["events come"]);
    let stranger = Tls::new();
    let others = through(&url, &[], &[("SSL_CERT_FILE", stranger.authority().to_str().unwrap())]);
    assert_eq!(others.status.code(), Some(1));
    has(&said(&others), "fail  stream    ", &["cannot be asked", "certificate"]);
    // What it says goes to a room of its own.
    assert!(whole_log(&mut maru.client(), "lobby").unwrap().is_empty());
}
