//! What nodes know of each other, on a made-up clock over a real `redis-server`: connections, leases,
//! presence, groups and questions. Messages that are kept have tests of their own.

#![cfg(feature = "cluster")]

#[path = "../support/redis_server.rs"]
mod redis_server;
mod rig;

mod acks;
mod blocks;
mod claims;
mod events;
mod groups;
mod leases;
mod passing;
mod places;
mod presence;
mod questions;
mod reports;
