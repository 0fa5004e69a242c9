//! The messages of a mailbox in two forms: as a list, or packed into a few bytes for each while the user is
//! away and the bodies of all of them are on a disk.

use std::collections::VecDeque;

use super::devices::Slots;
use super::message::{Held, Marks, Stub};

/// Messages in ascending order of their numbers.
#[derive(Debug)]
pub enum Messages {
    Open(VecDeque<Held>),
    Packed(Packed),
}

const _: () = assert!(size_of::<Messages>() <= 32);

/// Stands for the list of messages that are packed.
static NONE: VecDeque<Held> = VecDeque::new();

impl Default for Messages {
    fn default() -> Self {
        Messages::Open(VecDeque::new())
    }
}

impl Messages {
    pub fn len(&self) -> usize {
        match self {
            Messages::Open(list) => list.len(),
            Messages::Packed(packed) => packed.len() as usize,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The messages, if they are not packed; otherwise an empty list.
    #[inline]
    pub fn list(&self) -> &VecDeque<Held> {
        match self {
            Messages::Open(list) => list,
            Messages::Packed(_) => &NONE,
        }
    }

    /// The messages, which are unpacked first if they are packed.
    #[inline(always)]
    pub fn open(&mut self) -> &mut VecDeque<Held> {
        if matches!(self, Messages::Packed(_)) {
            self.unpack();
        }
        match self {
            Messages::Open(list) => list,
            Messages::Packed(_) => unreachable!("the messages were unpacked"),
        }
    }

    #[cold]
    #[inline(never)]
    fn unpack(&mut self) {
        if let Messages::Packed(packed) = self {
            *self = Messages::Open(packed.iter().collect());
        }
    }

    /// Packs the messages, if the bodies of all of them are on a disk. They take no more room than they need.
    pub fn pack(&mut self) {
        let Messages::Open(list) = self else { return };
        if list.is_empty() || !list.iter().all(Held::is_stub) {
            return;
        }
        let mut packed = Packed::default();
        list.iter().for_each(|held| packed.push(held));
        packed.bytes.shrink_to_fit();
        *self = Messages::Packed(packed);
    }

    /// Adds a message behind all others. Packed messages stay packed if it is a stub. If `is_away`, a stub
    /// may be the first of packed messages.
    pub fn push(&mut self, held: Held, is_away: bool) {
        match self {
            Messages::Packed(packed) if held.is_stub() => packed.push(&held),
            Messages::Open(list) if is_away && list.is_empty() && held.is_stub() => {
                let mut packed = Packed::default();
                packed.push(&held);
                *self = Messages::Packed(packed);
            }
            _ => self.open().push_back(held),
        }
    }

    /// The number of the first message.
    pub fn first(&self) -> Option<u64> {
        match self {
            Messages::Open(list) => list.front().map(|held| held.seq),
            Messages::Packed(packed) => packed.iter().next().map(|held| held.seq),
        }
    }

    /// Whether there is a message with a number from `from` to `to`, both included.
    pub fn has_between(&self, from: u64, to: u64) -> bool {
        match self {
            Messages::Open(list) => {
                let at = list.partition_point(|held| held.seq < from);
                list.get(at).is_some_and(|held| held.seq <= to)
            }
            Messages::Packed(packed) => {
                packed.iter().find(|held| held.seq >= from).is_some_and(|held| held.seq <= to)
            }
        }
    }

    /// Takes out the first message.
    pub fn pop_front(&mut self) -> Option<Held> {
        match self {
            Messages::Open(list) => list.pop_front(),
            Messages::Packed(packed) => packed.pop_front(),
        }
    }

    /// The bytes of memory that this takes.
    pub fn memory(&self) -> usize {
        match self {
            Messages::Open(list) => list.capacity() * size_of::<Held>(),
            Messages::Packed(packed) => packed.bytes.capacity(),
        }
    }
}

/// Stubs of messages in ascending order of their numbers. Each takes about ten bytes.
///
/// At the beginning are five numbers: those from which the first message is counted (its number and when it
/// expires), those of the last message, and how many messages there are. Each message has its marks,
/// whose highest bit says that a byte with skips follows; its number, as the distance from the one
/// before it; the bytes of its body; when it expires, as a distance again; and a hash of its key, if
/// it has one.
#[derive(Debug)]
pub struct Packed {
    bytes: Vec<u8>,
}

const FIRST: usize = 0;
const FIRST_EXPIRY: usize = 8;
const LAST: usize = 12;
const LAST_EXPIRY: usize = 20;
const COUNT: usize = 24;
const HEAD: usize = 28;
/// A message needs at most so many bytes.
const MOST: usize = 2 + 10 + 5 + 5 + 6;
/// The bit beside the skips that says that there is a key.
const HAS_KEY: u8 = 1 << 7;

impl Default for Packed {
    fn default() -> Self {
        Packed { bytes: vec![0; HEAD] }
    }
}

impl Packed {
    fn u32(&self, at: usize) -> u32 {
        self.bytes[at..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
    }

    fn u64(&self, at: usize) -> u64 {
        self.bytes[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }

    fn set(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn len(&self) -> u32 {
        self.u32(COUNT)
    }

    fn push(&mut self, held: &Held) {
        debug_assert!(held.is_stub());
        let (last, expiry) = (self.u64(LAST), self.u32(LAST_EXPIRY));
        if self.bytes.capacity() - self.bytes.len() < MOST {
            let more = MOST.max(self.bytes.len() / 8);
            self.bytes.reserve_exact(more);
        }
        let Stub { size, key } = held.stub();
        let has_more = held.skips.any() || key != 0;
        let marks = held.marks.bits() & 0x7F | u8::from(has_more) << 7;
        self.bytes.push(marks);
        if has_more {
            let key = if key != 0 { HAS_KEY } else { 0 };
            self.bytes.push(held.skips.bits() | key);
        }
        write(held.seq.wrapping_sub(last), &mut self.bytes);
        write(size.into(), &mut self.bytes);
        let later = i64::from(held.expires) - i64::from(expiry);
        write((later << 1 ^ later >> 63) as u64, &mut self.bytes);
        if key != 0 {
            self.bytes.extend(&key.to_le_bytes()[..6]);
        }
        let count = self.len() + 1;
        self.set(LAST, &held.seq.to_le_bytes());
        self.set(LAST_EXPIRY, &held.expires.to_le_bytes());
        self.set(COUNT, &count.to_le_bytes());
    }

    pub fn iter(&self) -> impl Iterator<Item = Held> {
        self.all()
    }

    fn all(&self) -> Iter<'_> {
        let (seq, expires) = (self.u64(FIRST), self.u32(FIRST_EXPIRY));
        Iter { bytes: &self.bytes[HEAD..], seq, expires, left: self.len() }
    }

    fn pop_front(&mut self) -> Option<Held> {
        let mut all = self.all();
        let before = all.bytes.len();
        let first = all.next()?;
        let taken = before - all.bytes.len();
        let count = all.left;
        self.bytes.drain(HEAD..HEAD + taken);
        self.set(FIRST, &first.seq.to_le_bytes());
        self.set(FIRST_EXPIRY, &first.expires.to_le_bytes());
        self.set(COUNT, &count.to_le_bytes());
        Some(first)
    }
}

/// The messages of a [`Packed`].
struct Iter<'a> {
    bytes: &'a [u8],
    seq: u64,
    expires: u32,
    left: u32,
}

impl Iterator for Iter<'_> {
    type Item = Held;

    fn next(&mut self) -> Option<Held> {
        self.left = self.left.checked_sub(1)?;
        let marks = self.byte();
        let more = if marks & 0x80 != 0 { self.byte() } else { 0 };
        self.seq = self.seq.wrapping_add(self.number());
        let size = self.number() as u32;
        let later = self.number();
        let later = (later >> 1) as i64 ^ -((later & 1) as i64);
        self.expires = (i64::from(self.expires) + later) as u32;
        let mut key = [0; 8];
        if more & HAS_KEY != 0
            && let Some((found, rest)) = self.bytes.split_at_checked(6)
        {
            key[..6].copy_from_slice(found);
            self.bytes = rest;
        }
        let stub = Stub { size, key: u64::from_le_bytes(key) };
        let marks = Marks::of_bits(marks & 0x7F);
        let mut held = Held::of_stub(self.seq, stub, self.expires, marks);
        held.skips = Slots::of_bits(more & !HAS_KEY);
        Some(held)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left as usize, Some(self.left as usize))
    }
}

impl Iter<'_> {
    fn byte(&mut self) -> u8 {
        match self.bytes {
            [first, rest @ ..] => {
                self.bytes = rest;
                *first
            }
            [] => 0,
        }
    }

