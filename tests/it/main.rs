//! The real binary over real sockets: what the contract promises, one fact a test.

#![allow(unreachable_pub)] // It is one crate, and nobody's library.

mod alone;
mod authority;
mod clients;
mod clocks;
mod commands;
mod deploy;
mod drain;
mod economy;
mod errors;
mod faults;
mod harness;
mod heads;
mod inbox;
mod inboxes;
mod keeping;
mod limits;
mod list;
mod members;
mod moderation;
mod ops;
mod outside;
mod page;
mod people;
mod pods;
mod presence;
mod rates;
mod raw;
mod resume;
mod sessions;
mod speaking;
mod streams;
mod trial;
mod verify;
