//! A journal for tests that keeps messages as one on a disk does: later, several at a time, and over restarts.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::{
    Append, Cause, Completed, Completion, Health, Journal, Kept, Note, Progress, Question,
    Recovered, Stored, StoredRecord, Ticket,
};

/// A disk in memory: the messages that were written to it, and the requests that wait to be written. A clone of it
/// is the same disk.
///
/// [`Disk::open`] makes a journal for one run of a server, as opening a file does. Nothing is written by
/// itself: [`Disk::step`] writes some of what waits, and returns what the loop is to be told.
#[derive(Clone, Debug, Default)]
pub struct Disk(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    /// The names of the epochs and the number at which each of them ended; the last one is open.
    epochs: Vec<(String, Option<u64>)>,
    sends: Vec<(Stored, u64)>,
    last: u64,
    devices: BTreeMap<(Box<str>, Box<str>), (u64, u64)>,
    /// Up to which number the messages of a user are forgotten, and up to which one they were deleted.
    forgotten: BTreeMap<Box<str>, (u64, u64)>,
    notes: Vec<Note>,
    /// Messages whose time was over in this second are handled.
    expired: u64,
    /// The requests that wait, in their order.
    waiting: VecDeque<Request>,
    /// Messages that were answered while the disk was full.
    unwritten: Vec<(Stored, u64)>,
    is_full: bool,
    has_failed: bool,
    /// Nothing can be read.
    is_unreadable: bool,
    /// The epoch of the present run after the disk has failed.
    next_epoch: Arc<OnceLock<String>>,
    room: usize,
    now: u64,
}

#[derive(Debug)]
enum Request {
    Append(Ticket, Stored, u64),
    Load(Ticket, Vec<u64>),
    Acknowledge(Box<str>, Box<str>, u64),
    Note(Ticket, Note),
    Forget(Ticket, Box<str>, u64),
}

/// The numbers of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Contents {
    /// How many sends are on it.
    pub sends: usize,
    /// The last number that is on it.
    pub last: u64,
    /// How many requests wait.
    pub waiting: usize,
}

