//! The real binary over real sockets: what the contract promises, one fact a test.

#![allow(unreachable_pub)] // It is one crate, and nobody's library.

mod faults;
mod harness;
mod resume;
mod speaking;
mod streams;
