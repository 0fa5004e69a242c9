//! The journal and the engine of a server that is one of several nodes: two handles on one queue of
//! requests. They never wait and know nothing of Redis.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Event;
use super::ask::{Ask, Sending, Wanted};
use crate::engine::{Engine, LinkState, Numbers, Request, Told};
use crate::journal::{Append, Completion, Journal, Progress, Question, Ticket};

/// How many appends, and how many bytes of them, may be without an answer. While there are so many,
/// senders are not read.
const MAX_APPENDS: usize = 16_384;
const MAX_APPEND_BYTES: usize = 64 << 20;
/// How many bytes of requests may wait for the thread. Beyond that, what is for everyone or for a group
/// and is not kept is dropped, as it is when Redis is away.
const MAX_WAITING: usize = 64 << 20;
/// How many of the vector's places are kept for the next requests.
const KEPT_ASKS: usize = 4096;
/// The most shards, each of which is a bit of a number.
pub const MAX_SHARDS: usize = 64;

/// What the loop and the threads share: the queue of requests, and what the handles return.
pub struct Shared {
    queue: Mutex<Queue>,
    /// One for each thread of commands.
    bells: Vec<Condvar>,
    /// The appends that are not completed, and their bytes.
    appends: AtomicUsize,
    bytes: AtomicUsize,
    dropped: AtomicU64,
    is_up: AtomicBool,
    online_elsewhere: AtomicU64,
    numbers: Mutex<Numbers>,
}

#[derive(Debug, Default)]
struct Queue {
    asks: Vec<Ask>,
    bytes: usize,
    /// A bit for each thread: whether it has something to do, and whether it waits.
    rung: u64,
    asleep: u64,
}

