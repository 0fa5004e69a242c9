//! Reads the text of a client's frame as a command.
//!
//! One pass over the text finds the fields. Only the fields that the type of the frame has are
//! checked; all others are ignored. Everything that is kept of a frame has a bound here, and a
//! frame that exceeds one is refused with a sentence that names the field.

use std::borrow::Cow;

use crate::hub::MAX_GROUP_NAME;
use crate::relay::v1::MAX_ID;
use crate::wire::json;

/// The longest `cid` and `key` in bytes.
pub const MAX_CID: usize = 64;
/// The longest `t` of a heartbeat in bytes, as JSON text.
pub const MAX_T: usize = 64;
/// The most recipients of one message, and the most users in one `presence` frame.
pub const MAX_USERS: usize = 100;
/// The longest time that a client may ask for, in seconds: about 68 years.
const MAX_TTL: u64 = i32::MAX as u64;
/// The longest id of a message in bytes.
const MAX_MESSAGE_ID: usize = 40;
/// How many messages of history a client gets that does not say how many it wants.
const USUAL_HISTORY: u64 = 50;
/// The most messages of one page of history.
pub const MAX_HISTORY: u64 = 100;

/// A command of a client, which one of its frames has carried.
#[derive(Debug, PartialEq)]
pub enum Command<'a> {
    /// A heartbeat, with the JSON text that the answer repeats.
    Ping {
        t: Option<&'a str>,
    },
    Send(Send<'a>),
    /// An acknowledgement: the device has handled all messages up to a number.
    Ack {
        seq: u64,
    },
    Join {
        group: Cow<'a, str>,
    },
    Leave {
        group: Cow<'a, str>,
    },
    Background,
    Foreground,
    /// A question which of some users are online. `watch` says whether later changes are reported;
    /// without it that stays as it is.
    Presence {
        users: Vec<Cow<'a, str>>,
        watch: Option<bool>,
    },
    History(History<'a>),
    /// A frame of an unknown type, which is ignored.
    Unknown,
}

/// A message of a client, with its recipients and how it is to be treated.
#[derive(Debug, PartialEq)]
pub struct Send<'a> {
    /// `None` only for a volatile message.
    pub cid: Option<Cow<'a, str>>,
    pub to: Recipients<'a>,
    /// JSON, as the client has written it.
    pub message: &'a str,
    /// How long the message may wait, in seconds.
    pub ttl: Option<u32>,
    pub key: Option<Cow<'a, str>>,
    pub volatile: bool,
    pub receipt: bool,
}

/// The recipients of a message.
#[derive(Debug, PartialEq)]
pub enum Recipients<'a> {
    One(Cow<'a, str>),
    Many(Vec<Cow<'a, str>>),
    Group(Cow<'a, str>),
    All,
}

/// A request for older messages.
#[derive(Debug, PartialEq)]
pub struct History<'a> {
    pub cid: Cow<'a, str>,
    pub with: With<'a>,
    pub before: Option<Cow<'a, str>>,
    pub limit: u64,
}

/// The user or the group whose messages a request for history is about.
#[derive(Debug, PartialEq)]
pub enum With<'a> {
    User(Cow<'a, str>),
    Group(Cow<'a, str>),
}

/// The reason why a frame is not one of this dialect.
#[derive(Debug, PartialEq)]
pub struct BadFrame<'a> {
    /// A sentence about the field that is wrong.
    pub reason: &'static str,
    /// The `cid` of the frame, if it could be read.
    pub cid: Option<Cow<'a, str>>,
}

impl BadFrame<'_> {
    fn new(reason: &'static str) -> Self {
        BadFrame { reason, cid: None }
    }
}

/// The fields of a frame as raw JSON. Of several fields with one name the last one counts.
#[derive(Default)]
struct Raw<'a> {
    kind: Option<&'a str>,
    t: Option<&'a str>,
    cid: Option<&'a str>,
    to: Option<&'a str>,
    to_many: Option<&'a str>,
    group: Option<&'a str>,
    all: Option<&'a str>,
    message: Option<&'a str>,
    ttl: Option<&'a str>,
    key: Option<&'a str>,
    volatile: Option<&'a str>,
    receipt: Option<&'a str>,
    seq: Option<&'a str>,
    users: Option<&'a str>,
    watch: Option<&'a str>,
    with: Option<&'a str>,
    before: Option<&'a str>,
    limit: Option<&'a str>,
}

