//! What the loop and the store's thread share: a queue of [requests](super::request), and numbers.
//!
//! The loop writes each request at the end of one buffer, so an append allocates nothing. The thread takes the
//! whole buffer and gives an empty one in exchange. It is woken only when it sleeps.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::request::{self, Kind};
use super::stats::Stats;
use super::tally::Tally;
use crate::journal::{Append, Note, Question, Ticket};

/// A buffer that has grown beyond this is given back when it is empty.
const KEPT_BUFFER: usize = 1 << 20;

/// What the loop has written, and whether the thread waits for it.
#[derive(Debug, Default)]
struct Queue {
    bytes: Vec<u8>,
    /// Where lists begin and end that are kept all or not at all, as places in `bytes`.
    lists: Vec<(usize, usize)>,
    /// Where the list begins that has not ended.
    begun: Option<usize>,
    /// Whether there is more than hints in `bytes`, or so much that it has to be taken.
    is_urgent: bool,
    /// How many appends are in `bytes`, and how many end a [`Sleep::Gathering`].
    appends: u64,
    wanted: u64,
    sleep: Sleep,
    is_stopping: bool,
}

impl Queue {
    /// Whether what is queued ends the sleep of the thread. A list is not seen before it ends.
    fn wakes(&self) -> bool {
        self.begun.is_none()
            && match self.sleep {
                Sleep::Awake => false,
                Sleep::Light => self.is_urgent,
                Sleep::Deep => !self.bytes.is_empty(),
                Sleep::Gathering => self.appends >= self.wanted,
            }
    }
}

/// Whether the thread sleeps, and what may wake it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Sleep {
    #[default]
    Awake,
    /// It wakes up by itself within a second, and no hint needs to wake it earlier.
    Light,
    Deep,
    /// It waits a moment for more appends, and anything else that is urgent ends that.
    Gathering,
}

/// What the thread has taken out of the queue.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub bytes: Vec<u8>,
    pub lists: Vec<(usize, usize)>,
}

/// The state of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StoreState {
    /// Messages are written.
    Ok,
    /// There is no room. Messages wait in memory, and are written when there is room again.
    Full,
    /// A write has failed, and nothing is written any more until the server is started again.
    Failed,
}

/// What the loop and the thread share.
#[derive(Debug)]
pub(super) struct Shared {
    queue: Mutex<Queue>,
    filled: Condvar,
    /// Requests that were made and are not completed, and their bytes.
    tally: Tally,
    room: (u64, u64),
    state: AtomicU8,
    has_new_epoch: AtomicBool,
    /// The last number that was committed.
    last: AtomicU64,
    pub stats: Stats,
}

impl Shared {
    /// There is room for so many requests and bytes.
    pub fn new(room: (u64, u64), stats: Stats) -> Self {
        Shared {
            queue: Mutex::default(),
            filled: Condvar::new(),
            tally: Tally::default(),
            room,
            state: AtomicU8::new(0),
            has_new_epoch: AtomicBool::new(false),
            last: AtomicU64::new(0),
            stats,
        }
    }

