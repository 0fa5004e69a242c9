//! The simulated Redis of `tests/support/redis` answers as a real `redis-server` does, and has the faults that
//! it is meant to have.
//!
//! `REDIS_SEED` runs one seed, `REDIS_SEEDS` so many (default 100), of random commands and scripts that both get.

mod commands;
mod compare;
mod faults;
#[path = "../support/redis/mod.rs"]
mod redis;
#[path = "../support/redis_server.rs"]
mod redis_server;
mod scripts;
#[path = "../support/seeds.rs"]
mod seeds;
