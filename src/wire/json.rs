//! JSON objects, field by field, without building them.
//!
//! One pass over the text checks it (RFC 8259) and finds the fields of the outermost object as raw
//! text, because a relay forwards what it gets and needs only three keys. The scanner accepts what
//! serde_json accepts, and a test compares the two.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use super::blocks;

/// The text is not one JSON object, or it is nested too deep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Texts in which objects and arrays are nested deeper than this are refused; the outermost object
/// counts.
pub const MAX_DEPTH: u32 = 64;

/// Calls `field` with each key and value of the object in `text`, as they were written; keys have
/// their quotes.
///
/// # Errors
/// If the text is not one JSON object. `field` was called for the fields before the error.
pub fn each_field<'a>(
    text: &'a str,
    mut field: impl FnMut(&'a str, &'a str),
) -> Result<(), Malformed> {
    let bytes = Bytes(text.as_bytes());
    bytes.walk(|key, value| field(&text[key], &text[value])).ok_or(Malformed)
}

/// Calls `element` with each element of the array that `raw` is, a value that
/// [`each_field`] has found.
///
/// # Errors
/// When it is not an array.
pub fn each_element<'a>(raw: &'a str, mut element: impl FnMut(&'a str)) -> Result<(), Malformed> {
    let bytes = Bytes(raw.as_bytes());
    bytes.walk_array(|value| element(&raw[value])).ok_or(Malformed)
}

/// Returns the end of the value that begins at `at`; `None` if no value begins there, or if it is
/// nested too deep.
pub fn value_end(text: &str, at: usize) -> Option<usize> {
    Bytes(text.as_bytes()).skip_value(at)
}

/// Whether a text that is one JSON value can be carried in a message: it is not nested deeper than
/// a client's outermost object may be.
#[cfg(feature = "backend")]
pub fn is_shallow(value: &str) -> bool {
    !value.starts_with(['{', '[']) || Bytes(value.as_bytes()).skip_value(0) == Some(value.len())
}

