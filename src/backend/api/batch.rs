//! `POST /api/batch`: many messages, each to one user.
//!
//! All messages are checked before the first is sent: a batch with a mistake sends nothing.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::backend::nodes::cut_off;
use crate::relay::object::Object;
use crate::relay::{SYSTEM, Wishes};

use super::body::{self, Text};
use super::failure::Failure;
use super::replay::{Done, Replays};
use super::send::{MOST_USERS, Results, wishes, wishes_of};
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
    /// The wishes for the message at this place of a batch.
    fn wishes(&self, at: usize) -> Result<Wishes<'_>, Failure> {
        let place = |name| format!("messages[{at}].{name}").into();
        let key = self.key.as_ref().map(Text::get);
        wishes((self.keep, self.volatile), self.ttl, key, place)
    }

    fn to_one<'a>(&'a self, wishes: &'a Wishes<'a>) -> ToOne<'a> {
        let from = self.from.as_ref().map_or(SYSTEM, Text::get);
        let (user, message) = (self.user.get(), self.message.get());
        ToOne { user, message, from, is_plain: false, wishes: wishes_of(wishes) }
    }
}

pub fn send_all(call: &mut Call<'_>) -> Answer {
    if call.relay.is_cut_off() {
        return Err(cut_off());
    }
    if let Some(messages) = read_batch(body::text(call.request)?, MOST_USERS) {
        return send_each(call, &messages, None);
    }
    let Batch { messages, idempotency_key } = body::read(call.request)?;
    if messages.len() > MOST_USERS {
        return Err(Failure::bad_value("messages", "at most 1000 messages"));
    }
    let wishes = messages.iter().enumerate().map(|(at, Object(message))| message.wishes(at));
    let wishes = wishes.collect::<Result<Vec<Wishes<'_>>, Failure>>()?;
    let messages = messages.iter().zip(&wishes).map(|(Object(it), wishes)| it.to_one(wishes));
    let messages: Vec<ToOne<'_>> = messages.collect();
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
