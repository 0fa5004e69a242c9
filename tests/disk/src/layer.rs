//! A disk: its files, its faults, and the calls that SQLite makes.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::sync::{Arc, Mutex, MutexGuard};

use longlink::sim::Rng;
use rusqlite::ffi;

use super::files::{Change, Counts, Faults, Files};
use super::vfs::{self, Registered};

/// What a call returns: a result code of SQLite if it has failed.
pub type Done<T = ()> = Result<T, i32>;

/// A disk in memory. When this is dropped, SQLite knows its files no longer.
#[derive(Debug)]
pub struct Disk {
    inner: Arc<Mutex<Inner>>,
    vfs: Registered,
}

/// What the calls of SQLite work on.
#[derive(Debug)]
pub struct Inner {
    rng: Rng,
    files: Files,
    faults: Faults,
    counts: Counts,
    /// The disk crashes at this call of those that change something.
    crash_at: Option<u64>,
    changes: u64,
    /// The machine has crashed: each call fails until it is started again.
    is_dead: bool,
    /// The numbers that the open files have, and the highest lock of each.
    locks: BTreeMap<(usize, u64), i32>,
    opened: u64,
    /// Another process holds a lock on all files.
    pub is_held: bool,
    pub sector: i32,
}

impl Disk {
    /// Returns an empty disk without faults. What it does depends on the seed alone.
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let sector = *rng.pick(&[512, 4096]);
        let inner = Arc::new(Mutex::new(Inner {
            rng,
            files: Files::default(),
            faults: Faults::default(),
            counts: Counts::default(),
            crash_at: None,
            changes: 0,
            is_dead: false,
            locks: BTreeMap::new(),
            opened: 0,
            is_held: false,
            sector,
        }));
        let vfs = vfs::register(inner.clone());
        Disk { inner, vfs }
    }

    /// The name of SQLite's layer that has the files of this disk.
    pub fn vfs(&self) -> &str {
        self.vfs.name()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no call has panicked")
    }

    /// Sets what fails from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.inner().faults = faults;
    }

    pub fn faults(&self) -> Faults {
        self.inner().faults
    }

    pub fn counts(&self) -> Counts {
        self.inner().counts
    }

    /// Lets the machine crash at the call that changes something after so many others.
    pub fn crash_in(&self, changes: u64) {
        let mut inner = self.inner();
        inner.crash_at = Some(inner.changes + changes);
    }

    /// Takes back what [`Disk::crash_in`] has set.
    pub fn calm(&self) {
        self.inner().crash_at = None;
    }

    /// Lets the machine crash now.
    pub fn crash(&self) {
        self.inner().is_dead = true;
    }

    pub fn is_dead(&self) -> bool {
        self.inner().is_dead
    }

    /// Starts the machine again after a crash: what was not synced is there, or not, or in part. All
    /// files must be closed.
    pub fn restart(&self) {
        let inner = &mut *self.inner();
        inner.files.crash(&mut inner.rng, &mut inner.counts);
        (inner.is_dead, inner.crash_at) = (false, None);
        inner.faults = Faults::default();
        inner.locks.clear();
    }

    /// Says whether another process holds all files.
    pub fn hold(&self, is_held: bool) {
        self.inner().is_held = is_held;
    }

    /// All files as a running program reads them.
    pub fn copy(&self) -> BTreeMap<String, Vec<u8>> {
        let inner = self.inner();
        let files = &inner.files;
        files.names.iter().map(|(name, id)| (name.clone(), files.all[*id].data.clone())).collect()
    }

    /// Puts other files in the place of all files. None may be open.
    pub fn restore(&self, copy: &BTreeMap<String, Vec<u8>>) {
        let mut inner = self.inner();
        inner.files = Files::default();
        for (name, data) in copy {
            inner.files.put(name, data.clone());
        }
    }

    pub fn read(&self, name: &str) -> Option<Vec<u8>> {
        self.inner().files.get(name).map(|file| file.data.clone())
    }

    /// Makes an empty file, unless there is one of this name.
    pub fn make(&self, name: &str) {
        let mut inner = self.inner();
        if inner.files.get(name).is_none() {
            inner.files.put(name, Vec::new());
        }
    }

    /// A program writes a file again, as it is, and syncs it.
    pub fn write_again(&self, name: &str) {
        let mut inner = self.inner();
        if let Some(id) = inner.files.names.get(name).copied() {
            let data = inner.files.all[id].data.clone();
            inner.files.all[id].change(Change::Write(0, data));
            inner.files.sync(id);
        }
    }

    /// The bytes of all files.
    pub fn size(&self) -> u64 {
        self.inner().files.size()
    }
}

impl Inner {
    pub fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    fn alive(&self) -> Done {
        if self.is_dead { Err(ffi::SQLITE_IOERR) } else { Ok(()) }
    }

    /// Counts a call that changes something. Returns whether the machine crashes in it.
    fn is_last(&mut self) -> bool {
        self.changes += 1;
        self.is_dead = self.crash_at.is_some_and(|at| self.changes > at);
        self.is_dead
    }

