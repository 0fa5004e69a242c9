//! The questions of nodes to each other, and their answers.

use serde::{Deserialize, Serialize};

use crate::hub::Context;
use crate::relay::Relay;
use crate::relay::blocks::close_all;

use super::super::api::{Traces, closed_for, connections};
use super::Nodes;

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
    /// A message goes to everyone, or to the members of a group; the answer is how many connections get it.
    Spread(Spread),
    /// The numbers of the node.
    Stats,
    /// What a user does is to be told to a node for some seconds, or not any more; the answer is the user's
    /// connections.
    Watch { user: String, node: String, on: bool },
    /// What a watched user has done on a node, without the time.
    Traced { user: String, node: String, lines: Vec<String> },
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
        (nodes, traces): (&mut Nodes, &mut Traces),
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
                serde_json::to_vec(&nodes.roll.page_now(cx, &after, limit))
            }
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
