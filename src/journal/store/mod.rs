//! The journal in a file, which SQLite writes. What it has acknowledged survives a crash and a power cut.
//!
//! The loop gives requests to a [`StoreJournal`], which encodes them into a queue. One thread, started by
//! [`Worker::start`], takes all that is queued, writes it in one transaction, and completes the requests when the
//! disk has confirmed the transaction.
//!
//! ```no_run
//! use std::thread;
//! use std::time::Duration;
//!
//! use longlink::keeping::store::{self, StoreConfig};
//! use longlink::{Config, Incoming, Relay, RelayConfig, SendError, Server};
//!
//! let (journal, worker) = store::open(StoreConfig::new("messages.db"))?;
//! let relay = Relay::new(RelayConfig::default()).with_journal(Box::new(journal));
//! let mut server = Server::bind("127.0.0.1:8080", Config::default(), relay)?;
//! let sender = server.sender();
//! let running = worker.start(move |completed| {
//!     let mut next = Incoming::from(completed);
//!     // No completion may be lost while the loop runs, so the thread waits for room in the inbox.
//!     while let Err(SendError::Full(again)) = sender.send(next) {
//!         next = again;
//!         thread::sleep(Duration::from_millis(1));
//!     }
//! })?;
//! server.run()?;
//! running.stop();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is in the file
//!
//! One row a send, in tables `m1`, `m2`, …, each a *segment*: a part of the file that is dropped as a whole. The number
//! of the first message of a send is the key of its row, because all users share one counter. A row has checksums of its
//! own. Beside them there are
//! what devices have handled, the epochs, memberships of groups, and idempotency keys.

mod backup;
mod clock;
mod engine;
mod gather;
mod hints;
mod history;
mod inspect;
mod questions;
mod queue;
mod read;
mod request;
mod retain;
mod room;
mod rows;
mod scan;
mod schema;
mod seal;
mod segments;
mod stats;
mod tally;
#[cfg(test)]
mod tests;
mod trouble;
mod worker;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use super::{
    Append, Completion, Health, Journal, Note, Numbers, Progress, Question, Recovered, Ticket,
};
use clock::Clock;
use engine::{Engine, Limits};
use queue::{Shared, StoreState};
use retain::Retain;
use room::{Room, Unwritten};
use segments::{Bounds, Segments};
use stats::Stats;
use worker::Store;

pub use inspect::{Epoch, Item, ReadError, Reader, SegmentSummary, State, Summary, vacuum};
pub use schema::{OpenError, OpenErrorKind, examine};
pub use worker::{Opened, Running, Worker};

/// The ticket of requests whose completion nobody waits for, and of completions that no request has.
const NO_TICKET: Ticket = Ticket::MAX;

/// A segment has at least so many bytes.
const SEGMENT: u64 = 8 << 20;
/// The bytes of a segment of a file without a bound.
const UNBOUNDED_SEGMENT: u64 = 64 << 20;
/// The file has about so many segments by size, of messages that are kept, and for history.
const BY_SIZE: u64 = 256;
const BY_TIME: u32 = 16;
const BY_HISTORY: u32 = 256;

/// How a store is kept.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StoreConfig {
    /// The file. SQLite makes others beside it, whose names begin with its name.
    pub path: PathBuf,
    /// The bound of the file in bytes; 0 for none. When it is reached, the oldest messages are dropped, whether
    /// they were handled or not. 4 GiB by default.
    pub size: u64,
    /// For how long older messages can be asked for; `None`, the default, for not at all. It costs an
    /// index, which makes writing several times as expensive.
    pub history: Option<Duration>,
    /// For how long messages are kept for devices that are away, usually; the time of each message decides. 7 days
    /// by default.
    pub kept: Duration,
    /// The name of an SQLite VFS.
    #[doc(hidden)]
    pub vfs: Option<String>,
    /// The time in milliseconds since 1970.
    #[doc(hidden)]
    pub clock: Option<Arc<AtomicU64>>,
    /// A segment ends at so many bytes; 0 for the usual size.
    #[doc(hidden)]
    pub segment_bytes: u64,
    /// A checkpoint is made when the write-ahead log has so many bytes.
    #[doc(hidden)]
    pub wal_bytes: u64,
    /// So many bytes of messages wait in memory while there is no room.
    #[doc(hidden)]
    pub unwritten_bytes: usize,
    /// There is room for so many requests, and for so many bytes of them.
    #[doc(hidden)]
    pub room_count: u64,
    #[doc(hidden)]
    pub room_bytes: u64,
    /// A transaction ends at so many bytes.
    #[doc(hidden)]
    pub transaction_bytes: usize,
    /// The bytes of the ballast; 0 for none.
    #[doc(hidden)]
    pub ballast_bytes: u64,
}

impl StoreConfig {
    /// A store in this file, with defaults.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        StoreConfig {
            path: path.into(),
            size: 4 << 30,
            history: None,
            kept: Duration::from_secs(7 * 24 * 3_600),
            vfs: None,
            clock: None,
            segment_bytes: 0,
            wal_bytes: 1 << 20,
            unwritten_bytes: 64 << 20,
            room_count: 32_768,
            room_bytes: 16 << 20,
            transaction_bytes: 512 << 10,
            ballast_bytes: 4 << 20,
        }
    }

    fn bounds(&self) -> Bounds {
        let usual = match self.size {
            0 => UNBOUNDED_SEGMENT,
            size => SEGMENT.max(size / BY_SIZE),
        };
        let bytes = if self.segment_bytes == 0 { usual } else { self.segment_bytes };
        let history = self.history.unwrap_or_default() / BY_HISTORY;
        let time = (self.kept / BY_TIME).max(history).max(Duration::from_secs(60));
        Bounds { bytes, millis: u64::try_from(time.as_millis()).unwrap_or(u64::MAX) }
    }
}

