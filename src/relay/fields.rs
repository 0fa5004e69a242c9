//! The fields of a client's object that say what it means.

use std::borrow::Cow;
use std::ops::Range;

use super::json;

/// Those fields as they were written; the last of duplicates.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Fields<'a> {
    pub kind: Option<Value<'a>>,
    pub to: Option<Value<'a>>,
    pub message: Option<Value<'a>>,
    /// Everything from the key `toUserId` on, if that is it, `message` and the end
    /// of the object, without white space and nothing escaped.
    pub tail: Option<&'a str>,
}

/// A value as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value<'a> {
    pub raw: &'a str,
    /// It is a string in which nothing is escaped.
    pub is_plain: bool,
}

impl<'a> Value<'a> {
    /// The string that it is, unescaped; `None` for anything else. What is borrowed
    /// needs no escaping.
    #[inline]
    pub fn string(self) -> Option<Cow<'a, str>> {
        match self.is_plain {
            true => self.raw.get(1..self.raw.len() - 1).map(Cow::Borrowed),
            false => json::string(self.raw),
        }
    }
}

impl<'a> Fields<'a> {
    /// Finds them in a text that is one JSON object; `None` if it is none.
    #[inline]
    pub fn of(text: &'a str) -> Option<Self> {
        Self::of_page(text).or_else(|| Self::of_any(text))
    }

    /// Finds them if the object is like those of the published page, which
    /// `JSON.stringify` writes: without white space, all values strings, nothing
    /// escaped. Keys are compared where they stand; nothing is looked at twice.
    #[inline]
    fn of_page(text: &'a str) -> Option<Self> {
        const KIND: &[u8] = br#""type":"#;
        const TO: &[u8] = br#""toUserId":"#;
        const MESSAGE: &[u8] = br#""message":"#;
        let bytes = text.as_bytes();
        if bytes.first() != Some(&b'{') || !json::is_plain(bytes) {
            return None;
        }
        let [mut kind, mut to, mut message, mut other] = [const { 0..0 }; 4];
        let mut at = 1;
        loop {
            let rest = bytes.get(at..)?;
            let (place, key) = if rest.starts_with(TO) {
                (&mut to, TO.len())
            } else if rest.starts_with(MESSAGE) {
                (&mut message, MESSAGE.len())
            } else if rest.starts_with(KIND) {
                (&mut kind, KIND.len())
            } else {
                let key = json::string_end(rest)?;
                (&mut other, (rest.get(key) == Some(&b':')).then_some(key + 1)?)
            };
            let value = at + key;
            at = value + json::string_end(bytes.get(value..)?)?;
            *place = value..at;
            match bytes.get(at)? {
                b',' => at += 1,
                b'}' => break,
                _ => return None,
            }
        }
        if at + 1 != bytes.len() {
            return None;
        }
        let side_by_side = to.end + 1 + MESSAGE.len() == message.start && message.end == at;
        let value = |place: Range<usize>| {
            let raw = text.get(place).filter(|raw| !raw.is_empty())?;
            Some(Value { raw, is_plain: true })
        };
        Some(Fields {
            tail: text.get(to.start.wrapping_sub(TO.len())..).filter(|_| side_by_side),
            kind: value(kind),
            to: value(to),
            message: value(message),
        })
    }

    /// Finds them in whatever is JSON.
    fn of_any(text: &'a str) -> Option<Self> {
        let mut fields = Fields::default();
        let walked = json::each_field(text, |key, raw| {
            let place = match json::string(key).as_deref() {
                Some("type") => &mut fields.kind,
                Some("toUserId") => &mut fields.to,
                Some("message") => &mut fields.message,
                _ => return,
            };
            *place = Some(Value { raw, is_plain: false });
        });
        walked.is_ok().then_some(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The short way finds what the long way finds, or nothing.
    fn same(text: &str) -> bool {
        let Some(short) = Fields::of_page(text) else { return false };
        let long = Fields::of_any(text).unwrap_or_else(|| panic!("not JSON: {text}"));
        let string =
            |value: Option<Value<'_>>| value.map(|value| value.string().unwrap().into_owned());
        let raw = |value: Option<Value<'_>>| value.map(|value| value.raw.to_owned());
        assert_eq!(raw(short.kind), raw(long.kind), "{text}");
        assert_eq!(raw(short.to), raw(long.to), "{text}");
        assert_eq!(raw(short.message), raw(long.message), "{text}");
        assert_eq!(string(short.to), string(long.to), "{text}");
        if let (Some(tail), Some(to), Some(message)) = (short.tail, long.to, long.message) {
            let expected = format!(r#""toUserId":{},"message":{}}}"#, to.raw, message.raw);
            assert_eq!(tail, expected, "{text}");
        }
        true
    }

    #[test]
    fn the_short_way_finds_what_the_long_way_finds() {
        for text in [
            r#"{"toUserId":"B","message":"hi"}"#,
            r#"{"formUserId":"A","toUserId":"张三","message":"你好, hub"}"#,
            r#"{"message":"hi","toUserId":"B","type":"message"}"#,
            r#"{"toUserId":"B","message":"hi","n":"x"}"#,
            r#"{"toUserId":"B","message":"hi","toUserId":"C"}"#,
            r#"{"toUserId":"","message":"hi, all of you who read this, and more"}"#,
        ] {
            assert!(same(text), "{text}");
        }
        for text in [
            "{}",
            "",
            "{",
            r#"{"toUserId":"B","message":1}"#,
            r#"{"toUserId": "B","message":"x"}"#,
            r#"{"toUserId":"B","message":"a\nb"}"#,
            r#"{"toUserId":"B","message":"x"} "#,
            r#"{"toUserId":"B","message":"x"}}"#,
            r#"{"toUserId":"B","message":"x",}"#,
            r#"{"toUserId":"B""message":"x"}"#,
            r#"{"toUserId","message":"x"}"#,
            r#"{"toUserId":"B","message":"x}"#,
        ] {
            assert!(!same(text), "{text}");
        }
    }

    #[test]
    fn mutations_do_not_tell_the_two_apart() {
        let seeds = [
            r#"{"type":"message","formUserId":"A","toUserId":"B","message":"0123456789abcdef"}"#,
            r#"{"toUserId":"张三","message":"你好"}"#,
        ];
        let pieces =
            ["\"", "{", "}", ",", ":", "\\", " ", "1", "\"type\":", "\"message\":\"", "\n", "长"];
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let mut random = move |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % below as u64) as usize
        };
        let mut taken = 0;
        for round in 0..100_000 {
            let mut chars: Vec<String> = seeds[round % 2].chars().map(String::from).collect();
            for _ in 0..=random(3) {
                let at = random(chars.len());
                match random(3) {
                    0 => drop(chars.remove(at)),
                    1 => chars[at] = pieces[random(pieces.len())].to_owned(),
                    _ => chars.insert(at, pieces[random(pieces.len())].to_owned()),
                }
            }
            taken += usize::from(same(&chars.concat()));
        }
        assert!(taken > 1_000, "{taken}");
    }
}
