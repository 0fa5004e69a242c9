//! One message of a mailbox.

use std::sync::Arc;

use super::devices::Slots;

/// The longest key in bytes, including what the caller has put before it.
pub const MAX_KEY: usize = u16::MAX as usize;

/// The bytes of a message. Members of a group, and clones, share one allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// The text, and behind it the key.
    bytes: Arc<str>,
    /// How many bytes at the end are the key: 0 for a message without one.
    key: u16,
}

impl Body {
    /// Makes a body of a text and a key. A newer message with the same key replaces this one. An empty key
    /// means that no message replaces it. A key that is too long is cut to [`MAX_KEY`] bytes.
    pub fn new(text: &str, key: &str) -> Self {
        debug_assert!(key.len() <= MAX_KEY);
        let key = &key[..key.floor_char_boundary(MAX_KEY)];
        let bytes = match key.is_empty() {
            true => text.into(),
            false => [text, key].concat().into(),
        };
        Body { bytes, key: key.len() as u16 }
    }

    /// The text without the key.
    pub fn text(&self) -> &str {
        text_of(&self.bytes, self.key)
    }

    /// The key without the text.
    pub fn key(&self) -> &str {
        &self.bytes[self.bytes.len() - usize::from(self.key)..]
    }

    /// The bytes of the text and the key.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Whether this is the only holder of the bytes.
    pub fn is_last(&self) -> bool {
        Arc::strong_count(&self.bytes) == 1
    }
}

/// The text before the key.
#[inline]
fn text_of(bytes: &str, key: u16) -> &str {
    &bytes[..bytes.len() - usize::from(key)]
}

/// Eight marks of a message, one bit for each: whether its loss is reported, whether it is on a disk, and six
/// marks whose meaning the caller defines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks(u8);

impl Marks {
    /// No mark.
    pub const NONE: Marks = Marks(0);
    /// If the message is lost before any device has had it, the loss is reported.
    pub const REPORTED: Marks = Marks(1);

    /// The message is on a disk, from which its body can be loaded.
    pub const STORED: Marks = Marks(1 << 7);

    /// One of the six marks whose meaning the caller defines; `number` is from 0 to 5.
    pub const fn of_caller(number: u8) -> Self {
        assert!(number < 6);
        Marks(2 << number)
    }

    pub const fn and(self, other: Marks) -> Self {
        Marks(self.0 | other.0)
    }

    pub const fn has(self, mark: Marks) -> bool {
        self.0 & mark.0 != 0
    }

    pub fn clear(&mut self, mark: Marks) {
        self.0 &= !mark.0;
    }

    /// The marks as a number, for [`Marks::of_bits`].
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The marks of a number that [`Marks::bits`] has returned.
    pub const fn of_bits(bits: u8) -> Self {
        Marks(bits)
    }
}

/// A message in a mailbox. If it is on a disk, its body need not be in memory.
#[derive(Clone, Debug)]
pub struct Held {
    pub seq: u64,
    body: Place,
    /// The last second in which a device may get the message.
    pub expires: u32,
    /// The two fields of a [`Body`] are apart, because the message would be eight bytes larger with a
    /// `Body`: how many bytes at the end are the key. Of a stub these are the highest bits of the hash.
    key: u16,
    /// The devices that do not get the message: the device that has sent it, and devices that could not
    /// take it.
    pub skips: Slots,
    pub marks: Marks,
}

/// Where the body of a message is.
#[derive(Clone, Debug)]
enum Place {
    Memory(Arc<str>),
    /// On a disk: the bytes of the body, and the low half of a hash of its key.
    Disk {
        size: u32,
        key: u32,
    },
}

/// What is known of a message whose body is on a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stub {
    /// The bytes of the body.
    pub size: u32,
    /// A hash of the key, of 48 bits; 0 if there is no key.
    pub key: u64,
}

impl Stub {
    /// The name of a key in a stub, made of a hash of the key.
    pub fn key_of(hash: u64) -> u64 {
        (hash & ((1 << 48) - 1)).max(1)
    }
}

// A message that waits costs the bytes of its body and at most 48 more: this entry and the two counters of
// the body's allocation.
const _: () = assert!(size_of::<Held>() + 2 * size_of::<usize>() <= 48);

