//! Rows a second from the outbox into the database, and by a hand-written loop of the same INSERTs.

use super::Setting;
use super::bed::{Bed, Carrier};
use super::costs::{Cast, Costs};
use super::resp::Resp;
use super::script::{self, Message, Script};
use crate::load::plot::{Chart, Charts, Line};
use crate::load::target::Target;
use crate::load::{Failure, mean};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, Value};
use serde::Serialize;
use std::fmt;
use std::thread;
use std::time::{Duration, Instant};
use testbed::MariaDb;

/// Rows of one statement, and of one transaction.
const ROWS: usize = 1000;

/// People who speak.
const PEOPLE: usize = 200;

/// Nothing was stored for so long: the writer stands still.
const STALLED: Duration = Duration::from_secs(20);

/// Between two looks at the outbox.
const LOOK: Duration = Duration::from_millis(20);

/// How long the database is left alone between two measurements, so that none pays for the other's pages.
const REST: Duration = Duration::from_secs(2);

/// Columns that both write.
const COLUMNS: &str = "room_id, seq, epoch, id, kind, status, user_id, user_kind, user_name, text, target, ts, \
                       client_id, idem, idem_text";

/// Who writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Way {
    /// A prepared INSERT of 1,000 rows, over and over.
    Loop,
    /// One pod.
    OnePod,
    /// Three pods.
    ThreePods,
}

const WAYS: [Way; 3] = [Way::Loop, Way::OnePod, Way::ThreePods];

/// One measurement.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Measured {
    way: Way,
    /// Rooms that the rows are of.
    rooms: usize,
    /// Which of the rounds, from 1.
    round: usize,
    /// Rows stored while it was measured.
    rows: u64,
    /// Rows a second.
    per_second: f64,
    /// This by that of the loop in the same round.
    ratio: f64,
    /// CPU for each row.
    costs: Costs,
}

/// All measurements.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    runs: Vec<Measured>,
}

pub(super) fn measure(setting: &Setting, maria: &MariaDb) -> Result<Report, Failure> {
    let mut runs = Vec::new();
    for round in 1..=setting.rounds {
        let mut hand = f64::NAN;
        for way in WAYS {
            let (rows, wall, costs) = match way {
                Way::Loop => by_hand(setting, maria)?,
                Way::OnePod => by_pods(setting, maria, 1)?,
                Way::ThreePods => by_pods(setting, maria, 3)?,
            };
            let per_second = rows as f64 / wall.as_secs_f64();
            if way == Way::Loop {
                hand = per_second;
            }
            let (rooms, ratio) = (setting.rooms, per_second / hand);
            let measured = Measured { way, rooms, round, rows, per_second, ratio, costs };
            eprintln!("{measured}");
            runs.push(measured);
            thread::sleep(REST);
        }
    }
    Ok(Report { runs })
}

/// The loop, into a table that a pod has made.
fn by_hand(setting: &Setting, maria: &MariaDb) -> Result<(u64, Duration, Costs), Failure> {
    let bed = Bed::new(maria, setting.aof, Carrier::Redis, setting.maru.clone());
    drop(bed.pod()?);
    let watch = Cast { maria: Some(maria.pid()), ..Cast::default() }.watch()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let start = Instant::now();
    let written = runtime.block_on(write(bed.database.url(), setting));
    let rows = written.map_err(|e| Failure::Setup(format!("the hand-written loop: {e}")))?;
    let wall = start.elapsed();
    bed.check(&[rows])?;
    Ok((rows, wall, watch.stop(rows)?))
}

async fn write(url: &str, setting: &Setting) -> mysql_async::Result<u64> {
    let mut conn = Conn::new(Opts::from_url(url)?).await?;
    let rooms = script::rooms(setting.rooms);
    let row = "(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)";
    let sql = format!("INSERT INTO messages ({COLUMNS}) VALUES {}", vec![row; ROWS].join(","));
    let statement = conn.prep(sql).await?;
    let now = script::millis() as u64;
    let mut done = 0;
    while done < setting.rows {
        let mut batch: Vec<Message> =
            (done..done + ROWS as u64).map(|k| Message::new(k, rooms.len(), PEOPLE)).collect();
        // As a pod does: in the order of the primary key.
        batch.sort_by_key(|message| (rooms[message.room].id, message.seq));
        let mut params: Vec<Value> = Vec::with_capacity(ROWS * 15);
        for message in batch {
            params.extend([
                Value::from(&rooms[message.room].id[..]),
                message.seq.into(),
                1.into(),
                Value::from(&message.id[..]),
                "message".into(),
                Value::NULL,
                Value::from(&message.user[..]),
                "guest".into(),
                message.name.into(),
                message.text.into(),
                Value::NULL,
                now.into(),
                Value::NULL,
                Value::NULL,
                Value::NULL,
            ]);
        }
        conn.exec_drop(&statement, params).await?;
        done += ROWS as u64;
    }
    conn.disconnect().await?;
    Ok(done)
}

