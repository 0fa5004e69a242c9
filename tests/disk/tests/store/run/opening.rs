//! How a store ends, politely or in a crash, and how its file is opened again.

use std::time::SystemTime;

use longlink::keeping::store::{OpenError, OpenErrorKind, StoreJournal, Worker, open};
use longlink::keeping::{Health, Journal, Ticket};
use longlink_disk::Faults;

use super::{Open, Request, Run};
use crate::model::Told;

impl Run {
    /// The machine or the program crashes, and the file is opened again.
    pub(super) fn crash(&mut self) {
        self.cover.count("crashes");
        self.disk.crash();
        self.end();
        self.disk.restart();
        self.open_again();
    }

    /// Forgets the store. What it has not completed may be in the file.
    pub(super) fn end(&mut self) {
        self.list = None;
        let Some(open) = self.open.take() else { return };
        drop((open.journal, open.worker));
        self.forget_waiting(open.waiting);
    }

    /// What was not completed may have been done.
    pub(super) fn forget_waiting(&mut self, waiting: Vec<(Ticket, Request)>) {
        self.list = None;
        for (_, request) in waiting {
            if let Request::Forget(user, seq) = request {
                self.model
                    .perhaps_forgotten
                    .entry(user)
                    .and_modify(|old| *old = seq.max(*old))
                    .or_insert(seq);
            }
        }
    }

    /// Writes what was given, and closes the file.
    pub(super) fn end_politely(&mut self) {
        self.end_list();
        while self.work_once() {}
        self.idle();
        let Some(Open { journal, worker, mut waiting, is_given_up }) = self.open.take() else {
            return;
        };
        worker.close(&mut |_| {});
        let is_well = !is_given_up && !self.was_full && !self.is_failing() && !self.disk.is_dead();
        if is_well && journal.health() == Health::Stored {
            self.cover.count("polite ends");
            self.model.confirm(self.model.log.len());
            self.model.confirm_devices();
            waiting.clear();
        }
        self.forget_waiting(waiting);
        if self.disk.is_dead() {
            self.disk.restart();
        }
        self.open_again();
    }

    /// Opens the file, with a crash in between now and then, and compares what is there.
    pub(super) fn open_again(&mut self) {
        self.was_full = false;
        self.disk.calm();
        self.disk.set_faults(Faults::default());
        while self.rng.percent(10) {
            let changes = self.rng.below(30);
            self.disk.crash_in(changes);
            if let Ok((mut journal, mut worker)) = self.open_file() {
                journal.recover(&mut |_| {});
                let _ = worker.begin();
            }
            if self.disk.is_dead() {
                self.cover.count("crashes while the file was opened");
            }
            self.disk.crash();
            self.disk.restart();
        }
        let (journal, worker, told) = self.open_full().unwrap_or_else(|| {
            let (mut journal, mut worker) =
                self.open_file().unwrap_or_else(|error| panic!("{error}"));
            let mut told = Told::default();
            journal.recover(&mut |recovered| told.take(recovered));
            worker.begin().unwrap_or_else(|error| panic!("{error}"));
            (journal, worker, told)
        });
        self.cover.add("told: sends", told.sends.len() as u64);
        let numbers: Vec<_> =
            told.sends.values().flat_map(|it| it.records.iter().map(|it| it.seq)).collect();
        log::info!("told up to {}: {numbers:?} {:?}", told.last, told.gone);
        let having = |left| told.sends.values().filter(|send| send.left == left).count() as u64;
        self.cover.add("told: expired", having(None));
        self.cover.add("told: expired while no server looked", having(Some(0)));
        let now = self.now();
        self.model.reopen(&told, now, &mut self.cover);
        self.next = told.last + 1 + self.rng.below(3);
        self.model.given = told.last;
        self.begin_epoch(&journal, told.last);
        self.open = Some(Open { journal, worker, waiting: Vec::new(), is_given_up: false });
    }

