//! Who is online, for clients that ask and for those that watch.
//!
//! A user is offline five seconds after the last connection has gone. A watcher gets at most one
//! frame a second about a user, whatever that one does. Only users who are watched, and those who have
//! just left, are remembered.

use std::collections::{BTreeMap, HashMap, VecDeque};

use compact_str::CompactString;
use foldhash::quality::RandomState;

/// How long a user is still online whose last connection has gone, in milliseconds.
pub const OFFLINE_AFTER_MS: u64 = 5_000;
/// A watcher is told of a user once in this time, in milliseconds.
const TOLD_EVERY_MS: u64 = 1_000;
/// The most users whose changes are reported to one connection.
pub const MOST_WATCHED: usize = 100;
/// The most of all connections together.
const MOST_WATCHES: usize = 100_000;
/// The most users who are remembered because they have just left.
const MOST_LEFT: usize = 10_000;

/// Users who are watched, and users who have just left.
#[derive(Debug, Default)]
pub struct Presence {
    watched: HashMap<CompactString, Watched, RandomState>,
    watches: usize,
    /// Who is looked at next, and when.
    due: BTreeMap<(u64, CompactString), ()>,
    /// Who has left in the last five seconds, and when.
    left: VecDeque<(u64, CompactString)>,
}

/// A user who is watched.
#[derive(Debug)]
struct Watched {
    links: Vec<u32>,
    /// What the watchers were told last, and when.
    told: bool,
    told_at: u64,
    /// When the user is looked at.
    due: Option<u64>,
}

/// A change that watchers are told of.
#[derive(Debug, PartialEq, Eq)]
pub struct Change {
    pub user: CompactString,
    pub online: bool,
    pub links: Vec<u32>,
}

impl Presence {
    /// How many users are watched, each of those who watch counted.
    pub fn watches(&self) -> usize {
        self.watches
    }

    /// Whether nobody is watched.
    #[cfg(test)]
    pub fn is_idle(&self) -> bool {
        self.watched.is_empty()
    }

    /// The last connection of a user has gone.
    pub fn left(&mut self, user: &str, now: u64) {
        self.forget_left(now);
        if self.left.len() >= MOST_LEFT {
            self.left.pop_front();
        }
        self.left.push_back((now, user.into()));
        self.schedule(user, now + OFFLINE_AFTER_MS);
    }

    /// A user has a connection again.
    pub fn came(&mut self, user: &str, now: u64) {
        self.schedule(user, now);
    }

    fn forget_left(&mut self, now: u64) {
        while self.left.front().is_some_and(|(at, _)| now >= at + OFFLINE_AFTER_MS) {
            self.left.pop_front();
        }
    }

    /// Whether a user who has no connection has left only just now.
    pub fn has_just_left(&mut self, user: &str, now: u64) -> bool {
        self.forget_left(now);
        self.left.iter().any(|(_, left)| left == user)
    }

    /// A link watches a user, who is `online` now. Returns false when there is no room.
    pub fn watch(&mut self, user: &str, link: u32, online: bool, now: u64) -> bool {
        if self.watches >= MOST_WATCHES {
            return false;
        }
        let watched = self.watched.entry(user.into()).or_insert_with(|| Watched {
            links: Vec::new(),
            told: online,
            told_at: now,
            due: None,
        });
        if !watched.links.contains(&link) {
            watched.links.push(link);
            self.watches += 1;
        }
        true
    }

    /// A link does not watch a user any more.
    pub fn unwatch(&mut self, user: &str, link: u32) {
        let Some(watched) = self.watched.get_mut(user) else { return };
        let Some(at) = watched.links.iter().position(|known| *known == link) else { return };
        watched.links.swap_remove(at);
        self.watches -= 1;
        if watched.links.is_empty() {
            if let Some(due) = watched.due {
                self.due.remove(&(due, user.into()));
            }
            self.watched.remove(user);
        }
    }

