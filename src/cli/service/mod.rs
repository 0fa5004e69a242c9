//! The process among others: its signals, its log, and the service manager that started it.
//!
//! Must not know: what is served, or which settings there are.

pub mod inherited;
pub mod logger;
mod quota;
pub mod signals;
pub mod supervisor;
