//! `loadtest verify`, as users run it against a deployment of their own.

use std::process::{Command, Output};

use crate::harness::{Maru, loadtest_build};

fn verify(maru: &Maru) -> Output {
    let urls: Vec<_> = maru.doors().all().iter().map(|address| format!("http://{address}")).collect();
    let mut command = Command::new(loadtest_build());
    command.args(["verify", "--json", "--seconds", "2", "--url", &urls.join(",")]);
    command.output().expect("it runs")
}

#[test]
fn whoever_keeps_its_promises_is_told_so() {
    let maru = Maru::start();
    let output = verify(&maru);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["servers"], maru.doors().all().len());
    let count = |name: &str| report["counts"][name].as_u64().expect("a number");
    assert!(count("acknowledged") > 50 && count("connections") > 20, "{report}");
    assert_eq!(count("acknowledged"), count("kept"));
}

#[test]
fn whoever_breaks_one_is_found_out() {
    let output = verify(&Maru::faulty("ResumeOffByOne"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("P5 broken"), "{said}");
}
