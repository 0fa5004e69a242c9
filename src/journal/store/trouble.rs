//! What the engine does when there is no room for a transaction, and when the file has to be given up.

use rusqlite::Connection;

use super::NO_TICKET;
use super::engine::{Answer, Engine, Outcome};
use super::queue::StoreState;
use super::request::{Request, each};
use super::room::Trouble;
use super::stats::{add, set};
use crate::journal::{Completed, Completion};

impl Engine {
    /// Keeps a batch in memory until there is room, and answers that it is not on the disk.
    pub(super) fn keep_unwritten(&mut self, batch: &[u8], answer: Answer<'_>) {
        each(batch, |ticket, request, one| {
            let is_kept = match request {
                Request::Append { .. } | Request::Carried { .. } => true,
                // Who waits for the answer learns that it was not done, and takes it back. So it is with blocks.
                Request::Join { .. } | Request::Leave { .. } => ticket == NO_TICKET,
                _ => false,
            };
            if is_kept {
                self.room.unwritten.push(one);
            }
        });
        let given_up = self.room.unwritten.end_batch();
        add(&self.shared.stats.given_up, given_up);
        self.count_unwritten();
        self.complete(batch, answer, Outcome::Unwritten);
    }

    pub(super) fn count_unwritten(&self) {
        let (sends, bytes) = self.room.unwritten.size();
        set(&self.shared.stats.unwritten, sends);
        set(&self.shared.stats.unwritten_bytes, bytes);
    }

    pub(super) fn note_no_room(&mut self, error: &rusqlite::Error) {
        self.room.has_failed(self.clock.millis());
        if self.shared.state() == StoreState::Ok {
            log::error!(
                event = "store_full", file:% = self.path.display(), error:%;
                "{}: there is no room ({error}); messages wait in memory until there is",
                self.path.display()
            );
            self.shared.set_state(StoreState::Full);
        }
        self.room.free_ballast(&self.path, &self.segments, &mut self.retain, self.clock.millis());
    }

    /// Writes what waits for room, in its order, if it is time to try.
    pub(super) fn retry(&mut self, connection: &Connection, answer: Answer<'_>) {
        if self.shared.state() != StoreState::Full || !self.room.is_due(self.clock.millis()) {
            return;
        }
        if self.retain.is_any_over(&self.segments, self.clock.millis()) {
            // What is dropped gives room. If that fails, so does what follows, which says why.
            let _ = self.transact(connection, &[]);
            self.measure(connection);
        }
        loop {
            let batch = self.room.unwritten.pop();
            let batch_bytes = batch.as_deref().unwrap_or_default();
            let started = self.clock.micros();
            match self.transact(connection, batch_bytes) {
                Ok(written) => {
                    self.count(written, started);
                    let mut last = self.shared.last();
                    each(batch_bytes, |_, request, _| {
                        if let Request::Append { last: newest, .. } = request {
                            last = last.max(newest);
                        }
                    });
                    self.shared.set_last(last);
                    self.measure(connection);
                    if self.wal_bytes() >= self.limits.wal {
                        self.checkpoint(connection, answer);
                    }
                    if self.shared.state() == StoreState::Failed {
                        return;
                    }
                }
                Err(error) => {
                    add(&self.shared.stats.commit_failures, 1);
                    if let Some(batch) = batch {
                        self.room.unwritten.push_front(batch);
                    }
                    match self.room.judge(&self.path, &error) {
                        Trouble::NoRoom => self.note_no_room(&error),
                        Trouble::Final => self.give_up(&error, answer),
                    }
                    return;
                }
            }
            self.count_unwritten();
            if self.room.unwritten.is_empty() && (batch.is_some() || self.room.has_some(&self.path))
            {
                log::warn!(
                    event = "store_back", file:% = self.path.display();
                    "{}: there is room again, and messages are written",
                    self.path.display()
                );
                self.shared.set_state(StoreState::Ok);
            }
            if self.room.unwritten.is_empty() {
                return;
            }
        }
    }

    /// Gives the file up after a panic of the store's thread, in which a transaction may have been open. A question
    /// that waits is refused, because it may be the reason.
    pub fn has_panicked(&mut self, connection: &Connection, answer: Answer<'_>) {
        if !connection.is_autocommit() {
            // Nothing is written any more, so the transaction has no effect if this fails.
            let _ = connection.execute_batch("ROLLBACK");
        }
        self.give_up(&"the thread of the store has panicked", answer);
        self.questions.refuse_first(&self.shared, answer);
    }

    /// Gives the file up: nothing is written any more. What was committed stays, and a new epoch begins.
    pub fn give_up(&mut self, error: &dyn std::fmt::Display, answer: Answer<'_>) {
        if self.shared.state() == StoreState::Failed {
            return;
        }
        log::error!(
            event = "store_failed", file:% = self.path.display(), error:%;
            "{}: the file is given up ({error}). Nothing is written until the server is started again",
            self.path.display()
        );
        self.shared.set_state(StoreState::Failed);
        self.shared.begin_new_epoch();
        let (given_up, _) = self.room.unwritten.clear();
        add(&self.shared.stats.given_up, given_up);
        self.count_unwritten();
        answer(Completed { ticket: NO_TICKET, completion: Completion::NewEpoch });
    }
}
