//! Speaking, written down for the [`checker`](crate::checker); and reading the log back at the end.

use crate::checker::{Ack, Act, Attempt, Clock, Kept, Outcome};
use crate::http::{Client, Error, ErrorKind, Request, Response};
use serde_json::Value;
use serde_json::value::RawValue;
use std::net::SocketAddr;

/// One person who speaks in one room, over one kept-alive connection.
pub struct Speaker {
    client: Client,
    clock: Clock,
    person: String,
    target: String,
    attempts: Vec<Attempt>,
}

impl Speaker {
    /// Signs in as a guest of this name (`POST /api/session`) to speak in the open room `room`.
    ///
    /// # Errors
    /// As [`Client::send`]; any answer but 201 is [`ErrorKind::Framing`].
    pub fn guest(mut client: Client, clock: Clock, room: &str, name: &str) -> Result<Self, Error> {
        let answer = client.post_json("/api/session", &serde_json::json!({ "name": name }))?;
        let session = answer.json();
        match (session["token"].as_str(), session["user"]["id"].as_str()) {
            (Some(token), Some(person)) if answer.status == 201 => {
                let client = client.header("Authorization", &format!("Bearer {token}"));
                Ok(Self::new(client, clock, room, person))
            }
            _ => Err(Error::new(
                ErrorKind::Framing,
                format!("no session: {} {}", answer.status, answer.text()),
            )),
        }
    }

    /// Speaks in the open room `room` with whatever `client` carries; `person` is whom the server will take it for.
    #[must_use]
    pub fn new(client: Client, clock: Clock, room: &str, person: &str) -> Self {
        let target = format!("/r/{}", percent_encoded(room));
        Self { client, clock, person: person.to_owned(), target, attempts: Vec::new() }
    }

    /// The same for a room that has members, by its id.
    #[must_use]
    pub fn member(client: Client, clock: Clock, room: &str, person: &str) -> Self {
        let target = format!("/api/chat/{room}/messages");
        Self { client, clock, person: person.to_owned(), target, attempts: Vec::new() }
    }

    /// The user's id.
    #[must_use]
    pub fn person(&self) -> &str {
        &self.person
    }

    /// Says something, once.
    pub fn say(&mut self, text: &str) -> &Outcome {
        self.attempt(text, None)
    }

    /// Says something under a `client_id`, which makes it safe to say again.
    pub fn say_as(&mut self, text: &str, client_id: &str) -> &Outcome {
        self.attempt(text, Some(client_id))
    }

    /// Where the next POST goes.
    pub fn move_to(&mut self, server: SocketAddr) {
        self.client.move_to(server);
    }

    /// What it tried so far.
    #[must_use]
    pub fn attempts(&self) -> &[Attempt] {
        &self.attempts
    }

    /// Hands over what it tried.
    #[must_use]
    pub fn into_attempts(self) -> Vec<Attempt> {
        self.attempts
    }

    fn attempt(&mut self, text: &str, client_id: Option<&str>) -> &Outcome {
        let mut request =
            Request::new("POST", &self.target).header("Content-Type", "text/plain; charset=utf-8");
        if let Some(client_id) = client_id {
            request = request.header("Idempotency-Key", client_id);
        }
        let sent = self.clock.now();
        let outcome = outcome(&self.client.send(&request.body(text)));
        self.attempts.push(Attempt {
            person: self.person.clone(),
            client_id: client_id.map(str::to_owned),
            server: self.client.server().to_string(),
            act: Act::Say(text.to_owned()),
            sent,
            answered: self.clock.now(),
            outcome,
        });
        &self.attempts[self.attempts.len() - 1].outcome
    }
}

/// What may be concluded from the answer to a POST that speaks. In doubt it is [`Outcome::Unknown`].
#[must_use]
pub fn outcome(answer: &Result<Response, Error>) -> Outcome {
    let answer = match answer {
        Ok(answer) => answer,
        Err(e) if e.kind == ErrorKind::Connect => {
            return Outcome::Refused { status: 0, code: e.what.clone() };
        }
        Err(e) => return Outcome::Unknown(e.to_string()),
    };
    let json = answer.json();
    let code = json["code"].as_str().unwrap_or_default().to_owned();
    match answer.status {
        200 | 201 => ack(&json).map_or_else(
            || Outcome::Unknown(format!("{} {}", answer.status, answer.text())),
            Outcome::Acknowledged,
        ),
        400..=499 => Outcome::Refused { status: answer.status, code },
        503 if code == "overloaded" || code == "store_unavailable" => Outcome::Refused { status: 503, code },
        status => Outcome::Unknown(format!("{status} {code}")),
    }
}

