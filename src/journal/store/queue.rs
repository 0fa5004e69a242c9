//! What the loop and the store's thread share: a queue of encoded requests, and numbers.
//!
//! The loop writes each request at the end of one buffer, so an append allocates nothing. The thread takes the
//! whole buffer and gives an empty one in exchange. It is woken only when it sleeps.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::rows::{self, Bytes};
use super::stats::Stats;
use super::tally::Tally;
use crate::journal::{Append, Note, Of, Question, Ticket};

/// A buffer that has grown beyond this is given back when it is empty.
const KEPT_BUFFER: usize = 1 << 20;

/// Bytes of an encoded request before its body: the kind, the ticket, the length of the body.
const FRAME: usize = 9;

/// The kinds of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Append = 1,
    Acknowledge,
    Forget,
    Join,
    Leave,
    Request,
    Load,
    History,
    Copy,
    Arrive,
    Expired,
    Block,
    Unblock,
}

/// One request, as the thread reads it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Request<'a> {
    /// A send, with the numbers of its first and its last message; both are 0 if it has none.
    Append {
        first: u64,
        last: u64,
        until: u64,
        head: &'a [u8],
        message: &'a [u8],
    },
    Acknowledge {
        user: &'a str,
        device: &'a str,
        seq: u64,
        /// The device has connected for the first time.
        is_new: bool,
    },
    Forget {
        user: &'a str,
        seq: u64,
    },
    Join {
        group: &'a str,
        user: &'a str,
    },
    Leave {
        group: &'a str,
        user: &'a str,
    },
    Block {
        user: &'a str,
        until: u64,
        reason: &'a str,
    },
    Unblock {
        user: &'a str,
    },
    /// A request of a backend was carried out.
    Carried {
        key: &'a str,
        request: u64,
        done: &'a [u8],
        at: u64,
    },
    Load {
        seqs: Bytes<'a>,
    },
    History {
        of: Of<'a>,
        before: Option<&'a str>,
        limit: u64,
    },
    Copy,
    /// Messages whose time was over in this second are handled.
    Expired {
        second: u64,
    },
}

impl Request<'_> {
    /// Whether the request changes the file.
    pub fn writes(&self) -> bool {
        !matches!(self, Request::Load { .. } | Request::History { .. } | Request::Copy)
    }
}

