//! Answers that wait until the journal has done what their requests ask for.

use slab::Slab;

use crate::hub::{ConnId, Context};
use crate::relay::{Pushed, Reached};
use crate::wire::http::response::Response;

use super::failure::Failure;
use super::replay::Replays;
use super::send::{name_of, write_group};

/// An answer in which some states are missing.
#[derive(Debug, Default)]
pub struct Unfinished {
    /// The JSON text without them.
    text: String,
    holes: Vec<Hole>,
    /// How many states are missing, and whether the journal still has to keep the request's key.
    left: usize,
    /// The key of a request that may be repeated.
    pub key: Option<String>,
    /// The answer, if no state of it was missing from the start.
    whole: Option<Response>,
    /// Connections on which the same request came meanwhile.
    joined: Vec<ConnId>,
}

/// A state that is missing.
#[derive(Debug)]
struct Hole {
    /// Where it belongs in the text.
    at: usize,
    /// Which message of the request it is.
    message: usize,
    state: Pushed,
    /// For a message to a group, how many connections get it if it is kept.
    connections: Option<usize>,
}

impl Unfinished {
    /// An answer in which no state is missing.
    pub fn whole(answer: Response) -> Self {
        Unfinished { whole: Some(answer), ..Unfinished::default() }
    }

    /// The journal also has to keep the key of the request.
    pub fn wait_for_note(&mut self) {
        self.left += 1;
    }

    /// Adds a state that is missing at the end of what was written so far.
    pub fn miss(&mut self, at: usize, message: usize) {
        self.holes.push(Hole { at, message, state: Pushed::Later, connections: None });
        self.left += 1;
    }

    /// Adds the result of a message to a group, which is missing at the end of what was written so
    /// far.
    pub fn miss_group(&mut self, at: usize, reached: Reached) {
        let Reached { state, connections } = reached;
        self.holes.push(Hole { at, message: 0, state, connections: Some(connections) });
        self.left += 1;
    }

    /// The place of the next state that will be missing.
    pub fn next_place(&self) -> u32 {
        self.holes.len() as u32
    }

    /// Sets the text, in which the states are missing.
    pub fn set_text(&mut self, text: String) {
        self.text = text;
    }

    fn finish(&mut self) -> Response {
        if let Some(whole) = self.whole.take() {
            return whole;
        }
        let mut text = std::mem::take(&mut self.text);
        for hole in self.holes.iter().rev() {
            match hole.connections {
                None => text.insert_str(hole.at, name_of(hole.state)),
                Some(connections) => {
                    let mut result = String::new();
                    write_group(Reached { state: hole.state, connections }, &mut result);
                    text.insert_str(hole.at, &result);
                }
            }
        }
        super::ok(text.into_bytes())
    }
}

/// What an answer waits for.
#[derive(Debug)]
pub enum Waiting {
    /// The states of messages.
    States(Unfinished),
    /// That a change is kept. Then this is the answer, and otherwise the failure.
    Change { answer: Response, failure: Failure },
    /// A list of messages, which follows this beginning of the JSON.
    Messages(String),
}

/// All answers that wait.
#[derive(Debug, Default)]
pub struct Late(Slab<(ConnId, Waiting)>);

impl Late {
    /// The name of the next answer that will wait.
    pub fn next_request(&self) -> u32 {
        self.0.vacant_key() as u32
    }

    /// An answer waits.
    pub fn insert(&mut self, conn: ConnId, waiting: Waiting) {
        self.0.insert((conn, waiting));
    }

    /// The journal has said what became of one message. The answer is sent with the last of them.
    pub fn complete(
        &mut self,
        cx: &mut Context,
        replays: &mut Replays,
        (request, place): (u32, u32),
        state: Pushed,
    ) {
        let waiting = self.0.get_mut(request as usize);
        let Some((_, Waiting::States(unfinished))) = waiting else { return };
        let Some(hole) = unfinished.holes.get_mut(place as usize) else { return };
        hole.state = state;
        if let Some(key) = &unfinished.key {
            replays.note(key, hole.message, state);
        }
        self.count_down(cx, replays, request);
    }

    /// The journal has kept the key of a request, or could not keep it; what was carried out was
    /// carried out all the same.
    pub fn complete_note(&mut self, cx: &mut Context, replays: &mut Replays, request: u32) {
        self.count_down(cx, replays, request);
    }

    /// Notes that a request that waits for its answer has come again on another connection, which gets the
    /// same answer.
    pub fn join(&mut self, conn: ConnId, request: u32) {
        if let Some((_, Waiting::States(unfinished))) = self.0.get_mut(request as usize) {
            unfinished.joined.push(conn);
        }
    }

    fn count_down(&mut self, cx: &mut Context, replays: &mut Replays, request: u32) {
        let waiting = self.0.get_mut(request as usize);
        let Some((_, Waiting::States(unfinished))) = waiting else { return };
        unfinished.left = unfinished.left.saturating_sub(1);
        if unfinished.left == 0
            && let Some((conn, Waiting::States(mut unfinished))) =
                self.0.try_remove(request as usize)
        {
            if let Some(key) = &unfinished.key {
                replays.settle(key, request);
            }
            let answer = unfinished.finish().keep();
            for conn in &unfinished.joined {
                cx.respond_to(*conn, &answer.clone().field("Idempotent-Replayed", "true"));
            }
            cx.respond_to(conn, &answer);
        }
    }

    /// The journal has kept a change, or could not keep it.
    pub fn complete_change(&mut self, cx: &mut Context, request: u32, is_kept: bool) {
        if let Some((_, Waiting::Change { .. })) = self.0.get(request as usize)
            && let Some((conn, Waiting::Change { answer, failure })) =
                self.0.try_remove(request as usize)
        {
            let response = match is_kept {
                true => answer,
                false => failure.response(),
            };
            cx.respond_to(conn, &response.keep());
        }
    }

    /// The messages that a request has asked for are here, or they cannot be read.
    pub fn complete_messages(
        &mut self,
        cx: &mut Context,
        request: u32,
        messages: Result<(Vec<String>, bool), Failure>,
    ) {
        if let Some((_, Waiting::Messages(_))) = self.0.get(request as usize)
            && let Some((conn, Waiting::Messages(begun))) = self.0.try_remove(request as usize)
        {
            let response = match messages {
                Ok((frames, more)) => super::mailbox::list(begun, &frames, more),
                Err(failure) => failure.response(),
            };
            cx.respond_to(conn, &response.keep());
        }
    }
}
