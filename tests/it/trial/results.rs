//! What came of a trial, for `loadtest matrix`: a line of JSON at the end of the file that `MARU_TEST_RESULTS` names.

use std::{fs::File, io::Write};

use loadtest::{checker::check, matrix::Run};

use super::{Trial, unanswered};
use crate::harness::stage;

pub(super) fn write(trial: &Trial, fault: &str, seed: u64) {
    let Some(path) = std::env::var_os("MARU_TEST_RESULTS") else { return };
    let mut run = Run {
        fault: fault.to_owned(),
        stage: format!("{:?}", stage()).to_lowercase(),
        seed,
        epochs: trial.epochs().max().unwrap_or_default(),
        seconds: trial.took.as_secs_f64(),
        unsettled: trial.late.len(),
        ..Run::default()
    };
    for history in &trial.histories {
        run.add(&check(history));
        run.unanswered += unanswered(history).len();
    }
    let line = serde_json::to_string(&run).expect("JSON") + "\n";
    let mut file = File::options().append(true).create(true).open(&path).expect("results can be written");
    // In one piece: others write there, too.
    file.write_all(line.as_bytes()).expect("results can be written");
}
