//! What several kinds of tests need: real clients and servers, whose every wait has a deadline.
//!
//! These modules must not know what a test is about.

#![allow(dead_code, reason = "every test target uses another part")]

pub mod client;
pub mod serve;
