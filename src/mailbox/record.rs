//! The record of one mailbox.

use compact_str::CompactString;

use super::cids::Cids;
use super::devices::{Device, MAX_DEVICES, Slots, State};
use super::list::{Links, NONE};
use super::sequence::Ring;

/// Names a mailbox while a device of its user is connected, and within one callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key(pub(super) u32);

/// What is remembered of a send: its id, and what became of it.
pub type Sent = (u128, u8);

/// What an empty mailbox with one device needs.
#[derive(Debug)]
pub struct Mailbox {
    pub user: CompactString,
    /// The first device that the user had; the others are in [`Full`].
    pub first: Device,
    /// The number that was given last.
    pub top: u64,
    /// How many numbers this mailbox has given. Those below belong to one that was given up.
    pub given: u32,
    /// The first device's state.
    pub state: State,
    /// The key of the rest, [`NONE`] if there is nothing.
    pub full: u32,
    pub links: Links,
    /// Which slots have a device that is connected.
    pub connected: Slots,
    /// Which slots have a device.
    pub known: Slots,
    pub place: Place,
}

// An empty mailbox with one device costs its record and eight bytes of the index.
const _: () = assert!(size_of::<Mailbox>() <= 88);

/// In which list a mailbox is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A device is connected: the mailbox is in no list, and is never given up.
    Here,
    /// The user has never connected.
    Strangers,
    /// The user is away.
    Away,
}

/// What only a mailbox has that is not empty.
#[derive(Debug, Default)]
pub struct Full {
    pub ring: Ring,
    pub others: Vec<(Device, State)>,
    pub cids: Cids<Sent>,
    /// For each slot, the low half of the number of its first unacknowledged message, and on how
    /// many connections it was written and not acknowledged.
    pub tries: [(u32, u8); MAX_DEVICES],
    /// The mailbox that this belongs to.
    pub owner: u32,
    /// The bytes that were last counted for this.
    pub counted: usize,
}

impl Mailbox {
    pub fn new(user: &str, top: u64) -> Self {
        Mailbox {
            user: user.into(),
            first: Device::default(),
            top,
            given: 0,
            state: 0,
            full: NONE,
            links: Links::default(),
            connected: Slots::NONE,
            known: Slots::NONE,
            place: Place::Here,
        }
    }

    /// The highest number that this mailbox has not given: it may belong to one that was given up.
    pub fn base(&self) -> u64 {
        self.top - u64::from(self.given)
    }
}

impl Full {
    /// Whether there is nothing that has to be remembered.
    pub fn is_empty(&self) -> bool {
        self.ring.is_empty() && self.others.is_empty() && self.cids.is_empty()
    }

    /// Bytes of memory, without the bodies of messages.
    pub fn memory(&self) -> usize {
        let others = self.others.capacity() * size_of::<(Device, State)>();
        size_of::<Full>() + self.ring.overhead() + self.cids.memory() + others
    }
}
