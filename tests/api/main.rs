//! The backend's interface, over real sockets.

#[path = "../support/mod.rs"]
mod support;

mod client;
mod routes;
