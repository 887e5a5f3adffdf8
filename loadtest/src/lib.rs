//! Load, floors and the checker for maru.
//!
//! Two things live here, which share their eyes:
//!
//! - **For tests**: a strict [SSE parser](sse), a blocking [HTTP client](http) that sees the bytes, [readers](stream)
//!   that come back by their cursor, [speakers](speak) that write down what they were told, and the
//!   [checker] that decides whether all of that keeps the promises.
//! - **For measuring**: the scenarios of the binary (`cargo run --release -p loadtest -- --help`), with thousands of
//!   readers in one thread and, beside each figure, the floor: what a bare `send()` loop costs on the same machine.
//!
//! ```no_run
//! use loadtest::{checker, http::Client, speak, stream::{Listen, Reader}};
//! use std::time::{Duration, Instant};
//!
//! # fn main() -> Result<(), loadtest::http::Error> {
//! let server = "127.0.0.1:8080".parse().unwrap();
//! let clock = checker::Clock::start();
//! let deadline = Instant::now() + Duration::from_secs(10);
//!
//! let mut reader = Reader::new("r1", clock, server, Listen::to("/r/lobby?since=all"));
//! reader.connect()?;
//! let mut ann = speak::Speaker::guest(Client::new(server), clock, "lobby", "Ann")?;
//! ann.say("hello");
//!
//! let end = speak::whole_log(&mut Client::new(server), "lobby")?;
//! reader.read_to(end.last().unwrap().cursor, deadline);
//! let history = checker::History {
//!     room: "lobby".into(),
//!     attempts: ann.into_attempts(),
//!     readers: vec![reader.into_complete_log()],
//!     end: Some(end),
//!     ..checker::History::default()
//! };
//! checker::check(&history).assert_holds();
//! # Ok(()) }
//! ```

#![forbid(unsafe_code)]

pub mod checker;
pub mod cursor;
pub mod http;
pub mod load;
pub mod matrix;
pub mod people;
pub mod proc;
pub mod speak;
pub mod sse;
pub mod stream;
mod wire;
