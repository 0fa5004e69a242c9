//! The backend's interface, over real sockets.

#[cfg(feature = "cluster")]
#[path = "../support/redis_server.rs"]
mod redis_server;
#[path = "../support/mod.rs"]
mod support;

mod bad_input;
mod blocks;
mod client;
mod disk;
mod keys;
mod mailbox;
mod metrics;
#[cfg(feature = "cluster")]
mod nodes;
mod online;
mod routes;
mod slow_readers;
mod store;
mod stored;
#[cfg(feature = "tickets")]
mod tickets;
mod traces;
mod under_load;