impl Held {
    /// Makes a message that every device gets.
    pub fn new(seq: u64, body: Body, expires: u32, marks: Marks) -> Self {
        let Body { bytes, key } = body;
        Held { seq, body: Place::Memory(bytes), expires, key, skips: Slots::NONE, marks }
    }

    /// Makes a message whose body is on a disk, and which every device gets.
    pub fn of_stub(seq: u64, stub: Stub, expires: u32, marks: Marks) -> Self {
        let Stub { size, key } = stub;
        let body = Place::Disk { size, key: key as u32 };
        let marks = marks.and(Marks::STORED);
        Held { seq, body, expires, key: (key >> 32) as u16, skips: Slots::NONE, marks }
    }

    /// Whether the body is on a disk and not in memory.
    #[inline]
    pub fn is_stub(&self) -> bool {
        matches!(self.body, Place::Disk { .. })
    }

    /// What a [stub](Held::is_stub) knows of its message.
    pub fn stub(&self) -> Stub {
        match self.body {
            Place::Memory(_) => Stub { size: self.size() as u32, key: 0 },
            Place::Disk { size, key } => {
                Stub { size, key: u64::from(self.key) << 32 | u64::from(key) }
            }
        }
    }

    /// Drops the body of a message that is on a disk. Returns how many bytes of memory that frees. `name`
    /// makes the hash of a key.
    pub fn drop_body(&mut self, name: impl Fn(&[u8]) -> u64) -> usize {
        if self.is_stub() || !self.marks.has(Marks::STORED) {
            return 0;
        }
        let (freed, size) = (self.owned(), self.size() as u32);
        let key = self.key_name(name).unwrap_or_default();
        self.body = Place::Disk { size, key: key as u32 };
        self.key = (key >> 32) as u16;
        freed
    }

    /// Gives the message its body back.
    pub fn fill(&mut self, body: Body) {
        let Body { bytes, key } = body;
        (self.body, self.key) = (Place::Memory(bytes), key);
    }

    /// The text of the body; empty if the body is not in memory.
    #[inline]
    pub fn text(&self) -> &str {
        match &self.body {
            Place::Memory(bytes) => text_of(bytes, self.key),
            Place::Disk { .. } => "",
        }
    }

    /// The name of the key in a stub, which `name` makes: a newer message with the same key replaces this
    /// one. `None` if there is no key.
    pub fn key_name(&self, name: impl Fn(&[u8]) -> u64) -> Option<u64> {
        match &self.body {
            Place::Memory(_) if self.key == 0 => None,
            Place::Memory(_) => Some(Stub::key_of(name(self.key()))),
            Place::Disk { .. } => Some(self.stub().key).filter(|key| *key != 0),
        }
    }

    /// Whether the message has a key.
    #[inline]
    pub fn has_key(&self) -> bool {
        match self.body {
            Place::Memory(_) => self.key != 0,
            Place::Disk { .. } => self.stub().key != 0,
        }
    }

    /// The key, if the body is in memory: a newer message with the same key replaces this one. It is empty
    /// if there is none.
    pub fn key(&self) -> &[u8] {
        match &self.body {
            Place::Memory(bytes) => &bytes.as_bytes()[bytes.len() - usize::from(self.key)..],
            Place::Disk { .. } => &[],
        }
    }

    /// The bytes of the body, which all its holders share, wherever it is.
    #[inline]
    pub fn size(&self) -> usize {
        match &self.body {
            Place::Memory(bytes) => bytes.len(),
            Place::Disk { size, .. } => *size as usize,
        }
    }

    /// Whether nobody else holds the body.
    #[inline]
    pub fn is_last(&self) -> bool {
        match &self.body {
            Place::Memory(bytes) => Arc::strong_count(bytes) == 1,
            Place::Disk { .. } => true,
        }
    }

    /// How many bytes of memory are freed with this message: those of the body, if this is its only holder.
    #[inline]
    pub fn owned(&self) -> usize {
        match &self.body {
            Place::Memory(bytes) if Arc::strong_count(bytes) == 1 => bytes.len(),
            _ => 0,
        }
    }
}
