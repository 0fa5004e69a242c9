//! The files of a disk: what a running program reads, and what is certain to be there after a crash.

use std::collections::BTreeMap;

use longlink::sim::Rng;

/// A change of a file that was not synced. A crash keeps it, drops it or keeps a part of it.
#[derive(Clone, Debug)]
pub enum Change {
    /// These bytes were written at this place.
    Write(u64, Vec<u8>),
    /// The file was cut, or made longer, to this length.
    Truncate(u64),
}

/// How often something fails, in 10,000 calls, and how many bytes there is room for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// How many of 10,000 writes fail with EIO after a part of the bytes was written.
    pub write: u64,
    /// How many of 10,000 syncs fail with EIO. What the failed sync did not write is never written.
    pub sync: u64,
    /// How many of 10,000 reads fail with EIO.
    pub read: u64,
    /// How many bytes all files together may have. A write that needs more fails with ENOSPC.
    pub room: Option<u64>,
}

/// How often each thing has happened.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub writes: u64,
    pub syncs: u64,
    pub crashes: u64,
    /// Sectors that were written and not synced, and that a crash has kept, dropped, or kept in part.
    pub kept: u64,
    pub dropped: u64,
    pub torn: u64,
    /// A later write to a file was kept, and an earlier one was dropped.
    pub reordered: u64,
    /// Files whose creation or removal was undone by a crash.
    pub uncreated: u64,
    pub unremoved: u64,
    pub failed_writes: u64,
    pub failed_syncs: u64,
    pub failed_reads: u64,
    pub full: u64,
}

/// A file. Its changes since the last sync are in the order of the calls.
#[derive(Clone, Debug, Default)]
pub struct File {
    /// What a running program reads.
    pub data: Vec<u8>,
    /// What was synced of it.
    certain: Vec<u8>,
    unsynced: Vec<Change>,
    /// Whether the folder was synced since the file was created. Otherwise a crash may undo that.
    is_named: bool,
    /// Whether the folder is synced when the file is synced for the first time. SQLite's layer for Unix
    /// does so for journals.
    syncs_folder: bool,
}

impl File {
    /// Returns a file whose whole content is synced.
    pub fn synced(data: Vec<u8>) -> Self {
        File { certain: data.clone(), data, is_named: true, ..File::default() }
    }

    pub fn change(&mut self, change: Change) {
        apply(&mut self.data, &change);
        self.unsynced.push(change);
    }

    /// Returns what is there after a crash. A sector has `unit` bytes, and `rate` per cent of the changes
    /// are kept.
    fn survive(&self, rng: &mut Rng, counts: &mut Counts, unit: u64, rate: u64) -> Option<Vec<u8>> {
        if !self.is_named && !rng.percent(rate) {
            counts.uncreated += 1;
            return None;
        }
        let mut data = self.certain.clone();
        let mut has_dropped = false;
        for change in &self.unsynced {
            let Change::Write(at, bytes) = change else {
                if rng.percent(rate) {
                    apply(&mut data, change);
                }
                continue;
            };
            let mut done = 0;
            while done < bytes.len() {
                let from = at + done as u64;
                let length = ((unit - from % unit) as usize).min(bytes.len() - done);
                let mut sector = &bytes[done..done + length];
                done += length;
                if !rng.percent(rate) {
                    (counts.dropped, has_dropped) = (counts.dropped + 1, true);
                    continue;
                }
                if rate < 100 && rng.percent(3) {
                    counts.torn += 1;
                    sector = &sector[..rng.index(length)];
                }
                counts.kept += 1;
                counts.reordered += u64::from(has_dropped);
                write(&mut data, from, sector);
            }
        }
        Some(data)
    }
}

fn write(data: &mut Vec<u8>, at: u64, bytes: &[u8]) {
    let (from, to) = (at as usize, at as usize + bytes.len());
    if data.len() < to {
        data.resize(to, 0);
    }
    data[from..to].copy_from_slice(bytes);
}

fn apply(data: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write(at, bytes) => write(data, *at, bytes),
        Change::Truncate(length) => data.resize(*length as usize, 0),
    }
}

/// All files of a disk. An open file that was removed is still there for the program that has opened it.
#[derive(Clone, Debug, Default)]
pub struct Files {
    pub all: Vec<File>,
    pub names: BTreeMap<String, usize>,
    /// The files whose removal is not certain.
    removed: BTreeMap<String, usize>,
}

impl Files {
    pub fn create(&mut self, name: Option<&str>, syncs_folder: bool) -> usize {
        self.all.push(File { syncs_folder, ..File::default() });
        let id = self.all.len() - 1;
        if let Some(name) = name {
            self.names.insert(name.to_owned(), id);
        }
        id
    }

    pub fn put(&mut self, name: &str, data: Vec<u8>) {
        let id = self.create(Some(name), false);
        self.all[id] = File::synced(data);
        self.removed.remove(name);
    }

    pub fn sync(&mut self, id: usize) {
        let file = &mut self.all[id];
        for change in file.unsynced.drain(..) {
            apply(&mut file.certain, &change);
        }
        if std::mem::take(&mut file.syncs_folder) {
            self.sync_folder();
        }
    }

    /// Makes sure that a crash undoes no creation and no removal.
    fn sync_folder(&mut self) {
        self.removed.clear();
        for id in self.names.values() {
            self.all[*id].is_named = true;
        }
    }

    pub fn get(&self, name: &str) -> Option<&File> {
        self.names.get(name).map(|id| &self.all[*id])
    }

    /// Removes a name. Returns whether there was one.
    pub fn remove(&mut self, name: &str, is_synced: bool) -> bool {
        let Some(id) = self.names.remove(name) else { return false };
        self.removed.insert(name.to_owned(), id);
        if is_synced {
            self.sync_folder();
        }
        true
    }

    /// The bytes of all files.
    pub fn size(&self) -> u64 {
        self.names.values().map(|id| self.all[*id].data.len() as u64).sum()
    }

    /// A sync has failed: some of what it should have written is there, and the rest is never written. A
    /// program may go on reading what it wrote, or not.
    pub fn fail_sync(&mut self, id: usize, rng: &mut Rng) {
        let rate = *rng.pick(&[0, 50, 90]);
        let file = &mut self.all[id];
        let is_named = std::mem::replace(&mut file.is_named, true);
        let certain = file.survive(rng, &mut Counts::default(), 4096, rate).unwrap_or_default();
        file.unsynced.clear();
        if rng.percent(50) {
            file.data.clone_from(&certain);
        }
        (file.certain, file.is_named) = (certain, is_named);
    }

    /// The machine has crashed and was started again.
    pub fn crash(&mut self, rng: &mut Rng, counts: &mut Counts) {
        counts.crashes += 1;
        let unit = *rng.pick(&[512, 4096]);
        // At 100, only the program has crashed, and all that was written is there.
        let rate = *rng.pick(&[0, 10, 50, 90, 100]);
        let mut after = Files::default();
        for (name, id) in &self.names {
            if let Some(data) = self.all[*id].survive(rng, counts, unit, rate) {
                after.put(name, data);
            }
        }
        for (name, id) in &self.removed {
            let file = &self.all[*id];
            if rate == 100 || after.names.contains_key(name) || !file.is_named {
                continue;
            }
            if rng.percent(50)
                && let Some(data) = file.survive(rng, counts, unit, rate)
            {
                counts.unremoved += 1;
                after.put(name, data);
            }
        }
        *self = after;
    }
}
