//! What a frame of a v1 client means. v1 is the dialect of the published mini-program page.
//!
//! The page shows `JSON.parse(data).message` of every frame whose `type` is not `pong`, and sends
//! `ping`, an object with `toUserId`, or plain text. The relay carries the `message` of a frame as
//! the sender's own JSON text, so lone surrogates and large numbers arrive unchanged. `formUserId`
//! is misspelt in the published page and therefore here.
//!
//! To add a frame, say first in `docs/protocol.md` what a client sees. A frame from a client is a
//! [`Meaning`], which [`full_meaning`] finds; [`quick_meaning`], which is asked first, must not take it for
//! a message. `carry_out` in `delivery.rs` does what it asks for. A key that no frame had before is a
//! field of `Fields`. The type of a frame that only the server may send is one of `RESERVED_TYPES`, or a
//! client could broadcast an object that looks like it. The client's part is `received` in `longlink.js`.

use std::borrow::Cow;
use std::fmt;

use super::fields::{Fields, PageFields};
use super::opening::{Opening, misspells_receiver};
use crate::wire::json;

/// The exact answer to a heartbeat.
pub const PONG: &str = r#"{"type":"pong"}"#;
/// The length of the longest user id in bytes.
pub const MAX_ID: usize = 128;

/// The types that a broadcast of an object may not have, because it could be mistaken for a frame of
/// the protocol: the types of v1, and those that are kept free for a later dialect.
const RESERVED_TYPES: [&str; 17] = [
    "ack",
    "background",
    "broadcast",
    "bye",
    "error",
    "foreground",
    "gap",
    "join",
    "kick",
    "leave",
    "message",
    "ping",
    "pong",
    "presence",
    "send",
    "welcome",
    "resume",
];

/// What a frame asks for.
#[derive(Debug)]
pub enum Meaning<'a> {
    /// A heartbeat, to be answered with [`PONG`].
    Ping,
    /// The frame means nothing.
    Ignored,
    /// A message to one user.
    ToUser { to: Cow<'a, str>, body: Body<'a> },
    /// An object for everyone.
    Object { text: &'a str, rename: bool },
    /// A text for everyone.
    Text(&'a str),
}

/// The contents of a message to one user.
#[derive(Clone, Copy, Debug)]
pub enum Body<'a> {
    /// The message as JSON.
    Message(&'a str),
    /// Everything in the envelope after the sender's id, if the sender has written it in the right
    /// form.
    Tail(&'a str),
}

/// Whether a frame is the published page's heartbeat, as nearly all frames are.
#[inline(always)]
pub fn is_ping(text: &str) -> bool {
    text == "ping" || text.eq_ignore_ascii_case("ping")
}

/// Returns what a text frame means, by the first rule that matches.
#[inline]
pub fn meaning(text: &str) -> Meaning<'_> {
    match quick_meaning(text) {
        Some(meaning) => meaning,
        None => full_meaning(text),
    }
}

/// Does what [`meaning`] does for a message in the form in which the published page writes it, as
/// nearly all messages are; `None` for any other form.
#[inline]
pub fn quick_meaning(text: &str) -> Option<Meaning<'_>> {
    let PageFields { kind, to, message, tail } = PageFields::of(text)?;
    let is_control = matches!(&text.as_bytes()[kind.clone()], br#""ping""# | br#""pong""#);
    if is_control || message.is_empty() {
        return None;
    }
    if to.is_empty() {
        let rename =
            !kind.is_empty() && RESERVED_TYPES.contains(&&text[kind.start + 1..kind.end - 1]);
        return Some(Meaning::Object { text, rename });
    }
    if !(3..=MAX_ID + 2).contains(&to.len()) {
        return None;
    }
    let body = match tail {
        Some(at) => Body::Tail(&text[at..]),
        None => Body::Message(&text[message]),
    };
    Some(Meaning::ToUser { to: Cow::Borrowed(&text[to.start + 1..to.end - 1]), body })
}

/// Does what [`meaning`] does for any text, in the slow way.
pub fn full_meaning(text: &str) -> Meaning<'_> {
    if is_ping(text) {
        return Meaning::Ping;
    }
    let text = match Opening::of(text) {
        Opening::Object(text) => text,
        Opening::Disguised => return Meaning::Ignored,
        Opening::Text => return Meaning::Text(text),
    };
    let Some(Fields { kind, to, message }) = Fields::of(text) else { return Meaning::Ignored };
    let kind = kind.and_then(json::string);
    match (kind.as_deref(), to, message) {
        (Some("ping"), ..) => Meaning::Ping,
        (Some("pong"), ..) => Meaning::Ignored,
        (_, Some(to), Some(message)) => match id_of(to) {
            Some(to) => Meaning::ToUser { to, body: Body::Message(message) },
            None => Meaning::Ignored,
        },
        (_, Some(_), None) | (_, None, None) => Meaning::Ignored,
        (kind, None, Some(_)) => {
            let rename = kind.is_some_and(|kind| RESERVED_TYPES.contains(&kind));
            Meaning::Object { text, rename }
        }
    }
}

