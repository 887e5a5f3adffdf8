use std::time::Instant;

use super::*;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long nothing must come.
const QUIET: Duration = Duration::from_millis(100);

/// Two ends of one connection through a proxy.
fn ends() -> (FaultProxy, TcpListener, TcpStream, TcpStream) {
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = FaultProxy::to(target.local_addr().unwrap());
    let (client, server) = connected(&proxy, &target);
    (proxy, target, client, server)
}

fn connected(proxy: &FaultProxy, target: &TcpListener) -> (TcpStream, TcpStream) {
    let mut client = TcpStream::connect(proxy.address()).unwrap();
    let (mut server, _) = target.accept().unwrap();
    for end in [&client, &server] {
        end.set_read_timeout(Some(PATIENCE)).unwrap();
        end.set_nodelay(true).unwrap();
    }
    // Both know of each other.
    travels(&mut client, &mut server);
    (client, server)
}

fn travels(from: &mut TcpStream, to: &mut TcpStream) {
    from.write_all(b"hello").unwrap();
    let mut bytes = [0; 5];
    to.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"hello");
}

fn nothing_comes(end: &mut TcpStream) {
    end.set_read_timeout(Some(QUIET)).unwrap();
    let read = end.read(&mut [0; 16]);
    assert!(read.as_ref().is_err_and(is_early), "{read:?}");
    end.set_read_timeout(Some(PATIENCE)).unwrap();
}

fn is_reset(end: &mut TcpStream) {
    let read = end.read(&mut [0; 16]);
    assert!(read.as_ref().is_err_and(|e| e.kind() == ErrorKind::ConnectionReset), "{read:?}");
}

