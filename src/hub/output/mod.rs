//! Everything that is to be written: encoding, queues, broadcasts that walk, writing, and the
//! pressure that makes senders wait.
//!
//! [`Output`] owns all of it. Its fields can be reached in this room alone, so queues, references
//! to encoded bytes and the counts of connections that are blocked or pressed change nowhere else.
//! Outside this room a connection is opened, parked and ended through the functions of
//! [`activity`], which have a broadcast on its way queued first. Nobody has to remember that.
//!
//! This room must not know what a message means, who a user is, or why a connection ends.

mod activity;
pub(crate) mod arena;
mod chunks;
mod dirty;
mod fan_out;
mod flush;
pub(crate) mod outbound;
mod prefixed;
mod pressure;
mod send;

pub use flush::{Pending, Sent, Sink, Wrote};
pub use prefixed::FanOut;

use arena::Arena;
use dirty::Dirty;
use fan_out::Walk;
use pressure::Bounds;

use crate::hub::Config;

/// The proof that the rest of a broadcast's walk was queued. A function that changes whether a
/// connection gets what is sent to everyone needs it, and only this room makes it.
#[derive(Debug)]
pub struct Settled(());

/// All bytes that wait to be written.
#[derive(Debug)]
pub struct Output {
    bounds: Bounds,
    arena: Arena,
    dirty: Dirty,
    /// The broadcast that is walking.
    walk: Option<Walk>,
    /// How many connections whose sockets take bytes have more than half of a queue to write.
    pressed: u32,
    /// How many connections wait for their sockets to take more.
    blocked: u32,
    /// The buffer in which an HTTP answer is put together.
    answer: Vec<u8>,
}

impl Output {
    /// Makes an empty output.
    pub fn new(config: &Config) -> Self {
        Output {
            bounds: Bounds::new(config),
            arena: Arena::default(),
            dirty: Dirty::default(),
            walk: None,
            pressed: 0,
            blocked: 0,
            answer: Vec::new(),
        }
    }

    /// Returns how many connections wait for their sockets to take more.
    pub fn blocked(&self) -> usize {
        self.blocked as usize
    }

    /// Bytes of all that waits to be written, what is shared counted once.
    pub fn held(&self) -> usize {
        self.arena.held()
    }

    /// Frees what was written.
    pub fn end_turn(&mut self) {
        self.arena.end_turn();
    }
}

#[cfg(test)]
mod tests;
