//! The engine of the store: takes what is queued, writes it in one transaction, and answers.
//!
//! It has no thread of its own and reads the time from [`Clock`], so a test can drive it step by step.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use rusqlite::{Connection, Result};

use super::NO_TICKET;
use super::clock::Clock;
use super::gather::Gather;
use super::hints::{self, Hints};
use super::questions::Questions;
use super::queue::{Shared, StoreState, Taken};
use super::request::{Request, each, read};
use super::retain::Retain;
use super::room::{Room, Trouble};
use super::rows;
use super::scan;
use super::segments::{Segments, Writer};
use super::stats::{add, set};
use crate::journal::{Completed, Completion, Kept, Ticket};

/// A page of the file, and what the write-ahead log adds to it.
pub(super) const PAGE: u64 = 4_096;
pub(super) const FRAME: u64 = PAGE + 24;

/// What the engine answers with.
pub(super) type Answer<'a> = &'a mut dyn FnMut(Completed);

/// Bounds of the engine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// A transaction ends at so many bytes of requests, unless a list is longer.
    pub transaction: usize,
    /// A checkpoint is made when the write-ahead log has so many bytes.
    pub wal: u64,
    /// How long history tells messages; `None` if there is no history.
    pub history: Option<Duration>,
}

/// Everything of the store but its connection, which each method gets, so that a backup can borrow it meanwhile.
#[derive(Debug)]
pub(super) struct Engine {
    pub path: PathBuf,
    pub clock: Clock,
    pub shared: Arc<Shared>,
    pub limits: Limits,
    pub segments: Segments,
    pub retain: Retain,
    pub room: Room,
    pub wal_frames: Arc<AtomicU64>,
    /// The name of the new epoch and the last number before it, while the disk is too full to begin it.
    pub unbegun: Option<(String, u64)>,
    hints: Hints,
    taken: Taken,
    /// How much of what was taken is done.
    done: usize,
    /// Whether the batch that is handled was answered.
    is_answered: bool,
    pub questions: Questions,
    gather: Gather,
    /// A backup that was asked for.
    pub wanted_copy: Option<Ticket>,
    #[cfg(test)]
    pub trap: super::tests::Trap,
}

/// What a transaction has written.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Written {
    sends: u64,
    hints: hints::Written,
}

/// With each block that is written, so many are deleted that have ended.
const ENDED_BLOCKS: u64 = 16;

impl Engine {
    pub fn new(
        (path, clock, shared): (PathBuf, Clock, Arc<Shared>),
        limits: Limits,
        segments: Segments,
        retain: Retain,
        room: Room,
    ) -> Self {
        Engine {
            path,
            clock,
            shared,
            limits,
            segments,
            retain,
            room,
            wal_frames: Arc::default(),
            unbegun: None,
            hints: Hints::default(),
            taken: Taken::default(),
            done: 0,
            is_answered: false,
            questions: Questions::new(limits.history),
            gather: Gather::default(),
            wanted_copy: None,
            #[cfg(test)]
            trap: super::tests::Trap::None,
        }
    }

    /// Takes what is queued, up to the bound of a transaction, writes it, and answers. Then it
    /// answers questions, and makes a checkpoint if the write-ahead log is long. Returns
    /// whether there was something to do.
    pub fn step(&mut self, connection: &Connection, answer: Answer<'_>) -> bool {
        if self.done >= self.taken.bytes.len() {
            self.done = 0;
            self.shared.take(&mut self.taken);
        }
        let has_batch = self.done < self.taken.bytes.len();
        if has_batch {
            let taken = std::mem::take(&mut self.taken);
            let end = self.cut(&taken);
            let batch = &taken.bytes[self.done..end];
            self.is_answered = false;
            let handled = catch_unwind(AssertUnwindSafe(|| self.handle(connection, batch, answer)));
            if handled.is_err() {
                self.has_panicked(connection, answer);
                if !self.is_answered {
                    self.complete(batch, answer, Outcome::Failed);
                }
            }
            self.done = end;
            self.taken = taken;
        }
        let has_questions = !self.questions.is_empty();
        self.answer_questions(connection, answer);
        if self.wal_bytes() >= self.limits.wal {
            self.checkpoint(connection, answer);
        }
        self.room.look(&self.path, &self.shared, self.clock.millis());
        has_batch || has_questions
    }

