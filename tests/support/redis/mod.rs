//! A simulated Redis for tests: the real commands and real Lua on a made-up clock, with faults that
//! a real server and a real network have, reproducible by seed.
//!
//! A test makes a [`World`], adds servers to it and connects to them. Commands go in as RESP bytes,
//! replies come out as [`redis::Value`], both after a delay in made-up time. Servers can be killed,
//! frozen, filled and failed over, and connections can be cut at any command.
//!
//! `tests/redis` compares everything here with a real `redis-server`, reply by reply. The order in which a
//! server lists the members of a hash or a set is the only thing that is made up: here it is sorted.
//! Beyond what a real server forbids, the double speaks RESP2 alone, and no command blocks.

#![allow(dead_code, unused_imports, reason = "every test target uses another part")]

mod commands;
mod data;
mod json;
mod network;
mod reply;
mod resp;
mod script;
mod server;
mod state;

pub use network::{ConnId, Cut, Got, ServerId, World};
pub use reply::Reply;
pub use resp::command;
pub use server::Survives;
