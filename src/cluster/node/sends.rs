//! Sends: how one is given to Redis, and what became of it.
//!
//! A send to one user, whose mailbox is in the same database as that of the sender, is one call of a script.
//! Any other send has several *steps*. The first one claims the name of the send, in the database of the
//! sender, and makes the copies for the sender's other devices. The others give the message to the users of
//! one database each, at most 100 of them. A step that was made before is not made again, so a send that
//! comes again after an unknown outcome does what was not done. The backend is told of a send in its first
//! step, in the database of the sender, where all events of a user are.

use std::collections::{HashMap, VecDeque};

use foldhash::quality::RandomState;
use slab::Slab;

use crate::cluster::ask::Sending;
use crate::journal::{Completion, Fate, Keep, Kept, stable_hash};

use super::call::{Call, Name, keep_of};
use super::in_order::{Behind, device_of, has_order};
use super::log::Then;
use super::outcomes::{Before, Read, best_of, better, fate_of, reached_nobody, read, result_of};
use super::{Node, Reply, reply};

/// The most users of one call of a script.
const MOST_USERS: usize = 100;
/// The messages of a group with more members are not kept.
const MOST_MEMBERS: i64 = 1_000;

/// What a reply to a step belongs to.
#[derive(Debug)]
pub enum SentAs {
    /// The only step of a send to one user.
    Only { serial: u64, content: u64, sender: u64, is_kept: bool, is_final: bool },
    /// The first step of several.
    First { send: usize, sender: u64 },
    /// A step that gives the message to users.
    Users { send: usize, step: Step },
    /// How many members a group has.
    Count { send: usize },
    /// The members of a group.
    Members { send: usize },
}

/// Users of one database who get the message.
#[derive(Debug)]
pub struct Step {
    shard: usize,
    /// The number of the step among those of its database.
    number: u64,
    /// The places of the users in the send, or of members in the list of members.
    users: Vec<u32>,
}

/// The sends that are not finished.
#[derive(Debug, Default)]
pub(super) struct Sends {
    /// Those with several steps.
    works: Slab<Work>,
    /// The last send of each sender that is not answered: its serial and its name.
    last: HashMap<u64, (u64, Name), RandomState>,
    /// The devices that have sent to a group or to several users, and what they have sent since. It waits, because one of
    /// these users would get it before.
    pub(super) behind: Behind,
}

/// A send with several steps.
#[derive(Debug)]
struct Work {
    serial: u64,
    sending: Box<Sending>,
    name: Option<Name>,
    /// The members of its group.
    members: Vec<Box<str>>,
    /// What is given to users next, for each database; one step of each is under way.
    steps: Vec<VecDeque<Step>>,
    /// How many steps are under way.
    open: usize,
    /// For each user who is named: the number of the message, 0 for offline, -1 for sent.
    results: Vec<i64>,
    /// For a group: users, connections, and the best result.
    reached: (u64, u64, i64),
    /// Whether a step was made that had not been made before.
    is_new: bool,
    /// The send, if it was made before.
    claimed: Option<Before>,
    /// The best of what became of its steps then.
    before: Option<Fate>,
    has_failed: bool,
    /// A script has run, or may have run, so that connections may have got the message.
    may_have_arrived: bool,
    /// The device whose later sends wait for this one.
    holds_back: Option<u64>,
}

impl Node {
    /// Gives a send to Redis.
    pub(super) fn send(&mut self, serial: u64, sending: Box<Sending>) {
        let is_one = sending.count() == 1;
        let shard = self.core.shard_of(sending.user());
        if is_one && self.core.shard_of(sending.to(0)) == shard {
            return self.send_to_one(serial, shard, &sending);
        }
        let is_group = !sending.group().is_empty();
        let name = name_of(&sending);
        let is_for_many = is_group || sending.count() > 1;
        let holds_back = (is_for_many && has_order(&sending)).then(|| device_of(&sending));
        if let Some(device) = holds_back {
            self.log.sends.behind.entry(device).or_default();
        }
        let work = Work {
            serial,
            name,
            members: Vec::new(),
            steps: Vec::new(),
            open: 0,
            results: vec![0; sending.count()],
            reached: (0, 0, 0),
            is_new: name.is_none(),
            claimed: None,
            before: None,
            has_failed: false,
            may_have_arrived: false,
            holds_back,
            sending,
        };
        let send = self.log.sends.works.insert(work);
        match is_group {
            true => self.ask_for_count(send),
            false => {
                self.divide(send);
                self.begin(send);
            }
        }
    }

