//! A chat server that speaks plain HTTP: POST to speak, Server-Sent Events to listen.
//!
//! **A room is a log; a reader is a cursor.** Speaking appends to the log; listening is reading from a cursor and
//! waiting at the end; resuming, replay, repair and slow readers are all the same thing: a cursor that is not at
//! the end yet.
//!
//! ```text
//!         POST                                                 GET (stream)
//!          │                                                      ▲
//!        http ──► chat (who may, what it means) ──► log.append    │ bytes
//!                                                     │           │
//!                     alone, SQLite; of many, Redis: number, keep, tell
//!                                                     ▼           │
//!                                                    hub ──► reading room
//!                                          order, repair     sockets + cursors
//! ```
//!
//! - [`event`]: what everything speaks of. Imports nothing of ours.
//! - [`log`]: the ordered log; on one machine SQLite is the log, for many pods Redis orders and buffers.
//! - [`archive`]: where history is kept when many pods run, in MySQL; [`writer`] brings it there.
//! - [`pods`]: the pods that live, and what they agree on when Redis is not what it was.
//! - [`hub`]: logs that have readers here: order, repair, the newest events in memory.
//! - [`backplane`]: how pods hear each other.
//! - [`readers`]: the reading room: threads that own the sockets of streams that have caught up.
//! - [`chat`]: what it means to be in a room: presence, limits, visits.
//! - [`identity`]: sessions, tickets, the names of guests, the people of a site that embeds maru.
//! - [`http`]: the front desk: requests in, answers and streams out.
//! - [`server`]: open, accept, and the order of ending. [`start`], [`config`], [`clock`],
//!   [`metrics`], [`tls`]: as they say.
//! - [`commands`]: what the program does besides serving; [`doctor`] is one of them, `client` how it asks a
//!   server.
//!
//! Imports point one way: `server → http → chat → hub → {log, backplane, readers} → event`, and
//! `{writer, pods} → log → archive → event`.

pub mod archive;
pub mod backplane;
pub mod chat;
pub(crate) mod client;
pub mod clock;
pub mod commands;
pub mod config;
pub mod doctor;
pub mod event;
pub mod faults;
pub(crate) mod files;
pub mod http;
pub mod hub;
pub mod identity;
pub mod log;
pub mod metrics;
pub(crate) mod packed;
pub mod pods;
pub mod readers;
pub mod server;
#[cfg(test)]
mod sim;
pub mod start;
pub mod tls;
pub mod writer;
