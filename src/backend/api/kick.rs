//! `POST /api/kick`: closes all connections of a user.

use serde::{Deserialize, Serialize};

use crate::wire::ws::close::MAX_CLOSE_REASON;

use super::body::{self, Text};
use super::failure::Failure;
use super::{Answer, Call, json};

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
    let connections = call.cx.connections_of(user);
    for &conn in &connections {
        call.cx.close(conn, KICKED, reason);
    }
    json(&Kicked { closed: connections.len() })
}
