//! Mailboxes: what is kept for each user until every known device of the user has handled it.
//!
//! This is a pure data structure. Time is an argument, in seconds of the caller's clock, and there is
//! no I/O. This room must not know connections, frames and the journal.
//!
//! [`Mailboxes`] holds the mailboxes of all users. A user without a mailbox costs nothing, and an empty
//! mailbox with one device costs its record and an entry of the index.
//!
//! A *stranger* is a user to whom somebody has sent a message and who has never connected.

// Only the backend's interface looks into mailboxes from outside.
#![cfg_attr(not(feature = "backend"), allow(dead_code))]

mod bounds;
mod cids;
mod connect;
mod copies;
mod devices;
mod disk;
mod index;
mod list;
mod lost;
mod message;
mod packed;
mod parts;
mod pins;
mod record;
mod records;
mod recover;
mod sequence;
mod set;
#[cfg(test)]
mod tests;

pub use cids::CID_SECONDS;
pub use connect::{Last, Welcome};
pub use copies::Filling;
pub use devices::{MAX_DEVICES, Slots};
pub use lost::{Lost, Reason};
pub use message::{Body, Held, Marks};
pub use record::{Key, Sent};
pub use records::Records;
pub use recover::Old;
pub use sequence::Next;
pub use set::Mailboxes;

/// The bounds of mailboxes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most messages of a user who is away.
    pub messages: usize,
    /// The most bytes of messages of a user who is away.
    pub bytes: usize,
    /// The most bytes of messages of a user with a device that is connected and acknowledges.
    pub live_bytes: usize,
    /// How long a message is kept, in seconds.
    pub ttl: u32,
    /// The most bytes of all mailboxes together.
    pub memory: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            messages: 64,
            bytes: 64 * 1024,
            live_bytes: 256 * 1024,
            ttl: 1_800,
            memory: 256 << 20,
        }
    }
}
