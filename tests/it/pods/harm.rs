//! What is done to pods and servers while people speak and listen, and what must be true after it.

mod failover;
mod less;
mod mariadb;
pub mod pods;
mod redis;

use std::time::Duration;

/// How long a server hangs.
pub fn a_while() -> Duration {
    Duration::from_secs(if std::env::var_os("MARU_TEST_LONG").is_some() { 10 } else { 2 })
}
