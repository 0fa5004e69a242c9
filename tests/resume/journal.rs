//! A journal that completes when the test says so, as one on a disk or in another program does.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use longlink::keeping::{Append, Completed, Completion, Journal, Kept, Progress, Question, Ticket};

/// How many messages may wait. Then senders are held back.
const ROOM: usize = 50;

/// What was appended and is not completed, in its order. A clone is the same journal.
#[derive(Clone, Debug)]
pub struct Slow {
    epoch: String,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    /// The ticket and the round of each.
    waiting: VecDeque<(Ticket, u32)>,
    /// The round in which something could not be kept: nothing else of it is kept.
    failed: Option<u32>,
}

impl Slow {
    /// The journal of the server that was started as this one.
    pub fn new(start: u64) -> Self {
        Slow { epoch: format!("slow{start}"), inner: Arc::default() }
    }

    /// Completes what was appended first. It is kept, unless it is refused or something of its round
    /// was not kept before.
    pub fn complete(&self, is_refused: bool, is_stored: bool) -> Option<Completed> {
        let mut inner = self.inner.lock().expect("nobody has panicked");
        let (ticket, round) = inner.waiting.pop_front()?;
        if is_refused {
            inner.failed = Some(round);
        }
        let completion = match inner.failed == Some(round) {
            true => Completion::Unavailable,
            false => Completion::Appended(Kept { is_stored, ..Kept::default() }),
        };
        Some(Completed { ticket, completion })
    }
}

impl Journal for Slow {
    fn epoch(&self) -> &str {
        &self.epoch
    }

    fn end_of_epoch(&self, _: &str, _: &str) -> Option<u64> {
        None
    }

    fn has_room(&self) -> bool {
        self.inner.lock().expect("nobody has panicked").waiting.len() < ROOM
    }

    fn append(&mut self, ticket: Ticket, append: &Append<'_>) -> Progress {
        let mut inner = self.inner.lock().expect("nobody has panicked");
        inner.waiting.push_back((ticket, append.round));
        Progress::Later
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
