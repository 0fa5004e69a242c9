//! The table of connections: a record for each, which slots are in use, and how many connections
//! are in which phase. It knows nothing of bytes, users or time.

pub(in crate::hub) mod column;
pub(in crate::hub) mod phases;
pub(in crate::hub) mod record;
pub(in crate::hub) mod slots;
