//! One connection from accept on: TLS, which HTTP it speaks, and where its stream goes on.

use std::{net::IpAddr, sync::Arc, time::Duration};

use hyper::StatusCode;
use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};

use super::{
    App, http1, http2,
    line::{Line, Seat, Transport},
    problem::Problem,
};
use crate::{
    readers::{NewReader, Place},
    tls::Certificates,
};

/// What HTTP/2 without TLS begins with, as far as nothing else does (RFC 9113 §3.4).
const HTTP2: &[u8] = b"PRI ";
/// The first byte of TLS: a handshake (RFC 8446 §5.1).
const TLS: &[u8] = &[0x16];
/// How soon the rest of a first word is looked for again.
const AGAIN: Duration = Duration::from_millis(10);

/// Serves what comes on one connection, whatever it speaks.
pub(crate) async fn serve(app: Arc<App>, socket: TcpStream, peer: IpAddr) {
    let transport = if app.certificates.is_some() { Transport::Tls } else { Transport::Plain };
    let line = Arc::new(Line::new(peer, transport));
    line.expect_read(Some(head_time(&app)));
    if let Some(certificates) = app.certificates.clone() {
        return Box::pin(serve_tls(app, certificates, socket, line)).await;
    }
    if app.speaks_h2c {
        match timeout(head_time(&app), begins_with(&socket, HTTP2)).await {
            Ok(Ok(true)) => return Box::pin(http2::serve(app, socket, line)).await,
            Ok(Ok(false)) => {}
            Ok(Err(_)) | Err(_) => return,
        }
    }
    if let Some((socket, seat)) = http1::serve(Arc::clone(&app), socket, line).await {
        take_seat(&app, socket, *seat);
    }
}

async fn serve_tls(app: Arc<App>, certificates: Arc<Certificates>, socket: TcpStream, line: Arc<Line>) {
    let shaken = timeout(head_time(&app), async {
        if begins_with(&socket, TLS).await? {
            certificates.accept(socket).await.map(Ok)
        } else {
            Ok(Err(socket))
        }
    });
    match shaken.await {
        Ok(Ok(Ok(socket))) if Certificates::is_http2(&socket) => http2::serve(app, socket, line).await,
        Ok(Ok(Ok(socket))) => {
            let seated = http1::serve(app, socket, line).await;
            debug_assert!(seated.is_none(), "no reader thread can write TLS");
        }
        Ok(Ok(Err(plain))) => {
            app.metrics.refused_heads.inc();
            let problem = Problem::new(
                StatusCode::BAD_REQUEST,
                "bad_request",
                "this port speaks HTTPS, and this request came without TLS",
            );
            http1::refuse(plain, &problem).await;
        }
        Ok(Err(e)) => {
            app.metrics.failed_handshakes.inc();
            tracing::debug!(peer = %line.peer(), error = %e, "no TLS came about");
        }
        Err(_) => {
            app.metrics.failed_handshakes.inc();
        }
    }
}

fn head_time(app: &App) -> Duration {
    Duration::from_secs(app.bounds.head_time.into())
}

/// Is `word` what comes first? Takes nothing from the socket.
async fn begins_with(socket: &TcpStream, word: &[u8]) -> std::io::Result<bool> {
    let mut first = [0; 4];
    let first = &mut first[..word.len()];
    loop {
        let seen = socket.peek(first).await?;
        if seen == 0 || first[..seen] != word[..seen] {
            return Ok(false);
        }
        if seen == word.len() {
            return Ok(true);
        }
        // What was seen stays to be read, so that nothing tells of more.
        sleep(AGAIN).await;
    }
}

/// Takes the socket out of tokio and gives it to a reader thread.
fn take_seat(app: &App, socket: TcpStream, seat: Seat) {
    let Seat { feed, after, visit, listener, mut endings } = seat;
    let socket = match socket.into_std() {
        Ok(socket) => socket,
        Err(e) => return tracing::warn!(error = %e, "a socket could not be taken back"),
    };
    app.chat.reading().seat(NewReader {
        socket: socket.into(),
        source: feed,
        // Nothing that was told since it listens was written: it gets that with the seat.
        after: Place { event: after, aside: listener.place() },
        ear: listener,
        live: None,
        occupant: visit,
    });
    // Meant on the way: the ending that was told to the reading room may have come before this reader.
    if let Some(select) = endings.due() {
        app.chat.end(select);
    }
}
