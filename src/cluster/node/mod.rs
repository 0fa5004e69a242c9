//! A node: what it asks Redis and what it makes of the answers, without I/O and without a clock.
//!
//! Whoever runs a [`Node`] calls it with what happens, and carries out what it wants: the commands of
//! [`Node::take`] go to Redis, and the events of [`Node::events`] go to the loop of the server. All times
//! are milliseconds of one clock that only goes forward. Each Redis over which the users are spread is a
//! *shard*, known by its place in [`Settings::shards`]. At most one batch of commands is in flight for
//! each shard.
//!
//! Each file is about one thing that a node does. It has functions of `Node`, its own field of
//! [`Node`], and its own variant of [`Then`], which says what is to be done with the reply to a command.

mod acks;
mod arrive;
mod blocks;
mod call;
mod claims;
mod complete;
mod core;
mod events;
mod groups;
mod in_order;
mod known;
mod lease;
mod log;
mod outcomes;
mod parts;
mod pass;
mod payload;
mod presence;
mod queue;
mod reply;
pub mod resp;
mod routes;
mod rpc;
mod scripts;
mod sends;
mod telling;
#[cfg(test)]
mod tests;

pub use lease::Claim;
pub use scripts::Script;

use redis::Value;

use crate::cluster::ask::{Ask, Wanted};
use crate::cluster::{Event, codec};
use crate::engine::{LinkState, Told};

use self::core::{Core, begin_script};

/// Commands that are sent to one Redis at once.
#[derive(Debug, Default)]
pub struct Batch {
    /// The commands, as Redis reads them.
    pub bytes: Vec<u8>,
    /// How many there are. Each is answered with one reply, in this order.
    pub count: usize,
}

/// What a node has to know from the beginning.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name of the node.
    pub node: String,
    /// The beginning of all keys and channels.
    pub prefix: String,
    /// A name for each shard, by which the users are spread over them. It must not contain a password.
    pub shards: Vec<String>,
    /// A number that no other node and no earlier run has.
    pub seed: u64,
    /// The version of the program.
    pub version: String,
    /// The bounds of mailboxes.
    pub bounds: Bounds,
}

/// The bounds of mailboxes, which all nodes must have alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The most messages of a user who is away.
    pub messages: u64,
    /// The most bytes of messages of a user who is away.
    pub bytes: u64,
    /// The most bytes of messages of a user with a connection of v2.
    pub live_bytes: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds { messages: 64, bytes: 64 * 1024, live_bytes: 256 * 1024 }
    }
}

/// What a Redis says of itself when a connection to it is made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerInfo {
    /// The name of the run of the process.
    pub run_id: String,
    /// The name of the history of its data.
    pub replid: String,
    /// The name of the history with which this one has begun; only zeros if there is none.
    pub replid2: String,
    /// Major and minor version.
    pub version: (u32, u32),
    /// Whether every write is synced to the disk before it is answered.
    pub syncs_always: bool,
}

/// What became of a command.
#[derive(Debug)]
pub enum Reply {
    /// Redis has carried it out.
    Done(Value),
    /// Redis has refused it, with this error.
    Refused(String),
    /// The connection was lost. Nobody knows whether it was carried out.
    Unknown,
    /// It was not sent, because the shard cannot be reached.
    Unsent,
}

impl Reply {
    /// The value, if the command was carried out.
    pub fn done(self) -> Option<Value> {
        match self {
            Reply::Done(value) => Some(value),
            Reply::Refused(_) | Reply::Unknown | Reply::Unsent => None,
        }
    }
}

/// What is to be done with the reply to a command. Each part of the node has a variant.
#[derive(Debug)]
pub enum Then {
    /// Nothing.
    Nothing,
    /// A script was loaded.
    Loaded,
    /// It belongs to messages that are kept.
    Log(log::Then),
    /// It belongs to routes, the lease, presence, groups, or questions.
    Part(parts::PartThen),
    /// It belongs to a message that is not kept.
    Pass(pass::PassThen),
    /// It belongs to events of which the backend is told.
    Event(events::EventThen),
    /// It belongs to requests of a backend.
    Claim(claims::ClaimThen),
}

/// A node.
#[derive(Debug)]
pub struct Node {
    core: Core,
    log: log::Log,
    parts: parts::Parts,
    passing: pass::Passing,
    happenings: events::Events,
    claims: claims::Claims,
    /// What the loop was told about the other nodes.
    link: LinkState,
}

impl Node {
    /// Makes a node that has begun at `now`.
    pub fn new(settings: Settings, now: u64) -> Self {
        let parts = parts::Parts::new(&settings);
        let core = Core::new(settings, now);
        Node {
            log: log::Log::default(),
            parts,
            passing: pass::Passing::default(),
            happenings: events::Events::default(),
            claims: claims::Claims::default(),
            core,
            link: LinkState::Down,
        }
    }

    // ---------------------------------------------------------------- what happens

