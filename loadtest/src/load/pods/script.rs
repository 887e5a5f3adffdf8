//! The server's own script, driven raw: what Redis does at best, and a way to fill the outbox without a pod.

use super::resp::{Reply, Resp, command};
use crate::load::Failure;
use crate::load::crowd;
use std::fmt::Write;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const APPEND: &str = include_str!("../../../../src/log/redis/append.lua");
const BEGIN: &str = include_str!("../../../../src/log/redis/begin.lua");
const SEED: &str = include_str!("../../../../src/log/redis/seed.lua");

/// As many as there are in the server.
pub(super) const PARTITIONS: usize = 128;

/// Most entries of an outbox, as the server says it.
const OUTBOX: &str = "100000";

/// Commands sent in one go. Two such batches are under way, so that Redis never waits for us.
const BATCH: usize = 128;

/// Where the script is called: a generation of a process.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) generation: String,
    pub(super) run: String,
}

/// A room without a pod.
#[derive(Clone, Debug)]
pub(super) struct Room {
    pub(super) id: [u8; 16],
    pub(super) label: String,
    hex: String,
    partition: usize,
}

/// What is said: the `k`th message of all, into one room after the other.
pub(super) struct Message {
    pub(super) room: usize,
    /// Its place, if nobody else speaks there.
    pub(super) seq: u64,
    pub(super) id: [u8; 16],
    pub(super) user: [u8; 16],
    pub(super) name: String,
    pub(super) text: String,
}

/// How the script fared.
pub(super) struct Driven {
    pub(super) appends: u64,
    pub(super) wall: Duration,
}

/// The name of the n-th room.
pub(super) fn room_name(n: usize) -> String {
    format!("load-{n}")
}

