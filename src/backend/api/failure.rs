//! The error answers of the interface.

use std::borrow::Cow;

use serde::Serialize;

use crate::wire::http::head::Request;
use crate::wire::http::response::Response;

/// An error, as the backend gets it: `{"error":{"code":…,"message":…,"field":…}}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    status: u16,
    error: Described,
    /// An additional field of the answer's head.
    header: Option<(&'static str, Cow<'static, str>)>,
}

#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
struct Described {
    /// The code is for programs.
    code: &'static str,
    /// The message is for people.
    message: Cow<'static, str>,
    /// The field of the body or of the query that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<Cow<'static, str>>,
}

impl Failure {
    pub fn new(status: u16, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        let error = Described { code, message: message.into(), field: None };
        Failure { status, error, header: None }
    }

    /// The error for a value that its field does not accept.
    pub fn bad_value(field: impl Into<Cow<'static, str>>, message: &'static str) -> Self {
        Failure::new(400, "bad_value", message).field(field)
    }

    /// The error for a text that cannot be an id.
    pub fn bad_name(field: impl Into<Cow<'static, str>>) -> Self {
        let message =
            "the id of a user or a group has 1 to 128 bytes, no / and no control characters";
        Failure::bad_value(field, message)
    }

    /// The error for a request for a ticket to a server that does not require tickets.
    pub fn tickets_off() -> Self {
        Failure::new(404, "tickets_off", "this server does not require tickets")
    }

    /// The error for a request for a trace that is not a WebSocket handshake (RFC 6455, section
    /// 4.4).
    pub fn not_a_handshake(request: &Request<'_>) -> Self {
        match request.upgrade_required().status() {
            400 => Failure::new(400, "bad_handshake", "bad Sec-WebSocket-Key"),
            _ => Failure::new(426, "upgrade_required", "a trace is a WebSocket (version 13)")
                .header("Upgrade", "websocket"),
        }
    }

    /// The error for a change that cannot be kept now, and was not carried out.
    pub fn not_kept() -> Self {
        Failure::unavailable("the store cannot keep this just now, and nothing was changed")
    }

    /// The error for a mailbox that is deleted in memory, and whose end the store could not keep.
    pub fn not_forgotten() -> Self {
        Failure::unavailable("the store could not delete the messages: ask again")
    }

    /// The error for what cannot be done now and may be tried again.
    pub fn unavailable(message: &'static str) -> Self {
        Failure::new(503, "unavailable", message).header("Retry-After", "1")
    }

    /// The error for a question for older messages to a server that keeps none.
    pub fn history_off() -> Self {
        Failure::new(
            404,
            "history_off",
            "this server keeps no history: it needs --store and --history",
        )
    }

    pub fn wrong_method(allowed: String) -> Self {
        let failure = Failure::new(405, "wrong_method", format!("only {allowed}"));
        failure.header("Allow", allowed)
    }

    pub fn field(mut self, field: impl Into<Cow<'static, str>>) -> Self {
        self.error.field = Some(field.into());
        self
    }

    pub fn header(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.header = Some((name, value.into()));
        self
    }

    pub fn response(self) -> Response {
        #[derive(Serialize)]
        struct Body<'a> {
            error: &'a Described,
        }
        // This cannot fail, because all keys are strings.
        let json = serde_json::to_vec(&Body { error: &self.error }).unwrap_or_default();
        let response = Response::new(self.status).body("application/json", json);
        match self.header {
            Some((name, value)) => response.field(name, value),
            None => response,
        }
    }
}
