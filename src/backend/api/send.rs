//! `POST /api/send`: a message to one user, to several users, to a group or to everyone.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::backend::nodes::{Spread, cut_off};
use crate::hub::Context;
use crate::relay::{Pushed, Reached, SYSTEM, Wishes, write_string};
use crate::wire::http::response::Response;

use super::body::{self, Text};
use super::failure::Failure;
use super::late::Unfinished;
use super::replay::{Done, Replays};
use super::to_one::ToOne;
use super::{Answer, Call};

/// The largest number of users in one request.
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
    keep: Option<bool>,
    volatile: Option<bool>,
    ttl: Option<u32>,
    #[serde(borrow)]
    key: Option<Text<'a>>,
}

/// The length of the longest key in bytes.
const MOST_KEY: usize = 64;

/// Checks what a backend wishes for a message. `place` says where a field is.
pub fn wishes<'a>(
    (keep, volatile): (Option<bool>, Option<bool>),
    ttl: Option<u32>,
    key: Option<&'a str>,
    place: impl Fn(&'static str) -> Cow<'static, str>,
) -> Result<Wishes<'a>, Failure> {
    let (keep, volatile) = (keep.unwrap_or(false), volatile.unwrap_or(false));
    if keep && volatile {
        return Err(Failure::bad_value(place("volatile"), "not together with keep"));
    }
    if ttl == Some(0) {
        return Err(Failure::bad_value(place("ttl"), "at least 1 second"));
    }
    if key.is_some_and(|key| !(1..=MOST_KEY).contains(&key.len())) {
        return Err(Failure::bad_value(place("key"), "1 to 64 bytes"));
    }
    Ok(Wishes { keep, volatile, ttl, key, once: None })
}

/// Returns the wishes, if there are any.
pub fn wishes_of<'a>(wishes: &'a Wishes<'a>) -> Option<&'a Wishes<'a>> {
    Some(wishes).filter(|wishes| **wishes != Wishes::default())
}

/// The bytes that an envelope with ordinary ids adds to a message.
const ENVELOPE: usize = 128;

/// The word for what became of a message to one user. A message is `busy` if so much goes to the
/// user, or to all users, at once that the rest has to be sent again.
pub fn name_of(state: Pushed) -> &'static str {
    match state {
        Pushed::Stored => "stored",
        Pushed::Queued => "queued",
        Pushed::Sent => "sent",
        Pushed::Offline => "offline",
        Pushed::Busy | Pushed::TooLarge | Pushed::Later => "busy",
    }
}

