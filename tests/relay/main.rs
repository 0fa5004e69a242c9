//! The protocol of the published page over real sockets, in the exact bytes
//! where the protocol gives them.

#[path = "../support/mod.rs"]
mod support;

mod door;
mod pages;
#[cfg(feature = "tickets")]
mod tickets;
mod users;
mod v2;