/// Splits the first request off `bytes`. Returns its ticket, the request, and its length. What comes back
/// `None` was not written by this file.
pub(super) fn read(bytes: &[u8]) -> Option<(Ticket, Request<'_>, usize)> {
    let mut all = Bytes(bytes);
    let kind = all.byte()?;
    let ticket = Ticket::from_le_bytes(all.array()?);
    let length = u32::from_le_bytes(all.array()?) as usize;
    let mut body = Bytes(all.take(length)?);
    let request = match kind {
        it if it == Kind::Append as u8 => {
            let first = u64::from_le_bytes(body.array()?);
            let last = u64::from_le_bytes(body.array()?);
            let until = u64::from_le_bytes(body.array()?);
            let head = u32::from_le_bytes(body.array()?) as usize;
            let head = body.take(head)?;
            Request::Append { first, last, until, head, message: body.0 }
        }
        it if it == Kind::Acknowledge as u8 || it == Kind::Arrive as u8 => Request::Acknowledge {
            seq: body.varint()?,
            user: body.text()?,
            device: body.text()?,
            is_new: it == Kind::Arrive as u8,
        },
        it if it == Kind::Forget as u8 => {
            Request::Forget { seq: body.varint()?, user: body.text()? }
        }
        it if it == Kind::Join as u8 => Request::Join { group: body.text()?, user: body.text()? },
        it if it == Kind::Leave as u8 => Request::Leave { group: body.text()?, user: body.text()? },
        it if it == Kind::Block as u8 => {
            Request::Block { until: body.varint()?, user: body.text()?, reason: body.text()? }
        }
        it if it == Kind::Unblock as u8 => Request::Unblock { user: body.text()? },
        it if it == Kind::Request as u8 => Request::Carried {
            request: u64::from_le_bytes(body.array()?),
            at: body.varint()?,
            key: body.text()?,
            done: body.0,
        },
        it if it == Kind::Load as u8 => Request::Load { seqs: body },
        it if it == Kind::History as u8 => {
            let limit = body.varint()?;
            let form = body.byte()?;
            let one = body.text()?;
            let of = match form & 3 {
                0 => Of::Pair(one, body.text()?),
                1 => Of::Group(one),
                _ => Of::User(one),
            };
            let before = if form & 4 == 0 { None } else { Some(body.text()?) };
            Request::History { of, before, limit }
        }
        it if it == Kind::Copy as u8 => Request::Copy,
        it if it == Kind::Expired as u8 => Request::Expired { second: body.varint()? },
        _ => return None,
    };
    Some((ticket, request, FRAME + length))
}

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

    /// Adds a request, whose body `write` writes.
    fn push(&self, kind: Kind, ticket: Ticket, write: impl FnOnce(&mut Vec<u8>)) {
        let mut queue = self.lock();
        let start = queue.bytes.len();
        let mut frame = [0; FRAME];
        frame[0] = kind as u8;
        frame[1..5].copy_from_slice(&ticket.to_le_bytes());
        queue.bytes.extend_from_slice(&frame);
        write(&mut queue.bytes);
        let length = queue.bytes.len() - start;
        let body = u32::try_from(length - FRAME).unwrap_or(u32::MAX);
        queue.bytes[start + 5..start + FRAME].copy_from_slice(&body.to_le_bytes());
        self.tally.make(length as u64);
        let is_hint = matches!(kind, Kind::Acknowledge | Kind::Arrive | Kind::Expired);
        queue.is_urgent |= !is_hint || self.is_crowded();
        match kind {
            Kind::Append => queue.appends += 1,
            _ if is_hint => {}
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
        let first = append.records.first().map_or(0, |record| record.seq);
        let last = append.records.last().map_or(0, |record| record.seq);
        self.push(Kind::Append, ticket, |out| {
            let until = rows::until(append.id, append.ttl);
            let mut start = [0; 28];
            for (place, number) in [first, last, until].into_iter().enumerate() {
                start[place * 8..place * 8 + 8].copy_from_slice(&number.to_le_bytes());
            }
            out.extend_from_slice(&start);
            let place = out.len() - 4;
            rows::encode(append, out);
            let head = u32::try_from(out.len() - place - 4).unwrap_or(u32::MAX);
            out[place..place + 4].copy_from_slice(&head.to_le_bytes());
            out.extend_from_slice(append.message.as_bytes());
        });
    }

    pub fn acknowledge(&self, ticket: Ticket, user: &str, device: &str, seq: u64) {
        self.push(Kind::Acknowledge, ticket, |out| {
            rows::put_varint(seq, out);
            rows::put_text(user, out);
            rows::put_text(device, out);
        });
    }

    /// A device has connected for the first time.
    pub fn arrive(&self, user: &str, device: &str, seq: u64) {
        self.push(Kind::Arrive, super::NO_TICKET, |out| {
            rows::put_varint(seq, out);
            rows::put_text(user, out);
            rows::put_text(device, out);
        });
    }

    pub fn expired(&self, second: u64) {
        self.push(Kind::Expired, super::NO_TICKET, |out| rows::put_varint(second, out));
    }

    pub fn forget(&self, ticket: Ticket, user: &str, seq: u64) {
        self.push(Kind::Forget, ticket, |out| {
            rows::put_varint(seq, out);
            rows::put_text(user, out);
        });
    }

    pub fn note(&self, ticket: Ticket, note: &Note) {
        match note {
            Note::Join { group, user } => self.push(Kind::Join, ticket, |out| {
                rows::put_text(group, out);
                rows::put_text(user, out);
            }),
            Note::Leave { group, user } => self.push(Kind::Leave, ticket, |out| {
                rows::put_text(group, out);
                rows::put_text(user, out);
            }),
            Note::Block { user, until, reason } => self.push(Kind::Block, ticket, |out| {
                rows::put_varint(*until, out);
                rows::put_text(user, out);
                rows::put_text(reason, out);
            }),
            Note::Unblock { user } => {
                self.push(Kind::Unblock, ticket, |out| rows::put_text(user, out));
            }
            Note::Request { key, request, done, at } => self.push(Kind::Request, ticket, |out| {
                out.extend_from_slice(&request.to_le_bytes());
                rows::put_varint(*at, out);
                rows::put_text(key, out);
                out.extend_from_slice(done);
            }),
        }
    }

    pub fn load(&self, ticket: Ticket, seqs: &[u64]) {
        self.push(Kind::Load, ticket, |out| {
            seqs.iter().for_each(|seq| rows::put_varint(*seq, out));
        });
    }

    pub fn history(&self, ticket: Ticket, question: &Question<'_>) {
        self.push(Kind::History, ticket, |out| {
            rows::put_varint(question.limit, out);
            let before = if question.before.is_some() { 4 } else { 0 };
            match question.of {
                Of::Pair(one, other) => {
                    out.push(before);
                    rows::put_text(one, out);
                    rows::put_text(other, out);
                }
                Of::Group(name) => {
                    out.push(before | 1);
                    rows::put_text(name, out);
                }
                Of::User(name) => {
                    out.push(before | 2);
                    rows::put_text(name, out);
                }
            }
            if let Some(before) = question.before {
                rows::put_text(before, out);
            }
        });
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
