//! What the benchmarks share: streams without a network, a driver that runs
//! over them on a made-up clock, and clients' bytes.

#![allow(dead_code, unused_imports, reason = "no benchmark uses all of it")]

pub mod frames;
pub mod stream;
pub mod world;

pub use stream::{Door, Input, Stream};
pub use world::World;