    /// Does what need not be done at once: it writes what waited for room, hints, and what the retention
    /// asks for, and makes a checkpoint. Returns whether there is more of it.
    pub fn idle(&mut self, connection: &Connection, answer: Answer<'_>) -> bool {
        if self.shared.state() == StoreState::Failed {
            return false;
        }
        #[cfg(test)]
        self.trap.spring(super::tests::Trap::Idle);
        self.retry(connection, answer);
        let now = self.clock.millis();
        if self.shared.state() == StoreState::Failed {
            return false;
        }
        let has_work = self.retain.has_work(&self.segments, &self.shared.stats, now);
        if has_work || self.hints.are_due(now) {
            self.commit(connection, &[], answer);
        }
        if !has_work && self.wal_frames.load(std::sync::atomic::Ordering::Relaxed) > 0 {
            self.checkpoint(connection, answer);
        }
        self.room.look(&self.path, &self.shared, now);
        (has_work || self.hints.are_due(now)) && self.shared.state() == StoreState::Ok
    }

    /// Whether something waits that is written without being asked for.
    pub fn has_hints(&self) -> bool {
        !self.hints.is_empty()
    }

    /// Writes what is left before the file is closed.
    pub fn finish(&mut self, connection: &Connection, answer: Answer<'_>) {
        while self.step(connection, answer) {}
        if self.shared.state() == StoreState::Full {
            self.room.retry_now();
            self.retry(connection, answer);
        }
        while !self.hints.is_empty() && self.shared.state() == StoreState::Ok {
            self.hints.hurry();
            self.commit(connection, &[], answer);
        }
    }

    /// Where the next transaction ends in what was taken.
    fn cut(&self, taken: &Taken) -> usize {
        let limit = self.done + self.limits.transaction;
        let mut end = self.done;
        while end < limit
            && let Some((_, _, length)) = read(&taken.bytes[end..])
        {
            end += length;
        }
        // A list is written as a whole.
        let list = taken.lists.iter().find(|(from, to)| *from < end && end < *to);
        // What cannot be read was not written by the queue, and must not be met again.
        list.map_or(end, |list| list.1).max(self.done + 1).min(taken.bytes.len())
    }

    fn handle(&mut self, connection: &Connection, batch: &[u8], answer: Answer<'_>) {
        each(batch, |ticket, request, bytes| self.put_aside(ticket, &request, bytes.len() as u64));
        let mut writes = false;
        each(batch, |_, request, _| {
            let is_hint = matches!(request, Request::Acknowledge { .. } | Request::Expired { .. });
            writes |= request.writes() && !is_hint;
        });
        if !writes {
            self.complete(batch, answer, Outcome::Written);
            return;
        }
        self.retry(connection, answer);
        match self.shared.state() {
            StoreState::Ok => self.commit(connection, batch, answer),
            StoreState::Full => self.keep_unwritten(batch, answer),
            StoreState::Failed => self.complete(batch, answer, Outcome::Failed),
        }
    }

    /// Puts questions and hints of a batch where they wait.
    fn put_aside(&mut self, ticket: Ticket, request: &Request<'_>, bytes: u64) {
        match *request {
            Request::Acknowledge { user, device, seq, is_new: false } => {
                self.hints.acknowledge(user, device, seq, self.clock.seconds());
            }
            Request::Acknowledge { user, device, seq, is_new: true } => {
                self.hints.arrive(user, device, seq, self.clock.seconds());
            }
            Request::Expired { second } => self.hints.expire(second),
            Request::Forget { user, seq } if ticket == NO_TICKET => {
                self.hints.take(user, seq, self.clock.seconds());
            }
            Request::Copy => {
                self.wanted_copy = Some(ticket);
                self.shared.complete(1, bytes);
            }
            _ => self.questions.put(ticket, request, bytes),
        }
    }

    /// Writes a batch, and what else is due, in one transaction, and answers.
    fn commit(&mut self, connection: &Connection, batch: &[u8], answer: Answer<'_>) {
        let started = self.clock.micros();
        match self.transact(connection, batch) {
            Ok(written) => {
                self.count(written, started);
                self.complete(batch, answer, Outcome::Written);
                self.measure(connection);
            }
            Err(error) => {
                add(&self.shared.stats.commit_failures, 1);
                match self.room.judge(&self.path, &error) {
                    Trouble::NoRoom => {
                        self.note_no_room(&error);
                        self.keep_unwritten(batch, answer);
                    }
                    Trouble::Final => {
                        self.give_up(&error, answer);
                        self.complete(batch, answer, Outcome::Failed);
                    }
                }
            }
        }
    }

