//! The thread of the store, and how a test drives the store without it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::engine::{Answer, Engine};
use super::queue::{Shared, StoreState};
use super::room::Trouble;
use super::schema::{self, Lock, OpenError};
use super::{NO_TICKET, backup, scan};
use crate::journal::{Completed, Completion, Recovered};

/// How long the thread sleeps when hints wait, and when nothing does.
const LIGHT: Duration = Duration::from_secs(1);
const DEEP: Duration = Duration::from_secs(60);
/// How long the thread rests after a panic.
const PAUSE: Duration = Duration::from_millis(50);
/// After so many panics the thread ends when it is asked to, although it has not answered everything.
const MOST_PANICS: u32 = 16;

/// How far the store is.
#[derive(Debug)]
enum Phase {
    Opened,
    Scanned,
    /// The scan has found a damage, which is told when the store is started.
    Damaged(Option<OpenError>),
    Begun,
}

/// The file, its connection and its engine.
#[derive(Debug)]
pub(super) struct Store {
    pub connection: Connection,
    pub engine: Engine,
    epoch: String,
    last: u64,
    sends: u64,
    /// How long opening and scanning took, in microseconds.
    took: u64,
    phase: Phase,
    /// It is given back after the connection is closed.
    _lock: Lock,
}

impl Store {
    pub fn new(
        (connection, lock): (Connection, Lock),
        engine: Engine,
        (epoch, last, took): (String, u64, u64),
    ) -> Self {
        Store { connection, engine, epoch, last, sends: 0, took, phase: Phase::Opened, _lock: lock }
    }

    /// Reads all that is kept. A damage is told by [`Store::begin`].
    pub fn scan(&mut self, tell: &mut dyn FnMut(Recovered)) {
        if !matches!(self.phase, Phase::Opened) {
            return;
        }
        let started = self.engine.clock.micros();
        let now = self.engine.clock.millis();
        let Engine { path, segments, .. } = &mut self.engine;
        let scanned = scan::scan(&self.connection, path, segments, (self.last, now), tell);
        self.phase = match scanned {
            Ok(sends) => {
                self.sends = sends;
                Phase::Scanned
            }
            Err(error) => Phase::Damaged(Some(error)),
        };
        self.took += self.engine.clock.micros().saturating_sub(started);
    }

    /// Begins the new epoch, if that is not done. On a full disk it begins with the first transaction for which there
    /// is room.
    fn begin(&mut self) -> Result<(), OpenError> {
        self.scan(&mut |_| {});
        let frames = self.engine.wal_frames.clone();
        let now = self.engine.clock.millis();
        let Engine { path, segments, room, .. } = &mut self.engine;
        match &mut self.phase {
            Phase::Begun => return Ok(()),
            Phase::Damaged(error) => {
                let again = || OpenError::damaged(path, "it was not read");
                return Err(error.take().unwrap_or_else(again));
            }
            Phase::Opened | Phase::Scanned => {}
        }
        schema::prepare_to_write(&self.connection, path)?;
        let hook = move |_: &mut rusqlite::hooks::Wal, pages: i32| {
            frames.store(u64::try_from(pages).unwrap_or(0), std::sync::atomic::Ordering::Relaxed);
            Ok(())
        };
        let told = |error| OpenError::sqlite(path, &error);
        self.connection.wal_hook(Some(hook)).map_err(told)?;
        let begun = scan::begin(&self.connection, segments, (&self.epoch, self.last), now);
        match begun {
            Ok(()) => {}
            // What is in the file can be read, and what comes waits for room.
            Err(error) if room.judge(path, &error) == Trouble::NoRoom => {
                self.engine.unbegun = Some((self.epoch.clone(), self.last));
                self.engine.note_no_room(&error);
            }
            Err(error) => return Err(told(error)),
        }
        self.phase = Phase::Begun;
        self.engine.shared.set_last(self.last);
        self.engine.measure(&self.connection);
        self.engine.room.look(&self.engine.path, &self.engine.shared, now);
        Ok(())
    }

    fn step(&mut self, answer: Answer<'_>) -> bool {
        if !matches!(self.phase, Phase::Begun)
            && let Err(error) = self.begin()
        {
            self.engine.give_up(&error, answer);
        }
        let did = self.engine.step(&self.connection, answer);
        if let Some(ticket) = self.engine.wanted_copy.take() {
            backup::copy(&self.connection, &mut self.engine, ticket, answer);
        }
        did
    }

    /// Writes what is left, and closes the file.
    fn finish(mut self, answer: Answer<'_>) {
        if !matches!(self.phase, Phase::Begun) {
            return;
        }
        self.engine.finish(&self.connection, answer);
        if self.engine.shared.state() != StoreState::Failed {
            // Closing moves the write-ahead log into the file, and removes it.
            let flag = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
            let _ = self.connection.set_db_config(flag, false);
        }
    }
}

pub(super) fn lock(store: &Mutex<Store>) -> MutexGuard<'_, Store> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What was found in a file.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Opened {
    /// How many sends are in the part of the file that is read at start.
    pub messages: u64,
    /// The name of the new epoch.
    pub epoch: String,
    /// How long it took to open and read the file.
    pub took: Duration,
}

