//! The load test with servers that it starts itself.

use std::process::Command;

use crate::harness::{loadtest_build, program};

#[test]
fn readers_are_held_by_as_many_servers_as_they_need() {
    let output = Command::new(loadtest_build())
        .args(["hold", "--readers", "2300", "--each", "1200", "--hold", "1", "--json", "--server"])
        .arg(program())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["readers"], &report["servers"]), (&2300.into(), &2.into()));
    let each = report["slopes"].as_array().unwrap().iter().map(|slope| slope[0].as_u64().unwrap());
    assert_eq!(each.collect::<Vec<_>>(), [1150, 1150]);
}

#[test]
fn a_server_near_its_capacity_leaves_nothing_behind_of_clients_that_fail() {
    let output = Command::new(loadtest_build())
        .args([
            "endure",
            "--seconds",
            "4",
            "--every",
            "1",
            "--share",
            "30",
            "--faults",
            "5",
            "--json",
            "--server",
        ])
        .arg(program())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["looks"].as_array().map(Vec::len), Some(4));
    assert!(report["faults"].as_u64() > Some(20), "{report}");
    assert!(report["files"][1].as_u64() <= report["files"][0].as_u64(), "{report}");
}

/// Each event once and in order, whatever carries it: else there is no report.
#[test]
fn readers_come_by_every_transport() {
    let output = Command::new(loadtest_build())
        .args(["transports", "--readers", "60", "--messages", "20", "--rounds", "1", "--json", "--server"])
        .arg(program())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["runs"].as_array().map(Vec::len), Some(5), "{report}");
}
