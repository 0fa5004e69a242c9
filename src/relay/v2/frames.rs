//! The frames that the server writes, as text that is appended to a buffer.

use std::borrow::Cow;

use super::command::BadFrame;
use super::ids::write_id;
use crate::mailbox::{Held, Lost, Marks, Welcome};
use crate::wire::json;

/// Marks a message of a mailbox as a receipt, which is no message of a user.
pub const RECEIPT: Marks = Marks::of_caller(0);
/// Marks a message whose sender asked for a receipt.
pub const WANTS_RECEIPT: Marks = Marks::of_caller(1);

/// Where the sender's id begins in the rest of a message: behind its `id`.
const AFTER_ID: usize = r#""id":"","#.len() + super::ids::ID;

/// The code of an error: why a frame is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    Frame,
    TooBig,
    Forbidden,
    NotMember,
    Conflict,
    Ticket,
    Rate,
    Full,
    Unavailable,
    After,
}

impl Code {
    pub fn name(self) -> &'static str {
        match self {
            Code::Frame => "frame",
            Code::TooBig => "too-big",
            Code::Forbidden => "forbidden",
            Code::NotMember => "not-member",
            Code::Conflict => "conflict",
            Code::Ticket => "ticket",
            Code::Rate => "rate",
            Code::Full => "full",
            Code::Unavailable => "unavailable",
            Code::After => "after",
        }
    }
}

/// What has become of a message; the best comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum State {
    Stored,
    Queued,
    Sent,
    Offline,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            State::Stored => "stored",
            State::Queued => "queued",
            State::Sent => "sent",
            State::Offline => "offline",
        }
    }

    /// Returns the state that was kept as this number.
    pub fn of(number: u8) -> Self {
        match number {
            0 => State::Stored,
            1 => State::Queued,
            2 => State::Sent,
            _ => State::Offline,
        }
    }
}

/// Appends a number.
pub fn write_number(number: u64, out: &mut String) {
    out.push_str(itoa::Buffer::new().format(number));
}

fn field(name: &str, text: &str, out: &mut String) {
    out.push_str(name);
    json::write_string(text, out);
}

fn number(name: &str, value: u64, out: &mut String) {
    out.push_str(name);
    write_number(value, out);
}

/// The bounds of the server that `welcome` tells a client.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How often a client should send a heartbeat, in milliseconds.
    pub ping: u64,
    /// How long a connection may be silent before it is ended, in milliseconds; 0 for ever.
    pub idle: u64,
    pub max_message: u64,
    pub window: u64,
}

