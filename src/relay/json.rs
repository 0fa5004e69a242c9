//! JSON objects, field by field, without building them.
//!
//! One pass over the text checks it (RFC 8259) and finds the fields of the outermost
//! object, as raw text: a relay forwards what it was sent and looks at three keys.
//! It takes what serde_json takes, and a test compares the two.

use std::borrow::Cow;
use std::fmt;

/// Not one JSON object, or nested too deep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Objects and arrays nested deeper than this are refused, the outermost included.
pub const MAX_DEPTH: u32 = 64;

/// Whether the text begins, after white space, like an object.
pub fn begins_object(text: &str) -> bool {
    text.bytes().find(|byte| !is_space(*byte)) == Some(b'{')
}

/// Calls `field` with each key and value of the object that `text` is, as they
/// were written, keys with their quotes.
///
/// # Errors
/// When it is not one JSON object. Fields before the error have been seen.
#[inline]
pub fn each_field<'a>(
    text: &'a str,
    mut field: impl FnMut(&'a str, &'a str),
) -> Result<(), Malformed> {
    let mut scanner = Scanner { text, at: 0 };
    scanner.skip_space();
    scanner.expect(b'{')?;
    scanner.skip_space();
    if scanner.peek() == Some(b'}') {
        scanner.at += 1;
    } else {
        loop {
            let key = scanner.at;
            scanner.skip_string()?;
            let key = &text[key..scanner.at];
            scanner.skip_space();
            scanner.expect(b':')?;
            scanner.skip_space();
            let value = scanner.at;
            scanner.skip_value()?;
            field(key, &text[value..scanner.at]);
            scanner.skip_space();
            if scanner.peek() == Some(b'}') {
                scanner.at += 1;
                break;
            }
            scanner.expect(b',')?;
            scanner.skip_space();
        }
    }
    scanner.skip_space();
    if scanner.at == text.len() { Ok(()) } else { Err(Malformed) }
}

