//! A message to one user, in the form in which nearly all are written. Its fields are slices of the
//! body.
//!
//! [`ToOne::read`] and [`read_batch`] read only what a usual client writes. Everything else,
//! mistakes included, is left to serde, which takes about three times as long.

use std::borrow::Cow;

use crate::hub::Context;
use crate::relay::{Relay, SYSTEM, Wishes};
use crate::wire::json;

use super::body;
use super::failure::Failure;

/// A message to one user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ToOne<'a> {
    pub user: &'a str,
    /// The message as JSON text.
    pub message: &'a str,
    pub from: &'a str,
    /// Whether neither id needs escaping in a JSON string.
    pub is_plain: bool,
    /// What the backend wishes for the message; `None` for nearly all messages.
    pub wishes: Option<&'a Wishes<'a>>,
}

impl<'a> ToOne<'a> {
    /// Reads a body that has only these fields, and whose ids contain no escapes. `None` for any
    /// other body.
    pub fn read(text: &'a str) -> Option<Self> {
        let mut reader = Reader::new(text);
        let message = reader.message()?;
        reader.is_done().then_some(message)
    }

    /// Refuses texts that cannot be ids, and a message that is too long or nested too deep. `place`
    /// returns a field's name for the error.
    pub fn check(
        &self,
        cx: &Context,
        place: impl Fn(&'static str) -> Cow<'static, str>,
    ) -> Result<(), Failure> {
        let ids = [("user", self.user), ("from", self.from)];
        // Nearly every message is from the system, whose name is one.
        let is_id = |id: &str| id == SYSTEM || Relay::is_user_id(id);
        if let Some((name, _)) = ids.iter().find(|(_, id)| !is_id(id)) {
            return Err(Failure::bad_name(place(name)));
        }
        body::message(cx, self.message, || place("message")).map(|_| ())
    }
}

/// Reads `{"messages":[…]}` with up to `most` messages; `None` if one of them is not in the usual
/// form.
pub fn read_batch(text: &str, most: usize) -> Option<Vec<ToOne<'_>>> {
    let mut reader = Reader::new(text);
    for token in ["{", r#""messages""#, ":", "["] {
        reader.take(token.as_bytes())?;
    }
    let mut messages = Vec::with_capacity(most.min(text.len() / SHORTEST));
    loop {
        let message = reader.message()?;
        if messages.len() == most {
            return None;
        }
        messages.push(message);
        if reader.take(b",").is_none() {
            break;
        }
    }
    reader.take(b"]")?;
    reader.take(b"}")?;
    reader.is_done().then_some(messages)
}

/// The length of the shortest message in bytes, including the comma after it.
const SHORTEST: usize = r#"{"user":"a","message":1},"#.len();

