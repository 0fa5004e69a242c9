//! The fields of a client's object that decide what it means.

use std::ops::Range;

use crate::wire::json;

/// These fields as they were written. If a field occurs twice, the last one counts.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Fields<'a> {
    pub kind: Option<&'a str>,
    pub to: Option<&'a str>,
    pub message: Option<&'a str>,
}

impl<'a> Fields<'a> {
    /// Finds the fields in a text that is one JSON object; `None` if the text is not an object.
    pub fn of(text: &'a str) -> Option<Self> {
        let mut fields = Fields::default();
        let walked = json::each_field(text, |key, value| {
            let place = match json::string(key).as_deref() {
                Some("type") => &mut fields.kind,
                Some("toUserId") => &mut fields.to,
                Some("message") => &mut fields.message,
                _ => return,
            };
            *place = Some(value);
        });
        walked.is_ok().then_some(fields)
    }
}

/// The places of the fields in a text as the published page and `JSON.stringify` write it: one
/// object without white space, in which all values are strings and nothing is escaped. The place of
/// a field that is missing is an empty range.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PageFields {
    pub kind: Range<usize>,
    pub to: Range<usize>,
    pub message: Range<usize>,
    /// The place of the key `toUserId`, if its value is followed only by `message` and the end.
    pub tail: Option<usize>,
}

impl PageFields {
    /// Finds the fields; `None` if the text does not have this form. Keys are compared where they
    /// are in the text, and no byte is read twice.
    #[inline]
    pub fn of(text: &str) -> Option<Self> {
        const KIND: &[u8] = br#""type":"#;
        const TO: &[u8] = br#""toUserId":"#;
        const MESSAGE: &[u8] = br#""message":"#;
        let bytes = text.as_bytes();
        if bytes.first() != Some(&b'{') || !json::is_plain(bytes) {
            return None;
        }
        let mut fields = PageFields::default();
        let mut other = 0..0;
        let mut at = 1;
        loop {
            let rest = bytes.get(at..)?;
            let (place, key) = if rest.starts_with(TO) {
                (&mut fields.to, TO.len())
            } else if rest.starts_with(MESSAGE) {
                (&mut fields.message, MESSAGE.len())
            } else if rest.starts_with(KIND) {
                (&mut fields.kind, KIND.len())
            } else {
                (&mut other, other_key(rest)?)
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
        let PageFields { to, message, tail, .. } = &mut fields;
        if to.end + 1 + MESSAGE.len() == message.start && message.end == at {
            *tail = to.start.checked_sub(TO.len());
        }
        (at + 1 == bytes.len()).then_some(fields)
    }
}

/// Returns the length of a key and its colon.
#[inline(never)]
fn other_key(rest: &[u8]) -> Option<usize> {
    let key = json::string_end(rest)?;
    (rest.get(key) == Some(&b':')).then_some(key + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::Rng;

    /// Checks that the short way finds what the long way finds, or nothing.
    fn same(text: &str) -> bool {
        let Some(short) = PageFields::of(text) else { return false };
        let long = Fields::of(text).unwrap_or_else(|| panic!("not JSON: {text}"));
        let raw = |place: &Range<usize>| Some(&text[place.clone()]).filter(|raw| !raw.is_empty());
        assert_eq!(raw(&short.kind), long.kind, "{text}");
        assert_eq!(raw(&short.to), long.to, "{text}");
        assert_eq!(raw(&short.message), long.message, "{text}");
        for value in [long.kind, long.to, long.message].into_iter().flatten() {
            let string = json::string(value).unwrap();
            assert_eq!(string, value[1..value.len() - 1], "{text}");
        }
        if let (Some(tail), Some(to), Some(message)) = (short.tail, long.to, long.message) {
            let expected = format!(r#""toUserId":{to},"message":{message}}}"#);
            assert_eq!(text[tail..], expected, "{text}");
        }
        true
    }

    #[test]
    fn the_short_way_to_read_fields_agrees_with_the_long_way() {
        for text in [
            r#"{"toUserId":"B","message":"hi"}"#,
            r#"{"formUserId":"A","toUserId":"张三","message":"你好, cx"}"#,
            r#"{"message":"hi","toUserId":"B","type":"message"}"#,
            r#"{"toUserId":"B","message":"hi","n":"x"}"#,
            r#"{"toUserId":"B","n":"x","message":"hi"}"#,
            r#"{"toUserId":"B","type":"message","message":"hi"}"#,
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
    fn the_two_ways_to_read_fields_agree_on_mutated_texts() {
        let seeds = [
            r#"{"type":"message","formUserId":"A","toUserId":"B","message":"0123456789abcdef"}"#,
            r#"{"toUserId":"张三","message":"你好"}"#,
        ];
        let pieces =
            ["\"", "{", "}", ",", ":", "\\", " ", "1", "\"type\":", "\"message\":\"", "\n", "长"];
        let mut rng = Rng::new(1);
        let mut random = |below: usize| rng.index(below);
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
