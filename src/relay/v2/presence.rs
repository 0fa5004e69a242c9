//! The presence of users: which users are online, for clients that ask and for those that watch.
//!
//! A user is offline five seconds after the last connection has ended. A watcher gets at most one
//! frame a second about a user, however often that user comes and goes. Only users who are watched,
//! and users who have just left, are remembered.

use std::collections::{BTreeMap, HashMap, VecDeque};

use compact_str::CompactString;
use foldhash::quality::RandomState;

/// How long a user stays online after the last connection has ended, in milliseconds.
pub const OFFLINE_AFTER_MS: u64 = 5_000;
/// The shortest time between two frames about one user to a watcher, in milliseconds.
const TOLD_EVERY_MS: u64 = 1_000;
/// The most users whose changes are reported to one connection.
pub const MOST_WATCHED: usize = 100;
/// The most users whose changes are reported to all connections together, each connection counted.
const MOST_WATCHES: usize = 100_000;
/// The most users who are remembered because they have just left.
const MOST_LEFT: usize = 10_000;

/// Users who are watched, and users who have just left.
#[derive(Debug, Default)]
pub struct Presence {
    watched: HashMap<CompactString, Watched, RandomState>,
    watches: usize,
    /// The watched users whose presence is to be checked, by the time of the check.
    due: BTreeMap<(u64, CompactString), ()>,
    /// The users who have left in the last five seconds, and when they left.
    left: VecDeque<(u64, CompactString)>,
    /// The time at which each of these users left last.
    left_at: HashMap<CompactString, u64, RandomState>,
    /// Whether other nodes have to be asked, because users may be on any of them. Then `left` is not used.
    pub is_shared: bool,
    /// The users whom this node begins or ceases to watch, until the other nodes are told.
    changes: Vec<(CompactString, bool)>,
}

/// A user who is watched.
#[derive(Debug)]
struct Watched {
    links: Vec<u32>,
    /// The presence that was last reported to the watchers, and when; `None` if they have yet to get the
    /// answer to their question.
    told: Option<bool>,
    told_at: u64,
    /// What the other nodes have said last.
    heard: Option<bool>,
    /// When the presence of the user is checked next.
    due: Option<u64>,
}

/// A change of presence that is reported to watchers.
#[derive(Debug, PartialEq, Eq)]
pub struct Change {
    pub user: CompactString,
    pub online: bool,
    pub links: Vec<u32>,
}

impl Presence {
    /// The number of watched users, each connection that watches them counted.
    pub fn watches(&self) -> usize {
        self.watches
    }

    /// Whether nobody is watched.
    #[cfg(test)]
    pub fn is_idle(&self) -> bool {
        self.watched.is_empty()
    }

    /// Notes that the last connection of a user has ended.
    pub fn left(&mut self, user: &str, now: u64) {
        self.forget_left(now);
        if self.left.len() >= MOST_LEFT {
            self.forget_first();
        }
        self.left.push_back((now, user.into()));
        self.left_at.insert(user.into(), now);
        self.schedule(user, now + OFFLINE_AFTER_MS);
    }

    /// Notes that a user has a connection again.
    pub fn came(&mut self, user: &str, now: u64) {
        self.schedule(user, now);
    }

    fn forget_left(&mut self, now: u64) {
        while self.left.front().is_some_and(|(at, _)| now >= at + OFFLINE_AFTER_MS) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        // A user who has left again since then stays remembered.
        if let Some((at, user)) = self.left.pop_front()
            && self.left_at.get(&user) == Some(&at)
        {
            self.left_at.remove(&user);
        }
    }

    /// Whether a user without a connection has left within the last five seconds.
    pub fn has_just_left(&mut self, user: &str, now: u64) -> bool {
        self.forget_left(now);
        self.left_at.contains_key(user)
    }

    /// Makes a link watch a user, who is `online` now. Returns false if there is no room.
    pub fn watch(&mut self, user: &str, link: u32, online: bool, now: u64) -> bool {
        if self.watches >= MOST_WATCHES {
            return false;
        }
        let (is_shared, changes) = (self.is_shared, &mut self.changes);
        let watched = self.watched.entry(user.into()).or_insert_with(|| {
            if is_shared {
                changes.push((user.into(), true));
            }
            let told = (!is_shared).then_some(online);
            Watched { links: Vec::new(), told, told_at: now, heard: None, due: None }
        });
        if !watched.links.contains(&link) {
            watched.links.push(link);
            self.watches += 1;
        }
        true
    }

    /// Makes a link stop watching a user.
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
            if self.is_shared {
                self.changes.push((user.into(), false));
            }
        }
    }

    /// Takes the users whom this node begins or ceases to watch.
    pub fn take_changes(&mut self) -> Vec<(CompactString, bool)> {
        std::mem::take(&mut self.changes)
    }

    /// The other nodes say whether a watched user is online.
    pub fn heard(&mut self, user: &str, is_online: bool, now: u64) {
        let Some(watched) = self.watched.get_mut(user) else { return };
        watched.heard = Some(is_online);
        if watched.told.is_some_and(|told| told != is_online) {
            self.schedule(user, now);
        }
    }

    /// What is known of a watched user from other nodes.
    pub fn known(&self, user: &str) -> Option<bool> {
        self.watched.get(user)?.heard
    }

    /// A watcher gets an answer about a user.
    pub fn answered(&mut self, user: &str, is_online: bool, now: u64) {
        if let Some(watched) = self.watched.get_mut(user)
            && watched.told.is_none()
        {
            (watched.told, watched.told_at) = (Some(is_online), now);
            if watched.heard.is_some_and(|heard| heard != is_online) {
                self.schedule(user, now);
            }
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

    /// The time at which the presence of a user is checked next.
    pub fn next_due(&self) -> Option<u64> {
        self.due.keys().next().map(|(at, _)| *at)
    }

    /// Removes and returns one change that is due; `None` when none is left. `is_online` says
    /// whether a user has a connection.
    pub fn pop_due(&mut self, now: u64, is_online: impl Fn(&str) -> bool) -> Option<Change> {
        loop {
            let ((at, user), ()) = self.due.pop_first()?;
            if at > now {
                self.due.insert((at, user), ());
                return None;
            }
            let online = is_online(&user);
            let left = self.left_at.get(&user).copied();
            let Some(watched) = self.watched.get_mut(&user) else { continue };
            watched.due = None;
            let online = watched.heard.unwrap_or(online);
            let offline_at = left.map_or(0, |left| left + OFFLINE_AFTER_MS);
            if !online && now < offline_at {
                self.schedule(&user, offline_at);
                continue;
            }
            if watched.told != Some(online) {
                (watched.told, watched.told_at) = (Some(online), now);
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
    fn a_user_who_comes_back_within_five_seconds_is_not_reported_as_offline() {
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
    fn a_user_who_comes_and_goes_is_reported_once_a_second_at_most() {
        let mut presence = Presence::default();
        presence.watch("bob", 1, false, 0);
        let mut told = 0;
        for step in 0..100 {
            let now = 5_000 + step * 100;
            // The delay of five seconds is left out, so these are the most changes that can be.
            presence.left.clear();
            presence.left_at.clear();
            presence.came("bob", now);
            told += changes(&mut presence, now, step % 2 == 0).len();
        }
        assert!((1..=10).contains(&told), "{told}");
    }

    #[test]
    fn a_user_whom_no_link_watches_any_more_takes_no_memory() {
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