/// Returns the string that a raw value or key contains, unescaped; `None` if it is not a string, or
/// not valid Unicode because of a lone surrogate.
pub fn string(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if !inner.contains('\\') {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str(raw).ok().map(Cow::Owned)
}

/// Whether the text contains no backslash and no control character, as nearly every text: then a
/// string ends at the next quote. It also returns false for a text shorter than 16 bytes.
#[inline]
pub fn is_plain(text: &[u8]) -> bool {
    blocks::any(text, |byte| (byte < 0x20) | (byte == b'\\')) == Some(false)
}

/// Returns the index after the closing quote of the string that a [plain](is_plain) text begins
/// with.
#[inline(always)]
pub fn string_end(text: &[u8]) -> Option<usize> {
    let (b'"', inner) = text.split_first()? else { return None };
    Some(find_quote(inner)? + 2)
}

/// Appends `text` to `out` as the inside of a JSON string, without quotes.
#[inline]
pub fn escape(text: &str, out: &mut String) {
    if stands_for_itself(text.as_bytes()) {
        return out.push_str(text);
    }
    match find_special(text.as_bytes()) {
        None => out.push_str(text),
        Some(first) => escape_from(first, text, out),
    }
}

/// Whether a text is the same inside a JSON string.
#[inline]
pub fn needs_no_escape(text: &str) -> bool {
    stands_for_itself(text.as_bytes()) || find_special(text.as_bytes()).is_none()
}

/// Whether nothing in a text needs escaping, as in nearly every id. It costs a quarter of
/// [`find_special`], which also says where. It also returns false for a text shorter than 16 bytes.
#[inline(always)]
fn stands_for_itself(text: &[u8]) -> bool {
    blocks::any(text, is_special) == Some(false)
}

fn escape_from(first: usize, text: &str, out: &mut String) {
    let mut rest = text;
    let mut special = Some(first);
    while let Some(at) = special {
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
        special = find_special(rest.as_bytes());
    }
    out.push_str(rest);
}

/// Appends `text` as a JSON string.
pub fn write_string(text: &str, out: &mut String) {
    out.push('"');
    escape(text, out);
    out.push('"');
}

#[inline]
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// Whether a byte cannot stand for itself in a string.
#[inline]
fn is_special(byte: u8) -> bool {
    (byte < 0x20) | (byte == b'"') | (byte == b'\\')
}

const ONES: u64 = 0x0101_0101_0101_0101;

/// Marks, in its top bit, the lowest byte of `word` that is less than `limit`, which
/// is 0x80 at most. Bytes above that one may be marked too.
#[inline]
fn less_than(word: u64, limit: u64) -> u64 {
    word.wrapping_sub(ONES * limit) & !word & (ONES * 0x80)
}

/// The first byte that cannot stand for itself in a string.
#[inline]
fn find_special(bytes: &[u8]) -> Option<usize> {
    let (blocks, _) = bytes.as_chunks();
    let skipped = 32 * blocks.iter().take_while(|block| !has_special(block)).count();
    let (words, rest) = bytes[skipped..].as_chunks();
    for (position, word) in words.iter().enumerate() {
        if let Some(found) = find_special_in_word(word) {
            return Some(skipped + position * 8 + found);
        }
    }
    let rest_at = bytes.len() - rest.len();
    match bytes.last_chunk() {
        // The last word overlaps the one before it, where none was found.
        Some(last) if !rest.is_empty() => {
            find_special_in_word(last).map(|found| bytes.len() - 8 + found)
        }
        _ => rest.iter().position(|byte| is_special(*byte)).map(|found| rest_at + found),
    }
}

#[inline(always)]
fn find_special_in_word(word: &[u8; 8]) -> Option<usize> {
    let word = u64::from_le_bytes(*word);
    let quote = less_than(word ^ (ONES * 0x22), 1);
    let backslash = less_than(word ^ (ONES * 0x5C), 1);
    let found = less_than(word, 0x20) | quote | backslash;
    (found != 0).then(|| found.trailing_zeros() as usize / 8)
}

/// The first quote.
#[inline(always)]
fn find_quote(bytes: &[u8]) -> Option<usize> {
    // Keys are short; what people write is not.
    let first = bytes.first_chunk().and_then(find_quote_in_word);
    if first.is_some() {
        return first;
    }
    let (blocks, rest) = bytes.as_chunks::<16>();
    for (position, block) in blocks.iter().enumerate() {
        if has_quote(block) {
            let (low, high) = block.split_at(8);
            let low = low.first_chunk().and_then(find_quote_in_word);
            let high = || high.first_chunk().and_then(find_quote_in_word).map(|at| at + 8);
            return low.or_else(high).map(|at| position * 16 + at);
        }
    }
    let position = rest.iter().position(|byte| *byte == b'"')?;
    Some(blocks.len() * 16 + position)
}

/// The first quote, which is expected to be among the first few dozen bytes.
#[inline(always)]
pub fn find_near_quote(bytes: &[u8]) -> Option<usize> {
    let (words, rest) = bytes.as_chunks();
    for (position, word) in words.iter().enumerate() {
        if let Some(found) = find_quote_in_word(word) {
            return Some(position * 8 + found);
        }
    }
    let position = rest.iter().position(|byte| *byte == b'"')?;
    Some(words.len() * 8 + position)
}

#[inline(always)]
fn find_quote_in_word(word: &[u8; 8]) -> Option<usize> {
    let found = less_than(u64::from_le_bytes(*word) ^ (ONES * 0x22), 1);
    (found != 0).then(|| found.trailing_zeros() as usize / 8)
}

/// Whether a block has a quote. It looks at every byte, so that the compiler makes it one
/// comparison of vectors.
#[inline]
fn has_quote(block: &[u8; 16]) -> bool {
    block.iter().fold(false, |found, byte| found | (*byte == b'"'))
}

/// Like [`has_quote`], for the bytes that cannot stand for themselves in a string.
#[inline]
fn has_special(block: &[u8; 32]) -> bool {
    block.iter().fold(false, |found, byte| found | is_special(*byte))
}

/// A text as bytes. What moves in it takes a position and returns the next, or
/// `None` where the text is malformed.
#[derive(Clone, Copy)]
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn walk(self, mut field: impl FnMut(Range<usize>, Range<usize>)) -> Option<()> {
        let mut at = self.open(self.skip_space(0), b'{')?;
        if self.get(at) == Some(b'}') {
            at += 1;
        } else {
            loop {
                let key = at..self.skip_string(at)?;
                at = self.open(self.skip_space(key.end), b':')?;
                let value = at..self.skip_value(at)?;
                at = self.skip_space(value.end);
                field(key, value);
                if self.get(at) == Some(b'}') {
                    at += 1;
                    break;
                }
                at = self.open(at, b',')?;
            }
        }
        (self.skip_space(at) == self.0.len()).then_some(())
    }

    fn walk_array(self, mut element: impl FnMut(Range<usize>)) -> Option<()> {
        let mut at = self.open(0, b'[')?;
        while self.get(at) != Some(b']') {
            let value = at..self.skip_value(at)?;
            at = self.skip_space(value.end);
            element(value);
            if self.get(at) != Some(b']') {
                at = self.open(at, b',')?;
            }
        }
        Some(())
    }

    fn get(self, at: usize) -> Option<u8> {
        self.0.get(at).copied()
    }

    fn skip_space(self, mut at: usize) -> usize {
        while self.get(at).is_some_and(is_space) {
            at += 1;
        }
        at
    }

    /// Moves past `byte`, which has to be there, and white space.
    fn open(self, at: usize, byte: u8) -> Option<usize> {
        (self.get(at)? == byte).then(|| self.skip_space(at + 1))
    }

    /// Moves past a string. An escape need not name a Unicode character, since the text is passed
    /// on as it is.
    fn skip_string(self, at: usize) -> Option<usize> {
        let mut at = (self.get(at)? == b'"').then_some(at + 1)?;
        loop {
            at += find_special(&self.0[at..])?;
            match self.0[at] {
                b'"' => return Some(at + 1),
                b'\\' => at = self.skip_escape(at + 1)?,
                _ => return None,
            }
        }
    }

    fn skip_escape(self, at: usize) -> Option<usize> {
        match self.get(at)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(at + 1),
            b'u' => {
                let digits = self.0.get(at + 1..at + 5)?;
                digits.iter().all(u8::is_ascii_hexdigit).then_some(at + 5)
            }
            _ => None,
        }
    }

    /// Moves past a value inside the outermost object.
    fn skip_value(self, at: usize) -> Option<usize> {
        match self.get(at)? {
            b'"' => self.skip_string(at),
            b'{' | b'[' => self.skip_nested(at),
            _ => self.skip_scalar(at),
        }
    }

    /// Moves past a number or a literal name.
    fn skip_scalar(self, at: usize) -> Option<usize> {
        let name = match self.get(at)? {
            b't' => "true",
            b'f' => "false",
            b'n' => "null",
            _ => return self.skip_number(at),
        };
        self.0[at..].starts_with(name.as_bytes()).then_some(at + name.len())
    }

    fn skip_number(self, mut at: usize) -> Option<usize> {
        if self.get(at) == Some(b'-') {
            at += 1;
        }
        at = match self.get(at)? {
            b'0' => at + 1,
            _ => self.skip_digits(at)?,
        };
        if self.get(at) == Some(b'.') {
            at = self.skip_digits(at + 1)?;
        }
        if matches!(self.get(at), Some(b'e' | b'E')) {
            at += 1;
            if matches!(self.get(at), Some(b'+' | b'-')) {
                at += 1;
            }
            at = self.skip_digits(at)?;
        }
        Some(at)
    }

    /// Moves past one digit or more.
    fn skip_digits(self, start: usize) -> Option<usize> {
        let rest = self.0.get(start..)?;
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        (count > 0).then_some(start + count)
    }

    /// Moves past an object or array, without recursion: one bit for each level
    /// says whether it is an object.
    fn skip_nested(self, mut at: usize) -> Option<usize> {
        let mut objects: u64 = 0;
        let mut depth = 1;
        loop {
            // A value begins here.
            match self.get(at)? {
                opening @ (b'{' | b'[') => {
                    depth += 1;
                    if depth > MAX_DEPTH {
                        return None;
                    }
                    objects = objects << 1 | u64::from(opening == b'{');
                    at = self.skip_space(at + 1);
                    if self.get(at) != Some(closing(objects)) {
                        at = self.skip_key(at, objects)?;
                        continue;
                    }
                }
                b'"' => at = self.skip_string(at)?,
                _ => at = self.skip_scalar(at)?,
            }
            // A value has ended, or its level does, being empty.
            loop {
                at = self.skip_space(at);
                match self.get(at)? {
                    b',' => {
                        at = self.skip_key(self.skip_space(at + 1), objects)?;
                        break;
                    }
                    byte if byte == closing(objects) => at += 1,
                    _ => return None,
                }
                objects >>= 1;
                depth -= 1;
                if depth == 1 {
                    return Some(at);
                }
            }
        }
    }

    /// Moves past a key and its colon if the innermost level is an object.
    fn skip_key(self, at: usize, objects: u64) -> Option<usize> {
        if objects & 1 == 0 {
            return Some(at);
        }
        self.open(self.skip_space(self.skip_string(at)?), b':')
    }
}

/// The byte that closes the innermost level.
fn closing(objects: u64) -> u8 {
    if objects & 1 == 1 { b'}' } else { b']' }
}

#[cfg(test)]
mod tests;
