//! What happens when the disk is full. SQLite takes the transaction back; its messages wait in memory and are
//! written, in their order, when there is room again.
//!
//! Which errors mean that there is no room: `SQLITE_FULL`, from any statement or from `COMMIT`. A quota that is used
//! up comes as `SQLITE_IOERR_WRITE`, as a broken disk does, so then a small file is written beside
//! the store to find out which it is. Any other error is final. A failed sync is always final, whatever its
//! cause, because the pages may be gone although the next sync succeeds.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rusqlite::{ErrorCode, ffi};

use super::queue::{Shared, StoreState};
use super::request::Request;
use super::retain::Retain;
use super::schema::beside;
use super::segments::Segments;
use super::stats::set;

/// How long the store waits before it tries again to write, in milliseconds.
const AGAIN: u64 = 1_000;
/// How often the free space is looked at, in milliseconds.
const LOOK: u64 = 5_000;
/// The ballast is made again when so many bytes are free, and with so many the store goes on.
const PLENTY: u64 = 64 << 20;
const SOME: u64 = 1 << 20;

/// What a failed write means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// There is no room. All was taken back, and it may be tried again.
    NoRoom,
    /// The file cannot be written any more.
    Final,
}

/// The bound of a queue of messages that wait for room, and the ballast.
#[derive(Debug)]
pub(super) struct Room {
    pub unwritten: Unwritten,
    /// The bytes of the ballast: a file that is removed when segments have to be dropped and there is no room for that.
    ballast: u64,
    tried: Option<u64>,
    checkpoint_failed: Option<u64>,
    looked: Option<u64>,
}

impl Room {
    pub fn new(unwritten: Unwritten, ballast: u64) -> Self {
        Room { unwritten, ballast, tried: None, checkpoint_failed: None, looked: None }
    }

    /// Says what an error of a write means.
    pub fn judge(&self, path: &Path, error: &rusqlite::Error) -> Trouble {
        if error.sqlite_error_code() == Some(ErrorCode::DiskFull) {
            return Trouble::NoRoom;
        }
        if error.sqlite_extended_error_code() == Some(ffi::SQLITE_IOERR_WRITE)
            && is_without_room(path)
        {
            return Trouble::NoRoom;
        }
        Trouble::Final
    }

    /// A write has failed because there is no room.
    pub fn has_failed(&mut self, now: u64) {
        self.tried = Some(now);
    }

    /// Whether it is time to try again.
    pub fn is_due(&self, now: u64) -> bool {
        is_over(self.tried, AGAIN, now)
    }

    pub fn retry_now(&mut self) {
        self.tried = None;
    }

    pub fn checkpoint_has_failed(&mut self, now: u64) {
        self.checkpoint_failed = Some(now);
    }

    pub fn may_not_checkpoint(&self, now: u64) -> bool {
        !is_over(self.checkpoint_failed, AGAIN, now)
    }

    /// Whether there is some room, as far as the system tells.
    pub fn has_some(&mut self, path: &Path) -> bool {
        free_bytes(path).is_none_or(|free| free >= SOME)
    }

    /// Removes the ballast if that helps: if there are segments to be dropped.
    pub fn free_ballast(
        &mut self,
        path: &Path,
        segments: &Segments,
        retain: &mut Retain,
        now: u64,
    ) {
        if self.ballast > 0 && retain.is_any_over(segments, now) {
            let _ = fs::remove_file(beside(path, "-ballast"));
        }
    }

    /// Makes the ballast if there is none and there is plenty of room.
    pub fn make_ballast(&self, path: &Path, free: Option<u64>) {
        let path = beside(path, "-ballast");
        if self.ballast == 0 || free.is_none_or(|free| free < PLENTY) || path.exists() {
            return;
        }
        let mut options = OpenOptions::new();
        let made = options.write(true).create_new(true).mode(0o600).open(&path).and_then(|file| {
            let flags = rustix::fs::FallocateFlags::empty();
            rustix::fs::fallocate(&file, flags, 0, self.ballast)?;
            file.sync_all()
        });
        if made.is_err() {
            // A file system that cannot do it has no ballast.
            let _ = fs::remove_file(&path);
        }
    }

