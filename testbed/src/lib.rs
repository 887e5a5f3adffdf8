//! The servers that pods stand on, and those that stand before them, for tests and measurements: the real programs,
//! each a process of its own on a free port of the loopback with throw-away data, ended when it is dropped.
//!
//! Nothing here is a stand-in, and a server that cannot be started is a panic that says why: a test never passes
//! because something was not there.

mod fault_proxy;
pub mod front;
mod mariadb;
mod nats;
mod network;
mod port;
mod process;
mod redis;
mod sentinel;
mod tls;

pub use fault_proxy::{Fault, FaultProxy, Way, Whom};
pub use mariadb::{Database, Idler, MariaDb};
pub use nats::Nats;
pub use network::{Link, Network};
pub use port::Port;
pub use redis::{Aof, Redis};
pub use sentinel::Sentinel;
pub use tls::Tls;
