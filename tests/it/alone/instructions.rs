//! How many instructions the whole server needs for what it does most, the kernel's left out: a gate that does not
//! depend on the machine, nor on what else it does. Counted by callgrind, in the profile that tests are built in.

use std::{path::PathBuf, process::Command};

use loadtest::stream::{Listen, Stream};
use tempfile::TempDir;

use crate::harness::{Maru, deadline};

/// A message of somebody with a session, answered and stored, with nobody listening; one at a time.
const A_POST: u64 = 166_000;
/// One event given to one more reader.
const A_DELIVERY: u64 = 133;
/// A reader who comes back by their cursor and misses nothing, until they are in the reading room.
const A_RETURN: u64 = 267_000;

/// So many times what was found when this was last looked at is too much; one run differs from another by 2 %. Whoever
/// makes it cheaper lowers the figure.
const MARGIN: f64 = 1.1;

struct Counted {
    maru: Maru,
    folder: TempDir,
    dumps: u32,
    token: String,
}

impl Counted {
    fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let maru = Maru::of_one_counted(&folder.path().join("counts"), &["--rate-limit", "off"]);
        let (token, _) = maru.sign_in("Ann");
        Counted { maru, folder, dumps: 0, token }
    }

    /// Says so many things, waits for each answer, and for what is to come of it.
    fn say(&self, messages: u32, mut heard: impl FnMut()) {
        let mut client = self.maru.client_as(&self.token);
        for n in 0..messages {
            let answer = client.post("/r/lobby", "text/plain", format!("message {n}")).unwrap();
            assert_eq!(answer.status, 201, "{}", answer.text());
            heard();
        }
    }

    /// Instructions of all threads while this is done.
    fn during(&mut self, act: impl FnOnce(&Self)) -> u64 {
        self.tell("zero");
        act(self);
        self.tell("dump");
        self.dumps += 1;
        let dump: PathBuf = self.folder.path().join(format!("counts.{}", self.dumps));
        let counts = std::fs::read_to_string(&dump).unwrap_or_else(|e| panic!("{}: {e}", dump.display()));
        let total = counts.lines().find_map(|line| line.strip_prefix("totals: ")).expect("a total");
        total.trim().parse().expect("a number")
    }

    fn tell(&self, order: &str) {
        let pid = self.maru.one_pod().id();
        let told = Command::new("vgdb").arg(format!("--pid={pid}")).arg(order).output().expect("vgdb runs");
        assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    }
}

fn assert_about(what: &str, found: u64, expected: u64) {
    let most = expected as f64 * MARGIN;
    assert!((found as f64) <= most, "{what} takes {found} instructions, and took {expected}");
    // Else the gate would be wide open.
    assert!(
        found as f64 >= expected as f64 / 1.5,
        "{what} takes only {found}: lower its figure from {expected}"
    );
}

#[test]
fn speaking_and_listening_take_no_more_instructions_than_they_did() {
    const MESSAGES: u32 = 300;
    const READERS: u32 = 200;
    let mut counted = Counted::start();
    counted.say(50, || {});
    let alone = counted.during(|counted| counted.say(MESSAGES, || {}));

    let listen = || counted.maru.listen_live("/r/lobby?since=live");
    let mut readers: Vec<Stream> = (0..READERS).map(|_| listen()).collect();
    counted.maru.wait_for_metric("maru_readers", |n| n >= f64::from(READERS));
    let mut hear =
        || readers.iter_mut().for_each(|reader| drop(reader.wait_for("message", deadline()).unwrap()));
    counted.say(50, &mut hear);
    let heard = counted.during(|counted| counted.say(MESSAGES, &mut hear));

    let cursors: Vec<_> = readers.iter().map(|reader| reader.last_event_id().to_owned()).collect();
    drop(readers);
    counted.maru.wait_for_metric("maru_readers", |n| n == 0.0);
    let came_back = counted.during(|counted| {
        let come_back =
            |cursor: &String| Listen::to("/r/lobby").after(cursor).open(counted.maru.address()).unwrap();
        let mut readers: Vec<_> = cursors.iter().map(come_back).collect();
        readers.iter_mut().for_each(|reader| drop(reader.wait_for("live", deadline()).unwrap()));
        counted.maru.wait_for_metric("maru_readers", |n| n >= f64::from(READERS));
    });

    let a_post = alone / u64::from(MESSAGES);
    let a_delivery = heard.saturating_sub(alone) / u64::from(MESSAGES * READERS);
    let a_return = came_back / u64::from(READERS);
    println!("instructions: a post {a_post}, a delivery {a_delivery}, a return {a_return}");
    assert_about("a post", a_post, A_POST);
    assert_about("a delivery", a_delivery, A_DELIVERY);
    assert_about("a return", a_return, A_RETURN);
}
