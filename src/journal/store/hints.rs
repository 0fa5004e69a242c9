//! Hints: what devices have handled, and what bounds of mailboxes have taken. They are collected in memory, the
//! newest for each device and user, and written a few at a time with a transaction. A crash may lose some.

use std::collections::{HashMap, HashSet, VecDeque};

use rusqlite::{CachedStatement, Connection, Result};

use super::rows::{self, Bytes};

/// How many hints one transaction writes at most, beside the others of the last user: each may change a page of
/// its own.
const SLICE: usize = 256;
/// One transaction writes at most so many devices that are new. In a rush of more of them the others follow with the next
/// transactions.
const MOST_FIRST: usize = 1_024;
/// All hints are written once in so many milliseconds, a slice with each transaction.
const EVERY: u64 = 1_000;

/// A hint of a device, or of a user if the device is `None`.
#[derive(Clone, Copy, Debug)]
struct Hint {
    seq: u64,
    /// When it came, in seconds since 1970.
    at: u64,
}

/// The hints that are not written.
#[derive(Debug, Default)]
pub(super) struct Hints {
    /// By user and device, each with its length before it; without a device for what was taken from a user.
    new: HashMap<Box<[u8]>, Hint>,
    /// Devices that have connected for the first time, in their order. Their hints are in `new`, and are written with
    /// the next transaction, so that no message that comes later is in the file without them.
    first: VecDeque<Box<[u8]>>,
    /// What is being written, the first ones at the end.
    writing: Vec<(Box<[u8]>, Hint)>,
    /// Of what is being written, these have been written meanwhile in a newer form.
    overtaken: HashSet<Box<[u8]>>,
    /// Messages whose time was over in this second are handled, and the second that is in the file.
    expired: u64,
    expired_in_file: u64,
    scratch: Vec<u8>,
    written: u64,
}

/// How many hints a transaction has written.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Written {
    first: usize,
    others: usize,
    expired: u64,
}

impl Hints {
    fn put(&mut self, seq: u64, at: u64, is_newer: impl Fn(u64) -> bool) {
        match self.new.get_mut(&*self.scratch) {
            Some(hint) if is_newer(hint.seq) => *hint = Hint { seq, at },
            Some(_) => {}
            None => {
                self.new.insert(self.scratch.as_slice().into(), Hint { seq, at });
            }
        }
    }

    /// A device has handled all messages up to a number.
    pub fn acknowledge(&mut self, user: &str, device: &str, seq: u64, at: u64) {
        self.scratch.clear();
        rows::put_text(user, &mut self.scratch);
        rows::put_text(device, &mut self.scratch);
        self.put(seq, at, |_| true);
    }

    /// A bound has taken a user's messages up to a number.
    pub fn take(&mut self, user: &str, seq: u64, at: u64) {
        self.scratch.clear();
        rows::put_text(user, &mut self.scratch);
        self.put(seq, at, |before| before < seq);
    }

    /// A device has connected for the first time, and has handled all messages up to a number.
    pub fn arrive(&mut self, user: &str, device: &str, seq: u64, at: u64) {
        self.acknowledge(user, device, seq, at);
        self.first.push_back(self.scratch.as_slice().into());
    }

    /// Messages whose time was over in this second are handled.
    pub fn expire(&mut self, second: u64) {
        self.expired = second;
    }

    pub fn is_empty(&self) -> bool {
        self.new.is_empty() && self.writing.is_empty() && self.expired == self.expired_in_file
    }

    /// Whether it is time to write some; `now` is in milliseconds since 1970.
    pub fn are_due(&self, now: u64) -> bool {
        // The clock may have been set back.
        let is_time = now >= self.written.saturating_add(EVERY) || now < self.written;
        !self.first.is_empty() || !self.writing.is_empty() || is_time && !self.is_empty()
    }

