//! What many pods promise together, with every server that they stand on killed, hung, emptied and put back. Not run
//! where there is one process; `nats` only where there is NATS.

mod archive;
mod controls;
mod harm;
mod nats;
mod partitions;
mod proxies;
mod reading;
mod speaking;
mod tls;
mod ways;
