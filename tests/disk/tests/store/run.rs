//! One run: a store on a disk in memory, which is used, crashes and is opened again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use longlink::keeping::store::{StoreConfig, StoreJournal, Worker};
use longlink::keeping::{Completed, Completion, Health, Journal, Kept, Progress, Ticket};
use longlink::sim::Rng;
use longlink_disk::{Disk, Faults};

use super::coverage::Coverage;
use super::model::{Entry, Model, State};

mod asking;
mod giving;
mod opening;

/// A file that is opened.
struct Open {
    journal: StoreJournal,
    worker: Worker,
    /// What waits for its completion, in the order of the calls.
    waiting: Vec<(Ticket, Request)>,
    /// The store has given the file up.
    is_given_up: bool,
}

/// A request that is not completed.
#[derive(Clone, Debug)]
enum Request {
    /// A send or a note: its place in the log.
    Keep(usize),
    /// A user's messages up to a number are forgotten.
    Forget(String, u64),
    /// These numbers were asked for.
    Load(Vec<u64>),
    History(asking::Asked),
}

/// A copy of the file, with what was known when it was made.
struct Copied {
    files: BTreeMap<String, Vec<u8>>,
    model: Model,
}

pub struct Run {
    /// It is dropped before the disk on which its file is.
    open: Option<Open>,
    rng: Rng,
    disk: Disk,
    folder: PathBuf,
    clock: Arc<AtomicU64>,
    config: Bounds,
    model: Model,
    copied: Option<Copied>,
    /// All epochs that any file has had.
    epochs: Vec<String>,
    tickets: Ticket,
    next: u64,
    lists: u64,
    list: Option<u64>,
    names: u64,
    /// The disk was full, and the store has not said since then that it is well.
    was_full: bool,
    pub cover: Coverage,
}

/// The bounds of a run.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    size: u64,
    history: Option<Duration>,
    kept: Duration,
    segment: u64,
    wal: u64,
    unwritten: usize,
    room_bytes: u64,
    room_count: u64,
    transaction: usize,
}

impl Bounds {
    /// Bounds that are small in some runs, so that they are reached.
    fn at_random(rng: &mut Rng) -> (Self, bool) {
        let is_bounded = rng.percent(25);
        let size = if is_bounded { *rng.pick(&[200_000, 400_000]) } else { 1 << 40 };
        let unwritten = if is_bounded { 20_000 } else { 64 << 20 };
        let bounds = Bounds {
            size,
            history: rng.percent(50).then(|| Duration::from_secs(*rng.pick(&[600, 86_400]))),
            kept: Duration::from_secs(7 * 86_400),
            segment: *rng.pick(&[20_000, 100_000, 8 << 20]),
            wal: *rng.pick(&[1, 50_000, 1 << 20]),
            unwritten,
            room_bytes: *rng.pick(&[5_000, 16 << 20]),
            room_count: *rng.pick(&[10, 32_768]),
            transaction: *rng.pick(&[1, 2_000, 1 << 20]),
        };
        (bounds, is_bounded)
    }
}

const BEGIN: u64 = 1_800_000_000_000;

impl Run {
    pub fn new(seed: u64, folder: &Path) -> Self {
        let mut rng = Rng::new(seed);
        let (config, is_bounded) = Bounds::at_random(&mut rng);
        let mut run = Run {
            disk: Disk::new(rng.number()),
            rng,
            folder: folder.to_owned(),
            clock: Arc::new(AtomicU64::new(BEGIN)),
            config,
            open: None,
            model: Model { is_bounded, ..Model::default() },
            copied: None,
            epochs: Vec::new(),
            tickets: 0,
            next: 1,
            lists: 0,
            list: None,
            names: 0,
            was_full: false,
            cover: Coverage::default(),
        };
        run.open_again();
        run
    }

    fn now(&self) -> u64 {
        self.clock.load(Ordering::Relaxed)
    }

    fn path(&self) -> PathBuf {
        self.folder.join("file.db")
    }

    fn store_config(&self) -> StoreConfig {
        let bounds = self.config;
        let mut config = StoreConfig::new(self.path());
        (config.size, config.history, config.kept) = (bounds.size, bounds.history, bounds.kept);
        (config.vfs, config.clock) = (Some(self.disk.vfs().to_owned()), Some(self.clock.clone()));
        (config.segment_bytes, config.wal_bytes) = (bounds.segment, bounds.wal);
        config.unwritten_bytes = bounds.unwritten;
        (config.room_bytes, config.room_count) = (bounds.room_bytes, bounds.room_count);
        config.transaction_bytes = bounds.transaction;
        // The ballast would be on another disk.
        config.ballast_bytes = 0;
        config
    }

