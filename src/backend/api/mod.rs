//! The HTTP interface for a backend, with JSON requests and answers: which requests it admits, and
//! which route answers them.

mod backup;
mod batch;
mod blocks;
mod body;
mod cluster;
mod failure;
mod gate;
mod groups;
mod hour;
mod kick;
mod late;
mod mailbox;
mod online;
mod query;
mod replay;
mod route;
mod send;
mod stats;
#[cfg(feature = "tickets")]
mod ticket;
pub(crate) mod to_one;
mod trace;
mod tries;
mod users;

use std::sync::Arc;

use crate::engine::{Request as Ask, Told};
use crate::hub::{Accept, ConnId, Context, Refused, Reply};
use crate::journal::Ticket;
use crate::relay::{Page, Pushed, Relay, Session, Unread};
use crate::wire::http;
use crate::wire::http::head::Request;
use crate::wire::http::response::Response;

use super::config::BackendConfig;
use super::metrics::{Hour, System};
use super::nodes::{Next, Nodes, Question, Turn, cut_off};
use super::webhooks::Webhooks;
pub(super) use blocks::closed_for;
pub(super) use failure::Failure;
pub(super) use late::Unfinished;
use late::{Around, Claimed, Late, Waiting};
use replay::Replays;
use route::Route;
pub(super) use trace::Traces;
use tries::Tries;
pub(super) use users::{connections, oldest};

/// Answers a backend's requests.
#[derive(Debug)]
pub struct Api {
    config: BackendConfig,
    replays: Replays,
    late: Late,
    tries: Tries,
    pub webhooks: Option<Webhooks>,
    pub traces: Traces,
    system: System,
    hour: Hour,
    nodes: Nodes,
}

/// The arguments of a route's function.
struct Call<'a> {
    cx: &'a mut Context,
    relay: &'a mut Relay,
    replays: &'a mut Replays,
    webhooks: Option<&'a Webhooks>,
    system: &'a System,
    hour: &'a Hour,
    request: &'a Request<'a>,
    /// The name of the request, if its answer has to wait.
    request_name: u32,
    /// The answer, if it waits for what becomes of messages.
    unfinished: Option<Unfinished>,
    /// The answer, if it waits for something else.
    waiting: Option<Waiting>,
    /// The name of an earlier request whose answer this one gets, too.
    joins: Option<u32>,
    nodes: &'a mut Nodes,
    /// For a request whose key is claimed for this node: what was done of it before.
    claimed: Option<Option<Vec<u8>>>,
    /// Whether the request waits for its key, and comes again then.
    copies_request: bool,
    has_room_for_copy: bool,
    /// On a node that shares its users with others: the key of the request, by which Redis knows its messages.
    shared_key: Option<Arc<str>>,
}

type Answer = Result<Response, Failure>;

impl Api {
    pub fn new(config: BackendConfig) -> Self {
        let replays = Replays::new(config.idempotency_time);
        let (tries, system) = (Tries::default(), System::look());
        let traces = Traces::default();
        let (late, nodes, hour) = (Late::default(), Nodes::default(), Hour::default());
        Api { config, replays, late, tries, traces, webhooks: None, system, hour, nodes }
    }

    pub fn max_memberships(&self) -> usize {
        self.config.max_memberships
    }

    pub fn set_keys(&mut self, keys: Vec<crate::backend::ApiKey>) {
        self.config.keys = keys;
    }

    pub fn has_key(&self) -> bool {
        !self.config.keys.is_empty()
    }

    /// Decides a handshake for a path of the interface.
    pub fn admit_trace(
        &mut self,
        cx: &Context,
        relay: &mut Relay,
        conn: ConnId,
        request: &Request<'_>,
    ) -> Result<Accept<Session>, Failure> {
        let route = Route::find(request.path());
        let Some(user) = route.and_then(|route| route.watched()) else {
            return Err(Failure::new(404, "no_such_path", "there is no WebSocket at this path"));
        };
        self.admit(cx, relay, conn, request)?;
        Route::check(route, request)?;
        self.traces.admit(relay, user, request)
    }

