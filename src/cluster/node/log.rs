//! Messages that are kept: the order in which sends are completed, and the epochs of their numbers.

use std::collections::VecDeque;

use redis::Value;

use crate::cluster::Event;
use crate::cluster::ask::{Sending, Wanted};
use crate::journal::{Completed, Completion, Keep, Ticket, new_epoch};

use super::acks::Acks;
use super::arrive::Arrivals;
use super::pass::is_passing;
use super::sends::{Sends, SentAs};
use super::{Node, Reply, Script, reply};

/// How often messages are looked for whose time is over, in milliseconds.
const DUE_EVERY_MS: u64 = 1_000;
/// Of how many users one script takes out the messages whose time is over.
const DUE_USERS: &str = "5";

/// What is to be done with a reply.
#[derive(Debug)]
pub enum Then {
    /// It names the epoch. It was asked for at this time.
    Epoch(u64),
    /// It belongs to a send.
    Sent(SentAs),
    /// It says how many users had messages whose time was over.
    Due,
    /// A device of a user has acknowledged the messages up to a number.
    Acked((Box<str>, Box<str>), u64),
    /// All messages of a user are forgotten.
    Forgotten(Ticket),
    /// It is the mailbox of a user.
    Mailbox(Ticket, Box<str>),
    /// It is the newest number of a user.
    Newest(Box<str>),
    /// These are messages that were missing.
    Found(Box<str>),
    /// These are the messages that the state of a connection lacks, which enters with this ticket.
    Rest(Box<str>, Ticket),
}

/// A send that is not completed.
#[derive(Debug)]
struct Slot {
    ticket: Ticket,
    round: u32,
    /// It is not sent again, so it depends on no send before it.
    is_alone: bool,
    completion: Option<Completion>,
}

/// What a node knows of messages.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// The sends that are not completed, in the order in which they came.
    order: VecDeque<Slot>,
    /// The serial of the first of them.
    first: u64,
    /// The last round in which a send has failed.
    failed: Option<u32>,
    /// The last round in which a send has failed, also if earlier sends are not completed yet.
    failing: Option<u32>,
    pub(super) sends: Sends,
    pub(super) arrivals: Arrivals,
    pub(super) acks: Acks,
    /// When messages are looked for next whose time is over.
    due_at: u64,
    /// How many new epochs the loop was told of and has not handled yet. Until it has, the numbers that it names
    /// may be of an earlier epoch.
    pub(super) unfollowed: u32,
    /// Epochs of shards, by their names from the oldest to the present one.
    epochs: Vec<Vec<Box<str>>>,
}

impl Log {
    /// Whether a send of this round has failed, so that later ones must not be carried out.
    pub(super) fn is_failed(&self, round: u32) -> bool {
        self.failed == Some(round) || self.failing == Some(round)
    }
}

impl Node {
    pub(super) fn append(&mut self, sending: Box<Sending>) {
        let log = &mut self.log;
        let serial = log.first + log.order.len() as u64;
        let Sending { ticket, round, .. } = *sending;
        let is_alone = matches!(sending.keep, Keep::IfMailbox | Keep::Never);
        log.order.push_back(Slot { ticket, round, is_alone, completion: None });
        match log.is_failed(round) {
            true => self.finish(serial, Completion::Unavailable),
            false if is_passing(&sending) => self.pass(serial, sending),
            false => self.send_in_order(serial, sending),
        }
    }

    /// Completes a send, when all before it are completed. If one has failed, all later ones of its round
    /// fail, too.
    pub(super) fn finish(&mut self, serial: u64, completion: Completion) {
        let Log { order, first, failed, failing, .. } = &mut self.log;
        let place = serial.checked_sub(*first).and_then(|place| order.get_mut(place as usize));
        if let Some(slot) = place {
            if matches!(completion, Completion::Unavailable) && !slot.is_alone {
                *failing = Some(slot.round);
            }
            slot.completion = Some(completion);
        }
        while let Some(completion) = order.front_mut().and_then(|slot| slot.completion.take()) {
            let Some(Slot { ticket, round, is_alone, .. }) = order.pop_front() else { break };
            *first += 1;
            let completion = match *failed == Some(round) && !is_alone {
                true => Completion::Unavailable,
                false => completion,
            };
            if matches!(completion, Completion::Unavailable) {
                if !is_alone {
                    *failed = Some(round);
                }
                self.core.counts.failed += 1;
            }
            self.core.tell(Event::Journal(Completed { ticket, completion }));
        }
    }