    /// Does one thing.
    pub fn step(&mut self) {
        if self.disk.is_dead() {
            return self.crash();
        }
        let what = self.rng.below(100);
        log::info!("{what} at {} with {:?}", self.now() - BEGIN, self.disk.faults());
        match what {
            0..40 => self.give_send(),
            40..44 => self.give_list(),
            44..50 => self.give_acknowledgement(),
            50..52 => self.give_forget(),
            52..55 => self.give_note(),
            55..75 => self.work(),
            75..79 => self.idle(),
            79..83 => self.ask_load(),
            83..86 => self.ask_history(),
            86..91 => self.pass(),
            91..94 => self.change_room(),
            94 => self.break_disk(),
            95 => self.copy_or_restore(),
            96 => self.end_politely(),
            97 => {
                let changes = self.rng.below(40);
                self.disk.crash_in(changes);
            }
            _ => self.crash(),
        }
    }

    /// Writes everything, and checks the file for the last time.
    pub fn finish(mut self) -> Coverage {
        if self.disk.is_dead() {
            self.crash();
        }
        self.disk.set_faults(Faults::default());
        self.end_politely();
        self.crash();
        self.open = None;
        let counts = self.disk.counts();
        self.cover.add("disk: full", counts.full);
        self.cover.add("disk: failed reads", counts.failed_reads);
        self.cover.add("disk: failed writes", counts.failed_writes);
        self.cover.add("disk: failed syncs", counts.failed_syncs);
        self.cover.add("disk: sectors dropped", counts.dropped);
        self.cover.add("disk: sectors torn", counts.torn);
        self.cover.add("disk: writes reordered", counts.reordered);
        self.cover
    }

    /// Lets the store do what it has to do.
    fn work(&mut self) {
        for _ in 0..1 + self.rng.below(3) {
            self.work_once();
        }
    }

    fn work_once(&mut self) -> bool {
        let Some(open) = &mut self.open else { return false };
        let mut completed = Vec::new();
        let is_busy = open.worker.step(&mut |it| completed.push(it));
        completed.into_iter().for_each(|it| self.complete(it));
        self.settle_epoch();
        is_busy && !self.disk.is_dead()
    }

    fn idle(&mut self) {
        let is_drained = self.rng.percent(50);
        if is_drained {
            while self.work_once() {}
            // Hints are written once in a second.
            self.clock.fetch_add(1_100, Ordering::Relaxed);
        }
        // Hints whose transaction has failed are written before newer ones.
        for _ in 0..1 + u8::from(is_drained) {
            let Some(open) = &mut self.open else { return };
            let mut completed = Vec::new();
            open.worker.idle(&mut |it| completed.push(it));
            completed.into_iter().for_each(|it| self.complete(it));
            self.settle_epoch();
            if self.disk.is_dead() {
                return;
            }
            if is_drained {
                self.clock.fetch_add(1_100, Ordering::Relaxed);
            }
        }
        let open = self.open.as_ref().expect("it is open");
        let is_empty = open.waiting.is_empty();
        self.was_full &=
            self.disk.faults().room.is_some() || open.journal.health() != Health::Stored;
        if open.journal.health() == Health::Stored && is_empty {
            if self.model.log.iter().any(|it| it.state == State::Uncertain) {
                self.cover.count("queued, and written when there was room");
            }
            let all = self.model.log.len();
            self.model.confirm(all);
            if is_drained && self.disk.faults().room.is_none() {
                self.model.confirm_devices();
            }
        }
    }

    /// There was room for the epoch that has begun on a full disk.
    fn settle_epoch(&mut self) {
        let health = self.open.as_ref().map(|open| open.journal.health());
        if health == Some(Health::Stored)
            && let Some((name, last)) = self.model.unbegun.take()
        {
            self.cover.count("epochs that were written when there was room");
            self.model.begin_epoch(name, last);
        }
    }

    fn complete(&mut self, completed: Completed) {
        log::info!("{completed:.60?}");
        let Completed { ticket, completion } = completed;
        if let Completion::NewEpoch = completion {
            return self.give_up();
        }
        let open = self.open.as_mut().expect("it is open");
        let at = open.waiting.iter().position(|(of, _)| *of == ticket);
        let at = at.unwrap_or_else(|| panic!("a ticket that waits: {ticket} {completion:?}"));
        if let Completion::Appended(kept) = completion {
            // It completes all appends that were given before.
            return self.complete_appends(ticket, &kept);
        }
        let (_, request) = open.waiting.remove(at);
        let is_given_up = open.is_given_up;
        match (request, completion) {
            (Request::Keep(at), Completion::Noted) => self.note_kept(at),
            (Request::Keep(at), Completion::Unavailable) => self.note_refused(at),
            (Request::Forget(user, seq), Completion::Forgotten) => self.forgotten(user, seq),
            (Request::Load(seqs), Completion::Loaded(loaded)) => self.loaded(&seqs, &loaded),
            (Request::History(asked), Completion::History(found, has_more)) => {
                self.found(&asked, &found, has_more);
            }
            (
                Request::Load(_) | Request::History(_) | Request::Forget(..),
                Completion::Unavailable,
            ) => {
                let has_failed = self.disk.faults().read > 0 || self.disk.is_dead() || is_given_up;
                let is_full = self.was_full;
                assert!(has_failed || is_full, "a disk that is well is read");
            }
            (request, completion) => panic!("{request:?} is completed with {completion:?}"),
        }
    }

