//! A correct server and its clients, made up: histories in which every promise is kept.

use super::*;

/// What a correct server and its clients would have done, made up from a seed.
pub(super) struct Model {
    random: u64,
    time: u64,
    log: Vec<Kept>,
}

pub(super) const fn at(seq: u64) -> Cursor {
    Cursor::new(1, seq)
}

pub(super) const fn ms(time: u64) -> Duration {
    Duration::from_millis(time)
}

pub(super) fn data(cursor: Cursor, user: &str, client_id: Option<&str>, text: &str) -> String {
    let Cursor { epoch, seq } = cursor;
    let id = format!("id-{cursor}");
    let ts = 1000 + seq / 2;
    serde_json::json!({
        "room": "lobby", "epoch": epoch, "seq": seq, "id": id, "type": "message",
        "user": {"id": user}, "text": text, "ts": ts, "client_id": client_id,
    })
    .to_string()
}

impl Model {
    fn new(seed: u64) -> Self {
        Self { random: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1, time: 0, log: Vec::new() }
    }

    fn below(&mut self, n: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % n
    }

    fn tick(&mut self) -> Duration {
        self.time += 1 + self.below(3);
        ms(self.time)
    }

    /// Says something; sometimes the answer is lost and it is said again under the same `client_id`.
    fn speak(&mut self, attempts: &mut Vec<Attempt>) {
        let person = format!("u{}", self.below(3));
        let text = format!("text {}", self.log.len());
        let client_id = (self.below(2) == 0).then(|| format!("c{}", self.log.len()));
        let cursor = at(self.log.len() as u64 + 1);
        let attempt = |sent, answered, outcome| Attempt {
            person: person.clone(),
            client_id: client_id.clone(),
            server: String::new(),
            act: Act::Say(text.clone()),
            sent,
            answered,
            outcome,
        };
        let sent = self.tick();
        if self.below(8) == 0 {
            let refused = Outcome::Refused { status: 429, code: "rate_limited".to_owned() };
            return attempts.push(attempt(sent, self.tick(), refused));
        }
        let data = data(cursor, &person, client_id.as_deref(), &text);
        self.log.push(Kept { cursor, data });
        let ts = 1000 + cursor.seq / 2;
        let ack =
            |duplicate| Outcome::Acknowledged(Ack { cursor, id: format!("id-{cursor}"), ts, duplicate });
        let lost = self.below(5) == 0;
        let first = if lost { Outcome::Unknown("closed".to_owned()) } else { ack(false) };
        attempts.push(attempt(sent, self.tick(), first));
        if client_id.is_some() && self.below(3) == 0 {
            let again = self.tick();
            attempts.push(attempt(again, self.tick(), ack(true)));
        }
    }

    /// Lets a reader take up to three events, connecting first where it must and cutting now and then.
    fn read(&mut self, reader: &mut ReaderLog, connected: &mut bool) {
        if !*connected {
            let asked = reader.cursor().map_or(Asked::Fresh, Asked::Own);
            reader.connected(self.tick(), asked);
            let start = reader.cursor().unwrap_or(at((self.log.len() as u64).saturating_sub(2)));
            reader.note(self.tick(), Sight::Hello(start));
            *connected = true;
        }
        for _ in 0..self.below(4) {
            self.take(reader);
        }
        if self.below(4) == 0 {
            reader.ended(self.tick(), End::Cut);
            *connected = false;
        }
    }

    fn take(&mut self, reader: &mut ReaderLog) {
        let have = reader.cursor().map_or(0, |c| c.seq as usize);
        if let Some(Kept { cursor, data }) = self.log.get(have).cloned() {
            reader.note(self.tick(), Sight::Event { cursor, data });
        }
    }
}

/// A history in which every promise is kept.
pub(super) fn correct(seed: u64) -> History {
    let mut model = Model::new(seed);
    let mut attempts = Vec::new();
    let mut readers: Vec<_> = (0..4).map(|i| (ReaderLog::new(&format!("r{i}")), false)).collect();
    for _ in 0..60 {
        model.speak(&mut attempts);
        for (reader, connected) in &mut readers {
            model.read(reader, connected);
        }
    }
    let readers = readers.into_iter().map(|(mut reader, connected)| {
        if !connected {
            let asked = reader.cursor().unwrap();
            reader.connected(model.tick(), Asked::Own(asked));
            reader.note(model.tick(), Sight::Hello(asked));
        }
        while reader.cursor().unwrap().seq < model.log.len() as u64 {
            model.take(&mut reader);
        }
        reader.reads_to_the_end();
        reader
    });
    let readers = readers.collect();
    History { room: "lobby".to_owned(), attempts, readers, end: Some(model.log), ..History::default() }
}
