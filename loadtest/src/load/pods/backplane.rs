//! How late an event is, by what carries it from pod to pod.

use super::Setting;
use super::bed::{Bed, Carrier};
use crate::load::crowd;
use crate::load::plot::{Chart, Charts, Line};
use crate::load::readers::Readers;
use crate::load::run::{Pace, mark, run};
use crate::load::target::Target;
use crate::load::voices::Voices;
use crate::load::{Failure, Progress, mean, ms};
use serde::Serialize;
use std::fmt;
use std::time::Duration;
use testbed::MariaDb;

/// The one room.
const ROOM: &str = "load-0";

/// Between coming and speaking: presence has settled.
const REST: Duration = Duration::from_millis(1500);

/// What lies between the speaker and the reader.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Way {
    /// One pod on SQLite.
    Alone,
    /// Redis, to the pod itself.
    RedisSame,
    /// Redis, to another pod.
    RedisOther,
    /// NATS, to the pod itself.
    NatsSame,
    /// NATS, to another pod.
    NatsOther,
}

const WAYS: [Way; 5] = [Way::Alone, Way::RedisSame, Way::RedisOther, Way::NatsSame, Way::NatsOther];

/// One measurement.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Measured {
    way: Way,
    /// Messages a second.
    rate: f64,
    /// Which of the rounds, from 1.
    round: usize,
    /// Messages sent, all of which came.
    messages: u64,
    /// POST until its answer (ms).
    answer_p50_ms: f64,
    /// POST until its answer (ms).
    answer_p99_ms: f64,
    /// POST until the event is there (ms).
    event_p50_ms: f64,
    /// POST until the event is there (ms).
    event_p99_ms: f64,
    /// The answer until the event is there (ms); 0 where the event was first.
    after_answer_p50_ms: f64,
    /// The answer until the event is there (ms); 0 where the event was first.
    after_answer_p99_ms: f64,
}

/// All measurements.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    runs: Vec<Measured>,
}

pub(super) fn measure(setting: &Setting, maria: &MariaDb) -> Result<Report, Failure> {
    let mut runs = Vec::new();
    for round in 1..=setting.rounds {
        for way in WAYS {
            for &rate in &setting.rates {
                let mut measured = one(setting, maria, way, rate)?;
                measured.round = round;
                eprintln!("{measured}");
                runs.push(measured);
            }
        }
    }
    Ok(Report { runs })
}

fn one(setting: &Setting, maria: &MariaDb, way: Way, rate: f64) -> Result<Measured, Failure> {
    if way == Way::Alone {
        let alone = Target::maru(setting.maru.as_deref(), &["--rate-limit", "off"], false)?;
        return late(setting, way, rate, &alone, &alone).map_err(|e| alone.explain(e));
    }
    let is_nats = matches!(way, Way::NatsSame | Way::NatsOther);
    let carrier = if is_nats { Carrier::Nats } else { Carrier::Redis };
    let bed = Bed::new(maria, setting.aof, carrier, setting.maru.clone());
    let is_other = matches!(way, Way::RedisOther | Way::NatsOther);
    let pods = bed.pods(if is_other { 2 } else { 1 })?;
    let there = &pods[pods.len() - 1];
    let measured = late(setting, way, rate, &pods[0], there).map_err(|e| there.explain(e))?;
    bed.wait_stored()?;
    // Two that are not measured come first.
    let (rows, places) = (measured.messages + 2, "COUNT(*), COUNT(DISTINCT id), MAX(seq)");
    let stored = bed.database.sql(&format!("SELECT {places} FROM messages"));
    if stored != format!("{rows}\t{rows}\t{rows}") {
        return Err(Failure::Wrong(format!("of {rows} messages these are stored ({places}): {stored}")));
    }
    Ok(measured)
}

fn late(
    setting: &Setting,
    way: Way,
    rate: f64,
    speaks: &Target,
    listens: &Target,
) -> Result<Measured, Failure> {
    let messages = (rate * setting.time.as_secs_f64()) as u64;
    let mut readers = Readers::new()?;
    let mut voices = Voices::new(speaks.speaker(&[ROOM.to_owned()], 0)?);
    mark(&mut readers, &mut voices, "first")?;
    readers.open(0, 1, &listens.listening(ROOM, 1), &Progress::new("opening", 1))?;
    readers.idle(REST)?;
    mark(&mut readers, &mut voices, "here we go")?;
    let text = crowd::text(0, 0);
    let progress = Progress::new("messages", messages);
    let found = run(&mut readers, &mut voices, messages, Pace::PerSecond(rate), &text, &progress)?;
    Ok(Measured {
        way,
        rate,
        round: 0,
        messages,
        answer_p50_ms: ms(&found.answer, 0.5),
        answer_p99_ms: ms(&found.answer, 0.99),
        event_p50_ms: ms(&found.last_reader, 0.5),
        event_p99_ms: ms(&found.last_reader, 0.99),
        after_answer_p50_ms: ms(&found.after_answer, 0.5),
        after_answer_p99_ms: ms(&found.after_answer, 0.99),
    })
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::Alone => "alone, SQLite",
            Self::RedisSame => "Redis, same pod",
            Self::RedisOther => "Redis, other pod",
            Self::NatsSame => "NATS, same pod",
            Self::NatsOther => "NATS, other pod",
        }
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "backplane round {} {:5.0}/s {:16}: answer p50 {:.2} p99 {:.2}, event p50 {:.2} p99 {:.2}, \
             after the answer p50 {:.2} p99 {:.2} ms",
            self.round,
            self.rate,
            self.way.name(),
            self.answer_p50_ms,
            self.answer_p99_ms,
            self.event_p50_ms,
            self.event_p99_ms,
            self.after_answer_p50_ms,
            self.after_answer_p99_ms,
        )
    }
}

impl Report {
    /// All that were measured, ascending.
    fn rates(&self) -> Vec<f64> {
        let mut rates: Vec<f64> = self.runs.iter().map(|run| run.rate).collect();
        rates.sort_by(f64::total_cmp);
        rates.dedup();
        rates
    }

    /// Over all rounds.
    fn mean(&self, way: Way, rate: f64, what: fn(&Measured) -> f64) -> f64 {
        let is_of = |run: &&Measured| run.way == way && run.rate.total_cmp(&rate).is_eq();
        mean(self.runs.iter().filter(is_of).map(what))
    }
}

impl Charts for Report {
    fn charts(&self) -> Vec<Chart> {
        let line = |way: Way| {
            let p99 = |rate| (rate, self.mean(way, rate, |run| run.event_p99_ms));
            Line::new(way.name(), self.rates().into_iter().map(p99))
        };
        let lines = WAYS.into_iter().map(line).collect();
        vec![Chart::new("pods-backplane", "POST to its event, p99", "messages a second", "ms", lines)]
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "backplane (ms)       rate  answer p50    p99   event p50    p99   after answer p50    p99"
        )?;
        for rate in self.rates() {
            for way in WAYS {
                let mean = |what| self.mean(way, rate, what);
                write!(
                    f,
                    "\n  {:16} {rate:6.0}      {:6.2} {:6.2}      {:6.2} {:6.2}             {:6.2} {:6.2}",
                    way.name(),
                    mean(|run| run.answer_p50_ms),
                    mean(|run| run.answer_p99_ms),
                    mean(|run| run.event_p50_ms),
                    mean(|run| run.event_p99_ms),
                    mean(|run| run.after_answer_p50_ms),
                    mean(|run| run.after_answer_p99_ms),
                )?;
            }
        }
        Ok(())
    }
}
