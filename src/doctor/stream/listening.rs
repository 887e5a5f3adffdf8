//! A stream as it arrives: each event with the time at which its last byte came.

use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use hyper::{HeaderMap, body::Incoming, header};
use tokio::{sync::mpsc, time::timeout_at};

/// Events that wait to be looked at; there is little to hear in a room of one's own.
const WAITING: usize = 64;
/// Bytes of one line at most.
const LINE: usize = 64 << 10;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) at: Instant,
    /// `message` for an entry of the log.
    pub(super) name: String,
    pub(super) data: String,
}

pub(super) struct Listening {
    heard: mpsc::Receiver<Heard>,
    is_over: bool,
    cookie: Option<String>,
}

impl Listening {
    /// Reads on by itself, so that the times are those of arrival.
    pub(super) fn to(mut body: Incoming, headers: &HeaderMap) -> Self {
        let (tell, heard) = mpsc::channel(WAITING);
        tokio::spawn(async move {
            let mut lines = Lines::default();
            while let Some(Ok(frame)) = body.frame().await {
                let Ok(piece) = frame.into_data() else { continue };
                for event in lines.take(&piece, Instant::now()) {
                    if tell.send(event).await.is_err() {
                        return;
                    }
                }
            }
        });
        let cookies = headers.get_all(header::SET_COOKIE).iter().filter_map(|cookie| cookie.to_str().ok());
        let mut pairs = cookies.filter_map(|cookie| cookie.split(';').next());
        let cookie = pairs.find(|pair| pair.starts_with("maru_session=")).map(str::to_owned);
        Listening { heard, is_over: false, cookie }
    }

    /// The session that came with it, as `Cookie` has it.
    pub(super) fn cookie(&self) -> Option<&str> {
        self.cookie.as_deref()
    }

    /// Has it ended?
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// The next that is wanted, if it comes within this time.
    pub(super) async fn next(
        &mut self,
        within: Duration,
        is_wanted: impl Fn(&Heard) -> bool,
    ) -> Option<Heard> {
        let until = tokio::time::Instant::now() + within;
        loop {
            match timeout_at(until, self.heard.recv()).await {
                Ok(Some(heard)) if is_wanted(&heard) => return Some(heard),
                Ok(Some(_)) => {}
                Ok(None) => {
                    self.is_over = true;
                    return None;
                }
                Err(_) => return None,
            }
        }
    }
}

/// Puts events together, as maru writes them (one line of data each).
#[derive(Debug, Default)]
struct Lines {
    rest: Vec<u8>,
    name: String,
    data: String,
}

impl Lines {
    fn take(&mut self, piece: &[u8], at: Instant) -> Vec<Heard> {
        let mut heard = Vec::new();
        for byte in piece {
            if *byte != b'\n' {
                if self.rest.len() < LINE {
                    self.rest.push(*byte);
                }
                continue;
            }
            let line =
                String::from_utf8_lossy(&std::mem::take(&mut self.rest)).trim_end_matches('\r').to_owned();
            if line.is_empty() {
                let (name, data) = (std::mem::take(&mut self.name), std::mem::take(&mut self.data));
                if !data.is_empty() {
                    heard.push(Heard {
                        at,
                        name: if name.is_empty() { "message".into() } else { name },
                        data,
                    });
                }
            } else if let Some(name) = line.strip_prefix("event:") {
                name.trim_start().clone_into(&mut self.name);
            } else if let Some(data) = line.strip_prefix("data:") {
                self.data.push_str(data.trim_start());
            }
        }
        heard
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_put_together_from_pieces() {
        let stream = "retry: 1000\nevent: hello\nid: 1-0\ndata: {\"a\":1}\n\n: quiet\n\nid: 1-1\ndata: 마루\n\nevent: ping\ndata: {}\n\nevent: cut";
        let expected = [("hello", "{\"a\":1}"), ("message", "마루"), ("ping", "{}")];
        for size in 1..stream.len() {
            let (mut lines, at) = (Lines::default(), Instant::now());
            let heard: Vec<_> =
                stream.as_bytes().chunks(size).flat_map(|piece| lines.take(piece, at)).collect();
            let heard: Vec<_> = heard.iter().map(|heard| (&*heard.name, &*heard.data)).collect();
            assert_eq!(heard, expected, "in pieces of {size}");
        }
    }
}
