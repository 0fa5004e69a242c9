//! What waits for a user, and older messages: `GET /api/users/{id}/messages` and other lists of
//! messages, and `DELETE /api/users/{id}/mailbox`.

use serde::Serialize;

use crate::backend::nodes::{Next, cut_off};
use crate::engine::{Request, Shared, Told};
use crate::hub::Context;
use crate::relay::{Answered, Asker, Relay, Unread, Whose, shared_frames, write_string};
use crate::wire::http::response::Response;

use super::failure::Failure;
use super::late::Waiting;
use super::{Answer, Call, json, nodes, ok, query};

/// A mailbox, as it is told with its user.
#[derive(Serialize)]
pub struct Mailbox {
    epoch: String,
    /// The newest number.
    seq: u64,
    waiting: usize,
    devices: Vec<Device>,
}

#[derive(Serialize)]
struct Device {
    device: String,
    /// The device has handled everything up to this number.
    cursor: u64,
    online: bool,
}

/// Returns what is known of a user's mailbox, if there is one.
pub fn describe(relay: &mut Relay, cx: &Context, user: &str) -> Option<Mailbox> {
    let key = relay.v2.boxes.find(user)?;
    let epoch = relay.epoch(cx);
    let boxes = &relay.v2.boxes;
    let devices = boxes.devices(key).map(|(_, device, away)| Device {
        device: device.name.to_string(),
        cursor: device.cursor,
        online: away.is_none(),
    });
    let devices = devices.collect();
    Some(Mailbox { epoch, seq: boxes.top(key), waiting: boxes.waiting_for(key), devices })
}

/// Describes a mailbox that all nodes share.
pub fn of_shared(shared: &Shared) -> Mailbox {
    let device = |(name, cursor, away): &(Box<str>, u64, Option<u32>)| Device {
        device: name.to_string(),
        cursor: *cursor,
        online: away.is_none(),
    };
    Mailbox {
        epoch: shared.epoch.to_string(),
        seq: shared.top,
        waiting: shared.waiting as usize,
        devices: shared.devices.iter().map(device).collect(),
    }
}

/// `GET /api/users/{id}/messages`: what waits for the user, the oldest first; or, if `order` or
/// `before` asks for it, what the store keeps of the user's messages, the newest first.
pub fn messages(call: &mut Call<'_>, user: &str) -> Answer {
    if query::asks_for_newest(call.request)? {
        return history(call, ("user", user), Whose::User(user.into()));
    }
    let after = query::after_number(call.request)?;
    let limit = query::limit(call.request)?;
    let request = call.request_name;
    if call.relay.is_shared() {
        let user = user.to_owned();
        return nodes(call, |turn| {
            // One message more says whether there are more.
            let ask = Request::Mailbox { user: &user.clone(), after, limit: limit + 1 };
            turn.ask(ask, move |_, told| {
                let Told::Mailbox(_, Ok(shared)) = told else { return cut_off().into() };
                let page = shared.map(|it| shared_frames(&it, &user, (after, limit)));
                let page = page.unwrap_or_default();
                Next::Answer(Ok(list(begin("user", &user), &page.frames, page.more)))
            })
        });
    }
    let found = call.relay.waiting_frames(call.cx, user, (after, limit), request);
    answer(call, begin("user", user), found)
}

/// `GET /api/conversations/{user}/{other}/messages`
pub fn of_pair(call: &mut Call<'_>, user: &str, other: &str) -> Answer {
    let mut begun = String::from(r#"{"users":["#);
    write_string(user, &mut begun);
    begun.push(',');
    write_string(other, &mut begun);
    begun.push(']');
    ask_history(call, begun, Whose::Pair(user.into(), other.into()))
}

/// `GET /api/groups/{group}/messages`
pub fn of_group(call: &mut Call<'_>, group: &str) -> Answer {
    history(call, ("group", group), Whose::Group(group.into()))
}

fn history(call: &mut Call<'_>, (name, value): (&str, &str), whose: Whose) -> Answer {
    ask_history(call, begin(name, value), whose)
}

fn ask_history(call: &mut Call<'_>, begun: String, whose: Whose) -> Answer {
    let before = query::before(call.request)?;
    let limit = query::limit_of_history(call.request)?;
    let asker = Asker::Backend { request: call.request_name };
    let found = call.relay.ask_history(call.cx, &whose, before.as_deref(), limit, asker);
    answer(call, begun, found)
}

/// Answers with a list that begins so, at once or later.
fn answer(call: &mut Call<'_>, begun: String, found: Answered) -> Answer {
    match found {
        Answered::Now(Ok(page)) => Ok(list(begun, &page.frames, page.more)),
        Answered::Now(Err(why)) => Err(unread(why)),
        Answered::Later => {
            call.waiting = Some(Waiting::Messages(begun));
            Ok(ok(Vec::new()))
        }
    }
}

/// The error for older messages that are not told.
pub fn unread(why: Unread) -> Failure {
    match why {
        Unread::BadId => Failure::bad_value("before", "the id of a message"),
        Unread::Busy => Failure::unavailable("too many requests wait for the store"),
        Unread::Unavailable => Failure::unavailable("the store cannot be read just now"),
        Unread::Unsupported => Failure::history_off(),
    }
}

/// The beginning of a list of messages, up to the name and the id of whom they belong to.
fn begin(name: &str, id: &str) -> String {
    let mut text = format!(r#"{{"{name}":"#);
    write_string(id, &mut text);
    text
}

/// A list of messages as JSON, with this beginning.
pub fn list(begun: String, frames: &[String], more: bool) -> Response {
    let mut text = begun;
    text.push_str(r#","messages":["#);
    text.push_str(&frames.join(","));
    text.push_str(if more { r#"],"more":true}"# } else { r#"],"more":false}"# });
    ok(text.into_bytes())
}

#[derive(Serialize)]
struct Forgotten<'a> {
    user: &'a str,
    forgotten: bool,
}

/// `DELETE /api/users/{id}/mailbox`
pub fn forget(call: &mut Call<'_>, user: &str) -> Answer {
    if call.relay.is_shared() {
        let user = user.to_owned();
        return nodes(call, |turn| {
            let ask = Request::Mailbox { user: &user.clone(), after: 0, limit: 0 };
            turn.ask(ask, move |turn, told| {
                let Told::Mailbox(_, Ok(shared)) = told else { return cut_off().into() };
                let answer = json(&Forgotten { user: &user, forgotten: shared.is_some() });
                let Ok(answer) = answer else { return Next::Answer(answer) };
                match turn.relay.forget_mailbox(turn.cx, &user, turn.request) {
                    Ok(found) if found.is_later => Next::Change(answer, Failure::not_forgotten()),
                    Ok(_) => Next::Answer(Ok(answer)),
                    Err(_) => cut_off().into(),
                }
            })
        });
    }
    let found = call.relay.forget_mailbox(call.cx, user, call.request_name);
    let found = found.map_err(|_| Failure::not_kept())?;
    let answer = json(&Forgotten { user, forgotten: found.is_known })?;
    if found.is_later {
        let failure = Failure::not_forgotten();
        call.waiting = Some(Waiting::Change { answer: answer.clone(), failure });
    }
    Ok(answer)
}
