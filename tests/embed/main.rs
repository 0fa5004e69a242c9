//! A host with its own `mio::Poll`, and servers moved to threads.

#[path = "../support/mod.rs"]
mod support;

mod host;
mod lateness;
mod listening;
mod moved;
