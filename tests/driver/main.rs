//! The driver over fake sockets: what it reads, writes, accepts and frees, and
//! how many calls that takes.

#[path = "../support/mod.rs"]
mod support;

mod accepting;
mod closing;
mod crowd;
mod fake;
mod lateness;
mod measured;
mod random;
mod reading;
mod walking;
mod writing;