fn ack(json: &Value) -> Option<Ack> {
    let cursor = json["cursor"].as_str()?.parse().ok()?;
    Some(Ack {
        cursor,
        id: json["id"].as_str()?.to_owned(),
        ts: json["ts"].as_u64()?,
        duplicate: json["duplicate"].as_bool()?,
    })
}

#[derive(serde::Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    events: Vec<&'a RawValue>,
    before: Option<String>,
}

#[derive(serde::Deserialize)]
struct Place {
    epoch: u64,
    seq: u64,
}

/// Reads a room's whole log by `GET /api/history`, page after page from the end, each event's JSON as it was sent.
///
/// # Errors
/// As [`Client::send`]; anything that is no history page is [`ErrorKind::Framing`].
pub fn whole_log(client: &mut Client, room: &str) -> Result<Vec<Kept>, Error> {
    let room = percent_encoded(room);
    let mut pages: Vec<Vec<Kept>> = Vec::new();
    let mut before = None;
    loop {
        let rest = before.map_or(String::new(), |cursor: String| format!("&before={cursor}"));
        let answer = client.get(&format!("/api/history?room={room}&limit=200{rest}"))?;
        let strange =
            || Error::new(ErrorKind::Framing, format!("no page: {} {}", answer.status, answer.text()));
        let page: Page<'_> = serde_json::from_slice(&answer.body).map_err(|_| strange())?;
        let mut events = Vec::new();
        for raw in page.events {
            let place: Place = serde_json::from_str(raw.get()).map_err(|_| strange())?;
            let cursor = crate::cursor::Cursor::new(place.epoch, place.seq);
            events.push(Kept { cursor, data: raw.get().to_owned() });
        }
        let first = |page: &Vec<Kept>| page.first().map(|kept| kept.cursor);
        let goes_back = pages.last().is_none_or(|later| first(&events) < first(later));
        if !goes_back {
            return Err(Error::new(ErrorKind::Framing, "a page before another is not before it"));
        }
        before = page.before.filter(|_| !events.is_empty());
        pages.push(events);
        if before.is_none() {
            return Ok(pages.into_iter().rev().flatten().collect());
        }
    }
}

/// A room's name as a part of a path or query.
#[must_use]
pub fn percent_encoded(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::parse_head;

    fn answer(status: u16, body: &str) -> Result<Response, Error> {
        let head = format!("HTTP/1.1 {status} X\r\n\r\n");
        let headers = parse_head(head.as_bytes()).unwrap().unwrap().0.headers;
        Ok(Response { status, headers, body: body.as_bytes().to_vec() })
    }

    #[test]
    fn only_answers_that_say_so_are_refusals() {
        let refused = |o: &Outcome| matches!(o, Outcome::Refused { .. });
        let unknown = |o: &Outcome| matches!(o, Outcome::Unknown(_));
        assert!(refused(&outcome(&answer(429, r#"{"code":"rate_limited"}"#))));
        assert!(refused(&outcome(&answer(503, r#"{"code":"overloaded"}"#))));
        assert!(refused(&outcome(&Err(Error::new(ErrorKind::Connect, "refused")))));
        assert!(unknown(&outcome(&answer(503, r#"{"code":"outcome_unknown"}"#))));
        assert!(unknown(&outcome(&answer(500, ""))));
        assert!(unknown(&outcome(&answer(201, "{}"))));
        assert!(unknown(&outcome(&Err(Error::new(ErrorKind::Closed, "reset")))));
        let body = r#"{"id":"x","cursor":"1-2","ts":5,"duplicate":false}"#;
        let ack =
            Ack { cursor: crate::cursor::Cursor::new(1, 2), id: "x".to_owned(), ts: 5, duplicate: false };
        assert_eq!(outcome(&answer(201, body)), Outcome::Acknowledged(ack));
    }

    #[test]
    fn names_of_any_script_become_paths() {
        assert_eq!(percent_encoded("lobby_1-a"), "lobby_1-a");
        assert_eq!(percent_encoded("수 a/b"), "%EC%88%98%20a%2Fb");
    }
}
