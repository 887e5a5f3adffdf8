use std::{fmt, time::Instant};

use tracing_subscriber::fmt::{format::Writer, time::FormatTime};

use super::{plan::Plan, run::run, shrink::shortened, time::now};
use crate::faults::{self, Fault};

/// Seeds of a test that is not long, and of one that is.
const SEEDS: (u64, u64) = (2000, 1_000_000);
/// After so many seeds that fail the rest need not be tried.
const MOST_FAILURES: usize = 40;
/// Seeds in which every fault has to be found.
const FOUND_WITHIN: u64 = 2000;

fn seeds() -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    if let Some(seed) = number("MARU_SEED") {
        return seed..seed + 1;
    }
    let is_long = std::env::var_os("MARU_TEST_LONG").is_some();
    0..number("MARU_SEEDS").unwrap_or(if is_long { SEEDS.1 } else { SEEDS.0 })
}

/// The plan of a failing seed, shortened, for people to read.
fn story(seed: u64) -> String {
    let (plan, outcome) = shortened(&Plan::of(seed));
    if std::env::var_os("MARU_SEED").is_some() {
        // What the pods say to it, by the clock of the run.
        let log = tracing_subscriber::fmt().with_timer(Clock).with_ansi(false).with_target(false);
        let log = log.with_max_level(tracing::Level::DEBUG).with_test_writer().finish();
        tracing::subscriber::with_default(log, || run(&plan));
    }
    let complaints: Vec<_> = outcome.complaints.iter().take(3).cloned().collect();
    format!("seed {seed}, shortened:\n{plan}{}", complaints.join("\n"))
}

struct Clock;

impl FormatTime for Clock {
    fn format_time(&self, w: &mut Writer<'_>) -> fmt::Result {
        write!(w, "{:8.4} s", now().as_secs_f64())
    }
}

#[test]
fn every_seed_keeps_the_promises() {
    faults::choose(None);
    let (since, mut failed) = (Instant::now(), Vec::new());
    let (mut polls, mut kept, mut fences, mut torn, mut left_out) = (0, 0, 0, 0, 0);
    for seed in seeds() {
        let outcome = run(&Plan::of(seed));
        polls += outcome.polls;
        kept += outcome.kept;
        fences += outcome.fences;
        left_out += outcome.left_out;
        torn += u64::from(outcome.is_torn);
        if !outcome.complaints.is_empty() {
            println!("seed {seed}: {}", outcome.complaints[0].lines().next().unwrap_or_default());
            failed.push(seed);
        }
        if failed.len() >= MOST_FAILURES {
            break;
        }
    }
    println!(
        "{:.1} s, {polls} steps, {kept} messages, {fences} agreements, {left_out} left out, {torn} new epochs",
        since.elapsed().as_secs_f64()
    );
    let stories: Vec<_> = failed.iter().take(2).map(|seed| story(*seed)).collect();
    assert!(failed.is_empty(), "seeds {failed:?} fail\n{}", stories.join("\n\n"));
}

#[test]
fn a_seed_is_one_run() {
    faults::choose(None);
    for seed in 0..20 {
        let [one, other] = [run(&Plan::of(seed)), run(&Plan::of(seed))];
        assert_eq!(format!("{one:?}"), format!("{other:?}"), "seed {seed}");
    }
}

/// How many seeds it takes until a run on a build with this fault fails, by what it is known.
fn found_after(fault: Fault, sign: &str) -> Option<u64> {
    faults::choose(Some(fault));
    let found = (0..FOUND_WITHIN)
        .find(|seed| run(&Plan::of(*seed)).complaints.iter().any(|complaint| complaint.contains(sign)));
    faults::choose(None);
    println!("{fault:?}: found after {:?} seeds", found.map(|seed| seed + 1));
    found
}

#[test]
fn every_fault_is_found() {
    let signs = [
        (Fault::AnswerBeforeCommit, "P2"),
        (Fault::ResumeOffByOne, "P5"),
        (Fault::NoSeam, "Hole"),
        (Fault::NoRepair, "Hole"),
        (Fault::BlindTrimming, "Lost"),
        (Fault::NoFence, "P2"),
        (Fault::NoScrub, "section 3"),
        (Fault::MissedBans, "P9"),
    ];
    let missed: Vec<_> =
        signs.into_iter().filter(|(fault, sign)| found_after(*fault, sign).is_none()).collect();
    assert!(missed.is_empty(), "{FOUND_WITHIN} seeds do not find {missed:?}");
}
