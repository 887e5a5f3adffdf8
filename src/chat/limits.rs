//! stub
#![allow(missing_docs, dead_code, unused)]
use std::{collections::HashMap, hash::Hash, net::IpAddr, time::{Duration, Instant}};
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Client(u64);
impl From<IpAddr> for Client { fn from(a: IpAddr) -> Self { Client(0) } }
impl Client { pub fn octets(self) -> [u8; 8] { self.0.to_be_bytes() } }
pub struct RetryAfter(pub Duration);
pub struct Gcra { pub per_second: u32, pub burst: u32 }
pub struct Limits<K>(HashMap<K, u8>);
impl<K: Hash + Eq + Copy> Limits<K> { pub fn new(g: Gcra, n: usize) -> Self { Limits(HashMap::new()) } pub fn check(&mut self, k: K, now: Instant) -> Result<(), RetryAfter> { Ok(()) } }
pub struct Counts<K>(HashMap<K, u32>);
impl<K: Hash + Eq + Copy> Counts<K> { pub fn new() -> Self { Counts(HashMap::new()) } pub fn take(&mut self, k: K, max: u32) -> bool { true } pub fn release(&mut self, k: K) {} }
