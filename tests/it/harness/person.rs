//! Somebody who chose a name, on whatever device and pod.

use loadtest::{
    http::{Client, Request, Response},
    stream::{Listen, Next, Stream},
};
use serde_json::{Value, json};

use super::{Maru, deadline, wait_for};

/// Somebody with a session.
#[derive(Clone)]
pub struct Person {
    pub id: String,
    pub name: String,
    pub bearer: String,
}

impl Person {
    pub fn new(maru: &Maru, name: &str) -> Self {
        let (token, user) = maru.sign_in(name);
        let id = user["id"].as_str().expect("an id").to_owned();
        Person { id, name: name.to_owned(), bearer: format!("Bearer {token}") }
    }

    pub fn several<const N: usize>(maru: &Maru, names: [&str; N]) -> [Self; N] {
        names.map(|name| Person::new(maru, name))
    }

    /// As others are told of them.
    pub fn told(&self) -> Value {
        json!({"id": self.id, "name": self.name})
    }

    /// One of their devices, at one of the pods.
    pub fn client(&self, maru: &Maru) -> Client {
        maru.client().header("Authorization", &self.bearer)
    }

    pub fn get(&self, maru: &Maru, target: &str) -> Response {
        self.client(maru).get(target).expect("an answer")
    }

    pub fn post(&self, maru: &Maru, target: &str, body: &Value) -> Response {
        self.client(maru).post_json(target, body).expect("an answer")
    }

    pub fn delete(&self, maru: &Maru, target: &str) -> Response {
        self.client(maru).send(&Request::new("DELETE", target)).expect("an answer")
    }

    pub fn patch(&self, maru: &Maru, target: &str, body: &Value) -> Response {
        let request = Request::new("PATCH", target).header("Content-Type", "application/json");
        self.client(maru).send(&request.body(body.to_string())).expect("an answer")
    }

    /// Makes a room with these; gives its id.
    pub fn room_with(&self, maru: &Maru, others: &[&Person], name: Option<&str>) -> String {
        let members: Vec<_> = others.iter().map(|other| &other.id).collect();
        let wish = match name {
            Some(name) => json!({"members": members, "name": name}),
            None => json!({"members": members}),
        };
        let made = self.post(maru, "/api/chat/", &wish);
        assert!(matches!(made.status, 200 | 201), "{}", made.text());
        made.json()["id"].as_str().expect("an id").to_owned()
    }

    /// Says something, which must be taken; gives its seq.
    pub fn say(&self, maru: &Maru, room: &str, text: &str) -> u64 {
        let said = self.post(maru, &format!("/api/chat/{room}/messages"), &json!({"text": text}));
        assert_eq!(said.status, 201, "{}", said.text());
        said.json()["seq"].as_u64().expect("a seq")
    }

    /// Waits until so much has come into their inbox: where there are many pods it follows the rooms.
    pub fn has_in_inbox(&self, maru: &Maru, count: usize) -> Vec<(String, Value)> {
        let mut events = Vec::new();
        wait_for("it is in the inbox", || {
            events = replayed(&mut self.listen(maru, "/api/events?since=all"));
            events.len() >= count
        });
        assert_eq!(events.len(), count, "{events:?}");
        events
    }

    pub fn listen(&self, maru: &Maru, target: &str) -> Stream {
        Listen::to(target).header("Authorization", &self.bearer).open(maru.address()).expect("a stream")
    }

    /// A stream that has had its replay.
    pub fn listen_live(&self, maru: &Maru, target: &str) -> Stream {
        let mut stream = self.listen(maru, target);
        stream.wait_for("live", deadline()).expect("the replay ends");
        stream
    }
}

/// The data of the next event of the log for which this holds.
pub fn next_where(stream: &mut Stream, mut holds: impl FnMut(&Value) -> bool) -> Value {
    loop {
        let event = next(stream, "message");
        if holds(&event) {
            return event;
        }
    }
}

/// The data of the next event of this name.
pub fn next(stream: &mut Stream, name: &str) -> Value {
    serde_json::from_str(&stream.wait_for(name, deadline()).expect(name).data).expect("JSON")
}

/// The log events that a stream brings until `live`, each with its cursor.
pub fn replayed(stream: &mut Stream) -> Vec<(String, Value)> {
    let mut events = Vec::new();
    loop {
        match stream.next_event(deadline()).expect("an event") {
            Next::Event(event) if event.name == "live" => return events,
            Next::Event(event) if event.name == "message" => {
                let data = serde_json::from_str(&event.data).expect("JSON");
                events.push((event.id.expect("a cursor"), data));
            }
            Next::Event(_) => {}
            other => panic!("{other:?} before it is live"),
        }
    }
}
