//! What is kept: by one process at a time, for as long as is asked, and never under a place that was given before.

use std::path::Path;

use loadtest::{
    http::Request,
    stream::{Listen, Next, Stream},
};
use serde_json::{Value, json};

use crate::harness::{Pod, assert_problem, deadline, run, wait_for};

fn parsed(data: &str) -> Value {
    serde_json::from_str(data).unwrap()
}

/// The events of the log and the gaps that a stream gives until it is live.
fn replayed(mut stream: Stream) -> Vec<(String, String)> {
    let mut seen = Vec::new();
    loop {
        match stream.next_event(deadline()).unwrap() {
            Next::Event(event) if event.name == "live" => return seen,
            Next::Event(event) if event.name != "hello" => {
                seen.push((event.name, event.id.unwrap_or_default()));
            }
            Next::Event(_) => {}
            other => panic!("{other:?} after {seen:?}"),
        }
    }
}

fn after(pod: &Pod, room: &str, cursor: &str) -> Vec<(String, String)> {
    replayed(Listen::to(&format!("/r/{room}")).after(cursor).open(pod.address()).unwrap())
}

fn messages(cursors: &[&str]) -> Vec<(String, String)> {
    cursors.iter().map(|cursor| ("message".to_owned(), (*cursor).to_owned())).collect()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn a_second_process_on_the_same_data_is_refused_with_a_sentence() {
    let pod = Pod::start();
    pod.say("lobby", "hi");
    let data = pod.data().to_str().unwrap();
    for more in [&[][..], &["--new-epoch"]] {
        let output = run(&[&["--listen", "127.0.0.1:0", "--data", data], more].concat(), &[]);
        assert!(!output.status.success());
        let said = String::from_utf8(output.stderr).unwrap();
        let said = said.trim();
        assert!(said.starts_with("maru: another maru is running") && said.contains(data), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    // The first does not notice.
    assert_eq!(pod.say("lobby", "ho").json()["cursor"], "1-2");
    // Nor is a port taken twice.
    let address = pod.address().to_string();
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
    let mut pod = Pod::start();
    let backup = tempfile::TempDir::new().unwrap();
    let data = pod.data().to_str().unwrap().to_owned();
    for text in ["one", "two", "three"] {
        pod.say("lobby", text);
    }
    pod.kill();
    copy(pod.data(), backup.path());
    pod.restart();
    // Said after the backup, heard, and lost: in a room that is in it and in one that is not.
    for (room, text, cursor) in
        [("lobby", "four", "1-4"), ("lobby", "five", "1-5"), ("attic", "a", "1-1"), ("attic", "b", "1-2")]
    {
        assert_eq!(pod.say(room, text).json()["cursor"], cursor);
    }
    pod.kill();
    for entry in std::fs::read_dir(pod.data()).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    copy(backup.path(), pod.data());
    let output = run(&["--data", &data, "--new-epoch"], &[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("epoch 2"), "{output:?}");
    pod.restart();

    let seq = |cursor: &str| -> u64 {
        let (epoch, seq) = cursor.split_once('-').unwrap();
        assert_eq!(epoch, "2", "{cursor}");
        seq.parse().unwrap()
    };
    // Before anybody has spoken again. The gap's end is where the new epoch begins.
    let lobby_base = {
        let seen = after(&pod, "lobby", "1-1");
        let ((last, base), rest) = seen.split_last().unwrap();
        assert_eq!((rest, last.as_str()), (&messages(&["1-2", "1-3"])[..], "gap"));
        assert!(seq(base) >= 5, "{base}");
        base.clone()
    };
    let lobby_first = pod.say("lobby", "six").json()["cursor"].as_str().unwrap().to_owned();
    let attic_first = pod.say("attic", "c").json()["cursor"].as_str().unwrap().to_owned();
    assert!(seq(&lobby_first) > 5 && seq(&attic_first) > 2, "{lobby_first} {attic_first}");
    let gap = |to: &str| vec![("gap".to_owned(), to.to_owned())];
    let new = [gap(&lobby_base), messages(&[&lobby_first])].concat();
    assert_eq!(after(&pod, "lobby", "1-1"), [messages(&["1-2", "1-3"]), new.clone()].concat());
    assert_eq!(after(&pod, "lobby", "1-3"), new);
    // It had heard what is lost.
    for lost in ["1-4", "1-5"] {
        assert_eq!(after(&pod, "lobby", lost), new, "{lost}");
    }
    assert_eq!(after(&pod, "lobby", &lobby_first), []);
    let attic = after(&pod, "attic", "1-2");
    assert_eq!((attic.len(), attic[0].0.as_str(), &attic[1].1), (2, "gap", &attic_first), "{attic:?}");

    // Whoever comes for the first time is told of the gap where it is.
    let all = replayed(pod.listen("/r/lobby?since=all"));
    assert_eq!(all, [messages(&["1-1", "1-2", "1-3"]), new.clone()].concat());
    let gap_data = {
        let mut stream = Listen::to("/r/lobby").after("1-3").open(pod.address()).unwrap();
        parsed(&stream.wait_for("gap", deadline()).unwrap().data)
    };
    assert_eq!(gap_data, json!({"from": "1-3", "to": lobby_base, "reason": "epoch"}));
    // By polling too.
    let (mut cursor, mut polled) = ("1-1".to_owned(), Vec::new());
    while polled.len() < 4 {
        let page = pod.client().get(&format!("/r/lobby?poll=1&since={cursor}")).unwrap().json();
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
    let page = pod.client().get("/api/history?room=lobby&limit=2").unwrap().json();
    assert_eq!((&page["tip"], &page["before"]), (&json!(lobby_first), &json!("1-3")));
    let page = pod.client().get("/api/history?room=lobby&limit=2&before=1-3").unwrap().json();
    assert_eq!(
        page["events"].as_array().unwrap().iter().map(|e| e["seq"].as_u64().unwrap()).collect::<Vec<_>>(),
        [1, 2]
    );

    // A second time: the rest of each epoch, and a gap before each.
    pod.kill();
    assert!(run(&["--data", &data, "--new-epoch"], &[]).status.success());
    pod.restart();
    let third = pod.say("lobby", "seven").json()["cursor"].as_str().unwrap().to_owned();
    let seen = after(&pod, "lobby", "1-2");
    assert_eq!(seen[..3], [messages(&["1-3"]), new].concat());
    assert_eq!((seen.len(), seen[3].0.as_str(), &seen[4].1), (5, "gap", &third), "{seen:?}");
    assert!(third.starts_with("3-"), "{third}");
}

#[test]
fn old_messages_go_and_who_is_behind_is_told() {
    let mut pod = Pod::with(&["--rate-limit", "off", "--keep", "2s"]);
    // In a room that somebody has open, and in one that nobody has.
    let mut live = pod.listen_live("/r/lobby");
    for room in ["lobby", "attic"] {
        for text in ["one", "two", "three"] {
            assert_eq!(pod.say(room, text).status, 201);
        }
    }
    let listed = |room: &str| {
        let page = pod.client().get(&format!("/api/history?room={room}")).unwrap().json();
        page["events"].as_array().unwrap().len()
    };
    wait_for("they are gone", || listed("lobby") + listed("attic") == 0);
    for room in ["lobby", "attic"] {
        for behind in ["1-0", "1-2"] {
            let mut stream = Listen::to(&format!("/r/{room}")).after(behind).open(pod.address()).unwrap();
            let hello = parsed(&stream.wait_for("hello", deadline()).unwrap().data);
            assert_eq!(hello["resumed"], false);
            let Next::Event(gap) = stream.next_event(deadline()).unwrap() else { panic!("no event") };
            assert_eq!((gap.name.as_str(), gap.id.as_deref()), ("gap", Some("1-3")), "{room} {behind}");
            assert_eq!(parsed(&gap.data), json!({"from": behind, "to": "1-3", "reason": "retention"}));
        }
        let page = pod.client().get(&format!("/r/{room}?poll=1&since=1-1")).unwrap().json();
        assert_eq!((&page["gap"]["reason"], &page["cursor"]), (&json!("retention"), &json!("1-3")));
        // Who has seen all, or asks for what there is, misses nothing.
        assert_eq!(after(&pod, room, "1-3"), []);
        assert_eq!(replayed(pod.listen(&format!("/r/{room}?since=all"))), []);
        assert_eq!(replayed(pod.listen(&format!("/r/{room}"))), []);
    }
    // A place is not given twice, also after a restart.
    assert_eq!(pod.say("lobby", "four").json()["cursor"], "1-4");
    for seq in 1..=4 {
        assert_eq!(live.wait_for("message", deadline()).unwrap().id, Some(format!("1-{seq}")));
    }
    drop(live);
    pod.kill();
    pod.restart();
    assert_eq!(pod.say("attic", "four").json()["cursor"], "1-4");
    // It cannot be changed any more.
    let (token, _) = pod.sign_in("Ann");
    let edit = Request::new("PATCH", "/api/chat/lobby/messages/1").body("new");
    assert_problem(&pod.client_as(&token).send(&edit).unwrap(), 404, "not_found");
}

#[test]
fn what_goes_during_a_replay_is_announced() {
    let pod = Pod::with(&["--rate-limit", "off", "--keep", "4s"]);
    // More than all buffers between the two ends take.
    std::thread::scope(|scope| {
        for _ in 0..8 {
            let token = pod.sign_in("Ann").0;
            let mut ann = pod.client_as(&token);
            scope.spawn(move || {
                for _ in 0..250 {
                    assert_eq!(ann.post("/r/lobby", "text/plain", "x".repeat(4000)).unwrap().status, 201);
                }
            });
        }
    });
    // Nobody reads while the messages go.
    let mut stream = pod.listen("/r/lobby?since=all");
    wait_for("they are gone", || {
        let page = pod.client().get("/api/history?room=lobby").unwrap().json();
        page["events"].as_array().unwrap().is_empty()
    });
    let last = pod.say("lobby", "last").json()["seq"].as_u64().unwrap();
    let mut at = None;
    while at != Some(last) {
        let Next::Event(event) = stream.next_event(deadline()).unwrap() else { break };
        let seq = |cursor: &str| cursor.strip_prefix("1-").unwrap().parse::<u64>().unwrap();
        match event.name.as_str() {
            "hello" => at = event.id.as_deref().map(seq),
            "message" => {
                let seq = seq(&event.id.unwrap());
                assert_eq!(Some(seq), at.map(|at| at + 1), "a silent gap");
                at = Some(seq);
            }
            "gap" => {
                let gap = parsed(&event.data);
                assert_eq!((gap["from"].as_str().map(seq), &gap["reason"]), (at, &json!("retention")));
                at = event.id.as_deref().map(seq);
            }
            _ => {}
        }
    }
    // If it was sent off instead, it comes back by its cursor and is told then.
    if at != Some(last) {
        let seen = after(&pod, "lobby", &format!("1-{}", at.unwrap()));
        assert_eq!(seen[0].0, "gap", "{seen:?}");
    }
}
