//! The process and its environment: its signals, its log, and the service manager that started it.
//!
//! This module must not know what is served, and which settings there are.

pub mod inherited;
pub mod logger;
mod quota;
pub mod signals;
pub mod supervisor;