    /// Opens the file on a disk that may have no room for a page. Returns `None` if that cannot be, because the file
    /// has to be made.
    fn open_full(&mut self) -> Option<(StoreJournal, Worker, Told)> {
        if !self.rng.percent(20) {
            return None;
        }
        let room = Some(self.disk.size() + self.rng.below(20_000));
        self.disk.set_faults(Faults { room, ..Faults::default() });
        let mut told = Told::default();
        let opened = self.open_file().and_then(|(mut journal, mut worker)| {
            journal.recover(&mut |recovered| told.take(recovered));
            worker.begin().map(|()| (journal, worker))
        });
        match opened {
            Ok((journal, worker)) => {
                self.was_full = true;
                Some((journal, worker, told))
            }
            Err(error) => {
                assert_eq!(error.kind(), OpenErrorKind::NoRoom, "{error}");
                self.cover.count("files that could not be made on a full disk");
                self.disk.set_faults(Faults::default());
                None
            }
        }
    }

    /// Checks the names of epochs and the ends of earlier ones.
    fn begin_epoch(&mut self, journal: &StoreJournal, last: u64) {
        self.cover.count("epochs");
        let name = journal.epoch().to_owned();
        assert!(!self.epochs.contains(&name), "an epoch has a name of its own: {name}");
        assert!(
            (1..=32).contains(&name.len())
                && name.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit()),
            "{name}"
        );
        if let Some((late, end)) = self.model.unbegun.take()
            && journal.end_of_epoch("u1", &late).is_some()
        {
            self.model.begin_epoch(late, end);
        }
        if journal.health() == Health::Full {
            self.cover.count("epochs that were begun on a full disk");
            self.model.unbegun = Some((name.clone(), last));
            let present = self.model.epoch.clone();
            self.model.ended.extend(present.map(|it| (it, last)));
        } else {
            self.model.begin_epoch(name.clone(), last);
        }
        for (epoch, end) in &self.model.ended {
            let told = journal.end_of_epoch("u1", epoch);
            assert_eq!(told, Some(*end), "the end of {epoch} is remembered");
        }
        for epoch in &self.epochs {
            if !self.model.ended.iter().any(|(known, _)| known == epoch) {
                let told = journal.end_of_epoch("u1", epoch);
                assert_eq!(told, None, "the file knows nothing of {epoch}");
            }
        }
        if self.model.unbegun.is_some() && self.model.epoch.is_some() {
            self.model.ended.pop();
        }
        self.epochs.push(name);
    }

    /// The store reads the head of a file and makes new files by itself, so what it looks at is beside
    /// the disk, too.
    fn put_real_file(&self) {
        let path = self.path();
        for suffix in ["", "-journal", "-wal"] {
            let mut name = path.clone().into_os_string();
            name.push(suffix);
            match self.disk.read(name.to_str().expect("UTF-8")) {
                Some(data) if !data.is_empty() => {
                    std::fs::write(&name, data).expect("room");
                    let file = std::fs::File::options().write(true).open(&name).expect("a file");
                    file.set_modified(SystemTime::UNIX_EPOCH).expect("a file of this process");
                }
                _ => {
                    let _ = std::fs::remove_file(&name);
                }
            }
        }
        self.disk.make(path.to_str().expect("UTF-8"));
    }

    /// Opens the file. The store writes the write-ahead log again by itself, beside the disk; if it does,
    /// the disk does so.
    fn open_file(&self) -> Result<(StoreJournal, Worker), OpenError> {
        self.put_real_file();
        let mut log = self.path().into_os_string();
        log.push("-wal");
        // SQLite opens the file on the disk, and the store looks at the one beside it before.
        let was_there = std::fs::metadata(&log).is_ok();
        let opened = open(self.store_config());
        let modified = std::fs::metadata(&log).and_then(|it| it.modified());
        if was_there && modified.is_ok_and(|it| it > SystemTime::UNIX_EPOCH) {
            self.disk.write_again(log.to_str().expect("UTF-8"));
        }
        opened
    }
}
