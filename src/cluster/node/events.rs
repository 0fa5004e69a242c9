//! Events of which the backend is told: how they get into the stream that all nodes share, and how the one
//! node that tells the backend reads them.
//!
//! The scripts of Redis give each event the next number; whether a user has come online or has gone offline
//! they find out by themselves. A node that has webhooks asks every three seconds whether it is the one that tells.
//! That node reads ahead, and removes from the stream what the backend has taken. If it dies, another one begins with
//! the first event that the backend has not taken.
//!
//! The events of a user are all at the Redis of the user, so that their order is known. The node that reads the stream
//! of another Redis than the first one moves the events to the first one, which numbers them for the backend.

use std::collections::VecDeque;

use redis::Value;

use crate::cluster::ask::Wanted;
use crate::engine::{Happened, Listing, Looked, Refused, Told};
use crate::journal::{Ticket, stable_hash};

use super::core::Core;
use super::telling::Telling;
use super::{Reply, Script, Then, reply};

/// How long a node is the one that tells, unless it says again that it is there.
const LEASE_MS: u64 = 10_000;
/// How often a node asks whether it is the one that tells.
const ASKED_EVERY_MS: u64 = 3_000;
/// How often the node that tells looks for events though nobody has woken it.
const LOOKED_EVERY_MS: u64 = 1_000;
/// After so many milliseconds it is tried again to give Redis events that it has refused.
pub(super) const AGAIN_AFTER_MS: u64 = 1_000;
/// How many events one command reads, and about how many bytes.
const READ: &str = "500";
const READ_BYTES: &str = "262144";
/// No more is read while the backend has yet to take so many bytes.
const MOST_AHEAD: usize = 1 << 20;
/// About how many bytes an event takes beside its text.
pub(super) const SIZE: usize = 64;

/// What is to be done with a reply.
#[derive(Debug)]
pub enum EventThen {
    /// Events of this node are in the stream.
    Told(u64),
    /// Whether this node tells the backend.
    Teller {
        at: u64,
    },
    /// The next events, in this reading of the stream.
    Read(u64),
    /// Events of another Redis are at the first one, in this reading of the stream.
    Moved(usize, u64),
    /// The backend, or the first Redis, has taken events.
    Accepted,
    /// A list begins at one Redis.
    Listed(Ticket),
    /// The groups of a user, or whether the user is online.
    Groups(Ticket),
    Routes(Ticket),
}

/// What a node knows of events.
#[derive(Debug, Default)]
pub struct Events {
    wants: Option<(Box<str>, u64)>,
    /// The life for which the rest holds.
    life: u64,
    shards: Vec<Shard>,
    listings: VecDeque<(Ticket, Listed)>,
    looks: VecDeque<(Ticket, Looked)>,
}

/// What a node knows of the events at one Redis.
#[derive(Debug, Default)]
struct Shard {
    /// When it was asked the last time whether this node reads them, and until when it is sure to.
    asked_at: Option<u64>,
    reads_until: Option<u64>,
    telling: Telling,
    reading: Reading,
}

/// How far the node that reads a stream has come.
#[derive(Debug, Default)]
struct Reading {
    /// The number of this reading. A reply that belongs to an earlier one is not valid any more.
    number: u64,
    /// The id of the last event that was read; empty at the beginning of the stream.
    last: Box<str>,
    is_asked: bool,
    /// Nothing more was there at this time.
    is_empty_since: Option<u64>,
    /// What was read and not taken: the ids, and the lengths of the texts.
    ahead: VecDeque<(Box<str>, usize)>,
    bytes: usize,
    /// What is being moved to the first Redis. It is sent again until it is answered.
    moving: Vec<Happened>,
    is_in_flight: bool,
    /// Nothing is moved before this time, because Redis has refused it.
    not_before: u64,
}

#[derive(Debug, Default)]
struct Listed {
    left: usize,
    count: u64,
    has_failed: bool,
}