    /// Writes a batch and what else is due in one transaction. If it fails, all is as before.
    pub(super) fn transact(&mut self, connection: &Connection, batch: &[u8]) -> Result<Written> {
        if let Some((name, last)) = &self.unbegun {
            let now = self.clock.millis();
            scan::begin(connection, &mut self.segments, (name, *last), now)?;
            self.unbegun = None;
        }
        let mark = self.segments.mark();
        let work = self.retain.mark();
        let written = self.write(connection, batch).and_then(|written| {
            connection.prepare_cached("COMMIT")?.execute(())?;
            Ok(written)
        });
        match written {
            Ok(written) => {
                self.hints.commit(written.hints, self.clock.millis());
                self.retain.commit(&mut self.segments, &self.shared.stats);
            }
            Err(_) => {
                if !connection.is_autocommit() {
                    // If this fails, too, the next write fails, and the file is given up.
                    let _ = connection.execute_batch("ROLLBACK");
                }
                self.segments.restore(mark);
                self.retain.restore(work);
            }
        }
        written
    }

    fn write(&mut self, connection: &Connection, batch: &[u8]) -> Result<Written> {
        connection.prepare_cached("BEGIN IMMEDIATE")?.execute(())?;
        #[cfg(test)]
        self.trap.spring(super::tests::Trap::Write);
        let mut written = Written::default();
        let now = self.clock.millis();
        let mut writer: Option<Writer<'_>> = None;
        let mut rest = batch;
        while let Some((ticket, request, length)) = read(rest) {
            rest = &rest[length..];
            match request {
                Request::Append { first: 0, .. } => {}
                Request::Append { first, until, head, message, .. } => {
                    let id = self.segments.ready(connection, first, now)?;
                    if writer.as_ref().is_none_or(|writer| writer.id != id) {
                        writer = Some(Writer::new(connection, id, self.segments.has_history)?);
                    }
                    if let Some(writer) = &mut writer {
                        writer.write(first, head, message)?;
                    }
                    let time = rows::millis_of_head(head);
                    self.segments.count(time, until, head.len() + message.len());
                    written.sends += 1;
                }
                Request::Forget { user, seq } if ticket != NO_TICKET => {
                    connection
                        .prepare_cached(
                            "INSERT INTO forgotten VALUES(?1, ?2, ?2) ON CONFLICT DO UPDATE
                             SET seq=max(seq, excluded.seq), hidden=max(hidden, excluded.hidden)",
                        )?
                        .execute((user, seq))?;
                }
                Request::Join { group, user } => {
                    connection
                        .prepare_cached("INSERT OR IGNORE INTO members VALUES(?1, ?2)")?
                        .execute((group, user))?;
                }
                Request::Leave { group, user } => {
                    connection
                        .prepare_cached("DELETE FROM members WHERE grp=?1 AND user=?2")?
                        .execute((group, user))?;
                }
                Request::Block { user, until, reason } => {
                    connection
                        .prepare_cached("INSERT OR REPLACE INTO blocks VALUES(?1, ?2, ?3)")?
                        .execute((user, until, reason))?;
                    connection
                        .prepare_cached(
                            "DELETE FROM blocks WHERE user IN
                             (SELECT user FROM blocks WHERE until<=?1 ORDER BY until LIMIT ?2)",
                        )?
                        .execute((now, ENDED_BLOCKS))?;
                }
                Request::Unblock { user } => {
                    connection
                        .prepare_cached("DELETE FROM blocks WHERE user=?1")?
                        .execute([user])?;
                }
                Request::Carried { key, request, done, at } => {
                    connection
                        .prepare_cached(
                            "INSERT OR REPLACE INTO requests(key, request, done, at)
                             VALUES(?1, ?2, ?3, ?4)",
                        )?
                        .execute((key, request.cast_signed(), done, at))?;
                }
                _ => {}
            }
        }
        drop(writer);
        if self.hints.are_due(now) {
            written.hints = self.hints.write(connection, now)?;
        }
        self.retain.work(connection, &mut self.segments, batch.len() as u64, now)?;
        Ok(written)
    }

    pub(super) fn count(&mut self, written: Written, started: u64) {
        let stats = &self.shared.stats;
        let took = self.clock.micros().saturating_sub(started);
        add(&stats.commits, 1);
        stats.times.add(took);
        if written.sends > 0 {
            stats.batches.add(written.sends);
            self.gather.written(written.sends, self.shared.queued_appends(), took);
        }
    }

