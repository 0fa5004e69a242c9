//! The keys of a server: values with their types and times, and the history of the last seconds, so that a
//! restart or a failover can lose the tail of what was written.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use super::reply::{Reply, wrong_type};

pub type Bytes = Vec<u8>;

/// The id of an entry of a stream.
pub type Id = (u64, u64);

/// How long the past can be returned to.
const HISTORY_MILLIS: u64 = 15_000;

#[derive(Clone, Debug)]
pub enum Kept {
    Text(Bytes),
    Hash(BTreeMap<Bytes, Bytes>),
    Set(BTreeSet<Bytes>),
    Sorted(Sorted),
    Stream(Stream),
}

/// A sorted set.
#[derive(Clone, Debug, Default)]
pub struct Sorted {
    pub scores: BTreeMap<Bytes, f64>,
    pub order: BTreeSet<(Score, Bytes)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score(pub f64);

impl Eq for Score {}

impl PartialOrd for Score {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Score {
    fn cmp(&self, other: &Self) -> Ordering {
        // No score is NaN, and both zeros are the same one.
        self.0.partial_cmp(&other.0).unwrap_or(Ordering::Equal)
    }
}

impl Sorted {
    /// Sets a score, and returns the one that the member had.
    pub fn insert(&mut self, member: &[u8], score: f64) -> Option<f64> {
        let old = self.remove(member);
        self.scores.insert(member.to_vec(), score);
        self.order.insert((Score(score), member.to_vec()));
        old
    }

    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let score = self.scores.remove(member)?;
        self.order.remove(&(Score(score), member.to_vec()));
        Some(score)
    }
}

#[derive(Clone, Debug, Default)]
pub struct Stream {
    pub entries: BTreeMap<Id, Rc<Vec<Bytes>>>,
    pub last: Id,
}

#[derive(Clone, Debug)]
pub struct Entry {
    pub kept: Kept,
    /// When it expires, in milliseconds since 1970.
    pub until: Option<u64>,
}

/// What one command or script has changed.
struct Change {
    at: u64,
    /// What keys held before, in the order of the changes.
    before: Vec<(Bytes, Option<Rc<Entry>>)>,
}

#[derive(Default)]
pub struct Data {
    keys: BTreeMap<Bytes, Rc<Entry>>,
    /// The time that the running command sees.
    pub now: u64,
    /// The database that commands mean, which is the first byte of each key.
    pub database: u8,
    open: Vec<(Bytes, Option<Rc<Entry>>)>,
    history: VecDeque<Change>,
}

impl Data {
    fn name(&self, key: &[u8]) -> Bytes {
        let mut name = vec![self.database];
        name.extend_from_slice(key);
        name
    }

    pub fn get(&self, key: &[u8]) -> Option<&Entry> {
        let entry = self.keys.get(&self.name(key))?;
        entry.until.is_none_or(|until| until > self.now).then_some(&**entry)
    }

    /// Returns a key's value to be changed, or `None` if there is none.
    pub fn change(&mut self, key: &[u8]) -> Option<&mut Entry> {
        self.get(key)?;
        let name = self.name(key);
        let entry = self.keys.get_mut(&name)?;
        self.open.push((name, Some(Rc::clone(entry))));
        Some(Rc::make_mut(entry))
    }

    pub fn put(&mut self, key: &[u8], kept: Kept, until: Option<u64>) {
        let name = self.name(key);
        let old = self.keys.insert(name.clone(), Rc::new(Entry { kept, until }));
        self.open.push((name, old));
    }

    /// Removes a key, and returns what it held.
    pub fn remove(&mut self, key: &[u8]) -> Option<Rc<Entry>> {
        let is_there = self.get(key).is_some();
        let name = self.name(key);
        let old = self.keys.remove(&name)?;
        self.open.push((name, Some(Rc::clone(&old))));
        is_there.then_some(old)
    }

