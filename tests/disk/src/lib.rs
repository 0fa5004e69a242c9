//! A disk in memory for SQLite that forgets what was not synced.
//!
//! [`Disk`] is the disk with its faults, and [`Disk::vfs`] the name by which SQLite opens files on it.

mod files;
mod layer;
mod vfs;

pub use files::{Change, Counts, Faults};
pub use layer::Disk;
