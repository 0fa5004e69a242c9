//! JSON objects, field by field, without building them.
//!
//! Values stay raw text. Keys are compared after unescaping; one that is not a
//! Unicode string (a lone surrogate) is no key of ours.

use std::borrow::Cow;
use std::fmt;

use serde_json::Deserializer;
use serde_json::de::StrRead;
use serde_json::value::RawValue;

/// serde_json carries serde's traits only as a dependency of its own; these
/// are what an object's fields are visited with.
use serde::de::{Deserializer as _, MapAccess, Visitor};

/// Whether the text begins, after white space, like an object.
pub fn begins_object(text: &str) -> bool {
    text.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('{')
}

/// Whether arrays and objects are nested more than `limit` deep.
pub fn is_deeper_than(text: &str, limit: usize) -> bool {
    // Few texts have so many brackets at all, and counting is cheap.
    let opens = |byte: &&u8| matches!(byte, b'{' | b'[');
    if text.as_bytes().iter().filter(opens).count() <= limit {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                if depth > limit {
                    return true;
                }
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

/// The string that a value is, unescaped; `None` for anything else.
pub fn string(value: &RawValue) -> Option<Cow<'_, str>> {
    unescape(value.get())
}

fn unescape(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if !inner.contains('\\') {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str(raw).ok().map(Cow::Owned)
}

/// Appends `text` as a JSON string.
pub fn write_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0'..='\x1F' => {
                let _ = fmt::Write::write_fmt(out, format_args!("\\u{:04x}", c as u32));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Calls `field` with each key and value of the object that `text` is.
///
/// # Errors
/// When it is not one JSON object. Fields before the error have been seen.
pub fn each_field<'a>(
    text: &'a str,
    mut field: impl FnMut(&str, &'a RawValue),
) -> Result<(), serde_json::Error> {
    each_raw_field(text, |_, key, value| field(key, value))
}

/// As [`each_field`], with the key as it was written as well.
///
/// # Errors
/// As [`each_field`].
pub fn each_raw_field<'a>(
    text: &'a str,
    field: impl FnMut(&'a str, &str, &'a RawValue),
) -> Result<(), serde_json::Error> {
    let mut deserializer: Deserializer<StrRead<'a>> = Deserializer::from_str(text);
    deserializer.deserialize_map(Fields { field })?;
    deserializer.end()
}

struct Fields<F> {
    field: F,
}

impl<'a, F: FnMut(&'a str, &str, &'a RawValue)> Visitor<'a> for Fields<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'a>>(mut self, mut map: M) -> Result<(), M::Error> {
        while let Some(raw_key) = map.next_key::<&'a RawValue>()? {
            let value = map.next_value::<&'a RawValue>()?;
            let raw_key = raw_key.get();
            if let Some(key) = unescape(raw_key) {
                (self.field)(raw_key, &key, value);
            } else {
                (self.field)(raw_key, "\u{FFFD}", value);
            }
        }
        Ok(())
    }
}
