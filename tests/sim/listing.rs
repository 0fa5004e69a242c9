//! Walks over all users, page by page, while users come and go.

use longlink::sim::Rng;
use std::collections::{BTreeMap, BTreeSet};

use super::actors::Sim;

/// A walk that has begun.
pub struct Walk {
    /// Where the next page begins.
    from: u64,
    /// The users who were online when it began, and have been since.
    always: BTreeSet<String>,
    /// How often each user was in a page so far.
    seen: BTreeMap<String, u32>,
    pages: u64,
}

impl Walk {
    pub fn begin(sim: &mut Sim) -> Self {
        sim.handler_mut().shadow.gone_offline.clear();
        let always = sim.handler_mut().shadow.online();
        Walk { from: 0, always, seen: BTreeMap::new(), pages: 0 }
    }

    /// Fetches the next page. Returns nothing after the last page. Then every user who was online
    /// throughout must have been in exactly one page.
    pub fn go_on(mut self, sim: &mut Sim, rng: &mut Rng) -> Option<Self> {
        let most = rng.range(1, 4);
        let online = sim.handler_mut().shadow.online();
        let (page, next) = sim.hub.users(self.from, most);
        let names: Vec<String> = page.into_iter().map(str::to_owned).collect();
        for user in names {
            assert!(online.contains(&user), "{user:?} is listed and not online");
            *self.seen.entry(user).or_default() += 1;
        }
        self.pages += 1;
        if let Some(next) = next {
            self.from = next;
            return Some(self);
        }
        let Walk { always, seen, pages, .. } = self;
        let shadow = &mut sim.handler_mut().shadow;
        for user in always.difference(&shadow.gone_offline) {
            let count = seen.get(user).copied().unwrap_or(0);
            assert_eq!(count, 1, "{user:?} was online throughout, and listed so often");
        }
        let churn = !shadow.gone_offline.is_empty() && pages > 1;
        shadow.cover.add("listings during churn", u64::from(churn));
        None
    }
}