/// The string that a raw value or key is, unescaped; `None` for anything else, and
/// for a string that is not Unicode: one with a lone surrogate.
pub fn string(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if !inner.contains('\\') {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str(raw).ok().map(Cow::Owned)
}

/// Appends `text` as a JSON string.
pub fn write_string(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    while let Some(at) = find_special(rest.as_bytes()) {
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

#[inline]
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// Whether a byte cannot stand for itself in a string.
#[inline]
fn is_special(byte: u8) -> bool {
    byte < 0x20 || matches!(byte, b'"' | b'\\')
}

/// The first byte that cannot stand for itself in a string. Looks at eight at a time.
#[inline]
fn find_special(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let mut at = 0;
    while let Some(chunk) = bytes[at..].first_chunk() {
        let word = u64::from_le_bytes(*chunk);
        // The lowest byte that borrows is less than what was taken off; those
        // from 0x80 on, parts of longer characters, are left out.
        let control = word.wrapping_sub(ONES * 0x20);
        let quote = (word ^ (ONES * 0x22)).wrapping_sub(ONES);
        let backslash = (word ^ (ONES * 0x5C)).wrapping_sub(ONES);
        let found = (control | quote | backslash) & !word & (ONES * 0x80);
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    bytes[at..].iter().position(|byte| is_special(*byte)).map(|rest| at + rest)
}

/// A position in a text. It only stands between whole characters when it is in
/// none of the strings, so it is sliced only there.
struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl Scanner<'_> {
    #[inline]
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    #[inline]
    fn expect(&mut self, byte: u8) -> Result<(), Malformed> {
        if self.peek() != Some(byte) {
            return Err(Malformed);
        }
        self.at += 1;
        Ok(())
    }

    #[inline]
    fn skip_space(&mut self) {
        while self.peek().is_some_and(is_space) {
            self.at += 1;
        }
    }

    /// Moves past a string. What is escaped need not be Unicode: a value is passed
    /// on as it is.
    #[inline]
    fn skip_string(&mut self) -> Result<(), Malformed> {
        self.expect(b'"')?;
        loop {
            self.at += find_special(&self.text.as_bytes()[self.at..]).ok_or(Malformed)?;
            let special = self.peek();
            self.at += 1;
            match special {
                Some(b'"') => return Ok(()),
                Some(b'\\') => self.skip_escape()?,
                _ => return Err(Malformed),
            }
        }
    }

    fn skip_escape(&mut self) -> Result<(), Malformed> {
        let digits = match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 0,
            Some(b'u') => 4,
            _ => return Err(Malformed),
        };
        self.at += 1;
        for _ in 0..digits {
            if !self.peek().is_some_and(|byte| byte.is_ascii_hexdigit()) {
                return Err(Malformed);
            }
            self.at += 1;
        }
        Ok(())
    }

    /// Moves past a value inside the outermost object.
    #[inline]
    fn skip_value(&mut self) -> Result<(), Malformed> {
        match self.peek() {
            Some(b'"') => self.skip_string(),
            Some(b'{' | b'[') => self.skip_nested(),
            _ => self.skip_scalar(),
        }
    }

    /// Moves past a number or a literal name.
    fn skip_scalar(&mut self) -> Result<(), Malformed> {
        let name = match self.peek() {
            Some(b't') => "true",
            Some(b'f') => "false",
            Some(b'n') => "null",
            _ => return self.skip_number(),
        };
        if !self.text.as_bytes()[self.at..].starts_with(name.as_bytes()) {
            return Err(Malformed);
        }
        self.at += name.len();
        Ok(())
    }

    fn skip_number(&mut self) -> Result<(), Malformed> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            _ => self.skip_digits()?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.skip_digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.skip_digits()?;
        }
        Ok(())
    }

    fn skip_digits(&mut self) -> Result<(), Malformed> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at > start { Ok(()) } else { Err(Malformed) }
    }

    /// Moves past an object or array, without recursion: one bit for each level
    /// says whether it is an object.
    fn skip_nested(&mut self) -> Result<(), Malformed> {
        let mut objects: u64 = 0;
        let mut depth = 0;
        loop {
            // A value begins here.
            let opens = self.peek();
            if let Some(b'{' | b'[') = opens {
                depth += 1;
                if depth >= MAX_DEPTH {
                    return Err(Malformed);
                }
                objects = objects << 1 | u64::from(opens == Some(b'{'));
                self.at += 1;
                self.skip_space();
                if self.peek() != Some(if objects & 1 == 1 { b'}' } else { b']' }) {
                    self.skip_key(objects)?;
                    continue;
                }
            } else if opens == Some(b'"') {
                self.skip_string()?;
            } else {
                self.skip_scalar()?;
            }
            // A value has ended, or an empty one is about to.
            loop {
                self.skip_space();
                let ends = if objects & 1 == 1 { b'}' } else { b']' };
                match self.peek() {
                    Some(byte) if byte == ends => {
                        self.at += 1;
                        objects >>= 1;
                        depth -= 1;
                        if depth == 0 {
                            return Ok(());
                        }
                    }
                    Some(b',') => {
                        self.at += 1;
                        self.skip_space();
                        self.skip_key(objects)?;
                        break;
                    }
                    _ => return Err(Malformed),
                }
            }
        }
    }

    /// Moves past a key and its colon if the innermost level is an object.
    fn skip_key(&mut self, objects: u64) -> Result<(), Malformed> {
        if objects & 1 == 1 {
            self.skip_string()?;
            self.skip_space();
            self.expect(b':')?;
            self.skip_space();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::value::RawValue;

    use super::*;

    fn fields(text: &str) -> Result<BTreeMap<String, String>, Malformed> {
        let mut fields = BTreeMap::new();
        each_field(text, |key, value| {
            fields.insert(key.to_owned(), value.to_owned());
        })?;
        Ok(fields)
    }

    /// The same by serde_json; keys that unescape alike are one to it.
    fn by_serde(text: &str) -> Option<usize> {
        let map: BTreeMap<String, &RawValue> = serde_json::from_str(text).ok()?;
        Some(map.len())
    }

    #[test]
    fn fields_are_what_was_written() {
        let text = " {\"a\" : 1 ,\"b\\u0063\":\t[{\"x\":[]} , {}] ,\"\":\"\\\"\\ud800长\"}\n";
        let seen = fields(text).unwrap();
        assert_eq!(seen["\"a\""], "1");
        assert_eq!(seen["\"b\\u0063\""], "[{\"x\":[]} , {}]");
        assert_eq!(seen["\"\""], "\"\\\"\\ud800长\"");
        assert_eq!(fields("{}").unwrap().len(), 0);
    }

    /// Every text made from a short alphabet, and mutations of longer ones: what one
    /// takes the other takes.
    #[test]
    fn it_takes_what_serde_json_takes() {
        let check = |text: &str| {
            // serde_json's map wants keys that are Unicode; ours need not be.
            let theirs = by_serde(text);
            let ours = fields(text);
            assert_eq!(ours.is_ok(), theirs.is_some(), "{text:?}");
        };
        let alphabet = ["{", "}", "[", "]", "\"", ":", ",", "1", "-", "0", ".", "e", " ", "\\"];
        for length in 0..=4 {
            for mut number in 0..alphabet.len().pow(length) {
                let mut inner = String::new();
                for _ in 0..length {
                    inner.push_str(alphabet[number % alphabet.len()]);
                    number /= alphabet.len();
                }
                check(&inner);
                check(&format!("{{\"a\":{inner}}}"));
                check(&format!("{{\"a\":[{inner}]}}"));
                check(&format!("{{\"a\":\"{inner}\"}}"));
            }
        }
        let seeds = [
            r#"{"type":"message","toUserId":"B","message":{"a":[1,-2.5e+3,{"b":null}],"c":true}}"#,
            r#" { "长" : "\u957f\n\t\/" , "x" : [ [ ] , { } , [ { } ] , false , "" ] } "#,
            r#"{"n":[0,-0,10,1.0,1e5,1E-5,0.1e+2],"s":"0123456789abcdef0123456789abcdef"}"#,
        ];
        let mut state = 0x2545_F491_4F6C_DD1D_u64;
        let mut random = move |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % below as u64) as usize
        };
        let pieces = ["\u{1}", "\u{7f}", "é", "\\u12", "\\x", "true", "nul", "\r", "\u{a0}", "+", "E"];
        for seed in seeds {
            check(seed);
            for _ in 0..20_000 {
                let mut chars: Vec<String> = seed.chars().map(String::from).collect();
                for _ in 0..=random(3) {
                    let at = random(chars.len());
                    match random(3) {
                        0 => drop(chars.remove(at)),
                        1 => chars[at] = alphabet[random(alphabet.len())].to_owned(),
                        _ => chars.insert(at, pieces[random(pieces.len())].to_owned()),
                    }
                }
                check(&chars.concat());
            }
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(fields(&deep(MAX_DEPTH as usize - 1)).is_ok());
        assert_eq!(fields(&deep(MAX_DEPTH as usize)), Err(Malformed));
        assert_eq!(fields(&deep(1_000_000)), Err(Malformed));
        let objects = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        assert!(fields(&objects(MAX_DEPTH as usize)).is_ok());
        assert_eq!(fields(&objects(MAX_DEPTH as usize + 1)), Err(Malformed));
    }

    #[test]
    fn special_bytes_are_found_wherever_they_are() {
        for special in [b'"', b'\\', 0, 0x1F, b'\n'] {
            for length in 0..40 {
                for at in 0..length {
                    let mut bytes = vec![0xE9; length];
                    bytes[..at].fill(b'!');
                    bytes[at] = special;
                    assert_eq!(find_special(&bytes), Some(at));
                }
                assert_eq!(find_special(&vec![b'#'; length]), None);
                assert_eq!(find_special(&vec![0x9C; length]), None);
            }
        }
    }
}
