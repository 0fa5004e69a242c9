//! The store on a made-up clock, without its thread.

#[cfg(test)]
mod gather;
#[cfg(test)]
mod hints;
#[cfg(test)]
mod history;
#[cfg(test)]
mod inspect;
#[cfg(test)]
mod keep;
#[cfg(test)]
mod open;
#[cfg(test)]
mod panics;
#[cfg(test)]
mod read;
#[cfg(test)]
mod retain;
#[cfg(test)]
mod room;
#[cfg(test)]
mod thread;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use super::*;
use crate::journal::{Backup, Cause, Completed, Kind, Of, Reach, Record, Stored};

/// A time at which the tests begin, in milliseconds since 1970.
const START: u64 = 1_700_000_000_000;
const TTL: u32 = 7 * 24 * 3_600;

/// Where the engine panics the next time, for a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trap {
    None,
    /// In a transaction.
    Write,
    /// When a question is read.
    Read,
    /// While a copy is made.
    Copy,
    /// When nothing is queued.
    Idle,
}

impl Trap {
    pub fn spring(&mut self, at: Trap) {
        if *self == at {
            *self = Trap::None;
            panic!("a test wants this panic");
        }
    }
}

/// A folder that is removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("longlink-store-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Folder(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("messages.db")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A store that is open, its time, and what it has completed.
struct Site {
    journal: StoreJournal,
    worker: Worker,
    clock: Arc<AtomicU64>,
    completed: Vec<Completed>,
    recovered: Vec<Recovered>,
    next: u64,
}

fn config(folder: &Folder, clock: &Arc<AtomicU64>) -> StoreConfig {
    let mut config = StoreConfig::new(folder.file());
    config.clock = Some(clock.clone());
    config.ballast_bytes = 0;
    config
}

impl Site {
    fn open(config: StoreConfig) -> Result<Site, OpenError> {
        let clock = config.clock.clone().unwrap();
        let (mut journal, mut worker) = open(config)?;
        let mut recovered = Vec::new();
        journal.recover(&mut |one| recovered.push(one));
        worker.begin()?;
        let Recovered::Last(last) = recovered[0] else { panic!("the last number comes first") };
        Ok(Site { journal, worker, clock, completed: Vec::new(), recovered, next: last + 1 })
    }

    fn new(folder: &Folder) -> Site {
        Self::open(config(folder, &Arc::new(AtomicU64::new(START)))).unwrap()
    }

    fn id(&self, seq: u64) -> u128 {
        u128::from(self.clock.load(Ordering::Relaxed)) << 80 | u128::from(seq) << 40 | 1
    }

    /// Appends a message from one user to others, and returns its number.
    fn append_to(&mut self, from: &str, to: &[&str], message: &str, ttl: u32) -> u64 {
        let first = self.next;
        self.next += to.len() as u64;
        let records: Vec<Record<'_>> = (first..)
            .zip(to)
            .map(|(seq, user)| Record { user, seq, kind: Kind::ToUser, to: "", marks: 0 })
            .collect();
        let append = Append {
            user: from,
            device: "d",
            cid: &format!("c-{first}"),
            content: first,
            id: self.id(first),
            group: "",
            message,
            key: "",
            ttl,
            round: 0,
            records: &records,
            reach: Reach::default(),
        };
        let progress = self.journal.append(first as u32, &append);
        assert!(matches!(progress, Progress::Later));
        first
    }

    fn append(&mut self, from: &str, to: &str, message: &str) -> u64 {
        self.append_to(from, &[to], message, TTL)
    }

    fn step(&mut self) {
        while self.worker.step(&mut |completed| self.completed.push(completed)) {}
    }

    fn idle(&mut self) {
        while self.worker.idle(&mut |completed| self.completed.push(completed)) {}
    }

    fn close(mut self) {
        self.step();
        self.worker.close(&mut |_| {});
    }

    /// Ends as a process does that is killed.
    fn kill(self) {
        drop(self.worker);
    }

    /// The tickets of appends that were completed, and whether they are stored.
    fn appended(&mut self) -> Vec<(u32, bool)> {
        let mut all = Vec::new();
        self.completed.retain(|completed| match &completed.completion {
            Completion::Appended(kept) => {
                all.push((completed.ticket, kept.is_stored));
                false
            }
            _ => true,
        });
        all
    }

    fn pass(&self, millis: u64) {
        self.clock.fetch_add(millis, Ordering::Relaxed);
    }

    /// Runs SQL on the connection of the store.
    fn sql(&self, sql: &str) {
        worker::lock(&self.worker.store).connection.execute_batch(sql).unwrap();
    }

    fn numbers(&self) -> Numbers {
        self.journal.numbers().unwrap()
    }

    fn load(&mut self, seqs: &[u64]) -> Vec<Stored> {
        self.step();
        self.completed.clear();
        assert!(matches!(self.journal.load(7, seqs), Progress::Later));
        self.step();
        let Some(Completed { ticket: 7, completion: Completion::Loaded(all) }) =
            self.completed.pop()
        else {
            panic!("nothing was loaded")
        };
        all
    }

    fn texts(&mut self, seqs: &[u64]) -> Vec<String> {
        self.load(seqs).into_iter().map(|send| send.message).collect()
    }

    fn sends(&self) -> Vec<&Stored> {
        let sends = self.recovered.iter().filter_map(|one| match one {
            Recovered::Send(send) => Some(send),
            _ => None,
        });
        sends.collect()
    }

    fn seqs(&self) -> Vec<u64> {
        self.sends().iter().flat_map(|send| send.records.iter().map(|it| it.seq)).collect()
    }
}

fn again(folder: &Folder, clock: &Arc<AtomicU64>) -> Site {
    Site::open(config(folder, clock)).unwrap()
}

/// Starts the thread of a store.
fn start(worker: Worker) -> (Running, Receiver<Completed>) {
    let (sender, completed) = mpsc::channel();
    let running = worker.start(move |one| sender.send(one).unwrap()).unwrap();
    let Completed { ticket, completion } = completed.recv().unwrap();
    assert!(matches!(completion, Completion::Started), "the store says that it has begun");
    assert_eq!(ticket, NO_TICKET);
    (running, completed)
}
