//! Memberships on a node that shares its users with others. Redis has all of them, and this node those of
//! its own users: it learns them when a connection enters, and is told of each change.

use std::collections::HashMap;

use compact_str::CompactString;
use foldhash::quality::RandomState;

use crate::engine::{Refused, Request};
use crate::hub::{ConnId, Context};
use crate::journal::Ticket;
use crate::relay::Relay;
use crate::relay::v2::Asker;

use super::{Change, Changed, Full, NotChanged};

/// The most changes that wait for the other nodes. Another one is refused.
const MOST: usize = 16_384;
/// How many tickets there are.
const TICKETS: Ticket = 1 << 30;

/// The changes that the other nodes have not completed.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    waiting: HashMap<Ticket, (Change, Asker), RandomState>,
    last: Ticket,
}

impl Relay {
    /// Asks for a change of a membership. It holds at once for the connections of the user on this node, so
    /// that a message to the group which follows it finds the new member. It is taken back if it is refused.
    pub(super) fn change_elsewhere(
        &mut self,
        cx: &mut Context,
        change: Change,
        asker: Asker,
    ) -> Result<Changed, NotChanged> {
        if self.groups.asked.waiting.len() >= MOST {
            return Err(NotChanged::Unavailable);
        }
        let was = self.groups.members.contains(&change.group, &change.user);
        if cx.is_online(&change.user) {
            self.carry_out_change(cx, &change).map_err(NotChanged::Full)?;
        }
        let asked = &mut self.groups.asked;
        asked.last = (asked.last + 1) % TICKETS;
        let ticket = asked.last;
        let Change { group, user, joins } = &change;
        if let Some(engine) = &mut self.engine {
            engine.ask(ticket, Request::Change { group, user, joins: *joins });
        }
        self.groups.changes.begin(&change, was, Some(ticket));
        self.groups.asked.waiting.insert(ticket, (change, asker));
        Ok(Changed::Later)
    }

    /// Handles that a change was carried out, or was refused.
    pub(in crate::relay) fn changed_elsewhere(
        &mut self,
        cx: &mut Context,
        ticket: Ticket,
        result: Result<(), Refused>,
    ) {
        let Some((change, asker)) = self.groups.asked.waiting.remove(&ticket) else { return };
        let is_kept = result.is_ok();
        if let Some(is_member) = self.groups.changes.end(&change, ticket, is_kept) {
            let before = Change { joins: is_member, ..change.clone() };
            self.hold(cx, &before);
        }
        let why = match result {
            Ok(()) => return self.answer_change(cx, &change, Ok(()), &asker),
            Err(Refused::UserIsFull) => NotChanged::Full(Full::User),
            Err(Refused::GroupsAreFull) => NotChanged::Full(Full::Server),
            Err(Refused::Unavailable | Refused::BlocksAreFull) => NotChanged::Unavailable,
        };
        self.answer_change(cx, &change, Err(why), &asker);
    }

    /// Notes that a user of this node is a member of a group from now on, or is not any more.
    pub(in crate::relay) fn hear_of_member(
        &mut self,
        cx: &mut Context,
        group: &str,
        user: &str,
        joins: bool,
    ) {
        let change = Change { group: group.into(), user: user.into(), joins };
        // A change of this node that is on its way is newer.
        if !self.groups.changes.has(&change) {
            self.hold(cx, &change);
        }
    }

    /// Notes all groups of a user of this node.
    pub(in crate::relay) fn hear_of_groups(
        &mut self,
        cx: &mut Context,
        user: &str,
        groups: &[Box<str>],
    ) {
        let before = self.groups.members.groups_of(user).to_vec();
        for group in before.iter().filter(|group| !groups.iter().any(|it| **it == ***group)) {
            self.hear_of_member(cx, group, user, false);
        }
        for group in groups {
            self.hear_of_member(cx, group, user, true);
        }
    }

    /// Makes a membership of a user who is on this node what Redis has.
    fn hold(&mut self, cx: &mut Context, change: &Change) {
        if cx.is_online(&change.user) {
            // If there is no room, messages to the group do not reach the user's pages on this node.
            let _ = self.carry_out_change(cx, change);
        }
    }

    /// Forgets the groups of a user whose last connection on this node is gone.
    pub(in crate::relay) fn forget_groups(&mut self, cx: &mut Context, conn: ConnId) {
        let Some(user) = cx.user(conn).filter(|user| !cx.is_online(user)) else { return };
        let user = CompactString::from(user);
        for group in self.groups.members.groups_of(&user).to_vec() {
            self.groups.members.remove(cx, &group, &user);
        }
    }
}
