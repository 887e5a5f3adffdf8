//! A data directory: of one process at a time, and after a backup was put back.

use std::path::Path;

use loadtest::stream::Listen;
use serde_json::json;

use crate::{
    harness::{Maru, deadline, run},
    keeping::{after, messages, parsed, replayed},
};

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn a_second_process_on_the_same_data_is_refused_with_a_sentence() {
    let maru = Maru::start();
    maru.say("lobby", "hi");
    let data = maru.one_pod().data().to_str().unwrap();
    for more in [&[][..], &["--new-epoch"]] {
        let output = run(&[&["--listen", "127.0.0.1:0", "--data", data], more].concat(), &[]);
        assert!(!output.status.success());
        let said = String::from_utf8(output.stderr).unwrap();
        let said = said.trim();
        assert!(said.starts_with("maru: another maru is running") && said.contains(data), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    // The first does not notice.
    assert_eq!(maru.say("lobby", "ho").json()["cursor"], "1-2");
    // Nor is a port taken twice.
    let address = maru.address().to_string();
    let elsewhere = tempfile::TempDir::new().unwrap();
    let output = run(&["--listen", &address, "--data", elsewhere.path().to_str().unwrap()], &[]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains(&format!("cannot listen on {address}")), "{said}");
    // And a directory that cannot be is said to be none.
    let output = run(&["--listen", "127.0.0.1:0", "--data", "/proc/maru"], &[]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("/proc/maru"), "{said}");
}

#[test]
fn after_a_backup_was_put_back_no_place_is_given_twice() {
    let mut maru = Maru::start();
    let backup = tempfile::TempDir::new().unwrap();
    let data = maru.one_pod().data().to_str().unwrap().to_owned();
    for text in ["one", "two", "three"] {
        maru.say("lobby", text);
    }
    maru.kill();
    copy(maru.one_pod().data(), backup.path());
    maru.restart();
    // Said after the backup, heard, and lost: in a room that is in it and in one that is not.
    for (room, text, cursor) in
        [("lobby", "four", "1-4"), ("lobby", "five", "1-5"), ("attic", "a", "1-1"), ("attic", "b", "1-2")]
    {
        assert_eq!(maru.say(room, text).json()["cursor"], cursor);
    }
    maru.kill();
    for entry in std::fs::read_dir(maru.one_pod().data()).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    copy(backup.path(), maru.one_pod().data());
    let output = run(&["--data", &data, "--new-epoch"], &[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("epoch 2"), "{output:?}");
    maru.restart();

    let seq = |cursor: &str| -> u64 {
        let (epoch, seq) = cursor.split_once('-').unwrap();
        assert_eq!(epoch, "2", "{cursor}");
        seq.parse().unwrap()
    };
    // Before anybody has spoken again. The gap's end is where the new epoch begins.
    let lobby_base = {
        let seen = after(&maru, "lobby", "1-1");
        let ((last, base), rest) = seen.split_last().unwrap();
        assert_eq!((rest, last.as_str()), (&messages(&["1-2", "1-3"])[..], "gap"));
        assert!(seq(base) >= 5, "{base}");
        base.clone()
    };
    let lobby_first = maru.say("lobby", "six").json()["cursor"].as_str().unwrap().to_owned();
    let attic_first = maru.say("attic", "c").json()["cursor"].as_str().unwrap().to_owned();
    assert!(seq(&lobby_first) > 5 && seq(&attic_first) > 2, "{lobby_first} {attic_first}");
    let gap = |to: &str| vec![("gap".to_owned(), to.to_owned())];
    let new = [gap(&lobby_base), messages(&[&lobby_first])].concat();
    assert_eq!(after(&maru, "lobby", "1-1"), [messages(&["1-2", "1-3"]), new.clone()].concat());
    assert_eq!(after(&maru, "lobby", "1-3"), new);
    // It had heard what is lost.
    for lost in ["1-4", "1-5"] {
        assert_eq!(after(&maru, "lobby", lost), new, "{lost}");
    }
    assert_eq!(after(&maru, "lobby", &lobby_first), []);
    let attic = after(&maru, "attic", "1-2");
    assert_eq!((attic.len(), attic[0].0.as_str(), &attic[1].1), (2, "gap", &attic_first), "{attic:?}");

    // Whoever comes for the first time is told of the gap where it is.
    let all = replayed(maru.listen("/r/lobby?since=all"));
    assert_eq!(all, [messages(&["1-1", "1-2", "1-3"]), new.clone()].concat());
    let gap_data = {
        let mut stream = Listen::to("/r/lobby").after("1-3").open(maru.address()).unwrap();
        parsed(&stream.wait_for("gap", deadline()).unwrap().data)
    };
    assert_eq!(gap_data, json!({"from": "1-3", "to": lobby_base, "reason": "epoch"}));
    // By polling too.
    let (mut cursor, mut polled) = ("1-1".to_owned(), Vec::new());
    while polled.len() < 4 {
        let page = maru.client().get(&format!("/r/lobby?poll=1&since={cursor}")).unwrap().json();
        if let Some(to) = page["gap"]["to"].as_str() {
            polled.push(("gap".to_owned(), to.to_owned()));
        }
        for event in page["events"].as_array().unwrap() {
            polled.push(("message".to_owned(), format!("{}-{}", event["epoch"], event["seq"])));
        }
        page["cursor"].as_str().unwrap().clone_into(&mut cursor);
    }
    assert_eq!(polled, [messages(&["1-2", "1-3"]), new.clone()].concat());
    // And in history.
    let page = maru.client().get("/api/history?room=lobby&limit=2").unwrap().json();
    assert_eq!((&page["tip"], &page["before"]), (&json!(lobby_first), &json!("1-3")));
    let page = maru.client().get("/api/history?room=lobby&limit=2&before=1-3").unwrap().json();
    assert_eq!(
        page["events"].as_array().unwrap().iter().map(|e| e["seq"].as_u64().unwrap()).collect::<Vec<_>>(),
        [1, 2]
    );

    // A second time: the rest of each epoch, and a gap before each.
    maru.kill();
    assert!(run(&["--data", &data, "--new-epoch"], &[]).status.success());
    maru.restart();
    let third = maru.say("lobby", "seven").json()["cursor"].as_str().unwrap().to_owned();
    let seen = after(&maru, "lobby", "1-2");
    assert_eq!(seen[..3], [messages(&["1-3"]), new].concat());
    assert_eq!((seen.len(), seen[3].0.as_str(), &seen[4].1), (5, "gap", &third), "{seen:?}");
    assert!(third.starts_with("3-"), "{third}");
}