    /// Answers a request to the interface.
    pub fn answer(
        &mut self,
        cx: &mut Context,
        relay: &mut Relay,
        conn: ConnId,
        request: &Request<'_>,
    ) -> Reply {
        let route = match Route::find(request.path()) {
            // The request was admitted and its head was checked before its body was read.
            Some(route) if request.body().is_some_and(|body| !body.is_empty()) => route,
            route => {
                if let Err(failure) = self.admit(cx, relay, conn, request) {
                    return Reply::Now(failure.response().close());
                }
                match Route::check(route, request) {
                    Ok(route) => route,
                    Err(failure) => return Reply::Now(failure.response().keep()),
                }
            }
        };
        if request.body().is_none() {
            return Reply::Read { at_most: self.config.max_body };
        }
        let Api { replays, late, webhooks, system, hour, nodes, .. } = self;
        let webhooks = webhooks.as_ref();
        let request_name = late.next_request();
        let call = &mut Call {
            cx,
            relay,
            replays,
            webhooks,
            system,
            hour,
            request,
            request_name,
            unfinished: None,
            waiting: None,
            joins: None,
            nodes,
            claimed: None,
            copies_request: false,
            has_room_for_copy: late.has_room(request.body().map_or(0, <[u8]>::len)),
            shared_key: None,
        };
        let answer = route.answer(call);
        if let Some(request) = call.joins {
            late.join(conn, request);
            return Reply::Later;
        }
        let unfinished = call.unfinished.take().map(Waiting::States);
        if let Some(waiting) = unfinished.or(call.waiting.take()) {
            let copies_request = call.copies_request;
            late.insert(conn, waiting, Vec::new());
            if copies_request {
                late.keep_copy(request_name, request.path(), request.body().unwrap_or_default());
            }
            // Only other nodes have to be asked if nothing waits for the journal.
            let around = &mut Around { cx, relay, nodes, replays };
            late.settle(around, request_name);
            return Reply::Later;
        }
        Reply::Now(answer.unwrap_or_else(Failure::response).keep())
    }

    /// Carries out a request whose key is claimed for this node. `before` is what was done of it.
    fn carry_out(
        &mut self,
        cx: &mut Context,
        relay: &mut Relay,
        name: u32,
        before: Option<Vec<u8>>,
    ) {
        let Api { replays, late, webhooks, system, hour, nodes, .. } = self;
        let Some(Claimed { path, body, conn, joined }) = late.take(name) else { return };
        let head = format!("POST {path} HTTP/1.1\r\nHost: node\r\n\r\n");
        let webhooks = webhooks.as_ref();
        let done = http::head::parse(head.as_bytes(), |request| {
            let request = &request.with_body(&body);
            let call = &mut Call {
                cx,
                relay,
                replays,
                webhooks,
                system,
                hour,
                request,
                // It is the name that has just become free.
                request_name: name,
                unfinished: None,
                waiting: None,
                joins: None,
                nodes,
                claimed: Some(before),
                copies_request: false,
                has_room_for_copy: false,
                shared_key: None,
            };
            let answer = match Route::find(&path) {
                Some(route) => route.answer(call),
                None => Err(Failure::new(404, "no_such_path", "no such path")),
            };
            (answer, call.unfinished.take(), call.claimed.take())
        });
        let Ok((answer, unfinished, unused)) = done else { return };
        // The request was refused before anything of it was carried out.
        if let Some(before) = unused {
            replays.give_back(relay, name, before);
        }
        match unfinished {
            Some(unfinished) => {
                late.insert(conn, Waiting::States(unfinished), joined);
                late.settle(&mut Around { cx, relay, nodes, replays }, name);
            }
            None => {
                let answer = answer.unwrap_or_else(Failure::response);
                late::respond_to_all(cx, conn, &joined, answer);
            }
        }
    }

    /// The journal has said what became of a message whose answer waits for that.
    pub fn complete(
        &mut self,
        relay: &mut Relay,
        cx: &mut Context,
        name: (u32, u32),
        state: Pushed,
        connections: u64,
    ) {
        let Api { late, nodes, replays, .. } = self;
        let around = &mut Around { cx, relay, nodes, replays };
        late.complete(around, name, state, connections);
    }

    /// The journal has kept the change of a membership, or could not keep it.
    pub fn complete_change(&mut self, cx: &mut Context, request: u32, is_kept: bool) {
        self.late.complete_change(cx, request, is_kept);
    }

    /// The journal has kept a change of a block, for which so many connections were closed, or could not keep it.
    pub fn complete_block(&mut self, cx: &mut Context, request: u32, closed: Option<usize>) {
        self.late.complete_block(cx, request, closed);
    }

