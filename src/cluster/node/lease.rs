//! The life of a node: its lease, the nodes that there are, and what dead ones have left.
//!
//! A node has registered at each Redis under a number, its life, for ten seconds, and renews this lease every
//! three. A node that could not do so in time takes itself for dead: it begins a new life, and all its
//! connections enter again. Each node looks at the leases of all when it renews its own, and clears up
//! what a dead one has left; a lock makes one node do that.
//!
//! A node also publishes something to itself, because a connection can look healthy and deliver nothing.

use compact_str::CompactString;
use redis::Value;

use super::core::Core;
use super::known::Nodes;
use super::parts::PartThen;
use super::routes::Routes;
use super::{Script, payload, reply};

/// How long a lease runs, in milliseconds.
pub const LEASE_MS: u64 = 10_000;
const LEASE: &str = "10000";
/// How often a lease is renewed, and how often a node publishes to itself, in milliseconds.
const RENEW_MS: u64 = 3_000;
/// What a node publishes to itself has to come back within so many milliseconds.
const PROBE_MS: u64 = 5_000;
/// The most users of a dead node that one script clears up.
const SWEPT_AT_ONCE: &str = "200";

/// Whether the name of a node is its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The answer has not come yet.
    Waiting,
    /// The node is registered.
    Ready,
    /// Another node has the name, and its lease has not run out.
    Taken,
}

/// The life of a node.
#[derive(Debug)]
pub struct Lease {
    name: String,
    version: String,
    began: Option<u64>,
    shards: Vec<OfShard>,
    /// The nodes that there are.
    pub nodes: Nodes,
    claim: Claim,
    ending: Ending,
    /// How many dead nodes this one has cleared up.
    pub swept: u64,
    /// How long the last exchange with the first Redis took, in microseconds.
    pub round_trip_us: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    No,
    /// The connections leave.
    Leaving,
    /// The leases are given back; so many of these commands are not answered.
    GivingBack(usize),
    Ended,
}

/// The lease at one Redis.
#[derive(Debug, Default)]
struct OfShard {
    is_registered: bool,
    /// When the command was sent by which the lease was renewed last.
    renewed: u64,
    /// When the next command is sent.
    due: u64,
    is_open: bool,
    /// Whether both channels of this life are subscribed.
    is_subscribed: bool,
    /// Whether they have been subscribed before in this life.
    was_subscribed: bool,
    /// Dead nodes that are being cleared up.
    sweeps: Vec<u64>,
    probe: Probe,
}

/// What a node publishes to itself.
#[derive(Debug, Default)]
struct Probe {
    number: u64,
    /// When it was sent, if it has not come back.
    sent: Option<u64>,
    due: u64,
    lag_us: u64,
    /// The connection of the subscriber delivers nothing.
    is_deaf: bool,
}

/// What the reply to one of these commands is for.
#[derive(Debug)]
pub enum LeaseThen {
    /// A life begins.
    Register { life: u64, at: u64 },
    /// The lease is renewed.
    Renew { life: u64, at: u64 },
    /// A part of what a dead node has left is cleared up.
    Sweep(u64),
    /// The node has published to itself.
    Probe,
    /// The lease is given back.
    GiveBack,
}

impl Lease {
    pub fn new(name: &str, version: &str, shards: usize) -> Self {
        Lease {
            name: name.to_owned(),
            version: version.to_owned(),
            began: None,
            shards: (0..shards).map(|_| OfShard::default()).collect(),
            nodes: Nodes::default(),
            claim: Claim::Waiting,
            ending: Ending::No,
            swept: 0,
            round_trip_us: 0,
        }
    }

    /// Whether the name of this node is its own.
    pub fn claim(&self) -> Claim {
        self.claim
    }

    /// Whether connections may enter at a Redis: the life is known there, and its channels are subscribed.
    pub fn is_ready(&self, shard: usize) -> bool {
        let it = &self.shards[shard];
        it.is_registered && it.is_subscribed
    }

    /// A connection to Redis was made.
    pub fn connected(&mut self, core: &Core, shard: usize) {
        let it = &mut self.shards[shard];
        it.due = core.now;
        it.is_open = false;
        it.sweeps.clear();
        it.probe.sent = None;
    }

    /// The channels of the present life are subscribed, or are not any more. Returns whether they are
    /// subscribed for another time, so that something may have been missed.
    #[must_use]
    pub fn subscribed(&mut self, core: &Core, shard: usize, is_subscribed: bool) -> bool {
        let it = &mut self.shards[shard];
        let was_subscribed = it.was_subscribed;
        it.was_subscribed |= is_subscribed;
        it.is_subscribed = is_subscribed;
        it.probe.sent = None;
        it.probe.due = core.now;
        is_subscribed && was_subscribed
    }

    /// There may be another node: the next renewal, which tells of all nodes, is due now.
    pub fn look(&mut self, shard: usize, now: u64) {
        if let Some(it) = self.shards.get_mut(shard) {
            it.due = it.due.min(now);
        }
    }

