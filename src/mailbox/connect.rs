//! How the devices of a user connect to a mailbox and disconnect from it.

use super::devices::{Device, MAX_DEVICES};
use super::lost::Reason;
use super::message::{Body, Held, Marks};
use super::record::{Key, Mailbox};
use super::sequence::Next;
use super::set::{Loss, Mailboxes};

/// The number of connections on which a message may be written and not acknowledged. After the last of
/// them the device skips the message.
const MAX_TRIES: u8 = 3;

/// The number of the last message that a client has handled, as the client says it when it connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last {
    /// The client does not name a number.
    Nothing,
    /// A number of the present epoch of the journal.
    Current(u64),
    /// A number of an earlier epoch that the journal remembers, and the number at which that epoch
    /// ended for this user.
    Earlier { seq: u64, end: u64 },
    /// A number of an epoch that the journal does not know.
    Unknown,
}

/// The result of [`Mailboxes::connect`], most of which the device is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Welcome {
    pub key: Key,
    /// Which of the user's devices it is.
    pub slot: usize,
    /// The newest number of the user.
    pub seq: u64,
    /// The number after which the replay begins.
    pub cursor: u64,
    /// Whether the device was not known.
    pub is_new: bool,
    /// Whether the device goes on behind the number that it named, or that the mailbox remembers.
    pub resumed: bool,
    /// The gap that the client is told of first: the lowest lost number, if it is known, and the highest
    /// lost number.
    pub gap: Option<(Option<u64>, u64)>,
    /// The connection of another device of the user, whose slot this device has taken.
    pub displaced: Option<u32>,
}

impl Mailboxes {
    /// Notes that a device of a user has connected. `connection` is the caller's name for the connection,
    /// which takes the place of an older connection of the same device.
    pub fn connect(&mut self, user: &str, device: &str, last: Last, connection: u32) -> Welcome {
        let key = self.obtain(user);
        self.open(key);
        let mailbox = &self.boxes[key.0];
        let (base, had_devices) = (mailbox.base(), mailbox.known.any());
        // A message that waits for the journal may still fail.
        let top = self.settled_top(key);
        let lowest = self.full(key).and_then(|full| full.ring.lowest());
        // The number before the first one that is held, or known to be lost.
        let oldest = lowest.map_or(top, |lowest| lowest - 1);
        let known = self.slot_of(key, device);
        let missed = self.missed;
        // The numbers up to the base were given, if at all, by mailboxes that have been given up. If no
        // such mailbox had given a number above `seq`, the device has missed nothing.
        let skip = |seq: u64| if seq < base && seq >= missed { base } else { seq };
        let (cursor, resumed, lost) = match last {
            Last::Nothing => match known {
                Some(slot) => (skip(self.device(key, slot).cursor), true, false),
                None if had_devices => (top, true, false),
                None => (oldest, true, false),
            },
            Last::Current(seq) if seq <= top => (skip(seq), true, false),
            Last::Current(_) => (top, false, true),
            // All epochs have the numbers of one counter.
            Last::Earlier { seq, end } if seq <= end && self.shared.is_some() => {
                (skip(seq), true, false)
            }
            Last::Earlier { seq, end } if seq <= end => (seq, true, false),
            Last::Earlier { end, .. } => (end.min(top), false, true),
            Last::Unknown => (oldest, false, true),
        };
        // What all known devices have handled is forgotten. A device that is not known any more may
        // not have had it, and one that comes back with a lower number than it has acknowledged has
        // lost it.
        let held = self.full(key).and_then(|full| full.ring.first_held());
        let forgotten = held.map_or(top, |held| held - 1).max(base);
        let handled = known.map_or(u64::MAX, |slot| self.device(key, slot).cursor);
        let cursor = if lost { cursor.max(forgotten.min(handled)).min(top) } else { cursor };
        let gap = lost.then_some((None, cursor));
        let (slot, displaced) = match known {
            Some(slot) => (slot, None),
            None => self.take_slot(key, device),
        };
        let missing = forgotten.min(handled);
        if resumed && last != Last::Nothing && cursor < missing {
            self.full_mut(key).ring.lose_for(slot, cursor + 1, missing);
            self.recount(key);
        }
        self.boxes[key.0].connected.add(slot);
        self.skip_strays(key, slot);
        if self.shared.is_some() && cursor > top {
            // The mailbox was made anew, and the device remembers more of its numbers.
            self.boxes[key.0].raise(cursor);
        }
        let top = self.settled_top(key);
        let (device, state) = self.device_mut(key, slot);
        (device.cursor, *state) = (cursor, connection);
        self.settle_place(key);
        self.prune(key);
        let is_new = known.is_none();
        Welcome { key, slot, seq: top, cursor, is_new, resumed, gap, displaced }
    }

    /// Notes that a connection of a device has ended. `wrote_first` says that the first message that the
    /// device has not acknowledged had been written to it completely, and that it was not the server who
    /// ended the connection. If this was the last try to deliver that message, the device skips it from
    /// now on, and its number is returned. A connection that is not the newest one of its device changes
    /// nothing.
    pub fn disconnect(
        &mut self,
        key: Key,
        slot: usize,
        connection: u32,
        wrote_first: bool,
        now: u32,
    ) -> Option<u64> {
        if !self.is_newest(key, slot, connection) {
            return None;
        }
        let skipped = if wrote_first { self.count_try(key, slot) } else { None };
        self.make_way(key, slot, connection, now);
        if !self.boxes[key.0].connected.any() {
            self.settle_place(key);
            self.bound(key, false);
            self.recount(key);
            self.relieve(super::list::NONE);
        }
        skipped
    }

