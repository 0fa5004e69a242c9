//! The HTTP interface for a backend, with JSON requests and answers: which requests it admits, and
//! which route answers them.

mod backup;
mod batch;
mod body;
mod failure;
mod gate;
mod groups;
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

use crate::engine::Told;
use crate::hub::{Accept, ConnId, Context, Refused, Reply};
use crate::relay::{Page, Pushed, Relay, Session, Unread};
use crate::wire::http::head::Request;
use crate::wire::http::response::Response;

use super::config::BackendConfig;
use super::metrics::System;
use super::webhooks::Webhooks;
use failure::Failure;
use late::{Late, Unfinished, Waiting};
use replay::Replays;
use route::Route;
use trace::Traces;
use tries::Tries;

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
}

/// The arguments of a route's function.
struct Call<'a> {
    cx: &'a mut Context,
    relay: &'a mut Relay,
    replays: &'a mut Replays,
    webhooks: Option<&'a Webhooks>,
    system: &'a System,
    request: &'a Request<'a>,
    /// The name of the request, if its answer has to wait.
    request_name: u32,
    /// The answer, if it waits for what becomes of messages.
    unfinished: Option<Unfinished>,
    /// The answer, if it waits for something else.
    waiting: Option<Waiting>,
    /// The name of an earlier request whose answer this one gets, too.
    joins: Option<u32>,
}

type Answer = Result<Response, Failure>;

impl Api {
    pub fn new(config: BackendConfig) -> Self {
        let replays = Replays::new(config.idempotency_time);
        let (tries, system) = (Tries::default(), System::look());
        let traces = Traces::default();
        Api { config, replays, late: Late::default(), tries, traces, webhooks: None, system }
    }

    pub fn max_memberships(&self) -> usize {
        self.config.max_memberships
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
        let Api { replays, late, webhooks, system, .. } = self;
        let webhooks = webhooks.as_ref();
        let call = &mut Call {
            cx,
            relay,
            replays,
            webhooks,
            system,
            request,
            request_name: late.next_request(),
            unfinished: None,
            waiting: None,
            joins: None,
        };
        let answer = route.answer(call);
        if let Some(request) = call.joins {
            late.join(conn, request);
            return Reply::Later;
        }
        let unfinished = call.unfinished.take().map(Waiting::States);
        if let Some(waiting) = unfinished.or(call.waiting.take()) {
            late.insert(conn, waiting);
            return Reply::Later;
        }
        Reply::Now(answer.unwrap_or_else(Failure::response).keep())
    }

    /// The journal has said what became of a message whose answer waits for that.
    pub fn complete(&mut self, cx: &mut Context, name: (u32, u32), state: Pushed) {
        self.late.complete(cx, &mut self.replays, name, state);
    }

    /// The journal has kept the change of a membership, or could not keep it.
    pub fn complete_change(&mut self, cx: &mut Context, request: u32, is_kept: bool) {
        self.late.complete_change(cx, request, is_kept);
    }

    /// The journal has kept the key of a request, or could not keep it.
    pub fn complete_note(&mut self, cx: &mut Context, request: u32) {
        self.late.complete_note(cx, &mut self.replays, request);
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
        let _ = (relay, cx, told);
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
