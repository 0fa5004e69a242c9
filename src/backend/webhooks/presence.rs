//! Which users are online, as webhooks tell the backend (their outbox keeps this): a user who comes back within some seconds counts
//! as online all the time. Time is an argument.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use compact_str::CompactString;
use foldhash::quality::RandomState;

/// The users of all connections, and the users whose last connection has just ended.
#[derive(Debug)]
pub struct Presence {
    offline_after: Duration,
    users: HashMap<CompactString, Standing, RandomState>,
    /// The users who are leaving, by serial, which is the order in which they left. A user who
    /// comes back is removed.
    leaving: BTreeMap<u64, Leaving>,
    max_leaving: usize,
    next_serial: u64,
    /// When the process came back from its last absence.
    returned: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// The user has this many connections.
    Here(u32),
    /// The user has no connection; the serial is the key of the entry in `leaving`.
    Leaving(u64),
}

/// What was known of a user whose connection opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// The user has another connection, which may be about to end.
    Here,
    /// The user's last connection ended at this time, and nobody was told.
    Left(Instant),
    Offline,
}

/// A user whose last connection has ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Leaving {
    pub user: CompactString,
    /// The device of that last connection.
    pub device: CompactString,
    pub left: Instant,
}

impl Presence {
    /// Reserves room for `users` users, so that no memory is allocated in the middle of a turn;
    /// there may be more users. At most `users` users may be leaving at once: when there are more,
    /// the user who left first is offline at once.
    pub fn new(users: usize, offline_after: Duration) -> Self {
        Presence {
            offline_after,
            users: HashMap::with_capacity_and_hasher(users, RandomState::default()),
            leaving: BTreeMap::new(),
            max_leaving: users.max(1),
            next_serial: 0,
            returned: None,
        }
    }

    /// Called when a connection of a user has opened. Returns what was known before.
    pub fn opened(&mut self, user: &str) -> Before {
        match self.users.get_mut(user) {
            Some(Standing::Here(connections)) => {
                *connections += 1;
                Before::Here
            }
            Some(standing) => {
                let before = std::mem::replace(standing, Standing::Here(1));
                let Standing::Leaving(serial) = before else { return Before::Here };
                let leaving = self.leaving.remove(&serial);
                leaving.map_or(Before::Here, |leaving| Before::Left(leaving.left))
            }
            None => {
                self.users.insert(user.into(), Standing::Here(1));
                Before::Offline
            }
        }
    }

    /// Called when a connection of a user has ended.
    pub fn closed(&mut self, user: &str, device: &str, now: Instant) {
        let Some(standing) = self.users.get_mut(user) else { return };
        match standing {
            Standing::Here(1) => {
                let serial = self.next_serial;
                self.next_serial += 1;
                *standing = Standing::Leaving(serial);
                let (user, device) = (user.into(), device.into());
                self.leaving.insert(serial, Leaving { user, device, left: now });
            }
            Standing::Here(connections) => *connections -= 1,
            Standing::Leaving(_) => {}
        }
    }

    /// Called when the process was stopped, or the machine suspended, until `now`. Users who were
    /// leaving could not come back during this time, so their waiting time begins anew.
    pub fn come_back(&mut self, now: Instant) {
        self.returned = Some(now);
    }

    /// Returns when [`Presence::pop_due`] has a user to return. Before this time it has none,
    /// unless too many users are leaving.
    pub fn next_due(&self) -> Option<Instant> {
        let left = self.leaving.values().next()?.left;
        Some(self.returned.map_or(left, |returned| left.max(returned)) + self.offline_after)
    }

    /// Takes out one user who is offline from now on, if one is due.
    pub fn pop_due(&mut self, now: Instant) -> Option<Leaving> {
        let due = self.next_due()?;
        if now < due && self.leaving.len() <= self.max_leaving {
            return None;
        }
        let (_, leaving) = self.leaving.pop_first()?;
        self.users.remove(&leaving.user);
        Some(leaving)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(5);

    fn gone(presence: &mut Presence, now: Instant) -> Vec<String> {
        let due = std::iter::from_fn(|| presence.pop_due(now));
        due.map(|leaving| leaving.user.into()).collect()
    }

    #[test]
    fn a_user_is_offline_five_seconds_after_the_last_device_left() {
        let (mut presence, start) = (Presence::new(10, WAIT), Instant::now());
        assert_eq!(presence.opened("A"), Before::Offline);
        assert_eq!(presence.opened("A"), Before::Here, "a second device");
        presence.closed("A", "phone", start);
        assert_eq!(presence.next_due(), None);
        presence.closed("A", "pad", start + WAIT);
        assert_eq!(presence.next_due(), Some(start + 2 * WAIT));
        assert_eq!(presence.pop_due(start + 2 * WAIT - Duration::from_millis(1)), None);
        let leaving = presence.pop_due(start + 2 * WAIT).unwrap();
        assert_eq!((&*leaving.user, &*leaving.device, leaving.left), ("A", "pad", start + WAIT));
        assert_eq!(presence.next_due(), None);
        assert_eq!(presence.opened("A"), Before::Offline, "online again");
    }

    #[test]
    fn a_user_who_comes_back_in_time_is_never_reported_as_offline() {
        let (mut presence, start) = (Presence::new(10, WAIT), Instant::now());
        let second = Duration::from_secs(1);
        assert_eq!(presence.opened("A"), Before::Offline);
        presence.closed("A", "", start);
        assert_eq!(presence.opened("A"), Before::Left(start));
        presence.closed("A", "", start + second);
        assert_eq!(gone(&mut presence, start + WAIT), [""; 0], "the later leave counts");
        assert_eq!(gone(&mut presence, start + WAIT + second), ["A"]);
        assert!(presence.users.is_empty() && presence.leaving.is_empty());
    }

    #[test]
    fn the_end_of_an_old_connection_after_the_new_one_has_opened_changes_nothing() {
        let (mut presence, start) = (Presence::new(10, WAIT), Instant::now());
        assert_eq!(presence.opened("A"), Before::Offline);
        assert_eq!(presence.opened("A"), Before::Here);
        presence.closed("A", "", start);
        assert_eq!(gone(&mut presence, start + 2 * WAIT), [""; 0]);
    }

    #[test]
    fn when_too_many_users_leave_the_oldest_are_offline_at_once() {
        let (mut presence, start) = (Presence::new(3, WAIT), Instant::now());
        for user in ["A", "B", "C", "D", "E"] {
            assert_eq!(presence.opened(user), Before::Offline);
            presence.closed(user, "", start);
        }
        assert_eq!(gone(&mut presence, start), ["A", "B"]);
        assert_eq!(gone(&mut presence, start + WAIT), ["C", "D", "E"]);
    }

    #[test]
    fn a_user_whose_connection_flaps_makes_nobody_else_offline() {
        let (mut presence, start) = (Presence::new(3, WAIT), Instant::now());
        for user in ["A", "B"] {
            presence.opened(user);
            presence.closed(user, "", start);
        }
        for _ in 0..1_000 {
            presence.opened("flapping");
            presence.closed("flapping", "", start);
            assert!(presence.leaving.len() <= 3, "entries of those who have come back");
            assert_eq!(gone(&mut presence, start), [""; 0]);
        }
        assert_eq!(gone(&mut presence, start + WAIT), ["A", "B", "flapping"]);
    }
}
