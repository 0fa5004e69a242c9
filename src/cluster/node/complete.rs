//! Connections for which more waits than the reply has, with which they enter.
//!
//! The reply has a bounded number of messages, and newer ones may overtake it. The client may have had them on another
//! node, and names a number that the reply does not reach; or another device on this node has handled them, and then
//! the copy of the mailbox does not have them any more. So the node reads the rest from Redis, and the connection has
//! entered when its state has everything that waited, and everything of which the loop was told. What arrives
//! for the user meanwhile waits.

use compact_str::CompactString;

use crate::engine::{Entered, Shared, Told};
use crate::journal::Ticket;

use super::arrive::{MOST_FOUND, read_found, read_stream};
use super::log::Then;
use super::routes::Arrival;
use super::{Node, Reply, reply};

/// A connection that enters as soon as the state of its mailbox is complete.
#[derive(Debug)]
pub(super) struct Entering {
    ticket: Ticket,
    groups: Vec<Box<str>>,
    displaced: Vec<u64>,
    shared: Shared,
    /// The time of Redis in seconds when the state was read.
    read_at: i64,
    /// The newest number of the user when the connection entered.
    until: u64,
    /// Nothing has arrived for another connection of the user, so the loop is told by this state.
    is_first: bool,
}

impl Node {
    /// Redis knows of a connection that has entered.
    pub(super) fn take_arrival(&mut self, shard: usize, arrival: Arrival) {
        let Arrival { user, ticket, groups, mailbox, displaced, is_refused } = arrival;
        if let Some(ticket) = ticket.filter(|_| is_refused) {
            // Its client comes again. Then nobody doubts that it is the newest connection.
            let entered = Entered { groups, ..Entered::default() };
            self.core.say(Told::Entered(ticket, Box::new(entered)));
            return self.after_entry(&user, displaced);
        }
        let parts = reply::list(&mailbox);
        let read_at = parts.last().and_then(reply::int).unwrap_or_default();
        let until = parts.get(1).and_then(reply::int).unwrap_or_default() as u64;
        let is_first = !self.log.arrivals.users.get(&*user).is_some_and(|it| it.has_entered);
        let mailbox = self.read_mailbox(shard, &user, mailbox, ticket.is_some());
        let Some(ticket) = ticket else {
            self.core.say(Told::Groups { user: Box::from(&*user), groups });
            return self.after_entry(&user, displaced);
        };
        let users = &mut self.log.arrivals.users;
        let it = users.get_mut(&*user);
        match (mailbox, it) {
            (Some(shared), Some(it)) if shared.top < it.newest_told().max(until) => {
                let above = shared.top;
                it.entering.push(Entering {
                    ticket,
                    groups,
                    displaced,
                    shared,
                    read_at,
                    until,
                    is_first,
                });
                self.read_rest(shard, &user, ticket, above);
            }
            (mailbox, _) => {
                let entered = Entered { mailbox, groups, is_alone: false };
                self.core.say(Told::Entered(ticket, Box::new(entered)));
                self.after_entry(&user, displaced);
            }
        }
    }

    fn after_entry(&mut self, user: &CompactString, displaced: Vec<u64>) {
        for conn in displaced {
            self.parts.routes.displaced(&mut self.core, user, conn);
        }
        self.use_waiting(user);
    }

    /// Reads the messages above a number for a connection that enters.
    fn read_rest(&mut self, shard: usize, user: &str, ticket: Ticket, above: u64) {
        self.core.counts.repaired += 1;
        self.ask_for_messages(shard, user, above, Then::Rest(user.into(), ticket));
    }

    pub(super) fn rest_found(&mut self, shard: usize, user: &str, ticket: Ticket, reply: Reply) {
        let Some(it) = self.log.arrivals.users.get_mut(user) else { return };
        let told = it.newest_told();
        let Some(at) = it.entering.iter().position(|it| it.ticket == ticket) else { return };
        let value = reply.done();
        let Some((newest, gone, found)) = value.as_ref().and_then(read_found) else {
            let entering = it.entering.remove(at);
            return self.finish_entry(user, entering, false);
        };
        let entering = &mut it.entering[at];
        let shared = &mut entering.shared;
        let before = shared.top;
        for (seq, stored) in
            found.iter().filter_map(|entry| read_stream(entry, user, Some(entering.read_at)))
        {
            shared.top = shared.top.max(seq);
            shared.messages.push(stored);
        }
        let is_all = found.len() < MOST_FOUND || shared.top == before;
        if is_all {
            shared.top = shared.top.max(newest);
        }
        let gone = gone.into_iter();
        shared.lost.extend(gone.filter(|gone| gone.from > before && gone.from <= shared.top));
        let above = shared.top;
        if above < told.max(entering.until) && !is_all {
            return self.read_rest(shard, user, ticket, above);
        }
        let entering = it.entering.remove(at);
        self.finish_entry(user, entering, true);
    }

    /// The connection has entered. Without a state nobody can tell what waits for it, so its client has to
    /// come again.
    fn finish_entry(&mut self, user: &str, entering: Entering, has_state: bool) {
        let Entering { ticket, groups, displaced, shared, is_first, .. } = entering;
        let it = self.log.arrivals.users.get_mut(user);
        let is_newer = it.is_some_and(|it| {
            if has_state && is_first {
                it.top = it.top.max(shared.top);
            }
            has_state && it.top < shared.top
        });
        let entered = Entered { mailbox: has_state.then_some(shared), groups, is_alone: false };
        self.core.say(Told::Entered(ticket, Box::new(entered)));
        self.after_entry(&user.into(), displaced);
        if is_newer {
            self.read_missing(user.into());
        }
    }

    /// A new epoch has begun, so the states that are being read mean nothing any more.
    pub(super) fn give_up_entries(&mut self) {
        let users = self.log.arrivals.users.iter_mut();
        let all: Vec<(Box<str>, Vec<Entering>)> = users
            .filter(|(_, it)| !it.entering.is_empty())
            .map(|(user, it)| (user.clone(), std::mem::take(&mut it.entering)))
            .collect();
        for (user, entering) in all {
            entering.into_iter().for_each(|it| self.finish_entry(&user, it, false));
        }
    }
}
