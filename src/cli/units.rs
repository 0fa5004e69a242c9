//! Reading single values: numbers, sizes, times, switches. Each refuses with
//! what it expected and what it found.

use std::fmt;
use std::time::Duration;

use super::values::Raw;

/// The longest time that can be set: 30 days. More is a mistake in the unit.
const MOST_SECONDS: f64 = 30.0 * 86_400.0;

fn expected<T>(what: &str, raw: &Raw) -> Result<T, String> {
    Err(format!("expected {what}, found {raw}"))
}

/// A whole number.
pub fn count(raw: &Raw) -> Result<usize, String> {
    let number = match raw {
        Raw::Word(text) => digits(text),
        Raw::Whole(number) => usize::try_from(*number).ok(),
        _ => None,
    };
    number.map_or_else(|| expected("a whole number", raw), Ok)
}

/// A size in bytes: `65536`, `64k`, `16m`, `1g`.
pub fn size(raw: &Raw) -> Result<usize, String> {
    let number = match raw {
        Raw::Word(text) | Raw::Text(text) => {
            let (number, unit) = match text.char_indices().last() {
                Some((at, 'k' | 'K')) => (&text[..at], 1 << 10),
                Some((at, 'm' | 'M')) => (&text[..at], 1 << 20),
                Some((at, 'g' | 'G')) => (&text[..at], 1 << 30),
                _ => (text.as_str(), 1),
            };
            digits(number).and_then(|number| number.checked_mul(unit))
        }
        Raw::Whole(number) => usize::try_from(*number).ok(),
        _ => None,
    };
    number.map_or_else(|| expected("a size in bytes such as 65536, 64k or 16m", raw), Ok)
}

/// Digits only: `parse` alone takes `+5` too.
fn digits(text: &str) -> Option<usize> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// A time in seconds.
pub fn seconds(raw: &Raw) -> Result<Duration, String> {
    let number = match raw {
        // `parse` alone takes `inf` and `1e3` too, which nobody means.
        Raw::Word(text) if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') => {
            text.parse().ok()
        }
        Raw::Whole(number) => Some(*number as f64),
        Raw::Real(number) => Some(*number),
        _ => None,
    };
    match number {
        // Also refuses what is not a number.
        Some(number) if (0.0..=MOST_SECONDS).contains(&number) => {
            Ok(Duration::from_secs_f64(number))
        }
        _ => expected("seconds, 0 to 2592000 (30 days), such as 25 or 0.5", raw),
    }
}

/// `on` or `off`; in the file also `true` and `false`.
pub fn switch(raw: &Raw) -> Result<bool, String> {
    match raw {
        Raw::Truth(truth) => Ok(*truth),
        Raw::Word(text) | Raw::Text(text) => match text.as_str() {
            "on" | "true" => Ok(true),
            "off" | "false" => Ok(false),
            _ => expected("on or off", raw),
        },
        _ => expected("on or off", raw),
    }
}

/// One of a few words.
pub fn choice<T: Copy>(raw: &Raw, choices: &[(&str, T)]) -> Result<T, String> {
    if let Raw::Word(text) | Raw::Text(text) = raw
        && let Some((_, chosen)) = choices.iter().find(|(word, _)| word == text)
    {
        return Ok(*chosen);
    }
    let words = choices.iter().map(|(word, _)| *word).collect::<Vec<_>>();
    expected(&words.join(", "), raw)
}

/// A list: strings of an array, or text with commas.
pub fn list(raw: &Raw) -> Result<Vec<String>, String> {
    let mut items = Vec::new();
    let parts =
        if let Raw::List(parts) = raw { parts.as_slice() } else { std::slice::from_ref(raw) };
    for part in parts {
        match part {
            Raw::Word(text) => items.extend(text.split(',').map(|item| item.trim().to_owned())),
            Raw::Text(text) => items.push(text.clone()),
            other => return expected("text", other),
        }
    }
    match items.iter().any(String::is_empty) {
        true => Err("an entry is empty".to_owned()),
        false => Ok(items),
    }
}

/// Text on one line: control characters, and those that change the order of
/// what is shown, are escaped.
pub struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| is_unprintable(*c)) {
            write!(f, "{}{}", &rest[..at], c.escape_unicode())?;
            rest = &rest[at + c.len_utf8()..];
        }
        f.write_str(rest)
    }
}

fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
