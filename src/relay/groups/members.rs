//! Which users are in which group. Each connection of a member is put into the hub's group of the
//! same name, at once or when it opens.
//!
//! The groups are in memory. A journal that keeps more than the process has them, too, and after a
//! restart they are there again; with any other journal the backend has to put the users in again.

// Without a backend's interface nobody lists members.
#![cfg_attr(not(feature = "backend"), allow(dead_code))]

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;

use compact_str::CompactString;
use foldhash::quality::RandomState;

use crate::hub::{ConnId, Context, MAX_GROUPS};

/// Why a user cannot be put into a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// The user is already in [`MAX_GROUPS`] groups.
    User,
    /// The server already has as many memberships as it may have.
    Server,
}

/// The users of each group, and the groups of each user.
#[derive(Debug)]
pub struct Members {
    groups: HashMap<CompactString, BTreeSet<CompactString>, RandomState>,
    users: HashMap<CompactString, Vec<CompactString>, RandomState>,
    count: usize,
    most: usize,
}

/// The largest number of memberships, unless another one is [set](Members::limit).
const MOST_MEMBERSHIPS: usize = 100_000;

impl Default for Members {
    fn default() -> Self {
        let (groups, users) = (HashMap::default(), HashMap::default());
        Members { groups, users, count: 0, most: MOST_MEMBERSHIPS }
    }
}

impl Members {
    /// Sets how many memberships there may be. Existing memberships stay, even if there are more.
    pub fn limit(&mut self, most: usize) {
        self.most = most;
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Puts a user, and all connections of this user, into a group.
    pub fn add(&mut self, cx: &mut Context, group: &str, user: &str) -> Result<(), Full> {
        let of_user = self.groups_of(user);
        if !of_user.iter().any(|name| name == group) {
            if of_user.len() >= MAX_GROUPS {
                return Err(Full::User);
            }
            if self.count >= self.most {
                return Err(Full::Server);
            }
            self.insert(group, user);
        }
        for conn in cx.connections_of(user) {
            put(cx, conn, group);
        }
        Ok(())
    }

    /// Makes a user a member again whom an earlier run has kept as one. There are no connections yet.
    pub fn recover(&mut self, group: &str, user: &str) {
        let of_user = self.groups_of(user);
        if of_user.len() < MAX_GROUPS && !of_user.iter().any(|name| name == group) {
            self.insert(group, user);
        }
    }

    fn insert(&mut self, group: &str, user: &str) {
        self.count += 1;
        self.users.entry(user.into()).or_default().push(group.into());
        self.groups.entry(group.into()).or_default().insert(user.into());
    }

    /// Takes a user, and all connections of this user, out of a group.
    pub fn remove(&mut self, cx: &mut Context, group: &str, user: &str) {
        let Some(of_user) = self.users.get_mut(user) else { return };
        let Some(at) = of_user.iter().position(|name| name == group) else { return };
        of_user.swap_remove(at);
        if of_user.is_empty() {
            self.users.remove(user);
        }
        if let Some(members) = self.groups.get_mut(group) {
            members.remove(user);
            if members.is_empty() {
                self.groups.remove(group);
            }
        }
        self.count -= 1;
        for conn in cx.connections_of(user) {
            cx.leave(conn, group);
        }
    }

    /// Puts a connection that has opened into the groups of its user.
    pub fn join(&self, cx: &mut Context, conn: ConnId) {
        let Some(user) = cx.user(conn) else { return };
        for group in self.groups_of(user) {
            put(cx, conn, group);
        }
    }

    /// Whether a user is in a group.
    pub fn contains(&self, group: &str, user: &str) -> bool {
        self.groups_of(user).iter().any(|name| name == group)
    }

    /// The users of a group, in their order.
    pub fn of(&self, group: &str) -> impl Iterator<Item = &CompactString> {
        self.groups.get(group).into_iter().flatten()
    }

    pub fn groups_of<'a>(&'a self, user: &str) -> &'a [CompactString] {
        self.users.get(user).map_or(&[], |groups| groups)
    }

    /// Returns how many users are in a group.
    pub fn size(&self, group: &str) -> usize {
        self.groups.get(group).map_or(0, BTreeSet::len)
    }

    /// Returns some of a group's users in the order of their ids, beginning after `after`, and
    /// whether there are more.
    pub fn page(&self, group: &str, after: Option<&str>, most: usize) -> (Vec<&str>, bool) {
        let Some(members) = self.groups.get(group) else { return (Vec::new(), false) };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = members.range::<str, _>((from, Bound::Unbounded)).map(|user| &**user);
        let page: Vec<&str> = rest.by_ref().take(most).collect();
        (page, rest.next().is_some())
    }
}

fn put(cx: &mut Context, conn: ConnId, group: &str) {
    if let Err(error) = cx.join(conn, group) {
        // This happens if the groups of the ticket, or those of the host, already take all places of
        // the connection.
        log::warn!("a connection could not be put into a group of its user: {error}");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::hub::Config;

    #[test]
    fn memberships_are_bounded_and_pages_follow_each_other() {
        let mut cx = Context::new(Config::default(), Instant::now());
        let mut members = Members::default();
        members.limit(100);
        for number in 0..MAX_GROUPS {
            assert_eq!(members.add(&mut cx, &format!("g{number}"), "a"), Ok(()));
        }
        assert_eq!(members.add(&mut cx, "one more", "a"), Err(Full::User));
        assert_eq!(members.add(&mut cx, "g0", "a"), Ok(()), "is in it already");
        for number in MAX_GROUPS..100 {
            assert_eq!(members.add(&mut cx, "g0", &format!("u{number}")), Ok(()));
        }
        assert_eq!(members.add(&mut cx, "g0", "z"), Err(Full::Server));
        assert_eq!(members.size("g0"), 37);

        let (mut all, mut after) = (Vec::<&str>::new(), None);
        loop {
            let (page, more) = members.page("g0", after, 10);
            all.extend(&page);
            after = page.last().copied();
            if !more {
                break;
            }
        }
        assert_eq!(all.len(), 37);
        assert!(all.is_sorted() && all[0] == "a");

        members.remove(&mut cx, "g0", "nobody");
        for number in 0..MAX_GROUPS {
            members.remove(&mut cx, &format!("g{number}"), "a");
        }
        for number in MAX_GROUPS..100 {
            members.remove(&mut cx, "g0", &format!("u{number}"));
        }
        assert!(members.is_empty() && members.groups.is_empty() && members.users.is_empty());
    }
}
