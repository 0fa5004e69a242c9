//! What a node asks the other nodes, and its engine, to answer a backend, and what it answers them.
//!
//! A request that needs answers of others is a chain of steps. Each step asks for one thing, and says what
//! is to be done with the answer, which comes later as an event of the loop.

mod question;
mod roll;
mod watch;

use std::collections::HashMap;
use std::fmt;

use foldhash::quality::RandomState;

use crate::engine::{Request, Told};
use crate::hub::Context;
use crate::journal::Ticket;
use crate::relay::{FIRST_OF_EXTENSION, Relay};
use crate::wire::http::response::Response;

use super::api::{Failure, Unfinished};
pub use question::{Find, Question, Spread};
use roll::Roll;
pub use roll::{Listed, Part, merge};
pub use watch::{TOLD_EVERY, Watches};

/// How many tickets there are.
const TICKETS: Ticket = 1 << 30;

/// What a node knows for its backend because there are other nodes.
#[derive(Debug, Default)]
pub struct Nodes {
    /// The users of this node.
    pub roll: Roll,
    /// For each ticket the name of the request that waits for its answer.
    open: HashMap<Ticket, u32, RandomState>,
    last: Ticket,
}

impl Nodes {
    /// A request waits for an answer of the engine. Returns the ticket of the answer.
    fn open(&mut self, request: u32) -> Ticket {
        self.last = (self.last + 1) % TICKETS;
        let ticket = FIRST_OF_EXTENSION + self.last;
        self.open.insert(ticket, request);
        ticket
    }

    /// Returns the name of the request that waits for the answer with this ticket.
    pub fn close(&mut self, ticket: Ticket) -> Option<u32> {
        self.open.remove(&ticket)
    }
}

/// What a step can use.
#[derive(Debug)]
pub struct Turn<'a> {
    pub cx: &'a mut Context,
    pub relay: &'a mut Relay,
    pub nodes: &'a mut Nodes,
    /// The name of the request that is answered.
    pub request: u32,
}

impl Turn<'_> {
    /// Asks the engine for something, and goes on with `then` when it is told.
    pub fn ask(
        &mut self,
        request: Request<'_>,
        then: impl FnOnce(&mut Turn<'_>, Told) -> Next + Send + 'static,
    ) -> Next {
        let ticket = self.nodes.open(self.request);
        self.relay.ask_engine(ticket, request);
        Next::Wait(Step(Box::new(then)))
    }
}

/// The part of a backend's request that goes on when the engine has answered.
pub struct Step(Box<Act>);

type Act = dyn FnOnce(&mut Turn<'_>, Told) -> Next + Send;

impl Step {
    pub fn go_on(self, turn: &mut Turn<'_>, told: Told) -> Next {
        self.0(turn, told)
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Step")
    }
}

/// How a request goes on after a step.
#[derive(Debug)]
pub enum Next {
    /// It is answered.
    Answer(Result<Response, Failure>),
    /// It waits for another answer.
    Wait(Step),
    /// It waits for a change that the journal keeps. Then the first one is its answer, and otherwise the
    /// other one.
    Change(Response, Failure),
    /// It is carried out now, because its key is its own. This was done of it before.
    CarryOut(Option<Vec<u8>>),
    /// More is known of what became of its messages.
    Settled(Box<Unfinished>),
    /// Everything is known of what became of its messages.
    Finished(Box<Unfinished>),
}

impl From<Failure> for Next {
    fn from(failure: Failure) -> Self {
        Next::Answer(Err(failure))
    }
}

/// The error when not all nodes have answered.
pub fn silent() -> Failure {
    Failure::unavailable("a node has not answered in time: ask again")
}

/// The error while other nodes cannot be reached.
pub fn cut_off() -> Failure {
    Failure::unavailable("the other nodes cannot be reached just now: ask again")
}

/// Returns the answers of all other nodes, or an error if one is missing.
pub fn answers<T: serde::de::DeserializeOwned>(told: Told) -> Result<Vec<(Box<str>, T)>, Failure> {
    let (all, missing) = some_answers(told);
    if missing > 0 { Err(silent()) } else { Ok(all) }
}

/// Returns the answers of those other nodes that have answered, and how many have not. A node that does not
/// know the question has not answered.
pub fn some_answers<T: serde::de::DeserializeOwned>(told: Told) -> (Vec<(Box<str>, T)>, usize) {
    let Told::Answers(_, all, missing) = told else { return (Vec::new(), 1) };
    let count = all.len();
    let read = |(node, answer): (Box<str>, Vec<u8>)| {
        serde_json::from_slice(&answer).ok().map(|answer| (node, answer))
    };
    let read: Vec<_> = all.into_iter().filter_map(read).collect();
    let missing = missing + count - read.len();
    (read, missing)
}