/// Writes what a [`StoreJournal`](super::StoreJournal) was given. It does nothing before it is started.
#[derive(Debug)]
pub struct Worker {
    pub(super) store: Arc<Mutex<Store>>,
    shared: Arc<Shared>,
}

impl Worker {
    pub(super) fn new(store: Arc<Mutex<Store>>, shared: Arc<Shared>) -> Self {
        Worker { store, shared }
    }

    /// What was found in the file. The number of messages is known after the relay got the journal.
    pub fn opened(&self) -> Opened {
        let store = lock(&self.store);
        Opened {
            messages: store.sends,
            epoch: store.epoch.clone(),
            took: Duration::from_micros(store.took),
        }
    }

    /// Begins the new epoch, which is the first write into the file, as soon as the disk has room for it, and starts the thread, which gives each
    /// completed request to `deliver`. The journal must have been given to the relay before: what was found then to be
    /// damaged is told here.
    pub fn start(self, deliver: impl Fn(Completed) + Send + 'static) -> Result<Running, OpenError> {
        let Worker { store, shared } = self;
        lock(&store).begin()?;
        let path = lock(&store).engine.path.clone();
        let queue = shared.clone();
        let thread = thread::Builder::new().name("store".to_owned()).spawn(move || {
            deliver(Completed { ticket: NO_TICKET, completion: Completion::Started });
            run(&store, &queue, &mut |completed| deliver(completed));
            // The journal has only a weak reference, so this closes the file.
            if let Some(store) = Arc::into_inner(store) {
                let store = store.into_inner().unwrap_or_else(PoisonError::into_inner);
                store.finish(&mut |completed| deliver(completed));
            }
        });
        match thread {
            Ok(thread) => Ok(Running { shared, thread: Some(thread) }),
            Err(error) => {
                let kind = schema::OpenErrorKind::Unwritable;
                Err(OpenError::new(&path, kind, format!("has no thread: {error}")))
            }
        }
    }

    /// Begins the new epoch, as [`Worker::start`] does if it was not done before. A server calls it before it
    /// lets anybody connect, and then starts the worker.
    pub fn begin(&mut self) -> Result<(), OpenError> {
        lock(&self.store).begin()
    }

    /// Does what the thread does once: one transaction, its answers, then questions and a checkpoint. Returns
    /// whether there was something to do.
    #[doc(hidden)]
    pub fn step(&mut self, complete: &mut dyn FnMut(Completed)) -> bool {
        lock(&self.store).step(complete)
    }

    /// Does what the thread does when nothing is queued. Returns whether there is more to do.
    #[doc(hidden)]
    pub fn idle(&mut self, complete: &mut dyn FnMut(Completed)) -> bool {
        let mut store = lock(&self.store);
        let Store { connection, engine, .. } = &mut *store;
        engine.idle(connection, complete)
    }

    /// Writes what is left and closes the file, as the thread does when it is stopped.
    #[doc(hidden)]
    pub fn close(self, complete: &mut dyn FnMut(Completed)) {
        if let Some(store) = Arc::into_inner(self.store) {
            store.into_inner().unwrap_or_else(PoisonError::into_inner).finish(complete);
        }
    }
}

/// Works until the thread should stop. After a panic the file is given up, and whoever waits for the store is answered.
fn run(store: &Mutex<Store>, queue: &Shared, answer: Answer<'_>) {
    let mut store = lock(store);
    let mut panics = 0;
    while catch_unwind(AssertUnwindSafe(|| work(&mut store, queue, answer))).is_err() {
        let Store { connection, engine, .. } = &mut *store;
        engine.has_panicked(connection, answer);
        panics += 1;
        if panics >= MOST_PANICS && queue.is_stopping() {
            return;
        }
        // If each step panics, no core is kept busy.
        thread::sleep(PAUSE);
    }
}

/// Steps until the thread should stop. What can wait is done when nothing was asked for during one light
/// sleep: a checkpoint after each message would make the next message wait.
fn work(store: &mut Store, queue: &Shared, answer: Answer<'_>) {
    let mut time = Duration::ZERO;
    let (mut is_light, mut is_quiet) = (true, false);
    loop {
        let is_stopping = queue.sleep(time, is_light);
        store.engine.gather();
        if store.step(answer) {
            (time, is_quiet) = (Duration::ZERO, false);
            continue;
        }
        if is_stopping {
            return;
        }
        if !is_quiet {
            (time, is_light, is_quiet) = (LIGHT, true, true);
            continue;
        }
        let Store { connection, engine, .. } = &mut *store;
        let has_more = engine.idle(connection, answer);
        is_light = engine.has_hints() || queue.state() == StoreState::Full;
        time = match (has_more, is_light) {
            (true, _) => Duration::ZERO,
            (false, true) => LIGHT,
            (false, false) => DEEP,
        };
    }
}

/// The store while its thread runs. When it is dropped, it is stopped.
#[derive(Debug)]
pub struct Running {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// Writes what is queued, closes the file, and waits until that is done.
    pub fn stop(self) {}
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.stop();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was told by its message.
            let _ = thread.join();
        }
    }
}
