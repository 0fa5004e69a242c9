//! Hostile peers over real sockets. Nothing that a peer does makes the server panic, leak or block,
//! and two other users, the bystanders, chat all the time.

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
