//! `POST /api/send`: a message to a user, to some, to a group or to everyone.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::relay::{SYSTEM, is_shallow, is_user_id};

use super::failure::Failure;
use super::{Answer, Call, body};

/// The most users that one message is sent to by their ids.
const MOST_USERS: usize = 1_000;

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
    /// Carried as it is written.
    #[serde(borrow)]
    message: &'a RawValue,
    #[serde(borrow)]
    from: Option<Text<'a>>,
    #[serde(borrow)]
    exclude: Option<Vec<Text<'a>>>,
}

/// A string that is only copied if something in it is escaped.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Serialize)]
struct Results<T> {
    results: T,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum State {
    /// Handed to a connection that is alive.
    Delivered,
    Offline,
}

#[derive(Serialize)]
struct ToUser<'a> {
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
    let text = message.message.get();
    if !is_shallow(text) {
        return Err(Failure::bad_value("message", "it is nested deeper than 64"));
    }
    if text.len() > call.hub.config().max_message {
        let failure = Failure::new(413, "message_too_long", "the message is too long");
        return Err(failure.field("message"));
    }
    let from = message.from.as_ref().map_or(SYSTEM, |from| &from.0);
    check_id("from", from)?;
    let exclude: Vec<&str> = message.exclude.iter().flatten().map(|user| &*user.0).collect();
    if exclude.len() > MOST_USERS {
        return Err(Failure::bad_value("exclude", "at most 1000 users"));
    }
    let mut to_user = |user| {
        let devices = call.relay.push(call.hub, from, user, text);
        let state = if devices > 0 { State::Delivered } else { State::Offline };
        ToUser { user, state }
    };
    let all = message.all.unwrap_or(false);
    match (&message.user, &message.users, &message.group, all) {
        (Some(user), None, None, false) => {
            check_id("user", &user.0)?;
            super::json(&Results { results: [to_user(&user.0)] })
        }
        (None, Some(users), None, false) => {
            if users.len() > MOST_USERS {
                return Err(Failure::bad_value("users", "at most 1000 users"));
            }
            for (at, user) in users.iter().enumerate() {
                check_id(format!("users[{at}]"), &user.0)?;
            }
            let wanted = users.iter().filter(|user| !exclude.contains(&&*user.0));
            let results: Vec<ToUser<'_>> = wanted.map(|user| to_user(&user.0)).collect();
            super::json(&Results { results })
        }
        (None, None, Some(group), false) => {
            let group = &*group.0;
            let connections = call.relay.push_to_group(call.hub, from, group, text, &exclude);
            super::json(&Results {
                results: [ToMany { group: Some(group), all: None, connections }],
            })
        }
        (None, None, None, true) => {
            let connections = call.relay.push_to_all(call.hub, from, text, &exclude);
            super::json(&Results {
                results: [ToMany { group: None, all: Some(true), connections }],
            })
        }
        _ => {
            let message = "exactly one of user, users, group and all";
            Err(Failure::new(400, "one_target", message).field("user"))
        }
    }
}

/// What is no user's id can be nobody's.
fn check_id(field: impl Into<Cow<'static, str>>, id: &str) -> Result<(), Failure> {
    if is_user_id(id) {
        return Ok(());
    }
    Err(Failure::bad_value(field, "a user id has 1 to 128 bytes, no / and no control characters"))
}
