//! `POST /api/kick`: closes all connections of a user.

use serde::{Deserialize, Serialize};

use crate::wire::ws::close::MAX_CLOSE_REASON;

use super::body::{self, Text};
use super::failure::Failure;
use super::{Answer, Call, json, nodes};
use crate::backend::nodes::{Next, Question, answers};
use crate::engine::{Of, Request};
use crate::relay::blocks::close_all;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Kick<'a> {
    #[serde(borrow)]
    user: Text<'a>,
    #[serde(borrow)]
    reason: Option<Text<'a>>,
}

#[derive(Serialize)]
struct Kicked {
    closed: usize,
}

pub fn kick(call: &mut Call<'_>) -> Answer {
    let kick: Kick<'_> = body::read(call.request)?;
    let user = kick.user.id(|| "user".into())?;
    let reason = reason_of(kick.reason.as_ref())?;
    let closed = close_all(call.cx, user, reason);
    if !call.relay.is_shared() {
        return json(&Kicked { closed });
    }
    let question = Question::Kick { user: user.to_owned(), reason: reason.to_owned() }.json();
    nodes(call, |turn| {
        let ask = Request::Ask { of: Of::User(user), question: &question };
        turn.ask(ask, move |_, told| {
            let others = answers::<usize>(told).map(|all| all.iter().map(|(_, count)| count).sum());
            Next::Answer(others.and_then(|others: usize| json(&Kicked { closed: closed + others })))
        })
    })
}

/// Checks the reason that the clients of a user are told.
pub fn reason_of<'a>(reason: Option<&'a Text<'_>>) -> Result<&'a str, Failure> {
    let reason = reason.map_or("", Text::get);
    match reason.len() {
        0..=MAX_CLOSE_REASON => Ok(reason),
        _ => Err(Failure::bad_value("reason", "at most 123 bytes")),
    }
}
