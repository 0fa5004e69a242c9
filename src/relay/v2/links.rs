//! What is kept of each connection that speaks v2.

use std::collections::VecDeque;

use compact_str::CompactString;
use slab::Slab;

use crate::hub::ConnId;
use crate::mailbox::Key;

/// The most messages that a device has been written and has not acknowledged.
pub const WINDOW: usize = 64;
/// The most bytes of those, unless a single message is longer.
pub const WINDOW_BYTES: u32 = 256 * 1024;
/// A device that has acknowledged nothing for so many seconds is written no more messages.
pub const STALL_SECONDS: u32 = 30;
/// Windows that are kept for the next use.
const SPARES: usize = 64;

/// A connection that speaks v2.
#[derive(Debug)]
pub struct Link {
    /// The connection; none before it is open.
    pub conn: Option<ConnId>,
    /// The number that is written next.
    pub next: u64,
    /// What has been written and not acknowledged.
    window: Option<Box<Window>>,
    /// What only few links have.
    pub more: Option<Box<More>>,
    /// The mailbox and the slot of the device, while this is the device's newest connection.
    pub mailbox: Option<Key>,
    /// When the device last acknowledged something, or was written the first message that it has
    /// not acknowledged, in seconds.
    progress: u32,
    pub slot: u8,
    /// `live` has been said.
    pub is_live: bool,
    /// The app is hidden: nothing is written.
    pub is_hidden: bool,
    /// The client may send to everyone.
    pub may_broadcast: bool,
}

/// Messages that were written and not acknowledged, by their numbers.
#[derive(Debug, Default)]
struct Window {
    written: VecDeque<(u64, u32)>,
    bytes: u32,
}

/// What only few links have.
#[derive(Debug, Default)]
pub struct More {
    /// What the client said when it connected, until the connection is open.
    pub last: Option<CompactString>,
    /// The groups that its ticket names.
    pub groups: Vec<String>,
    /// After a refusal that may be tried again: the first send that was refused.
    pub refused: Option<CompactString>,
    /// When the app was hidden, in milliseconds.
    pub hidden_at: u64,
    /// Whose changes of presence are reported.
    pub watched: Vec<CompactString>,
    /// Answers that wait until the app is shown.
    pub held: Vec<String>,
    /// Sends that the journal has not completed.
    pub unanswered: u32,
    /// The presence of a watched user has changed while the app was hidden.
    pub missed_presence: bool,
}

impl Link {
    /// Whether the device has something to acknowledge and has not done so for long.
    pub fn is_stalled(&self, now: u32) -> bool {
        self.window.is_some() && now >= self.progress.saturating_add(STALL_SECONDS)
    }

    /// Whether one more message may be written. A single one always may.
    #[inline]
    pub fn has_window(&self) -> bool {
        self.window
            .as_deref()
            .is_none_or(|window| window.written.len() < WINDOW && window.bytes < WINDOW_BYTES)
    }

    /// Bytes of all messages that were written after the first unacknowledged one.
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

    /// The highest number that was written to this connection, or that it began behind.
    pub fn written(&self) -> u64 {
        self.next - 1
    }

    /// The connection, if it is open and the app is shown.
    #[inline]
    pub fn open_conn(&self) -> Option<ConnId> {
        self.conn.filter(|_| !self.is_hidden)
    }

    pub fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }
}

/// All links.
#[derive(Debug, Default)]
pub struct Links {
    slab: Slab<Link>,
    /// Boxes, since a link keeps what it is given.
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
        }) as u32
    }

    #[inline]
    pub fn get(&self, key: u32) -> Option<&Link> {
        self.slab.get(key as usize)
    }

    #[inline]
    pub fn get_mut(&mut self, key: u32) -> Option<&mut Link> {
        self.slab.get_mut(key as usize)
    }

    pub fn remove(&mut self, key: u32) -> Option<Link> {
        self.slab.try_remove(key as usize)
    }

    pub fn iter(&self) -> impl Iterator<Item = (u32, &Link)> {
        self.slab.iter().map(|(key, link)| (key as u32, link))
    }

    /// A message was written to a link.
    #[inline]
    pub fn note_written(&mut self, key: u32, seq: u64, bytes: usize, now: u32) {
        let Links { slab, spares } = self;
        let Some(link) = slab.get_mut(key as usize) else { return };
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

    /// A device has acknowledged everything up to a number that was written to it.
    #[inline]
    pub fn note_acknowledged(&mut self, key: u32, seq: u64, now: u32) {
        let Links { slab, spares } = self;
        let Some(link) = slab.get_mut(key as usize) else { return };
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