    /// Opens a file. Returns the number of the file, and that of its opening.
    pub fn open(&mut self, name: Option<&str>, flags: i32) -> Done<(usize, u64)> {
        self.alive()?;
        self.opened += 1;
        let known = name.and_then(|name| self.files.names.get(name).copied());
        let id = match known {
            Some(id) => id,
            None if name.is_none() || flags & ffi::SQLITE_OPEN_CREATE != 0 => {
                let journals = ffi::SQLITE_OPEN_WAL | ffi::SQLITE_OPEN_MAIN_JOURNAL;
                self.files.create(name, flags & journals != 0)
            }
            None => return Err(ffi::SQLITE_CANTOPEN),
        };
        Ok((id, self.opened))
    }

    pub fn close(&mut self, id: usize, opening: u64) {
        self.locks.remove(&(id, opening));
    }

    pub fn delete(&mut self, name: &str, is_synced: bool) -> Done {
        self.alive()?;
        let is_last = self.is_last();
        let was_there = self.files.remove(name, is_synced && !is_last);
        match (is_last, was_there) {
            (true, _) => Err(ffi::SQLITE_IOERR_DELETE),
            (false, false) => Err(ffi::SQLITE_IOERR_DELETE_NOENT),
            (false, true) => Ok(()),
        }
    }

    pub fn exists(&self, name: &str) -> Done<bool> {
        self.alive()?;
        Ok(self.files.names.contains_key(name))
    }

    /// Fills the buffer. What is behind the end of the file is zero, and then the read is short.
    pub fn read(&mut self, id: usize, at: u64, buffer: &mut [u8]) -> Done {
        self.alive()?;
        if self.rng.below(10_000) < self.faults.read {
            self.counts.failed_reads += 1;
            return Err(ffi::SQLITE_IOERR_READ);
        }
        let data = &self.files.all[id].data;
        let from = (at as usize).min(data.len());
        let length = buffer.len().min(data.len() - from);
        buffer[..length].copy_from_slice(&data[from..from + length]);
        buffer[length..].fill(0);
        if length < buffer.len() { Err(ffi::SQLITE_IOERR_SHORT_READ) } else { Ok(()) }
    }

    pub fn write(&mut self, id: usize, at: u64, bytes: &[u8]) -> Done {
        self.alive()?;
        log::trace!("write {id} at {at}: {}", bytes.len());
        self.counts.writes += 1;
        if self.rng.below(10_000) < self.faults.write {
            self.counts.failed_writes += 1;
            let some = self.rng.index(bytes.len() + 1);
            self.files.all[id].change(Change::Write(at, bytes[..some].to_vec()));
            return Err(ffi::SQLITE_IOERR_WRITE);
        }
        let length = self.files.all[id].data.len() as u64;
        let more = (at + bytes.len() as u64).saturating_sub(length);
        if let Some(room) = self.faults.room
            && more > 0
        {
            let free = room.saturating_sub(self.files.size());
            if more > free {
                self.counts.full += 1;
                let some = (length + free).saturating_sub(at) as usize;
                if some > 0 {
                    self.files.all[id].change(Change::Write(at, bytes[..some].to_vec()));
                }
                return Err(ffi::SQLITE_FULL);
            }
        }
        self.files.all[id].change(Change::Write(at, bytes.to_vec()));
        if self.is_last() { Err(ffi::SQLITE_IOERR_WRITE) } else { Ok(()) }
    }

    pub fn truncate(&mut self, id: usize, length: u64) -> Done {
        self.alive()?;
        log::trace!("truncate {id} to {length}");
        self.files.all[id].change(Change::Truncate(length));
        if self.is_last() { Err(ffi::SQLITE_IOERR_TRUNCATE) } else { Ok(()) }
    }

    pub fn sync(&mut self, id: usize) -> Done {
        self.alive()?;
        log::trace!("sync {id}");
        self.counts.syncs += 1;
        if self.is_last() {
            return Err(ffi::SQLITE_IOERR_FSYNC);
        }
        if self.rng.below(10_000) < self.faults.sync {
            self.counts.failed_syncs += 1;
            self.files.fail_sync(id, &mut self.rng);
            return Err(ffi::SQLITE_IOERR_FSYNC);
        }
        self.files.sync(id);
        Ok(())
    }

    pub fn size(&self, id: usize) -> Done<u64> {
        self.alive()?;
        Ok(self.files.all[id].data.len() as u64)
    }

    pub fn lock(&mut self, id: usize, opening: u64, level: i32) -> Done {
        let mut others = self.locks.iter().filter(|(of, _)| of.0 == id && of.1 != opening);
        let is_taken = others.any(|(_, other)| match level {
            ffi::SQLITE_LOCK_SHARED => *other >= ffi::SQLITE_LOCK_PENDING,
            ffi::SQLITE_LOCK_RESERVED => *other >= ffi::SQLITE_LOCK_RESERVED,
            _ => true,
        });
        if is_taken || self.is_held {
            return Err(ffi::SQLITE_BUSY);
        }
        self.locks.insert((id, opening), level);
        Ok(())
    }

    pub fn unlock(&mut self, id: usize, opening: u64, level: i32) {
        self.locks.insert((id, opening), level);
    }

    pub fn is_reserved(&self, id: usize) -> bool {
        let mut locks = self.locks.iter().filter(|(of, _)| of.0 == id);
        self.is_held || locks.any(|(_, level)| *level >= ffi::SQLITE_LOCK_RESERVED)
    }
}

/// A name that SQLite can read.
pub fn c_name(name: &str) -> CString {
    CString::new(name).expect("a name without a zero byte")
}
