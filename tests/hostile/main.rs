//! Whatever a peer does, over real sockets: nothing panics, leaks or blocks,
//! and two bystanders chat through all of it.

#[path = "../support/mod.rs"]
mod support;

mod bystanders;
mod fields;
mod floods;
mod frames;
mod heads;
mod json;
mod order;
mod proxies;
mod stalls;