    pub(super) fn forget(&mut self, ticket: Ticket, user: &str, seq: u64) {
        let shard = self.core.shard_of(user);
        // Lua's numbers are exact up to this one.
        let seq = seq.min(1 << 53).to_string();
        let epoch = self.core.ordinal(shard).to_string();
        let args = [user, &seq, &epoch].map(|text| text.as_bytes());
        self.run_log(shard, Script::Forget, &args, Then::Forgotten(ticket));
    }

    /// Asks for the mailbox of a user, without a connection of the user, and for messages above a number.
    pub(super) fn look_into(&mut self, ticket: Ticket, user: Box<str>, after: u64, limit: usize) {
        self.flush_acks(&user);
        let shard = self.core.shard_of(&user);
        let (after, limit) = (after.to_string(), limit.to_string());
        let epoch = self.core.ordinal(shard).to_string();
        let args = [user.clone()];
        let args = [&*args[0], &after, &limit, &epoch].map(|text| text.as_bytes());
        self.run_log(shard, Script::Load, &args, Then::Mailbox(ticket, user));
    }

    pub(super) fn run_log(&mut self, shard: usize, script: Script, args: &[&[u8]], then: Then) {
        self.core.run(shard, script, args, super::Then::Log(then));
    }

    pub(super) fn ask_for_epoch(&mut self, shard: usize) {
        let Some(it) = self.core.shards.get(shard) else { return };
        let info = it.info.clone();
        let name = new_epoch(self.core.settings.seed);
        let bounds = self.core.settings.bounds;
        let bounds = format!("{} {}", bounds.messages, bounds.bytes);
        let args = [&info.run_id, &info.replid, &info.replid2, &name, &bounds];
        let then = Then::Epoch(self.core.now);
        self.run_log(shard, Script::Epoch, &args.map(|text| text.as_bytes()), then);
    }

    /// The epoch of a shard is known. If it is another one than before, clients are told before anything
    /// with a number of the new one arrives.
    fn learn_epoch(&mut self, shard: usize, value: &Value, asked: u64, now: u64) {
        let [ordinal, time, names] = reply::list(value) else { return };
        let (Some(ordinal), Some(names)) = (reply::int(ordinal), reply::text(names)) else {
            return;
        };
        if let Some(time) = reply::int(time) {
            self.core.clock_is(shard, asked, time);
        }
        let Some(it) = self.core.shards.get_mut(shard) else { return };
        let names: Vec<Box<str>> = names.split_whitespace().map(Into::into).collect();
        if self.log.epochs.len() <= shard {
            self.log.epochs.resize_with(shard + 1, Vec::new);
        }
        let before = self.log.epochs.get(shard).and_then(|names| names.last());
        let is_new = before.is_some_and(|before| names.last() != Some(before));
        it.ordinal = ordinal as u64;
        if let Some(known) = self.log.epochs.get_mut(shard) {
            *known = names;
        }
        if is_new {
            self.core.counts.epochs += 1;
            self.give_up_entries();
            self.log.arrivals.forget_all();
            self.log.acks.forget_all();
            self.log.unfollowed += 1;
            self.parts.routes.forget_numbers();
            let completion = Completion::NewEpoch;
            self.core.tell(Event::Journal(Completed { ticket: Ticket::MAX, completion }));
        }
        self.begin_shard(shard, now);
    }

    /// The name of the epoch with an ordinal; that of the present one if it is not remembered.
    pub(super) fn epoch_name(&self, shard: usize, ordinal: u64) -> Box<str> {
        let names = self.log.epochs.get(shard).map_or(&[][..], |names| names);
        let back = self.core.ordinal(shard).saturating_sub(ordinal) as usize;
        let at = names.len().checked_sub(1 + back).or(names.len().checked_sub(1));
        at.and_then(|at| names.get(at)).cloned().unwrap_or_default()
    }

