//! `POST /api/kick`: closes all connections of a user.

use serde::{Deserialize, Serialize};

use crate::wire::ws::close::MAX_CLOSE_REASON;

use super::body::{self, Text};
use super::failure::Failure;
use super::{Answer, Call, json, nodes};
use crate::backend::nodes::{Next, Question, answers};
use crate::engine::{Of, Request};
use crate::hub::Context;

/// The close code of a kicked connection. Clients reconnect after it; only after 4501 does
/// `longlink.js` ask for a new ticket first.
const KICKED: u16 = 4503;

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
    let reason = kick.reason.as_ref().map_or("", Text::get);
    if reason.len() > MAX_CLOSE_REASON {
        return Err(Failure::bad_value("reason", "at most 123 bytes"));
    }
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

/// Closes all connections that a user has to this node. Returns how many there were.
pub fn close_all(cx: &mut Context, user: &str, reason: &str) -> usize {
    let connections = cx.connections_of(user);
    for &conn in &connections {
        cx.close(conn, KICKED, reason);
    }
    connections.len()
}
