//! The same room on other servers: same text, same readers, one after the other, beside a maru and the floor.
//!
//! Each server is started when it is its turn, alone, with throw-away files on a free port of the loopback, and ended
//! after it. All rounds go through all of them, so that what changes on the machine meanwhile changes for all. One
//! that loses, repeats or reorders has no figure and fails the run, but the others still have their turn.
//!
//! A peer is a [`Peer`]: how it is found and started, and a [`Dialect`]: how one listens and speaks there.

mod centrifugo;
mod durable_streams;
mod mercure;
mod nchan;
mod node_sse;
mod npm;
mod report;
mod socketio;
mod start;

use super::counter::Step;
use super::plan::{How, Plan, Shape};
use super::report::Measured;
use super::target::Target;
use super::voices::SEQ;
use super::{Failure, Server};
use crate::cursor::Cursor;
use crate::http::Client;
use crate::sse::Event;
use crate::stream::Listen;
use report::Turns;
use start::{first_line, on_path};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub use report::Report;
pub(crate) use start::Start;

const ALL: [&Peer; 6] = [
    &nchan::PEER,
    &durable_streams::PEER,
    &centrifugo::PEER,
    &mercure::PEER,
    &node_sse::PEER,
    &socketio::PEER,
];

/// What to measure.
#[derive(Clone, Debug, clap::Args)]
pub struct Peers {
    #[command(flatten)]
    server: Server,
    /// Only these: nchan, durable-streams, centrifugo, mercure, node-sse, socket.io; default: all that are installed
    #[arg(long, value_delimiter = ',', value_parser = clap::builder::PossibleValuesParser::new(ALL.map(|p| p.name)))]
    only: Vec<String>,
    /// Centrifugo 6; default: the one on PATH
    #[arg(long)]
    centrifugo: Option<PathBuf>,
    /// Mercure; default: the one on PATH
    #[arg(long)]
    mercure: Option<PathBuf>,
    /// Readers of the room; several counts are measured one after the other
    #[arg(long, value_delimiter = ',', default_value = "1000,10000")]
    readers: Vec<usize>,
    #[command(flatten)]
    how: How,
}

/// Another server.
struct Peer {
    name: &'static str,
    /// A sentence for whoever does not have it.
    how_to_get: &'static str,
    /// What was chosen, and why it is its best.
    configuration: &'static str,
    /// Nothing if it is not installed.
    find: fn(&Peers) -> Option<Installed>,
    /// With throw-away files in this directory.
    start: fn(&Installed, &Path) -> Result<Start, Failure>,
}

/// A peer that is there.
struct Installed {
    program: PathBuf,
    version: String,
}

type Found = (&'static Peer, Installed);

/// How one listens and speaks at a server. Rooms are named by what may stand in a path.
pub(crate) struct Dialect {
    /// Path and query of a reader's stream.
    pub(crate) listen: fn(&str) -> String,
    /// The rest of that request, from the header fields behind `Host` on.
    pub(crate) rest: &'static [u8],
    /// What the reader gets until it is subscribed.
    pub(crate) steps: &'static [Step],
    /// What must be done before anybody listens.
    pub(crate) make_room: fn(SocketAddr, &str) -> Result<(), Failure>,
    /// Path of a POST that speaks in a room, and its header fields.
    pub(crate) post: fn(&str) -> (String, String),
    /// The body of a POST with this message, which is a JSON object.
    pub(crate) body: fn(&str, &str) -> String,
    /// Whether this status and body acknowledge it.
    pub(crate) accepts: fn(u16, &[u8]) -> bool,
}

/// Who takes a turn.
enum Contestant<'a> {
    Floor,
    Maru,
    Peer(&'static Peer, &'a Installed),
}

impl Contestant<'_> {
    fn name(&self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Maru => "maru",
            Self::Peer(peer, _) => peer.name,
        }
    }
}

