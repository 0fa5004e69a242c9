//! Acknowledgements of devices, and the receipts for senders who asked for them.

use compact_str::CompactString;

use crate::hub::{ConnId, Context};
use crate::journal::Stored;
use crate::mailbox::{Key, Last};
use crate::relay::Relay;
use crate::relay::events::{Event, EventKind};

use super::frames::{self, RECEIPT, WANTS_RECEIPT};
use super::ids::write_id;
use super::loads::{Asked, Why, records_of};
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
        // Nearly always neither a sender nor the journal is told.
        let is_told = !v2.is_the_ring || v2.boxes.has_mark(mailbox, (before, seq), WANTS_RECEIPT);
        let receipts = match is_told {
            true => v2.receipts_due(mailbox, Some(slot), (before, seq)),
            false => Due::default(),
        };
        v2.boxes.acknowledge(mailbox, slot, seq);
        v2.counters.acknowledged += 1;
        v2.links.note_acknowledged(key, seq, second(cx));
        if let Some(conn) = conn {
            told::ack(cx, conn, seq);
            if is_told {
                self.tell_of_ack(cx, conn, (mailbox, slot), seq, receipts);
            }
        }
        let Some(link) = self.v2.links.get(key) else { return };
        let (next, is_live) = (link.next, link.is_live);
        // Messages that the journal has not completed are not delivered.
        let boxes = &self.v2.boxes;
        if next <= boxes.top(mailbox) && (!is_live || next <= boxes.settled_top(mailbox)) {
            self.v2.deliver(cx, key);
            self.tell_losses(cx);
        }
    }

    /// Tells the journal that a device has handled all messages up to a number, and keeps the receipts
    /// that are due because of it.
    #[inline(never)]
    fn tell_of_ack(
        &mut self,
        cx: &mut Context,
        conn: ConnId,
        (mailbox, slot): (Key, usize),
        seq: u64,
        receipts: Due,
    ) {
        let v2 = &mut self.v2;
        if !v2.is_the_ring
            && let Some(journal) = &mut v2.journal
        {
            let (user, device) = (v2.boxes.user(mailbox), v2.boxes.device_name(mailbox, slot));
            journal.acknowledge(NO_TICKET, user, device, seq);
        }
        if !receipts.is_empty() {
            let user = v2.boxes.user(mailbox).clone();
            self.keep_receipts(cx, conn, &user, receipts);
        }
    }

    /// Keeps the receipts that are due because a device of a user has handled messages. Those of messages
    /// that are on a disk alone wait until the messages are read.
    pub(super) fn keep_receipts(&mut self, cx: &mut Context, conn: ConnId, user: &str, due: Due) {
        if due.is_empty() {
            return;
        }
        let device = CompactString::from(cx.device(conn).unwrap_or_default());
        let mut due = Due { user: user.into(), device, ..due };
        if due.stubs.is_empty() && due.earlier.is_empty() {
            match self.v2.loads.receipts_of(user) {
                // A receipt of an earlier message must not follow that of a later one.
                Some(waiting) => due.known.into_iter().for_each(|(to, id)| waiting.add(to, id)),
                None => self.keep_all_receipts(cx, &due),
            }
            return;
        }
        let mut seqs = due.stubs.clone();
        seqs.extend(&due.earlier);
        seqs.sort_unstable();
        due.stubs.sort_unstable();
        self.load(cx, Asked { seqs, why: Why::Receipts(due) });
    }

    /// Keeps the receipts that have waited until messages were read.
    pub(super) fn complete_receipts(&mut self, cx: &mut Context, mut due: Due, sends: &[Stored]) {
        let user = due.user.clone();
        for (stored, record) in records_of(sends, &user) {
            if due.stubs.binary_search(&record.seq).is_ok() {
                let mut id = String::new();
                write_id(stored.id, &mut id);
                due.add((&*stored.user).into(), id.into());
            }
        }
        if let Some(mailbox) = self.v2.boxes.find(&user) {
            for (stored, record) in records_of(sends, &user) {
                if due.earlier.contains(&record.seq) && due.is_for(&stored.user) {
                    let (before, seq) = (record.seq - 1, record.seq);
                    let held = self.v2.boxes.range_mut(mailbox, before, seq);
                    held.for_each(|held| held.marks.clear(WANTS_RECEIPT));
                }
            }
            self.v2.boxes.close(mailbox);
        }
        self.keep_all_receipts(cx, &due);
    }

    fn keep_all_receipts(&mut self, cx: &mut Context, due: &Due) {
        let Due { user, device, known, .. } = due;
        for (to, id) in known {
            self.keep_receipt(cx, to, (user, device), id);
            if self.watchers.has(EventKind::Receipt) {
                let event = Event::Receipt { user, device, to, id };
                match self.v2.is_shared {
                    // The journal tells the backend, if the receipt is not one of an earlier message.
                    true => self.watchers.tell_others(cx, &event),
                    false => self.watchers.tell_all(cx, &event),
                }
            }
        }
    }
}