    fn send_to_one(&mut self, serial: u64, shard: usize, sending: &Sending) {
        if !self.core.is_up(shard) {
            return self.finish(serial, Completion::Unavailable);
        }
        let name = name_of(sending);
        let (sender, previous) = self.follow(serial, shard, sending, name);
        let then = SentAs::Only {
            serial,
            content: sending.content,
            sender,
            is_kept: sending.keep != Keep::Never,
            is_final: sending.is_final,
        };
        let own = if sending.own { b'o' } else { b'-' };
        let keep = keep_of(sending.keep);
        let call = Call { name, previous, keep, own, note: "", reports: true };
        self.call(shard, sending, call, std::iter::once(sending.to(0)), then);
    }

    /// Notes that a sender has another send, and returns the one before it that is not answered.
    fn follow(
        &mut self,
        serial: u64,
        shard: usize,
        sending: &Sending,
        name: Option<Name>,
    ) -> (u64, Option<Name>) {
        // The messages of a backend's request do not depend on each other.
        let Some(name) = name.filter(|_| sending.once().is_empty()) else { return (0, None) };
        let sender = stable_hash(&[&shard.to_le_bytes(), sending.user().as_bytes()]);
        let before = self.log.sends.last.insert(sender, (serial, name));
        (sender, before.map(|(_, name)| name))
    }

    fn answered(&mut self, serial: u64, sender: u64) {
        let last = &mut self.log.sends.last;
        if last.get(&sender).is_some_and(|(last, _)| *last == serial) {
            last.remove(&sender);
        }
    }

    // ---------------------------------------------------------------- several steps

    /// Asks about the members of the group of a send. The command has `range` behind the group's key.
    fn ask_group(&mut self, send: usize, command: &str, range: &[&[u8]], then: SentAs) {
        let Some(work) = self.log.sends.works.get(send) else { return };
        let shard = self.core.shard_of(work.sending.group());
        let key = format!("{}g:{}", self.core.settings.prefix, work.sending.group());
        let words = [&[command.as_bytes(), key.as_bytes()], range].concat();
        self.core.command(shard, &words, super::Then::Log(Then::Sent(then)));
    }

    fn ask_for_count(&mut self, send: usize) {
        self.ask_group(send, "ZCARD", &[], SentAs::Count { send });
    }

    fn ask_for_members(&mut self, send: usize) {
        let most = MOST_MEMBERS.to_string();
        self.ask_group(send, "ZRANGE", &[b"0", most.as_bytes()], SentAs::Members { send });
    }

    /// Divides the users of a send into steps.
    fn divide(&mut self, send: usize) {
        let Some(work) = self.log.sends.works.get_mut(send) else { return };
        let mut steps: Vec<VecDeque<Step>> = Vec::new();
        steps.resize_with(self.core.shards.len(), VecDeque::new);
        let count = work.members.len() + work.sending.count();
        for at in 0..count {
            let user = match work.members.get(at) {
                Some(user) => user,
                None => work.sending.to(at),
            };
            let shard = self.core.shard_of(user);
            let Some(of_shard) = steps.get_mut(shard) else { continue };
            let number = of_shard.len() as u64;
            match of_shard.back_mut().filter(|step| step.users.len() < MOST_USERS) {
                Some(step) => step.users.push(at as u32),
                None => of_shard.push_back(Step { shard, number, users: vec![at as u32] }),
            }
        }
        work.steps = steps;
    }