/// A panic of another thread is ignored, because what is locked is consistent between any two statements.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Makes an empty queue for this many threads of commands.
    pub fn new(shards: usize) -> Self {
        Shared {
            queue: Mutex::default(),
            bells: (0..shards.min(MAX_SHARDS)).map(|_| Condvar::new()).collect(),
            appends: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
            is_up: AtomicBool::new(false),
            online_elsewhere: AtomicU64::new(0),
            numbers: Mutex::default(),
        }
    }

    /// Puts a request at the end of the queue. The threads are woken if it was empty.
    fn push(&self, ask: Ask) {
        let size = ask.size();
        let mut queue = lock(&self.queue);
        if queue.bytes + size > MAX_WAITING && matches!(ask, Ask::Engine(_, Wanted::Post { .. })) {
            self.dropped.fetch_add(1, Relaxed);
            return;
        }
        let was_empty = queue.asks.is_empty();
        queue.asks.push(ask);
        queue.bytes += size;
        if was_empty {
            self.ring_all(queue);
        }
    }

    /// The journal of the node.
    pub fn journal(self: &Arc<Self>) -> Keeper {
        Keeper(Arc::clone(self))
    }

    /// The engine of the node with this name.
    pub fn engine(self: &Arc<Self>, node: &str) -> Linked {
        Linked { shared: Arc::clone(self), node: node.into() }
    }

    /// Wakes every thread of commands.
    pub(super) fn wake(&self) {
        self.ring_all(lock(&self.queue));
    }

    fn ring_all(&self, mut queue: MutexGuard<'_, Queue>) {
        let asleep = queue.asleep;
        queue.rung = u64::MAX;
        queue.asleep = 0;
        drop(queue);
        for (shard, bell) in self.bells.iter().enumerate() {
            if asleep & 1 << shard != 0 {
                bell.notify_one();
            }
        }
    }

    /// Wakes one thread of commands.
    pub(super) fn ring(&self, shard: usize) {
        let mut queue = lock(&self.queue);
        queue.rung |= 1 << shard;
        let sleeps = queue.asleep & 1 << shard != 0;
        queue.asleep &= !(1 << shard);
        drop(queue);
        if sleeps && let Some(bell) = self.bells.get(shard) {
            bell.notify_one();
        }
    }

    /// Waits until there is something to do for a thread of commands, but at most this long. It may also
    /// return earlier.
    pub(super) fn wait(&self, shard: usize, longest: Duration) {
        let Some(bell) = self.bells.get(shard) else { return };
        let bit = 1 << shard;
        let mut queue = lock(&self.queue);
        if queue.rung & bit == 0 && !longest.is_zero() {
            queue.asleep |= bit;
            let waited = bell.wait_timeout(queue, longest);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        queue.asleep &= !bit;
        queue.rung &= !bit;
    }

    /// Whether the nodes can reach each other.
    pub fn is_up(&self) -> bool {
        self.is_up.load(Relaxed)
    }

    /// Notes numbers that the handles return.
    pub fn set_numbers(&self, numbers: Numbers, online_elsewhere: u64) {
        *lock(&self.numbers) = numbers;
        self.online_elsewhere.store(online_elsewhere, Relaxed);
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// What takes requests from the loop to the node, and notes what the loop is told. Whoever holds the lock
/// of the node has it, so that requests are not overtaken.
#[derive(Debug)]
pub struct Intake {
    shared: Arc<Shared>,
    /// The appends that were taken and are not completed, each with its size, in their order.
    appends: VecDeque<(Ticket, usize)>,
    /// Empty, unless requests are being taken.
    asks: Vec<Ask>,
}

impl Intake {
    /// Makes the only intake of a queue.
    pub fn new(shared: Arc<Shared>) -> Self {
        Intake { shared, appends: VecDeque::new(), asks: Vec::new() }
    }

    /// Calls `give` with each request of the loop, in order. Returns how many there were.
    pub fn take(&mut self, mut give: impl FnMut(Ask)) -> usize {
        let mut queue = lock(&self.shared.queue);
        std::mem::swap(&mut queue.asks, &mut self.asks);
        queue.bytes = 0;
        drop(queue);
        let count = self.asks.len();
        for ask in self.asks.drain(..) {
            if let Ask::Append(sending) = &ask {
                self.appends.push_back((sending.ticket, ask.size()));
            }
            give(ask);
        }
        self.asks.shrink_to(KEPT_ASKS);
        count
    }

    /// Notes what the loop is going to be told, so that the journal has room again, and the engine knows
    /// whether the other nodes can be reached.
    pub fn note(&mut self, event: &Event) {
        match event {
            Event::Engine(Told::Link(link)) => {
                self.shared.is_up.store(*link == LinkState::Up, Relaxed);
            }
            // Appends are completed in their order, and other requests between them.
            Event::Journal(done) if self.appends.front().is_some_and(|it| it.0 == done.ticket) => {
                if let Some((_, size)) = self.appends.pop_front() {
                    self.shared.appends.fetch_sub(1, Relaxed);
                    self.shared.bytes.fetch_sub(size, Relaxed);
                }
            }
            _ => {}
        }
    }
}

/// The journal of a node: messages are kept in Redis.
#[derive(Clone, Debug)]
pub struct Keeper(Arc<Shared>);

impl Journal for Keeper {
    /// Each Redis has epochs of its own, with which the messages of a user come.
    fn epoch(&self) -> &str {
        "0"
    }

    fn end_of_epoch(&self, _user: &str, _epoch: &str) -> Option<u64> {
        None
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn has_room(&self) -> bool {
        self.0.appends.load(Relaxed) < MAX_APPENDS && self.0.bytes.load(Relaxed) < MAX_APPEND_BYTES
    }

    fn append(&mut self, ticket: Ticket, append: &Append<'_>) -> Progress {
        let ask = Ask::Append(Box::new(Sending::new(ticket, append)));
        self.0.appends.fetch_add(1, Relaxed);
        self.0.bytes.fetch_add(ask.size(), Relaxed);
        self.0.push(ask);
        Progress::Later
    }

    fn follow_epoch(&mut self) {
        self.0.push(Ask::FollowEpoch);
    }

    fn acknowledge(&mut self, _: Ticket, user: &str, device: &str, seq: u64) -> Progress {
        self.0.push(Ask::Acknowledge { user: user.into(), device: device.into(), seq });
        Progress::Done(Completion::Acknowledged)
    }

    fn history(&mut self, _: Ticket, _: &Question<'_>) -> Progress {
        Progress::Done(Completion::Unsupported)
    }

    fn forget(&mut self, ticket: Ticket, user: &str, seq: u64) -> Progress {
        self.0.push(Ask::Forget { ticket, user: user.into(), seq });
        Progress::Later
    }
}

/// The engine of a node.
#[derive(Clone, Debug)]
pub struct Linked {
    shared: Arc<Shared>,
    node: Box<str>,
}

impl Engine for Linked {
    fn ask(&mut self, ticket: Ticket, request: Request<'_>) {
        self.shared.push(Ask::Engine(ticket, Wanted::new(&request)));
    }

    fn link(&self) -> LinkState {
        match self.shared.is_up.load(Relaxed) {
            true => LinkState::Up,
            false => LinkState::Down,
        }
    }

    fn node(&self) -> &str {
        &self.node
    }

    fn online_elsewhere(&self) -> u64 {
        self.shared.online_elsewhere.load(Relaxed)
    }

    fn numbers(&self) -> Numbers {
        let mut numbers = *lock(&self.shared.numbers);
        numbers.waiting = lock(&self.shared.queue).asks.len() as u64;
        numbers.failed += self.shared.dropped.load(Relaxed);
        numbers.is_up = self.shared.is_up.load(Relaxed);
        numbers
    }
}