    fn schedule(&mut self, user: &str, at: u64) {
        let Some(watched) = self.watched.get_mut(user) else { return };
        let at = at.max(watched.told_at + TOLD_EVERY_MS);
        if watched.due.is_some_and(|due| due <= at) {
            return;
        }
        if let Some(due) = watched.due.replace(at) {
            self.due.remove(&(due, user.into()));
        }
        self.due.insert((at, user.into()), ());
    }

    /// When somebody is looked at next.
    pub fn next_due(&self) -> Option<u64> {
        self.due.keys().next().map(|(at, _)| *at)
    }

    /// Takes out one change that is due. `is_online` says whether a user has a connection. To be
    /// called until it returns `None`.
    pub fn pop_due(&mut self, now: u64, is_online: impl Fn(&str) -> bool) -> Option<Change> {
        loop {
            let ((at, user), ()) = self.due.pop_first()?;
            if at > now {
                self.due.insert((at, user), ());
                return None;
            }
            let online = is_online(&user);
            let left = self.left.iter().rev().find(|(_, left)| *left == user).map(|(at, _)| *at);
            let Some(watched) = self.watched.get_mut(&user) else { continue };
            watched.due = None;
            let offline_at = left.map_or(0, |left| left + OFFLINE_AFTER_MS);
            if !online && now < offline_at {
                self.schedule(&user, offline_at);
                continue;
            }
            if watched.told != online {
                (watched.told, watched.told_at) = (online, now);
                let links = watched.links.clone();
                return Some(Change { user, online, links });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(presence: &mut Presence, now: u64, online: bool) -> Vec<bool> {
        std::iter::from_fn(|| presence.pop_due(now, |_| online)).map(|it| it.online).collect()
    }

    #[test]
    fn a_watcher_is_told_that_a_user_is_offline_after_five_seconds() {
        let mut presence = Presence::default();
        assert!(presence.watch("bob", 1, true, 0));
        presence.left("bob", 10_000);
        assert_eq!(presence.next_due(), Some(15_000));
        assert!(presence.has_just_left("bob", 14_999));
        assert_eq!(changes(&mut presence, 14_999, false), [false; 0]);
        assert_eq!(changes(&mut presence, 15_000, false), [false]);
        presence.came("bob", 20_000);
        assert_eq!(changes(&mut presence, 20_000, true), [true]);
        assert_eq!(presence.next_due(), None);
    }

    #[test]
    fn who_comes_back_in_time_was_never_away() {
        let mut presence = Presence::default();
        presence.watch("bob", 1, true, 0);
        presence.left("bob", 10_000);
        presence.came("bob", 12_000);
        presence.left("bob", 13_000);
        assert_eq!(changes(&mut presence, 15_000, false), [false; 0]);
        assert_eq!(presence.next_due(), Some(18_000));
        assert_eq!(changes(&mut presence, 18_000, false), [false]);
    }

    #[test]
    fn a_user_who_comes_and_goes_is_told_of_once_a_second_at_most() {
        let mut presence = Presence::default();
        presence.watch("bob", 1, false, 0);
        let mut told = 0;
        for step in 0..100 {
            let now = 5_000 + step * 100;
            // Offline only counts after five seconds, so this is the worst that can be.
            presence.left.clear();
            presence.came("bob", now);
            told += changes(&mut presence, now, step % 2 == 0).len();
        }
        assert!((1..=10).contains(&told), "{told}");
    }

    #[test]
    fn nothing_is_left_of_users_whom_nobody_watches_any_more() {
        let mut presence = Presence::default();
        for link in 0..3 {
            presence.watch("bob", link, true, 0);
            presence.watch("bob", link, true, 0);
        }
        presence.left("bob", 10);
        (0..3).for_each(|link| presence.unwatch("bob", link));
        presence.unwatch("bob", 7);
        assert!(presence.is_idle() && presence.due.is_empty() && presence.watches == 0);
    }
}