    /// Takes the first step: the name is claimed and copies are made. Without a name, all begin at once.
    fn begin(&mut self, send: usize) {
        let Some(work) = self.log.sends.works.get_mut(send) else { return };
        let Some(name) = work.name else { return self.go_on(send, None) };
        work.open += 1;
        let shard = self.core.shard_of(work.sending.user());
        if !self.core.is_up(shard) {
            work.has_failed = true;
            return self.step_is_done(send);
        }
        let sending = std::mem::take(&mut work.sending);
        let serial = work.serial;
        let (sender, previous) = self.follow(serial, shard, &sending, Some(name));
        let then = SentAs::First { send, sender };
        // The script makes copies for the users who are named; a group has one copy.
        let name = Some(name);
        let call = Call { name, previous, keep: b'i', own: b'c', note: "", reports: true };
        let named = if sending.own { sending.count() } else { 0 };
        let users: Vec<&str> = (0..named).map(|at| sending.to(at)).collect();
        self.call(shard, &sending, call, users.into_iter(), then);
        if let Some(work) = self.log.sends.works.get_mut(send) {
            work.sending = sending;
        }
    }

    /// Takes the next step in one database, or in all of them.
    fn go_on(&mut self, send: usize, only: Option<usize>) {
        for shard in 0..self.core.shards.len() {
            if only.is_some_and(|only| only != shard) {
                continue;
            }
            let Some(round) = self.log.sends.works.get(send).map(|it| it.sending.round) else {
                return;
            };
            let is_failed = self.log.is_failed(round);
            let Some(work) = self.log.sends.works.get_mut(send) else { return };
            // A send that has failed before this one comes again, and must not be overtaken.
            work.has_failed |= is_failed && work.name.is_some();
            let Some(step) = work.steps.get_mut(shard).and_then(VecDeque::pop_front) else {
                continue;
            };
            if !self.core.is_up(shard) || work.has_failed {
                work.has_failed = true;
                continue;
            }
            work.open += 1;
            let sending = std::mem::take(&mut work.sending);
            let members = std::mem::take(&mut work.members);
            let name = work.name.map(|name| {
                let parts = [&name[..], &shard.to_le_bytes(), &step.number.to_le_bytes()];
                stable_hash(&parts).to_be_bytes()
            });
            let user = |at: u32| {
                let at = at as usize;
                match members.get(at) {
                    Some(user) => user,
                    None => sending.to(at),
                }
            };
            let users: Vec<&str> = step.users.iter().map(|at| user(*at)).collect();
            // Members who come or go meanwhile must not move others into another step, if the send comes again.
            let note =
                if members.is_empty() { "" } else { users.last().copied().unwrap_or_default() };
            let keep = match (members.is_empty(), sending.keep) {
                (true, keep) => keep_of(keep),
                (false, Keep::Always) => b'u',
                (false, Keep::Never) => b'n',
                (false, Keep::Usual | Keep::IfMailbox) => b'i',
            };
            // A send with a name has told of its events in its first step.
            let reports = name.is_none();
            let call = Call { name, previous: None, keep, own: b'-', note, reports };
            let then = SentAs::Users { send, step };
            self.call(shard, &sending, call, users.into_iter(), then);
            if let Some(work) = self.log.sends.works.get_mut(send) {
                (work.sending, work.members) = (sending, members);
            }
        }
        self.end_if_done(send);
    }

    fn step_is_done(&mut self, send: usize) {
        if let Some(work) = self.log.sends.works.get_mut(send) {
            work.open -= 1;
        }
        self.end_if_done(send);
    }

