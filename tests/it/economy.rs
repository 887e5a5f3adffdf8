//! What things cost, in counts that do not depend on the machine: system calls of a delivery, reads of the log.

use loadtest::stream::{Listen, Stream};

use crate::harness::{Maru, deadline};

const READERS: usize = 60;

/// Live readers that have seen everybody come, so that nobody is told of anything but what is said.
fn audience(maru: &Maru, target: &str) -> Vec<Stream> {
    let mut readers: Vec<_> = (0..READERS).map(|_| maru.listen_live(target)).collect();
    maru.wait_for_metric("maru_readers", |readers| readers >= READERS as f64);
    say(maru, "are all here?");
    for reader in &mut readers {
        reader.wait_for("message", deadline()).unwrap();
    }
    readers
}

fn say(maru: &Maru, text: &str) -> String {
    let answer = maru.say("lobby", text);
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()["cursor"].as_str().unwrap().to_owned()
}

#[test]
fn a_delivery_is_one_send() {
    const MESSAGES: usize = 20;
    let maru = Maru::with(&["--rate-limit", "off"]);
    let mut readers = audience(&maru, "/r/lobby?since=live");
    let figures = || ["maru_deliveries_total", "maru_sends_total"].map(|name| maru.metric(name));
    let before = figures();
    for n in 0..MESSAGES {
        say(&maru, &format!("message {n}"));
        for reader in &mut readers {
            reader.wait_for("message", deadline()).unwrap();
        }
    }
    let [deliveries, sends] = [0, 1].map(|n| figures()[n] - before[n]);
    let due = (READERS * MESSAGES) as f64;
    // Digests of presence and pings are sent to each reader alone; there is one a second at most.
    assert!(deliveries >= due && sends >= due, "{deliveries} deliveries in {sends} sends");
    assert!(sends <= 1.5 * due, "{sends} sends for {due} deliveries");
}

#[test]
fn a_storm_is_not_read_from_the_log() {
    let maru = Maru::with(&["--rate-limit", "off"]);
    let readers = audience(&maru, "/r/lobby?since=live");
    let cursors: Vec<_> = readers.iter().map(|reader| reader.last_event_id().to_owned()).collect();
    drop(readers);
    let tip = (0..50).map(|n| say(&maru, &format!("missed {n}"))).last().unwrap();

    let before = maru.metric("maru_replay_reads_total");
    let come_back = |cursor: &String| Listen::to("/r/lobby").after(cursor).open(maru.address()).unwrap();
    let mut readers: Vec<_> = cursors.iter().map(come_back).collect();
    for reader in &mut readers {
        reader.wait_for("live", deadline()).unwrap();
        assert_eq!(reader.last_event_id(), tip);
    }
    let reads = maru.metric("maru_replay_reads_total") - before;
    // One for the room at each pod, for what it had in memory may have gone with its last reader.
    assert!(reads <= maru.pods().len() as f64, "{reads} reads of the log for {READERS} readers");
}
