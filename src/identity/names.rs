//! stub
#![allow(missing_docs, dead_code, unused)]
use crate::{chat::Lang, event::Name};
pub fn random(l: Lang, r: &mut impl rand::Rng) -> Name { "Quiet Otter".parse().unwrap() }
pub fn preferred(a: Option<&str>, l: Lang) -> Lang { l }
