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

/// Eight marks of a message, one bit for each: whether its loss is reported, and seven marks whose meaning
/// the caller defines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks(u8);

impl Marks {
    /// No mark.
    pub const NONE: Marks = Marks(0);
    /// If the message is lost before any device has had it, the loss is reported.
    pub const REPORTED: Marks = Marks(1);

    /// One of the seven marks whose meaning the caller defines; `number` is from 0 to 6.
    pub const fn of_caller(number: u8) -> Self {
        assert!(number < 7);
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

    #[allow(dead_code)]
    /// The marks of a number that [`Marks::bits`] has returned.
    pub const fn of_bits(bits: u8) -> Self {
        Marks(bits)
    }
}

/// A message in a mailbox. It has the two fields of a [`Body`] instead of a `Body`, which would make it
/// eight bytes larger.
#[derive(Clone, Debug)]
pub struct Held {
    pub seq: u64,
    bytes: Arc<str>,
    /// The last second in which a device may get the message.
    pub expires: u32,
    key: u16,
    /// The devices that do not get the message: the device that has sent it, and devices that could not
    /// take it.
    pub skips: Slots,
    pub marks: Marks,
}

// A message that waits costs the bytes of its body and at most 48 more: this entry and the two counters of
// the body's allocation.
const _: () = assert!(size_of::<Held>() + 2 * size_of::<usize>() <= 48);

impl Held {
    /// Makes a message that every device gets.
    pub fn new(seq: u64, body: Body, expires: u32, marks: Marks) -> Self {
        let Body { bytes, key } = body;
        Held { seq, bytes, expires, key, skips: Slots::NONE, marks }
    }

    /// The text of the body.
    pub fn text(&self) -> &str {
        text_of(&self.bytes, self.key)
    }

    /// The key: a newer message with the same key replaces this one. It is empty if there is none.
    pub fn key(&self) -> &[u8] {
        &self.bytes.as_bytes()[self.bytes.len() - usize::from(self.key)..]
    }

    /// The bytes of the body, which all its holders share.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Whether this is the only holder of the body.
    pub fn is_last(&self) -> bool {
        Arc::strong_count(&self.bytes) == 1
    }
}