    /// Returns the keys of this database that have not expired.
    pub fn keys(&self) -> Vec<Bytes> {
        let names = self.keys.iter().filter(|(name, _)| name.first() == Some(&self.database));
        let live = names.filter(|(_, it)| it.until.is_none_or(|until| until > self.now));
        live.map(|(name, _)| name[1..].to_vec()).collect()
    }

    pub fn clear(&mut self) {
        for (name, old) in std::mem::take(&mut self.keys) {
            self.open.push((name, Some(old)));
        }
    }

    /// Whether the command or script that runs has changed something.
    pub fn is_changing(&self) -> bool {
        !self.open.is_empty()
    }

    /// Ends a command or a script, which is kept as a whole or not at all.
    pub fn commit(&mut self, at: u64) -> bool {
        let is_change = !self.open.is_empty();
        if is_change {
            self.history.push_back(Change { at, before: std::mem::take(&mut self.open) });
        }
        while self.history.front().is_some_and(|it| it.at + HISTORY_MILLIS < at) {
            self.history.pop_front();
        }
        is_change
    }

    /// Returns to what was there at a time, and says how many changes that took back.
    pub fn go_back(&mut self, to: u64) -> usize {
        let mut count = 0;
        while self.history.back().is_some_and(|it| it.at > to) {
            let change = self.history.pop_back().expect("it is there");
            count += 1;
            for (name, old) in change.before.into_iter().rev() {
                match old {
                    Some(old) => self.keys.insert(name, old),
                    None => self.keys.remove(&name),
                };
            }
        }
        count
    }

    /// Returns a copy without history, which another server starts with.
    pub fn copy(&self) -> Self {
        Data { keys: self.keys.clone(), now: self.now, ..Data::default() }
    }

    /// Returns a copy as it was at a time, and how many changes it lacks.
    pub fn copy_at(&self, to: u64) -> (Self, usize) {
        let mut copy = self.copy();
        let mut count = 0;
        for change in self.history.iter().rev().take_while(|it| it.at > to) {
            count += 1;
            for (name, old) in change.before.iter().rev() {
                match old {
                    Some(old) => copy.keys.insert(name.clone(), Rc::clone(old)),
                    None => copy.keys.remove(name),
                };
            }
        }
        (copy, count)
    }
}

/// Functions for one type of values: one to look at it, and one that changes it and forgets it when it is empty.
macro_rules! typed {
    ($look:ident, $edit:ident, $kind:ident, $type:ty, $is_empty:expr) => {
        pub fn $look(&self, key: &[u8]) -> Result<Option<&$type>, Reply> {
            match self.get(key).map(|entry| &entry.kept) {
                None => Ok(None),
                Some(Kept::$kind(value)) => Ok(Some(value)),
                Some(_) => Err(wrong_type()),
            }
        }

        pub fn $edit<T>(
            &mut self,
            key: &[u8],
            edit: impl FnOnce(&mut $type) -> T,
        ) -> Result<T, Reply> {
            if self.$look(key)?.is_none() {
                let mut value = <$type>::default();
                let result = edit(&mut value);
                if !$is_empty(&value) {
                    self.put(key, Kept::$kind(value), None);
                }
                return Ok(result);
            }
            let entry = self.change(key).expect("it is there");
            let Kept::$kind(value) = &mut entry.kept else { unreachable!("the type was checked") };
            let result = edit(value);
            if $is_empty(value) {
                self.remove(key);
            }
            Ok(result)
        }
    };
}

impl Data {
    typed!(text, edit_text, Text, Bytes, |_: &Bytes| false);
    typed!(hash, edit_hash, Hash, BTreeMap<Bytes, Bytes>, BTreeMap::is_empty);
    typed!(set, edit_set, Set, BTreeSet<Bytes>, BTreeSet::is_empty);
    typed!(sorted, edit_sorted, Sorted, Sorted, |it: &Sorted| it.scores.is_empty());
    // A stream that has lost its entries still knows its last id.
    typed!(stream, edit_stream, Stream, Stream, |_: &Stream| false);
}