    fn number(&mut self) -> u64 {
        let mut number = 0;
        for place in 0..10 {
            let byte = self.byte();
            number |= u64::from(byte & 0x7F) << (7 * place);
            if byte < 0x80 {
                break;
            }
        }
        number
    }
}

/// Appends a number, seven bits in each byte; small numbers take fewer bytes.
fn write(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stub(seq: u64, size: u32, key: u64, expires: u32, skips: Option<usize>) -> Held {
        let mut held = Held::of_stub(seq, Stub { size, key }, expires, Marks::REPORTED);
        held.skips = skips.map_or(Slots::NONE, Slots::one);
        held
    }

    fn told(held: &Held) -> (u64, u32, u64, u32, Slots, Marks) {
        let Stub { size, key } = held.stub();
        (held.seq, size, key, held.expires, held.skips, held.marks)
    }

    #[test]
    fn what_is_packed_is_the_same_when_it_is_unpacked() {
        let all = [
            stub(5, 200, 0, 1_000, None),
            stub(6, 0, 0, 0, Some(4)),
            stub(1 << 40, u32::MAX, 0xFFFF_FFFF_FFFF, u32::MAX, None),
            stub(u64::MAX, 127, 1, 128, Some(0)),
        ];
        let mut messages = Messages::default();
        all.iter().for_each(|held| messages.push(held.clone(), true));
        assert!(matches!(messages, Messages::Packed(_)));
        assert_eq!((messages.len(), messages.first()), (4, Some(5)));
        assert_eq!(messages.pop_front().as_ref().map(told), Some(told(&all[0])));
        assert_eq!((messages.len(), messages.first()), (3, Some(6)));
        messages.push(stub(u64::MAX, 1, 0, 5, None), false);
        let list: Vec<_> = messages.open().iter().map(told).collect();
        assert_eq!(list[..3], all[1..].iter().map(told).collect::<Vec<_>>());
        assert_eq!((list.len(), list[3].1), (4, 1));
        messages.pack();
        assert_eq!((messages.len(), messages.list().len()), (4, 0));
        while messages.pop_front().is_some() {}
        assert!(messages.is_empty() && messages.first().is_none());
    }

    #[test]
    fn twenty_messages_that_wait_take_ten_bytes_each() {
        let mut messages = Messages::default();
        for number in 1..=20 {
            messages.push(stub(number * 100_000, 330, 0, 600_000 + number as u32 * 60, None), true);
        }
        assert!(messages.memory() <= 256, "{}", messages.memory());
        messages.open();
        messages.pack();
        assert!(messages.memory() <= 28 + 20 * 9, "{}", messages.memory());
    }
}
