//! Messages that arrive for users of this node, in the order of their numbers.
//!
//! Of each user with a mailbox the node knows the newest number that has arrived. The numbers of a user have
//! no holes, so a payload with a number too far ahead shows that payloads are missing; then the missing
//! messages are read from Redis. After each new subscription, and every 40 seconds, the newest numbers are
//! compared with those in Redis, because the last payload may be missing.

use std::collections::{HashMap, VecDeque};

use foldhash::quality::RandomState;
use redis::Value;

use crate::cluster::codec;
use crate::engine::{Gone, Refused, Shared, Told};
use crate::journal::{Stored, Ticket};

use super::complete::Entering;
use super::log::Then;
use super::{Node, Reply, Script, reply};

/// The newest numbers of all users are compared in so many milliseconds.
const ROUND_MS: u64 = 40_000;
/// How often some of them are compared.
const STEP_MS: u64 = 500;
/// How many commands wait at most when a user is compared.
const MOST_QUEUED: usize = 64;
/// How many messages are read at once.
pub(super) const MOST_FOUND: usize = 256;
/// How many messages of a user wait for missing ones. What comes beyond is missing, too.
const MOST_WAITING: usize = 256;

/// What has arrived.
#[derive(Debug, Default)]
pub struct Arrivals {
    pub(super) users: HashMap<Box<str>, Arrival, RandomState>,
    /// The users in the order in which they are compared. One may have left.
    ring: VecDeque<Box<str>>,
    /// The users who are compared before all others.
    soon: VecDeque<Box<str>>,
    /// When the next ones are compared.
    step_at: u64,
}

/// What has arrived for a user with a mailbox.
#[derive(Debug, Default)]
pub(super) struct Arrival {
    /// The newest number that has arrived.
    pub(super) top: u64,
    /// The newest number of which the loop of the server was told. It is above `top` while messages are told
    /// again, because a connection may have missed them.
    told: u64,
    /// Whether the newest number is known: a connection has entered.
    pub(super) has_entered: bool,
    /// Whether missing messages are being read.
    is_reading: bool,
    /// Only messages above this number are being read.
    read_above: u64,
    /// The highest number that waited when the missing messages were asked for: all below it are found
    /// then, or are gone.
    asked_for: u64,
    /// Messages that wait for missing ones, by their numbers.
    waiting: VecDeque<(u64, Stored)>,
    /// Connections whose state is being completed. Meanwhile the loop is told of no message.
    pub(super) entering: Vec<Entering>,
}

impl Arrival {
    /// The newest number of which the loop may have been told.
    pub(super) fn newest_told(&self) -> u64 {
        self.told.max(self.top)
    }

    /// Adds a message, if it is newer than all that have arrived, to what the loop is told.
    fn arrives(&mut self, seq: u64, stored: Stored, telling: &mut Vec<Told>) {
        if seq <= self.top {
            return;
        }
        self.top = seq;
        match (telling.last_mut(), seq <= self.told) {
            (Some(Told::Again(all)), true) | (Some(Told::Arrived(all)), false) => all.push(stored),
            (_, true) => telling.push(Told::Again(vec![stored])),
            (_, false) => telling.push(Told::Arrived(vec![stored])),
        }
        self.told = self.told.max(seq);
    }
}

impl Arrivals {
    /// A new epoch has begun, in which the same number may belong to another message.
    pub fn forget_all(&mut self) {
        self.users.clear();
        self.ring.clear();
        self.soon.clear();
    }

    /// The user has no connection with a mailbox any more.
    pub fn forget(&mut self, user: &str) {
        self.users.remove(user);
    }

    /// A connection with a mailbox is about to enter.
    pub fn wait_for(&mut self, user: &str) {
        if !self.users.contains_key(user) {
            self.users.insert(user.into(), Arrival::default());
            self.ring.push_back(user.into());
        }
    }
}

