//! The fuzz targets of longlink: functions that take any bytes and panic when something does
//! not hold.
//!
//! libFuzzer calls them through the programs in `fuzz_targets/`; the plain driver in
//! `tests/plain.rs` calls the same functions with the seeds in `seeds/` and with random inputs,
//! on any machine that has Rust.

pub mod api;
pub mod forwarded;
pub mod frames;
pub mod http;
pub mod hub;
pub mod input;
pub mod json;
pub mod outbox;
pub mod proxy;
pub mod queue;
pub mod serde;
pub mod stream;
pub mod strict;
pub mod tickets;
pub mod url;
pub mod wheel;

// The URLs of the command are read in its own crate, which has no library.
#[path = "../../../src/cli/client/url.rs"]
mod client_url;

use std::cell::RefCell;
use std::collections::BTreeSet;

/// One function for the fuzzers, and what is known about its inputs.
pub struct Target {
    /// Also the name of its program and of its folder under `seeds/`.
    pub name: &'static str,
    pub run: fn(&[u8]),
    /// What the target reports with [`reached`]. The seeds must reach each of them: a target
    /// whose inputs are all refused at the door would find nothing.
    pub branches: &'static [&'static str],
    /// Pieces of which interesting inputs are made; the plain driver puts them into random ones.
    pub words: &'static [&'static [u8]],
}

pub const TARGETS: &[Target] = &[
    api::TARGET,
    forwarded::TARGET,
    frames::TARGET,
    http::TARGET,
    hub::TARGET,
    json::TARGET,
    outbox::TARGET,
    proxy::TARGET,
    queue::TARGET,
    tickets::TARGET,
    url::TARGET,
    wheel::TARGET,
];

thread_local! {
    static REACHED: RefCell<BTreeSet<&'static str>> = const { RefCell::new(BTreeSet::new()) };
}

/// A target says that its input has come to this branch. libFuzzer measures coverage by itself.
pub fn reached(branch: &'static str) {
    if !cfg!(feature = "libfuzzer") {
        REACHED.with_borrow_mut(|reached| reached.insert(branch));
    }
}

/// The branches that were reached in this thread since it was last asked.
pub fn take_reached() -> BTreeSet<&'static str> {
    REACHED.take()
}
