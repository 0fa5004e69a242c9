//! Answers that wait until the journal, or other nodes, have done what their requests ask for.

use compact_str::CompactString;
use slab::Slab;

use crate::backend::nodes::{Next, Nodes, Question, Spread, Step, Turn, some_answers};
use crate::engine::{Of, Request, Told};
use crate::hub::{ConnId, Context};
use crate::journal::Ticket;
use crate::relay::{Pushed, Reached, Relay};
use crate::wire::http::response::Response;

use super::blocks::Pending;
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
    /// The message to everyone, or to a group, that all nodes send because it is not kept; and whether
    /// the backend wants it to be kept.
    spread: Option<(Spread, bool)>,
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
    /// How many nodes have not said whether they have sent the message.
    silent: usize,
    /// With other nodes: the user, and whether the user is online, as soon as that is known.
    user: Option<(CompactString, Option<bool>)>,
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
        let state = Pushed::Later;
        self.holes.push(Hole { at, message, state, connections: None, silent: 0, user: None });
        self.left += 1;
    }

    /// Does the same for a user who may be on another node; then also whether the user is online is
    /// missing.
    pub fn miss_user(&mut self, at: usize, message: usize, user: &str) {
        self.miss(at, message);
        if let Some(hole) = self.holes.last_mut() {
            hole.user = Some((user.into(), None));
        }
    }

    /// Adds the result of a message that all nodes send. It is sent when everything else is known.
    pub fn miss_spread(&mut self, at: usize, spread: Spread) {
        self.miss_group(at, Reached { state: Pushed::TooLarge, connections: 0 });
        self.left -= 1;
        self.spread = Some((spread, false));
    }

    /// If the group is too large for its messages to be kept, all nodes send this message instead.
    pub fn or_else_spread(&mut self, spread: Spread, is_to_be_kept: bool) {
        self.spread = Some((spread, is_to_be_kept));
    }

    /// Adds the result of a message to a group, which is missing at the end of what was written so
    /// far.
    pub fn miss_group(&mut self, at: usize, reached: Reached) {
        let Reached { state, connections } = reached;
        let connections = Some(connections);
        self.holes.push(Hole { at, message: 0, state, connections, silent: 0, user: None });
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
            match (hole.connections, &hole.user) {
                (None, None) => text.insert_str(hole.at, name_of(hole.state)),
                (None, Some((_, is_online))) => {
                    let is_online = hole.state == Pushed::Sent || *is_online == Some(true);
                    let name = name_of(hole.state);
                    text.insert_str(hole.at, &format!(r#"{name}","online":{is_online}"#));
                }
                (Some(connections), _) => {
                    let mut result = String::new();
                    write_group(Reached { state: hole.state, connections }, &mut result);
                    if hole.silent > 0 {
                        result.push_str(&format!(r#","missing":{}"#, hole.silent));
                    }
                    text.insert_str(hole.at, &result);
                }
            }
        }
        super::ok(text.into_bytes())
    }

    /// Takes the message that all nodes have to send, if there is one.
    fn take_spread(&mut self) -> Option<Spread> {
        let (spread, is_to_be_kept) = self.spread.take()?;
        let hole = self.holes.iter_mut().find(|hole| hole.state == Pushed::TooLarge)?;
        if is_to_be_kept {
            hole.state = Pushed::Offline;
            self.whole = Some(super::send::too_large().response());
            return None;
        }
        Some(spread)
    }

    /// The users of whom it is not known whether they are online.
    fn unknown(&mut self, cx: &Context) -> Vec<CompactString> {
        let mut unknown = Vec::new();
        for Hole { state, user, .. } in &mut self.holes {
            if let Some((user, is_online @ None)) = user
                && *state != Pushed::Sent
            {
                match cx.is_online(user) {
                    true => *is_online = Some(true),
                    false => unknown.push(user.clone()),
                }
            }
        }
        unknown
    }

    /// Asks other nodes what is still missing when the journal has answered, one thing after another.
    fn go_on(mut self: Box<Self>, turn: &mut Turn<'_>) -> Next {
        if let Some(spread) = self.take_spread() {
            let sent = spread.send(turn.relay, turn.cx);
            let question = Question::Spread(spread).json();
            let ask = Request::Ask { of: Of::All, question: &question };
            return turn.ask(ask, move |_, told| {
                let (others, silent) = some_answers::<usize>(told);
                let sent = sent + others.iter().map(|(_, count)| count).sum::<usize>();
                if let Some(hole) = self.holes.iter_mut().find(|it| it.state == Pushed::TooLarge) {
                    let Reached { state, connections } = Reached::live(sent);
                    (hole.state, hole.connections, hole.silent) =
                        (state, Some(connections), silent);
                }
                Next::Settled(self)
            });
        }
        let unknown = self.unknown(turn.cx);
        if unknown.is_empty() {
            return Next::Finished(self);
        }
        let users: Vec<&str> = unknown.iter().map(CompactString::as_str).collect();
        turn.ask(Request::AreOnline { users: &users, now: true }, move |_, told| {
            let states = match told {
                Told::Online(_, Ok(states)) => states,
                _ => Vec::new(),
            };
            let mut states = states.into_iter();
            for Hole { state, user, .. } in &mut self.holes {
                if let Some((_, is_online @ None)) = user
                    && *state != Pushed::Sent
                {
                    *is_online = Some(states.next().unwrap_or(false));
                }
            }
            Next::Settled(self)
        })
    }
}

/// What an answer waits for.
#[derive(Debug)]
pub enum Waiting {
    /// The states of messages.
    States(Unfinished),
    /// That a change is kept. Then this is the answer, and otherwise the failure.
    Change { answer: Response, failure: Failure },
    /// That a change of a block is kept.
    Block(Pending),
    /// A list of messages, which follows this beginning of the JSON.
    Messages(String),
    /// What the engine tells. Then the request goes on with this step.
    Step(Step),
    /// Nothing: a step is being made.
    Nothing,
}

/// An answer that waits.
#[derive(Debug)]
struct Entry {
    conn: ConnId,
    waiting: Waiting,
    /// Connections on which the same request came meanwhile.
    joined: Vec<ConnId>,
    /// The path and the body of a request that is carried out when its key is its own.
    copy: Option<Box<(String, Vec<u8>)>>,
}

/// The most bytes of requests that wait for their keys.
const MOST_COPIED: usize = 64 << 20;

/// All answers that wait.
#[derive(Debug, Default)]
pub struct Late {
    entries: Slab<Entry>,
    /// How many bytes of bodies are copied.
    copied: usize,
}

/// What the answers that wait need to go on.
#[derive(Debug)]
pub struct Around<'a> {
    pub cx: &'a mut Context,
    pub relay: &'a mut Relay,
    pub nodes: &'a mut Nodes,
    pub replays: &'a mut Replays,
}

/// A request that is carried out when its key is its own, and who gets its answer.
#[derive(Debug)]
pub struct Claimed {
    pub path: String,
    pub body: Vec<u8>,
    pub conn: ConnId,
    pub joined: Vec<ConnId>,
}

impl Late {
    /// The name of the next answer that will wait.
    pub fn next_request(&self) -> u32 {
        self.entries.vacant_key() as u32
    }

    /// An answer waits. The connections in `joined` get it, too.
    pub fn insert(&mut self, conn: ConnId, waiting: Waiting, joined: Vec<ConnId>) {
        self.entries.insert(Entry { conn, waiting, joined, copy: None });
    }

    /// Whether a request with a body of this length may wait for its key.
    pub fn has_room(&self, body: usize) -> bool {
        self.copied + body <= MOST_COPIED
    }

    /// Keeps a copy of a request that waits for its key.
    pub fn keep_copy(&mut self, request: u32, path: &str, body: &[u8]) {
        if let Some(entry) = self.entries.get_mut(request as usize) {
            self.copied += body.len();
            entry.copy = Some(Box::new((path.to_owned(), body.to_vec())));
        }
    }

    fn remove(&mut self, request: u32) -> Option<Entry> {
        let entry = self.entries.try_remove(request as usize)?;
        self.copied -= entry.copy.as_ref().map_or(0, |copy| copy.1.len());
        Some(entry)
    }

    /// The journal has said what became of one message. The answer is sent with the last of them.
    pub fn complete(
        &mut self,
        around: &mut Around<'_>,
        (request, place): (u32, u32),
        state: Pushed,
        connections: u64,
    ) {
        let Some(unfinished) = self.unfinished(request) else { return };
        let Some(hole) = unfinished.holes.get_mut(place as usize) else { return };
        hole.state = state;
        if hole.connections.is_some() && around.relay.is_shared() {
            hole.connections = Some(usize::try_from(connections).unwrap_or(usize::MAX));
        }
        if let Some(key) = &unfinished.key {
            around.replays.note(key, hole.message, state);
        }
        self.count_down(around, request);
    }

    /// The journal has kept the key of a request, or could not keep it; what was carried out was
    /// carried out all the same.
    pub fn complete_note(&mut self, around: &mut Around<'_>, request: u32) {
        self.count_down(around, request);
    }

    /// Notes that a request that waits for its answer has come again on another connection, which gets the
    /// same answer.
    pub fn join(&mut self, conn: ConnId, request: u32) {
        if let Some(entry) = self.entries.get_mut(request as usize) {
            entry.joined.push(conn);
        }
    }

    fn unfinished(&mut self, request: u32) -> Option<&mut Unfinished> {
        match self.entries.get_mut(request as usize) {
            Some(Entry { waiting: Waiting::States(unfinished), .. }) => Some(unfinished),
            _ => None,
        }
    }

    fn count_down(&mut self, around: &mut Around<'_>, request: u32) {
        let Some(unfinished) = self.unfinished(request) else { return };
        unfinished.left = unfinished.left.saturating_sub(1);
        self.settle(around, request);
    }

    /// Sends an answer for which the journal has told everything, after other nodes were asked for what is
    /// missing.
    pub fn settle(&mut self, around: &mut Around<'_>, request: u32) {
        let Some(unfinished) = self.unfinished(request) else { return };
        if unfinished.left > 0 {
            return;
        }
        if !around.relay.is_shared() {
            let unfinished = std::mem::take(unfinished);
            return self.send(around, request, unfinished);
        }
        let unfinished = Box::new(std::mem::take(unfinished));
        let Around { cx, relay, nodes, .. } = around;
        let next = unfinished.go_on(&mut Turn { cx, relay, nodes, request });
        self.follow(around, request, next);
    }

    fn send(&mut self, around: &mut Around<'_>, request: u32, mut unfinished: Unfinished) {
        if let Some(key) = &unfinished.key {
            if around.relay.is_shared() {
                for Hole { message, state, connections, .. } in &unfinished.holes {
                    around.replays.note(key, *message, *state);
                    if let Some(connections) = connections {
                        around.replays.note_connections(key, *connections);
                    }
                }
            }
            around.replays.settle(around.relay, key, request);
        }
        let answer = unfinished.finish();
        self.respond(around.cx, request, answer);
    }

    /// Sends an answer to all who wait for it.
    fn respond(&mut self, cx: &mut Context, request: u32, answer: Response) {
        let Some(Entry { conn, joined, .. }) = self.remove(request) else { return };
        respond_to_all(cx, conn, &joined, answer);
    }

    /// Goes on with the request that waits for what the engine tells with this ticket. Returns the request
    /// if it has to be carried out.
    #[must_use]
    pub fn tell(
        &mut self,
        around: &mut Around<'_>,
        ticket: Ticket,
        told: Told,
    ) -> Option<(u32, Option<Vec<u8>>)> {
        let request = around.nodes.close(ticket)?;
        let entry = self.entries.get_mut(request as usize)?;
        let Waiting::Step(step) = std::mem::replace(&mut entry.waiting, Waiting::Nothing) else {
            return None;
        };
        let Around { cx, relay, nodes, .. } = around;
        match step.go_on(&mut Turn { cx, relay, nodes, request }, told) {
            Next::CarryOut(done) => return Some((request, done)),
            next => self.follow(around, request, next),
        }
        None
    }

    fn follow(&mut self, around: &mut Around<'_>, request: u32, next: Next) {
        let Some(entry) = self.entries.get_mut(request as usize) else { return };
        match next {
            Next::Answer(answer) => {
                around.replays.give_up(request);
                let answer = answer.unwrap_or_else(Failure::response);
                self.respond(around.cx, request, answer);
            }
            Next::Wait(step) => entry.waiting = Waiting::Step(step),
            Next::Change(answer, failure) => entry.waiting = Waiting::Change { answer, failure },
            Next::Settled(unfinished) => {
                entry.waiting = Waiting::States(*unfinished);
                self.settle(around, request);
            }
            Next::Finished(unfinished) => self.send(around, request, *unfinished),
            Next::CarryOut(_) => {}
        }
    }

    /// Takes out a request that is going to be carried out. It keeps its name.
    pub fn take(&mut self, request: u32) -> Option<Claimed> {
        let Entry { conn, joined, copy, .. } = self.remove(request)?;
        let (path, body) = *copy?;
        Some(Claimed { path, body, conn, joined })
    }

    /// The journal has kept a change, or could not keep it.
    pub fn complete_change(&mut self, cx: &mut Context, request: u32, is_kept: bool) {
        if let Some(Entry { waiting: Waiting::Change { .. }, .. }) =
            self.entries.get(request as usize)
            && let Some(Entry { conn, waiting: Waiting::Change { answer, failure }, .. }) =
                self.entries.try_remove(request as usize)
        {
            let response = match is_kept {
                true => answer,
                false => failure.response(),
            };
            cx.respond_to(conn, &response.keep());
        }
    }

    /// The journal has kept a change of a block, for which so many connections were closed, or could not keep it.
    pub fn complete_block(&mut self, cx: &mut Context, request: u32, closed: Option<usize>) {
        if let Some(Entry { waiting: Waiting::Block(_), .. }) = self.entries.get(request as usize)
            && let Some(Entry { conn, waiting: Waiting::Block(pending), .. }) =
                self.entries.try_remove(request as usize)
        {
            let answer = closed.ok_or_else(Failure::not_kept);
            let answer = answer.and_then(|closed| pending.answer(closed));
            cx.respond_to(conn, &answer.unwrap_or_else(Failure::response).keep());
        }
    }

    /// The messages that a request has asked for are here, or they cannot be read.
    pub fn complete_messages(
        &mut self,
        cx: &mut Context,
        request: u32,
        messages: Result<(Vec<String>, bool), Failure>,
    ) {
        if let Some(Entry { waiting: Waiting::Messages(_), .. }) =
            self.entries.get(request as usize)
            && let Some(Entry { conn, waiting: Waiting::Messages(begun), .. }) =
                self.entries.try_remove(request as usize)
        {
            let response = match messages {
                Ok((frames, more)) => super::mailbox::list(begun, &frames, more),
                Err(failure) => failure.response(),
            };
            cx.respond_to(conn, &response.keep());
        }
    }
}

/// Sends an answer to a connection, and to those on which the same request has come.
pub fn respond_to_all(cx: &mut Context, conn: ConnId, joined: &[ConnId], answer: Response) {
    let answer = answer.keep();
    for conn in joined {
        cx.respond_to(*conn, &answer.clone().field("Idempotent-Replayed", "true"));
    }
    cx.respond_to(conn, &answer);
}