    fn complete_appends(&mut self, ticket: Ticket, kept: &Kept) {
        let open = self.open.as_mut().expect("it is open");
        let at = open.waiting.iter().position(|(of, _)| *of == ticket).expect("it waits");
        assert!(kept.seqs.is_empty(), "the relay gives the numbers");
        let mut done = Vec::new();
        let mut index = 0;
        open.waiting.retain(|(_, request)| {
            let is_done = index <= at
                && matches!(request, Request::Keep(place)
                    if matches!(self.model.log[*place].entry, Entry::Send(..)));
            index += 1;
            if let (true, Request::Keep(place)) = (is_done, request) {
                done.push(*place);
            }
            !is_done
        });
        let last = *done.last().expect("an append that waits");
        if kept.is_stored {
            assert!(!open.is_given_up, "nothing is stored in a file that was given up");
            self.cover.add("stored", done.len() as u64);
            self.model.confirm(last + 1);
        } else {
            let is_expected = open.is_given_up || self.was_full || self.is_failing();
            assert!(is_expected || self.disk.is_dead(), "only a bad disk keeps nothing");
            self.cover.add("queued", done.len() as u64);
            for place in done {
                // Of what waits for room the oldest is given up when the bound is reached.
                if self.model.is_bounded && self.model.log[place].state == State::Uncertain {
                    self.model.log[place].state = State::Unimportant;
                }
            }
        }
    }

    fn is_failing(&self) -> bool {
        let faults = self.disk.faults();
        faults.sync > 0 || faults.write > 0 || faults.read > 0
    }

    /// The store has given its file up: a new epoch has begun.
    fn give_up(&mut self) {
        self.cover.count("files given up");
        assert!(
            self.is_failing() || self.disk.is_dead(),
            "a file is given up if a call has failed"
        );
        let open = self.open.as_mut().expect("it is open");
        assert!(!open.is_given_up, "a file is given up once");
        open.is_given_up = true;
        assert_eq!(open.journal.health(), Health::Failed);
        let name = open.journal.epoch().to_owned();
        assert!(!self.epochs.contains(&name), "an epoch has a name of its own: {name}");
        self.epochs.push(name);
        let unbegun = self.model.unbegun.as_ref().map(|(name, _)| name);
        let before = unbegun.or(self.model.epoch.as_ref()).expect("an epoch");
        let end = open.journal.end_of_epoch("u1", before).expect("it is remembered");
        let is_certain = |state| state == State::Certain;
        for logged in &self.model.log {
            if let (Entry::Send(send, _), true) = (&logged.entry, is_certain(logged.state)) {
                let last = send.records.last().expect("a record").seq;
                assert!(last <= end, "the epoch ends after everything that was stored");
            }
        }
    }

    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        self.tickets
    }

    /// Time passes.
    fn pass(&mut self) {
        let millis = *self.rng.pick(&[5, 400, 1_100, 2_000, 40_000, 700_000]);
        self.clock.fetch_add(millis, Ordering::Relaxed);
        if self.rng.percent(40) {
            let second = self.now() / 1_000;
            self.open.as_mut().expect("it is open").journal.expired(second);
            self.model.expired = second;
        }
    }

    /// The disk is full soon, or has room again.
    fn change_room(&mut self) {
        let mut faults = self.disk.faults();
        faults.room = match faults.room {
            None => Some(self.disk.size() + self.rng.below(60_000)),
            Some(_) => None,
        };
        self.was_full = true;
        self.disk.set_faults(faults);
    }

    /// Calls of the disk begin to fail now and then.
    fn break_disk(&mut self) {
        let mut faults = self.disk.faults();
        match self.rng.below(4) {
            0 => faults.sync = *self.rng.pick(&[500, 10_000]),
            1 => faults.write = *self.rng.pick(&[100, 10_000]),
            2 => faults.read = *self.rng.pick(&[100, 10_000]),
            _ => (faults.sync, faults.write, faults.read) = (0, 0, 0),
        }
        self.disk.set_faults(faults);
    }

    /// Makes a copy of the file, or puts the copy that was made in its place.
    fn copy_or_restore(&mut self) {
        self.end_politely();
        if self.disk.is_dead() {
            return;
        }
        match self.copied.take() {
            None => {
                self.copied = Some(Copied { files: self.disk.copy(), model: self.model.clone() });
            }
            Some(copied) => {
                self.cover.count("copies restored");
                self.end();
                self.disk.restore(&copied.files);
                self.model = copied.model;
                self.open_again();
            }
        }
    }
}

/// What a request that was given has returned.
fn assert_later(progress: &Progress) {
    assert!(matches!(progress, Progress::Later), "{progress:?}");
}
