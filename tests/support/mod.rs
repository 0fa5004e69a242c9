//! What tests of more than one kind need: a client's frames, a server's frames
//! taken apart, and real clients and servers whose every wait has a deadline.
//!
//! Must not know: what a test is about.

#![allow(dead_code, reason = "every test target uses another part")]

pub mod client;
pub mod frames;
pub mod serve;
