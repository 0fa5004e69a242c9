//! Groups: memberships are kept by Redis, and a node is told of those of its own users.
//!
//! A membership is noted at the user and at the group, which may be in two databases. The part at the user comes
//! first. A change whose second part has failed is refused, and its repetition makes both parts agree.

use std::collections::HashMap;

use foldhash::quality::RandomState;
use redis::Value;

use crate::engine::{Refused, Told};
use crate::journal::Ticket;

use super::core::Core;
use super::parts::PartThen;
use super::routes::MOST_GROUPS;
use super::{Script, reply};

/// The requests about groups that are open.
#[derive(Debug, Default)]
pub struct Groups {
    /// Pages of members whose names are known and whose number is not.
    pages: HashMap<Ticket, (Vec<Box<str>>, bool), RandomState>,
}

/// What the reply to one of these commands is for.
#[derive(Debug)]
pub enum GroupThen {
    /// The part of a change at the user. The other part follows.
    User(Ticket, Box<Change>),
    /// The last part of a change.
    Changed(Ticket),
    /// A page of members, which has so many of them at most.
    Names(Ticket, usize),
    /// How many members a group has.
    Count(Ticket),
}

/// A change of a membership.
#[derive(Debug)]
pub struct Change {
    group: Box<str>,
    user: Box<str>,
    joins: bool,
}

impl Groups {
    /// Makes a user a member of a group, or ends the membership.
    pub fn change(
        &mut self,
        core: &mut Core,
        ticket: Ticket,
        group: Box<str>,
        user: Box<str>,
        joins: bool,
    ) {
        let (at_user, at_group) = (core.shard_of(&user), core.shard_of(&group));
        if !core.is_up(at_user) || !core.is_up(at_group) {
            return core.say(Told::Changed(ticket, Err(Refused::Unavailable)));
        }
        let change = Change { group, user, joins };
        if at_user == at_group {
            return send(core, at_user, "gu", &change, GroupThen::Changed(ticket));
        }
        let change = Box::new(change);
        let copy = Change { group: change.group.clone(), user: change.user.clone(), joins };
        send(core, at_user, "u", &copy, GroupThen::User(ticket, change));
    }

    /// Asks for members of a group.
    pub fn members(
        &mut self,
        core: &mut Core,
        ticket: Ticket,
        group: &str,
        after: &str,
        limit: usize,
    ) {
        let shard = core.shard_of(group);
        if !core.is_up(shard) {
            return core.say(Told::Members(ticket, Err(Refused::Unavailable)));
        }
        let key = format!("{}g:{group}", core.settings.prefix);
        let from = if after.is_empty() { "-".to_owned() } else { format!("({after}") };
        let most = limit.saturating_add(1).to_string();
        let words = ["ZRANGEBYLEX", &key, &from, "+", "LIMIT", "0", &most].map(str::as_bytes);
        core.command(shard, &words, PartThen::Group(GroupThen::Names(ticket, limit)).into());
        core.command(
            shard,
            &[b"ZCARD", key.as_bytes()],
            PartThen::Group(GroupThen::Count(ticket)).into(),
        );
    }

    /// Redis has answered; `None` if the outcome is unknown.
    pub fn replied(&mut self, core: &mut Core, then: GroupThen, value: Option<&Value>) {
        match then {
            GroupThen::User(ticket, change) => match changed(value) {
                Ok(()) => {
                    let shard = core.shard_of(&change.group);
                    send(core, shard, "g", &change, GroupThen::Changed(ticket));
                }
                refused => core.say(Told::Changed(ticket, refused)),
            },
            GroupThen::Changed(ticket) => core.say(Told::Changed(ticket, changed(value))),
            GroupThen::Names(ticket, limit) => {
                if let Some(value @ (Value::Array(_) | Value::Set(_))) = value {
                    let mut names: Vec<Box<str>> = reply::texts(value).map(Box::from).collect();
                    let more = names.len() > limit;
                    names.truncate(limit);
                    self.pages.insert(ticket, (names, more));
                }
            }
            GroupThen::Count(ticket) => {
                let count = value.and_then(reply::int).map(i64::unsigned_abs);
                let result = match (self.pages.remove(&ticket), count) {
                    (Some((names, more)), Some(count)) => Ok((names, count, more)),
                    _ => Err(Refused::Unavailable),
                };
                core.say(Told::Members(ticket, result));
            }
        }
    }
}

fn send(core: &mut Core, shard: usize, part: &str, change: &Change, then: GroupThen) {
    let wish = if change.joins { "join" } else { "leave" };
    let words = [part, wish, &change.group, &change.user, MOST_GROUPS];
    core.run_words(shard, Script::Member, &words, PartThen::Group(then).into());
}

fn changed(value: Option<&Value>) -> Result<(), Refused> {
    match value.and_then(reply::int) {
        Some(0 | 1) => Ok(()),
        Some(_) => Err(Refused::UserIsFull),
        None => Err(Refused::Unavailable),
    }
}