    /// The journal has kept the key of a request, or could not keep it.
    pub fn complete_note(&mut self, relay: &mut Relay, cx: &mut Context, request: u32) {
        let Api { late, nodes, replays, .. } = self;
        late.complete_note(&mut Around { cx, relay, nodes, replays }, request);
    }

    /// The journal has answered a question for older messages.
    pub fn complete_history(
        &mut self,
        cx: &mut Context,
        request: u32,
        answer: Result<Page, Unread>,
    ) {
        let messages = answer.map(|page| (page.frames, page.more)).map_err(mailbox::unread);
        self.late.complete_messages(cx, request, messages);
    }

    /// Handles what the engine tells.
    pub fn hear(&mut self, relay: &mut Relay, cx: &mut Context, told: Told) {
        let Some(told) = self.traces.hear(relay, cx, told) else { return };
        let ticket = match &told {
            Told::Asked(asked, question) => {
                let Api { nodes, webhooks, system, traces, hour, .. } = self;
                let stats = |relay: &mut Relay, cx: &mut Context| {
                    stats::metrics(cx, relay, webhooks.as_ref(), system).json()
                };
                let answer = Question::answer(question, (nodes, traces, &*hour), relay, cx, stats);
                let (asked, answer) = (asked.clone(), &*answer);
                return relay.ask_engine(Ticket::MAX, Ask::Answer { asked, answer });
            }
            Told::Events(_) | Told::NoEvents => {
                return self.webhooks.iter().for_each(|webhooks| webhooks.hear(&told));
            }
            Told::Answers(ticket, ..)
            | Told::Members(ticket, _)
            | Told::Changed(ticket, _)
            | Told::Blocked(ticket, _)
            | Told::Online(ticket, _)
            | Told::Waiting(ticket, _)
            | Told::Mailbox(ticket, _)
            | Told::Claimed(ticket, _)
            | Told::Nodes(ticket, _)
            | Told::Looked(ticket, _)
            | Told::Listing(ticket, _) => *ticket,
            _ => return,
        };
        let Api { late, nodes, replays, .. } = self;
        let again = late.tell(&mut Around { cx, relay, nodes, replays }, ticket, told);
        if let Some((request, before)) = again {
            self.carry_out(cx, relay, request, before);
        }
    }

    /// Begins to remember the last hour, if that has not begun.
    #[inline]
    pub fn begin_hour(&mut self, relay: &Relay, cx: &mut Context) {
        self.hour.begin(cx, relay);
    }

    /// The timer with which the extension remembers the last hour is due.
    pub fn go_on_with_hour(&mut self, relay: &Relay, cx: &mut Context) {
        self.hour.take(cx, relay, &self.system);
    }

    /// A connection of a user has opened, or is gone, on a node that shares its users with others.
    pub fn note_user(&mut self, cx: &Context, user: &str, is_open: bool) {
        match is_open {
            true => self.nodes.roll.opened(user),
            false => self.nodes.roll.closed(user, cx.now()),
        }
    }

    /// Answers a request that is not valid HTTP.
    pub fn refused(refused: &Refused<'_>) -> Response {
        let code = match refused.status {
            408 => "timeout",
            413 => "body_too_long",
            431 => "head_too_long",
            500 => "internal",
            _ => "bad_request",
        };
        Failure::new(refused.status, code, refused.why).response()
    }
}

/// Begins a request that needs answers of other nodes.
fn nodes(call: &mut Call<'_>, begin: impl FnOnce(&mut Turn<'_>) -> Next) -> Answer {
    if call.relay.is_cut_off() {
        return Err(cut_off());
    }
    run(call, begin)
}

/// Begins a request that needs the engine.
fn run(call: &mut Call<'_>, begin: impl FnOnce(&mut Turn<'_>) -> Next) -> Answer {
    let Call { cx, relay, nodes, request_name: request, .. } = call;
    match begin(&mut Turn { cx, relay, nodes, request: *request }) {
        Next::Answer(answer) => return answer,
        Next::Wait(step) => call.waiting = Some(Waiting::Step(step)),
        _ => {}
    }
    Ok(ok(Vec::new()))
}

/// Returns an answer with status 200 and this JSON.
fn ok(json: Vec<u8>) -> Response {
    Response::new(200).body("application/json", json)
}

/// Returns an answer with status 200 and this value as JSON.
fn json(value: &impl serde::Serialize) -> Answer {
    match serde_json::to_vec(value) {
        Ok(json) => Ok(ok(json)),
        Err(_) => Err(Failure::new(500, "internal", "the answer could not be written")),
    }
}