/// The receipts that are due because a device of a user has handled messages.
#[derive(Debug, Default)]
pub struct Due {
    pub user: CompactString,
    device: CompactString,
    /// The senders who wanted them, each with the id of its last message.
    known: Vec<(CompactString, CompactString)>,
    /// The numbers of messages whose senders want one, and are only known on the disk.
    stubs: Vec<u64>,
    /// The numbers of such messages that were not handled. Their senders want none any more if they get
    /// one of a later message.
    earlier: Vec<u64>,
}

impl Due {
    pub fn is_empty(&self) -> bool {
        self.known.is_empty() && self.stubs.is_empty()
    }

    fn is_for(&self, sender: &str) -> bool {
        self.known.iter().any(|(known, _)| *known == *sender)
    }

    /// Adds a receipt of a message. Of each sender the last message counts.
    fn add(&mut self, sender: CompactString, id: CompactString) {
        match self.known.iter_mut().find(|(known, _)| *known == sender) {
            Some((_, last)) if *last >= id => {}
            Some((_, last)) => *last = id,
            None => self.known.push((sender, id)),
        }
    }
}

impl V2 {
    /// Which receipts are due because a device comes back behind a higher number than it had
    /// acknowledged: the acknowledgement was lost.
    pub(super) fn receipts_due_by_last(&mut self, user: &str, device: &str, last: Last) -> Due {
        let seq = match last {
            Last::Current(seq) => seq,
            Last::Earlier { seq, end } if self.goes_on(seq, end) => seq,
            _ => return Due::default(),
        };
        let Some(mailbox) = self.boxes.find(user) else { return Due::default() };
        let slot = self.boxes.slot_of_device(mailbox, device);
        let before = slot.map_or(0, |slot| self.boxes.cursor(mailbox, slot));
        if seq <= before || seq > self.boxes.top(mailbox) {
            return Due::default();
        }
        self.receipts_due(mailbox, slot, (before, seq))
    }

    /// Whether a number of an earlier epoch, which ended at `end`, means the same in the present one.
    fn goes_on(&self, seq: u64, end: u64) -> bool {
        seq <= end && (self.boxes.is_shared() || self.is_shared)
    }

    /// Returns the senders who asked for receipts of messages between two numbers, each with the id
    /// of the last of its messages. The messages are marked, so that the acknowledgement of another
    /// device makes no second receipt. A message that the acknowledging device has skipped, because
    /// it could not take it, waits for the acknowledgement of another device.
    pub(super) fn receipts_due(
        &mut self,
        mailbox: Key,
        slot: Option<usize>,
        (after, to): (u64, u64),
    ) -> Due {
        let mut due = Due::default();
        if !self.boxes.has_mark(mailbox, (after, to), WANTS_RECEIPT) {
            return due;
        }
        for held in self.boxes.range_mut(mailbox, after, to) {
            let is_skipped = slot.is_some_and(|slot| held.skips.has(slot));
            if !held.marks.has(WANTS_RECEIPT) || is_skipped {
                continue;
            }
            held.marks.clear(WANTS_RECEIPT);
            if held.is_stub() {
                due.stubs.push(held.seq);
            } else if let Some((id, sender)) = frames::id_and_sender(held.text()) {
                due.add((&*sender).into(), id.into());
            }
        }
        if !due.is_empty() {
            self.forget_earlier_receipts(mailbox, to, &mut due);
        }
        due
    }

    /// Forgets that senders want receipts of messages up to a number, because they get one of a later
    /// message. A device that was not known when those messages came, or could not take them, has not
    /// acknowledged them, but another one may do so later: its receipt must not follow that of the
    /// later message.
    fn forget_earlier_receipts(&mut self, mailbox: Key, to: u64, due: &mut Due) {
        for held in self.boxes.range_mut(mailbox, 0, to) {
            if !held.marks.has(WANTS_RECEIPT) {
                continue;
            }
            if held.is_stub() {
                due.earlier.push(held.seq);
            } else if let Some(sender) = frames::sender_of(held.text())
                && due.is_for(&sender)
            {
                held.marks.clear(WANTS_RECEIPT);
            }
        }
    }
}

impl Relay {
    /// Puts a receipt into the mailbox of a sender, where it replaces an earlier one about the same
    /// receiver. `device` is the device of the receiver that has acknowledged the message.
    pub(super) fn keep_receipt(
        &mut self,
        cx: &mut Context,
        sender: &str,
        (peer, device): (&str, &str),
        id: &str,
    ) {
        if self.v2.is_shared {
            return self.keep_shared_receipt(cx, sender, (peer, device), id);
        }
        let Some(mailbox) = self.v2.boxes.find(sender) else { return };
        if !self.v2.has_room(cx) {
            return self.v2.wait_with_receipt(sender, (peer, device), id);
        }
        let v2 = &mut self.v2;
        v2.counters.receipts += 1;
        v2.rest.clear();
        frames::write_receipt(peer, id, &mut v2.rest);
        let entry = v2.entry(mailbox, sender, &format!("r\0{peer}"), Kind::Receipt, None);
        let entries = vec![Entry { marks: RECEIPT, ..entry }];
        let (id, user, origin) =
            (v2.ids.next(v2.ids.time(cx.unix_millis())), kept(peer), Origin::Nobody(None));
        self.append(cx, Taken { user, id, origin, entries, post: None });
    }
}
