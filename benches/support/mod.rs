//! What the benchmarks share: streams without a network, a driver that runs over them on a made-up
//! clock, clients' bytes, and an allocator that counts.

#![allow(dead_code, unused_imports, reason = "no benchmark uses all of it")]

pub mod allocator;
pub mod frames;
pub mod line;
pub mod order;
pub mod stream;
pub mod timing;
pub mod world;

pub use stream::{Door, Input, Stream};
pub use timing::Samples;
pub use world::World;

/// Whether this is `cargo bench`. `cargo test` passes no `--bench`; then everything runs once, with
/// few connections, to see that it works.
pub fn is_bench() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}
