//! Bytes that have arrived and wait to be handled.

pub(crate) mod stash;