    /// Waits a moment if more sends can be expected than have come.
    pub fn gather(&mut self) {
        let has_all = self.done >= self.taken.bytes.len() && self.shared.queued_appends() > 0;
        if has_all && let Some((sends, time)) = self.gather.begin() {
            let have_come = self.shared.gather(sends, time);
            self.gather.end(have_come);
        }
    }

    /// Answers all requests of a batch.
    pub(super) fn complete(&mut self, batch: &[u8], answer: Answer<'_>, outcome: Outcome) {
        self.is_answered = true;
        let mut appended = None;
        let mut last = self.shared.last();
        let (mut count, mut bytes) = (0, 0);
        let is_stored = outcome == Outcome::Written;
        let kept = || Completion::Appended(Kept { is_stored, ..Kept::default() });
        each(batch, |ticket, request, one| {
            if !request.writes() {
                return; // it is completed when it is answered
            }
            count += 1;
            bytes += one.len() as u64;
            let completion = match request {
                Request::Append { last: newest, .. } => {
                    last = last.max(newest);
                    appended = Some(ticket);
                    return;
                }
                Request::Forget { .. } if is_stored => Completion::Forgotten,
                Request::Join { .. }
                | Request::Leave { .. }
                | Request::Block { .. }
                | Request::Unblock { .. }
                | Request::Carried { .. }
                    if is_stored =>
                {
                    Completion::Noted
                }
                Request::Acknowledge { .. } => return,
                _ => Completion::Unavailable,
            };
            if ticket != NO_TICKET {
                if let Some(ticket) = appended.take() {
                    answer(Completed { ticket, completion: kept() });
                }
                answer(Completed { ticket, completion });
            }
        });
        if is_stored {
            self.shared.set_last(last);
        }
        // There is room again before the answer comes that lets senders go on.
        self.shared.complete(count, bytes);
        if let Some(ticket) = appended {
            answer(Completed { ticket, completion: kept() });
        }
    }

    pub fn wal_bytes(&self) -> u64 {
        self.wal_frames.load(std::sync::atomic::Ordering::Relaxed) * FRAME
    }

    /// Moves what is in the write-ahead log into the file.
    pub(super) fn checkpoint(&mut self, connection: &Connection, answer: Answer<'_>) {
        if self.shared.state() == StoreState::Failed {
            return;
        }
        let now = self.clock.millis();
        if self.room.may_not_checkpoint(now) {
            return;
        }
        let done = connection
            .prepare_cached("PRAGMA wal_checkpoint(PASSIVE)")
            .and_then(|mut it| it.query_row((), |row| Ok((row.get(1)?, row.get(2)?))));
        match done {
            Ok((frames, moved)) => {
                let (frames, moved): (i64, i64) = (frames, moved);
                if frames == moved {
                    self.wal_frames.store(0, std::sync::atomic::Ordering::Relaxed);
                }
            }
            Err(error) => match self.room.judge(&self.path, &error) {
                Trouble::NoRoom => self.room.checkpoint_has_failed(now),
                Trouble::Final => self.give_up(&error, answer),
            },
        }
        self.measure(connection);
    }

    fn answer_questions(&mut self, connection: &Connection, answer: Answer<'_>) {
        #[cfg(test)]
        if !self.questions.is_empty() {
            self.trap.spring(super::tests::Trap::Read);
        }
        let now = self.clock.millis();
        let read = (connection, &self.segments, now);
        self.questions.answer(read, &self.path, &self.shared, answer);
    }

    /// Reads how large the file is.
    pub fn measure(&self, connection: &Connection) {
        let number = |sql: &str| -> u64 {
            let read = connection.prepare_cached(sql);
            read.and_then(|mut it| it.query_row((), |row| row.get(0))).unwrap_or(0)
        };
        let pages = number("PRAGMA page_count");
        let free = number("PRAGMA freelist_count");
        let stats = &self.shared.stats;
        set(&stats.file_bytes, pages * PAGE);
        set(&stats.used_bytes, pages.saturating_sub(free) * PAGE);
        set(&stats.wal_bytes, self.wal_bytes());
        set(&stats.segments, self.segments.list.len() as u64);
        set(&stats.oldest, self.segments.oldest());
    }
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Written,
    /// It waits in memory until there is room.
    Unwritten,
    Failed,
}