    /// The loop of the server asks for something.
    pub fn ask(&mut self, ask: Ask, now: u64) {
        self.core.passes(now);
        match ask {
            Ask::Append(sending) => self.append(sending),
            Ask::FollowEpoch => self.log.unfollowed = self.log.unfollowed.saturating_sub(1),
            Ask::Acknowledge { user, device, seq } => self.acknowledge(user, device, seq, now),
            Ask::Forget { ticket, user, seq } => self.forget(ticket, &user, seq),
            Ask::Engine(ticket, Wanted::Mailbox { user, after, limit }) => {
                self.look_into(ticket, user, after, limit);
            }
            Ask::Engine(ticket, mut wanted) => {
                self.drop_stale_numbers(&mut wanted);
                let leaver = self.note_visitor(&wanted);
                let left = self.ask_parts(ticket, wanted, now);
                let left = left.and_then(|it| self.happenings.ask(&mut self.core, ticket, it));
                let _ = left.and_then(|it| self.claims.ask(&mut self.core, ticket, it));
                self.forget_visitor(leaver);
                self.pump(now);
            }
        }
        self.settle(now);
    }

    /// Adds the commands to `batch` that are to be sent to a shard now. There are none while the replies
    /// to earlier ones have not come.
    pub fn take(&mut self, shard: usize, now: u64, batch: &mut Batch) {
        self.pump(now);
        self.settle(now);
        let Some(it) = self.core.shards.get_mut(shard) else { return };
        if it.queue.is_in_flight() || !it.is_connected {
            return;
        }
        if it.lacks_scripts {
            it.lacks_scripts = false;
            self.core.load_scripts(shard);
        }
        let Some(it) = self.core.shards.get_mut(shard) else { return };
        it.queue.take(batch);
        self.core.counts.commands += batch.count as u64;
        self.core.counts.pipelines += u64::from(batch.count > 0);
    }

    /// The replies to all commands of a batch have come, in the order of the commands.
    pub fn replied(&mut self, shard: usize, replies: Vec<Value>, now: u64) {
        self.core.passes(now);
        let mut again = Vec::new();
        for value in replies {
            let Some(it) = self.core.shards.get_mut(shard) else { return };
            let Some(command) = it.queue.pop_sent() else { break };
            let reply = match value {
                Value::ServerError(error) => {
                    let code = error.code();
                    it.lacks_scripts |= code == "NOSCRIPT";
                    // A replica, or a server that is not ready: another one may be the right one.
                    // And one that has lost its data begins a new epoch when a node connects.
                    it.wants_reconnect |=
                        matches!(code, "READONLY" | "LOADING" | "MASTERDOWN" | "EPOCH");
                    let text = format!("{code} {}", error.details().unwrap_or_default());
                    match code {
                        "NOSCRIPT" => match it.queue.again(command, &mut again) {
                            Some(then) => {
                                self.handle(shard, then, Reply::Refused(text), now);
                                continue;
                            }
                            None => continue,
                        },
                        _ => Reply::Refused(text),
                    }
                }
                value => Reply::Done(value),
            };
            self.handle(shard, command.then, reply, now);
        }
        if !again.is_empty()
            && let Some(it) = self.core.shards.get_mut(shard)
        {
            it.queue.put_in_front(again);
            it.lacks_scripts = false;
            self.core.load_scripts_first(shard);
        }
        self.pump(now);
        self.settle(now);
    }

    /// The exchange of a batch and its replies with a shard has taken so many microseconds.
    pub fn exchanged(&mut self, shard: usize, micros: u64) {
        if shard == 0 {
            self.parts.lease.round_trip_us = micros;
        }
    }

    /// The connection to a shard is lost. What was sent and is not answered has an unknown outcome.
    pub fn broken(&mut self, shard: usize, now: u64) {
        let Some(it) = self.core.shards.get_mut(shard) else { return };
        let commands = it.queue.take_all();
        (it.is_connected, it.is_up, it.wants_reconnect) = (false, false, false);
        self.core.counts.broken += 1;
        for (then, was_sent) in commands {
            let reply = if was_sent { Reply::Unknown } else { Reply::Unsent };
            self.handle(shard, then, reply, now);
        }
        if shard == 0 {
            self.claims.broken(&mut self.core);
            self.parts.blocks.lost(&mut self.core);
        }
        self.settle(now);
    }

    /// A connection to a shard was made.
    pub fn connected(&mut self, shard: usize, info: ServerInfo, now: u64) {
        let Some(it) = self.core.shards.get_mut(shard) else { return };
        (it.is_connected, it.is_up, it.wants_reconnect) = (true, false, false);
        (it.info, it.lacks_scripts) = (info, false);
        self.core.now = now;
        self.core.load_scripts(shard);
        self.ask_for_epoch(shard);
        self.settle(now);
    }

