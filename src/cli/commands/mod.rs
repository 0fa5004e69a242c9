//! The commands, one folder or file each. No command uses another one.

pub mod bench;
pub mod check;
pub mod doctor;
pub mod manual;
pub mod serve;
#[cfg(feature = "store")]
pub mod store;
pub mod tail;
pub mod ticket;