    fn end_if_done(&mut self, send: usize) {
        let Some(work) = self.log.sends.works.get(send) else { return };
        if work.open > 0 || !work.has_failed && work.steps.iter().any(|steps| !steps.is_empty()) {
            return;
        }
        let Some(work) = self.log.sends.works.try_remove(send) else { return };
        let holds_back = work.holds_back;
        // What is not kept is delivered by nobody else, if it may have been delivered.
        let is_passed = work.sending.keep == Keep::Never && work.may_have_arrived;
        let completion = match (work.has_failed && !is_passed, work.claimed) {
            (true, _) => Completion::Unavailable,
            (false, Some(claimed)) if !work.is_new => {
                let is_same = claimed.content == work.sending.content;
                let fate = work.before.unwrap_or(claimed.fate);
                let is_stored = self.syncs_always(self.core.shard_of(work.sending.user()));
                Completion::Repeated { id: claimed.id, fate, is_same, is_stored }
            }
            _ => {
                let shard = self.core.shard_of(work.sending.user());
                let mut kept = self.kept(shard, &work.results);
                if !work.sending.group().is_empty() {
                    let (users, connections, best) = work.reached;
                    kept.members = Some((users, connections));
                    kept.fates = vec![fate_of(best)];
                    kept.seqs = Vec::new();
                }
                Completion::Appended(kept)
            }
        };
        self.finish(work.serial, completion);
        if let Some(device) = holds_back {
            self.send_what_waited(device);
        }
    }

    /// A group is too large, or nobody is in it: nothing was done.
    fn end_with(&mut self, send: usize, completion: Completion) {
        if let Some(work) = self.log.sends.works.try_remove(send) {
            self.finish(work.serial, completion);
            if let Some(device) = work.holds_back {
                self.send_what_waited(device);
            }
        }
    }

    fn syncs_always(&self, shard: usize) -> bool {
        self.core.shards.get(shard).is_some_and(|it| it.info.syncs_always)
    }

    fn kept(&self, shard: usize, results: &[i64]) -> Kept {
        Kept {
            is_stored: self.syncs_always(shard),
            seqs: results.iter().map(|result| (*result).max(0) as u64).collect(),
            fates: results.iter().map(|result| fate_of(*result)).collect(),
            members: None,
        }
    }

    // ---------------------------------------------------------------- replies

