//! The directory: users with their devices, groups, and how many connections come from each
//! address, and how old they are. Nothing in this room sends, reads or knows a socket.

pub(in crate::hub) mod addresses;
pub(in crate::hub) mod ages;
pub(in crate::hub) mod bind;
pub(in crate::hub) mod groups;
pub(in crate::hub) mod users;