    /// Writes some in a transaction, and returns how many. [`Hints::commit`] removes them.
    pub fn write(&mut self, connection: &Connection, now: u64) -> Result<Written> {
        let is_time = now >= self.written.saturating_add(EVERY) || now < self.written;
        if self.writing.is_empty() && is_time {
            // Those of new devices are left for the next time, after which they are not new.
            let is_first: HashSet<&Box<[u8]>> = self.first.iter().collect();
            self.writing.extend(self.new.extract_if(|key, _| !is_first.contains(key)));
            // Those of one user follow each other, and so do their rows.
            self.writing.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        }
        if self.expired != self.expired_in_file {
            connection
                .prepare_cached("INSERT OR REPLACE INTO expired VALUES(0, ?1)")?
                .execute([self.expired])?;
        }
        let slice = self.slice();
        let mut put = Put::new(connection)?;
        for (key, hint) in self.writing.iter().rev().take(slice) {
            if !self.overtaken.contains(key) {
                put.write(key, *hint)?;
            }
        }
        drop(put);
        // What a device that has arrived meanwhile has handled is newer than what was being written.
        let first = self.write_first(connection)?;
        Ok(Written { first, others: slice, expired: self.expired })
    }

    fn write_first(&self, connection: &Connection) -> Result<usize> {
        if self.first.is_empty() {
            return Ok(0);
        }
        let mut put = Put::new(connection)?;
        let count = self.first.len().min(MOST_FIRST);
        for key in self.first.iter().take(count) {
            if let Some(hint) = self.new.get(key) {
                put.write(key, *hint)?;
            }
        }
        Ok(count)
    }

    /// How many the next transaction writes: all of a user, or none. A device that is written without another one
    /// of the same user would seem to be the only one, and what it has handled would not be kept for the other.
    fn slice(&self) -> usize {
        let user_of = |at: usize| self.writing.get(at).and_then(|(key, _)| Bytes(key).text());
        let mut left = self.writing.len().saturating_sub(SLICE);
        while left > 0 && user_of(left - 1) == user_of(left) {
            left -= 1;
        }
        self.writing.len() - left
    }

    /// Removes what was written in a transaction that was committed at this time.
    pub fn commit(&mut self, written: Written, now: u64) {
        let Written { first, others, expired } = written;
        if first + others > 0 || expired != self.expired_in_file {
            self.written = now;
        }
        self.expired_in_file = expired.max(self.expired_in_file);
        for key in self.first.drain(..first) {
            self.new.remove(&key);
            if self.writing.len() > others {
                self.overtaken.insert(key);
            }
        }
        if others > 0 {
            self.writing.truncate(self.writing.len() - others);
        }
        if self.writing.is_empty() {
            self.overtaken.clear();
        }
    }

    /// The next transaction may write some, however short ago others were written.
    pub fn hurry(&mut self) {
        self.written = 0;
    }
}

/// Writes hints into their tables.
struct Put<'a> {
    devices: CachedStatement<'a>,
    users: CachedStatement<'a>,
}

impl<'a> Put<'a> {
    fn new(connection: &'a Connection) -> Result<Self> {
        let devices = connection.prepare_cached(
            "INSERT INTO devices VALUES(?1, ?2, ?3, ?4)
             ON CONFLICT DO UPDATE SET cursor=excluded.cursor, at=excluded.at",
        )?;
        let users = connection.prepare_cached(
            "INSERT INTO forgotten VALUES(?1, ?2, 0)
             ON CONFLICT DO UPDATE SET seq=max(seq, excluded.seq)",
        )?;
        Ok(Put { devices, users })
    }

    fn write(&mut self, key: &[u8], hint: Hint) -> Result<()> {
        let mut key = Bytes(key);
        match (key.text(), key.text()) {
            (Some(user), Some(device)) => {
                self.devices.execute((user, device, hint.seq, hint.at))?;
            }
            (Some(user), None) => {
                self.users.execute((user, hint.seq))?;
            }
            (None, _) => {}
        }
        Ok(())
    }
}
