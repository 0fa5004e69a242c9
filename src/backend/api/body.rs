//! Bodies of requests: JSON in which every field must be known.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::error::Category;

use crate::hub::{Config, Context};
use crate::relay::object::Object;
use crate::relay::{Relay, is_shallow};
use crate::wire::http::fields::{BadField, media_type};
use crate::wire::http::head::Request;

use super::failure::Failure;

/// The length of the longest error message in bytes, because an error can quote a whole body.
const MOST_MESSAGE: usize = 200;
/// The most bytes that an envelope adds to a message: two ids in which each byte may need escaping,
/// and some sixty bytes more.
const MOST_ENVELOPE: usize = 2_048;

/// A string that is copied only if it contains escapes.
#[derive(Deserialize)]
#[serde(transparent)]
pub struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Text<'_> {
    pub fn get(&self) -> &str {
        &self.0
    }

    /// Returns the string if it can be the id of a user or a group.
    pub fn id(&self, field: impl FnOnce() -> Cow<'static, str>) -> Result<&str, Failure> {
        if Relay::is_user_id(&self.0) { Ok(&self.0) } else { Err(Failure::bad_name(field())) }
    }
}

/// Checks a message that is to be carried as it is written.
pub fn message<'a>(
    cx: &Context,
    text: &'a str,
    field: impl Fn() -> Cow<'static, str>,
) -> Result<&'a str, Failure> {
    // The message and its envelope must fit into a queue.
    let Config { max_message, max_queue, .. } = *cx.config();
    if text.len() > max_message.min(max_queue.saturating_sub(MOST_ENVELOPE)) {
        return Err(Failure::new(413, "message_too_long", "the message is too long").field(field()));
    }
    if !is_shallow(text) {
        return Err(Failure::bad_value(field(), "the message is nested deeper than 64"));
    }
    Ok(text)
}

/// Checks that the request says that its body is JSON. A foreign web page can send this content
/// type only after the browser has asked the server.
pub fn check_type(request: &Request<'_>) -> Result<(), Failure> {
    const JSON: &[u8] = b"application/json";
    let declared = match request.fields().once("Content-Type") {
        Ok(declared) => declared.unwrap_or_default(),
        Err(BadField) => {
            return Err(Failure::new(400, "bad_request", "more than one Content-Type"));
        }
    };
    let is_json = |value: &str| value.as_bytes().eq_ignore_ascii_case(JSON);
    if declared == JSON || media_type(declared).is_some_and(is_json) {
        return Ok(());
    }
    Err(Failure::new(415, "not_json", "send Content-Type: application/json"))
}

/// Returns a body as text.
pub fn text<'a>(request: &'a Request<'_>) -> Result<&'a str, Failure> {
    simdutf8::basic::from_utf8(request.body().unwrap_or_default())
        .map_err(|_| Failure::new(400, "bad_json", "the body is not UTF-8"))
}

/// Parses a body.
pub fn read<'a, T: Deserialize<'a>>(request: &'a Request<'_>) -> Result<T, Failure> {
    let text = text(request)?;
    match serde_json::from_str(text) {
        Ok(Object(body)) => Ok(body),
        Err(error) => Err(explain::<Object<T>>(text, error)),
    }
}

/// Parses the body again, in a slow way that finds out where it is wrong.
#[cold]
fn explain<'a, T: Deserialize<'a>>(text: &'a str, error: serde_json::Error) -> Failure {
    if error.classify() != Category::Data {
        return Failure::new(400, "bad_json", cut(&error.to_string()));
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let (path, error) = match serde_path_to_error::deserialize::<_, T>(&mut json) {
        Ok(_) => (String::new(), error),
        Err(error) => (error.path().to_string(), error.into_inner()),
    };
    let message = error.to_string();
    let named = |prefix: &str| message.strip_prefix(prefix).and_then(|rest| rest.split('`').next());
    let (code, name) = match () {
        () if message.starts_with("unknown field") => ("unknown_field", named("unknown field `")),
        () if message.starts_with("missing field") => ("missing_field", named("missing field `")),
        () if message.starts_with("duplicate field") => {
            ("duplicate_field", named("duplicate field `"))
        }
        () => ("bad_type", None),
    };
    let parent = path.trim_matches('.');
    let field = match name {
        None => parent.to_owned(),
        Some(name) if parent == name || parent.ends_with(&format!(".{name}")) => parent.to_owned(),
        Some(name) if parent.is_empty() => name.to_owned(),
        Some(name) => format!("{parent}.{name}"),
    };
    let failure = Failure::new(400, code, cut(&message));
    // There is no field if the body itself has the wrong type.
    if field.is_empty() { failure } else { failure.field(cut(&field)) }
}

fn cut(text: &str) -> String {
    if text.len() <= MOST_MESSAGE {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(MOST_MESSAGE)])
}