    pub(super) fn sent(&mut self, shard: usize, sent: SentAs, reply: Reply) {
        // A script that is refused in its middle, because the memory is full, has published before.
        let is_unknown = match &reply {
            Reply::Unknown => true,
            Reply::Refused(text) => {
                !["NOSCRIPT", "LOADING", "EPOCH"].iter().any(|code| text.starts_with(code))
            }
            _ => false,
        };
        let may_have_arrived = is_unknown || matches!(reply, Reply::Done(_));
        let has_no_reply = matches!(reply, Reply::Unknown);
        let value = reply.done();
        match sent {
            SentAs::Only { serial, content, sender, is_kept, is_final } => {
                self.answered(serial, sender);
                let completion = match read(value) {
                    // It may have reached connections, and nobody may deliver it a second time.
                    Read::Failed if is_unknown && !is_kept || has_no_reply && is_final => {
                        Completion::Appended(self.kept(shard, &[result_of(Fate::Sent)]))
                    }
                    Read::Results(results) if results.len() == 1 => {
                        Completion::Appended(self.kept(shard, &results))
                    }
                    Read::Before(before, _) => {
                        let is_same = before.content == content;
                        let is_stored = self.syncs_always(shard);
                        let Before { id, fate, .. } = before;
                        Completion::Repeated { id, fate, is_same, is_stored }
                    }
                    Read::Results(_) | Read::Failed => Completion::Unavailable,
                };
                self.finish(serial, completion);
            }
            SentAs::First { send, sender } => {
                let Some(work) = self.log.sends.works.get_mut(send) else { return };
                let serial = work.serial;
                work.may_have_arrived |= may_have_arrived;
                match read(value) {
                    Read::Results(_) => work.is_new = true,
                    Read::Before(before, _) => {
                        if before.content != work.sending.content {
                            // It was used for something else, so nothing is done.
                            work.steps.clear();
                        }
                        work.claimed = Some(before);
                    }
                    Read::Failed => work.has_failed = true,
                }
                self.answered(serial, sender);
                let Some(work) = self.log.sends.works.get_mut(send) else { return };
                work.open -= 1;
                self.go_on(send, None);
            }
            SentAs::Users { send, step } => {
                let Some(work) = self.log.sends.works.get_mut(send) else { return };
                let is_group = !work.members.is_empty();
                work.may_have_arrived |= may_have_arrived;
                match read(value) {
                    Read::Results(results) if is_group => {
                        if let [users, connections, best] = results[..] {
                            work.reached.0 += users.max(0) as u64;
                            work.reached.1 += connections.max(0) as u64;
                            work.reached.2 = better(work.reached.2, best);
                            work.is_new = true;
                        }
                    }
                    Read::Results(results) => {
                        work.note(&step, results.into_iter());
                        work.is_new = true;
                    }
                    Read::Before(before, note) => {
                        work.redo(&step, &note);
                        let best = work.before.map_or(before.fate, |it| best_of(it, before.fate));
                        work.before = Some(best);
                        work.note(&step, std::iter::repeat(result_of(before.fate)));
                    }
                    Read::Failed
                        if is_unknown && work.sending.keep == Keep::Never
                            || has_no_reply && work.sending.is_final =>
                    {
                        // It may have reached connections, and nobody may deliver it a second time.
                        work.note(&step, std::iter::repeat(result_of(Fate::Sent)));
                        work.is_new = true;
                    }
                    Read::Failed => work.has_failed = true,
                }
                work.open -= 1;
                let shard = step.shard;
                self.go_on(send, Some(shard));
            }
            SentAs::Count { send } => match value.as_ref().and_then(reply::int) {
                Some(0)
                    if !self.log.sends.works.get(send).is_some_and(|it| has_order(&it.sending)) =>
                {
                    self.end_with(send, reached_nobody(0));
                }
                // Copies for the other devices of the sender are made nevertheless.
                Some(0) => self.begin(send),
                Some(count) if count > MOST_MEMBERS => {
                    self.end_with(send, Completion::Appended(Kept::default()));
                }
                Some(_) => self.ask_for_members(send),
                None => self.end_with(send, Completion::Unavailable),
            },
            SentAs::Members { send } => {
                let Some(value) = value else {
                    return self.end_with(send, Completion::Unavailable);
                };
                let Some(work) = self.log.sends.works.get_mut(send) else { return };
                let sending = &work.sending;
                let is_meant = |user: &&str| {
                    let is_sender = sending.own && *user == sending.user();
                    !is_sender && !sending.is_excepted(user)
                };
                work.members = reply::texts(&value).filter(is_meant).map(Into::into).collect();
                self.divide(send);
                self.begin(send);
            }
        }
    }
}

impl Work {
    /// Notes the results of the users of a step.
    fn note(&mut self, step: &Step, results: impl Iterator<Item = i64>) {
        for (at, result) in step.users.iter().zip(results) {
            if let Some(place) = self.results.get_mut(*at as usize) {
                *place = result;
            }
        }
    }

    /// A step was made before. Its users were those up to `last`, so those behind it belong to the next one.
    fn redo(&mut self, step: &Step, last: &str) {
        if last.is_empty() {
            return;
        }
        let name = |at: &u32| self.members.get(*at as usize).map_or("", |user| &**user);
        let behind: Vec<u32> = step.users.iter().copied().filter(|at| name(at) > last).collect();
        let Some(steps) = self.steps.get_mut(step.shard) else { return };
        let all = behind.into_iter().chain(steps.drain(..).flat_map(|step| step.users));
        let all: Vec<u32> = all
            .filter(|at| self.members.get(*at as usize).is_some_and(|user| **user > *last))
            .collect();
        for (at, users) in all.chunks(MOST_USERS).enumerate() {
            let number = step.number + 1 + at as u64;
            steps.push_back(Step { shard: step.shard, number, users: users.to_vec() });
        }
    }
}

fn name_of(sending: &Sending) -> Option<Name> {
    let cid = sending.cid();
    let content = sending.content.to_be_bytes();
    let parts = match sending.once().is_empty() {
        true => [sending.device().as_bytes(), cid.as_bytes()],
        // A key that was given up may be used for another request.
        false => [&content[..], cid.as_bytes()],
    };
    (!cid.is_empty()).then(|| stable_hash(&parts).to_be_bytes())
}
