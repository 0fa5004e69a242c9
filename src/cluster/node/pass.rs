//! Messages to one user that are not kept, because nobody with a mailbox takes part: those of v1 pages, and
//! volatile ones.
//!
//! They need no script. The node looks up where the user is, with many others in one pipeline, and then
//! publishes to the nodes of the user; what is for itself arrives at once. Messages of one sender to one user
//! stay in their order, because all of them take both steps, in the order in which they came.

use std::collections::VecDeque;

use redis::Value;

use crate::cluster::ask::Sending;
use crate::cluster::codec;
use crate::journal::{Completion, Fate, Keep, Kept, Kind};

use super::{Node, Reply, Then, reply, routes};

/// Whether a send takes this way: one user is named, and neither a mailbox is made nor anything remembered.
pub fn is_passing(sending: &Sending) -> bool {
    matches!(sending.keep, Keep::IfMailbox | Keep::Never)
        && sending.kind == Kind::ToUser
        && sending.count() == 1
        && sending.cid().is_empty()
        && !sending.own
}

/// What the reply to one of these commands is for.
#[derive(Debug)]
pub enum PassThen {
    /// Where the user is, and whether there is a mailbox.
    Look(u64, Box<Sending>),
    /// The message was published to a node: the name of the send, and whether this was the last of its nodes.
    Published(u64, bool),
}

/// The sends that go to several nodes.
#[derive(Debug, Default)]
pub struct Passing {
    /// The sends that were published and are not completed, and whether somebody has got each. Replies come in
    /// the order of the commands of a shard, so few are looked at.
    open: VecDeque<(u64, bool)>,
    key: String,
    /// A buffer for a payload.
    payload: Vec<u8>,
}

impl Node {
    /// Passes a message on to one user. `serial` is its place among all sends.
    pub(super) fn pass(&mut self, serial: u64, sending: Box<Sending>) {
        let shard = self.core.shard_of(sending.to(0));
        if !self.core.is_up(shard) {
            return self.finish(serial, Completion::Unavailable);
        }
        self.look(shard, serial, sending);
    }

    fn look(&mut self, shard: usize, serial: u64, sending: Box<Sending>) {
        let mut key = std::mem::take(&mut self.passing.key);
        key.clear();
        for part in [self.core.settings.prefix.as_str(), "u:", sending.to(0)] {
            key.push_str(part);
        }
        let then = Then::Pass(PassThen::Look(serial, sending));
        self.core.command(shard, &[b"HMGET", key.as_bytes(), b"r", b"t"], then);
        self.passing.key = key;
    }

    pub(super) fn pass_replied(&mut self, shard: usize, then: PassThen, reply: Reply) {
        match then {
            PassThen::Look(serial, sending) => match reply {
                Reply::Done(Value::Array(fields)) => {
                    let [routes, newest] = &fields[..] else {
                        return self.finish(serial, Completion::Unavailable);
                    };
                    if sending.keep == Keep::IfMailbox && *newest != Value::Nil {
                        return self.send(serial, sending);
                    }
                    let routes = reply::text(routes).unwrap_or_default();
                    self.pass_to(shard, serial, &sending, routes);
                }
                _ => self.finish(serial, Completion::Unavailable),
            },
            PassThen::Published(serial, is_last) => {
                // If nobody knows whether it was published, it must not be delivered a second time.
                let got = matches!(reply, Reply::Done(Value::Int(1..)) | Reply::Unknown);
                self.passed(serial, got, is_last);
            }
        }
    }

    fn pass_to(&mut self, shard: usize, serial: u64, sending: &Sending, routes: &str) {
        let mut payload = std::mem::take(&mut self.passing.payload);
        let life = self.core.life;
        let (mut is_here, mut others) = (false, 0);
        for route in routes::lives(routes) {
            is_here |= route == life;
            others += usize::from(route != life);
        }
        if is_here || others > 0 {
            payload.clear();
            codec::write_payload(&mut payload, 0, sending.to(0), sending);
        }
        if is_here {
            self.messages_published(shard, &payload[2..]);
        }
        if others == 0 {
            self.finish(serial, fate(is_here));
        } else {
            self.passing.open.push_back((serial, is_here));
            for route in routes::lives(routes).filter(|route| *route != life) {
                others -= 1;
                let then = Then::Pass(PassThen::Published(serial, others == 0));
                self.core.publish_to(shard, route, &payload, then);
            }
        }
        self.passing.payload = payload;
    }

    fn passed(&mut self, serial: u64, got: bool, is_last: bool) {
        let Some(at) = self.passing.open.iter().position(|(open, _)| *open == serial) else {
            return;
        };
        self.passing.open[at].1 |= got;
        if is_last && let Some((_, got)) = self.passing.open.remove(at) {
            self.finish(serial, fate(got));
        }
    }
}

fn fate(got: bool) -> Completion {
    let fates = vec![if got { Fate::Sent } else { Fate::Offline }];
    Completion::Appended(Kept { fates, ..Kept::default() })
}