    /// Whether the subscriber has to connect again; true once for each time.
    pub fn takes_deaf(&mut self, shard: usize) -> bool {
        std::mem::take(&mut self.shards[shard].probe.is_deaf)
    }

    /// Sends what is due. Returns whether the life is over.
    #[must_use]
    pub fn pump(&mut self, core: &mut Core, routes: &Routes) -> bool {
        for shard in 0..self.shards.len() {
            let it = &self.shards[shard];
            if it.is_registered && core.now >= it.renewed + LEASE_MS {
                return true;
            }
            if !core.is_up(shard) || self.is_giving_back() {
                continue;
            }
            if core.now >= it.due && !it.is_open {
                self.renew(core, shard, routes);
            }
            self.probe(core, shard);
        }
        false
    }

    fn is_giving_back(&self) -> bool {
        matches!(self.ending, Ending::GivingBack(_) | Ending::Ended)
    }

    fn renew(&mut self, core: &mut Core, shard: usize, routes: &Routes) {
        let about = self.about(core, routes);
        let it = &mut self.shards[shard];
        it.is_open = true;
        it.due = core.now + RENEW_MS;
        let (life, at) = (core.life, core.now);
        let number = life.to_string();
        match it.is_registered {
            true => {
                let then = PartThen::Lease(LeaseThen::Renew { life, at }).into();
                core.run_words(shard, Script::Renew, &[&number, &about, LEASE], then);
            }
            false => {
                let then = PartThen::Lease(LeaseThen::Register { life, at }).into();
                let epoch = core.ordinal(shard).to_string();
                let words = [&*self.name, &number, &about, LEASE, &epoch];
                core.run_words(shard, Script::Register, &words, then);
            }
        }
    }

    /// How this node describes itself: one line each.
    fn about(&self, core: &Core, routes: &Routes) -> String {
        let age = self.began.map_or(0, |began| (core.now - began) / 1_000);
        let (connections, users) = (routes.connections(), routes.users());
        let (lag, trip) = (self.lag_us(), self.round_trip_us);
        let Lease { name, version, .. } = self;
        format!("{name}\n{version}\n{age}\n{connections}\n{users}\n{lag}\n{trip}")
    }

    /// How long a message of the node to itself took the last time, in microseconds: the longest of all
    /// paths.
    pub fn lag_us(&self) -> u64 {
        self.shards.iter().map(|it| it.probe.lag_us).max().unwrap_or(0)
    }

    fn probe(&mut self, core: &mut Core, shard: usize) {
        let it = &mut self.shards[shard];
        if !it.is_registered || !it.is_subscribed {
            return;
        }
        if it.probe.sent.is_some_and(|at| core.now >= at + PROBE_MS) {
            log::warn!(
                "the connection on which other nodes are heard delivers nothing, and is made again"
            );
            it.probe.sent = None;
            it.probe.is_deaf = true;
            it.is_subscribed = false;
            return;
        }
        if it.probe.sent.is_none() && core.now >= it.probe.due {
            it.probe.number += 1;
            it.probe.sent = Some(core.now);
            it.probe.due = core.now + RENEW_MS;
            let payload = payload::probe(core.life, it.probe.number);
            core.publish_to(shard, core.life, &payload, PartThen::Lease(LeaseThen::Probe).into());
        }
    }

    /// What this node has published to itself has come back.
    pub fn probe_came(&mut self, core: &Core, shard: usize, life: u64, number: u64) {
        let Some(it) = self.shards.get_mut(shard) else { return };
        if life == core.life
            && number == it.probe.number
            && let Some(sent) = it.probe.sent.take()
        {
            it.probe.lag_us = (core.now - sent) * 1_000;
        }
    }

    /// When something is due next.
    pub fn next_due(&self, core: &Core) -> Option<u64> {
        let mut due = None;
        for (shard, it) in self.shards.iter().enumerate() {
            if it.is_registered {
                due = earlier(due, it.renewed + LEASE_MS);
            }
            if core.is_up(shard) && !self.is_giving_back() {
                if !it.is_open {
                    due = earlier(due, it.due);
                }
                if it.is_registered && it.is_subscribed {
                    let probe = it.probe.sent.map_or(it.probe.due, |at| at + PROBE_MS);
                    due = earlier(due, probe);
                }
            }
        }
        due
    }