/// Opens the file of a store, or makes it if there is none. Nothing is written into a file that was there
/// before the worker is started.
pub fn open(config: StoreConfig) -> Result<(StoreJournal, Worker), OpenError> {
    let clock = Clock::new(config.clock.clone());
    let started = clock.micros();
    let schema::Opened { connection, lock, path } = schema::open(&config)?;
    let failed = |error: rusqlite::Error| OpenError::sqlite(&path, &error);
    let segments = Segments::read(&connection, config.bounds(), config.history.is_some());
    let segments = segments.map_err(failed)?;
    let epochs = scan::epochs(&connection, &segments).map_err(failed)?;

    let epoch = super::new_epoch(clock.millis());
    let next_epoch = super::new_epoch(clock.millis());
    let room = (config.room_count, config.room_bytes);
    let shared = Arc::new(Shared::new(room, Stats::new(config.size)));
    let history = config.history.map(|it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX));
    let limits = Limits {
        transaction: config.transaction_bytes,
        wal: config.wal_bytes,
        history: config.history,
    };
    let unwritten = Unwritten::new(config.unwritten_bytes, config.transaction_bytes);
    let engine = Engine::new(
        (path, clock.clone(), shared.clone()),
        limits,
        segments,
        Retain::new(config.size, history, clock.seconds()),
        Room::new(unwritten, config.ballast_bytes),
    );
    let took = clock.micros().saturating_sub(started);
    let opened = (epoch.clone(), epochs.last, took);
    let store = Arc::new(Mutex::new(Store::new((connection, lock), engine, opened)));
    let journal = StoreJournal {
        epoch,
        next_epoch,
        ends: epochs.ends,
        shared: shared.clone(),
        opened: Arc::downgrade(&store),
        has_history: config.history.is_some(),
    };
    Ok((journal, Worker::new(store, shared)))
}

/// The journal in a file. It queues requests for the store's thread and never waits.
///
/// All requests but hints are completed later, in their order. A message that waits while the disk is full, or comes after
/// the file was given up, is completed by [`Completion::Appended`] and is not stored.
#[derive(Debug)]
pub struct StoreJournal {
    epoch: String,
    /// The epoch that begins if the file is given up.
    next_epoch: String,
    ends: HashMap<String, u64>,
    shared: Arc<Shared>,
    /// What is read by [`Journal::recover`].
    opened: Weak<Mutex<Store>>,
    has_history: bool,
}

impl Journal for StoreJournal {
    fn epoch(&self) -> &str {
        if self.shared.has_new_epoch() { &self.next_epoch } else { &self.epoch }
    }

    fn end_of_epoch(&self, _: &str, epoch: &str) -> Option<u64> {
        if epoch == self.epoch {
            return self.shared.has_new_epoch().then(|| self.shared.last());
        }
        self.ends.get(epoch).copied()
    }

    fn shares_numbers(&self) -> bool {
        true
    }

    fn recover(&mut self, tell: &mut dyn FnMut(Recovered)) {
        if let Some(store) = self.opened.upgrade() {
            worker::lock(&store).scan(tell);
        }
    }

    fn health(&self) -> Health {
        match self.shared.state() {
            StoreState::Ok => Health::Stored,
            StoreState::Full => Health::Full,
            StoreState::Failed => Health::Failed,
        }
    }

    fn numbers(&self) -> Option<Numbers> {
        Some(self.shared.stats.numbers(self.shared.pending()))
    }

    fn back_up(&mut self, ticket: Ticket) -> Progress {
        self.shared.copy(ticket);
        Progress::Later
    }

    fn has_room(&self) -> bool {
        self.shared.has_room()
    }

    fn append(&mut self, ticket: Ticket, append: &Append<'_>) -> Progress {
        self.shared.append(ticket, append);
        Progress::Later
    }

    fn load(&mut self, ticket: Ticket, seqs: &[u64]) -> Progress {
        self.shared.load(ticket, seqs);
        Progress::Later
    }

    fn acknowledge(&mut self, ticket: Ticket, user: &str, device: &str, seq: u64) -> Progress {
        self.shared.acknowledge(ticket, user, device, seq);
        Progress::Done(Completion::Acknowledged)
    }

    fn expired(&mut self, second: u64) {
        self.shared.expired(second);
    }

    fn arrive(&mut self, user: &str, device: &str, seq: u64) {
        self.shared.arrive(user, device, seq);
    }

    fn note(&mut self, ticket: Ticket, note: &Note) -> Progress {
        if self.shared.state() == StoreState::Failed {
            return Progress::Done(Completion::Unsupported);
        }
        self.shared.note(ticket, note);
        Progress::Later
    }

    fn begin(&mut self) {
        self.shared.begin();
    }

    fn end(&mut self) {
        self.shared.end();
    }

    fn history(&mut self, ticket: Ticket, question: &Question<'_>) -> Progress {
        if !self.has_history {
            return Progress::Done(Completion::Unsupported);
        }
        self.shared.history(ticket, question);
        Progress::Later
    }

    fn forget(&mut self, ticket: Ticket, user: &str, seq: u64) -> Progress {
        self.shared.forget(ticket, user, seq);
        Progress::Later
    }
}