    /// The queue. It is always whole, also if a thread has panicked while it had the lock.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn state(&self) -> StoreState {
        match self.state.load(Ordering::Acquire) {
            0 => StoreState::Ok,
            1 => StoreState::Full,
            _ => StoreState::Failed,
        }
    }

    pub fn set_state(&self, state: StoreState) {
        self.state.store(state as u8, Ordering::Release);
    }

    pub fn last(&self) -> u64 {
        self.last.load(Ordering::Acquire)
    }

    pub fn set_last(&self, last: u64) {
        self.last.store(last, Ordering::Release);
    }

    pub fn has_new_epoch(&self) -> bool {
        self.has_new_epoch.load(Ordering::Acquire)
    }

    pub fn begin_new_epoch(&self) {
        self.has_new_epoch.store(true, Ordering::Release);
    }

    /// Requests that are not completed, and their bytes.
    pub fn pending(&self) -> (u64, u64) {
        self.tally.pending()
    }

    pub fn has_room(&self) -> bool {
        let (count, bytes) = self.pending();
        count < self.room.0 && bytes < self.room.1
    }

    /// Whether more than half of the room is taken. Hints wait for up to a second, and must not hold senders back.
    fn is_crowded(&self) -> bool {
        let (count, bytes) = self.pending();
        count > self.room.0 / 2 || bytes > self.room.1 / 2
    }

    /// So many requests, of so many bytes, are completed.
    pub fn complete(&self, count: u64, bytes: u64) {
        self.tally.complete(count, bytes);
    }

    /// Adds a request, whose body `body` writes.
    fn push(&self, kind: Kind, ticket: Ticket, body: impl FnOnce(&mut Vec<u8>)) {
        let mut queue = self.lock();
        let length = request::write(&mut queue.bytes, kind, ticket, body);
        self.tally.make(length as u64);
        queue.is_urgent |= !kind.is_hint() || self.is_crowded();
        match kind {
            Kind::Append => queue.appends += 1,
            _ if kind.is_hint() => {}
            _ => queue.wanted = 0,
        }
        if queue.wakes() {
            self.wake(queue);
        }
    }

    fn wake(&self, mut queue: MutexGuard<'_, Queue>) {
        queue.sleep = Sleep::Awake;
        drop(queue);
        self.filled.notify_one();
    }

    pub fn append(&self, ticket: Ticket, append: &Append<'_>) {
        self.push(Kind::Append, ticket, |out| request::write_append(out, append));
    }

    pub fn acknowledge(&self, ticket: Ticket, user: &str, device: &str, seq: u64) {
        self.push(Kind::Acknowledge, ticket, |out| {
            request::write_number(out, seq, &[user, device]);
        });
    }

    /// A device has connected for the first time.
    pub fn arrive(&self, user: &str, device: &str, seq: u64) {
        self.push(Kind::Arrive, super::NO_TICKET, |out| {
            request::write_number(out, seq, &[user, device]);
        });
    }

    pub fn expired(&self, second: u64) {
        self.push(Kind::Expired, super::NO_TICKET, |out| request::write_number(out, second, &[]));
    }

    pub fn forget(&self, ticket: Ticket, user: &str, seq: u64) {
        self.push(Kind::Forget, ticket, |out| request::write_number(out, seq, &[user]));
    }

    pub fn note(&self, ticket: Ticket, note: &Note) {
        self.push(request::kind_of(note), ticket, |out| request::write_note(out, note));
    }

    pub fn load(&self, ticket: Ticket, seqs: &[u64]) {
        self.push(Kind::Load, ticket, |out| {
            seqs.iter().for_each(|seq| request::write_number(out, *seq, &[]));
        });
    }

    pub fn history(&self, ticket: Ticket, question: &Question<'_>) {
        self.push(Kind::History, ticket, |out| request::write_question(out, question));
    }

    pub fn copy(&self, ticket: Ticket) {
        self.push(Kind::Copy, ticket, |_| {});
    }

    /// Begins a list of requests that are kept all or not at all. The thread does not see it before it ends.
    pub fn begin(&self) {
        let mut queue = self.lock();
        let start = queue.bytes.len();
        queue.begun.get_or_insert(start);
    }

    /// Ends what [`Shared::begin`] has begun.
    pub fn end(&self) {
        let mut queue = self.lock();
        let Some(start) = queue.begun.take() else { return };
        let end = queue.bytes.len();
        if end > start {
            queue.lists.push((start, end));
        }
        if queue.wakes() {
            self.wake(queue);
        }
    }

    /// Takes all that is queued. `empty` is what was taken before, and is not needed any more.
    /// Returns whether there was something.
    pub fn take(&self, empty: &mut Taken) -> bool {
        empty.bytes.clear();
        empty.lists.clear();
        if empty.bytes.capacity() > KEPT_BUFFER {
            empty.bytes = Vec::new();
        }
        let mut queue = self.lock();
        if queue.begun.is_some() || queue.bytes.is_empty() {
            return false;
        }
        std::mem::swap(&mut queue.bytes, &mut empty.bytes);
        std::mem::swap(&mut queue.lists, &mut empty.lists);
        queue.is_urgent = false;
        queue.appends = 0;
        true
    }

    /// How many appends are queued.
    pub fn queued_appends(&self) -> u64 {
        self.lock().appends
    }

    /// Waits until so many appends are queued, something else is urgent, or the time is over. Returns whether the
    /// appends are there.
    pub fn gather(&self, wanted: u64, time: Duration) -> bool {
        let mut queue = self.lock();
        queue.wanted = wanted;
        queue.sleep = Sleep::Gathering;
        let waits = |queue: &mut Queue| {
            (queue.appends < queue.wanted || queue.begun.is_some()) && !queue.is_stopping
        };
        let slept = self.filled.wait_timeout_while(queue, time, waits);
        let mut queue = slept.unwrap_or_else(PoisonError::into_inner).0;
        queue.sleep = Sleep::Awake;
        queue.appends >= wanted
    }

    /// Sleeps until something is queued or the time is over, and returns whether the thread should stop.
    /// A light sleep is not ended by a hint.
    pub fn sleep(&self, time: Duration, is_light: bool) -> bool {
        let mut queue = self.lock();
        let is_filled = queue.is_urgent || (!is_light && !queue.bytes.is_empty());
        let waits = !is_filled || queue.begun.is_some();
        if waits && !queue.is_stopping && !time.is_zero() {
            queue.sleep = if is_light { Sleep::Light } else { Sleep::Deep };
            let slept = self.filled.wait_timeout(queue, time);
            queue = slept.unwrap_or_else(PoisonError::into_inner).0;
        }
        queue.sleep = Sleep::Awake;
        queue.is_stopping
    }

    /// Whether the thread was asked to end.
    pub fn is_stopping(&self) -> bool {
        self.lock().is_stopping
    }

    /// Asks the thread to write what is queued and to end.
    pub fn stop(&self) {
        let mut queue = self.lock();
        queue.is_stopping = true;
        self.wake(queue);
    }
}
