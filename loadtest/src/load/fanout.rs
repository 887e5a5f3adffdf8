//! One room, many readers: what a delivery costs the server, how late the last reader has it, and both beside the floor.

use super::plan::{How, Shape, compare, floor_alone};
use super::report::Report;
use super::{Failure, Server};

/// What to measure.
#[derive(Clone, Debug, clap::Args)]
pub struct Fanout {
    #[command(flatten)]
    server: Server,
    /// Readers of the room; several counts are measured one after the other
    #[arg(long, value_delimiter = ',', default_value = "1000,10000")]
    readers: Vec<usize>,
    #[command(flatten)]
    how: How,
}

/// The floor alone.
#[derive(Clone, Debug, clap::Args)]
pub struct FloorAlone {
    /// Readers; several counts are measured one after the other
    #[arg(long, value_delimiter = ',', default_value = "1000,10000")]
    readers: Vec<usize>,
    /// Size of the chunk that each reader gets (bytes)
    #[arg(long, default_value_t = 300)]
    chunk: usize,
    /// The floor on core 0, the load on core 1
    #[arg(long)]
    pin: bool,
    #[command(flatten)]
    how: How,
}

/// Measures the server, and the floor beside it.
///
/// # Errors
/// When anything is lost, repeated or out of order, or cannot be set up.
pub fn fanout(args: &Fanout) -> Result<Report, Failure> {
    let shapes: Vec<_> = args.readers.iter().map(|&readers| Shape::one(readers)).collect();
    compare("fanout", &args.server, &shapes, &args.how)
}

/// Measures the floor alone.
///
/// # Errors
/// As [`fanout`].
pub fn floor(args: &FloorAlone) -> Result<Report, Failure> {
    let shapes: Vec<_> = args.readers.iter().map(|&readers| Shape::one(readers)).collect();
    floor_alone(&shapes, &args.how, args.chunk, args.pin)
}
