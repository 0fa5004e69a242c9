//! The parts of a node that are structs of their own: routes, the lease, presence, groups, blocks, and questions.

use crate::cluster::ask::Wanted;

use crate::engine::{Numbers, Posted, Told};
use crate::journal::Ticket;

use super::blocks::{BlockThen, Blocks};
use super::groups::{GroupThen, Groups};
use super::lease::{Claim, Lease, LeaseThen};
use super::payload::{self, Payload};
use super::presence::{About, Presence, PresenceThen};
use super::routes::{Entering, Leaving, RouteThen, Routes};
use super::rpc::{Rpc, RpcThen};
use super::{Node, Reply, Settings, Then};

/// What is to be done with the reply to a command of one of these parts.
#[derive(Debug)]
pub enum PartThen {
    Route(RouteThen),
    Lease(LeaseThen),
    Presence(PresenceThen),
    Group(GroupThen),
    Block(BlockThen),
    Rpc(RpcThen),
}

/// The parts.
#[derive(Debug)]
pub struct Parts {
    pub routes: Routes,
    pub lease: Lease,
    pub presence: Presence,
    pub groups: Groups,
    pub blocks: Blocks,
    pub rpc: Rpc,
    /// The name of the last epoch of each shard; empty before the first one. An ordinal may come twice, if a failover
    /// has lost that there was an epoch.
    pub epochs: Vec<Box<str>>,
}

impl Parts {
    pub fn new(settings: &Settings) -> Self {
        let shards = settings.shards.len();
        Parts {
            routes: Routes::new(shards),
            lease: Lease::new(&settings.node, &settings.version, shards),
            presence: Presence::default(),
            groups: Groups::default(),
            blocks: Blocks::default(),
            rpc: Rpc::default(),
            epochs: vec![Box::default(); shards],
        }
    }
}

impl Node {
    fn begin_life(&mut self) {
        let Node { core, parts: Parts { routes, lease, presence, .. }, .. } = self;
        log::warn!(
            event = "lease_lost";
            "this node has lost its lease and registers anew; its connections enter again"
        );
        core.begin_life();
        lease.begin_life(core);
        routes.begin_life(core);
        presence.watch_again(core, None);
        for shard in &mut core.shards {
            shard.is_subscribed = false;
            shard.wants_subscriber = true;
        }
    }

    /// The loop of the server asks for something that is one of the parts' matters. Returns anything else.
    pub(super) fn ask_parts(&mut self, ticket: Ticket, wanted: Wanted, now: u64) -> Option<Wanted> {
        let Node {
            core, parts: Parts { routes, lease, presence, groups, blocks, rpc, .. }, ..
        } = self;
        core.now = now;
        match wanted {
            Wanted::Enter { user, device, conn, has_mailbox, visits, groups, alone } => {
                let it = Entering { user, device, conn, has_mailbox, visits, groups, alone };
                routes.enter(core, ticket, it);
            }
            Wanted::Leave { user, device, conn, cursor, hung_at } => {
                routes.leave(core, Leaving { user, device, conn, cursor, hung_at });
            }
            Wanted::Post { from, device, group, id, frame, message, except, has_own } => {
                let posted = Posted { from, device, group, id, frame, message, except, has_own };
                rpc.post(core, &posted);
            }
            Wanted::Change { group, user, joins } => {
                groups.change(core, ticket, group, user, joins)
            }
            Wanted::Block { user, time, reason, most } => {
                blocks.change(core, ticket, (&user, time), &reason, most);
            }
            Wanted::Members { group, after, limit } => {
                groups.members(core, ticket, &group, &after, limit);
            }
            Wanted::AreOnline { users, now } => {
                let about = if now { About::Here } else { About::Online };
                presence.ask(core, ticket, &users, about);
            }
            Wanted::Waiting { users } => presence.ask(core, ticket, &users, About::Waiting),
            Wanted::Watch { user, on } => presence.watch(&user, on),
            Wanted::Ask { of, question } => rpc.ask(core, lease, ticket, &of, question),
            Wanted::Answer { asked, answer } => rpc.answer(core, lease, &asked, &answer),
            Wanted::Nodes => {
                let nodes = lease.nodes.seen(core);
                core.say(Told::Nodes(ticket, Ok(nodes)));
            }
            other => return Some(other),
        }
        None
    }

    pub(super) fn parts_replied(&mut self, shard: usize, then: PartThen, reply: Reply, now: u64) {
        self.core.now = now;
        let Node {
            core, parts: Parts { routes, lease, presence, groups, blocks, rpc, .. }, ..
        } = self;
        match then {
            PartThen::Route(then) => {
                if let Some(arrival) = routes.replied(core, shard, then, reply) {
                    self.take_arrival(shard, arrival);
                }
            }
            PartThen::Lease(then) => {
                let value = core.value_of(reply);
                core.lost_lease |= lease.replied(core, shard, then, value.as_ref(), routes);
                core.shards[shard].is_ready = lease.is_ready(shard);
            }
            PartThen::Presence(then) => {
                let value = core.value_of(reply);
                presence.replied(core, then, value.as_ref());
            }
            PartThen::Group(then) => {
                let value = core.value_of(reply);
                groups.replied(core, then, value.as_ref());
            }
            PartThen::Block(then) => {
                let value = core.value_of(reply);
                blocks.replied(core, then, value.as_ref());
            }
            PartThen::Rpc(then) => {
                let value = core.value_of(reply);
                rpc.replied(core, then, value.as_ref());
            }
        }
    }

