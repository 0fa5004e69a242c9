//! The protocols of mini-programs over real sockets. The tests of the published page compare the exact
//! bytes where the protocol gives them.

#[path = "../support/mod.rs"]
mod support;

mod door;
mod pages;
#[cfg(feature = "tickets")]
mod tickets;
mod users;
mod v2;
