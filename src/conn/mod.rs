//! One connection: its phase, what has arrived of a message, what has yet to
//! be sent. Bytes in, events out; bytes to send in a queue.
//!
//! Must not know: sockets, clocks, other connections, users beyond a name.
//! This is the only layer that touches tungstenite.

pub(crate) mod arena;
pub(crate) mod body;
pub(crate) mod chunks;
pub(crate) mod close;
pub(crate) mod date;
pub(crate) mod decode;
mod essentials;
pub(crate) mod fields;
pub(crate) mod forwarded;
pub(crate) mod frame;
pub(crate) mod head;
pub(crate) mod outbound;
pub(crate) mod proxy_header;
mod record;
pub(crate) mod response;
mod stash;
pub(crate) mod target;
pub(crate) mod upgrade;

pub use record::Peer;
pub(crate) use record::{Awaited, Connection, Details, Flags, Inbound, Phase, Upload};
