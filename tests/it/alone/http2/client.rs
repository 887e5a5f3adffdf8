//! A client that speaks HTTP/2 well.

use std::{future::Future, net::SocketAddr, time::Duration};

use bytes::Bytes;
use h2::{
    RecvStream,
    client::{Builder, SendRequest},
};
use hyper::{Method, Request, Response, StatusCode};
use loadtest::sse::{Event, Parser};
use tokio::{net::TcpStream, task::JoinHandle};

use crate::harness::PATIENCE;

/// Runs a test that waits for many things at once, with an end to its patience; none waits for longer than twice that.
pub fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(2 * PATIENCE, test).await.expect("it takes for ever") })
}

/// One connection.
pub struct Connection {
    requests: SendRequest<Bytes>,
    /// Ends when the connection does, and says how.
    driver: JoinHandle<Result<(), h2::Error>>,
}

impl Connection {
    /// Without TLS, by prior knowledge.
    pub async fn open(server: SocketAddr) -> Self {
        Self::with(server, &Builder::new()).await
    }

    pub async fn with(server: SocketAddr, builder: &Builder) -> Self {
        let socket = TcpStream::connect(server).await.expect("it listens");
        Self::over(socket, builder).await
    }

    pub async fn over<S>(socket: S, builder: &Builder) -> Self
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let (requests, connection) = builder.handshake(socket).await.expect("it speaks HTTP/2");
        Connection { requests, driver: tokio::spawn(connection) }
    }

    /// Waits until the server has ended it, without an error of HTTP/2. What this side still wanted to say when the server had
    /// closed the socket counts for nothing.
    pub async fn has_ended(self) {
        drop(self.requests);
        let ended = self.driver.await.expect("no panic");
        assert!(ended.as_ref().err().is_none_or(h2::Error::is_io), "{ended:?}");
    }

    /// Sends a head, with its body or without, and waits for the head of the answer.
    pub async fn send(
        &mut self,
        request: Request<()>,
        body: Option<Bytes>,
    ) -> Result<Response<RecvStream>, h2::Error> {
        let mut requests = self.requests.clone().ready().await?;
        let (response, mut sending) = requests.send_request(request, body.is_none())?;
        if let Some(body) = body {
            sending.send_data(body, true)?;
        }
        response.await
    }

    /// Sends a request and reads the whole answer.
    pub async fn ask(&mut self, request: Request<()>, body: Option<Bytes>) -> Answer {
        let (head, body) = self.send(request, body).await.expect("an answer").into_parts();
        Answer { status: head.status, headers: head.headers, body: whole(body).await }
    }

    pub async fn get(&mut self, path: &str) -> Answer {
        self.ask(request(Method::GET, path), None).await
    }

    pub async fn say(&mut self, path: &str, text: impl Into<Bytes>) -> Answer {
        self.ask(request(Method::POST, path), Some(text.into())).await
    }

    pub async fn listen(&mut self, path: &str) -> Listening {
        let answer = self.send(request(Method::GET, path), None).await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Listening { body: answer.into_body(), parser: Parser::new(), frames: 0 }
    }
}

/// A request to this server.
pub fn request(method: Method, path: &str) -> Request<()> {
    let uri = format!("http://maru.test{path}");
    Request::builder().method(method).uri(uri).body(()).expect("a request")
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: hyper::HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    pub fn assert_problem(&self, status: u16, code: &str) {
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!((self.status.as_u16(), &self.json()["code"]), (status, &code.into()));
    }
}

async fn whole(mut body: RecvStream) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece.expect("the rest of the answer");
        body.flow_control().release_capacity(piece.len()).expect("it was received");
        all.extend_from_slice(&piece);
    }
    all
}

/// A stream of events.
pub struct Listening {
    body: RecvStream,
    parser: Parser,
    /// DATA frames so far.
    pub frames: usize,
}

impl Listening {
    /// The next event; `Ok(None)` at an orderly end.
    pub async fn next(&mut self) -> Result<Option<Event>, h2::Error> {
        loop {
            if let Some(event) = self.parser.next_event() {
                return Ok(Some(event));
            }
            let Some(piece) = self.body.data().await else { return Ok(None) };
            let piece = piece?;
            self.frames += 1;
            self.body.flow_control().release_capacity(piece.len())?;
            self.parser.feed(&piece);
        }
    }

    /// The next event of this name.
    pub async fn wait_for(&mut self, name: &str) -> Event {
        loop {
            let event = self.next().await.expect("no reset").expect("the stream goes on");
            if event.name == name {
                return event;
            }
        }
    }

    /// The texts of the next `count` messages, with the cursor of the last.
    pub async fn texts(&mut self, count: usize) -> (Vec<String>, String) {
        let (mut texts, mut cursor) = (Vec::new(), String::new());
        while texts.len() < count {
            let message = self.wait_for("message").await;
            let value: serde_json::Value = serde_json::from_str(&message.data).expect("JSON");
            texts.push(value["text"].as_str().expect("a text").to_owned());
            cursor = message.id.expect("a cursor");
        }
        (texts, cursor)
    }
}

/// A while in which nothing is expected.
pub async fn a_moment() {
    tokio::time::sleep(Duration::from_millis(50)).await;
}
