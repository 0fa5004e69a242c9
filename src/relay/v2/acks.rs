//! Acknowledgements of devices, and the receipts for senders who asked for them.

use compact_str::CompactString;

use crate::hub::{ConnId, Context};
use crate::mailbox::Last;
use crate::relay::Relay;
use crate::relay::events::{Event, EventKind};

use super::frames::{self, RECEIPT, WANTS_RECEIPT};
use super::taken::{Entry, Kind, Origin, Taken};
use super::{NO_TICKET, V2, kept, second, told};

impl Relay {
    /// Handles an acknowledgement: a device has handled all messages up to a number.
    pub(super) fn take_ack(&mut self, cx: &mut Context, key: u32, seq: u64) {
        let Some(link) = self.v2.links.get(key) else { return };
        let Some(mailbox) = link.mailbox() else { return };
        let (conn, slot) = (link.conn, usize::from(link.slot));
        let seq = seq.min(link.written());
        let v2 = &mut self.v2;
        let before = v2.boxes.cursor(mailbox, slot);
        if seq <= before {
            return;
        }
        let receipts = v2.receipts_due(mailbox, Some(slot), (before, seq));
        v2.boxes.acknowledge(mailbox, slot, seq);
        v2.counters.acknowledged += 1;
        v2.links.note_acknowledged(key, seq, second(cx));
        if let Some(conn) = conn {
            told::ack(cx, conn, seq);
            if !v2.is_the_ring || !receipts.is_empty() {
                let user = v2.boxes.user(mailbox).clone();
                if !v2.is_the_ring {
                    let device = v2.boxes.device_name(mailbox, slot).clone();
                    v2.journal(cx).acknowledge(NO_TICKET, &user, &device, seq);
                }
                self.keep_receipts(cx, conn, &user, receipts);
            }
        }
        let next = self.v2.links.get(key).map_or(0, |link| link.next);
        if next <= self.v2.boxes.top(mailbox) {
            self.v2.deliver(cx, key);
            self.tell_losses(cx);
        }
    }

    /// Keeps the receipts that are due because a device of a user has handled messages.
    pub(super) fn keep_receipts(
        &mut self,
        cx: &mut Context,
        conn: ConnId,
        user: &str,
        receipts: Vec<(CompactString, CompactString)>,
    ) {
        for (sender, id) in receipts {
            self.keep_receipt(cx, &sender, user, &id);
            self.watchers.tell(EventKind::Receipt, cx, conn, |user, device| Event::Receipt {
                user,
                device,
                to: &sender,
                id: &id,
            });
        }
    }
}

impl V2 {
    /// Who wants a receipt because a device comes back behind a higher number than it had
    /// acknowledged: the acknowledgement was lost.
    pub(super) fn receipts_due_by_last(
        &mut self,
        user: &str,
        device: &str,
        last: Last,
    ) -> Vec<(CompactString, CompactString)> {
        let (Last::Current(seq), Some(mailbox)) = (last, self.boxes.find(user)) else {
            return Vec::new();
        };
        let slot = self.boxes.slot_of_device(mailbox, device);
        let before = slot.map_or(0, |slot| self.boxes.cursor(mailbox, slot));
        if seq <= before || seq > self.boxes.top(mailbox) {
            return Vec::new();
        }
        self.receipts_due(mailbox, slot, (before, seq))
    }

    /// Returns the senders who asked for receipts of messages between two numbers, each with the id
    /// of the last of its messages. The messages are marked, so that the acknowledgement of another
    /// device makes no second receipt. A message that the acknowledging device has skipped, because
    /// it could not take it, waits for the acknowledgement of another device.
    #[inline]
    pub(super) fn receipts_due(
        &mut self,
        mailbox: crate::mailbox::Key,
        slot: Option<usize>,
        (after, to): (u64, u64),
    ) -> Vec<(CompactString, CompactString)> {
        match self.boxes.has_mark(mailbox, (after, to), WANTS_RECEIPT) {
            true => self.find_receipts_due(mailbox, slot, (after, to)),
            false => Vec::new(),
        }
    }

    #[inline(never)]
    fn find_receipts_due(
        &mut self,
        mailbox: crate::mailbox::Key,
        slot: Option<usize>,
        (after, to): (u64, u64),
    ) -> Vec<(CompactString, CompactString)> {
        let mut due: Vec<(CompactString, CompactString)> = Vec::new();
        for held in self.boxes.range_mut(mailbox, after, to) {
            let is_skipped = slot.is_some_and(|slot| held.skips.has(slot));
            if !held.marks.has(WANTS_RECEIPT) || is_skipped {
                continue;
            }
            held.marks.clear(WANTS_RECEIPT);
            let Some((id, sender)) = frames::id_and_sender(held.text()) else { continue };
            match due.iter_mut().find(|(known, _)| *known == *sender) {
                Some((_, last)) => *last = id.into(),
                None => due.push((CompactString::from(&*sender), id.into())),
            }
        }
        if !due.is_empty() {
            self.forget_earlier_receipts(mailbox, to, &due);
        }
        due
    }
}

impl V2 {
    /// Forgets that senders want receipts of messages up to a number, because they get one of a later
    /// message. A device that was not known when those messages came, or could not take them, has not
    /// acknowledged them, but another one may do so later: its receipt must not follow that of the
    /// later message.
    fn forget_earlier_receipts(
        &mut self,
        mailbox: crate::mailbox::Key,
        to: u64,
        due: &[(CompactString, CompactString)],
    ) {
        for held in self.boxes.range_mut(mailbox, 0, to) {
            if held.marks.has(WANTS_RECEIPT)
                && let Some(sender) = frames::sender_of(held.text())
                && due.iter().any(|(known, _)| *known == *sender)
            {
                held.marks.clear(WANTS_RECEIPT);
            }
        }
    }
}

impl Relay {
    /// Puts a receipt into the mailbox of a sender, where it replaces an earlier one about the same
    /// receiver.
    pub(super) fn keep_receipt(&mut self, cx: &mut Context, sender: &str, peer: &str, id: &str) {
        let Some(mailbox) = self.v2.boxes.find(sender) else { return };
        if !self.v2.has_room(cx) {
            return self.v2.wait_with_receipt(sender, peer, id);
        }
        let v2 = &mut self.v2;
        v2.counters.receipts += 1;
        v2.rest.clear();
        frames::write_receipt(peer, id, &mut v2.rest);
        let entry = v2.entry(mailbox, sender, &format!("r\0{peer}"), Kind::Receipt, None);
        let entries = vec![Entry { marks: RECEIPT, ..entry }];
        let (id, user, origin) = (v2.ids.next(cx.unix_millis()), kept(peer), Origin::Nobody(None));
        self.append(cx, Taken { user, id, origin, entries, post: None });
    }
}