impl Node {
    /// Messages were published for users of this node.
    pub(super) fn messages_published(&mut self, shard: usize, payload: &[u8]) {
        let Some((ordinal, mut heads, entry)) = codec::read_payload(payload) else { return };
        // A number of an epoch that this node does not know yet would be taken for one of the earlier epoch.
        // Such a message is read when the epoch is known.
        let known = self.core.ordinal(shard);
        let is_up = self.core.is_up(shard) && ordinal == known;
        if ordinal > known
            && let Some(it) = self.core.shards.get_mut(shard)
        {
            it.wants_reconnect |= it.is_up;
        }
        let users = &mut self.log.arrivals.users;
        let mut missing = Vec::new();
        heads.retain(|(seq, user)| {
            if *seq == 0 {
                return true;
            }
            let Some(it) = users.get_mut(*user) else { return true };
            if !is_up || it.has_entered && *seq <= it.top {
                return false;
            }
            let has_turn = !it.is_reading && it.entering.is_empty();
            if it.has_entered && has_turn && *seq == it.top + 1 {
                (it.top, it.told) = (*seq, it.told.max(*seq));
                return true;
            }
            if it.waiting.len() < MOST_WAITING
                && let Some(stored) = codec::read_entry(entry, None, &[(*seq, user)])
            {
                it.waiting.push_back((*seq, stored));
            }
            if it.has_entered {
                missing.push(Box::<str>::from(*user));
            }
            false
        });
        if !heads.is_empty()
            && let Some(stored) = codec::read_entry(entry, None, &heads)
        {
            self.core.say(Told::Arrived(vec![stored]));
        }
        for user in missing {
            self.read_missing(user);
        }
    }

    /// Tells that all messages of a user up to a number are forgotten.
    pub(super) fn forgotten_published(&mut self, payload: &[u8]) {
        let read = || {
            let (from, rest) = codec::read_number(payload)?;
            let (to, rest) = codec::read_number(rest)?;
            Some((from, to, std::str::from_utf8(rest).ok()?))
        };
        let Some((from, to, user)) = read() else { return };
        if from <= to {
            let gone = Gone { from, to, why: 'l', only: "".into(), but: "".into() };
            self.core.say(Told::Gone { user: user.into(), gone });
        }
    }

    /// Reads the messages of a user that are missing.
    pub(super) fn read_missing(&mut self, user: Box<str>) {
        let shard = self.core.shard_of(&user);
        let Some(it) = self.log.arrivals.users.get_mut(&user) else { return };
        if it.is_reading || !it.entering.is_empty() || !self.core.is_up(shard) {
            return;
        }
        (it.is_reading, it.read_above) = (true, it.top);
        it.asked_for = it.waiting.iter().map(|(seq, _)| *seq).max().unwrap_or_default();
        self.core.counts.repaired += 1;
        let above = it.top;
        self.ask_for_messages(shard, &user.clone(), above, Then::Found(user));
    }

    /// Asks for the messages of a user above a number.
    pub(super) fn ask_for_messages(&mut self, shard: usize, user: &str, above: u64, found: Then) {
        let (above, count) = (above.to_string(), MOST_FOUND.to_string());
        let epoch = self.core.ordinal(shard).to_string();
        let words = [user, &above, &count, &epoch];
        self.core.run_words(shard, Script::Missing, &words, super::Then::Log(found));
    }

    pub(super) fn missing_found(&mut self, user: Box<str>, reply: Reply) {
        let Some(it) = self.log.arrivals.users.get_mut(&user) else { return };
        it.is_reading = false;
        if !it.has_entered {
            // The question is of an earlier connection. What waits comes with the one that enters.
            return;
        }
        // If Redis has not answered, the next comparison of newest numbers finds the missing messages.
        let value = reply.done();
        let Some((newest, gone, found)) = value.as_ref().and_then(read_found) else { return };
        if it.top < it.read_above {
            // Meanwhile a connection has entered that may have missed earlier ones.
            return self.read_missing(user);
        }
        let is_all = found.len() < MOST_FOUND;
        let mut telling = Vec::new();
        let top = it.top;
        let mut gone =
            gone.into_iter().filter(|gone| gone.to > top && gone.from <= newest).peekable();
        for (seq, stored) in found.iter().filter_map(|entry| read_stream(entry, &user, None)) {
            while let Some(gone) = gone.next_if(|gone| gone.from < seq) {
                telling.push(Told::Gone { user: user.clone(), gone });
            }
            it.arrives(seq, stored, &mut telling);
        }
        if is_all {
            telling.extend(gone.map(|gone| Told::Gone { user: user.clone(), gone }));
            it.top = it.top.max(newest);
            let first = it.waiting.iter().map(|(seq, _)| *seq).find(|seq| *seq > it.top);
            if let Some(first) = first.filter(|first| *first <= it.asked_for) {
                it.top = first - 1;
            }
        }
        telling.into_iter().for_each(|told| self.core.say(told));
        match is_all {
            true => self.use_waiting(&user),
            false => self.read_missing(user),
        }
    }

    /// Tells of messages that have waited for missing ones.
    pub(super) fn use_waiting(&mut self, user: &str) {
        let Some(it) = self.log.arrivals.users.get_mut(user) else { return };
        if it.is_reading || !it.has_entered || !it.entering.is_empty() {
            return;
        }
        let mut telling = Vec::new();
        let mut is_missing = false;
        while let Some((seq, _)) = it.waiting.front() {
            if *seq > it.top + 1 {
                is_missing = true;
                break;
            }
            let Some((seq, stored)) = it.waiting.pop_front() else { break };
            it.arrives(seq, stored, &mut telling);
        }
        telling.into_iter().for_each(|told| self.core.say(told));
        if is_missing {
            self.read_missing(user.into());
        }
    }

