//! `POST /api/send`: a message to a user, to some, to a group or to everyone.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::relay::SYSTEM;

use super::body::{self, Text};
use super::failure::Failure;
use super::replay::Replays;
use super::{Answer, Call, json};

/// The most users that one message, or one batch, is sent to by their ids.
pub const MOST_USERS: usize = 1_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Message<'a> {
    #[serde(borrow)]
    user: Option<Text<'a>>,
    #[serde(borrow)]
    users: Option<Vec<Text<'a>>>,
    #[serde(borrow)]
    group: Option<Text<'a>>,
    all: Option<bool>,
    #[serde(borrow)]
    message: &'a RawValue,
    #[serde(borrow)]
    from: Option<Text<'a>>,
    #[serde(borrow)]
    exclude: Option<Vec<Text<'a>>>,
    #[serde(borrow)]
    idempotency_key: Option<Text<'a>>,
}

#[derive(Serialize)]
pub struct Results<T> {
    pub results: T,
}

/// What became of a message to one user.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
enum State {
    /// Handed to a connection that is alive.
    Delivered,
    Offline,
    /// So much goes to the user at once that the rest has to be sent again.
    Busy,
}

#[derive(Serialize)]
pub struct ToUser<'a> {
    user: &'a str,
    state: State,
}

#[derive(Serialize)]
struct ToMany<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    all: Option<bool>,
    /// To how many connections it was handed.
    connections: usize,
}

pub fn send(call: &mut Call<'_>) -> Answer {
    let message: Message<'_> = body::read(call.request)?;
    Replays::once(call, message.idempotency_key.as_ref(), |call| message.send(call))
}

impl Message<'_> {
    fn send(&self, call: &mut Call<'_>) -> Answer {
        let text = body::message(call.hub, self.message, || "message".into())?;
        let from = sender(self.from.as_ref(), || "from".into())?;
        let excluded = ids("exclude", self.exclude.as_deref().unwrap_or_default())?;
        match (&self.user, &self.users, &self.group, self.all.unwrap_or(false)) {
            (Some(user), None, None, false) => {
                let user = user.id(|| "user".into())?;
                if excluded.contains(&user) {
                    return json(&Results { results: [(); 0] });
                }
                json(&Results { results: [to_user(call, from, user, text)] })
            }
            (None, Some(users), None, false) => {
                let users = ids("users", users)?;
                let wanted = users.into_iter().filter(|user| !excluded.contains(user));
                let results = wanted.map(|user| to_user(call, from, user, text));
                json(&Results { results: results.collect::<Vec<_>>() })
            }
            (None, None, Some(group), false) => {
                let group = group.id(|| "group".into())?;
                let connections = call.relay.push_to_group(call.hub, from, group, text, &excluded);
                json(&Results { results: [ToMany { group: Some(group), all: None, connections }] })
            }
            (None, None, None, true) => {
                let connections = call.relay.push_to_all(call.hub, from, text, &excluded);
                json(&Results { results: [ToMany { group: None, all: Some(true), connections }] })
            }
            _ => {
                let message = "exactly one of user, users, group and all";
                Err(Failure::new(400, "one_target", message).field("user"))
            }
        }
    }
}

/// Sends to one user.
pub fn to_user<'a>(call: &mut Call<'_>, from: &str, user: &'a str, text: &str) -> ToUser<'a> {
    let state = if call.hub.is_pressed(user) {
        State::Busy
    } else if call.relay.push(call.hub, from, user, text) > 0 {
        State::Delivered
    } else {
        State::Offline
    };
    ToUser { user, state }
}

/// Under which name it is sent.
pub fn sender<'a>(
    from: Option<&'a Text<'_>>,
    field: impl FnOnce() -> std::borrow::Cow<'static, str>,
) -> Result<&'a str, Failure> {
    from.map_or(Ok(SYSTEM), |from| from.id(field))
}

fn ids<'a>(field: &'static str, users: &'a [Text<'_>]) -> Result<Vec<&'a str>, Failure> {
    if users.len() > MOST_USERS {
        return Err(Failure::bad_value(field, "at most 1000 users"));
    }
    let id = |(at, user): (usize, &'a Text<'_>)| user.id(|| format!("{field}[{at}]").into());
    users.iter().enumerate().map(id).collect()
}
