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