/// Writes the last fields of the result of a message to a group, or to all users.
pub fn write_group(Reached { state, connections }: Reached, out: &mut String) {
    let connections = if state == Pushed::Busy { 0 } else { connections };
    out.push_str(&format!(r#","state":"{}","connections":{connections}"#, name_of(state)));
}

/// The results of messages as JSON. They are written without serde, because a batch has many.
pub struct Results {
    text: String,
    /// The states that are missing, if there are any. It is in a box because nearly no answer has it.
    unfinished: Option<Box<Unfinished>>,
    count: usize,
}

impl Results {
    /// Makes an empty list with room for the results of this many users.
    pub fn with_capacity(users: usize) -> Self {
        let mut text = String::with_capacity(16 + 64 * users);
        text.push_str(r#"{"results":["#);
        Results { text, unfinished: None, count: 0 }
    }

    /// The place of the next state that will be missing.
    fn next_place(&self) -> u32 {
        self.unfinished.as_ref().map_or(0, |unfinished| unfinished.next_place())
    }

    fn begin(&mut self) {
        if self.text.ends_with('}') {
            self.text.push(',');
        }
    }

    /// Sends a message to one user, and adds the result.
    pub fn send(&mut self, call: &mut Call<'_>, message: &ToOne<'_>) {
        let state = deliver(call, message, self.next_place(), None);
        let at = self.count;
        self.count += 1;
        self.push(call, message, state, at);
    }

    /// Does what [`Results::send`] does, unless the message at this place of a repeated request was
    /// carried out before.
    pub fn send_once(
        &mut self,
        call: &mut Call<'_>,
        message: &ToOne<'_>,
        at: usize,
        done: &mut Done,
    ) {
        let place = self.next_place();
        let key = call.shared_key.clone();
        let once = key.as_deref().map(|key| (key, at as u32));
        let state = done.deliver(at, || deliver(call, message, place, once));
        self.push(call, message, state, at);
    }

    #[inline(always)]
    fn push(&mut self, call: &Call<'_>, message: &ToOne<'_>, state: Pushed, at: usize) {
        let ToOne { user, is_plain, .. } = *message;
        self.begin();
        if is_plain && state == Pushed::Sent {
            // This is what becomes of nearly all messages.
            for part in [r#"{"user":""#, user, r#"","state":"sent","online":true}"#] {
                self.text.push_str(part);
            }
            return;
        }
        if is_plain {
            for part in [r#"{"user":""#, user, r#"""#] {
                self.text.push_str(part);
            }
        } else {
            self.text.push_str(r#"{"user":"#);
            write_string(user, &mut self.text);
        }
        match state {
            Pushed::Sent => return self.text.push_str(r#","state":"sent","online":true}"#),
            // An app in the background is online, and takes nothing that is not kept.
            Pushed::Offline if !call.cx.is_online(user) => {
                return self.text.push_str(r#","state":"offline","online":false}"#);
            }
            _ => {}
        }
        self.text.push_str(r#","state":""#);
        match state {
            Pushed::Later if call.relay.is_shared() => {
                let unfinished = self.unfinished.get_or_insert_default();
                unfinished.miss_user(self.text.len(), at, user);
                self.text.push('}');
                return;
            }
            Pushed::Later => {
                self.unfinished.get_or_insert_default().miss(self.text.len(), at);
            }
            state => self.text.push_str(name_of(state)),
        }
        self.text.push_str(match call.cx.is_online(user) {
            true => r#"","online":true}"#,
            false => r#"","online":false}"#,
        });
    }

    /// Adds what became of a message to a group, or to all users.
    fn push_many(&mut self, group: Option<&str>, reached: Reached) {
        self.begin();
        match group {
            Some(group) => {
                self.text.push_str(r#"{"group":"#);
                write_string(group, &mut self.text);
            }
            None => self.text.push_str(r#"{"all":true"#),
        }
        match reached.state {
            Pushed::Later => {
                self.unfinished.get_or_insert_default().miss_group(self.text.len(), reached);
            }
            _ => write_group(reached, &mut self.text),
        }
        self.text.push('}');
    }

    /// Adds what becomes of a message to everyone that all nodes send.
    fn push_spread(&mut self, spread: Spread) {
        self.begin();
        self.text.push_str(r#"{"all":true"#);
        self.unfinished.get_or_insert_default().miss_spread(self.text.len(), spread);
        self.text.push('}');
    }

    /// The answer; if results are missing it is sent later, and this one is not sent at all.
    pub fn answer(mut self, call: &mut Call<'_>) -> Response {
        self.text.push_str("]}");
        let Some(mut unfinished) = self.unfinished else {
            return super::ok(self.text.into_bytes());
        };
        unfinished.set_text(self.text);
        call.unfinished = Some(*unfinished);
        super::ok(Vec::new())
    }
}

#[inline(always)]
fn deliver(
    call: &mut Call<'_>,
    to_one: &ToOne<'_>,
    place: u32,
    once: Option<(&str, u32)>,
) -> Pushed {
    let ToOne { user, message, from, is_plain, wishes } = *to_one;
    if is_busy(call.cx, user, message.len()) {
        return Pushed::Busy;
    }
    if wishes.is_some() || call.relay.has_mailbox(user) {
        return deliver_as_wished(call, to_one, place, once);
    }
    let devices = match is_plain {
        true => call.relay.push_plain(call.cx, from, user, message),
        false => call.relay.push(call.cx, from, user, message),
    };
    if devices > 0 { Pushed::Sent } else { Pushed::Offline }
}

/// Delivers a message for which the backend has wishes, or whose user has a mailbox.
#[inline(never)]
fn deliver_as_wished(
    call: &mut Call<'_>,
    to_one: &ToOne<'_>,
    place: u32,
    once: Option<(&str, u32)>,
) -> Pushed {
    let ToOne { user, message, from, wishes, .. } = *to_one;
    let wishes = Wishes { once, ..wishes.copied().unwrap_or_default() };
    let place = (call.request_name, place);
    call.relay.push_as_wished(call.cx, (from, user), message, wishes, place)
}

/// Whether a message with this many bytes to a user must be sent again later.
fn is_busy(cx: &Context, user: &str, length: usize) -> bool {
    let is_online = || !cx.connections_of(user).is_empty();
    cx.is_pressed(user) || (!cx.has_memory_for(ENVELOPE + length) && is_online())
}

/// The error for a message that is to be kept for too large a group.
pub fn too_large() -> Failure {
    let message = "messages to groups of more than 1000 members are not kept";
    Failure::bad_value("keep", message)
}

pub fn send(call: &mut Call<'_>) -> Answer {
    if call.relay.is_cut_off() {
        return Err(cut_off());
    }
    if let Some(message) = ToOne::read(body::text(call.request)?) {
        message.check(call.cx, |name| name.into())?;
        let mut results = Results::with_capacity(1);
        results.send(call, &message);
        return Ok(results.answer(call));
    }
    let message: Message<'_> = body::read(call.request)?;
    Replays::once(call, message.idempotency_key.as_ref(), |call, done| message.send(call, done))
}

impl Message<'_> {
    fn send(&self, call: &mut Call<'_>, done: Option<&mut Done>) -> Answer {
        let mut unknown = Done::default();
        let done = done.unwrap_or(&mut unknown);
        let text = body::message(call.cx, self.message.get(), || "message".into())?;
        let from = self.from.as_ref().map_or(Ok(SYSTEM), |from| from.id(|| "from".into()))?;
        let excluded = ids("exclude", self.exclude.as_deref().unwrap_or_default())?;
        let users = self.users.as_deref();
        let key = self.key.as_ref().map(Text::get);
        let wishes = wishes((self.keep, self.volatile), self.ttl, key, |name| name.into())?;
        let to_one =
            |user| ToOne { user, message: text, from, is_plain: false, wishes: wishes_of(&wishes) };
        let mut results = Results::with_capacity(users.map_or(1, <[_]>::len).min(MOST_USERS));
        match (&self.user, users, &self.group, self.all.unwrap_or(false)) {
            (Some(user), None, None, false) => {
                let user = user.id(|| "user".into())?;
                if !excluded.contains(&user) {
                    results.send_once(call, &to_one(user), 0, done);
                }
            }
            (None, Some(users), None, false) => {
                for (at, user) in ids("users", users)?.into_iter().enumerate() {
                    if !excluded.contains(&user) {
                        results.send_once(call, &to_one(user), at, done);
                    }
                }
            }
            (None, None, Some(group), false) => {
                let group = group.id(|| "group".into())?;
                let is_shared = call.relay.is_shared();
                if wishes.keep && !is_shared && !call.relay.keeps_for_group(group) {
                    return Err(too_large());
                }
                let message = (group, text);
                let place = Some((call.request_name, results.next_place()));
                let key = call.shared_key.clone();
                let wishes = Wishes { once: key.as_deref().map(|key| (key, 0)), ..wishes };
                let reached = done.send_to_many(|| {
                    let Call { relay, cx, .. } = call;
                    relay.push_to_group_as_wished(cx, from, message, &excluded, wishes, place)
                });
                results.push_many(Some(group), reached);
                if is_shared && let Some(unfinished) = &mut results.unfinished {
                    let spread = spread_of(Some(group), from, text, &excluded);
                    unfinished.or_else_spread(spread, wishes.keep);
                }
            }
            (None, None, None, true) => {
                if wishes.keep {
                    return Err(Failure::bad_value("keep", "a message to all is not kept"));
                }
                if call.relay.is_shared() && !done.is_sent() {
                    let spread = spread_of(None, from, text, &excluded);
                    // Until the nodes have answered, it counts as sent.
                    done.send_to_many(|| Reached { state: Pushed::Later, connections: 0 });
                    results.push_spread(spread);
                    return Ok(results.answer(call));
                }
                let reached = done.send_to_many(|| {
                    Reached::live(call.relay.push_to_all(call.cx, from, text, &excluded))
                });
                results.push_many(None, reached);
            }
            _ => {
                let message = "exactly one of user, users, group and all";
                return Err(Failure::new(400, "one_target", message).field("user"));
            }
        }
        Ok(results.answer(call))
    }
}

fn spread_of(group: Option<&str>, from: &str, message: &str, except: &[&str]) -> Spread {
    Spread {
        from: from.to_owned(),
        group: group.map(str::to_owned),
        message: message.to_owned(),
        except: except.iter().map(|user| (*user).to_owned()).collect(),
    }
}

fn ids<'a>(field: &'static str, users: &'a [Text<'_>]) -> Result<Vec<&'a str>, Failure> {
    if users.len() > MOST_USERS {
        return Err(Failure::bad_value(field, "at most 1000 users"));
    }
    let id = |(at, user): (usize, &'a Text<'_>)| user.id(|| format!("{field}[{at}]").into());
    users.iter().enumerate().map(id).collect()
}
