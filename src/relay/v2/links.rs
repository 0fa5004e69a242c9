//! Links: the state of each connection that speaks v2.

use std::collections::VecDeque;

use crate::hub::ConnId;
use crate::mailbox::{Key, Records};
use compact_str::CompactString;

use super::owed::Owed;

/// The most messages that a device has been written and has not acknowledged.
pub const WINDOW: usize = 64;
/// The most bytes of these messages, unless a single one is longer.
pub const WINDOW_BYTES: u32 = 256 * 1024;
/// If a device acknowledges nothing for so many seconds, no further messages are written to it.
pub const STALL_SECONDS: u32 = 30;
/// Windows that are kept for the next use.
const SPARES: usize = 64;

/// A connection that speaks v2.
#[derive(Debug)]
pub struct Link {
    /// The connection; `None` before it is open.
    pub conn: Option<ConnId>,
    /// The number at which the delivery continues.
    pub next: u64,
    /// The messages that were written and not acknowledged; `None` if there are none.
    window: Option<Box<Window>>,
    /// The state that only few links have.
    pub more: Option<Box<More>>,
    /// The mailbox and the slot of the device, while this is the device's newest connection.
    pub mailbox: Option<Key>,
    /// When the device last acknowledged a message, or when the first unacknowledged message was
    /// written to it, in seconds.
    progress: u32,
    pub slot: u8,
    /// Whether `live` has been sent.
    pub is_live: bool,
    /// Whether the app is hidden, so that nothing is written to it.
    pub is_hidden: bool,
    /// Whether the client may send to everyone.
    pub may_broadcast: bool,
}

/// Messages that were written and not acknowledged, by their numbers.
#[derive(Debug, Default)]
struct Window {
    written: VecDeque<(u64, u32)>,
    bytes: u32,
}

/// The state that only few links have.
#[derive(Debug, Default)]
pub struct More {
    /// The `last` of the handshake, until the connection is open.
    pub last: Option<CompactString>,
    /// The groups that its ticket names.
    pub groups: Vec<String>,
    /// The `cid` of the first refused send that the client may try again, until it comes again.
    pub refused: Option<CompactString>,
    /// When the app was hidden, in milliseconds.
    pub hidden_at: u64,
    /// The users whose changes of presence are reported.
    pub watched: Vec<CompactString>,
    /// Answers that the client has yet to get, in the order in which it has asked.
    pub owed: VecDeque<Owed>,
    /// The bytes of the owed answers whose text is known.
    pub owed_bytes: usize,
    /// The number of owed answers that wait for the journal.
    pub unanswered: u32,
    /// Whether the presence of a watched user has changed while the app was hidden.
    pub missed_presence: bool,
}

impl Link {
    /// Whether the device has unacknowledged messages and has acknowledged none for long.
    pub fn is_stalled(&self, now: u32) -> bool {
        self.window.is_some() && now >= self.progress.saturating_add(STALL_SECONDS)
    }

    /// Whether one more message may be written. If none is unacknowledged, one always may.
    #[inline]
    pub fn has_window(&self) -> bool {
        self.window
            .as_deref()
            .is_none_or(|window| window.written.len() < WINDOW && window.bytes < WINDOW_BYTES)
    }

    /// The bytes of all messages that were written after the first unacknowledged one.
    pub fn bytes_after_first(&self) -> usize {
        self.window.as_deref().map_or(0, |window| {
            let first = window.written.front().map_or(0, |(_, bytes)| *bytes);
            (window.bytes - first) as usize
        })
    }

    /// Whether a message was written that is not acknowledged.
    pub fn has_unacknowledged(&self) -> bool {
        self.window.is_some()
    }

    /// The highest number that was written to this connection, or the number behind which its
    /// replay began.
    pub fn written(&self) -> u64 {
        self.next - 1
    }

    /// The connection, if it is open and the app is shown.
    #[inline]
    pub fn open_conn(&self) -> Option<ConnId> {
        self.conn.filter(|_| !self.is_hidden)
    }

