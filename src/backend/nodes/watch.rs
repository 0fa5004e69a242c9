//! Traces of users who may be on other nodes. The node to which somebody has connected to watch a user tells the
//! others, and again every few seconds. Each of them traces the user meanwhile, also a user who comes later, and
//! tells the first node what it sees. If it is not told again, because that node has died, it ceases to.

use std::time::{Duration, Instant};

use crate::hub::{Context, MAX_TRACED};

/// How often the other nodes are told that a trace goes on.
pub const TOLD_EVERY: Duration = Duration::from_secs(3);
/// For how long a node traces a user without being told again.
const KEPT: Duration = Duration::from_secs(10);

/// The users whom this node traces for other nodes.
#[derive(Debug, Default)]
pub struct Watches(Vec<Watch>);

#[derive(Debug)]
struct Watch {
    user: String,
    node: String,
    until: Instant,
}

impl Watches {
    /// Another node wants to know what a user does, or does not any more. Returns whether it is told: as
    /// many users as the hub traces at once.
    pub fn set(&mut self, cx: &mut Context, user: &str, node: &str, on: bool) -> bool {
        self.forget_old(cx);
        let until = cx.now() + KEPT;
        let found = self.0.iter().position(|it| it.user == user && it.node == node);
        match (found, on) {
            (Some(at), true) => self.0[at].until = until,
            (Some(at), false) => {
                self.0.swap_remove(at);
            }
            (None, true) => {
                if self.0.len() >= MAX_TRACED || !cx.trace(user) {
                    return false;
                }
                self.0.push(Watch { user: user.to_owned(), node: node.to_owned(), until });
            }
            (None, false) => {}
        }
        true
    }

    /// Whether any node watches this user through this one.
    pub fn has(&self, user: &str) -> bool {
        self.0.iter().any(|it| it.user == user)
    }

    /// Whether no user is watched.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The users who are watched, each with the node that wants to know.
    pub fn each(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|it| (it.user.as_str(), it.node.as_str()))
    }

    /// Forgets the wishes of nodes that have not repeated them.
    pub fn forget_old(&mut self, cx: &Context) {
        self.0.retain(|it| it.until > cx.now());
    }
}
