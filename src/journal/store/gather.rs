//! When the thread waits a moment for more sends, so that one sync is enough for all of them.
//!
//! Clients that wait for an answer before they send again fall into two halves: while the sends of one half are
//! synced, the other half is answered and sends again, just too late for the transaction that has begun. So every
//! sync is for half of the sends that it could be for. A short wait brings the halves together. Where waiting has
//! not helped, because senders do not wait for answers, it is tried more and more rarely.

use std::time::Duration;

/// The thread waits for this part of the time that the last transaction took, and at most so many microseconds.
const PART: u64 = 4;
const LIMIT: u64 = 500;
/// After a wait that did not help, the next ones are left out: one, then twice as many each time, up to this.
const MOST_LEFT_OUT: u32 = 64;

/// For how many sends the next transaction waits.
#[derive(Debug, Default)]
pub(super) struct Gather {
    sends: u64,
    micros: u64,
    /// How many waits are left out because of the last one that did not help, and how many of them are to come.
    left_out: u32,
    to_leave_out: u32,
}

impl Gather {
    /// A transaction has taken so long and has written `sends`, and meanwhile `queued` more have come. All of their
    /// senders together may send as many again.
    pub fn written(&mut self, sends: u64, queued: u64, micros: u64) {
        self.sends = sends + queued;
        self.micros = (micros / PART).min(LIMIT);
    }

    /// For how many sends the thread waits now that there are some, and for how long at most. A single sender is
    /// never waited for, because its next send comes after its answer.
    pub fn begin(&mut self) -> Option<(u64, Duration)> {
        let sends = std::mem::take(&mut self.sends);
        if sends < 2 {
            return None;
        }
        if self.to_leave_out > 0 {
            self.to_leave_out -= 1;
            return None;
        }
        Some((sends, Duration::from_micros(self.micros)))
    }

    /// Notes whether all sends have come for which the thread has waited.
    pub fn end(&mut self, have_come: bool) {
        self.left_out = match have_come {
            true => 0,
            false => (self.left_out * 2).clamp(1, MOST_LEFT_OUT),
        };
        self.to_leave_out = self.left_out;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_waits_for_the_senders_of_the_last_one_and_for_those_that_came_meanwhile() {
        let mut gather = Gather::default();
        assert_eq!(gather.begin(), None, "nothing was written yet");
        gather.written(30, 34, 1_200);
        assert_eq!(gather.begin(), Some((64, Duration::from_micros(300))));
        gather.end(true);
        assert_eq!(gather.begin(), None, "it waits once for each transaction");
        gather.written(64, 0, 1_000_000);
        assert_eq!(gather.begin(), Some((64, Duration::from_micros(LIMIT))));
    }

    #[test]
    fn a_single_sender_never_waits() {
        let mut gather = Gather::default();
        gather.written(1, 0, 1_000);
        assert_eq!(gather.begin(), None);
    }

    #[test]
    fn waits_that_do_not_help_become_rare_and_one_that_helps_makes_them_usual_again() {
        let mut gather = Gather::default();
        let mut waits = |transactions: u32, have_come: bool| {
            let mut count = 0;
            for _ in 0..transactions {
                gather.written(10, 10, 1_000);
                if gather.begin().is_some() {
                    count += 1;
                    gather.end(have_come);
                }
            }
            count
        };
        assert_eq!(waits(1_000, true), 1_000);
        // Between the waits 1, 2, 4, 8, 16, 32 and then 64 transactions begin at once.
        assert_eq!(waits(70, false), 7);
        assert_eq!(waits(650, false), 10);
        assert_eq!(waits(1_000, true), 1_000 - 64);
    }
}