pub fn write_welcome(epoch: &str, welcome: &Welcome, bounds: Bounds, now: u64, out: &mut String) {
    field(r#"{"type":"welcome","epoch":"#, epoch, out);
    number(r#","seq":"#, welcome.seq, out);
    number(r#","cursor":"#, welcome.cursor, out);
    out.push_str(if welcome.resumed { r#","resumed":true"# } else { r#","resumed":false"# });
    number(r#","ping":"#, bounds.ping, out);
    number(r#","idle":"#, bounds.idle, out);
    number(r#","maxMessage":"#, bounds.max_message, out);
    number(r#","window":"#, bounds.window, out);
    number(r#","now":"#, now, out);
    out.push('}');
}

/// Appends the prefix of the frame of a kept message: its beginning, up to the rest.
#[inline]
pub fn write_prefix(held: &Held, out: &mut String) {
    write_prefix_of(held.seq, held.marks.has(RECEIPT), out);
}

/// Appends the prefix of the frame of the kept message with this number.
#[inline]
pub fn write_prefix_of(seq: u64, is_receipt: bool, out: &mut String) {
    out.push_str(start_of(is_receipt));
    write_number(seq, out);
    out.push(',');
}

/// The beginning of the frame of a kept message, up to its number.
#[inline]
pub fn start_of(is_receipt: bool) -> &'static str {
    match is_receipt {
        true => r#"{"type":"receipt","seq":"#,
        false => r#"{"type":"message","seq":"#,
    }
}

/// The prefix of the frame of a message that has no number.
pub const VOLATILE: &str = r#"{"type":"message","#;

/// The recipient that the frame of a message names.
#[derive(Clone, Copy, Debug)]
pub enum To<'a> {
    User(&'a str),
    /// A user whose id needs no escaping in a JSON string.
    PlainUser(&'a str),
    /// Several users. Only older messages are told so.
    Users(&'a [&'a str]),
    Group(&'a str),
    All,
}

/// Appends the rest of a message: the part of its frame that all receivers have in common.
pub fn write_rest(id: u128, from: &str, to: To<'_>, message: &str, ts: u64, out: &mut String) {
    out.push_str(r#""id":""#);
    write_id(id, out);
    out.push_str(r#"","formUserId":""#);
    json::escape(from, out);
    match to {
        To::User(user) => {
            out.push_str(r#"","toUserId":""#);
            json::escape(user, out);
            out.push_str(r#"","message":"#);
        }
        To::PlainUser(user) => {
            for part in [r#"","toUserId":""#, user, r#"","message":"#] {
                out.push_str(part);
            }
        }
        To::Users(users) => {
            for (at, user) in users.iter().enumerate() {
                out.push_str(if at == 0 { r#"","toUserIds":[""# } else { r#"",""# });
                json::escape(user, out);
            }
            out.push_str(r#""],"message":"#);
        }
        To::Group(group) => {
            out.push_str(r#"","group":""#);
            json::escape(group, out);
            out.push_str(r#"","message":"#);
        }
        To::All => out.push_str(r#"","all":true,"message":"#),
    }
    out.push_str(message);
    number(r#","ts":"#, ts, out);
    out.push('}');
}

/// Changes the rest of a message into that of the copy for the other devices of the sender.
pub fn mark_own(rest: &mut String) {
    rest.pop();
    rest.push_str(OWN);
}

/// Returns the part of the rest of a one-to-one message that is between `{"type":"message",` and
/// `}` in its frame of the dialect v1.
pub fn v1_part(rest: &str) -> &str {
    rest.get(AFTER_ID..before_ts(rest)).unwrap_or_default()
}

/// Where the time of a message begins in its rest, with the comma before it.
fn before_ts(rest: &str) -> usize {
    let end = rest.strip_suffix(OWN).or_else(|| rest.strip_suffix('}')).unwrap_or(rest);
    let end = end.trim_end_matches(|digit: char| digit.is_ascii_digit());
    end.strip_suffix(r#","ts":"#).unwrap_or(end).len()
}

/// The end of the copy for the sender's other devices.
const OWN: &str = r#","own":true}"#;

/// The group and the message of the rest of a message to a group; `None` for any other message.
pub fn group_and_message(rest: &str) -> Option<(Cow<'_, str>, &str)> {
    let sender = rest.get(AFTER_ID + r#""formUserId":"#.len()..)?;
    let after = &sender[json::value_end(sender, 0)?..];
    let group = after.strip_prefix(r#","group":"#)?;
    let end = json::value_end(group, 0)?;
    let message = group[end..].strip_prefix(r#","message":"#)?;
    let name = json::string(&group[..end])?;
    Some((name, &message[..before_ts(message)]))
}

/// The recipient that the rest of a message to a user names.
pub fn to_user(rest: &str) -> Option<Cow<'_, str>> {
    let to = rest[sender_end(rest)?..].strip_prefix(r#","toUserId":"#)?;
    json::string(&to[..json::value_end(to, 0)?])
}

/// The message of the rest of any message.
pub fn message_in(rest: &str) -> &str {
    let message = || {
        let after = &rest[sender_end(rest)?..];
        // Behind the sender comes the user or the group, or `"all":true`.
        let to =
            after.strip_prefix(r#","toUserId":"#).or_else(|| after.strip_prefix(r#","group":"#));
        let after = match to {
            Some(to) => &to[json::value_end(to, 0)?..],
            None => after.strip_prefix(r#","all":true"#)?,
        };
        let message = after.strip_prefix(r#","message":"#)?;
        Some(&message[..before_ts(message)])
    };
    message().unwrap_or("null")
}

/// Where the sender's id ends in the rest of a message.
fn sender_end(rest: &str) -> Option<usize> {
    let start = AFTER_ID + r#""formUserId":"#.len();
    Some(start + json::value_end(rest.get(start..)?, 0)?)
}

/// The message of the rest of a message to a group.
pub fn message_of(rest: &str) -> &str {
    group_and_message(rest).map_or("null", |(_, message)| message)
}

/// The id that the rest of a message names.
#[inline]
pub fn id_of(rest: &str) -> &str {
    rest.get(r#""id":""#.len()..AFTER_ID - 2).unwrap_or_default()
}

/// The id and the sender that the rest of a message names.
pub fn id_and_sender(rest: &str) -> Option<(&str, Cow<'_, str>)> {
    let id = rest.get(r#""id":""#.len()..AFTER_ID - 2)?;
    Some((id, sender_of(rest)?))
}

/// Returns the sender that the rest of a message names.
pub fn sender_of(rest: &str) -> Option<Cow<'_, str>> {
    let sender = rest.get(AFTER_ID + r#""formUserId":"#.len()..)?;
    json::string(&sender[..json::value_end(sender, 0)?])
}

/// Appends the rest of a receipt: the part of its frame behind the number.
pub fn write_receipt(to: &str, id: &str, out: &mut String) {
    field(r#""toUserId":"#, to, out);
    field(r#","id":"#, id, out);
    out.push('}');
}

/// Returns the id that the rest of a receipt names.
pub fn id_of_receipt(rest: &str) -> &str {
    let end = rest.len().saturating_sub(r#""}"#.len());
    rest.get(end.saturating_sub(super::ids::ID)..end).unwrap_or_default()
}

pub fn write_live(seq: u64, out: &mut String) {
    number(r#"{"type":"live","seq":"#, seq, out);
    out.push('}');
}

pub fn write_gap(from: Option<u64>, to: u64, reason: &str, out: &mut String) {
    out.push_str(r#"{"type":"gap","#);
    if let Some(from) = from {
        number(r#""from":"#, from, out);
        out.push(',');
    }
    number(r#""to":"#, to, out);
    field(r#","reason":"#, reason, out);
    out.push('}');
}

pub fn write_lost(lost: &Lost, out: &mut String) {
    write_gap(Some(lost.from), lost.to, lost.reason.name(), out);
}

/// What the answer to a send contains beside its `cid` and `id`.
#[derive(Clone, Copy, Debug)]
pub enum Answer<'a> {
    State(State),
    Duplicate {
        was: State,
    },
    /// The state for each of several recipients, behind the best of them.
    Results(State, &'a [(compact_str::CompactString, State)]),
    /// The state of a message to a group or to all, and the number of users it reaches.
    Receivers(State, u64),
}

/// The pieces of the usual answer to a send. The text of its id is `id`, and its `cid` is not to
/// be escaped.
#[inline]
pub fn usual_ack<'a>(cid: &'a str, id: &'a str, state: State) -> [&'a str; 5] {
    let end = match state {
        State::Stored => r#"","state":"stored"}"#,
        State::Queued => r#"","state":"queued"}"#,
        State::Sent => r#"","state":"sent"}"#,
        State::Offline => r#"","state":"offline"}"#,
    };
    [r#"{"type":"ack","cid":""#, cid, r#"","id":""#, id, end]
}

pub fn write_ack(cid: &str, id: u128, answer: Answer<'_>, out: &mut String) {
    field(r#"{"type":"ack","cid":"#, cid, out);
    out.push_str(r#","id":""#);
    write_id(id, out);
    out.push_str(r#"","state":""#);
    match answer {
        Answer::State(state) | Answer::Results(state, _) | Answer::Receivers(state, _) => {
            out.push_str(state.name());
        }
        Answer::Duplicate { was } => {
            out.push_str(r#"duplicate","was":""#);
            out.push_str(was.name());
        }
    }
    out.push('"');
    match answer {
        Answer::Results(_, results) => {
            let mut before = r#","results":["#;
            for (user, state) in results {
                out.push_str(before);
                field(r#"{"toUserId":"#, user, out);
                field(r#","state":"#, state.name(), out);
                out.push('}');
                before = ",";
            }
            out.push(']');
        }
        Answer::Receivers(_, count) => number(r#","receivers":"#, count, out),
        _ => {}
    }
    out.push('}');
}

pub fn write_error(code: Code, reason: &str, retry: bool, cid: Option<&str>, out: &mut String) {
    field(r#"{"type":"error","code":"#, code.name(), out);
    field(r#","reason":"#, reason, out);
    out.push_str(if retry { r#","retry":true"# } else { r#","retry":false"# });
    if let Some(cid) = cid {
        field(r#","cid":"#, cid, out);
    }
    out.push('}');
}

pub fn write_bad_frame(bad: &BadFrame<'_>, out: &mut String) {
    write_error(Code::Frame, bad.reason, false, bad.cid.as_deref(), out);
}

/// The answer to a question for older messages, which are frames.
pub fn write_history(cid: &str, messages: &[String], more: bool, out: &mut String) {
    field(r#"{"type":"history","cid":"#, cid, out);
    out.push_str(r#","messages":["#);
    out.push_str(&messages.join(","));
    out.push_str(if more { r#"],"more":true}"# } else { r#"],"more":false}"# });
}

pub fn write_pong(t: Option<&str>, out: &mut String) {
    out.push_str(r#"{"type":"pong""#);
    if let Some(t) = t {
        out.push_str(r#","t":"#);
        out.push_str(t);
    }
    out.push('}');
}

pub fn write_kick(code: u16, reason: &str, out: &mut String) {
    number(r#"{"type":"kick","code":"#, u64::from(code), out);
    field(r#","reason":"#, reason, out);
    out.push_str(r#","retry":false}"#);
}

pub fn write_bye(code: u16, (least, most): (u64, u64), out: &mut String) {
    number(r#"{"type":"bye","code":"#, u64::from(code), out);
    number(r#","retry":true,"after":["#, least, out);
    number(",", most, out);
    out.push_str("]}");
}

/// Appends a frame `joined` or `left`.
pub fn write_membership(kind: &str, group: &str, out: &mut String) {
    field(r#"{"type":"#, kind, out);
    field(r#","group":"#, group, out);
    out.push('}');
}

pub fn write_presence<'a>(users: impl Iterator<Item = (&'a str, bool)>, out: &mut String) {
    let mut before = r#"{"type":"presence","users":{"#;
    for (user, online) in users {
        field(before, user, out);
        out.push_str(if online { ":true" } else { ":false" });
        before = ",";
    }
    out.push_str("}}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut String)) -> String {
        let mut out = String::new();
        write(&mut out);
        let parsed: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert!(parsed.is_object(), "{out}");
        out
    }

    #[test]
    fn numbers_are_written_in_decimal() {
        for value in [0, 7, 10, 1_041, u64::MAX] {
            let mut out = String::new();
            write_number(value, &mut out);
            assert_eq!(out, value.to_string());
        }
    }

    #[test]
    fn the_rest_of_a_message_contains_the_fields_of_v1_the_id_and_the_sender() {
        let mut rest = String::new();
        let message = r#"{"x":"a,\"ts\":9","toUserId":"Z"}"#;
        write_rest(77, r#"A","toUserId":"E"#, To::User("张\n"), message, 5, &mut rest);
        let v1 = v1_part(&rest).to_owned();
        let from = r#""formUserId":"A\",\"toUserId\":\"E""#;
        assert_eq!(v1, format!(r#"{from},"toUserId":"张\n","message":{message}"#));
        let (id, sender) = id_and_sender(&rest).unwrap();
        assert_eq!((id.len(), &*sender), (26, r#"A","toUserId":"E"#));
        let whole = written(|out| *out = format!("{VOLATILE}{rest}"));
        assert!(whole.ends_with(r#","ts":5}"#));
        mark_own(&mut rest);
        assert_eq!(v1_part(&rest), v1);
        assert!(written(|out| *out = format!("{VOLATILE}{rest}")).ends_with(r#","own":true}"#));
    }

    #[test]
    fn every_frame_is_one_json_object_with_any_characters_in_its_names() {
        let name = "\"\\\n张\u{2028}";
        let results = [(name.into(), State::Queued), ("B".into(), State::Offline)];
        let answers = [
            Answer::State(State::Stored),
            Answer::Duplicate { was: State::Sent },
            Answer::Results(State::Queued, &results),
            Answer::Receivers(State::Sent, 17),
        ];
        for answer in answers {
            let ack = written(|out| write_ack(name, 1, answer, out));
            assert!(ack.starts_with(r#"{"type":"ack","cid":"\"\\\n张"#), "{ack}");
        }
        written(|out| write_error(Code::After, name, true, Some(name), out));
        written(|out| write_membership("joined", name, out));
        written(|out| write_presence([(name, true), ("B", false)].into_iter(), out));
        written(|out| write_gap(None, u64::MAX, "lost", out));
        written(|out| write_bye(4012, (500, 8_000), out));
        written(|out| write_kick(4509, "another connection", out));
        written(|out| write_pong(Some(r#"{"a":1}"#), out));
        written(|out| write_pong(None, out));
        written(|out| {
            out.push('{');
            write_receipt(name, "01", out);
        });
    }
}
