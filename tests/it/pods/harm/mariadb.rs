//! MariaDB is killed and hung.

use super::a_while;
use crate::trial::{Trial, harmed};

#[test]
fn mariadb_hangs() {
    harmed(
        "MariaDB hangs",
        |maru, progress| {
            maru.servers_mut().maria().hang();
            progress.go_on_for(a_while(), u64::MAX / 2);
            maru.servers_mut().maria().go_on();
        },
        Trial::assert_nothing_is_missing,
    );
}

#[test]
fn mariadb_is_killed_and_comes_back() {
    harmed(
        "MariaDB is killed and comes back",
        |maru, progress| {
            maru.servers_mut().maria().kill();
            // Speaking goes on without it: Redis buffers.
            progress.go_on(200);
            maru.servers_mut().maria().start_again();
        },
        Trial::assert_nothing_is_missing,
    );
}
