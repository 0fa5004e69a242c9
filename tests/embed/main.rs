//! A host with its own `mio::Poll`, and servers moved to threads.

#[path = "../support/mod.rs"]
mod support;

mod events;
mod host;
mod lateness;
mod listening;
mod moved;
