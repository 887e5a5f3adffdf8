//! The simulator: pods, their servers and their people in one thread, under a clock and a schedule that come from a seed.
//!
//! What decides is maru's own code: the hub's order, repair and tails, where a stream starts, the rules of the scripts
//! as their model has them, the agreement on another life of Redis, leases, batches and trimming, presence, bans. What
//! lies between is modelled: a Redis that loses its tail, a MySQL whose commits fail or are unknown, links that delay
//! and break. Processes are killed and stopped, clocks jump. The checker of `loadtest` decides over what was seen.
//!
//! `MARU_SEED=n cargo test --lib sim::every_seed` runs one seed again.

#![expect(clippy::disallowed_types, reason = "everything here is in one thread")]

mod desk;
mod judge;
mod link;
mod mysql;
mod people;
mod plan;
mod pod;
mod ports;
mod reader;
mod redis;
mod run;
mod shrink;
mod speaker;
mod stream;
mod tests;
mod time;
mod world;