impl Events {
    /// Handles what is one of the matters of this part. Returns anything else.
    pub fn ask(&mut self, core: &mut Core, ticket: Ticket, wanted: Wanted) -> Option<Wanted> {
        self.shards.resize_with(core.shards.len(), Shard::default);
        match wanted {
            Wanted::Wants { kinds, most } => {
                self.wants = Some((kinds, most));
                self.shards.iter_mut().for_each(|it| it.asked_at = None);
            }
            Wanted::Tell { user, kind, event } => {
                self.shards[core.shard_of(&user)].telling.push(kind, event);
            }
            Wanted::Accept { event } => self.shards[0].accept(core, 0, &event),
            Wanted::List => self.list(core, ticket),
            Wanted::Look { user } => self.look(core, ticket, &user),
            other => return Some(other),
        }
        None
    }

    /// Whether this node is the one that tells the backend.
    pub fn tells(&self) -> bool {
        self.shards.first().is_some_and(|it| it.reads_until.is_some())
    }

    /// A connection to a Redis was made. Before any user is told to it, it has to know which events are wanted.
    pub fn connected(&mut self, core: &mut Core, shard: usize) {
        self.shards.resize_with(core.shards.len(), Shard::default);
        // Another Redis may be the master now, whose stream is shorter: it is read from its beginning.
        let it = &mut self.shards[shard];
        it.stop(core, shard);
        it.asked_at = None;
        it.telling.connected();
        self.pump(core);
    }

    /// Sends all events that wait for this Redis, because what is sent to it next has to come behind them.
    pub fn flush(&mut self, core: &mut Core, shard: usize) {
        if let Some(it) = self.shards.get_mut(shard) {
            it.telling.flush(core, shard);
        }
    }

    /// There are events for the node that reads them at this Redis.
    pub fn woken(&mut self, shard: usize) {
        if let Some(it) = self.shards.get_mut(shard) {
            it.reading.is_empty_since = None;
        }
    }

    /// Sends what is due.
    pub fn pump(&mut self, core: &mut Core) {
        core.counts.tells_events = self.tells();
        let is_new_life = self.life != core.life;
        self.life = core.life;
        for (shard, it) in self.shards.iter_mut().enumerate() {
            if is_new_life {
                it.asked_at = None;
            }
            if is_new_life || it.reads_until.is_some_and(|until| core.now >= until) {
                it.stop(core, shard);
            }
            if !core.is_up(shard) {
                continue;
            }
            if let Some(wants) = &self.wants {
                it.say(core, shard, wants);
            }
            it.telling.pump(core, shard);
            it.read(core, shard);
            it.reading.carry(core, shard);
        }
    }

    /// When [`Events::pump`] has something to do, at the latest.
    pub fn next_due(&self) -> Option<u64> {
        self.wants.as_ref()?;
        let due = |it: &Shard| {
            let asks = it.asked_at.map_or(0, |at| at + ASKED_EVERY_MS);
            let reads = it.reading.is_empty_since.map(|at| at + LOOKED_EVERY_MS);
            let reads = reads.filter(|_| it.reads_until.is_some());
            let tells = it.telling.next_due();
            let moves = (!it.reading.moving.is_empty()).then_some(it.reading.not_before);
            [Some(asks), reads, it.reads_until, tells, moves].into_iter().flatten().min()
        };
        self.shards.iter().filter_map(due).min()
    }

    fn list(&mut self, core: &mut Core, ticket: Ticket) {
        let others = core.shards.len().saturating_sub(1);
        self.listings.push_back((ticket, Listed { left: others + 1, ..Listed::default() }));
        // The first one comes last, because it says which events the list includes.
        for shard in (1..=others).chain([0]) {
            if shard > 0 || others == 0 {
                core.run_words(shard, Script::Listing, &[], Then::Event(EventThen::Listed(ticket)));
            }
        }
    }

    fn listed(&mut self, core: &mut Core, shard: usize, ticket: Ticket, value: Option<&Value>) {
        let Some(at) = self.listings.iter().position(|(it, _)| *it == ticket) else { return };
        let listed = &mut self.listings[at].1;
        listed.left = listed.left.saturating_sub(1);
        let reply = value.map(reply::list).unwrap_or_default();
        match reply.first().and_then(reply::int) {
            Some(count) => listed.count += u64::try_from(count).unwrap_or(0),
            None => listed.has_failed = true,
        }
        if listed.left == 1 && shard != 0 {
            let then = Then::Event(EventThen::Listed(ticket));
            return core.run_words(0, Script::Listing, &[], then);
        }
        if listed.left > 0 {
            return;
        }
        let Some((_, listed)) = self.listings.remove(at) else { return };
        let position = match reply {
            [_, epoch, last] => reply::text(epoch).map(Box::from).zip(reply::int(last)),
            _ => None,
        };
        let position = position.map(|(epoch, last)| (epoch, u64::try_from(last).unwrap_or(0)));
        core.say(Told::Listing(
            ticket,
            match listed.has_failed {
                true => Err(Refused::Unavailable),
                false => Ok(Listing { count: listed.count, position }),
            },
        ));
    }

