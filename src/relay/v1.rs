//! What a v1 client's frame means: the published mini-program page.
//!
//! That page shows `JSON.parse(data).message` of every frame whose `type` is
//! not `pong`, and sends `ping`, an object with `toUserId`, or plain text.
//! The `message` of a frame is carried as the sender's own JSON text, so lone
//! surrogates and large numbers arrive as they were sent. `formUserId` is
//! misspelt in the published page; it stays.

use std::borrow::Cow;
use std::fmt;

use super::fields::{Fields, PageFields};
use super::opening::{Opening, misspells_receiver};
use crate::wire::json;

/// The answer to a heartbeat, exactly.
pub const PONG: &str = r#"{"type":"pong"}"#;
/// The longest user id in bytes.
pub const MAX_ID: usize = 128;

/// Types of frames of this protocol, v1 and v2: a broadcast that names one
/// could pass for it.
const TYPES: [&str; 17] = [
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
    /// Nothing.
    Ignored,
    /// A message to one user.
    ToUser { to: Cow<'a, str>, body: Body<'a> },
    /// An object for everyone.
    Object { text: &'a str, rename: bool },
    /// A text for everyone.
    Text(&'a str),
}

/// What a message to one user says.
#[derive(Clone, Copy, Debug)]
pub enum Body<'a> {
    /// The message, as JSON.
    Message(&'a str),
    /// Everything that comes after the sender's id in the envelope: it was written so.
    Tail(&'a str),
}

/// Whether a frame is the published page's heartbeat, as nearly all are.
#[inline(always)]
pub fn is_ping(text: &str) -> bool {
    text == "ping" || text.eq_ignore_ascii_case("ping")
}

/// Tells what a text frame means; the first rule that matches.
#[inline]
pub fn meaning(text: &str) -> Meaning<'_> {
    match meaning_of_page(text) {
        Some(meaning) => meaning,
        None => meaning_of_any(text),
    }
}

/// The same for a message that is written as the published page writes it, as nearly
/// all are; `None` for anything else.
#[inline]
pub fn meaning_of_page(text: &str) -> Option<Meaning<'_>> {
    let PageFields { kind, to, message, tail } = PageFields::of(text)?;
    let is_control = matches!(&text.as_bytes()[kind.clone()], br#""ping""# | br#""pong""#);
    if is_control || message.is_empty() {
        return None;
    }
    if to.is_empty() {
        let rename = !kind.is_empty() && TYPES.contains(&&text[kind.start + 1..kind.end - 1]);
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

/// The same for any text, in the long way.
pub fn meaning_of_any(text: &str) -> Meaning<'_> {
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
            let rename = kind.is_some_and(|kind| TYPES.contains(&kind));
            Meaning::Object { text, rename }
        }
    }
}

/// Who is meant by a `toUserId`: a string, or an integer literal whose digits
/// are the id.
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

/// What the envelope of a one-to-one message begins with, up to the sender's id.
const FROM: &str = r#"{"type":"message","formUserId":""#;

/// The envelope of a one-to-one message, in pieces. The ids are
/// [escaped](json::escape).
#[inline]
pub fn envelope<'a>(from: &'a str, to: &'a str, message: &'a str) -> [&'a str; 7] {
    [FROM, from, r#"","toUserId":""#, to, r#"","message":"#, message, "}"]
}

/// The same, when the sender has written all after `formUserId` as it has to be.
#[inline]
pub fn envelope_of_tail<'a>(from: &'a str, tail: &'a str) -> [&'a str; 4] {
    [FROM, from, r#"","#, tail]
}

/// Writes a text for everyone.
pub fn write_text(out: &mut String, from: &str, text: &str) {
    out.push_str(r#"{"type":"broadcast","formUserId":"#);
    json::write_string(from, out);
    out.push_str(r#","message":"#);
    json::write_string(text, out);
    out.push('}');
}

/// Writes a message of the server's for everyone, or for everyone in a group. `message` is
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

/// Writes an object for everyone: its own fields, stamped with its sender.
/// Every `formUserId`, and every `type` if it is renamed, is left out and
/// written once, so that no later duplicate undoes the stamp.
///
/// # Errors
/// When a key [misspells](misspells_receiver) that of a receiver: the object is for somebody, and
/// goes to nobody. Never otherwise for an object that [`meaning`] has taken.
pub fn write_object(out: &mut String, from: &str, text: &str, rename: bool) -> fmt::Result {
    let mut is_for_one = false;
    out.push('{');
    if rename {
        out.push_str(r#""type":"broadcast","#);
    }
    out.push_str(r#""formUserId":"#);
    json::write_string(from, out);
    json::each_field(text, |raw_key, value| {
        // A key that is no Unicode string is none of ours.
        let key = json::string(raw_key).unwrap_or_default();
        is_for_one |= misspells_receiver(&key);
        if key != "formUserId" && !(rename && key == "type") {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What `text` from A becomes: who gets it, and what.
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
    fn heartbeats() {
        for text in ["ping", "PING", "Ping", r#"{"type":"ping"}"#, r#" { "t":1, "type" : "ping"}"#]
        {
            assert_eq!(becomes(text).0, "ping", "{text}");
        }
        assert_eq!(becomes(r#"{"type":"p\u0069ng","toUserId":"B","message":1}"#).0, "ping");
        ignored(r#"{"type":"pong","message":"x"}"#);
        all("ping ", r#"{"type":"broadcast","formUserId":"A","message":"ping "}"#);
    }

    #[test]
    fn one_to_one_is_never_broadcast() {
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
    fn a_text_that_begins_with_a_brace_after_what_cannot_be_seen_is_never_for_everyone() {
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
            // The receiver that is spelt right counts.
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
    fn objects_that_say_nothing_are_ignored() {
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
