//! `POST /api/batch`: many messages, each to one user.
//!
//! All are looked at before the first is sent: a batch with a mistake sends nothing.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::relay::{Observer, SYSTEM};

use super::body::{self, Text};
use super::failure::Failure;
use super::replay::Replays;
use super::send::{MOST_USERS, Results, sender};
use super::{Answer, Call};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Batch<'a> {
    #[serde(borrow)]
    messages: Vec<Message<'a>>,
    #[serde(borrow)]
    idempotency_key: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Message<'a> {
    #[serde(borrow)]
    user: Text<'a>,
    #[serde(borrow)]
    message: &'a RawValue,
    #[serde(borrow)]
    from: Option<Text<'a>>,
}

pub fn send_all(call: &mut Call<'_, impl Observer>) -> Answer {
    let Batch { messages, idempotency_key } = body::read(call.request)?;
    if messages.len() > MOST_USERS {
        return Err(Failure::bad_value("messages", "at most 1000 messages"));
    }
    Replays::once(call, idempotency_key.as_ref(), |call| {
        for (at, Message { user, message, from }) in messages.iter().enumerate() {
            let field = |name| format!("messages[{at}].{name}").into();
            user.id(|| field("user"))?;
            body::message(call.hub, message, || field("message"))?;
            sender(from.as_ref(), || field("from"))?;
        }
        let mut results = Results::with_capacity(messages.len());
        for Message { user, message, from } in &messages {
            let from = from.as_ref().map_or(SYSTEM, Text::get);
            results.send(call, from, user.get(), message.get());
        }
        Ok(results.answer())
    })
}