    fn look(&mut self, core: &mut Core, ticket: Ticket, user: &str) {
        let shard = core.shard_of(user);
        let (key, groups) = {
            let prefix = &core.settings.prefix;
            (format!("{prefix}u:{user}"), format!("{prefix}ug:{user}"))
        };
        self.looks.push_back((ticket, Looked::default()));
        let then = Then::Event(EventThen::Groups(ticket));
        core.command(shard, &[b"SMEMBERS", groups.as_bytes()], then);
        let then = Then::Event(EventThen::Routes(ticket));
        core.command(shard, &[b"HEXISTS", key.as_bytes(), b"r"], then);
    }

    /// One of the two replies about a user; the one about routes comes last.
    fn looked(&mut self, core: &mut Core, ticket: Ticket, value: Option<&Value>, is_last: bool) {
        let Some(at) = self.looks.iter().position(|(it, _)| *it == ticket) else { return };
        let Some(value) = value else {
            self.looks.remove(at);
            return core.say(Told::Looked(ticket, Err(Refused::Unavailable)));
        };
        if !is_last {
            let mut groups: Vec<Box<str>> = reply::texts(value).map(Box::from).collect();
            groups.sort_unstable();
            self.looks[at].1.groups = groups;
        } else if let Some((_, looked)) = self.looks.remove(at) {
            let is_online = reply::int(value) == Some(1);
            core.say(Told::Looked(ticket, Ok(Looked { is_online, ..looked })));
        }
    }

    /// Redis has answered.
    pub fn replied(&mut self, core: &mut Core, shard: usize, then: EventThen, reply: Reply) {
        let value = core.value_of(reply);
        match then {
            EventThen::Listed(ticket) => return self.listed(core, shard, ticket, value.as_ref()),
            EventThen::Groups(ticket) => return self.looked(core, ticket, value.as_ref(), false),
            EventThen::Routes(ticket) => return self.looked(core, ticket, value.as_ref(), true),
            _ => {}
        }
        let Some(it) = self.shards.get_mut(shard) else { return };
        match then {
            EventThen::Told(batch) => {
                let is_taken = value.as_ref().and_then(reply::int) == Some(1);
                it.telling.replied(batch, is_taken, core.now);
            }
            EventThen::Teller { at } => match value.as_ref().and_then(reply::int) {
                Some(1) => it.reads_until = Some(at + LEASE_MS),
                Some(_) => it.stop(core, shard),
                None => {}
            },
            EventThen::Read(number) if number == it.reading.number => {
                it.reading.is_asked = false;
                it.take_read(core, shard, value.as_ref());
            }
            EventThen::Accepted => match value.as_ref().and_then(reply::int) {
                Some(0) => it.stop(core, shard),
                _ => it.reading.is_empty_since = None,
            },
            EventThen::Moved(from, number) => {
                if let Some(it) = self.shards.get_mut(from)
                    && it.reading.number == number
                {
                    it.moved(core, from, value.as_ref().and_then(reply::int));
                }
            }
            _ => {}
        }
    }
}

impl Shard {
    /// Says which events are wanted, and asks whether this node reads them, if that is due.
    fn say(&mut self, core: &mut Core, shard: usize, (kinds, most): &(Box<str>, u64)) {
        if self.asked_at.is_some_and(|at| core.now < at + ASKED_EVERY_MS) {
            return;
        }
        self.asked_at = Some(core.now);
        let words =
            [core.life.to_string(), LEASE_MS.to_string(), kinds.to_string(), most.to_string()];
        let words = words.each_ref().map(|word| &**word);
        let then = Then::Event(EventThen::Teller { at: core.now });
        core.run_words(shard, Script::Teller, &words, then);
    }

