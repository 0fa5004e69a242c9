//! Requests of a backend that have an idempotency key: whichever node gets one, it is carried out once.
//!
//! A node claims the key before it carries a request out, and finishes it with what became of it. A claim lasts
//! as long as the life of its node. So if the node dies in between, another one may carry the request out.

use std::collections::VecDeque;

use crate::cluster::ask::Wanted;
use crate::engine::{Claim, Told};
use crate::journal::Ticket;

use super::core::Core;
use super::{Reply, Script, Then, reply};

/// How often a node asks for a key that another one has, and how long at most.
const ASKED_EVERY_MS: u64 = 100;
const ASKED_FOR_MS: u64 = 10_000;
/// For how long a claim is remembered at most, if nobody finishes it.
const CLAIMED_MS: &str = "60000";
/// For how long a request is remembered after a message of it was tried.
const REMEMBERED_MS: &str = "600000";
/// The most keys that are remembered. Beyond it the oldest ones are forgotten.
const MOST_KEYS: &str = "100000";
/// The most requests that wait for Redis: that are claimed, and that are finished.
const MOST_WAITING: usize = 10_000;

/// What is to be done with a reply.
#[derive(Debug)]
pub enum ClaimThen {
    Claimed(Ticket),
    Finished(u64),
}

/// The requests of which Redis has to know.
#[derive(Debug, Default)]
pub struct Claims {
    claiming: VecDeque<Claiming>,
    finishing: VecDeque<Finishing>,
    last: u64,
}

#[derive(Debug)]
struct Claiming {
    ticket: Ticket,
    key: Box<str>,
    request: u64,
    until: u64,
    /// When it is asked again; `None` while Redis is asked.
    next: Option<u64>,
}

#[derive(Debug)]
struct Finishing {
    number: u64,
    life: u64,
    key: Box<str>,
    request: u64,
    done: Option<Box<[u8]>>,
    is_in_flight: bool,
}

impl Claims {
    /// Handles what is one of the matters of this part. Returns anything else.
    pub fn ask(&mut self, core: &mut Core, ticket: Ticket, wanted: Wanted) -> Option<Wanted> {
        match wanted {
            Wanted::Claim { key, request } => self.claim(core, ticket, key, request),
            Wanted::Finish { key, request, done } => self.finish(core, key, request, done),
            other => return Some(other),
        }
        None
    }

    fn claim(&mut self, core: &mut Core, ticket: Ticket, key: Box<str>, request: u64) {
        if self.claiming.len() >= MOST_WAITING || !core.is_up(0) {
            return core.say(Told::Claimed(ticket, Claim::Unavailable));
        }
        let until = core.now + ASKED_FOR_MS;
        let claiming = Claiming { ticket, key, request, until, next: None };
        claiming.send(core);
        self.claiming.push_back(claiming);
    }

    fn finish(&mut self, core: &mut Core, key: Box<str>, request: u64, done: Option<Box<[u8]>>) {
        if self.finishing.len() >= MOST_WAITING {
            // Its claim ends with its time.
            self.finishing.pop_front();
        }
        self.last += 1;
        let (number, life) = (self.last, core.life);
        let finishing = Finishing { number, life, key, request, done, is_in_flight: false };
        self.finishing.push_back(finishing);
        self.pump(core);
    }

    /// Sends what is due.
    pub fn pump(&mut self, core: &mut Core) {
        if !core.is_up(0) {
            return;
        }
        let now = core.now;
        for it in &mut self.claiming {
            if it.next.is_some_and(|at| now >= at) {
                it.next = None;
                it.send(core);
            }
        }
        for it in self.finishing.iter_mut().filter(|it| !it.is_in_flight) {
            it.is_in_flight = true;
            it.send(core);
        }
    }

    /// When [`Claims::pump`] has something to do, at the latest.
    pub fn next_due(&self) -> Option<u64> {
        self.claiming.iter().filter_map(|it| it.next).min()
    }

    /// Redis has answered.
    pub fn replied(&mut self, core: &mut Core, then: ClaimThen, reply: Reply) {
        let value = core.value_of(reply);
        match then {
            ClaimThen::Finished(number) => match value {
                Some(_) => self.finishing.retain(|it| it.number != number),
                None => {
                    let found = self.finishing.iter_mut().find(|it| it.number == number);
                    found.into_iter().for_each(|it| it.is_in_flight = false);
                }
            },
            ClaimThen::Claimed(ticket) => {
                let Some(at) = self.claiming.iter().position(|it| it.ticket == ticket) else {
                    return;
                };
                let reply = value.as_ref().map(reply::list).unwrap_or_default();
                let claim = match reply.first().and_then(reply::text) {
                    Some("yours") => Claim::Yours(reply.get(1).and_then(bytes)),
                    Some("other") => Claim::Other,
                    Some("busy") if core.now < self.claiming[at].until => {
                        self.claiming[at].next = Some(core.now + ASKED_EVERY_MS);
                        return;
                    }
                    Some("busy") => Claim::Busy,
                    _ => Claim::Unavailable,
                };
                self.claiming.remove(at);
                core.say(Told::Claimed(ticket, claim));
            }
        }
    }

    /// Redis cannot be reached. Whoever waits for a key that another node has is answered.
    pub fn broken(&mut self, core: &mut Core) {
        let waits = |it: &Claiming| it.next.is_some();
        for it in self.claiming.iter().filter(|it| waits(it)) {
            core.say(Told::Claimed(it.ticket, Claim::Unavailable));
        }
        self.claiming.retain(|it| !waits(it));
    }
}

impl Claiming {
    fn send(&self, core: &mut Core) {
        let (life, hash) = (core.life.to_string(), format!("{:016x}", self.request));
        let words = [&*life, &*self.key, &*hash, CLAIMED_MS, MOST_KEYS];
        let then = Then::Claim(ClaimThen::Claimed(self.ticket));
        core.run_words(0, Script::Claim, &words, then);
    }
}

impl Finishing {
    fn send(&self, core: &mut Core) {
        let (life, hash) = (self.life.to_string(), format!("{:016x}", self.request));
        let words = [&*life, &*self.key, &*hash, REMEMBERED_MS].map(str::as_bytes);
        let then = Then::Claim(ClaimThen::Finished(self.number));
        match &self.done {
            Some(done) => {
                let [life, key, hash, time] = words;
                core.run(0, Script::Finish, &[life, key, hash, time, done], then);
            }
            None => core.run(0, Script::Finish, &words, then),
        }
    }
}

fn bytes(value: &redis::Value) -> Option<Vec<u8>> {
    match value {
        redis::Value::BulkString(bytes) => Some(bytes.clone()),
        _ => None,
    }
}