    /// Whether the client has yet to get an answer.
    #[inline]
    pub fn owes(&self) -> bool {
        self.more.as_deref().is_some_and(|more| !more.owed.is_empty())
    }

    pub fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }
}

/// All links.
#[derive(Debug, Default)]
pub struct Links {
    slab: Records<Link>,
    /// Unused windows, in boxes because a link keeps the box.
    #[allow(clippy::vec_box)]
    spares: Vec<Box<Window>>,
}

impl Links {
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    pub fn len(&self) -> usize {
        self.slab.len()
    }

    /// Adds a link whose connection is not open yet.
    pub fn insert(&mut self, may_broadcast: bool, more: More) -> u32 {
        self.slab.insert(Link {
            conn: None,
            next: 0,
            window: None,
            more: Some(Box::new(more)),
            mailbox: None,
            progress: 0,
            slot: 0,
            is_live: false,
            is_hidden: false,
            may_broadcast,
        })
    }

    #[inline]
    pub fn get(&self, key: u32) -> Option<&Link> {
        self.slab.get(key)
    }

    #[inline]
    pub fn get_mut(&mut self, key: u32) -> Option<&mut Link> {
        self.slab.get_mut(key)
    }

    pub fn remove(&mut self, key: u32) -> Option<Link> {
        self.slab.remove(key)
    }

    pub fn iter(&self) -> impl Iterator<Item = (u32, &Link)> {
        self.slab.iter()
    }

    /// Notes that a message was written to a link.
    #[inline]
    pub fn note_written(&mut self, key: u32, seq: u64, bytes: usize, now: u32) {
        let Links { slab, spares } = self;
        let Some(link) = slab.get_mut(key) else { return };
        link.next = seq + 1;
        let window = match &mut link.window {
            Some(window) => window,
            empty => {
                link.progress = now;
                empty.insert(spares.pop().unwrap_or_default())
            }
        };
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        window.written.push_back((seq, bytes));
        window.bytes = window.bytes.saturating_add(bytes);
    }

    /// Notes that a device has acknowledged all messages up to a number that was written to it.
    #[inline]
    pub fn note_acknowledged(&mut self, key: u32, seq: u64, now: u32) {
        let Links { slab, spares } = self;
        let Some(link) = slab.get_mut(key) else { return };
        link.progress = now;
        let Some(window) = &mut link.window else { return };
        while let Some((_, bytes)) = window.written.front().filter(|(written, _)| *written <= seq) {
            window.bytes = window.bytes.saturating_sub(*bytes);
            window.written.pop_front();
        }
        if window.written.is_empty()
            && let Some(mut window) = link.window.take()
            && spares.len() < SPARES
        {
            window.bytes = 0;
            spares.push(window);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_stays_small() {
        assert!(size_of::<Link>() <= 64, "{}", size_of::<Link>());
    }

    #[test]
    fn a_window_counts_what_is_written_and_not_acknowledged() {
        let mut links = Links::default();
        let key = links.insert(false, More::default());
        for seq in 1..=WINDOW as u64 {
            assert!(links.get(key).unwrap().has_window());
            links.note_written(key, seq * 2, 100, 5);
        }
        let link = links.get(key).unwrap();
        assert!(!link.has_window());
        assert_eq!((link.written(), link.bytes_after_first()), (128, 6_300));
        assert!(!link.is_stalled(34) && link.is_stalled(35));
        links.note_acknowledged(key, 3, 40);
        assert!(links.get(key).unwrap().has_window());
        assert!(!links.get(key).unwrap().is_stalled(69));
        links.note_acknowledged(key, 128, 70);
        let link = links.get(key).unwrap();
        assert!(!link.has_unacknowledged() && !link.is_stalled(u32::MAX));
    }

    #[test]
    fn a_message_that_is_longer_than_the_window_is_written_alone() {
        let mut links = Links::default();
        let key = links.insert(false, More::default());
        links.note_written(key, 1, 1 << 20, 0);
        assert!(!links.get(key).unwrap().has_window());
        links.note_acknowledged(key, 1, 0);
        assert!(links.get(key).unwrap().has_window());
    }
}