    // ---------------------------------------------------------------- comparing

    /// Compares the newest numbers of all users of a shard as soon as there is room.
    pub(super) fn compare_all(&mut self, shard: usize) {
        let arrivals = &mut self.log.arrivals;
        let core = &self.core;
        let known: std::collections::HashSet<&str> = arrivals.soon.iter().map(|it| &**it).collect();
        let users = arrivals.users.keys().map(|user| &**user);
        let of_shard = users.filter(|user| core.shard_of(user) == shard && !known.contains(user));
        let more: Vec<Box<str>> = of_shard.map(Into::into).collect();
        arrivals.soon.extend(more);
    }

    /// Compares some of the newest numbers.
    pub(super) fn compare_some(&mut self, now: u64) {
        while let Some(user) = self.log.arrivals.soon.front() {
            let shard = self.core.shard_of(user);
            if self.core.is_up(shard) && self.core.queued(shard) >= MOST_QUEUED {
                break;
            }
            let Some(user) = self.log.arrivals.soon.pop_front() else { break };
            self.compare(user);
        }
        let arrivals = &mut self.log.arrivals;
        if now < arrivals.step_at {
            return;
        }
        arrivals.step_at = now + STEP_MS;
        let steps = (ROUND_MS / STEP_MS) as usize;
        for _ in 0..arrivals.ring.len().div_ceil(steps) {
            let arrivals = &mut self.log.arrivals;
            let Some(user) = arrivals.ring.pop_front() else { break };
            if !arrivals.users.contains_key(&user) {
                continue;
            }
            arrivals.ring.push_back(user.clone());
            self.compare(user);
        }
    }

    fn compare(&mut self, user: Box<str>) {
        let shard = self.core.shard_of(&user);
        let entered = self.log.arrivals.users.get(&user).is_some_and(|it| it.has_entered);
        if !entered || !self.core.is_up(shard) {
            return;
        }
        let key = format!("{}u:{user}", self.core.settings.prefix);
        let then = super::Then::Log(Then::Newest(user));
        self.core.command(shard, &[b"HGET", key.as_bytes(), b"t"], then);
    }

    pub(super) fn learn_newest(&mut self, user: Box<str>, reply: Reply) {
        let Some(newest) = reply.done().as_ref().and_then(reply::int) else { return };
        let it = self.log.arrivals.users.get(&user);
        if it.is_some_and(|it| newest as u64 > it.top) {
            self.read_missing(user);
        }
    }

    /// When some of the newest numbers have to be compared.
    pub(super) fn next_compare(&self) -> Option<u64> {
        let arrivals = &self.log.arrivals;
        (!arrivals.ring.is_empty()).then_some(arrivals.step_at)
    }

    // ---------------------------------------------------------------- mailboxes

    /// Reads the mailbox in the reply to a connection that enters.
    pub(super) fn read_mailbox(
        &mut self,
        shard: usize,
        user: &str,
        value: Value,
        is_asked: bool,
    ) -> Option<Shared> {
        let Some(shared) = self.shared_of(shard, user, &value, true) else {
            // A page of v1 has come. Other connections of its user here may need a mailbox.
            if !self.parts.routes.needs_mailbox(user) {
                self.log.arrivals.forget(user);
            }
            return None;
        };
        self.log.arrivals.wait_for(user);
        let it = self.log.arrivals.users.get_mut(user)?;
        if it.has_entered {
            // Messages may have arrived that the reply, which comes another way, does not know, or the reply
            // does not have all that wait. A connection that enters for the first time then waits until its
            // state is complete. After one that has entered again the loop is told once more of all that are newer
            // than the reply.
            if shared.top > it.top || shared.top < it.top && !is_asked {
                it.top = it.top.min(shared.top);
                self.read_missing(user.into());
            }
        } else {
            // What has arrived before the reply waits until it is told that the connection has entered.
            (it.top, it.has_entered) = (shared.top, true);
        }
        Some(shared)
    }

    pub(super) fn looked_into(&mut self, shard: usize, ticket: Ticket, user: &str, reply: Reply) {
        let mailbox = match reply {
            Reply::Done(value) => Ok(self.shared_of(shard, user, &value, false).map(Box::new)),
            Reply::Refused(_) | Reply::Unknown | Reply::Unsent => Err(Refused::Unavailable),
        };
        self.core.say(Told::Mailbox(ticket, mailbox));
    }