/// Returns the user whom a `toUserId` names. It is a string, or an integer literal whose digits are
/// the id.
fn id_of(raw: &str) -> Option<Cow<'_, str>> {
    let id = match json::string(raw) {
        Some(id) => id,
        None if is_integer(raw) => Cow::Borrowed(raw),
        None => return None,
    };
    (1..=MAX_ID).contains(&id.len()).then_some(id)
}

fn is_integer(raw: &str) -> bool {
    let digits = raw.strip_prefix('-').unwrap_or(raw);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// The beginning of the envelope of a one-to-one message, up to the sender's id.
const FROM: &str = r#"{"type":"message","formUserId":""#;

/// Returns the envelope of a one-to-one message, in pieces. The ids must be
/// [escaped](json::escape).
#[inline]
pub fn envelope<'a>(from: &'a str, to: &'a str, message: &'a str) -> [&'a str; 7] {
    [FROM, from, r#"","toUserId":""#, to, r#"","message":"#, message, "}"]
}

/// Returns the envelope for a message whose part after `formUserId` the sender has written in the
/// right form.
#[inline]
pub fn envelope_of_tail<'a>(from: &'a str, tail: &'a str) -> [&'a str; 4] {
    [FROM, from, r#"","#, tail]
}

/// The message in what stands after `formUserId` in the envelope, when it was written so.
pub fn message_of_tail<'a>(tail: &'a str, to: &str) -> Option<&'a str> {
    const BEFORE: usize = r#""toUserId":"#.len() + 2 + r#","message":"#.len();
    tail.get(BEFORE + to.len()..tail.len().checked_sub(1)?)
}

