//! Sends waiting messages to v1 pages that connect, with `--v1-mailbox on`.
//!
//! A page cannot acknowledge, so a message that was written to it counts as acknowledged by its
//! device.

use compact_str::CompactString;

use crate::hub::{ConnId, Context};
use crate::mailbox::{Key, MAX_DEVICES, Next};
use crate::relay::{Relay, v1};

use super::frames::{self, RECEIPT};
use super::links::{WINDOW, WINDOW_BYTES};
use super::loads::{Asked, Why};
use super::second;

impl Relay {
    /// Sends the waiting messages of its user to a v1 page that has connected, in the form of v1,
    /// as far as its queue has room.
    #[cold]
    pub(in crate::relay) fn visit(&mut self, cx: &mut Context, conn: ConnId) {
        self.visit_until(cx, conn, None);
    }

    /// Does the same with the messages up to a number; those behind it were written to the page when they
    /// came. If some are on a disk, the page gets them when they are read.
    pub(super) fn visit_until(&mut self, cx: &mut Context, conn: ConnId, until: Option<u64>) {
        let user = CompactString::from(cx.user(conn).unwrap_or_default());
        let Some(mailbox) = self.v2.boxes.find(&user) else { return };
        let device = CompactString::from(cx.device(conn).unwrap_or_default());
        let slot = self.v2.boxes.visit(mailbox, &device, second(cx));
        if slot == MAX_DEVICES {
            return;
        }
        let until = until.unwrap_or_else(|| self.v2.boxes.settled_top(mailbox));
        let most_queued = cx.config().max_queue / 2;
        let mut on_disk = None;
        let mut cursor = self.v2.boxes.cursor(mailbox, slot);
        while cx.queued(conn) <= most_queued
            && let Some(next) = self.v2.boxes.next(mailbox, slot, cursor + 1)
        {
            cursor = match next {
                // The dialect v1 has no frame for a gap.
                Next::Gap(lost) => lost.to,
                Next::Message(held) if held.marks.has(RECEIPT) || held.seq > until => held.seq,
                Next::Message(held) if held.is_stub() => {
                    on_disk = Some(held.seq);
                    break;
                }
                Next::Message(held) => {
                    self.scratch.clear();
                    match frames::group_and_message(held.text()) {
                        Some((group, message)) => {
                            let from = frames::sender_of(held.text()).unwrap_or_default();
                            v1::write_broadcast(&mut self.scratch, &from, Some(&group), message);
                        }
                        None => {
                            let part = frames::v1_part(held.text());
                            self.scratch.extend([frames::VOLATILE, part, "}"]);
                        }
                    }
                    let seq = held.seq;
                    if !cx.send(conn, &self.scratch) {
                        break;
                    }
                    self.v2.counters.delivered += 1;
                    seq
                }
            };
        }
        self.scratch.shrink_to(crate::relay::SCRATCH);
        self.note_read(cx, mailbox, &user, (conn, slot), cursor);
        if let Some(from) = on_disk {
            let seqs = self.v2.boxes.stubs(mailbox, from, WINDOW, WINDOW_BYTES as usize);
            self.load(cx, Asked { seqs, why: Why::Visit { conn, mailbox, user, until } });
        }
        self.v2.boxes.close(mailbox);
    }

    /// Notes that a kept message was written to the v1 pages of its receiver. It counts as
    /// acknowledged by their devices if all earlier messages do.
    pub(super) fn visit_by_pages(
        &mut self,
        cx: &mut Context,
        mailbox: Key,
        user: &str,
        seq: u64,
        pages: usize,
    ) {
        if pages == 0 || !self.config.v1_mailbox {
            return;
        }
        for conn in cx.connections_of(user) {
            if !cx.is_active(conn) {
                continue;
            }
            let device = CompactString::from(cx.device(conn).unwrap_or_default());
            let Some(slot) = self.v2.boxes.slot_of_device(mailbox, &device) else { continue };
            let cursor = self.v2.boxes.cursor(mailbox, slot);
            self.v2.boxes.open(mailbox);
            let is_next = match self.v2.boxes.next(mailbox, slot, cursor + 1) {
                Some(Next::Message(held)) => held.seq == seq,
                _ => false,
            };
            if is_next {
                self.note_read(cx, mailbox, user, (conn, slot), seq);
            }
        }
        self.v2.boxes.close(mailbox);
    }

    fn note_read(
        &mut self,
        cx: &mut Context,
        mailbox: Key,
        user: &str,
        (conn, slot): (ConnId, usize),
        seq: u64,
    ) {
        let before = self.v2.boxes.cursor(mailbox, slot);
        if seq <= before {
            return;
        }
        let receipts = self.v2.receipts_due(mailbox, Some(slot), (before, seq));
        self.v2.boxes.acknowledge(mailbox, slot, seq);
        self.v2.counters.acknowledged += 1;
        let device = cx.device(conn).unwrap_or_default();
        self.v2.journal(cx).acknowledge(super::NO_TICKET, user, device, seq);
        self.keep_receipts(cx, conn, user, receipts);
        self.v2.arm(cx);
    }
}
