//! What waits for a user: `GET /api/users/{id}/messages` and `DELETE /api/users/{id}/mailbox`.

use serde::Serialize;

use crate::hub::Context;
use crate::relay::{Relay, write_string};

use super::{Answer, Call, json, ok, query};

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

/// `GET /api/users/{id}/messages`
pub fn messages(call: &mut Call<'_>, user: &str) -> Answer {
    let after = query::after_number(call.request)?;
    let limit = query::limit(call.request)?;
    let (frames, more) = call.relay.waiting_frames(user, after, limit);
    let mut text = String::from(r#"{"user":"#);
    write_string(user, &mut text);
    text.push_str(r#","messages":["#);
    text.push_str(&frames.join(","));
    text.push_str(if more { r#"],"more":true}"# } else { r#"],"more":false}"# });
    Ok(ok(text.into_bytes()))
}

#[derive(Serialize)]
struct Forgotten<'a> {
    user: &'a str,
    forgotten: bool,
}

/// `DELETE /api/users/{id}/mailbox`
pub fn forget(call: &mut Call<'_>, user: &str) -> Answer {
    let forgotten = call.relay.forget_mailbox(call.cx, user);
    json(&Forgotten { user, forgotten })
}