    /// Looks now and then how much room there is.
    pub fn look(&mut self, path: &Path, shared: &Shared, now: u64) {
        if !is_over(self.looked, LOOK, now) {
            return;
        }
        self.looked = Some(now);
        let free = free_bytes(path);
        set(&shared.stats.free_bytes, free.unwrap_or(u64::MAX));
        if shared.state() == StoreState::Ok {
            self.make_ballast(path, free);
        }
    }
}

/// Whether `wait` has passed since a time, if there is one. The clock may have been set back.
fn is_over(since: Option<u64>, wait: u64, now: u64) -> bool {
    since.is_none_or(|since| now < since || now >= since.saturating_add(wait))
}

/// Whether this process may read and write a file, or make files in a directory.
pub fn may_write(path: &Path) -> io::Result<()> {
    use rustix::fs::{Access, access};
    let make = if path.is_dir() { Access::EXEC_OK } else { Access::EXISTS };
    Ok(access(path, Access::READ_OK | Access::WRITE_OK | make)?)
}

/// The bytes that are free for this process in the file system of a file.
fn free_bytes(path: &Path) -> Option<u64> {
    let parent = path.parent().filter(|it| !it.as_os_str().is_empty());
    let stat = rustix::fs::statvfs(parent.unwrap_or(Path::new("."))).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Whether a small file cannot be written because there is no room, or a quota is used up.
pub(super) fn is_without_room(path: &Path) -> bool {
    let path = beside(path, "-probe");
    let written = File::create(&path).and_then(|mut file| {
        file.write_all(&[0x55; 65_536])?;
        file.sync_all()
    });
    let _ = fs::remove_file(&path);
    written.is_err_and(|error| is_for_room(&error))
}

/// Whether an error says that there is no room, or a quota is used up.
pub(super) fn is_for_room(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Messages that could not be written, in the order in which they came.
#[derive(Debug)]
pub(super) struct Unwritten {
    /// Each is written in one transaction, so a list is never cut.
    batches: VecDeque<Vec<u8>>,
    current: Vec<u8>,
    bytes: usize,
    sends: u64,
    /// The bound of all bytes, and up to which size batches are put together.
    most: usize,
    batch: usize,
}

impl Unwritten {
    pub fn new(most: usize, batch: usize) -> Self {
        let batches = VecDeque::new();
        Unwritten { batches, current: Vec::new(), bytes: 0, sends: 0, most, batch }
    }

    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// The sends that wait, and their bytes.
    pub fn size(&self) -> (u64, u64) {
        (self.sends, self.bytes as u64)
    }

    /// Adds an encoded request.
    pub fn push(&mut self, request: &[u8]) {
        self.current.extend_from_slice(request);
    }

    /// Ends a batch of requests. Returns how many sends were given up, because too much waits. They are the oldest.
    pub fn end_batch(&mut self) -> u64 {
        let current = std::mem::take(&mut self.current);
        if current.is_empty() {
            return 0;
        }
        self.sends += sends(&current);
        self.bytes += current.len();
        match self.batches.back_mut() {
            Some(last) if last.len() + current.len() <= self.batch => {
                last.extend_from_slice(&current);
            }
            _ => self.batches.push_back(current),
        }
        let mut given_up = 0;
        while self.bytes > self.most
            && let Some(oldest) = self.pop()
        {
            given_up += sends(&oldest);
        }
        given_up
    }

    /// Takes out the oldest batch.
    pub fn pop(&mut self) -> Option<Vec<u8>> {
        let batch = self.batches.pop_front()?;
        self.bytes -= batch.len();
        self.sends -= sends(&batch);
        Some(batch)
    }

    /// Puts back what was taken out.
    pub fn push_front(&mut self, batch: Vec<u8>) {
        self.bytes += batch.len();
        self.sends += sends(&batch);
        self.batches.push_front(batch);
    }

    /// Forgets all, and returns how many sends and bytes that were.
    pub fn clear(&mut self) -> (u64, u64) {
        let size = self.size();
        self.batches.clear();
        self.current.clear();
        (self.sends, self.bytes) = (0, 0);
        size
    }
}

/// How many sends are in a batch.
fn sends(batch: &[u8]) -> u64 {
    let mut count = 0;
    super::request::each(batch, |_, request, _| {
        count += u64::from(matches!(request, Request::Append { .. }));
    });
    count
}
