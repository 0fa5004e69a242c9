//! A node: what it asks Redis and what it makes of the answers, without I/O and without a clock.

/// Commands that are sent to one Redis at once.
#[derive(Debug, Default)]
pub struct Batch {
    /// The commands, as Redis reads them.
    pub bytes: Vec<u8>,
    /// How many there are. Each is answered with one reply, in this order.
    pub count: usize,
}
