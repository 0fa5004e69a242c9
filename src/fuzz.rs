//! The parts of the inside that the fuzz targets in `tests/fuzz` call.
//!
//! This module exists only with the feature `__fuzz`, which nothing but `tests/fuzz` turns
//! on. It contains re-exports and no code: what a fuzz target runs is what the server runs.

pub use crate::conn::arena::{Arena, Segment};
pub use crate::conn::outbound::Outbound;