/// Rooms of these many labels, spread evenly over all partitions.
pub(super) fn rooms(count: usize) -> Vec<Room> {
    let room = |n: usize| {
        let mut id = noise(n as u64, 1);
        id[15] = (n % PARTITIONS) as u8;
        let hex = id.iter().fold(String::new(), |mut hex, byte| {
            // Writing to a String does not fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        Room { id, label: room_name(n), hex, partition: n % PARTITIONS }
    };
    (0..count).map(room).collect()
}

impl Message {
    /// The `k`th, with so many rooms and people.
    pub(super) fn new(k: u64, rooms: usize, people: usize) -> Self {
        let person = k % people as u64;
        Self {
            room: (k % rooms as u64) as usize,
            seq: k / rooms as u64 + 1,
            id: noise(k, 2),
            user: noise(person, 3),
            name: format!("Person {person}"),
            text: crowd::text(0, k),
        }
    }
}

/// A raw caller of the script.
pub(super) struct Script {
    resp: Resp,
    append: String,
    place: Place,
    rooms: Vec<Room>,
    people: usize,
    said: u64,
}

impl Script {
    /// On a Redis that no pod knows of: begins a generation in all partitions.
    pub(super) fn alone(port: u16, rooms: Vec<Room>, people: usize) -> Result<Self, Failure> {
        let mut resp = Resp::connect(port)?;
        let place = Place { generation: "1".to_owned(), run: "a".repeat(40) };
        for p in 0..PARTITIONS {
            // Idempotency keys have been complete for ever.
            let args = ["1", &meta(p), &place.generation, &place.run, "0"];
            eval(&mut resp, BEGIN, &args.map(str::as_bytes))?;
        }
        Self::at(resp, place, rooms, people)
    }

    /// On a Redis that pods have agreed on.
    pub(super) fn beside_pods(port: u16, rooms: Vec<Room>, people: usize) -> Result<Self, Failure> {
        let mut resp = Resp::connect(port)?;
        let place = agreed(&mut resp)?;
        Self::at(resp, place, rooms, people)
    }

    fn at(mut resp: Resp, place: Place, rooms: Vec<Room>, people: usize) -> Result<Self, Failure> {
        for room in &rooms {
            let (p, generation) = (room.partition, &place.generation);
            let key = |what: &str| format!("maru:{{{p}}}:{generation}:{what}");
            let of_room = |what: &str| key(&format!("{what}:{}", room.hex));
            let keys = [meta(p), of_room("room"), key("recent"), of_room("members"), of_room("read")];
            let mut args: Vec<&[u8]> = vec![b"5"];
            args.extend(keys.iter().map(String::as_bytes));
            args.extend([generation.as_bytes(), place.run.as_bytes(), b"0"]);
            args.extend([&b"1"[..], b"0", b"0", b"0", b"1", b"[]", &room.id]);
            eval(&mut resp, SEED, &args)?;
        }
        let loaded = resp.ask(&[b"SCRIPT", b"LOAD", APPEND.as_bytes()])?;
        let append = loaded.text().unwrap_or_default().to_owned();
        Ok(Self { resp, append, place, rooms, people, said: 0 })
    }

    /// Goes on until `until` says that it is enough; it is given the number of appends so far.
    pub(super) fn drive(&mut self, mut until: impl FnMut(u64) -> bool) -> Result<Driven, Failure> {
        let start = Instant::now();
        let (mut sent, mut done) = (0, 0);
        let mut batch = Vec::new();
        while sent == 0 || done < sent {
            while sent < done + 2 * BATCH as u64 && !until(sent) {
                batch.clear();
                for _ in 0..BATCH {
                    self.append(&mut batch);
                }
                self.resp.send(&batch)?;
                sent += BATCH as u64;
            }
            for _ in 0..BATCH {
                let reply = self.resp.reply()?;
                if reply.word() != Some("OK") {
                    return Err(Failure::Wrong(format!("the script said {reply:?}")));
                }
            }
            done += BATCH as u64;
        }
        Ok(Driven { appends: done, wall: start.elapsed() })
    }

    /// The next message, as a pod would send it.
    fn append(&mut self, out: &mut Vec<u8>) {
        let message = Message::new(self.said, self.rooms.len(), self.people);
        self.said += 1;
        let room = &self.rooms[message.room];
        let (p, hex) = (room.partition, &room.hex);
        let now = millis();
        let key = |what: &str| format!("maru:{{{p}}}:{}:{what}", self.place.generation);
        let user = dashed(&message.user);
        let idem = |day: u128| format!("maru:{{{p}}}:idem:{hex}:{}:{day}", user.replace('-', ""));
        let day = now / 86_400_000;
        let keys = [
            meta(p),
            key(&format!("room:{hex}")),
            key(&format!("log:{hex}")),
            key(&format!("fix:{hex}")),
            key("out"),
            key("recent"),
            idem(day),
            idem(day - 1),
        ];
        let now = now.to_string();
        let head = format!(r#"{{"room":"{}","epoch":"#, room.label);
        let middle = format!(
            r#","id":"{}","type":"message","user":{{"id":"{user}","name":"{}","kind":"guest"}},"text":"{}","ts":"#,
            dashed(&message.id),
            message.name,
            message.text
        );
        let channel = format!("maru:{{{p}}}:say:{hex}");
        let mut words: Vec<&[u8]> = vec![b"EVALSHA", self.append.as_bytes(), b"8"];
        words.extend(keys.iter().map(String::as_bytes));
        words.extend([self.place.generation.as_bytes(), self.place.run.as_bytes(), now.as_bytes()]);
        words.extend([&room.id[..], OUTBOX.as_bytes(), b"message", &message.id]);
        words.extend([head.as_bytes(), middle.as_bytes(), b"}"]);
        // No idempotency key, no target.
        words.extend([&b""[..], b"", b"", b"", user.as_bytes(), b"", b"", channel.as_bytes()]);
        command(out, &words);
    }
}

/// The generation that pods have agreed on.
pub(super) fn agreed(resp: &mut Resp) -> Result<Place, Failure> {
    let mut field = |name: &[u8]| {
        let reply = resp.ask(&[b"HGET", meta(0).as_bytes(), name])?;
        let text = reply.text().map(str::to_owned);
        text.ok_or_else(|| Failure::Setup("the pods have not agreed on this Redis".to_owned()))
    };
    Ok(Place { generation: field(b"generation")?, run: field(b"run")? })
}

/// Entries in all outboxes.
pub(super) fn outbox(resp: &mut Resp, place: &Place) -> Result<u64, Failure> {
    let mut batch = Vec::new();
    for p in 0..PARTITIONS {
        command(&mut batch, &[b"XLEN", format!("maru:{{{p}}}:{}:out", place.generation).as_bytes()]);
    }
    resp.send(&batch)?;
    let mut sum = 0;
    for _ in 0..PARTITIONS {
        match resp.reply()? {
            Reply::Number(n) => sum += u64::try_from(n).unwrap_or(0),
            other => return Err(Failure::Setup(format!("XLEN: {other:?}"))),
        }
    }
    Ok(sum)
}

/// A call of a script that answers `OK`: how many keys, the keys, and the arguments.
fn eval(resp: &mut Resp, script: &str, args: &[&[u8]]) -> Result<(), Failure> {
    let mut words: Vec<&[u8]> = vec![b"EVAL", script.as_bytes()];
    words.extend(args);
    let reply = resp.ask(&words)?;
    match reply.word() {
        Some("OK") => Ok(()),
        _ => Err(Failure::Setup(format!("a script said {reply:?}"))),
    }
}

fn meta(partition: usize) -> String {
    format!("maru:{{{partition}}}:meta")
}

/// Milliseconds since 1970.
pub(super) fn millis() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis())
}

/// 16 bytes that look random and are always the same (splitmix64).
fn noise(n: u64, kind: u64) -> [u8; 16] {
    let mix = |n: u64| {
        let mut z = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let first = mix(n.wrapping_add(kind << 48).wrapping_add(1));
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&first.to_be_bytes());
    bytes[8..].copy_from_slice(&mix(first).to_be_bytes());
    bytes
}

/// A UUID as it is written.
fn dashed(id: &[u8; 16]) -> String {
    id.iter().enumerate().fold(String::new(), |mut text, (at, byte)| {
        let dash = if matches!(at, 4 | 6 | 8 | 10) { "-" } else { "" };
        let _ = write!(text, "{dash}{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use testbed::Redis;

    #[test]
    fn the_server_s_scripts_take_what_is_sent_to_them() {
        let redis = Redis::start();
        let mut script = Script::alone(redis.port(), rooms(PARTITIONS), 10).unwrap();
        let driven = script.drive(|sent| sent >= 1000).unwrap();
        let place = Place { generation: "1".to_owned(), run: "a".repeat(40) };
        assert_eq!(outbox(&mut script.resp, &place).unwrap(), driven.appends);
    }

    #[test]
    fn no_two_messages_are_alike_and_places_are_counted_room_by_room() {
        let all: Vec<_> = (0..1000).map(|k| Message::new(k, 7, 3)).collect();
        assert_eq!(all.iter().map(|m| m.id).collect::<HashSet<_>>().len(), 1000);
        assert_eq!(all.iter().map(|m| m.user).collect::<HashSet<_>>().len(), 3);
        assert!(all.iter().all(|m| m.text.len() == crowd::TEXT));
        let of_room: Vec<_> = all.iter().filter(|m| m.room == 3).map(|m| m.seq).take(3).collect();
        assert_eq!(of_room, [1, 2, 3]);
    }

    #[test]
    fn rooms_lie_in_all_partitions() {
        let rooms = rooms(256);
        assert_eq!(rooms.iter().map(|r| r.partition).collect::<HashSet<_>>().len(), PARTITIONS);
        assert!(rooms.iter().all(|r| usize::from(r.id[15]) == r.partition && r.hex.len() == 32));
        assert_eq!(dashed(&[0xab; 16]), "abababab-abab-abab-abab-abababababab");
    }
}
