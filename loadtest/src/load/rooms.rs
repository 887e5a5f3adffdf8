//! Many rooms: what a delivery costs where few listen to each, and whether rooms that nobody listens to cost anything.

use super::plan::{How, Shape, compare};
use super::report::Report;
use super::{Failure, Server};

/// What to measure.
#[derive(Clone, Debug, clap::Args)]
pub struct Rooms {
    #[command(flatten)]
    server: Server,
    /// Rooms that have readers, and are spoken in by turns; several counts are measured one after the other
    #[arg(long, value_delimiter = ',', default_value = "1,10,100,1000")]
    rooms: Vec<usize>,
    /// Readers of each; several counts are measured one after the other
    #[arg(long, value_delimiter = ',', default_value = "10")]
    readers: Vec<usize>,
    /// Rooms besides, spoken in once and without readers; several counts are measured one after the other
    #[arg(long, value_delimiter = ',', default_value = "0")]
    beside: Vec<usize>,
    #[command(flatten)]
    how: How,
}

/// Measures the server, and the floor beside it.
///
/// # Errors
/// When anything is lost, repeated or out of order, or cannot be set up.
pub fn rooms(args: &Rooms) -> Result<Report, Failure> {
    let mut shapes = Vec::new();
    let mut besides = args.beside.clone();
    besides.sort_unstable();
    for beside in besides {
        for &readers in &args.readers {
            shapes.extend(args.rooms.iter().map(|&rooms| Shape { rooms, readers, beside }));
        }
    }
    compare("rooms", &args.server, &shapes, &args.how)
}
