//! Links: the state of each connection that speaks v2.

use std::collections::VecDeque;

use crate::hub::ConnId;
use crate::journal::Ticket;
use crate::mailbox::{Key, Records};
use compact_str::CompactString;

use super::owed::Owed;
use super::take::MAX_UNANSWERED;

/// The most messages that a device has been written and has not acknowledged.
pub const WINDOW: usize = 64;
/// The most bytes of these messages, unless a single one is longer.
pub const WINDOW_BYTES: u32 = 256 * 1024;
/// If a device acknowledges nothing for so many seconds, no further messages are written to it.
pub const STALL_SECONDS: u32 = 30;
/// Boxes of links that are kept for the next use.
const SPARES: usize = 64;

/// A connection that speaks v2.
#[derive(Debug)]
pub struct Link {
    /// The connection; `None` before it is open.
    pub conn: Option<ConnId>,
    /// The number at which the delivery continues.
    pub next: u64,
    /// The state of a link that is not idle; `None` if there is none.
    busy: Option<Box<Busy>>,
    /// The mailbox, while this is the newest connection of its device; otherwise
    /// [`Key::NONE`].
    mailbox: Key,
    /// The slot of the device in the mailbox.
    pub slot: u8,
    /// Whether `live` has been sent.
    pub is_live: bool,
    /// Whether the app is hidden, so that nothing is written to it.
    pub is_hidden: bool,
    /// Whether the client may send to everyone.
    pub may_broadcast: bool,
}

/// The messages that were written to a link and not acknowledged, and what few links have.
#[derive(Debug)]
struct Busy {
    /// The messages that were written and not acknowledged: their numbers, and their bytes.
    written: VecDeque<(u64, u32)>,
    /// The bytes of all of them.
    bytes: u32,
    /// When the device last acknowledged a message, or when the first unacknowledged message was
    /// written to it, in seconds; [`NEVER`] while no message is unacknowledged.
    progress: u32,
    more: Option<Box<More>>,
}

const NEVER: u32 = u32::MAX;

impl Default for Busy {
    fn default() -> Self {
        Busy { written: VecDeque::new(), bytes: 0, progress: NEVER, more: None }
    }
}

impl Busy {
    /// Whether this holds nothing, so that the link is idle.
    fn is_empty(&self) -> bool {
        self.written.is_empty() && self.more.is_none()
    }
}

/// The state that only few links have.
#[derive(Debug, Default)]
pub struct More {
    /// The `last` of the handshake, until the connection is open.
    pub last: Option<CompactString>,
    /// The groups that its ticket names.
    pub groups: Vec<String>,
    /// The connection, and the ticket under which it enters the nodes that share the mailboxes, until it
    /// has entered and is attached to a mailbox.
    pub entering: Option<(Ticket, ConnId)>,
    /// While it enters: up to which number an earlier connection of the device on this node has handled
    /// every message.
    pub cursor: u64,
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

// A server may hold a link for each of a million connections.
const _: () = assert!(size_of::<Link>() <= 32);

impl Link {
    /// The mailbox, while this is the newest connection of its device.
    #[inline]
    pub fn mailbox(&self) -> Option<Key> {
        Some(self.mailbox).filter(|mailbox| *mailbox != Key::NONE)
    }

    /// Attaches the link to a device of a mailbox.
    pub fn attach(&mut self, mailbox: Key, slot: usize) {
        (self.mailbox, self.slot) = (mailbox, slot as u8);
    }

    /// Detaches the link from its mailbox, which is returned.
    pub fn detach(&mut self) -> Option<Key> {
        let mailbox = self.mailbox();
        self.mailbox = Key::NONE;
        mailbox
    }

    /// Whether the device has unacknowledged messages and has acknowledged none for long.
    pub fn is_stalled(&self, now: u32) -> bool {
        let busy = self.busy.as_deref();
        busy.is_some_and(|busy| now > busy.progress.saturating_add(STALL_SECONDS - 1))
    }

    /// Whether one more message may be written. If none is unacknowledged, one always may.
    #[inline]
    pub fn has_window(&self) -> bool {
        self.busy
            .as_deref()
            .is_none_or(|busy| busy.written.len() < WINDOW && busy.bytes < WINDOW_BYTES)
    }

    /// The bytes of all messages that were written after the first unacknowledged one.
    pub fn bytes_after_first(&self) -> usize {
        self.busy.as_deref().map_or(0, |busy| {
            let first = busy.written.front().map_or(0, |(_, bytes)| *bytes);
            (busy.bytes - first) as usize
        })
    }

    /// Whether a message was written that is not acknowledged.
    pub fn has_unacknowledged(&self) -> bool {
        self.busy.as_deref().is_some_and(|busy| !busy.written.is_empty())
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
        self.more().is_some_and(|more| !more.owed.is_empty())
    }

    /// The state that only few links have, if this one has it.
    #[inline]
    pub fn more(&self) -> Option<&More> {
        self.busy.as_deref()?.more.as_deref()
    }

    /// Whether another send is taken in the usual way: none was refused, and not too many have no answer.
    #[inline]
    pub fn may_send_more(&self) -> bool {
        let is_usual = |more: &More| more.refused.is_none() && more.unanswered < MAX_UNANSWERED;
        self.more().is_none_or(is_usual)
    }

    /// The same, to change it.
    #[inline]
    pub fn more_mut(&mut self) -> Option<&mut More> {
        self.busy.as_deref_mut()?.more.as_deref_mut()
    }

    /// The same, to change it; the link gets it if it has none.
    pub fn make_more(&mut self) -> &mut More {
        self.busy.get_or_insert_default().more.get_or_insert_default()
    }

    /// Notes that the link is not attached to a mailbox any more, so that its connection leaves without a cursor.
    pub fn leaves_without_cursor(&mut self, conn: ConnId) {
        self.make_more().entering = Some((super::NO_TICKET, conn));
    }

    /// Drops the state that only few links have.
    pub fn drop_more(&mut self) {
        if let Some(busy) = &mut self.busy {
            busy.more = None;
        }
        self.busy.take_if(|busy| busy.is_empty());
    }
}

/// All links.
#[derive(Debug, Default)]
pub struct Links {
    slab: Records<Link>,
    /// Unused boxes for links.
    #[allow(clippy::vec_box)]
    spares: Vec<Box<Busy>>,
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
            busy: Some(Box::new(Busy { more: Some(Box::new(more)), ..Busy::default() })),
            mailbox: Key::NONE,
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
        let busy = match &mut link.busy {
            Some(busy) => busy,
            idle => idle.insert(spares.pop().unwrap_or_default()),
        };
        if busy.progress == NEVER {
            busy.progress = now;
        }
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        busy.written.push_back((seq, bytes));
        busy.bytes = busy.bytes.saturating_add(bytes);
    }

    /// Notes that a device has acknowledged all messages up to a number that was written to it.
    #[inline]
    pub fn note_acknowledged(&mut self, key: u32, seq: u64, now: u32) {
        let Links { slab, spares } = self;
        let Some(link) = slab.get_mut(key) else { return };
        let Some(busy) = &mut link.busy else { return };
        busy.progress = now;
        while let Some((_, bytes)) = busy.written.front().filter(|(written, _)| *written <= seq) {
            busy.bytes = busy.bytes.saturating_sub(*bytes);
            busy.written.pop_front();
        }
        if busy.written.is_empty() {
            (busy.bytes, busy.progress) = (0, NEVER);
            if let Some(spare) = link.busy.take_if(|busy| busy.is_empty())
                && spares.len() < SPARES
            {
                spares.push(spare);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
