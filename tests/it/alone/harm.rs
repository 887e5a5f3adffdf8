//! What is done to the one process while people speak and listen. That it is killed: `resume`.

use std::{thread, time::Duration};

use rustix::process::Signal;

use crate::{
    harness::Maru,
    trial::{Trial, harmed, harmed_on},
};

#[test]
fn the_one_process_hangs() {
    harmed(
        "the one process hangs",
        |maru, progress| {
            for _ in 0..3 {
                maru.signal(Signal::STOP);
                // Longer than who asked waits.
                thread::sleep(Duration::from_secs(3) + Duration::from_millis(progress.any(100..500)));
                maru.signal(Signal::CONT);
                progress.go_on(50);
            }
        },
        Trial::assert_nothing_is_missing,
    );
}

#[test]
fn the_one_process_is_ended_and_begun_again() {
    harmed_on(
        || Maru::on_servers_of_its_own(&["--drain", "1s"], None),
        "the one process is ended and begun again",
        |maru, progress| {
            for _ in 0..2 {
                progress.end(maru.pod(0), Duration::from_secs(1));
                maru.restart();
                progress.go_on(100);
            }
        },
        Trial::assert_nothing_is_missing,
    );
}
