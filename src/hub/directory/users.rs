//! The user index: from a user id to the connections of that user.
//!
//! An id is stored once, in its connection's record; the index stores slots, and hashes the id in
//! the record. A user with one connection takes one entry of four bytes and a control byte; a user
//! with several connections also has a list.
//!
//! The index consists of many small tables; the hash of an id says which one. So a table that grows
//! moves only few users. And all users have an order that does not change when others come or go:
//! the order of their hashes. Listings use this order.

use crate::hub::table::slots::Slot;
use std::hash::BuildHasher;

use compact_str::CompactString;
use foldhash::quality::RandomState;
use hashbrown::HashTable;
use slab::Slab;

use crate::hub::table::Table;

/// An entry of the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat(u32);

/// The meaning of a [`Seat`].
pub enum Seated {
    /// The slot of the user's only connection.
    Alone(Slot),
    /// The key of the list of the user's connections.
    Several(u32),
}

const SEVERAL: u32 = 1 << 31;

impl Seat {
    pub fn alone(index: Slot) -> Self {
        Seat(index.key())
    }

    pub fn several(key: u32) -> Self {
        Seat(key | SEVERAL)
    }

    pub fn get(self) -> Seated {
        if self.0 & SEVERAL == 0 {
            Seated::Alone(Slot::from_key(self.0))
        } else {
            Seated::Several(self.0 & !SEVERAL)
        }
    }
}

/// One of several connections of a user.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    pub index: Slot,
    /// When another connection replaced it, in milliseconds; `None` while it is active.
    pub parked: Option<u64>,
}

/// The connections of a user that has more than one.
#[derive(Debug, Default)]
pub struct Crowd {
    pub members: Vec<Member>,
    /// When a connection was last ended to make room, for each device.
    pub evictions: Vec<(CompactString, u64)>,
}

/// The most users for which a table has room, if as many users are online as the index was made
/// for.
const IN_A_TABLE: usize = 400;

#[derive(Debug)]
pub struct Users {
    /// The tables: a power of two of them, at least two, in the order of their hashes.
    tables: Box<[HashTable<Seat>]>,
    /// How many bits of a hash are not used to choose its table.
    shift: u32,
    count: usize,
    pub crowds: Slab<Crowd>,
    /// The hash is keyed, because peers choose the ids.
    hasher: RandomState,
}

type Conns = Table;

impl Users {
    /// Makes an index with room for `users` users. It may have more.
    pub fn with_capacity(users: usize) -> Self {
        let tables = users.div_ceil(IN_A_TABLE).next_power_of_two().max(2);
        let each = users.div_ceil(tables);
        Users {
            tables: (0..tables).map(|_| HashTable::with_capacity(each)).collect(),
            shift: u64::BITS - tables.ilog2(),
            count: 0,
            crowds: Slab::new(),
            hasher: RandomState::default(),
        }
    }

    pub fn len(&self) -> usize {
        self.count
    }

    /// Returns the index of the table for a hash. The highest and the lowest bits are left out,
    /// because the tables themselves use them.
    #[inline]
    fn table(&self, hash: u64) -> usize {
        (order(hash) >> self.shift) as usize
    }

    /// Returns the entry of a user. It is inlined where messages are sent, which saves a tenth of a
    /// message's cost; other callers use [`Context::find_seat`](crate::Context). It is compiled once
    /// for each `Caller`, because a closure cannot be forced inline: the look-up in the table is
    /// inlined only where the closure has no other caller.
    #[inline(always)]
    #[expect(clippy::extra_unused_type_parameters)]
    pub fn find<Caller>(&self, user: &str, conns: &Conns) -> Option<Seat> {
        let hash = self.hasher.hash_one(user);
        let table = &self.tables[self.table(hash)];
        table.find(hash, |seat| user_of(*seat, &self.crowds, conns) == user).copied()
    }

    /// Adds a user who is not in the index.
    pub fn seat(&mut self, index: Slot, conns: &Conns) {
        let hash = self.hasher.hash_one(conns[index].user.as_str());
        let table = self.table(hash);
        let Users { tables, crowds, hasher, .. } = self;
        let rehash = |seat: &Seat| hasher.hash_one(user_of(*seat, crowds, conns));
        tables[table].insert_unique(hash, Seat::alone(index), rehash);
        self.count += 1;
    }

    /// Replaces the entry of a user.
    pub fn reseat(&mut self, user: &str, from: Seat, to: Seat) {
        let hash = self.hasher.hash_one(user);
        let table = self.table(hash);
        if let Some(seat) = self.tables[table].find_mut(hash, |seat| *seat == from) {
            *seat = to;
        }
    }

