//! The side that faces a mini-program's backend.
//!
//! Must not know: sockets of clients, frames.

pub mod webhooks;
