//! JSON objects, field by field, without building them.
//!
//! Values stay raw text. Keys are compared after unescaping; one that is not a
//! Unicode string (a lone surrogate) is no key of ours.

use std::borrow::Cow;
use std::fmt;

use serde_json::Deserializer;
use serde_json::value::RawValue;

/// serde_json carries serde's traits only as a dependency of its own; these
/// are what an object's fields are visited with.
use serde::de::{DeserializeSeed, Deserializer as _, IgnoredAny, MapAccess, Visitor};

/// Whether the text begins, after white space, like an object.
pub fn begins_object(text: &str) -> bool {
    let space = |byte: &&u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
    text.as_bytes().iter().find(|byte| !space(byte)) == Some(&b'{')
}

/// Whether arrays and objects are nested more than `limit` deep.
pub fn is_deeper_than(text: &str, limit: usize) -> bool {
    // Few texts have so many brackets at all, and counting is cheap.
    if memchr::memchr2_iter(b'{', b'[', text.as_bytes()).nth(limit).is_none() {
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
    out.reserve(text.len() + 2);
    out.push('"');
    let must_escape = |byte: u8| byte < 0x20 || matches!(byte, b'"' | b'\\');
    let mut rest = text;
    while let Some(at) = rest.bytes().position(must_escape) {
        out.push_str(&rest[..at]);
        match rest.as_bytes()[at] {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            byte => {
                let _ = fmt::Write::write_fmt(out, format_args!("\\u{byte:04x}"));
            }
        }
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
    out.push('"');
}

/// Calls `field` with each value of the object that `text` is whose key
/// `choose` knows. Keys are unescaped; they come as bytes, since a key may hold
/// a lone surrogate.
///
/// # Errors
/// When it is not one JSON object. Fields before the error have been seen.
pub fn each_chosen<'a, K>(
    text: &'a str,
    choose: impl Fn(&[u8]) -> Option<K> + Copy,
    field: impl FnMut(K, &'a RawValue),
) -> Result<(), serde_json::Error> {
    let mut deserializer = Deserializer::from_str(text);
    deserializer.deserialize_map(Chosen { choose, field })?;
    deserializer.end()
}

/// Calls `field` with each key, as it was written and unescaped, and value of
/// the object that `text` is. A key that is no Unicode string is unescaped to
/// nothing.
///
/// # Errors
/// As [`each_chosen`].
pub fn each_field<'a>(
    text: &'a str,
    field: impl FnMut(&'a str, &str, &'a RawValue),
) -> Result<(), serde_json::Error> {
    let mut deserializer = Deserializer::from_str(text);
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
            let key = unescape(raw_key.get()).unwrap_or_default();
            (self.field)(raw_key.get(), &key, value);
        }
        Ok(())
    }
}

struct Chosen<C, F> {
    choose: C,
    field: F,
}

impl<'a, K, C, F> Visitor<'a> for Chosen<C, F>
where
    C: Fn(&[u8]) -> Option<K> + Copy,
    F: FnMut(K, &'a RawValue),
{
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'a>>(mut self, mut map: M) -> Result<(), M::Error> {
        while let Some(key) = map.next_key_seed(Key { choose: self.choose })? {
            match key {
                Some(key) => (self.field)(key, map.next_value::<&'a RawValue>()?),
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// A key, looked at where it stands.
struct Key<C> {
    choose: C,
}

impl<'a, K, C: Fn(&[u8]) -> Option<K>> DeserializeSeed<'a> for Key<C> {
    type Value = Option<K>;

    fn deserialize<D: serde::Deserializer<'a>>(
        self,
        deserializer: D,
    ) -> Result<Option<K>, D::Error> {
        deserializer.deserialize_bytes(self)
    }
}

impl<'a, K, C: Fn(&[u8]) -> Option<K>> Visitor<'a> for Key<C> {
    type Value = Option<K>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_bytes<E>(self, key: &[u8]) -> Result<Option<K>, E> {
        Ok((self.choose)(key))
    }
}