    /// Redis has answered; `None` if the outcome is unknown, or if Redis has refused it. Returns whether the life is
    /// over.
    #[must_use]
    pub fn replied(
        &mut self,
        core: &mut Core,
        shard: usize,
        then: LeaseThen,
        value: Option<&Value>,
        routes: &mut Routes,
    ) -> bool {
        match then {
            LeaseThen::Register { life, at } => {
                self.shards[shard].is_open = false;
                if life == core.life {
                    return self.registered(core, shard, at, value.and_then(reply::int));
                }
            }
            LeaseThen::Renew { life, at } => {
                self.shards[shard].is_open = false;
                let list = value.map_or(&[][..], reply::list);
                if life != core.life {
                    return false;
                }
                match list {
                    [_, time, nodes @ ..] => {
                        if let Some(time) = reply::int(time) {
                            core.clock_is(shard, at, time);
                        }
                        self.shards[shard].renewed = at;
                        self.see(core, shard, nodes);
                    }
                    // The lease has run out.
                    [_] => return true,
                    [] => {}
                }
            }
            LeaseThen::Sweep(life) => self.swept(core, shard, life, value, routes),
            LeaseThen::Probe => {
                if value.is_none() {
                    self.shards[shard].probe.sent = None;
                }
            }
            LeaseThen::GiveBack => self.gave_back(),
        }
        false
    }

    fn registered(&mut self, core: &Core, shard: usize, at: u64, answer: Option<i64>) -> bool {
        let it = &mut self.shards[shard];
        match answer {
            Some(0) => {
                it.is_registered = true;
                it.renewed = at;
                it.due = core.now;
                if self.shards.iter().all(|it| it.is_registered) {
                    self.claim = Claim::Ready;
                    self.began.get_or_insert(core.now);
                }
                false
            }
            // By chance another node has the same number.
            Some(-1) => true,
            Some(left) => {
                it.due = core.now + left.unsigned_abs().clamp(50, 1_000);
                self.claim = Claim::Taken;
                false
            }
            None => {
                it.due = core.now + 1_000;
                false
            }
        }
    }

    /// Reads which nodes there are, and begins to clear up what dead ones have left.
    fn see(&mut self, core: &mut Core, shard: usize, nodes: &[Value]) {
        let nodes = Nodes::read(core, nodes);
        for life in nodes.dead() {
            self.sweep(core, shard, life);
        }
        if shard == 0 {
            self.nodes = nodes;
        }
    }

    fn sweep(&mut self, core: &mut Core, shard: usize, dead: u64) {
        let sweeps = &mut self.shards[shard].sweeps;
        if !sweeps.contains(&dead) {
            sweeps.push(dead);
            self.sweep_on(core, shard, dead);
        }
    }

    fn sweep_on(&self, core: &mut Core, shard: usize, dead: u64) {
        let (life, own) = (dead.to_string(), core.life.to_string());
        let then = PartThen::Lease(LeaseThen::Sweep(dead)).into();
        core.run_words(shard, Script::Sweep, &[&life, &own, SWEPT_AT_ONCE], then);
    }

    fn swept(
        &mut self,
        core: &mut Core,
        shard: usize,
        dead: u64,
        value: Option<&Value>,
        routes: &mut Routes,
    ) {
        let (left, away) = match value.map_or(&[][..], reply::list).split_first() {
            Some((left, away)) => (reply::int(left), away),
            None => (None, &[][..]),
        };
        for pair in away.chunks(2) {
            if let [user, ms] = pair
                && let (Some(user), Some(ms)) = (reply::text(user), reply::int(ms))
            {
                routes.away_in(core, CompactString::from(user), ms);
            }
        }
        if left.is_some_and(|left| left > 0) {
            return self.sweep_on(core, shard, dead);
        }
        self.shards[shard].sweeps.retain(|life| *life != dead);
        if left == Some(0) && shard == 0 {
            self.swept += 1;
            log::info!(
                event = "node_dead", life = dead;
                "the node with the life {dead} is dead; its users were taken out"
            );
        }
    }

    /// A new life begins. `core` has its number already.
    pub fn begin_life(&mut self, core: &Core) {
        for it in &mut self.shards {
            *it = OfShard { due: core.now, ..OfShard::default() };
        }
    }

    /// The name of this node.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The node is about to end: when its connections have left, it gives back its leases.
    pub fn end(&mut self) {
        if self.ending == Ending::No {
            self.ending = Ending::Leaving;
        }
    }

    /// Gives back the leases if the node ends and its connections have left.
    pub fn pump_end(&mut self, core: &mut Core, have_left: bool) {
        if self.ending != Ending::Leaving || !have_left {
            return;
        }
        let mut open = 0;
        for shard in 0..self.shards.len() {
            if core.is_up(shard) && self.shards[shard].is_registered {
                let key = format!("{}l:{}", core.settings.prefix, core.life);
                core.command(
                    shard,
                    &[b"DEL", key.as_bytes()],
                    PartThen::Lease(LeaseThen::GiveBack).into(),
                );
                open += 1;
            }
        }
        self.ending = if open == 0 { Ending::Ended } else { Ending::GivingBack(open) };
    }

    fn gave_back(&mut self) {
        if let Ending::GivingBack(open) = &mut self.ending {
            *open -= 1;
            if *open == 0 {
                self.ending = Ending::Ended;
            }
        }
    }

    /// Whether the node has ended.
    pub fn has_ended(&self) -> bool {
        self.ending == Ending::Ended
    }
}

fn earlier(due: Option<u64>, other: u64) -> Option<u64> {
    Some(due.map_or(other, |due| due.min(other)))
}