/// The same messages: put into the outbox while nobody writes, then drained.
fn by_pods(setting: &Setting, maria: &MariaDb, count: usize) -> Result<(u64, Duration, Costs), Failure> {
    let bed = Bed::new(maria, setting.aof, Carrier::Redis, setting.maru.clone());
    drop(bed.pod()?);
    if bed.database.sql("SELECT losses FROM fence") != "0" {
        return Err(Failure::Setup("a new store counts a loss: rooms do not begin at epoch 1".to_owned()));
    }
    let mut script = Script::beside_pods(bed.redis.port(), script::rooms(setting.rooms), PEOPLE)?;
    let filled = script.drive(|sent| sent >= setting.rows)?.appends;
    let pods = bed.pods(count)?;
    let drained = drained(&bed, maria, &pods, filled).map_err(|e| pods[0].explain(e))?;
    bed.check(&[filled])?;
    Ok(drained)
}

fn drained(
    bed: &Bed,
    maria: &MariaDb,
    pods: &[Target],
    filled: u64,
) -> Result<(u64, Duration, Costs), Failure> {
    let mut resp = Resp::connect(bed.redis.port())?;
    let place = script::agreed(&mut resp)?;
    let cast = Cast {
        redis: Some(bed.redis.pid()),
        maria: Some(maria.pid()),
        pods: pods.iter().map(|pod| pod.pid).collect(),
        nats: None,
    };
    // It counts from the first batch that is stored: who owns what has been settled then. With several pods
    // others may still wait for their turn; that belongs to the figure.
    let mut from: Option<(u64, Instant, super::costs::Watch)> = None;
    let (mut least, mut moved) = (filled, Instant::now());
    loop {
        let left = script::outbox(&mut resp, &place)?;
        let now = Instant::now();
        if left < least {
            (least, moved) = (left, now);
            if from.is_none() {
                from = Some((left, now, cast.watch()?));
            }
        }
        match from.take() {
            Some((before, since, watch)) if left == 0 => {
                return Ok((before, now - since, watch.stop(before)?));
            }
            earlier => from = earlier,
        }
        if moved.elapsed() > STALLED {
            return Err(Failure::Late(format!(
                "{left} entries are left and none was stored for {STALLED:?}"
            )));
        }
        thread::sleep(LOOK);
    }
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::Loop => "hand-written loop",
            Self::OnePod => "one pod",
            Self::ThreePods => "three pods",
        }
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { way, rooms, round, rows, per_second, ratio, costs } = self;
        write!(
            f,
            "drain round {round} {rooms:4} rooms {:17}: {per_second:6.0} rows/s, {ratio:.2} of the loop ({rows} rows); {costs}",
            way.name()
        )
    }
}

impl Charts for Report {
    fn charts(&self) -> Vec<Chart> {
        let line = |way: Way| {
            let of = self.runs.iter().filter(move |run| run.way == way);
            Line::new(way.name(), of.map(|run| (run.round as f64, run.per_second)))
        };
        let lines = WAYS.into_iter().map(line).collect();
        vec![Chart::new("pods-drain", "Rows from the outbox into the database", "round", "a second", lines)]
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "drain                  rows/s of loop  (least–most)  µs each: redis mariadb   pods loader"
        )?;
        for way in WAYS {
            let runs: Vec<_> = self.runs.iter().filter(|run| run.way == way).collect();
            let mean = |what: fn(&Measured) -> f64| mean(runs.iter().map(|run| what(run)));
            let ratios = || runs.iter().map(|run| run.ratio);
            write!(
                f,
                "\n  {:19} {:7.0} {:7.2}   {:.2}–{:.2}   {:15.1} {:7.1} {:6.1} {:6.1}",
                way.name(),
                mean(|run| run.per_second),
                mean(|run| run.ratio),
                ratios().fold(f64::MAX, f64::min),
                ratios().fold(0.0, f64::max),
                mean(|run| run.costs.redis_us),
                mean(|run| run.costs.maria_us),
                mean(|run| run.costs.pods_us),
                mean(|run| run.costs.loader_us),
            )?;
        }
        Ok(())
    }
}