impl Disk {
    /// An empty disk, on which so many requests may wait.
    pub fn new(room: usize) -> Self {
        let disk = Disk::default();
        disk.inner().room = room;
        disk
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the disk for a new run of a server. What was not written is lost.
    pub fn open(&self) -> DiskJournal {
        let mut inner = self.inner();
        // The clock does not go back behind what is on the disk.
        let newest = inner.sends.iter().map(|(stored, _)| (stored.id >> 80) as u64 / 1_000).max();
        inner.now = inner.now.max(newest.unwrap_or_default());
        inner.waiting.clear();
        inner.unwritten.clear();
        inner.has_failed = false;
        inner.next_epoch = Arc::default();
        let (epoch, next_epoch) = (inner.begin_epoch(), inner.next_epoch.clone());
        drop(inner);
        DiskJournal { disk: self.clone(), epoch, next_epoch }
    }

    /// Sets the time, in seconds since 1970.
    pub fn set_now(&self, now: u64) {
        self.inner().now = now;
    }

    /// The disk has no more room, or has room again.
    pub fn set_full(&self, is_full: bool) {
        self.inner().is_full = is_full;
    }

    /// Messages cannot be read, or can be read again.
    pub fn set_unreadable(&self, is_unreadable: bool) {
        self.inner().is_unreadable = is_unreadable;
    }

    /// The disk fails for good: nothing is written any more in this run. Returns what the loop is told.
    pub fn fail(&self) -> Completed {
        let mut inner = self.inner();
        inner.has_failed = true;
        let epoch = inner.begin_epoch();
        let _ = inner.next_epoch.set(epoch);
        Completed { ticket: Ticket::MAX, completion: Completion::NewEpoch }
    }

    /// Takes a send off the disk, as if its segment were dropped. `seq` is one of its numbers.
    pub fn drop_send(&self, seq: u64) {
        let has = |stored: &Stored| stored.records.iter().any(|record| record.seq == seq);
        self.inner().sends.retain(|(stored, _)| !has(stored));
    }

    /// How many sends and requests the disk has.
    pub fn contents(&self) -> Contents {
        let inner = self.inner();
        Contents { sends: inner.sends.len(), last: inner.last, waiting: inner.waiting.len() }
    }

    /// Handles up to so many requests. All appends among them become one transaction, of which the loop is
    /// told once.
    pub fn step(&self, most: usize) -> Vec<Completed> {
        let inner = &mut *self.inner();
        if !inner.is_full && !inner.has_failed {
            for (stored, until) in std::mem::take(&mut inner.unwritten) {
                inner.write(stored, until);
            }
        }
        let (mut last, mut is_stored) = (None, true);
        let (mut loads, mut done) = (Vec::new(), Vec::new());
        for _ in 0..most {
            match inner.waiting.pop_front() {
                None => break,
                Some(Request::Append(ticket, stored, until)) => {
                    last = Some(ticket);
                    is_stored = !inner.is_full && !inner.has_failed;
                    match is_stored {
                        true => inner.write(stored, until),
                        false => inner.unwritten.push((stored, until)),
                    }
                }
                Some(Request::Load(ticket, seqs)) => loads.push((ticket, seqs)),
                Some(Request::Acknowledge(user, device, cursor)) => {
                    let now = inner.now;
                    inner.devices.insert((user, device), (cursor, now));
                }
                Some(Request::Forget(ticket, user, seq)) => {
                    let (forgotten, deleted) = inner.forgotten.entry(user).or_default();
                    *forgotten = seq.max(*forgotten);
                    // Nobody waits for what a bound has taken.
                    if ticket != Ticket::MAX {
                        *deleted = seq.max(*deleted);
                        done.push(Completed { ticket, completion: Completion::Forgotten });
                    }
                }
                Some(Request::Note(ticket, note)) => {
                    inner.notes.push(note);
                    done.push(Completed { ticket, completion: Completion::Noted });
                }
            }
        }
        let kept = Kept { is_stored, ..Kept::default() };
        let appended = last.map(|ticket| (ticket, Completion::Appended(kept)));
        let loads = loads.into_iter().map(|(ticket, seqs)| {
            let completion = match inner.has_failed || inner.is_unreadable {
                true => Completion::Unavailable,
                false => Completion::Loaded(inner.find(&seqs)),
            };
            (ticket, completion)
        });
        let all = appended.into_iter().chain(loads);
        done.extend(all.map(|(ticket, completion)| Completed { ticket, completion }));
        done
    }
}

impl Inner {
    fn begin_epoch(&mut self) -> String {
        let last = self.last;
        if let Some((_, end)) = self.epochs.last_mut() {
            *end = Some(last);
        }
        let name = format!("disk{}", self.epochs.len());
        self.epochs.push((name.clone(), None));
        name
    }

    fn write(&mut self, stored: Stored, until: u64) {
        self.last = stored.records.iter().map(|it| it.seq).fold(self.last, u64::max);
        let first = |stored: &Stored| stored.records.first().map_or(0, |record| record.seq);
        let at = self.sends.partition_point(|(other, _)| first(other) < first(&stored));
        self.sends.insert(at, (stored, until));
    }

    fn find(&self, seqs: &[u64]) -> Vec<Stored> {
        let has = |stored: &Stored| stored.records.iter().any(|it| seqs.contains(&it.seq));
        let found = self.sends.iter().filter(|(stored, _)| has(stored));
        found.map(|(stored, until)| self.told(stored, *until)).collect()
    }

    fn told(&self, stored: &Stored, until: u64) -> Stored {
        let left = (self.now <= until).then(|| (until - self.now) as u32);
        Stored { left, ..stored.clone() }
    }
}

/// The journal of one run of a server, over a [`Disk`].
#[derive(Debug)]
pub struct DiskJournal {
    disk: Disk,
    epoch: String,
    next_epoch: Arc<OnceLock<String>>,
}

impl Journal for DiskJournal {
    fn epoch(&self) -> &str {
        self.next_epoch.get().unwrap_or(&self.epoch)
    }

