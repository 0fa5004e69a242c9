//! What all parts of a node share: its shards with the commands that wait, and the events for the loop.

use std::collections::VecDeque;

use crate::cluster::Event;
use crate::engine::{Numbers, Told};
use crate::journal::stable_hash;

use super::queue::Queue;
use super::scripts::{Hashes, Script};
use super::{Reply, ServerInfo, Settings, Then, resp};

/// One Redis.
#[derive(Debug, Default)]
pub struct Shard {
    pub queue: Queue,
    /// A connection for commands was made, and is not lost.
    pub is_connected: bool,
    /// The epoch of the shard is known on this connection, so any command may be sent.
    pub is_up: bool,
    /// The channels are subscribed.
    pub is_subscribed: bool,
    pub wants_reconnect: bool,
    pub wants_subscriber: bool,
    pub info: ServerInfo,
    /// Connections may enter: the life of this node is known there, and its channels are subscribed.
    pub is_ready: bool,
    /// The ordinal of its epoch.
    pub ordinal: u64,
    /// How far its clock is ahead of that of this node, in milliseconds.
    ahead: i64,
    /// Its scripts have to be loaded again.
    pub lacks_scripts: bool,
}

/// What all parts of a node share.
#[derive(Debug)]
pub struct Core {
    pub settings: Settings,
    pub hashes: Hashes,
    pub shards: Vec<Shard>,
    /// What the loop of the server is to be told.
    pub events: Vec<Event>,
    /// Commands that could not be sent, because their shard cannot be reached.
    pub unsent: VecDeque<(usize, Then)>,
    pub counts: Numbers,
    /// The present time, for the parts that are structs of their own.
    pub now: u64,
    /// The number under which the node has registered.
    pub life: u64,
    /// Redis has said that the lease of this life is lost.
    pub lost_lease: bool,
    /// When anything was asked of the node last.
    seen: u64,
    /// From when to when the process stood still the last time.
    stood_still: (u64, u64),
    random: u64,
}

/// A node does something at least once in a second. If it does nothing for so many milliseconds, its process has stood
/// still, or waited for Redis.
const STANDSTILL_MS: u64 = 2_000;
/// For how many milliseconds after that the loop comes upon connections that were made meanwhile.
const BACKLOG_MS: u64 = 5_000;
/// The clock of Redis is read from a reply that took no longer than this.
const EXACT_MS: u64 = 1_000;

impl Core {
    pub fn new(settings: Settings, now: u64) -> Self {
        let mut core = Core {
            random: settings.seed,
            now,
            life: 0,
            lost_lease: false,
            seen: now,
            stood_still: (0, 0),
            shards: settings.shards.iter().map(|_| Shard::default()).collect(),
            hashes: Hashes::new(),
            events: Vec::new(),
            unsent: VecDeque::new(),
            counts: Numbers::default(),
            settings,
        };
        core.begin_life();
        core
    }

    /// Chooses the number of a new life, which has 32 bits, so that it is short where it is written for each
    /// user. Redis refuses one that another node has.
    pub fn begin_life(&mut self) {
        self.lost_lease = false;
        // A step of splitmix64.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.random;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        self.life = ((word ^ (word >> 31)) >> 32).max(1);
        self.shards.iter_mut().for_each(|it| it.is_ready = false);
    }

    /// Time has passed. It is called with everything that happens, so it notices when the process stood still.
    #[inline]
    pub fn passes(&mut self, now: u64) {
        if now > self.seen + STANDSTILL_MS {
            self.stood_still = (self.seen, now);
        }
        self.seen = self.seen.max(now);
    }

    /// Since when the connections may have been open that the loop takes for new now. While the process stood still,
    /// the kernel has accepted connections, and some of their clients may have gone to another node.
    pub fn since(&self) -> u64 {
        let (from, to) = self.stood_still;
        if to > 0 && self.now < to + BACKLOG_MS { from } else { self.now }
    }

    /// A reply that was asked for at `asked` names the time of a Redis.
    pub fn clock_is(&mut self, shard: usize, asked: u64, time: i64) {
        if let Some(it) = self.shards.get_mut(shard)
            && self.now <= asked + EXACT_MS
        {
            it.ahead = time.saturating_sub_unsigned(self.now);
        }
    }

    /// The present time of a Redis, or an earlier one by the time that a reply takes.
    pub fn time_of(&self, shard: usize) -> i64 {
        self.shards.get(shard).map_or(0, |it| it.ahead).saturating_add_unsigned(self.now)
    }

    /// Tells the loop of the server something about nodes.
    pub fn say(&mut self, told: Told) {
        self.events.push(Event::Engine(told));
    }

    /// Whether connections may enter at a shard.
    pub fn is_ready(&self, shard: usize) -> bool {
        self.shards.get(shard).is_some_and(|it| it.is_up && it.is_ready)
    }

    /// Publishes to a life at a shard. The reply says to how many it went: to one, or to none.
    pub fn publish_to(&mut self, shard: usize, life: u64, payload: &[u8], then: Then) {
        let mut digits = itoa::Buffer::new();
        let life = digits.format(life);
        // Each message to another node takes this way, so the name of the channel is made where it is sent.
        self.push(shard, then, |out, (_, prefix)| {
            resp::begin(out, 3);
            resp::arg(out, b"PUBLISH");
            resp::long_arg(out, prefix.len() + CHANNEL.len() + life.len(), |out| {
                [prefix, CHANNEL, life].iter().for_each(|it| out.extend_from_slice(it.as_bytes()));
            });
            resp::arg(out, payload);
        });
    }