    /// A connection of a device has gone, and another one of its user follows at once with
    /// [`Mailboxes::connect`]: the user is not away meanwhile.
    pub fn make_way(&mut self, key: Key, slot: usize, connection: u32, now: u32) {
        if self.is_newest(key, slot, connection) {
            self.boxes[key.0].connected.remove(slot);
            *self.device_mut(key, slot).1 = now;
        }
    }

    /// Makes a slot for the device of a v1 page that has connected, or finds it, and returns it. The
    /// page acknowledges nothing; the messages that the device has not had follow its cursor.
    pub fn visit(&mut self, key: Key, device: &str, now: u32) -> usize {
        let had_devices = self.boxes[key.0].known.any();
        let top = self.settled_top(key);
        let lowest = self.full(key).and_then(|full| full.ring.lowest());
        let slot = match self.slot_of(key, device) {
            Some(slot) => slot,
            None => {
                // A page displaces no connection.
                let known = self.boxes[key.0].known;
                if known.all() && self.boxes[key.0].connected.all() {
                    return MAX_DEVICES;
                }
                let (slot, _) = self.take_slot(key, device);
                let oldest = lowest.map_or(top, |lowest| lowest - 1);
                self.device_mut(key, slot).0.cursor = if had_devices { top } else { oldest };
                slot
            }
        };
        if !self.boxes[key.0].connected.has(slot) {
            *self.device_mut(key, slot).1 = now;
        }
        self.settle_place(key);
        // The caller looks at the messages one by one.
        self.open(key);
        slot
    }

    /// The slot of a known device.
    pub fn slot_of_device(&self, key: Key, device: &str) -> Option<usize> {
        self.slot_of(key, device)
    }

    /// Whether a connection is the newest one of a device.
    #[inline]
    pub fn is_newest(&self, key: Key, slot: usize, connection: u32) -> bool {
        let is_connected = |key: Key| self.boxes[key.0].connected.has(slot);
        self.boxes.get(key.0).is_some() && is_connected(key) && self.state(key, slot) == connection
    }

    fn slot_of(&self, key: Key, device: &str) -> Option<usize> {
        self.devices(key).find(|(_, known, _)| known.name == device).map(|(slot, ..)| slot)
    }

    /// Finds a slot for a new device: a free one, or else the slot of the device that has been away
    /// longest. Only if all devices are connected one of them loses its slot; then its connection is
    /// returned, too.
    pub(super) fn take_slot(&mut self, key: Key, device: &str) -> (usize, Option<u32>) {
        let known = self.boxes[key.0].known;
        let free = (0..MAX_DEVICES).find(|slot| !known.has(*slot));
        let slot = free.unwrap_or_else(|| {
            // A device that has been away since before the server was started has a negative second.
            let longest = |(slot, _, away): (usize, &Device, Option<u32>)| {
                (away.is_none(), away.unwrap_or_default() as i32, slot)
            };
            self.devices(key).map(longest).min().map_or(0, |(.., slot)| slot)
        });
        let is_connected = self.boxes[key.0].connected.has(slot);
        let displaced = is_connected.then(|| self.state(key, slot));
        if slot > 0 {
            let others = &mut self.full_mut(key).others;
            if others.len() < slot {
                others.resize_with(slot, Default::default);
            }
        }
        if let Some(full) = self.full_of(key) {
            full.ring.forget_slot(slot);
            if let Some(tries) = &mut full.tries {
                tries[slot] = (0, 0);
            }
        }
        let mailbox = &mut self.boxes[key.0];
        mailbox.connected.remove(slot);
        mailbox.known.add(slot);
        *self.device_mut(key, slot).0 = Device { name: device.into(), cursor: 0 };
        (slot, displaced)
    }

    /// Counts a connection on which the first unacknowledged message was written and not acknowledged.
    /// After [`MAX_TRIES`] of them the device skips the message, whose number is returned.
    fn count_try(&mut self, key: Key, slot: usize) -> Option<u64> {
        let Next::Message(held) = self.next(key, slot, self.cursor(key, slot) + 1)? else {
            return None;
        };
        let seq = held.seq;
        let full = self.full_mut(key);
        let (of, count) = &mut full.tries.get_or_insert_default()[slot];
        if *of != seq as u32 {
            (*of, *count) = (seq as u32, 0);
        }
        *count += 1;
        if *count < MAX_TRIES {
            return None;
        }
        *count = 0;
        full.ring.skip(slot, seq);
        self.report_skipped(key, seq);
        self.prune(key);
        Some(seq)
    }

    /// Reports a message that every device of a user skips, so none has had it or will have it.
    fn report_skipped(&mut self, key: Key, seq: u64) {
        let Mailbox { known, ref user, .. } = self.boxes[key.0];
        let Some(full) = self.fulls.get_mut(self.boxes[key.0].full) else {
            return;
        };
        let Some(held) = full.ring.range_mut(seq, seq).next() else { return };
        if held.marks.has(Marks::REPORTED) && known.iter().all(|slot| held.skips.has(slot)) {
            // The report is a copy, since what is held is counted by who shares it.
            let body = Body::new(held.text(), "");
            let held = Held::new(seq, body, held.expires, held.marks);
            self.losses.push(Loss { user: user.clone(), held, reason: Reason::Undeliverable });
        }
    }
}