/// A text, and how far it was read. After a failure the reader cannot be used any more.
struct Reader<'a> {
    text: &'a str,
    at: usize,
    /// Whether every string in the text ends at the next quote.
    is_plain: bool,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        Reader { text, at: 0, is_plain: json::is_plain(text.as_bytes()) }
    }

    /// Moves past white space and a token.
    #[inline(always)]
    fn take(&mut self, token: &[u8]) -> Option<()> {
        self.skip_space();
        self.text.as_bytes().get(self.at..)?.starts_with(token).then(|| self.at += token.len())
    }

    #[inline(always)]
    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.text.as_bytes().get(self.at) {
            self.at += 1;
        }
    }

    fn is_done(&mut self) -> bool {
        self.skip_space();
        self.at == self.text.len()
    }

    #[inline]
    fn message(&mut self) -> Option<ToOne<'a>> {
        self.take(b"{")?;
        let (mut user, mut message, mut from) = (None, None, None);
        loop {
            let place = if self.take(br#""user""#).is_some() {
                &mut user
            } else if self.take(br#""message""#).is_some() {
                &mut message
            } else {
                self.take(br#""from""#)?;
                &mut from
            };
            self.take(b":")?;
            self.skip_space();
            let value = self.value()?;
            if place.replace(value).is_some() {
                return None;
            }
            if self.take(b",").is_none() {
                break;
            }
        }
        self.take(b"}")?;
        let from = from.map_or(Some(SYSTEM), |raw| self.unescaped(raw))?;
        let (user, message) = (self.unescaped(user?)?, message?);
        Some(ToOne { user, message, from, is_plain: true, wishes: None })
    }

    /// Reads a value and returns it as it is written.
    #[inline(always)]
    fn value(&mut self) -> Option<&'a str> {
        let (start, bytes) = (self.at, self.text.as_bytes());
        self.at = if self.is_plain && bytes.get(start) == Some(&b'"') {
            start + json::string_end(&bytes[start..])?
        } else {
            json::value_end(self.text, start)?
        };
        Some(&self.text[start..self.at])
    }

    /// Returns the text between the quotes of a string that contains no escapes.
    #[inline(always)]
    fn unescaped(&self, raw: &'a str) -> Option<&'a str> {
        let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
        (self.is_plain || !inner.contains('\\')).then_some(inner)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// Checks that the short way reads what serde reads.
    fn same(text: &str, read: &ToOne<'_>) {
        let value: Value = serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"));
        let object = value.as_object().unwrap();
        assert_eq!(object["user"], read.user, "{text}");
        assert_eq!(object.get("from").map_or(SYSTEM, |from| from.as_str().unwrap()), read.from);
        let message: Value = serde_json::from_str(read.message).unwrap();
        assert_eq!(object["message"], message, "{text}");
        assert_eq!(object.len(), 2 + usize::from(object.contains_key("from")), "{text}");
    }

    const USUAL: [&str; 4] = [
        r#"{"user":"a","message":"hi"}"#,
        r#" { "message" : {"n":[1,null]} , "from":"shop", "user" : "张三" } "#,
        r#"{"user":"","message":null}"#,
        r#"{"user":"a/b","message":"\n","from":""}"#,
    ];

    #[test]
    fn the_short_way_reads_usual_sends_as_serde_reads_them() {
        for text in USUAL {
            same(text, &ToOne::read(text).unwrap());
        }
    }

    #[test]
    fn the_short_way_leaves_unusual_sends_to_serde() {
        for text in [
            "",
            "{}",
            "[]",
            r#"{"user":"a"}"#,
            r#"{"message":1}"#,
            r#"{"user":"a","message":1,"user":"a"}"#,
            r#"{"user":"a","message":1,"x":1}"#,
            r#"{"user":"\u0061","message":1}"#,
            r#"{"us\u0065r":"a","message":1}"#,
            r#"{"user":5,"message":1}"#,
            r#"{"user":"a","message":1,"from":null}"#,
            r#"{"user":"a","message":01}"#,
            r#"{"user":"a","message":1}}"#,
            r#"{"user":"a","message":1,}"#,
            r#"{"user":"a","message":1,"idempotencyKey":"k"}"#,
        ] {
            assert_eq!(ToOne::read(text), None, "{text}");
            assert_eq!(read_batch(&format!(r#"{{"messages":[{text}]}}"#), 10), None, "{text}");
        }
    }

    #[test]
    fn a_batch_is_read_message_by_message() {
        let trimmed = USUAL.map(str::trim);
        for (begin, between, end) in
            [("{\"messages\":[", ",", "]}"), (" { \"messages\" : [ ", " ,\n", " ] } \n")]
        {
            let text = format!("{begin}{}{end}", trimmed.join(between));
            let read = read_batch(&text, 4).unwrap();
            assert_eq!(read.len(), 4);
            for (text, read) in trimmed.iter().zip(&read) {
                same(text, read);
            }
            assert_eq!(read_batch(&text, 3), None, "too many");
            for cut in 0..text.trim_end().len() {
                if let Some(part) = text.get(..cut) {
                    assert_eq!(read_batch(part, 4), None, "{part}");
                }
            }
        }
        let one = USUAL[0];
        for text in [
            r#"{"messages":[]}"#.to_owned(),
            format!(r#"{{"messages":[{one},]}}"#),
            format!(r#"{{"messages":[{one}]}}x"#),
            format!(r#"{{"messages":[{one}],"x":1}}"#),
            format!(r#"{{"messages":[{one}],"idempotencyKey":"k"}}"#),
            format!(r#"{{"messages":{one}}}"#),
        ] {
            assert_eq!(read_batch(&text, 10), None, "{text}");
        }
    }
}
