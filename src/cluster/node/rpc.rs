//! Questions between nodes, and messages for everyone.
//!
//! A question goes to all nodes, to those of one user, or to one. It is completed when each of them has
//! answered, and after two seconds in any case. What is in questions and answers is the caller's matter.

use std::collections::{BTreeMap, HashMap};

use foldhash::quality::RandomState;
use redis::Value;

use crate::cluster::ask::Whom;
use crate::engine::{Asked, Posted, Told};
use crate::journal::Ticket;

use super::core::Core;
use super::lease::Lease;
use super::parts::PartThen;
use super::{Then, payload, reply};

/// A node that has not answered after so many milliseconds is missing.
const ANSWERED_AFTER_MS: u64 = 2_000;

/// The questions of this node that are open.
#[derive(Debug, Default)]
pub struct Rpc {
    questions: HashMap<u64, Question, RandomState>,
    /// When each of them is completed at the latest.
    due: BTreeMap<(u64, u64), ()>,
    last: u64,
}

#[derive(Debug)]
struct Question {
    ticket: Ticket,
    question: Box<[u8]>,
    at: u64,
    /// The lives that have not answered.
    waiting: Vec<u64>,
    answers: Vec<(Box<str>, Vec<u8>)>,
    /// How many of those that were asked are known not to answer.
    missing: usize,
}

/// What the reply to one of these commands is for.
#[derive(Debug)]
pub enum RpcThen {
    /// The lives of the nodes of a user who are asked.
    Routes(u64),
    /// A question was published to a life.
    Published(u64, u64),
}

impl Rpc {
    /// Asks other nodes.
    pub fn ask(
        &mut self,
        core: &mut Core,
        lease: &Lease,
        ticket: Ticket,
        of: &Whom,
        question: Box<[u8]>,
    ) {
        let others: Vec<u64> = match of {
            Whom::All => lease.nodes.others(core).map(|(life, _)| life).collect(),
            Whom::Node(name) => {
                let named = lease.nodes.others(core).filter(|(_, it)| **it == **name);
                named.map(|(life, _)| life).collect()
            }
            Whom::User(_) => Vec::new(),
        };
        self.last += 1;
        let name = self.last;
        let at = core.now + ANSWERED_AFTER_MS;
        let (waiting, answers) = (others.clone(), Vec::new());
        self.questions
            .insert(name, Question { ticket, question, at, waiting, answers, missing: 0 });
        self.due.insert((at, name), ());
        if let Whom::User(user) = of {
            let shard = core.shard_of(user);
            if !core.is_up(shard) {
                let missing = lease.nodes.others(core).count().max(1);
                return self.give_up(core, name, missing);
            }
            let key = format!("{}u:{user}", core.settings.prefix);
            let then = PartThen::Rpc(RpcThen::Routes(name)).into();
            return core.command(shard, &[b"HGET", key.as_bytes(), b"r"], then);
        }
        if others.is_empty() {
            return self.complete(core, name);
        }
        if !core.is_up(0) {
            return self.give_up(core, name, 0);
        }
        self.publish(core, name, &others);
    }

    fn publish(&self, core: &mut Core, name: u64, lives: &[u64]) {
        let Some(asked) = self.questions.get(&name) else { return };
        let names = Asked { life: core.life, question: name };
        let payload = payload::ask(&names, &asked.question);
        for life in lives {
            core.publish_to(
                0,
                *life,
                &payload,
                PartThen::Rpc(RpcThen::Published(name, *life)).into(),
            );
        }
    }

    /// Answers a question of another node.
    pub fn answer(&mut self, core: &mut Core, lease: &Lease, asked: &Asked, answer: &[u8]) {
        if core.is_up(0) {
            let payload = payload::answer(core.life, asked.question, lease.name(), answer);
            core.publish_to(0, asked.life, &payload, Then::Nothing);
        }
    }

    /// Sends a message for everyone, or for a group, to all nodes.
    pub fn post(&mut self, core: &mut Core, posted: &Posted) {
        if core.is_up(0) {
            let payload = payload::post(core.life, posted);
            let channel = core.channel_of_all();
            core.command(0, &[b"PUBLISH", channel.as_bytes(), &payload], Then::Nothing);
        }
    }

    /// Redis has answered; `None` if the outcome is unknown.
    pub fn replied(&mut self, core: &mut Core, then: RpcThen, value: Option<&Value>) {
        match then {
            RpcThen::Routes(name) => {
                let Some(value) = value else { return self.give_up(core, name, 1) };
                let routes = reply::text(value).unwrap_or_default();
                let life = core.life;
                let lives: Vec<u64> =
                    super::routes::lives(routes).filter(|it| *it != life).collect();
                let Some(asked) = self.questions.get_mut(&name) else { return };
                asked.waiting = lives.clone();
                match lives.is_empty() {
                    true => self.complete(core, name),
                    false => self.publish(core, name, &lives),
                }
            }
            RpcThen::Published(name, life) => {
                if value.and_then(reply::int).is_none_or(|got| got == 0)
                    && let Some(asked) = self.questions.get_mut(&name)
                    && let Some(at) = asked.waiting.iter().position(|it| *it == life)
                {
                    asked.waiting.swap_remove(at);
                    asked.missing += 1;
                    if asked.waiting.is_empty() {
                        self.complete(core, name);
                    }
                }
            }
        }
    }

    /// Another node has answered.
    pub fn answered(&mut self, core: &mut Core, life: u64, name: u64, node: &str, answer: &[u8]) {
        let Some(asked) = self.questions.get_mut(&name) else { return };
        let Some(at) = asked.waiting.iter().position(|it| *it == life) else { return };
        asked.waiting.swap_remove(at);
        asked.answers.push((node.into(), answer.to_vec()));
        if asked.waiting.is_empty() {
            self.complete(core, name);
        }
    }

    fn give_up(&mut self, core: &mut Core, name: u64, missing: usize) {
        if let Some(asked) = self.questions.get_mut(&name) {
            asked.missing += missing;
        }
        self.complete(core, name);
    }

    fn complete(&mut self, core: &mut Core, name: u64) {
        let Some(asked) = self.questions.remove(&name) else { return };
        self.due.remove(&(asked.at, name));
        let missing = asked.missing + asked.waiting.len();
        core.say(Told::Answers(asked.ticket, asked.answers, missing));
    }

    /// Completes the questions that have waited too long.
    pub fn tick(&mut self, core: &mut Core) {
        while let Some(((at, name), ())) = self.due.first_key_value()
            && *at <= core.now
        {
            let name = *name;
            self.complete(core, name);
        }
    }

    /// When a question is completed at the latest.
    pub fn next_due(&self) -> Option<u64> {
        self.due.keys().next().map(|(at, _)| *at)
    }
}
