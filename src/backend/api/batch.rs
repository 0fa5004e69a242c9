//! `POST /api/batch`: many messages, each to one user.
//!
//! All messages are checked before the first is sent: a batch with a mistake sends nothing.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::relay::SYSTEM;
use crate::relay::object::Object;

use super::body::{self, Text};
use super::failure::Failure;
use super::replay::{Done, Replays};
use super::send::{MOST_USERS, Results, wishes};
use super::to_one::{ToOne, read_batch};
use super::{Answer, Call};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Batch<'a> {
    #[serde(borrow)]
    messages: Vec<Object<Message<'a>>>,
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
    keep: Option<bool>,
    volatile: Option<bool>,
    ttl: Option<u32>,
    #[serde(borrow)]
    key: Option<Text<'a>>,
}

impl Message<'_> {
    /// The message at this place of a batch.
    fn to_one(&self, at: usize) -> Result<ToOne<'_>, Failure> {
        let Message { user, message, from, keep, volatile, ttl, key } = self;
        let from = from.as_ref().map_or(SYSTEM, Text::get);
        let key = key.as_ref().map(Text::get);
        let place = |name| format!("messages[{at}].{name}").into();
        let wishes = wishes((*keep, *volatile), *ttl, key, place)?;
        Ok(ToOne { user: user.get(), message: message.get(), from, is_plain: false, wishes })
    }
}

pub fn send_all(call: &mut Call<'_>) -> Answer {
    if let Some(messages) = read_batch(body::text(call.request)?, MOST_USERS) {
        return send_each(call, &messages, None);
    }
    let Batch { messages, idempotency_key } = body::read(call.request)?;
    if messages.len() > MOST_USERS {
        return Err(Failure::bad_value("messages", "at most 1000 messages"));
    }
    let messages = messages.iter().enumerate().map(|(at, Object(message))| message.to_one(at));
    let messages = messages.collect::<Result<Vec<ToOne<'_>>, Failure>>()?;
    Replays::once(call, idempotency_key.as_ref(), |call, done| send_each(call, &messages, done))
}

fn send_each(call: &mut Call<'_>, messages: &[ToOne<'_>], done: Option<&mut Done>) -> Answer {
    for (at, message) in messages.iter().enumerate() {
        message.check(call.cx, |name| format!("messages[{at}].{name}").into())?;
    }
    let mut results = Results::with_capacity(messages.len());
    match done {
        None => messages.iter().for_each(|message| results.send(call, message)),
        Some(done) => {
            for (at, message) in messages.iter().enumerate() {
                results.send_once(call, message, at, done);
            }
        }
    }
    Ok(results.answer(call))
}
