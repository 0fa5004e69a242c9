//! The devices of one user that a mailbox knows: up to which number each device has handled its messages,
//! and whether it is connected.

use compact_str::CompactString;

/// The most devices that a mailbox knows at a time.
pub const MAX_DEVICES: usize = 5;

/// A set of device slots, one bit for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slots(u8);

impl Slots {
    /// No slot.
    pub const NONE: Slots = Slots(0);

    /// The set of one slot.
    pub fn one(slot: usize) -> Self {
        debug_assert!(slot < MAX_DEVICES);
        Slots(1 << slot)
    }

    /// All slots but one.
    pub fn all_but(slot: usize) -> Self {
        Slots(!(1 << slot))
    }

    /// The set as a number, for [`Slots::of_bits`].
    pub const fn bits(self) -> u8 {
        self.0 & ((1 << MAX_DEVICES) - 1)
    }

    /// The set of a number that [`Slots::bits`] has returned.
    pub const fn of_bits(bits: u8) -> Self {
        Slots(bits)
    }

    pub fn has(self, slot: usize) -> bool {
        self.0 & (1 << slot) != 0
    }

    pub fn any(self) -> bool {
        self.0 != 0
    }

    /// Whether the set has all slots of a mailbox.
    pub fn all(self) -> bool {
        self.iter().count() == MAX_DEVICES
    }

    pub fn add(&mut self, slot: usize) {
        self.0 |= 1 << slot;
    }

    pub fn remove(&mut self, slot: usize) {
        self.0 &= !(1 << slot);
    }

    /// The slots that are in both sets.
    pub fn and(self, other: Slots) -> Slots {
        Slots(self.0 & other.0)
    }

    /// The slots in the set, in ascending order.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        (0..MAX_DEVICES).filter(move |slot| self.has(*slot))
    }
}

/// A device of a user.
#[derive(Clone, Debug, Default)]
pub struct Device {
    pub name: CompactString,
    /// The device has handled every number up to this one.
    pub cursor: u64,
}

/// A number that is kept beside a device. While the device is connected, it is the caller's name for the
/// connection; otherwise it is the second in which the connection ended. The set of connected slots in the
/// mailbox's record says which of the two it is.
pub type State = u32;
