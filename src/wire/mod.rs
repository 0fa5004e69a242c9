//! Bytes and their meaning, for both ends of a connection: HTTP, WebSocket frames, JSON, and what
//! proxies say. Every function here gets bytes and gives values, or the other way round.
//!
//! Must not know: connections that are held, sockets, clocks, users. This is the only room that
//! touches tungstenite and httparse.

pub(crate) mod blocks;
pub(crate) mod http;
pub(crate) mod json;
mod peer;
pub(crate) mod proxy;
pub(crate) mod ws;

pub use peer::Peer;