impl<'a> Raw<'a> {
    fn of(text: &'a str) -> Option<Self> {
        let mut raw = Raw::default();
        json::each_field(text, |key, value| {
            let inner = &key[1..key.len() - 1];
            if !inner.contains('\\') {
                raw.set(inner, value);
            } else if let Some(key) = json::string(key) {
                raw.set(&key, value);
            }
        })
        .ok()?;
        Some(raw)
    }

    #[inline]
    fn set(&mut self, key: &str, value: &'a str) {
        let field = match key {
            "type" => &mut self.kind,
            "t" => &mut self.t,
            "cid" => &mut self.cid,
            "toUserId" => &mut self.to,
            "toUserIds" => &mut self.to_many,
            "group" => &mut self.group,
            "all" => &mut self.all,
            "message" => &mut self.message,
            "ttl" => &mut self.ttl,
            "key" => &mut self.key,
            "volatile" => &mut self.volatile,
            "receipt" => &mut self.receipt,
            "seq" => &mut self.seq,
            "users" => &mut self.users,
            "watch" => &mut self.watch,
            "with" => &mut self.with,
            "before" => &mut self.before,
            "limit" => &mut self.limit,
            _ => return,
        };
        *field = Some(value);
    }
}

/// A frame of one of the three usual kinds, in the form in which `longlink.js` writes it.
#[derive(Debug, PartialEq)]
pub enum Usual<'a> {
    /// A heartbeat without `t`.
    Ping,
    /// A `send` to one user without any wishes.
    Send(Send<'a>),
    /// An `ack` with this number.
    Ack(u64),
}

/// Reads a `ping`, an `ack`, or a `send` to one user, in the form in which `longlink.js` writes them; `None` for
/// any other form and any other frame, which [`read`] reads. Nearly every frame of a client has this
/// form, and is read with a third of the instructions.
#[inline(always)]
pub fn read_usual(text: &str) -> Option<Usual<'_>> {
    const PING: &str = r#"{"type":"ping"}"#;
    const ACK: &str = r#"{"type":"ack","seq":"#;
    const SEND: &str = r#"{"type":"send","cid":""#;
    const TO: &str = r#"","toUserId":""#;
    const MESSAGE: &str = r#"","message":"#;
    if text == PING {
        return Some(Usual::Ping);
    }
    if let Some(rest) = text.strip_prefix(ACK) {
        let digits = rest.strip_suffix('}')?;
        // So many digits are no number above the highest one.
        if !(1..=18).contains(&digits.len()) || digits.len() > 1 && digits.starts_with('0') {
            return None;
        }
        let add = |number: u64, byte: u8| {
            byte.is_ascii_digit().then(|| number * 10 + u64::from(byte - b'0'))
        };
        return digits.bytes().try_fold(0, add).map(Usual::Ack);
    }
    let rest = text.strip_prefix(SEND)?;
    if !json::is_plain(text.as_bytes()) {
        return None;
    }
    let (cid, rest) = take_name(rest, MAX_CID)?;
    let (to, rest) = take_name(rest.strip_prefix(TO)?, MAX_ID)?;
    let message = rest.strip_prefix(MESSAGE)?;
    let end = match message.starts_with('"') {
        true => json::string_end(message.as_bytes())?,
        false => json::value_end(message, 0)?,
    };
    if message.as_bytes().get(end..)? != b"}" {
        return None;
    }
    Some(Usual::Send(Send {
        cid: Some(Cow::Borrowed(cid)),
        to: Recipients::One(Cow::Borrowed(to)),
        message: message.get(..end)?,
        ttl: None,
        key: None,
        volatile: false,
        receipt: false,
    }))
}

