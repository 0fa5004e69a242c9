//! The journal that keeps nothing outside the process. A message counts as kept when it is in the ring of
//! its mailbox. Each start of the server has a new epoch, and no earlier epoch is remembered.

use super::{Append, Completion, Journal, Kept, Progress, Question, Ticket};

/// A journal that keeps messages nowhere but in the mailboxes.
#[derive(Debug)]
pub struct Memory {
    epoch: String,
}

impl Memory {
    /// Makes a journal whose epoch has the name `epoch`. No two starts of the server may use the same name.
    pub fn new(epoch: String) -> Self {
        Memory { epoch }
    }
}

impl Journal for Memory {
    fn epoch(&self) -> &str {
        &self.epoch
    }

    fn end_of_epoch(&self, _: &str, _: &str) -> Option<u64> {
        None
    }

    fn is_the_ring(&self) -> bool {
        true
    }

    fn has_room(&self) -> bool {
        true
    }

    fn append(&mut self, _: Ticket, _: &Append<'_>) -> Progress {
        Progress::Done(Completion::Appended(Kept::default()))
    }

    fn acknowledge(&mut self, _: Ticket, _: &str, _: &str, _: u64) -> Progress {
        Progress::Done(Completion::Acknowledged)
    }

    fn history(&mut self, _: Ticket, _: &Question<'_>) -> Progress {
        Progress::Done(Completion::Unsupported)
    }

    fn forget(&mut self, _: Ticket, _: &str, _: u64) -> Progress {
        Progress::Done(Completion::Forgotten)
    }
}
