//! Appends a second, through pods and by the bare script.

use super::Setting;
use super::bed::{Bed, Carrier};
use super::costs::{Cast, Costs};
use super::script::{self, Script};
use crate::load::crowd::Crowd;
use crate::load::plot::{Chart, Charts, Line};
use crate::load::target::Target;
use crate::load::{Failure, mean};
use serde::Serialize;
use std::fmt;
use std::time::{Duration, Instant};
use testbed::{MariaDb, Redis};

/// What comes first makes the rooms' heads, and connections warm.
const WARM_UP: Duration = Duration::from_millis(500);

/// People in the raw script's messages: as many make its keys as varied as a crowd's.
const PEOPLE: usize = 200;

/// Who appends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Way {
    /// The script, pipelined.
    Raw,
    /// One pod, the database away: appends alone.
    OnePod,
    /// Three pods, the database away.
    ThreePods,
    /// Three pods, which store at the same time.
    ThreePodsStoring,
}

/// One measurement.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Measured {
    way: Way,
    /// Rooms that were spoken in, in turns.
    rooms: usize,
    /// Which of the rounds, from 1.
    round: usize,
    /// Appends, each of them acknowledged.
    appends: u64,
    /// Appends a second.
    per_second: f64,
    /// This by that of the raw script in the same round.
    ratio: f64,
    /// POST until its answer (ms).
    answer_p50_ms: f64,
    /// POST until its answer (ms).
    answer_p99_ms: f64,
    /// CPU for each append.
    costs: Costs,
}

/// All measurements.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    runs: Vec<Measured>,
}

const WAYS: [Way; 4] = [Way::Raw, Way::OnePod, Way::ThreePods, Way::ThreePodsStoring];

pub(super) fn measure(setting: &Setting, maria: &MariaDb) -> Result<Report, Failure> {
    let mut runs: Vec<Measured> = Vec::new();
    for round in 1..=setting.rounds {
        for rooms in [setting.rooms, 1] {
            let mut raw = f64::NAN;
            for way in WAYS {
                let mut measured = match way {
                    Way::Raw => by_script(setting, rooms)?,
                    _ => through_pods(setting, maria, way, rooms)?,
                };
                if way == Way::Raw {
                    raw = measured.per_second;
                }
                (measured.round, measured.ratio) = (round, measured.per_second / raw);
                eprintln!("{measured}");
                runs.push(measured);
            }
        }
    }
    Ok(Report { runs })
}

fn by_script(setting: &Setting, rooms: usize) -> Result<Measured, Failure> {
    let redis = Redis::with(setting.aof, &[]);
    let mut script = Script::alone(redis.port(), script::rooms(rooms), PEOPLE)?;
    let for_so_long = |time: Duration| {
        let start = Instant::now();
        // One room has one outbox, which nobody empties here.
        move |sent: u64| start.elapsed() >= time || sent >= 90_000
    };
    script.drive(|sent| sent >= 2000)?;
    let watch = Cast { redis: Some(redis.pid()), ..Cast::default() }.watch()?;
    let driven = script.drive(for_so_long(setting.time))?;
    let costs = watch.stop(driven.appends)?;
    Ok(Measured::new(Way::Raw, rooms, driven.appends, driven.wall, costs))
}

