//! What came of faults: each run a line of JSON, all of them a table in Markdown.

use crate::checker::{Sort, Verdict};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::BufRead;
use std::path::Path;

/// One trial: people spoke and listened while something was done to the servers.
#[derive(Clone, Default, Debug, Serialize, Deserialize)]
pub struct Run {
    /// What was done, in a sentence.
    pub fault: String,
    /// What the pods stood on: `alone`, `redis` or `nats`.
    pub stage: String,
    /// What everything was drawn from.
    pub seed: u64,
    /// Events that were acknowledged.
    pub events: usize,
    /// Events that readers got, in sum.
    pub deliveries: usize,
    /// See [`Sort::Lost`].
    pub lost: usize,
    /// See [`Sort::Repeated`].
    pub repeated: usize,
    /// See [`Sort::Reordered`].
    pub reordered: usize,
    /// See [`Sort::Hole`].
    pub holes: usize,
    /// See [`Sort::Other`].
    pub other: usize,
    /// `gap`s that readers were told of, in sum.
    pub gaps: usize,
    /// The highest epoch in which a room ended: 1 where nothing had to be begun anew.
    pub epochs: u64,
    /// What was said and never answered, however often.
    pub unanswered: usize,
    /// What did not come true in time: pods that disagree, events that are not archived, a table that differs.
    pub unsettled: usize,
    /// From the first word to the last look.
    pub seconds: f64,
}

impl Run {
    /// Adds what the checker says of one room.
    pub fn add(&mut self, verdict: &Verdict) {
        self.events += verdict.counts.acknowledged;
        self.deliveries += verdict.counts.deliveries;
        self.gaps += verdict.counts.gaps;
        for (sort, found) in &verdict.found {
            *match sort {
                Sort::Lost => &mut self.lost,
                Sort::Repeated => &mut self.repeated,
                Sort::Reordered => &mut self.reordered,
                Sort::Hole => &mut self.holes,
                Sort::Other => &mut self.other,
            } += found;
        }
    }
}

/// Reads a file of runs, a line each.
///
/// # Errors
/// With a sentence, when it cannot be read or a line is no run.
pub fn read(path: &Path) -> Result<Vec<Run>, String> {
    let file = std::fs::File::open(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let lines = std::io::BufReader::new(file).lines().zip(1..);
    let run = |(line, n): (std::io::Result<String>, usize)| {
        let line = line.map_err(|e| e.to_string());
        let run = line.and_then(|line| serde_json::from_str(&line).map_err(|e| e.to_string()));
        run.map_err(|e| format!("{}, line {n}: {e}", path.display()))
    };
    lines.map(run).collect()
}

/// Fault × outcome, summed over the runs of each fault on each stage, in the order in which they first come.
#[must_use]
pub fn table(runs: &[Run]) -> String {
    let mut order = Vec::new();
    let mut sums: BTreeMap<(&str, &str), (usize, Run)> = BTreeMap::new();
    for run in runs {
        let key = (run.fault.as_str(), run.stage.as_str());
        let (count, sum) = sums.entry(key).or_insert_with(|| {
            order.push(key);
            Default::default()
        });
        *count += 1;
        sum.events += run.events;
        sum.deliveries += run.deliveries;
        sum.lost += run.lost;
        sum.repeated += run.repeated;
        sum.reordered += run.reordered;
        sum.holes += run.holes;
        sum.other += run.other;
        sum.gaps += run.gaps;
        sum.epochs = sum.epochs.max(run.epochs);
        sum.unanswered += run.unanswered;
        sum.unsettled += run.unsettled;
        sum.seconds = sum.seconds.max(run.seconds);
    }
    let mut text = String::from(
        "| fault | on | runs | events | deliveries | lost | repeated | reordered | holes without a gap | \
         anything else | never answered | not settled | gaps announced | last epoch | longest |\n\
         |---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for (fault, stage) in order {
        let (count, run) = &sums[&(fault, stage)];
        let Run { events, deliveries, lost, repeated, reordered, holes, other, gaps, epochs, .. } = run;
        let Run { unanswered, unsettled, seconds, .. } = run;
        writeln!(
            text,
            "| {fault} | {stage} | {count} | {events} | {deliveries} | {lost} | {repeated} | {reordered} | \
             {holes} | {other} | {unanswered} | {unsettled} | {gaps} | {epochs} | {seconds:.1} s |"
        )
        .expect("a string takes all");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(fault: &str, stage: &str, seed: u64) -> Run {
        let (fault, stage) = (fault.to_owned(), stage.to_owned());
        Run { fault, stage, seed, events: 100, deliveries: 600, epochs: 1, seconds: 2.0, ..Run::default() }
    }

    #[test]
    fn runs_of_one_fault_are_summed_and_the_longest_is_told() {
        let runs = [
            run("Redis is killed", "redis", 1),
            run("a pod is killed", "redis", 1),
            Run { lost: 2, gaps: 3, epochs: 2, seconds: 7.25, ..run("Redis is killed", "redis", 2) },
            run("Redis is killed", "nats", 1),
        ];
        let table = table(&runs);
        let rows: Vec<_> = table.lines().skip(2).collect();
        let expected = [
            "| Redis is killed | redis | 2 | 200 | 1200 | 2 | 0 | 0 | 0 | 0 | 0 | 0 | 3 | 2 | 7.2 s |",
            "| a pod is killed | redis | 1 | 100 | 600 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 1 | 2.0 s |",
            "| Redis is killed | nats | 1 | 100 | 600 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 1 | 2.0 s |",
        ];
        assert_eq!(rows, expected);
    }

    #[test]
    fn a_file_is_read_as_it_was_written_and_a_line_that_is_no_run_is_named() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("results");
        let line = serde_json::to_string(&run("Redis is killed", "redis", 7)).unwrap();
        std::fs::write(&path, format!("{line}\n{line}\n")).unwrap();
        let runs = read(&path).unwrap();
        assert_eq!((runs.len(), runs[1].seed, runs[1].deliveries), (2, 7, 600));
        std::fs::write(&path, format!("{line}\nnothing\n")).unwrap();
        assert!(read(&path).unwrap_err().contains("line 2"));
    }
}
