//! Languages of the server's own texts.

use clap::ValueEnum;

/// A language that the server itself speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
pub enum Lang {
    /// English
    En,
    /// Korean
    Ko,
}