fn through_pods(setting: &Setting, maria: &MariaDb, way: Way, rooms: usize) -> Result<Measured, Failure> {
    let bed = Bed::new(maria, setting.aof, Carrier::Redis, setting.maru.clone());
    let pods = bed.pods(if way == Way::OnePod { 1 } else { 3 })?;
    let addresses: Vec<_> = pods.iter().map(Target::address).collect();
    let measured = (|| {
        let names: Vec<_> = (0..rooms).map(script::room_name).collect();
        let mut crowd = Crowd::new(setting.speakers, &addresses, &names, "")?;
        crowd.speak(WARM_UP, setting.depth)?;
        bed.wait_stored()?;
        let is_away = way != Way::ThreePodsStoring;
        if is_away {
            maria.hang();
        }
        let cast = Cast {
            redis: Some(bed.redis.pid()),
            maria: Some(maria.pid()),
            pods: pods.iter().map(|pod| pod.pid).collect(),
            nats: None,
        };
        let spoken = cast.watch().and_then(|watch| {
            let spoken = crowd.speak(setting.time, setting.depth)?;
            let costs = watch.stop(spoken.acknowledged)?;
            Ok((spoken, costs))
        });
        if is_away {
            maria.go_on();
        }
        let (spoken, costs) = spoken?;
        bed.wait_stored()?;
        bed.check(&crowd.said())?;
        let mut measured = Measured::new(way, rooms, spoken.acknowledged, spoken.wall, costs);
        let ms = |quantile: f64| spoken.answer.value_at_quantile(quantile) as f64 / 1e6;
        (measured.answer_p50_ms, measured.answer_p99_ms) = (ms(0.5), ms(0.99));
        Ok(measured)
    })();
    measured.map_err(|e| pods[0].explain(e))
}

impl Measured {
    fn new(way: Way, rooms: usize, appends: u64, wall: Duration, costs: Costs) -> Self {
        let per_second = appends as f64 / wall.as_secs_f64();
        let (ratio, round) = (f64::NAN, 0);
        Self { way, rooms, round, appends, per_second, ratio, answer_p50_ms: 0.0, answer_p99_ms: 0.0, costs }
    }
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw script",
            Self::OnePod => "one pod",
            Self::ThreePods => "three pods",
            Self::ThreePodsStoring => "three pods, storing",
        }
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "appends round {} {:4} rooms {:19}: {:6.0}/s, {:.2} of raw, answer p50 {:.1} p99 {:.1} ms; {}",
            self.round,
            self.rooms,
            self.way.name(),
            self.per_second,
            self.ratio,
            self.answer_p50_ms,
            self.answer_p99_ms,
            self.costs
        )
    }
}

impl Charts for Report {
    fn charts(&self) -> Vec<Chart> {
        let most = self.runs.iter().map(|run| run.rooms).max();
        let line = |way: Way| {
            let of = self.runs.iter().filter(move |run| run.way == way && Some(run.rooms) == most);
            Line::new(way.name(), of.map(|run| (run.round as f64, run.per_second)))
        };
        let lines = WAYS.into_iter().map(line).collect();
        vec![Chart::new("pods-appends", "POSTs through pods into Redis", "round", "a second", lines)]
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rooms: Vec<usize> = self.runs.iter().map(|run| run.rooms).collect();
        rooms.sort_unstable();
        rooms.dedup();
        write!(
            f,
            "appends              rooms appends/s of raw  (least–most)  p50 ms  p99 ms  µs each: redis   pods loader"
        )?;
        for rooms in rooms.into_iter().rev() {
            for way in WAYS {
                let runs: Vec<_> =
                    self.runs.iter().filter(|run| (run.way, run.rooms) == (way, rooms)).collect();
                let mean = |what: fn(&Measured) -> f64| mean(runs.iter().map(|run| what(run)));
                let ratios = || runs.iter().map(|run| run.ratio);
                write!(
                    f,
                    "\n  {:19}{rooms:5} {:9.0} {:6.2}   {:.2}–{:.2}    {:7.2} {:7.2} {:15.1} {:6.1} {:6.1}",
                    way.name(),
                    mean(|run| run.per_second),
                    mean(|run| run.ratio),
                    ratios().fold(f64::MAX, f64::min),
                    ratios().fold(0.0, f64::max),
                    mean(|run| run.answer_p50_ms),
                    mean(|run| run.answer_p99_ms),
                    mean(|run| run.costs.redis_us),
                    mean(|run| run.costs.pods_us),
                    mean(|run| run.costs.loader_us),
                )?;
            }
        }
        Ok(())
    }
}