    /// Begins to use a shard whose epoch is known, so that everything else may be asked. The parts that ask for
    /// something on each new connection begin here.
    fn begin_shard(&mut self, shard: usize, now: u64) {
        let Some(it) = self.core.shards.get_mut(shard) else { return };
        it.is_up = true;
        self.core.now = now;
        // This comes first, because the scripts that users enter with have to know which events are wanted.
        self.happenings.connected(&mut self.core, shard);
        self.parts_connected(shard, now);
        self.compare_all(shard);
    }

    /// All channels of this node are subscribed at a shard.
    pub fn subscribed(&mut self, shard: usize, now: u64) {
        if let Some(it) = self.core.shards.get_mut(shard) {
            it.is_subscribed = true;
            self.parts_subscribed(shard, true, now);
            self.compare_all(shard);
            self.pump(now);
            self.settle(now);
        }
    }

    /// The connection is lost on which the channels were subscribed.
    pub fn unsubscribed(&mut self, shard: usize, now: u64) {
        if let Some(it) = self.core.shards.get_mut(shard) {
            (it.is_subscribed, it.wants_subscriber) = (false, false);
            self.parts_subscribed(shard, false, now);
        }
    }

    /// Something was published on one of the channels.
    pub fn published(&mut self, shard: usize, payload: &[u8], now: u64) {
        self.core.passes(now);
        self.core.counts.payloads += 1;
        let [codec::VERSION, kind, rest @ ..] = payload else { return };
        match *kind {
            codec::EVENTS => self.happenings.woken(shard),
            codec::BLOCK => self.parts.blocks.changed(&mut self.core, rest),
            codec::BLOCKS => {
                self.core.now = now;
                self.parts.blocks.listed(&mut self.core, rest);
            }
            codec::JOINED => self.parts.lease.look(shard, now),
            codec::MESSAGES => self.messages_published(shard, rest),
            codec::FORGOTTEN => self.forgotten_published(rest),
            _ => self.parts_published(shard, payload, now),
        }
        self.settle(now);
    }

    /// Time has passed.
    pub fn tick(&mut self, now: u64) {
        self.core.passes(now);
        self.log_tick(now);
        self.pump(now);
        self.settle(now);
    }

    /// When [`Node::tick`] has to be called next at the latest.
    pub fn next_due(&self) -> Option<u64> {
        let due = [
            self.log_next_due(),
            self.parts_next_due(),
            self.happenings.next_due(),
            self.claims.next_due(),
        ];
        due.into_iter().flatten().min()
    }

    /// Moves the events for the loop of the server behind those in `out`.
    pub fn events(&mut self, out: &mut Vec<Event>) {
        out.append(&mut self.core.events);
        let link = if self.is_up() { LinkState::Up } else { LinkState::Down };
        if std::mem::replace(&mut self.link, link) != link {
            out.push(Event::Engine(Told::Link(link)));
        }
    }

    // ---------------------------------------------------------------- what it wants

    /// Whether [`Node::take`] has something for a shard.
    pub fn has_commands(&self, shard: usize) -> bool {
        let found = self.core.shards.get(shard);
        found.is_some_and(|it| it.is_connected && !it.queue.is_in_flight() && !it.queue.is_empty())
    }

    /// Whether the connection to a shard has to be made anew, because it leads to the wrong server.
    pub fn wants_reconnect(&mut self, shard: usize) -> bool {
        self.core.shards.get_mut(shard).is_some_and(|it| std::mem::take(&mut it.wants_reconnect))
    }

    /// Whether the subscriptions at a shard have to be made anew.
    pub fn wants_subscriber(&mut self, shard: usize) -> bool {
        self.core.shards.get_mut(shard).is_some_and(|it| std::mem::take(&mut it.wants_subscriber))
    }

    /// Whether every shard can be reached, and it is known which users are blocked.
    pub fn is_up(&self) -> bool {
        let are_ready = (0..self.core.shards.len()).all(|shard| self.core.is_ready(shard));
        are_ready && self.parts.blocks.are_known()
    }

    // ---------------------------------------------------------------- replies

    /// Hands a reply to the part that has sent the command.
    fn handle(&mut self, shard: usize, then: Then, reply: Reply, now: u64) {
        self.core.now = now;
        match then {
            Then::Nothing | Then::Loaded => {}
            Then::Log(then) => self.log_replied(shard, then, reply, now),
            Then::Pass(then) => self.pass_replied(shard, then, reply),
            Then::Part(then) => self.parts_replied(shard, then, reply, now),
            Then::Event(then) => self.happenings.replied(&mut self.core, shard, then, reply),
            Then::Claim(then) => self.claims.replied(&mut self.core, then, reply),
        }
    }

    /// Hands out the replies to commands that could not be sent, because their shard cannot be reached.
    fn settle(&mut self, now: u64) {
        while let Some((shard, then)) = self.core.unsent.pop_front() {
            self.handle(shard, then, Reply::Unsent, now);
        }
    }
}