    fn end_of_epoch(&self, _: &str, epoch: &str) -> Option<u64> {
        let inner = self.disk.inner();
        inner.epochs.iter().find(|(name, _)| name == epoch).and_then(|(_, end)| *end)
    }

    fn shares_numbers(&self) -> bool {
        true
    }

    fn recover(&mut self, tell: &mut dyn FnMut(Recovered)) {
        let inner = self.disk.inner();
        tell(Recovered::Last(inner.last));
        for ((user, device), (cursor, at)) in &inner.devices {
            let (user, device, cursor) = (user.clone(), device.clone(), *cursor);
            let away = inner.now.saturating_sub(*at) as u32;
            tell(Recovered::Device { user, device, cursor, away });
        }
        for (user, (forgotten, deleted)) in &inner.forgotten {
            for (seq, cause) in [(*deleted, Cause::Deleted), (*forgotten, Cause::Bound)] {
                if cause == Cause::Deleted && seq > 0 || cause == Cause::Bound && seq > *deleted {
                    tell(Recovered::Gone { user: user.clone(), seq, cause });
                }
            }
        }
        for (stored, until) in &inner.sends {
            let mut stored = inner.told(stored, *until);
            if stored.left.is_none() && *until > inner.expired {
                stored.left = Some(0);
            }
            stored.message.clear();
            let is_gone = |record: &StoredRecord| {
                inner.forgotten.get(&record.user).is_some_and(|(up_to, _)| record.seq <= *up_to)
            };
            let number = stored.records.first().map_or(0, |record| record.seq);
            stored.records.retain(|record| !is_gone(record));
            if !stored.records.is_empty() {
                tell(Recovered::Send(stored));
            } else if !stored.cid.is_empty() {
                tell(Recovered::Cid { user: stored.user, seq: number });
            }
        }
        inner.notes.iter().for_each(|note| tell(Recovered::Note(note.clone())));
    }

    fn has_room(&self) -> bool {
        let inner = self.disk.inner();
        let is_append = |request: &&Request| matches!(request, Request::Append(..));
        inner.waiting.iter().filter(is_append).count() < inner.room
    }

    fn append(&mut self, ticket: Ticket, append: &Append<'_>) -> Progress {
        let mut inner = self.disk.inner();
        let stored = Stored { left: None, ..Stored::new(append) };
        let until = (append.id >> 80) as u64 / 1_000 + u64::from(append.ttl);
        inner.waiting.push_back(Request::Append(ticket, stored, until));
        Progress::Later
    }

    fn load(&mut self, ticket: Ticket, seqs: &[u64]) -> Progress {
        self.disk.inner().waiting.push_back(Request::Load(ticket, seqs.to_vec()));
        Progress::Later
    }

    fn acknowledge(&mut self, _: Ticket, user: &str, device: &str, seq: u64) -> Progress {
        let inner = &mut *self.disk.inner();
        inner.waiting.push_back(Request::Acknowledge(user.into(), device.into(), seq));
        Progress::Later
    }

    fn arrive(&mut self, user: &str, device: &str, seq: u64) {
        let inner = &mut *self.disk.inner();
        // What the device has handled later may be lost.
        if !inner.has_failed {
            inner.devices.insert((user.into(), device.into()), (seq, inner.now));
        }
    }

    fn expired(&mut self, second: u64) {
        self.disk.inner().expired = second;
    }

    fn note(&mut self, ticket: Ticket, note: &Note) -> Progress {
        self.disk.inner().waiting.push_back(Request::Note(ticket, note.clone()));
        Progress::Later
    }

    fn history(&mut self, _: Ticket, _: &Question<'_>) -> Progress {
        Progress::Done(Completion::Unsupported)
    }

    fn forget(&mut self, ticket: Ticket, user: &str, seq: u64) -> Progress {
        self.disk.inner().waiting.push_back(Request::Forget(ticket, user.into(), seq));
        Progress::Later
    }

    fn health(&self) -> Health {
        let inner = self.disk.inner();
        match (inner.has_failed, inner.is_full) {
            (true, _) => Health::Failed,
            (false, true) => Health::Full,
            (false, false) => Health::Stored,
        }
    }
}
