//! The nodes that there are, as each has described itself when it renewed its lease.

use redis::Value;

use crate::engine::Node as Seen;

use super::core::Core;
use super::lease::LEASE_MS;
use super::reply;

/// A node, as it has described itself.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    life: u64,
    /// When this was read, and how long its lease ran then; `None` if it had run out.
    read: u64,
    left: Option<u64>,
    about: Seen,
}

/// All nodes that Redis knows.
#[derive(Debug, Default)]
pub struct Nodes(Vec<Known>);

impl Nodes {
    /// Reads life, rest of the lease and description of each node.
    pub fn read(core: &Core, values: &[Value]) -> Self {
        let read = |it: &[Value]| {
            let [life, left, about] = it else { return None };
            let left = u64::try_from(reply::int(left)?).ok();
            Some(Known {
                life: u64::try_from(reply::int(life)?).ok()?,
                read: core.now,
                left,
                about: described(reply::text(about)?),
            })
        };
        Nodes(values.chunks(3).filter_map(read).collect())
    }

    /// The lives whose leases have run out.
    pub fn dead(&self) -> Vec<u64> {
        let dead = self.0.iter().filter(|node| node.left.is_none());
        dead.map(|node| node.life).collect()
    }

    /// The nodes that there are.
    pub fn seen(&self, core: &Core) -> Vec<Seen> {
        let alive = self.0.iter().filter(|node| node.left.is_some());
        alive
            .map(|node| {
                let before = LEASE_MS.saturating_sub(node.left.unwrap_or(0));
                let since = core.now - node.read;
                let age = node.about.age + (before + since) / 1_000;
                Seen { life: node.life, age, renewed_ms: before + since, ..node.about.clone() }
            })
            .collect()
    }

    /// How many users are online on other nodes.
    pub fn online_elsewhere(&self, core: &Core) -> u64 {
        let others = self.0.iter().filter(|node| node.life != core.life && node.left.is_some());
        others.map(|node| node.about.users).sum()
    }

    /// The lives and names of the other nodes.
    pub fn others(&self, core: &Core) -> impl Iterator<Item = (u64, &str)> {
        let life = core.life;
        let others = self.0.iter().filter(move |node| node.life != life && node.left.is_some());
        others.map(|node| (node.life, &*node.about.name))
    }

    /// How many nodes there are.
    pub fn count(&self) -> u64 {
        self.0.iter().filter(|node| node.left.is_some()).count() as u64
    }
}

/// Reads how a node describes itself. What is missing is empty.
fn described(about: &str) -> Seen {
    let mut lines = about.split('\n');
    let mut next = || lines.next().unwrap_or_default();
    let (name, version) = (next().into(), next().into());
    let mut number = || next().parse().unwrap_or(0);
    let (age, connections, users) = (number(), number(), number());
    let (lag_us, round_trip_us) = (number(), number());
    Seen { name, version, age, connections, users, lag_us, round_trip_us, ..Seen::default() }
}
