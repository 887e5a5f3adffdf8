//! A fault, tried once for each seed.

use super::{Cast, Progress, Trial, results};
use crate::harness::{Maru, stage};

/// Something is done after about a hundred messages, and about three hundred more are said after it; `judge` looks at
/// what came of it. `fault` says what is done, in a sentence.
pub fn harmed(fault: &str, harm: impl Fn(&mut Maru, &Progress), judge: impl Fn(&Trial)) {
    harmed_on(|| Maru::on_servers_of_its_own(&[], None), fault, harm, judge);
}

/// The same, to pods that are started in a way of their own.
pub fn harmed_on(
    start: impl Fn() -> Maru,
    fault: &str,
    harm: impl Fn(&mut Maru, &Progress),
    judge: impl Fn(&Trial),
) {
    let first = number("MARU_TEST_SEED");
    for seed in first..first + number("MARU_TEST_SEEDS") {
        let told = Told { fault, seed };
        let trial = Trial::run(start().drawn_from(seed), &Cast::SMALL, |maru, progress| {
            progress.go_on(100);
            harm(maru, progress);
            progress.go_on(300);
        });
        results::write(&trial, fault, seed);
        judge(&trial);
        drop(told);
    }
}

/// Says which of them failed.
struct Told<'a> {
    fault: &'a str,
    seed: u64,
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}: it failed with MARU_TEST_SEED={} on {:?}", self.fault, self.seed, stage());
        }
    }
}

fn number(name: &str) -> u64 {
    std::env::var(name).map_or(1, |n| n.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}
