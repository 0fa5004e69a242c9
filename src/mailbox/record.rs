//! The record of one mailbox.

use compact_str::CompactString;

use super::cids::Cids;
use super::devices::{Device, MAX_DEVICES, Slots, State};
use super::list::{Links, NONE};
use super::sequence::Ring;

/// Names a mailbox. A key stays valid while a device of the mailbox's user is connected, and otherwise until
/// the next mailbox is made or a message is kept, which may give this mailbox up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key(pub(super) u32);

impl Key {
    /// A key that names no mailbox.
    pub const NONE: Key = Key(NONE);
}

/// The answer to a send that is remembered: its id, and the state that the sender was told.
pub type Sent = (u128, u8);

/// The part of a mailbox that exists even if the mailbox is empty and has one device.
#[derive(Debug)]
pub struct Mailbox {
    pub user: CompactString,
    /// The first device that the user had; the others are in [`Full`].
    pub first: Device,
    /// The number that was given last.
    pub top: u64,
    /// How far the numbers of this mailbox reach below `top`. Lower numbers were given by an earlier
    /// mailbox of the user, which was given up.
    pub given: u32,
    /// The state of the first device.
    pub state: State,
    /// The key of the mailbox's [`Full`], or [`NONE`] if it has none.
    pub full: u32,
    pub links: Links,
    /// The slots whose device is connected.
    pub connected: Slots,
    /// The slots that have a device.
    pub known: Slots,
    pub place: Place,
    /// The eight bits above those of `given`, which are needed where all users share one counter.
    pub given_high: u8,
}

// What a mailbox with messages costs beside its record and the messages.
const _: () = assert!(size_of::<Full>() <= 112);

// An empty mailbox with one device costs its record and eight bytes of the index.
const _: () = assert!(size_of::<Mailbox>() <= 88);

/// How far the newest number of a mailbox may be above its base.
const MOST_GIVEN: u64 = (1 << 40) - 1;

/// In which list a mailbox is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It is in none: it is being moved.
    Nowhere,
    /// A device is connected, or the mailbox is pinned: it is never given up.
    Here,
    /// In the list of strangers: the user has never connected.
    Strangers,
    /// In the list of users who are away: no device of the user is connected.
    Away,
}

/// The part of a mailbox that exists only while the mailbox has messages, several devices or remembered
/// sends.
#[derive(Debug, Default)]
pub struct Full {
    pub ring: Ring,
    pub others: Vec<(Device, State)>,
    /// The user's recent sends, if there are any.
    pub cids: Option<Box<Cids>>,
    /// For each slot, the low half of the number of its first unacknowledged message, and on how
    /// many connections it was written and not acknowledged; `None` if that has never happened.
    pub tries: Option<Box<[(u32, u8); MAX_DEVICES]>>,
    /// The key of the mailbox that this belongs to.
    pub owner: u32,
    /// The bytes of memory that were counted for this the last time.
    pub counted: u32,
    /// When this is looked at next, in seconds; [`u32::MAX`] for never.
    pub due: u32,
    /// The key of the mailbox that the user has written to last, or that of any other one.
    pub peer: u32,
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
            place: Place::Nowhere,
            given_high: 0,
        }
    }

    /// The highest number that this mailbox has not given. An earlier mailbox of the user, which was given
    /// up, may have given it.
    pub fn base(&self) -> u64 {
        self.top - (u64::from(self.given_high) << 32 | u64::from(self.given))
    }

    /// Moves the newest number up, and leaves the base where it is. If the number is too far above the
    /// base, the base follows.
    pub fn raise(&mut self, top: u64) {
        let given = (top - self.base()).min(MOST_GIVEN);
        (self.given, self.given_high) = (given as u32, (given >> 32) as u8);
        self.top = top;
    }
}

impl Full {
    /// Whether this holds nothing, so that it can be removed.
    pub fn is_empty(&self) -> bool {
        self.ring.is_empty()
            && self.others.is_empty()
            && self.cids.as_deref().is_none_or(Cids::is_empty)
    }

    /// The bytes of memory that this takes, without the bodies of messages.
    pub fn memory(&self) -> usize {
        let others = self.others.capacity() * size_of::<(Device, State)>();
        let cids = self.cids.as_deref().map_or(0, Cids::memory);
        let tries = self.tries.as_deref().map_or(0, size_of_val);
        size_of::<Full>() + self.ring.overhead() + cids + tries + others
    }
}
