//! What a request is told that cannot be answered.

use std::borrow::Cow;

use serde::Serialize;

use crate::wire::http::head::Request;
use crate::wire::http::response::Response;

/// An error, as the backend gets it: `{"error":{"code":…,"message":…,"field":…}}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    status: u16,
    error: Described,
    /// A field of the head that belongs to it.
    header: Option<(&'static str, Cow<'static, str>)>,
}

#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
struct Described {
    /// For programs.
    code: &'static str,
    /// For people.
    message: Cow<'static, str>,
    /// Which field of the body, or of the query, is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<Cow<'static, str>>,
}

impl Failure {
    pub fn new(status: u16, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        let error = Described { code, message: message.into(), field: None };
        Failure { status, error, header: None }
    }

    /// A value that is not what its field takes.
    pub fn bad_value(field: impl Into<Cow<'static, str>>, message: &'static str) -> Self {
        Failure::new(400, "bad_value", message).field(field)
    }

    /// What is no user's id can be nobody's.
    pub fn bad_name(field: impl Into<Cow<'static, str>>) -> Self {
        let message = "a user id, or a group's, has 1 to 128 bytes, no / and no control characters";
        Failure::bad_value(field, message)
    }

    /// Where the server asks for no tickets there are none to be had.
    pub fn tickets_off() -> Self {
        Failure::new(404, "tickets_off", "this server asks for no tickets")
    }

    /// A trace is a WebSocket (RFC 6455, section 4.4).
    pub fn not_a_handshake(request: &Request<'_>) -> Self {
        match request.upgrade_required().status() {
            400 => Failure::new(400, "bad_handshake", "bad Sec-WebSocket-Key"),
            _ => Failure::new(426, "upgrade_required", "a trace is a WebSocket (version 13)")
                .header("Upgrade", "websocket"),
        }
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
        // It has no keys that are not strings, which is what could fail.
        let json = serde_json::to_vec(&Body { error: &self.error }).unwrap_or_default();
        let response = Response::new(self.status).body("application/json", json);
        match self.header {
            Some((name, value)) => response.field(name, value),
            None => response,
        }
    }
}
