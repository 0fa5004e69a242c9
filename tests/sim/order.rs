//! Several connections of one user can end in one call of the hub, in an order that
//! the hub may choose: connections that are due in the same tick of the wheel, or that
//! hold too much memory. Which of the user's other connections is active afterwards
//! depends on that order. The shadow tries all orders, and one of them has to explain
//! what the hub shows.

use std::collections::BTreeSet;

use longlink::{ConnId, Context};

use super::shadow::Shadow;

/// How many orders are tried at most. Without a fault in the hub a few are enough.
const MOST_TRIES: usize = 200_000;

/// What decides which connection of a user becomes active: the state of one of them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub id: ConnId,
    pub device: String,
    pub heard: u64,
    pub parked: bool,
}

/// Takes one connection out of a user's. If it was active, the parked one of the same
/// device that was heard last becomes active, else the one heard last of all devices
/// that have no active one. Returns which one that is.
pub fn take_out(places: &mut Vec<Place>, id: ConnId) -> Option<ConnId> {
    let at = places.iter().position(|place| place.id == id)?;
    let gone = places.remove(at);
    if gone.parked {
        return None;
    }
    let has_active =
        |device: &str| places.iter().any(|place| !place.parked && place.device == device);
    let parked = || places.iter().enumerate().filter(|(_, place)| place.parked);
    let heard = |(_, place): &(usize, &Place)| place.heard;
    let same = parked().filter(|(_, place)| place.device == gone.device).max_by_key(heard);
    let other = || parked().filter(|(_, place)| !has_active(&place.device)).max_by_key(heard);
    let next = same.or_else(other).map(|(at, _)| at)?;
    places[next].parked = false;
    Some(places[next].id)
}

impl Shadow {
    /// Returns the connections of a user in the order in which they opened.
    pub fn places(&self, user: &str) -> Vec<Place> {
        let place = |id: ConnId| {
            let conn = &self.conns[&id];
            let (device, heard) = (conn.device.clone(), conn.heard);
            Place { id, device, heard, parked: conn.parked.is_some() }
        };
        self.members(user).into_iter().map(place).collect()
    }

    /// Puts connections that the hub has ended in one call into an order that explains
    /// which connections of their users are active now.
    pub fn in_order(&mut self, hub: &Context, ended: Vec<ConnId>) -> Vec<ConnId> {
        let mut ordered = Vec::new();
        let users: BTreeSet<String> = ended.iter().map(|id| self.conns[id].user.clone()).collect();
        for user in users {
            let of_user: Vec<_> =
                ended.iter().copied().filter(|id| self.conns[id].user == user).collect();
            if of_user.len() < 2 || user.is_empty() {
                ordered.extend(of_user);
                continue;
            }
            let mut search = Search { hub, seen: BTreeSet::new(), order: Vec::new() };
            let found = search.explains(self.places(&user), &of_user);
            assert!(found, "no order of these ends explains who is active: {of_user:?}");
            self.cover.count("several connections of a user ended at once");
            self.tally.uncertain_promotions += of_user.len() as u64;
            ordered.extend(search.order);
        }
        ordered
    }
}

struct Search<'a> {
    hub: &'a Context,
    seen: BTreeSet<Vec<Place>>,
    order: Vec<ConnId>,
}

impl Search<'_> {
    fn explains(&mut self, places: Vec<Place>, left: &[ConnId]) -> bool {
        if left.is_empty() {
            return places.iter().all(|place| self.hub.is_parked(place.id) == place.parked);
        }
        assert!(self.seen.len() < MOST_TRIES, "too many orders to try: {left:?}");
        if !self.seen.insert(places.clone()) {
            return false;
        }
        for (at, &id) in left.iter().enumerate() {
            let mut after = places.clone();
            take_out(&mut after, id);
            let mut rest = left.to_vec();
            rest.remove(at);
            self.order.push(id);
            if self.explains(after, &rest) {
                return true;
            }
            self.order.pop();
        }
        false
    }
}
