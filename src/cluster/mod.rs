//! Several nodes that serve the same users, over Redis or Valkey.
//!
//! Nodes hold connections, and Redis holds the truth: who is connected where, who is a member of which
//! group, and the messages that wait. `node/` decides everything without I/O and without a clock;
//! `io/` has the threads that talk to Redis; the [journal](crate::keeping::Journal) and the
//! [engine](crate::nodes::Engine) of a server are two handles on one queue of requests.

pub mod ask;
pub mod codec;
mod handle;
mod info;
mod io;
pub mod node;

pub use ask::Ask;
pub use handle::{Intake, Keeper, Linked, Shared};
pub use info::{Product, Server, Unfit, Version};
pub use io::{Cluster, ClusterConfig, Examined, Member, RedisUrl, StartError};

use crate::engine::Told;
use crate::journal::Completed;

/// What comes out of a node for the loop of its server.
#[derive(Debug)]
pub enum Event {
    /// A request to the journal is completed.
    Journal(Completed),
    /// The engine tells something.
    Engine(Told),
}