    /// Removes the entry of a user who has gone.
    pub fn unseat(&mut self, user: &str, seat: Seat) {
        let hash = self.hasher.hash_one(user);
        let table = self.table(hash);
        if let Ok(entry) = self.tables[table].find_entry(hash, |entry| *entry == seat) {
            entry.remove();
            self.count -= 1;
        }
    }

    /// Returns the ids of users from the place `from` on, in the order of their hashes, at most
    /// `most` of them (at least one), and the place of the next user; `None` at the end. A user's
    /// place never changes while the index exists, whoever comes and goes and from whichever
    /// device.
    pub fn page<'a>(
        &'a self,
        from: u64,
        most: usize,
        conns: &'a Conns,
    ) -> (Vec<&'a str>, Option<u64>) {
        self.find_some(from, |_| true, (most, usize::MAX), conns)
    }

    /// Does the same with those users for whose ids `matches` returns true. After about `looked` users it
    /// looks at no further ones, so that a page may have fewer users than `most`, or none, and yet a next one.
    pub fn find_some<'a>(
        &'a self,
        from: u64,
        mut matches: impl FnMut(&str) -> bool,
        (most, looked): (usize, usize),
        conns: &'a Conns,
    ) -> (Vec<&'a str>, Option<u64>) {
        let mut page: Vec<(u64, &str)> = Vec::new();
        let (mut seen, mut rest) = (0_usize, None);
        let first = (from >> self.shift) as usize;
        for (at, table) in self.tables.iter().enumerate().skip(first) {
            if at > first && seen >= looked {
                rest = Some((at as u64) << self.shift);
                break;
            }
            seen += table.len();
            let begin = page.len();
            page.extend(table.iter().filter_map(|seat| {
                let user = user_of(*seat, &self.crowds, conns);
                if !matches(user) {
                    return None;
                }
                let place = order(self.hasher.hash_one(user));
                (place >= from).then_some((place, user))
            }));
            page[begin..].sort_unstable();
            if page.len() > most {
                break;
            }
        }
        // Two users whose hashes are equal, if there ever are such users, are in one page.
        let same = |end: &usize| page.get(*end).is_some_and(|it| it.0 == page[end - 1].0);
        let end = (most.max(1)..).find(|end| !same(end)).unwrap_or(page.len());
        let next = page.get(end).map(|(place, _)| *place).or(rest);
        page.truncate(end);
        (page.into_iter().map(|(_, user)| user).collect(), next)
    }

    pub fn iter(&self) -> impl Iterator<Item = Seat> + '_ {
        self.tables.iter().flatten().copied()
    }
}

/// Returns the place of a hash in the order of users. hashbrown distinguishes the entries of a
/// table by the seven highest bits, so these bits come last.
#[inline]
fn order(hash: u64) -> u64 {
    hash.rotate_left(7)
}

/// Returns the user id of an entry.
fn user_of<'a>(seat: Seat, crowds: &Slab<Crowd>, conns: &'a Conns) -> &'a str {
    let index = match seat.get() {
        Seated::Alone(index) => Some(index),
        Seated::Several(key) => crowds[key as usize].members.first().map(|member| member.index),
    };
    index.map_or("", |index| conns[index].user.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::{Config, Context};
    use std::time::Instant;

    #[test]
    fn tables_divide_all_hashes_in_their_order() {
        for users in [0, 1, 400, 401, 10_000, 1_000_000] {
            let index = Users::with_capacity(users);
            assert!(index.tables.len().is_power_of_two());
            assert!(index.tables.len() * IN_A_TABLE >= users);
            assert_eq!(index.table(0), 0);
            assert_eq!(index.table(u64::MAX), index.tables.len() - 1);
            let step = u64::MAX / 1_000;
            let tables = (0..1_000).map(|n| index.table((n * step).rotate_right(7)));
            assert!(tables.collect::<Vec<_>>().is_sorted());
        }
    }

    #[test]
    fn an_empty_index_has_one_empty_page() {
        let hub = Context::new(Config::default(), Instant::now());
        assert_eq!(hub.users(0, 10), (Vec::new(), None));
        assert_eq!(hub.users(u64::MAX, 10), (Vec::new(), None));
        assert_eq!(hub.find_users(0, |_| true, 10, 0), (Vec::new(), Some(1 << 59)));
        assert_eq!(hub.find_users(0, |_| true, 10, 1), (Vec::new(), None));
    }
}
