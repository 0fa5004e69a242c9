//! Messages and receipts that wait until the journal has room. The connections of their senders are
//! not read meanwhile, and no message is dropped.

use std::collections::{BTreeMap, VecDeque};

use compact_str::CompactString;

use crate::hub::{ConnId, Context};
use crate::relay::Relay;

use super::{V2, kept};

/// The most bytes of messages that wait for room. A message that comes when they are used up is
/// refused.
const MOST_BYTES: usize = 16 << 20;
/// The most receipts that wait for room, each for one sender and one peer. Further receipts are not
/// kept, because a receipt is only a hint.
const MOST_RECEIPTS: usize = 10_000;

/// Messages and receipts that came when the journal had no room. Each connection has at most one
/// message here, and is not read until its message is accepted.
#[derive(Debug, Default)]
pub struct Room {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    /// The id of the newest message for each sender and peer, and the device of the peer that has acknowledged it.
    receipts: BTreeMap<(CompactString, CompactString), (CompactString, CompactString)>,
}

/// A message that waits for room.
#[derive(Debug)]
enum Waiting {
    /// A frame of a v2 client.
    Frame { conn: ConnId, link: u32, text: String },
    /// A message of a v1 page to a user.
    Page { conn: ConnId, from: CompactString, to: CompactString, message: String },
}

impl Waiting {
    fn size(&self) -> usize {
        match self {
            Waiting::Frame { text, .. } => text.len(),
            Waiting::Page { message, .. } => message.len(),
        }
    }
}

impl Room {
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.receipts.is_empty()
    }

    fn push(&mut self, waiting: Waiting) {
        self.bytes += waiting.size();
        self.waiting.push_back(waiting);
    }

    fn pop(&mut self) -> Option<Waiting> {
        let waiting = self.waiting.pop_front()?;
        self.bytes -= waiting.size();
        Some(waiting)
    }

    fn takes(&self, bytes: usize) -> bool {
        self.bytes + bytes <= MOST_BYTES
    }
}

impl V2 {
    /// Whether the journal has room for more messages.
    #[inline]
    pub(super) fn has_room(&mut self, cx: &Context) -> bool {
        self.is_the_ring || self.journal(cx).has_room()
    }

    /// Makes a frame of a v2 client wait for room in the journal. Returns false if it cannot wait.
    #[cold]
    pub(super) fn wait_with_frame(
        &mut self,
        cx: &mut Context,
        conn: ConnId,
        link: u32,
        text: &str,
    ) -> bool {
        let takes = self.room.takes(text.len());
        if takes {
            cx.hold(conn);
            self.room.push(Waiting::Frame { conn, link, text: text.to_owned() });
        }
        takes
    }

    /// Makes a message of a v1 page wait for room in the journal. Returns false if it cannot wait.
    #[cold]
    pub(super) fn wait_with_message(
        &mut self,
        cx: &mut Context,
        conn: ConnId,
        (from, to): (&str, &str),
        message: &str,
    ) -> bool {
        let takes = self.room.takes(message.len());
        if takes {
            cx.hold(conn);
            let (from, to, message) = (kept(from), kept(to), message.to_owned());
            self.room.push(Waiting::Page { conn, from, to, message });
        }
        takes
    }

    /// Makes a receipt wait for room in the journal.
    #[cold]
    pub(super) fn wait_with_receipt(
        &mut self,
        sender: &str,
        (peer, device): (&str, &str),
        id: &str,
    ) {
        let receipts = &mut self.room.receipts;
        let name = (kept(sender), kept(peer));
        if receipts.len() < MOST_RECEIPTS || receipts.contains_key(&name) {
            receipts.insert(name, (id.into(), kept(device)));
        }
    }
}

impl Relay {
    /// Handles waiting messages and receipts, as far as the journal has room.
    pub(super) fn use_room(&mut self, cx: &mut Context) {
        while !self.v2.room.waiting.is_empty() && self.v2.has_room(cx) {
            match self.v2.room.pop() {
                Some(Waiting::Frame { conn, link, text }) => {
                    cx.release(conn);
                    if self.v2.links.get(link).is_some_and(|link| link.conn == Some(conn)) {
                        self.handle_v2(cx, conn, link, &text);
                    }
                }
                Some(Waiting::Page { conn, from, to, message }) => {
                    cx.release(conn);
                    self.keep_for(cx, Some(conn), &from, &to, &message);
                }
                None => return,
            }
        }
    }

    /// Keeps the waiting receipts after the journal has kept a message, or can be reached again.
    pub(in crate::relay) fn use_receipts(&mut self, cx: &mut Context) {
        let mut left = self.v2.room.receipts.len();
        while left > 0
            && self.v2.has_room(cx)
            && let Some(((sender, peer), (id, device))) = self.v2.room.receipts.pop_first()
        {
            self.keep_receipt(cx, &sender, (&peer, &device), &id);
            left -= 1;
        }
    }
}