/// Writes a text for everyone.
pub fn write_text(out: &mut String, from: &str, text: &str) {
    out.push_str(r#"{"type":"broadcast","formUserId":"#);
    json::write_string(from, out);
    out.push_str(r#","message":"#);
    json::write_string(text, out);
    out.push('}');
}

/// Writes the broadcast of a message from the server, for everyone or for a group. `message` is
/// JSON.
pub fn write_broadcast(out: &mut String, from: &str, group: Option<&str>, message: &str) {
    out.push_str(r#"{"type":"broadcast","formUserId":"#);
    json::write_string(from, out);
    if let Some(group) = group {
        out.push_str(r#","group":"#);
        json::write_string(group, out);
    }
    out.push_str(r#","message":"#);
    out.push_str(message);
    out.push('}');
}

/// Writes the broadcast of an object: its own fields and the true sender. The function leaves out
/// every `formUserId`, and every `type` if `rename` is set, and writes each of them once itself, so
/// that no later duplicate can replace them.
///
/// # Errors
/// If a key [misspells](misspells_receiver) that of a receiver: the object is meant for one user,
/// and is sent to nobody. There is no other error for an object that [`meaning`] has accepted.
pub fn write_object(out: &mut String, from: &str, text: &str, rename: bool) -> fmt::Result {
    let mut is_for_one = false;
    out.push('{');
    if rename {
        out.push_str(r#""type":"broadcast","#);
    }
    out.push_str(r#""formUserId":"#);
    json::write_string(from, out);
    json::each_field(text, |raw_key, value| {
        // A key that is not valid Unicode is none of the protocol's keys.
        let key = json::string(raw_key).unwrap_or_default();
        is_for_one |= misspells_receiver(&key);
        // Readers disagree about which of several `type` fields counts, so none of them may name a
        // frame of this protocol.
        let forges = key == "type" && (rename || is_reserved(value));
        if key != "formUserId" && !forges {
            out.push(',');
            out.push_str(raw_key);
            out.push(':');
            out.push_str(value);
        }
    })
    .map_err(|_| fmt::Error)?;
    out.push('}');
    if is_for_one { Err(fmt::Error) } else { Ok(()) }
}

/// Whether a raw value is the name of a type of frame of this protocol.
fn is_reserved(value: &str) -> bool {
    json::string(value).is_some_and(|kind| RESERVED_TYPES.contains(&&*kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns which user gets the text `text` from A, and the frame that this user gets.
    fn becomes(text: &str) -> (String, String) {
        let mut out = String::new();
        let to = match meaning(text) {
            Meaning::Ping => return ("ping".into(), out),
            Meaning::Ignored => return ("ignored".into(), out),
            Meaning::ToUser { to, body } => {
                let mut escaped = String::new();
                json::escape(&to, &mut escaped);
                out = match body {
                    Body::Message(message) => envelope("A", &escaped, message).concat(),
                    Body::Tail(tail) => envelope_of_tail("A", tail).concat(),
                };
                to.into_owned()
            }
            Meaning::Object { text, rename } => {
                if write_object(&mut out, "A", text, rename).is_err() {
                    return ("ignored".into(), String::new());
                }
                "all".into()
            }
            Meaning::Text(text) => {
                write_text(&mut out, "A", text);
                "all".into()
            }
        };
        assert!(
            serde_json::from_str::<&serde_json::value::RawValue>(&out).is_ok(),
            "not JSON: {out}"
        );
        (to, out)
    }

    #[test]
    fn no_type_of_an_object_for_everyone_names_a_frame_of_this_protocol() {
        let (to, frame) = becomes(r#"{"message":"hi","type":"pong","type":"chat"}"#);
        assert_eq!(to, "all");
        assert_eq!(frame, r#"{"formUserId":"A","message":"hi","type":"chat"}"#);
    }

    fn ignored(text: &str) {
        assert_eq!(becomes(text).0, "ignored", "{text}");
    }

    fn to(text: &str, user: &str, message: &str) {
        let (who, frame) = becomes(text);
        assert_eq!(who, user, "{text}");
        let user = serde_json::to_string(user).unwrap();
        let expected = format!(
            r#"{{"type":"message","formUserId":"A","toUserId":{user},"message":{message}}}"#
        );
        assert_eq!(frame, expected, "{text}");
    }

    fn all(text: &str, frame: &str) {
        assert_eq!(becomes(text), ("all".into(), frame.into()), "{text}");
    }

    #[test]
    fn a_heartbeat_in_each_form_is_recognised() {
        for text in ["ping", "PING", "Ping", r#"{"type":"ping"}"#, r#" { "t":1, "type" : "ping"}"#]
        {
            assert_eq!(becomes(text).0, "ping", "{text}");
        }
        assert_eq!(becomes(r#"{"type":"p\u0069ng","toUserId":"B","message":1}"#).0, "ping");
        ignored(r#"{"type":"pong","message":"x"}"#);
        all("ping ", r#"{"type":"broadcast","formUserId":"A","message":"ping "}"#);
    }

    #[test]
    fn an_object_with_a_receiver_is_never_for_everyone() {
        to(r#"{"formUserId":"A","toUserId":"B","message":"hi"}"#, "B", r#""hi""#);
        to(
            r#"{"toUserId":"B","message":{"a":[1e400,"\ud800"]}}"#,
            "B",
            r#"{"a":[1e400,"\ud800"]}"#,
        );
        to(
            r#"{"toUserId":12345678901234567890123,"message":null}"#,
            "12345678901234567890123",
            "null",
        );
        to(r#"{"to\u0055serId":"\u5f20","message":1}"#, "张", "1");
        to(r#"{"toUserId":"X","toUserId":"B","message":1,"message":2}"#, "B", "2");
        to(r#"{"toUserId":"a\"b","message":1}"#, r#"a"b"#, "1");
        for value in ["null", r#""""#, "1.0", "1e3", "true", "[]", "{}", r#""\ud800""#] {
            ignored(&format!(r#"{{"toUserId":{value},"message":"x"}}"#));
        }
        ignored(&format!(r#"{{"toUserId":"{}","message":"x"}}"#, "b".repeat(129)));
        ignored(r#"{"toUserId":"B"}"#);
        ignored(r#"{"toUserId":"B","message":"x","toUserId":null}"#);
    }

    #[test]
    fn a_text_that_begins_with_a_brace_after_invisible_characters_is_never_for_everyone() {
        to("\u{feff}{\"toUserId\":\"B\",\"message\":\"hi\"}", "B", r#""hi""#);
        to("\u{feff} {\"toUserId\":\"B\",\"message\":\"hi\"}", "B", r#""hi""#);
        assert_eq!(becomes("\u{feff}{\"type\":\"ping\"}").0, "ping");
        all("\u{feff}{\"message\":1}", r#"{"formUserId":"A","message":1}"#);
        for hidden in
            ["\u{a0}", "\u{3000}", "\u{200b}", "\0", "\u{c}", "\u{feff}\u{feff}", " \u{ad}"]
        {
            for text in [r#"{"toUserId":"B","message":"hi"}"#, r#"{"message":1}"#, "{x", "{"] {
                ignored(&format!("{hidden}{text}"));
            }
        }
        for broken in [
            r#"{"toUserId":"B","message":"hi""#,
            r#"{'toUserId':'B','message':'hi'}"#,
            r#"{toUserId:"B",message:"hi"}"#,
            r#"{"toUserId":"B","message":"hi",}"#,
            r#"{"toUserId":"B","message":"hi"} x"#,
            r#"{/* */"toUserId":"B","message":"hi"}"#,
            "{\0\"\0t\0",
            "{\"toUserId\":\"B\",\u{a0}\"message\":\"hi\"}",
        ] {
            ignored(broken);
            ignored(&format!("\u{feff}{broken}"));
        }
    }

    #[test]
    fn an_object_whose_receiver_is_misspelt_is_for_nobody() {
        for key in ["touserid", "toUserID", "to_user_id", "toUser", "toUserIds", r"to\u005fuser"] {
            ignored(&format!(r#"{{"{key}":"B","message":"hi"}}"#));
            ignored(&format!(
                r#"{{"message":"hi, all of you who read this, and more","{key}":"B"}}"#
            ));
            // The receiver that is spelt correctly counts.
            to(&format!(r#"{{"{key}":"C","toUserId":"B","message":1}}"#), "B", "1");
        }
    }

    #[test]
    fn objects_for_everyone_are_stamped() {
        all(r#"{"message":"x"}"#, r#"{"formUserId":"A","message":"x"}"#);
        all(
            r#"{"formUserId":"Z","n": 1 ,"message":"x","form\u0055serId":"Y"}"#,
            r#"{"formUserId":"A","n":1,"message":"x"}"#,
        );
        all(
            r#"{"type":"welcome","message":"x","type":"kick"}"#,
            r#"{"type":"broadcast","formUserId":"A","message":"x"}"#,
        );
        all(r#"{"type":"order","message":1}"#, r#"{"formUserId":"A","type":"order","message":1}"#);
        all(r#"{"type":7,"message":1}"#, r#"{"formUserId":"A","type":7,"message":1}"#);
        all(r#"{"\ud800":1,"message":1}"#, r#"{"formUserId":"A","\ud800":1,"message":1}"#);
    }

    #[test]
    fn objects_without_a_message_are_ignored() {
        for text in
            [r#"{"formUserId":"A"}"#, "{}", " {", "{\"message\":}", "\t\n{x", r#"{"message":1}}"#]
        {
            ignored(text);
        }
        let deep = |depth: usize| {
            format!(r#"{{"message":{}{}}}"#, "[".repeat(depth - 1), "]".repeat(depth - 1))
        };
        assert_eq!(becomes(&deep(64)).0, "all");
        ignored(&deep(65));
        ignored(&deep(10_000));
        let brackets_in_text = format!(r#"{{"message":"{}"}}"#, "[{".repeat(500));
        assert_eq!(becomes(&brackets_in_text).0, "all");
    }

    #[test]
    fn other_text_is_for_everyone() {
        for (text, message) in [
            ("", r#""""#),
            ("hello", r#""hello""#),
            ("[1]", r#""[1]""#),
            ("5", r#""5""#),
            (r#""x""#, r#""\"x\"""#),
            ("a\nb\u{2028}", "\"a\\nb\u{2028}\""),
        ] {
            all(text, &format!(r#"{{"type":"broadcast","formUserId":"A","message":{message}}}"#));
        }
    }

    #[test]
    fn a_sender_cannot_break_out_of_its_id() {
        let mut out = String::new();
        write_text(&mut out, r#"A","type":"kick"#, "x");
        let value: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(value["type"], "broadcast");
        assert_eq!(value["formUserId"], r#"A","type":"kick"#);
    }
}