    /// This node does not read the events any more, as far as it knows.
    fn stop(&mut self, core: &mut Core, shard: usize) {
        let number = self.reading.number + 1;
        self.reading = Reading { number, ..Reading::default() };
        if self.reads_until.take().is_some() && shard == 0 {
            core.say(Told::NoEvents);
        }
    }

    fn read(&mut self, core: &mut Core, shard: usize) {
        let it = &mut self.reading;
        let is_empty = it.is_empty_since.is_some_and(|at| core.now < at + LOOKED_EVERY_MS);
        let is_full = it.bytes >= MOST_AHEAD || !it.moving.is_empty();
        if self.reads_until.is_none() || it.is_asked || is_empty || is_full {
            return;
        }
        it.is_asked = true;
        let life = core.life.to_string();
        let last = if it.last.is_empty() { "0-0" } else { &it.last };
        let then = Then::Event(EventThen::Read(it.number));
        core.run_words(shard, Script::Read, &[&life, last, READ, READ_BYTES], then);
    }

    /// The backend, or the first Redis, has taken all events up to this one.
    fn accept(&mut self, core: &mut Core, shard: usize, event: &str) {
        let it = &mut self.reading;
        // It may have been read before another node told.
        let Some(at) = it.ahead.iter().position(|(id, _)| **id == *event) else { return };
        let (mut bytes, count) = (0, at + 1);
        for (_, len) in it.ahead.drain(..count) {
            bytes += len;
        }
        it.bytes = it.bytes.saturating_sub(bytes + SIZE * count);
        let Some((ordinal, number)) = event.split_once('-') else { return };
        let life = core.life.to_string();
        let (bytes, count) = (bytes.to_string(), count.to_string());
        let words = [&*life, ordinal, number, &*bytes, &*count];
        core.run_words(shard, Script::Accept, &words, Then::Event(EventThen::Accepted));
    }

    fn take_read(&mut self, core: &mut Core, shard: usize, value: Option<&Value>) {
        let reply = value.map(reply::list).unwrap_or_default();
        let Some((Some(1), entries)) = reply.split_first().map(|(is, rest)| (reply::int(is), rest))
        else {
            // Another node reads, or Redis is away: the next answer about the lease says which.
            self.reading.is_empty_since = Some(core.now);
            return;
        };
        let mut events = Vec::with_capacity(entries.len() / 3);
        for entry in entries.as_chunks::<3>().0 {
            let [Some(name), Some(epoch), Some(text)] = entry.each_ref().map(reply::text) else {
                continue;
            };
            let seq = name.split_once('-').and_then(|(_, seq)| seq.parse().ok()).unwrap_or(0);
            self.reading.ahead.push_back((name.into(), text.len()));
            self.reading.bytes += text.len() + SIZE;
            self.reading.last = name.into();
            events.push(Happened {
                name: name.into(),
                epoch: epoch.into(),
                seq,
                text: text.into(),
            });
        }
        match events.is_empty() {
            true => self.reading.is_empty_since = Some(core.now),
            false if shard == 0 => core.say(Told::Events(events)),
            false => self.reading.moving = events,
        }
    }

    /// The first Redis has taken events of another one, or has not.
    fn moved(&mut self, core: &mut Core, shard: usize, answer: Option<i64>) {
        self.reading.is_in_flight = false;
        if answer.is_none() {
            self.reading.not_before = core.now + AGAIN_AFTER_MS;
        } else {
            let last = self.reading.moving.pop().map(|it| it.name);
            self.reading.moving.clear();
            if let Some(last) = last {
                self.accept(core, shard, &last);
            }
        }
    }
}

impl Reading {
    /// Moves what was read to the first Redis.
    fn carry(&mut self, core: &mut Core, shard: usize) {
        let may_move = !self.is_in_flight && core.now >= self.not_before;
        if self.moving.is_empty() || !may_move || !core.is_up(0) {
            return;
        }
        self.is_in_flight = true;
        let from = format!("{:x}", stable_hash(&[core.settings.shards[shard].as_bytes()]));
        let numbers: Vec<String> = self.moving.iter().map(|it| it.seq.to_string()).collect();
        let mut words = vec![&*from];
        for (it, number) in self.moving.iter().zip(&numbers) {
            words.extend([&*it.epoch, number, &*it.text]);
        }
        let then = Then::Event(EventThen::Moved(shard, self.number));
        core.run_words(0, Script::Move, &words, then);
    }
}