    /// The channel of this life.
    pub fn channel(&self) -> String {
        channel_of(&self.settings.prefix, self.life)
    }

    /// The channel that all nodes have in common.
    pub fn channel_of_all(&self) -> String {
        format!("{}all", self.settings.prefix)
    }

    /// The value of a reply, for whom it does not matter why there is none. An error that says that the
    /// lease is lost is remembered.
    pub fn value_of(&mut self, reply: Reply) -> Option<redis::Value> {
        if let Reply::Refused(why) = &reply {
            self.lost_lease |= why.starts_with("DEAD");
        }
        reply.done()
    }

    /// Runs a script at a shard, whose arguments are texts.
    pub fn run_words(&mut self, shard: usize, script: Script, words: &[&str], then: Then) {
        self.push(shard, then, |out, constants| {
            begin_script(out, constants, script, words.len());
            words.iter().for_each(|word| resp::arg(out, word.as_bytes()));
        });
    }

    /// Tells the loop of the server something.
    pub fn tell(&mut self, event: Event) {
        self.events.push(event);
    }

    /// The shard of a user or a group. When a shard is added, only those users move that belong to it.
    pub fn shard_of(&self, name: &str) -> usize {
        if self.shards.len() <= 1 {
            return 0;
        }
        let weight = |shard: &String| stable_hash(&[shard.as_bytes(), name.as_bytes()]);
        let weights = self.settings.shards.iter().map(weight).enumerate();
        weights.max_by_key(|(_, weight)| *weight).map_or(0, |(at, _)| at)
    }

    /// Whether the epoch of a shard is known on its present connection, so that it may be asked anything.
    pub fn is_up(&self, shard: usize) -> bool {
        self.shards.get(shard).is_some_and(|it| it.is_up)
    }

    /// The ordinal of the epoch of a shard.
    pub fn ordinal(&self, shard: usize) -> u64 {
        self.shards.get(shard).map_or(0, |it| it.ordinal)
    }

    /// How many commands for a shard wait.
    pub fn queued(&self, shard: usize) -> usize {
        self.shards.get(shard).map_or(0, |it| it.queue.len())
    }

    /// Sends a command to a shard; `args` begins with its name. While the shard cannot be reached, its reply
    /// is unknown at once.
    pub fn command(&mut self, shard: usize, args: &[&[u8]], then: Then) {
        self.push(shard, then, |out, _| {
            resp::begin(out, args.len());
            args.iter().for_each(|arg| resp::arg(out, arg));
        });
    }

    /// Runs a script at a shard; `args` follow the prefix of all keys.
    pub fn run(&mut self, shard: usize, script: Script, args: &[&[u8]], then: Then) {
        self.push(shard, then, |out, constants| {
            begin_script(out, constants, script, args.len());
            args.iter().for_each(|arg| resp::arg(out, arg));
        });
    }

    /// Adds a command that `write` writes.
    #[inline]
    pub fn push(
        &mut self,
        shard: usize,
        then: Then,
        write: impl FnOnce(&mut Vec<u8>, (&Hashes, &str)),
    ) {
        match self.shards.get_mut(shard) {
            Some(it) if it.is_connected => {
                let constants = (&self.hashes, self.settings.prefix.as_str());
                it.queue.push(then, |out| write(out, constants));
            }
            _ => self.unsent.push_back((shard, then)),
        }
    }

    pub fn load_scripts(&mut self, shard: usize) {
        let Some(it) = self.shards.get_mut(shard) else { return };
        for text in self.hashes.texts() {
            it.queue.push(Then::Loaded, |out| write_load(out, text));
        }
    }

    /// Loads the scripts before everything that waits.
    pub fn load_scripts_first(&mut self, shard: usize) {
        let Some(it) = self.shards.get_mut(shard) else { return };
        it.queue.push_first(self.hashes.texts().map(|text| {
            let mut bytes = Vec::with_capacity(text.len() + 64);
            write_load(&mut bytes, text);
            bytes
        }));
    }
}

/// What stands between the prefix and the number of a life in the name of its channel.
const CHANNEL: &str = "i:";

fn channel_of(prefix: &str, life: u64) -> String {
    format!("{prefix}{CHANNEL}{life}")
}

fn write_load(out: &mut Vec<u8>, text: &str) {
    resp::begin(out, 3);
    resp::arg(out, b"SCRIPT");
    resp::arg(out, b"LOAD");
    resp::arg(out, text.as_bytes());
}

/// Writes the beginning of a call of a script with so many arguments behind the prefix.
#[inline]
pub fn begin_script(
    out: &mut Vec<u8>,
    (hashes, prefix): (&Hashes, &str),
    script: Script,
    count: usize,
) {
    resp::begin(out, 4 + count);
    resp::arg(out, b"EVALSHA");
    resp::arg(out, hashes.of(script));
    resp::arg(out, b"0");
    resp::arg(out, prefix.as_bytes());
}
