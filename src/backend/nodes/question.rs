//! The questions of nodes to each other, and their answers.

use serde::{Deserialize, Serialize};

use crate::hub::Context;
use crate::relay::Relay;
use crate::relay::blocks::close_all;

use super::super::api::{Traces, closed_for, connections, oldest};
use super::super::metrics::Hour;
use super::super::search::{LOOKED, Needle};
use super::{Nodes, Part};

/// A question. It travels as JSON. A node that does not know it, because its program is older, answers
/// nothing.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "lowercase")]
pub enum Question {
    /// The connections of a user.
    Connections { user: String },
    /// All connections of a user are to be closed; the answer is how many there were.
    Kick { user: String, reason: String },
    /// A user was blocked, or the block was lifted; the answer is how many connections were closed.
    Block { user: String },
    /// The users behind `after`, in the order of their ids.
    Users { after: String, limit: usize },
    /// Some of the users, or more of each than the id.
    Find(Find),
    /// A message goes to everyone, or to the members of a group; the answer is how many connections get it.
    Spread(Spread),
    /// The numbers of the node.
    Stats,
    /// The numbers of the last hour.
    Hour,
    /// What a user does is to be told to a node for some seconds, or not any more; the answer is the user's
    /// connections.
    Watch { user: String, node: String, on: bool },
    /// What a watched user has done on a node, without the time.
    Traced { user: String, node: String, lines: Vec<String> },
}

/// Which of the users who are online a page has.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Find {
    /// The page begins behind this user.
    pub after: String,
    /// How many users it has at most.
    pub limit: usize,
    /// What their ids contain.
    pub contains: Option<String>,
    /// Whether more is to be told of each user than the id.
    pub details: bool,
}

impl Find {
    /// The question for other nodes. Those whose program is older understand it if all users are listed.
    pub fn question(&self) -> Question {
        match self {
            Find { after, limit, contains: None, details: false } => {
                Question::Users { after: after.clone(), limit: *limit }
            }
            find => Question::Find(find.clone()),
        }
    }

    /// The part that this node has.
    pub fn part(&self, nodes: &mut Nodes, cx: &Context) -> Part {
        let mut needle = Needle::new(self.contains.as_deref());
        let bounds = (self.limit, LOOKED);
        let mut part = nodes.roll.page(&self.after, |user| needle.is_in(user), bounds, cx.now());
        for it in &mut part.users {
            // A user whose last connection is being closed has left.
            it.is_here &= cx.is_online(&it.user);
            if self.details {
                it.connections = cx.connections_of(&it.user).len() as u32;
                it.age = oldest(cx, &it.user);
            }
        }
        part
    }
}

/// A message that each node sends to its own connections, because it is not kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Spread {
    pub from: String,
    /// The group; `None` for everyone.
    pub group: Option<String>,
    /// The message as JSON text.
    pub message: String,
    pub except: Vec<String>,
}

impl Spread {
    /// Sends the message to the connections of this node. Returns how many get it.
    pub fn send(&self, relay: &mut Relay, cx: &mut Context) -> usize {
        let Spread { from, group, message, except } = self;
        let except: Vec<&str> = except.iter().map(String::as_str).collect();
        match group {
            Some(group) => relay.push_to_group_here(cx, from, group, message, &except),
            None => relay.push_to_all(cx, from, message, &except),
        }
    }
}

impl Question {
    pub fn json(&self) -> Vec<u8> {
        // This cannot fail, because all keys are strings.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Answers a question of another node. `stats` returns the numbers of this node.
    pub fn answer(
        text: &[u8],
        (nodes, traces, hour): (&mut Nodes, &mut Traces, &Hour),
        relay: &mut Relay,
        cx: &mut Context,
        stats: impl FnOnce(&mut Relay, &mut Context) -> String,
    ) -> Vec<u8> {
        let Ok(question) = serde_json::from_slice::<Question>(text) else { return Vec::new() };
        let answer = match question {
            Question::Connections { user } => {
                let node = relay.node().to_owned();
                serde_json::to_vec(&connections(cx, &user, Some(&node)))
            }
            Question::Kick { user, reason } => serde_json::to_vec(&close_all(cx, &user, &reason)),
            Question::Block { user } => serde_json::to_vec(&closed_for(relay, &user)),
            Question::Users { after, limit } => {
                let find = Find { after, limit, ..Find::default() };
                let Part { users, end } = find.part(nodes, cx);
                serde_json::to_vec(&(users, end.is_some()))
            }
            Question::Find(find) => serde_json::to_vec(&find.part(nodes, cx)),
            Question::Hour => serde_json::to_vec(&hour.past(cx)),
            Question::Spread(spread) => serde_json::to_vec(&spread.send(relay, cx)),
            Question::Watch { user, node, on } => {
                return traces.watch(relay, cx, (&user, &node), on);
            }
            Question::Traced { user, node, lines } => {
                traces.pass_on(cx, (&user, &node), &lines);
                serde_json::to_vec(&())
            }
            Question::Stats => return stats(relay, cx).into_bytes(),
        };
        answer.unwrap_or_default()
    }
}
