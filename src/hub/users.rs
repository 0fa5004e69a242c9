//! The user index: from a user id to the connections of that user.
//!
//! An id is stored once, in its connection; the index holds slots and hashes
//! the id out of the record. A user with one connection costs one entry of
//! four bytes and a control byte; only one with more has a list.

use std::hash::BuildHasher;

use compact_str::CompactString;
use foldhash::quality::RandomState;
use hashbrown::HashTable;
use slab::Slab;

use crate::conn::Connection;

/// An entry of the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat(u32);

/// What a [`Seat`] says.
pub enum Seated {
    /// The slot of the user's only connection.
    Alone(u32),
    /// The key of the list of the user's connections.
    Several(u32),
}

const SEVERAL: u32 = 1 << 31;

impl Seat {
    pub fn alone(index: u32) -> Self {
        Seat(index)
    }

    pub fn several(key: u32) -> Self {
        Seat(key | SEVERAL)
    }

    pub fn get(self) -> Seated {
        if self.0 & SEVERAL == 0 {
            Seated::Alone(self.0)
        } else {
            Seated::Several(self.0 & !SEVERAL)
        }
    }
}

/// One of several connections of a user.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    pub index: u32,
    /// When another took its place; `None` while it is active.
    pub parked: Option<u64>,
}

/// The connections of a user that has more than one.
#[derive(Debug, Default)]
pub struct Crowd {
    pub members: Vec<Member>,
    /// When a connection was last ended to make room, by device.
    pub evictions: Vec<(CompactString, u64)>,
}

#[derive(Debug)]
pub struct Users {
    seats: HashTable<Seat>,
    pub crowds: Slab<Crowd>,
    /// Keyed, since peers choose the ids.
    hasher: RandomState,
}

type Conns = Slab<Connection>;

impl Users {
    pub fn with_capacity(users: usize) -> Self {
        Users {
            seats: HashTable::with_capacity(users),
            crowds: Slab::new(),
            hasher: RandomState::default(),
        }
    }

    pub fn len(&self) -> usize {
        self.seats.len()
    }

    #[inline]
    pub fn find(&self, user: &str, conns: &Conns) -> Option<Seat> {
        let hash = self.hasher.hash_one(user);
        self.seats.find(hash, |seat| user_of(*seat, &self.crowds, conns) == user).copied()
    }

    /// Seats a user who is not seated yet.
    pub fn seat(&mut self, index: u32, conns: &Conns) {
        let Users { seats, crowds, hasher } = self;
        let hash = hasher.hash_one(conns[index as usize].user.as_str());
        let rehash = |seat: &Seat| hasher.hash_one(user_of(*seat, crowds, conns));
        seats.insert_unique(hash, Seat::alone(index), rehash);
    }

    /// Replaces the entry of a user.
    pub fn reseat(&mut self, user: &str, from: Seat, to: Seat) {
        let hash = self.hasher.hash_one(user);
        if let Some(seat) = self.seats.find_mut(hash, |seat| *seat == from) {
            *seat = to;
        }
    }

    /// Removes the entry of a user who has gone.
    pub fn unseat(&mut self, user: &str, seat: Seat) {
        let hash = self.hasher.hash_one(user);
        if let Ok(entry) = self.seats.find_entry(hash, |entry| *entry == seat) {
            entry.remove();
        }
    }

    /// The ids of users from the place `from` on, for a walk over all of them in several
    /// pages: `most` of them at most, and `places` looked at. Returns where to go on;
    /// `None` at the end. A user who stays keeps the place: the index never grows beyond
    /// what was reserved for it.
    pub fn page<'a>(
        &'a self,
        from: usize,
        most: usize,
        places: usize,
        conns: &'a Conns,
    ) -> (Vec<&'a str>, Option<usize>) {
        // All of them at once, if they are few: the index may be large and nearly empty.
        if from == 0 && self.seats.len() <= most {
            return (self.iter().map(|seat| user_of(seat, &self.crowds, conns)).collect(), None);
        }
        let end = from.saturating_add(places).min(self.seats.num_buckets());
        let mut users = Vec::new();
        for place in from..end {
            if let Some(seat) = self.seats.get_bucket(place) {
                if users.len() == most {
                    return (users, Some(place));
                }
                users.push(user_of(*seat, &self.crowds, conns));
            }
        }
        (users, (end < self.seats.num_buckets()).then_some(end))
    }

    pub fn iter(&self) -> impl Iterator<Item = Seat> + '_ {
        self.seats.iter().copied()
    }
}

/// The id of whoever sits there.
fn user_of<'a>(seat: Seat, crowds: &Slab<Crowd>, conns: &'a Conns) -> &'a str {
    let index = match seat.get() {
        Seated::Alone(index) => Some(index),
        Seated::Several(key) => crowds[key as usize].members.first().map(|member| member.index),
    };
    index.map_or("", |index| conns[index as usize].user.as_str())
}
