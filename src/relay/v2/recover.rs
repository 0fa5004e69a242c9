//! What an earlier run has kept: the journal tells it once, before there is a connection.

use crate::journal::{self, Cause, Journal, Recovered, Stored};
use crate::mailbox::{Marks, Old, Reason};

use super::V2;
use super::recorded;

/// The bytes of the rest of a message without its names and its text.
const FRAME: usize = 96;

/// The reason that a client is told.
fn reason_of(cause: Cause) -> Reason {
    match cause {
        Cause::Expired => Reason::Expired,
        Cause::Bound => Reason::Overflow,
        Cause::Deleted => Reason::Lost,
    }
}

impl V2 {
    /// Messages are kept by this journal from now on. What it has kept before is in the mailboxes then,
    /// without the bodies.
    pub(crate) fn set_journal(&mut self, mut journal: Box<dyn Journal>) {
        if journal.shares_numbers() {
            self.boxes.share_numbers(0);
        }
        let (mut gone, mut newest) = (Vec::new(), 0);
        journal.recover(&mut |told| match told {
            Recovered::Last(last) => self.boxes.share_numbers(last),
            Recovered::Device { user, device, cursor, away } => {
                self.boxes.recover_device(&user, &device, cursor, away);
            }
            Recovered::Gone { user, seq, cause } => gone.push((user, seq, cause)),
            Recovered::Send(stored) => {
                newest = newest.max(stored.id);
                self.recover_send(&stored);
            }
            Recovered::Cid { user, seq } => self.boxes.recover_cid(&user, seq),
            Recovered::Note(note) => self.notes.push(note),
        });
        gone.sort_unstable();
        let mut before: Option<(&str, u64)> = None;
        for (user, seq, cause) in &gone {
            let after = before.filter(|(of, _)| *of == &**user).map_or(0, |(_, seq)| seq);
            self.boxes.recover_gone(user, (after, *seq), reason_of(*cause));
            before = Some((user, *seq));
        }
        self.boxes.finish_recovery();
        if newest > 0 {
            self.ids.begin_above(newest);
        }
        self.epochs.begin(journal.epoch());
        self.is_the_ring = journal.is_the_ring();
        self.is_shared = journal.is_shared();
        if self.is_shared {
            self.boxes.become_copies();
        }
        self.journal = Some(journal);
    }

    fn recover_send(&mut self, stored: &Stored) {
        let Stored { user, device, cid, group, key, size, left, records, .. } = stored;
        let names = user.len() + group.len() + key.len() + FRAME;
        for record in records {
            self.boxes.share_numbers(record.seq);
            let key = match record.kind {
                // Nothing has a key but receipts and messages whose sender has given one.
                journal::Kind::Receipt => recorded::body_key(stored, record),
                _ if key.is_empty() => String::new(),
                _ => recorded::body_key(stored, record),
            };
            let is_own = record.kind == journal::Kind::Own;
            let old = Old {
                seq: record.seq,
                size: *size as usize + names + record.user.len(),
                key: &key,
                left: *left,
                marks: Marks::of_bits(record.marks),
                but: is_own.then_some(&**device),
            };
            self.boxes.recover_message(&record.user, old);
        }
        if !cid.is_empty()
            && let Some(first) = records.first()
        {
            self.boxes.recover_cid(user, first.seq);
        }
    }
}
