//! What is to be written: the buffers that frames are encoded into, and the queue of each
//! connection.

pub(crate) mod arena;
pub(crate) mod chunks;
pub(crate) mod outbound;