/// Returns what is before the first quote in a [plain](json::is_plain) text, and the rest from the quote
/// on; `None` if the first part has no or too many bytes.
#[inline(always)]
fn take_name(text: &str, longest: usize) -> Option<(&str, &str)> {
    let (name, rest) = text.split_at_checked(json::find_near_quote(text.as_bytes())?)?;
    (1..=longest).contains(&name.len()).then_some((name, rest))
}

/// Reads a client's frame.
///
/// # Errors
/// When the text is not a frame of this dialect.
#[inline(never)]
pub fn read(text: &str) -> Result<Command<'_>, BadFrame<'_>> {
    let not_json = BadFrame::new("a frame is one JSON object, nested at most 64 deep");
    let raw = Raw::of(text).ok_or(not_json)?;
    let no_type = BadFrame::new("type has to be a string");
    let kind = raw.kind.and_then(json::string).ok_or(no_type)?;
    let command = match &*kind {
        "send" => read_send(&raw).map(Command::Send),
        "ack" => read_number(raw.seq).map(|seq| Command::Ack { seq }),
        "ping" => read_t(raw.t).map(|t| Command::Ping { t }),
        "join" => read_group(raw.group).map(|group| Command::Join { group }),
        "leave" => read_group(raw.group).map(|group| Command::Leave { group }),
        "background" => Ok(Command::Background),
        "foreground" => Ok(Command::Foreground),
        "presence" => read_presence(&raw),
        "history" => read_history(&raw).map(Command::History),
        _ => Ok(Command::Unknown),
    };
    command.map_err(|reason| {
        let cid = raw.cid.and_then(|raw| read_cid(raw).ok());
        BadFrame { reason, cid: cid.filter(|_| matches!(&*kind, "send" | "history")) }
    })
}

type Reading<T> = Result<T, &'static str>;

fn read_send<'a>(raw: &Raw<'a>) -> Reading<Send<'a>> {
    let volatile = read_flag(raw.volatile, "volatile has to be true or false")?;
    let cid = match raw.cid {
        Some(cid) => Some(read_cid(cid)?),
        None if volatile.unwrap_or(false) => None,
        None => return Err("cid may only be left out of volatile messages"),
    };
    let key = raw.key.map(|raw| read_text(raw, MAX_CID));
    let ttl = raw.ttl.map(|raw| whole(raw).filter(|ttl| (1..=MAX_TTL).contains(ttl)));
    Ok(Send {
        cid,
        to: read_recipients(raw)?,
        message: raw.message.ok_or("message has to be there")?,
        ttl: match ttl {
            Some(None) => return Err("ttl has to be a whole number of seconds from 1 on"),
            Some(Some(ttl)) => Some(ttl as u32),
            None => None,
        },
        key: match key {
            Some(None) => return Err("key has to be a string of 1 to 64 bytes"),
            Some(key) => key,
            None => None,
        },
        volatile: volatile.unwrap_or(false),
        receipt: read_flag(raw.receipt, "receipt has to be true or false")?.unwrap_or(false),
    })
}

fn read_recipients<'a>(raw: &Raw<'a>) -> Reading<Recipients<'a>> {
    let all = read_flag(raw.all, "all has to be true or false")?.unwrap_or(false);
    let named = [raw.to, raw.to_many, raw.group].iter().flatten().count() + usize::from(all);
    if named != 1 {
        return Err("one of toUserId, toUserIds, group and all has to be there");
    }
    if let Some(to) = raw.to {
        return Ok(Recipients::One(read_user(to).ok_or(BAD_USER)?));
    }
    if let Some(to) = raw.to_many {
        let users = read_users(to).ok_or("toUserIds has to be an array of 1 to 100 user ids")?;
        return Ok(Recipients::Many(users));
    }
    match raw.group {
        Some(_) => read_group(raw.group).map(Recipients::Group),
        None => Ok(Recipients::All),
    }
}

const BAD_USER: &str = "a user id has to be a string of 1 to 128 bytes, or a whole number";

fn read_cid(raw: &str) -> Reading<Cow<'_, str>> {
    read_text(raw, MAX_CID).ok_or("cid has to be a string of 1 to 64 bytes")
}