    /// The earlier epochs of a shard that are remembered, and the last number of a user in each. `ends` has
    /// `ordinal:number ` for each epoch in which the mailbox of the user was changed last before another one.
    pub(super) fn ends_of(&self, shard: usize, ends: &str) -> Vec<(Box<str>, u64)> {
        let names = self.log.epochs.get(shard).map_or(&[][..], |names| names);
        let oldest = (self.core.ordinal(shard) + 1).saturating_sub(names.len() as u64);
        let ends: Vec<(u64, u64)> = ends
            .split_whitespace()
            .filter_map(|end| {
                let (ordinal, top) = end.split_once(':')?;
                Some((ordinal.parse().ok()?, top.parse().ok()?))
            })
            .collect();
        let earlier = names.len().saturating_sub(1);
        let ordinals = names.iter().take(earlier).zip(oldest..);
        let of = ordinals.filter_map(|(name, ordinal)| {
            // The mailbox was not changed between these two epochs.
            let end = ends.iter().find(|(changed, _)| *changed >= ordinal)?;
            Some((name.clone(), end.1))
        });
        of.collect()
    }

    pub(super) fn log_replied(&mut self, shard: usize, then: Then, reply: Reply, now: u64) {
        match then {
            Then::Epoch(asked) => match reply {
                Reply::Done(value) => self.learn_epoch(shard, &value, asked, now),
                Reply::Refused(_) => {
                    if let Some(it) = self.core.shards.get_mut(shard) {
                        it.wants_reconnect = true;
                    }
                }
                Reply::Unknown | Reply::Unsent => {}
            },
            Then::Sent(sent) => self.sent(shard, sent, reply),
            Then::Acked(name, seq) => self.ack_replied(name, seq, reply, now),
            Then::Due => {
                let count = reply.done().and_then(|value| reply::int(&value)).unwrap_or_default();
                if count.to_string() == DUE_USERS {
                    self.run_log(shard, Script::Due, &[DUE_USERS.as_bytes()], Then::Due);
                }
            }
            Then::Forgotten(ticket) => {
                let completion = match reply {
                    Reply::Done(_) => Completion::Forgotten,
                    Reply::Refused(_) | Reply::Unknown | Reply::Unsent => Completion::Unavailable,
                };
                self.core.tell(Event::Journal(Completed { ticket, completion }));
            }
            Then::Mailbox(ticket, user) => self.looked_into(shard, ticket, &user, reply),
            Then::Newest(user) => self.learn_newest(user, reply),
            Then::Found(user) => self.missing_found(user, reply),
            Then::Rest(user, ticket) => self.rest_found(shard, &user, ticket, reply),
        }
    }

    pub(super) fn log_tick(&mut self, now: u64) {
        self.send_acks(now);
        self.compare_some(now);
        if now >= self.log.due_at {
            self.log.due_at = now + DUE_EVERY_MS;
            for shard in 0..self.core.shards.len() {
                if self.core.is_up(shard) {
                    self.run_log(shard, Script::Due, &[DUE_USERS.as_bytes()], Then::Due);
                }
            }
        }
    }

    pub(super) fn log_next_due(&self) -> Option<u64> {
        let all = [self.log.acks.next_due(), self.next_compare(), Some(self.log.due_at)];
        all.into_iter().flatten().min()
    }

    /// A connection that leaves before the loop knows of the new epoch names numbers of an earlier one.
    pub(super) fn drop_stale_numbers(&self, wanted: &mut Wanted) {
        if self.log.unfollowed > 0
            && let Wanted::Leave { cursor, hung_at, .. } = wanted
        {
            (*cursor, *hung_at) = (0, None);
        }
    }

    /// Notes which users have connections with mailboxes. Returns the user of a connection that leaves.
    pub(super) fn note_visitor(&mut self, wanted: &Wanted) -> Option<Box<str>> {
        match wanted {
            Wanted::Enter { user, has_mailbox, visits, .. } if *has_mailbox || *visits => {
                self.flush_acks(user);
                self.log.arrivals.wait_for(user);
            }
            Wanted::Leave { user, device, .. } => {
                self.drop_ack(user, device);
                return Some(user.clone());
            }
            _ => {}
        }
        None
    }

    /// A connection has left: nothing arrives any more for a user without one.
    pub(super) fn forget_visitor(&mut self, user: Option<Box<str>>) {
        if let Some(user) = user.filter(|user| !self.parts.routes.needs_mailbox(user)) {
            self.log.arrivals.forget(&user);
        }
    }
}