    /// The epoch of a shard is known, so commands may be sent to it. If it is another one than before, the shard
    /// may have lost what it knew.
    pub(super) fn parts_connected(&mut self, shard: usize, now: u64) {
        let ordinal = self.core.ordinal(shard);
        let name = self.epoch_name(shard, ordinal);
        let before = std::mem::replace(&mut self.parts.epochs[shard], name.clone());
        let is_new = !before.is_empty() && before != name;
        let Node { core, parts: Parts { routes, lease, presence, blocks, .. }, .. } = self;
        core.now = now;
        if shard == 0 {
            blocks.lost(core);
        }
        lease.connected(core, shard);
        if is_new {
            routes.find_absent(shard);
            routes.enter_again(core, shard);
            presence.watch_again(core, Some(shard));
        }
        core.shards[shard].is_ready = lease.is_ready(shard);
    }

    /// The channels of this life are subscribed at a shard, or are not any more.
    pub(super) fn parts_subscribed(&mut self, shard: usize, is_subscribed: bool, now: u64) {
        let Node { core, parts: Parts { routes, lease, presence, blocks, .. }, .. } = self;
        core.now = now;
        if shard == 0 {
            blocks.lost(core);
        }
        if lease.subscribed(core, shard, is_subscribed) {
            routes.enter_again(core, shard);
            presence.watch_again(core, Some(shard));
        }
        core.shards[shard].is_ready = lease.is_ready(shard);
    }

    /// Makes the commands that are due.
    pub(super) fn pump(&mut self, now: u64) {
        let Node { core, parts: Parts { routes, lease, presence, blocks, rpc, .. }, .. } = self;
        core.now = now;
        core.lost_lease |= lease.pump(core, routes);
        for (shard, it) in core.shards.iter_mut().enumerate() {
            if lease.takes_deaf(shard) {
                it.wants_subscriber = true;
                it.is_subscribed = false;
            }
            it.is_ready = lease.is_ready(shard);
        }
        if core.lost_lease {
            return self.begin_life();
        }
        routes.pump(core);
        presence.pump(core);
        blocks.pump(core);
        lease.pump_end(core, routes.have_left());
        rpc.tick(core);
        self.happenings.pump(&mut self.core);
        self.claims.pump(&mut self.core);
    }

    pub(super) fn parts_next_due(&self) -> Option<u64> {
        let Node { core, parts: Parts { routes, lease, presence, blocks, rpc, .. }, .. } = self;
        let due = [
            routes.next_due(),
            lease.next_due(core),
            presence.next_due(core.now),
            blocks.next_due(),
            rpc.next_due(),
        ];
        due.into_iter().flatten().min()
    }

    /// Something was published that is one of the parts' matters.
    pub(super) fn parts_published(&mut self, shard: usize, payload: &[u8], now: u64) {
        let Node { core, parts: Parts { routes, lease, presence, rpc, .. }, .. } = self;
        core.now = now;
        match payload::read(payload) {
            Some(Payload::Displaced { user, conn }) => routes.displaced(core, user, conn),
            Some(Payload::Presence { user, is_online }) => presence.changed(core, user, is_online),
            Some(Payload::Membership { user, group, joins }) => {
                if routes.has(user) {
                    core.say(Told::Member { group: group.into(), user: user.into(), joins });
                }
            }
            Some(Payload::Post { life, posted }) if life != core.life => {
                core.say(Told::Posted(posted));
            }
            Some(Payload::Ask { asked, question }) => {
                core.say(Told::Asked(asked, question.to_vec()))
            }
            Some(Payload::Answer { life, question, node, answer }) => {
                rpc.answered(core, life, question, node, answer);
            }
            Some(Payload::Probe { life, number }) => lease.probe_came(core, shard, life, number),
            Some(Payload::Post { .. }) | None => {}
        }
    }

    /// The channels that are to be subscribed at each shard.
    pub fn channels(&self) -> Vec<String> {
        vec![self.core.channel(), self.core.channel_of_all()]
    }

    /// Whether the name of this node is its own, as far as is known.
    pub fn claim(&self) -> Claim {
        self.parts.lease.claim()
    }

    /// The server ends: all connections leave, and the leases are given back.
    pub fn leave(&mut self, now: u64) {
        let Node { core, parts: Parts { routes, lease, .. }, .. } = self;
        core.now = now;
        routes.leave_all(core);
        lease.end();
        self.pump(now);
    }

    /// Whether nothing is left to be done for the end.
    pub fn has_left(&self) -> bool {
        self.parts.lease.has_ended()
    }

    /// Numbers for operators.
    pub fn numbers(&self) -> Numbers {
        let Node { core, parts: Parts { lease, .. }, .. } = self;
        Numbers {
            swept: lease.swept,
            lag_us: lease.lag_us(),
            round_trip_us: lease.round_trip_us,
            nodes: lease.nodes.count(),
            waiting: core.shards.iter().map(|it| it.queue.len() as u64).sum(),
            is_up: self.is_up(),
            ..core.counts
        }
    }

    /// How many users are online on other nodes. A user who is on two of them counts twice.
    pub fn online_elsewhere(&self) -> u64 {
        self.parts.lease.nodes.online_elsewhere(&self.core)
    }
}

impl From<PartThen> for Then {
    fn from(then: PartThen) -> Self {
        Then::Part(then)
    }
}
