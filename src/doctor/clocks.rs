//! Whether clocks agree.

use std::time::Duration;

use super::report::Report;

/// Pods that differ by more show times that go back and forth, end tokens early or late, and say wrongly how late events
/// are, in ms.
const MOST: i64 = 1000;

/// `theirs` was read at some moment of a question that took so long and ended at `now` (all in ms since 1970).
pub(super) fn compare(about: &'static str, theirs: i64, now: i64, took: Duration, report: &mut Report) {
    let took = i64::try_from(took.as_millis()).unwrap_or(i64::MAX);
    let ahead = theirs - (now - took / 2);
    let text = match ahead {
        0.. => format!("its clock is {ahead} ms ahead of this machine's, to {} ms", took / 2 + 1),
        _ => format!("its clock is {} ms behind this machine's, to {} ms", -ahead, took / 2 + 1),
    };
    if ahead.abs() > MOST + took / 2 {
        report.warn(about, format!("{text}: have NTP set both"));
    } else {
        report.ok(about, text);
    }
}
