//! stub
#![allow(missing_docs, dead_code, unused)]
use std::time::Instant;
use crate::{chat::Lang, event::*};
#[derive(Default)]
pub struct Rules;
pub struct Change;
#[derive(serde::Serialize)]
pub struct Told;
impl Change { pub fn told_in(&self, l: Lang) -> Told { Told } }
pub struct Presence;
impl Presence {
 pub fn new(r: Rules) -> Self { Presence }
 pub fn enter(&mut self, u: UserId, n: &Name, k: UserKind, now: Instant) -> Option<Change> { None }
 pub fn leave(&mut self, u: UserId, now: Instant) {}
 pub fn rename(&mut self, u: UserId, n: &Name) {}
 pub fn tick(&mut self, now: Instant) -> Option<Change> { None }
 pub fn due(&self) -> Option<Instant> { None }
 pub fn online(&self) -> usize { 0 }
 pub fn people(&self, n: usize) -> Vec<User> { vec![] }
}