fn read_t(raw: Option<&str>) -> Reading<Option<&str>> {
    match raw {
        Some(t) if t.len() > MAX_T => Err("t has to be at most 64 bytes of JSON"),
        t => Ok(t),
    }
}

fn read_group(raw: Option<&str>) -> Reading<Cow<'_, str>> {
    let group = raw.and_then(|raw| read_text(raw, MAX_GROUP_NAME));
    group.ok_or("group has to be a string of 1 to 128 bytes")
}

fn read_presence<'a>(raw: &Raw<'a>) -> Reading<Command<'a>> {
    let users = raw.users.and_then(read_users);
    let users = users.ok_or("users has to be an array of 1 to 100 user ids")?;
    let watch = read_flag(raw.watch, "watch has to be true or false")?;
    Ok(Command::Presence { users, watch })
}

fn read_history<'a>(raw: &Raw<'a>) -> Reading<History<'a>> {
    let with = match (raw.with, raw.group) {
        (Some(user), None) => With::User(read_user(user).ok_or(BAD_USER)?),
        (None, Some(_)) => With::Group(read_group(raw.group)?),
        _ => return Err("one of with and group has to be there"),
    };
    let before = raw.before.map(|raw| read_text(raw, MAX_MESSAGE_ID));
    let limit = raw.limit.map(|raw| whole(raw).filter(|limit| (1..=MAX_HISTORY).contains(limit)));
    Ok(History {
        cid: read_cid(raw.cid.ok_or("cid has to be there")?)?,
        with,
        before: match before {
            Some(None) => return Err("before has to be the id of a message"),
            Some(before) => before,
            None => None,
        },
        limit: match limit {
            Some(None) => return Err("limit has to be a whole number from 1 to 100"),
            Some(Some(limit)) => limit,
            None => USUAL_HISTORY,
        },
    })
}

/// Reads the number of an `ack`. A number that is too large for a `u64` becomes the largest one.
fn read_number(raw: Option<&str>) -> Reading<u64> {
    let number = raw.and_then(whole);
    number.ok_or("seq has to be a whole number")
}

/// Reads a number without sign, fraction and exponent.
fn whole(raw: &str) -> Option<u64> {
    let is_whole = !raw.is_empty() && raw.bytes().all(|byte| byte.is_ascii_digit());
    is_whole.then(|| raw.parse().unwrap_or(u64::MAX))
}

fn read_flag(raw: Option<&str>, reason: &'static str) -> Reading<Option<bool>> {
    match raw {
        None => Ok(None),
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        Some(_) => Err(reason),
    }
}

fn read_text(raw: &str, longest: usize) -> Option<Cow<'_, str>> {
    json::string(raw).filter(|text| (1..=longest).contains(&text.len()))
}

/// Reads the id of a user, which is a string, or an integer whose digits are the id.
fn read_user(raw: &str) -> Option<Cow<'_, str>> {
    match raw.starts_with('"') {
        true => read_text(raw, MAX_ID),
        false => {
            let digits = raw.strip_prefix('-').unwrap_or(raw);
            let is_whole = digits.bytes().all(|byte| byte.is_ascii_digit());
            (is_whole && (1..=MAX_ID).contains(&raw.len())).then_some(Cow::Borrowed(raw))
        }
    }
}

/// Reads an array of users. A user who is named twice counts once.
fn read_users(raw: &str) -> Option<Vec<Cow<'_, str>>> {
    let mut users = Vec::new();
    let mut all_good = true;
    json::each_element(raw, |raw| match read_user(raw) {
        Some(user) if users.len() <= MAX_USERS => users.push(user),
        _ => all_good = false,
    })
    .ok()?;
    all_good &= (1..=MAX_USERS).contains(&users.len());
    let mut seen = Vec::with_capacity(users.len());
    users.retain(|user| {
        let is_new = !seen.contains(user);
        if is_new {
            seen.push(user.clone());
        }
        is_new
    });
    all_good.then_some(users)
}

#[cfg(test)]
mod tests;