/// Measures all servers that are there.
///
/// # Errors
/// When maru or the floor fails, or something that was asked for is not there. A failure of a peer is in the report.
pub fn peers(args: &Peers) -> Result<Report, Failure> {
    if let Some(path) = [&args.centrifugo, &args.mercure].into_iter().flatten().find(|path| !path.is_file()) {
        return Err(Failure::Setup(format!("there is no program at {}", path.display())));
    }
    let shapes: Vec<_> = args.readers.iter().map(|&readers| Shape::one(readers)).collect();
    let plan = Plan::new(&args.how, &shapes)?;
    let (found, missing) = find(args)?;
    for peer in &missing {
        eprintln!("{} is not measured: {}", peer.name, peer.how_to_get);
    }
    let scene = Scene::new(&args.server, &plan)?;
    let peers = || found.iter().map(|(peer, installed)| Contestant::Peer(peer, installed));
    let mut turns = Turns::default();
    for shape in shapes {
        for round in 1..=args.how.rounds {
            for contestant in [Contestant::Floor, Contestant::Maru].into_iter().chain(peers()) {
                let mut command = String::new();
                let outcome = scene.take_turn(&contestant, shape, round, &mut command);
                turns.take(&contestant, command, shape, round, outcome)?;
            }
        }
    }
    Ok(Report::new(plan.pace(), args.how.rate, turns, &missing))
}

/// The peers that are there, and those that are not.
fn find(args: &Peers) -> Result<(Vec<Found>, Vec<&'static Peer>), Failure> {
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for peer in ALL {
        let is_asked_for = args.only.iter().any(|name| name == peer.name);
        if !args.only.is_empty() && !is_asked_for {
            continue;
        }
        match (peer.find)(args) {
            Some(installed) => found.push((peer, installed)),
            None if is_asked_for => {
                return Err(Failure::Setup(format!("{} is not there: {}", peer.name, peer.how_to_get)));
            }
            None => missing.push(peer),
        }
    }
    Ok((found, missing))
}

/// What all turns share.
struct Scene<'a> {
    plan: &'a Plan,
    server: &'a Server,
    /// Bytes of a chunk of maru's, for the floor.
    chunk: usize,
    /// The data of an event of maru's with that text, and [`SEQ`] for its seq.
    message: String,
}

impl<'a> Scene<'a> {
    fn new(server: &'a Server, plan: &'a Plan) -> Result<Self, Failure> {
        let maru = maru(server)?;
        let chunk = plan.chunk(&maru).map_err(|e| maru.explain(e))?;
        let message = message(&maru, plan.text()).map_err(|e| maru.explain(e))?;
        Ok(Self { plan, server, chunk, message })
    }

    fn take_turn(
        &self,
        contestant: &Contestant<'_>,
        shape: Shape,
        round: usize,
        command: &mut String,
    ) -> Result<Measured, Failure> {
        let target = match contestant {
            Contestant::Floor => Target::floor(self.server.pin)?,
            Contestant::Maru => maru(self.server)?,
            Contestant::Peer(peer, installed) => {
                Target::peer(peer.name, self.server.pin, &self.message, |directory| {
                    let start = (peer.start)(installed, directory)?;
                    *command = start.to_string(directory);
                    Ok(start)
                })?
            }
        };
        self.plan.measure(&[&target], shape, round, self.chunk)
    }
}

fn maru(server: &Server) -> Result<Target, Failure> {
    Target::server(server, &["--rate-limit", "off"])
}

/// The data of an event with this text, with [`SEQ`] for its seq.
fn message(maru: &Target, text: &str) -> Result<String, Failure> {
    const ROOM: &str = "/r/fanout-0000000-00000-00";
    let deadline = Instant::now() + Duration::from_secs(10);
    let listen = Listen::to(&format!("{ROOM}?since=live"));
    let mut stream = listen.open(maru.address())?;
    stream.wait_for("live", deadline)?;
    let authorization = format!("Bearer {}", maru.token()?);
    Client::new(maru.address()).header("Authorization", &authorization).post(ROOM, "text/plain", text)?;
    let Event { data, last_event_id: cursor, .. } = stream.wait_for("message", deadline)?;
    let seq = cursor.parse::<Cursor>().map_err(|e| Failure::Wrong(e.to_string()))?.seq;
    let wrong = || Failure::Wrong(format!("event {cursor} without its seq: {data}"));
    let (before, after) = data.split_once(&format!("\"seq\":{seq},")).ok_or_else(wrong)?;
    Ok(format!("{before}\"seq\":{SEQ},{after}"))
}

/// For servers whose rooms come into being by themselves.
fn no_room_to_make(_: SocketAddr, _: &str) -> Result<(), Failure> {
    Ok(())
}

/// A message as it is.
fn bare(_room: &str, message: &str) -> String {
    message.to_owned()
}

/// Any status that means success.
fn is_success(status: u16, _: &[u8]) -> bool {
    (200..300).contains(&status)
}