fn wait_for(what: &str, mut is_true: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_true() {
        assert!(Instant::now() < until, "it never came true: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn without_faults_all_travels_both_ways_to_its_end() {
    let (proxy, _target, mut client, mut server) = ends();
    let much: Vec<u8> = (0..1 << 20).map(|n: u32| n.to_le_bytes()[1]).collect();
    thread::scope(|scope| {
        scope.spawn(|| {
            server.write_all(&much).unwrap();
            server.shutdown(Shutdown::Write).unwrap();
        });
        let mut got = Vec::new();
        client.read_to_end(&mut got).unwrap();
        assert!(got == much);
    });
    // The other way is open still.
    travels(&mut client, &mut server);
    drop(client);
    assert_eq!(server.read(&mut [0; 1]).unwrap(), 0);
    drop(server);
    wait_for("it is closed", || proxy.connections() == 0);
}

#[test]
fn slices_travel_one_by_one_and_nothing_is_lost() {
    let (proxy, _target, mut client, mut server) = ends();
    proxy.harm(Whom::All, Fault::Slices(Way::Up, 1));
    // Whoever reads slowly would find several at once.
    proxy.harm(Whom::All, Fault::Delay(Way::Up, Duration::from_millis(5)));
    let text: Vec<u8> = (0..40).map(|n: u32| n.to_le_bytes()[0]).collect();
    client.write_all(&text).unwrap();
    let (mut got, mut reads) = (Vec::new(), 0);
    while got.len() < text.len() {
        let mut piece = [0; 4096];
        let bytes = server.read(&mut piece).unwrap();
        got.extend_from_slice(&piece[..bytes]);
        reads += 1;
    }
    assert_eq!(got, text);
    assert!(reads > 10, "{reads} reads");
    travels(&mut server, &mut client);
}

#[test]
fn a_delay_holds_back_what_goes_one_way() {
    let (proxy, _target, mut client, mut server) = ends();
    proxy.harm(Whom::All, Fault::Delay(Way::Down, QUIET));
    let since = Instant::now();
    travels(&mut client, &mut server);
    assert!(since.elapsed() < QUIET);
    travels(&mut server, &mut client);
    assert!(since.elapsed() >= QUIET);
    proxy.heal();
    let since = Instant::now();
    travels(&mut server, &mut client);
    assert!(since.elapsed() < QUIET);
}

#[test]
fn what_is_silent_swallows_all_ends_too_and_stays_so() {
    let (proxy, target, mut client, mut server) = ends();
    proxy.harm(Whom::There, Fault::Silence(Way::Both));
    client.write_all(b"lost").unwrap();
    server.write_all(b"lost").unwrap();
    nothing_comes(&mut client);
    nothing_comes(&mut server);
    // Those that come are well.
    connected(&proxy, &target);
    proxy.heal();
    client.write_all(b"lost too").unwrap();
    nothing_comes(&mut server);
    drop(client);
    nothing_comes(&mut server);
    wait_for("only that one is open", || proxy.connections() == 1);
    drop(server);
    wait_for("it is closed", || proxy.connections() == 0);
}

#[test]
fn silence_can_be_one_way_alone() {
    let (proxy, _target, mut client, mut server) = ends();
    proxy.harm(Whom::There, Fault::Silence(Way::Up));
    client.write_all(b"lost").unwrap();
    nothing_comes(&mut server);
    travels(&mut server, &mut client);
}

#[test]
fn a_new_connection_into_silence_reaches_nobody() {
    let (proxy, target, ..) = ends();
    proxy.harm(Whom::ToCome, Fault::Silence(Way::Both));
    let mut client = TcpStream::connect(proxy.address()).unwrap();
    client.write_all(b"lost").unwrap();
    nothing_comes(&mut client);
    target.set_nonblocking(true).unwrap();
    assert!(target.accept().is_err_and(|e| is_early(&e)));
}

#[test]
fn whoever_is_not_heard_waits_with_full_buffers() {
    let (proxy, _target, mut client, mut server) = ends();
    proxy.harm(Whom::There, Fault::Deafness(Way::Up));
    client.set_write_timeout(Some(QUIET)).unwrap();
    let mut written = 0;
    // Kernels buffer megabytes.
    while let Ok(bytes) = client.write(&[7; 1 << 16]) {
        written += bytes;
        assert!(written < 1 << 27);
    }
    travels(&mut server, &mut client);
    proxy.heal();
    let mut got = vec![0; written];
    server.read_exact(&mut got).unwrap();
    assert!(got.iter().all(|byte| *byte == 7));
}

#[test]
fn half_closed_one_way_it_goes_on_the_other() {
    let (proxy, _target, mut client, mut server) = ends();
    proxy.harm(Whom::There, Fault::HalfClose(Way::Up));
    assert_eq!(server.read(&mut [0; 1]).unwrap(), 0);
    travels(&mut server, &mut client);
}

#[test]
fn a_reset_reaches_both_ends() {
    let (proxy, target, mut client, mut server) = ends();
    proxy.harm(Whom::There, Fault::Reset);
    is_reset(&mut client);
    is_reset(&mut server);
    wait_for("it is closed", || proxy.connections() == 0);
    connected(&proxy, &target);
}

#[test]
fn a_reset_comes_after_so_many_bytes() {
    let (proxy, _target, mut client, mut server) = ends();
    proxy.harm(Whom::There, Fault::ResetAfter(7));
    travels(&mut client, &mut server);
    server.write_all(b"hello").unwrap();
    let mut two = [0; 2];
    client.read_exact(&mut two).unwrap();
    assert_eq!(&two, b"he");
    is_reset(&mut client);
    is_reset(&mut server);
}

#[test]
fn one_of_several_can_be_harmed() {
    let (proxy, target, mut first, mut first_server) = ends();
    let (mut second, mut second_server) = connected(&proxy, &target);
    proxy.harm_one(3, Fault::Reset);
    is_reset(&mut second);
    is_reset(&mut second_server);
    travels(&mut first, &mut first_server);
}

#[test]
fn its_target_can_change_and_be_nobody() {
    let (proxy, target, ..) = ends();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    proxy.lead_to(other.local_addr().unwrap());
    connected(&proxy, &other);
    drop(other);
    is_reset(&mut TcpStream::connect(proxy.address()).unwrap());
    proxy.lead_to(target.local_addr().unwrap());
    connected(&proxy, &target);
}

#[test]
fn when_it_is_dropped_all_it_carried_is_reset() {
    let (proxy, _target, mut client, mut server) = ends();
    drop(proxy);
    is_reset(&mut client);
    is_reset(&mut server);
}
