//! One message of a mailbox.

use std::sync::Arc;

use super::devices::Slots;

/// The longest key in bytes, with whatever the caller has put before it.
pub const MAX_KEY: usize = u16::MAX as usize;

/// The bytes of a message. Members of a group, and clones, share one allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// The text, and behind it the key.
    bytes: Arc<[u8]>,
    /// How many bytes at the end are the key: 0 for a message without one.
    key: u16,
}

impl Body {
    /// A body of a text and the key under which a newer message replaces it. The key is empty for a
    /// message that nothing replaces; it is cut to [`MAX_KEY`].
    pub fn new(text: &str, key: &str) -> Self {
        debug_assert!(key.len() <= MAX_KEY);
        let key = &key.as_bytes()[..key.len().min(MAX_KEY)];
        let bytes = match key.is_empty() {
            true => text.as_bytes().into(),
            false => [text.as_bytes(), key].concat().into(),
        };
        Body { bytes, key: key.len() as u16 }
    }

    /// The text without the key.
    pub fn text(&self) -> &str {
        text_of(&self.bytes, self.key)
    }

    /// Bytes of the text and the key.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nobody else holds the body.
    pub fn is_last(&self) -> bool {
        Arc::strong_count(&self.bytes) == 1
    }
}

/// The text of a body is what [`Body::new`] was given, which was text.
fn text_of(bytes: &[u8], key: u16) -> &str {
    std::str::from_utf8(&bytes[..bytes.len() - usize::from(key)]).unwrap_or_default()
}

/// What the caller notes of a message, in seven bits, and whether its loss is reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks(u8);

impl Marks {
    /// Nothing is noted.
    pub const NONE: Marks = Marks(0);
    /// The loss of the message before any device had it is reported.
    pub const REPORTED: Marks = Marks(1);

    /// One of seven marks of the caller's own, from 0.
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
}

/// A message in a mailbox. The fields of its body stand here one by one, since together they
/// would take eight bytes more.
#[derive(Clone, Debug)]
pub struct Held {
    pub seq: u64,
    bytes: Arc<[u8]>,
    /// The second after which no device gets the message any more.
    pub expires: u32,
    key: u16,
    /// The devices that do not get it: the one that has sent it.
    pub skips: Slots,
    pub marks: Marks,
}

// With the two counters of its allocation a message that waits costs its own bytes and 48.
const _: () = assert!(size_of::<Held>() + 2 * size_of::<usize>() <= 48);

impl Held {
    /// A message that every device gets.
    pub fn new(seq: u64, body: Body, expires: u32, marks: Marks) -> Self {
        let Body { bytes, key } = body;
        Held { seq, bytes, expires, key, skips: Slots::NONE, marks }
    }

    /// The text of the body.
    pub fn text(&self) -> &str {
        text_of(&self.bytes, self.key)
    }

    /// The key under which a newer message replaces this one; empty for none.
    pub fn key(&self) -> &[u8] {
        &self.bytes[self.bytes.len() - usize::from(self.key)..]
    }

    /// Bytes of the body, which all its holders share.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nobody else holds the body.
    pub fn is_last(&self) -> bool {
        Arc::strong_count(&self.bytes) == 1
    }
}