    /// Reads what devices.lua tells of a mailbox. For a connection that enters, the mailbox is as it was when the last
    /// message was the newest one that the reply has: what is newer comes as messages that were missing.
    fn shared_of(
        &self,
        shard: usize,
        user: &str,
        value: &Value,
        is_entering: bool,
    ) -> Option<Shared> {
        let [ordinal, top, base, ends, lost, count, devices, messages, now] = reply::list(value)
        else {
            return None;
        };
        let number = |value: &Value| Some(reply::int(value)? as u64);
        let now = reply::int(now)?;
        let entries = reply::list(messages);
        let found = entries.iter().filter_map(|entry| read_stream(entry, user, Some(now)));
        let messages: Vec<(u64, Stored)> = found.collect();
        let (top, waiting) = (number(top)?, number(count)?);
        let last = messages.last().map(|(seq, _)| *seq);
        let is_cut = is_entering && (entries.len() as u64) < waiting;
        let top = last.filter(|_| is_cut).unwrap_or(top);
        let lost = reply::list(lost).chunks_exact(5).filter_map(|it| {
            let [from, to, why, sign, name] = it else { return None };
            let name: Box<str> = reply::text(name)?.into();
            let (only, but) = match reply::text(sign)? {
                "=" => (name, "".into()),
                "!" => ("".into(), name),
                _ => ("".into(), "".into()),
            };
            let why = reply::text(why)?.chars().next()?;
            Some(Gone { from: number(from)?, to: number(to)?, why, only, but })
        });
        let devices = reply::list(devices).chunks_exact(3).filter_map(|it| {
            let [name, cursor, away] = it else { return None };
            Some((
                reply::text(name)?.into(),
                number(cursor)?,
                u32::try_from(reply::int(away)?).ok(),
            ))
        });
        Some(Shared {
            epoch: self.epoch_name(shard, number(ordinal)?),
            ends: self.ends_of(shard, reply::text(ends).unwrap_or_default()),
            top,
            base: number(base)?,
            devices: devices.collect(),
            lost: lost.filter(|gone| gone.from <= top).collect(),
            messages: messages.into_iter().map(|(_, stored)| stored).collect(),
            waiting,
        })
    }
}

/// Reads an entry of the stream of a user. With the time in seconds, it says for how many more it is kept.
pub(super) fn read_stream(entry: &Value, user: &str, now: Option<i64>) -> Option<(u64, Stored)> {
    let [id, fields] = reply::list(entry) else { return None };
    let [ends, Value::BulkString(bytes)] = reply::list(fields) else { return None };
    let seq = reply::text(id)?.split('-').next()?.parse().ok()?;
    let left = match now {
        Some(now) => Some(u32::try_from(reply::int(ends)? - now).ok().filter(|left| *left > 0)),
        None => None,
    };
    Some((seq, codec::read_entry(bytes, left, &[(seq, user)])?))
}

/// Reads what missing.lua answers: the newest number of a user, what is lost, and messages.
pub(super) fn read_found(value: &Value) -> Option<(u64, Vec<Gone>, &[Value])> {
    let [fields, found] = reply::list(value) else { return None };
    let fields = reply::list(fields);
    let newest = fields.first().and_then(reply::int).map_or(0, |number| number as u64);
    let name = |field| reply::text(field).and_then(|it| it.splitn(5, ' ').nth(4));
    let names: Vec<&str> =
        fields.iter().skip(2).map(|field| name(field).unwrap_or_default()).collect();
    let lost = fields.get(1).and_then(reply::text).unwrap_or_default();
    let gone = lost.split_whitespace().filter_map(|text| read_lost(text, &names));
    Some((newest, gone.collect(), reply::list(found)))
}

/// Reads a range of lost numbers, as devices.lua writes it: `from-to`, a letter, and `=slot` or `!slot`.
fn read_lost(text: &str, devices: &[&str]) -> Option<Gone> {
    let at = text.find(|it: char| it.is_ascii_alphabetic())?;
    let (numbers, rest) = text.split_at_checked(at)?;
    let (from, to) = numbers.split_once('-')?;
    let (why, mark) = rest.split_at_checked(1)?;
    let slot = mark.get(1..).and_then(|slot| slot.parse::<usize>().ok());
    let name: Box<str> =
        slot.and_then(|slot| devices.get(slot)).copied().unwrap_or_default().into();
    let (only, but) = match mark.get(..1) {
        Some("=") => (name, "".into()),
        Some("!") => ("".into(), name),
        _ => ("".into(), "".into()),
    };
    let why = why.chars().next()?;
    Some(Gone { from: from.parse().ok()?, to: to.parse().ok()?, why, only, but })
}
