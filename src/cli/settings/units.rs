//! Reads single values: numbers, sizes, times, switches. A refusal says what was expected and what
//! was found.

use std::time::Duration;

use super::values::Raw;

/// The longest time that can be set, in seconds: 30 days. More is a mistake in the unit.
const MOST_SECONDS: f64 = 30.0 * 86_400.0;
/// The longest span in seconds: ten years.
const MOST_SPAN: usize = 3_650 * 86_400;

fn expected<T>(what: &str, raw: &Raw) -> Result<T, String> {
    Err(format!("expected {what}, found {raw}"))
}

/// Reads a whole number.
pub fn count(raw: &Raw) -> Result<usize, String> {
    let number = match raw {
        Raw::Word(text) => digits(text),
        Raw::Whole(number) => usize::try_from(*number).ok(),
        _ => None,
    };
    number.map_or_else(|| expected("a whole number", raw), Ok)
}

/// Reads a number of things in each second.
pub fn rate(raw: &Raw) -> Result<u32, String> {
    u32::try_from(count(raw)?).or_else(|_| expected("less than 4294967296 a second", raw))
}

/// Reads a size in bytes: `65536`, `64k`, `16m`, `1g`.
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

/// Reads a number that has only digits; `parse` would also accept `+5`.
fn digits(text: &str) -> Option<usize> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Reads a time in seconds.
pub fn seconds(raw: &Raw) -> Result<Duration, String> {
    let number = match raw {
        // `parse` would also accept `inf` and `1e3`, which are mistakes here.
        Raw::Word(text) if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') => {
            text.parse().ok()
        }
        Raw::Whole(number) => Some(*number as f64),
        Raw::Real(number) => Some(*number),
        _ => None,
    };
    match number {
        // This also refuses NaN.
        Some(number) if (0.0..=MOST_SECONDS).contains(&number) => {
            Ok(Duration::from_secs_f64(number))
        }
        _ => expected("seconds, 0 to 2592000 (30 days), such as 25 or 0.5", raw),
    }
}

/// Reads a time with its unit: `90s`, `30m`, `2h`, `7d`.
pub fn span(text: &str) -> Result<Duration, String> {
    let seconds = match text.char_indices().last() {
        Some((at, 's')) => Some((&text[..at], 1)),
        Some((at, 'm')) => Some((&text[..at], 60)),
        Some((at, 'h')) => Some((&text[..at], 3_600)),
        Some((at, 'd')) => Some((&text[..at], 86_400)),
        _ => None,
    };
    let seconds = seconds.and_then(|(number, unit)| digits(number)?.checked_mul(unit));
    match seconds.filter(|seconds| (1..=MOST_SPAN).contains(seconds)) {
        Some(seconds) => Ok(Duration::from_secs(seconds as u64)),
        None => Err(format!("expected a time such as 90s, 30m, 2h or 7d, found {text:?}")),
    }
}

/// Reads a text that is not empty, such as the path of a file.
pub fn text(raw: &Raw) -> Result<String, String> {
    match raw {
        Raw::Word(text) | Raw::Text(text) if !text.is_empty() => Ok(text.clone()),
        // The message does not repeat the value, which may be a secret.
        _ => Err("expected text".to_owned()),
    }
}

/// Reads `on` or `off`; in the file also `true` and `false`.
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

/// Reads one of a few words.
pub fn choice<T: Copy>(raw: &Raw, choices: &[(&str, T)]) -> Result<T, String> {
    if let Raw::Word(text) | Raw::Text(text) = raw
        && let Some((_, chosen)) = choices.iter().find(|(word, _)| word == text)
    {
        return Ok(*chosen);
    }
    let words = choices.iter().map(|(word, _)| *word).collect::<Vec<_>>();
    expected(&words.join(", "), raw)
}

/// Reads a list: an array of strings, or a text with commas.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str) -> Raw {
        Raw::Word(text.to_owned())
    }

    #[test]
    fn sizes_are_read_with_units() {
        for (text, bytes) in
            [("0", 0), ("65536", 65_536), ("64k", 65_536), ("16M", 16 << 20), ("1g", 1 << 30)]
        {
            assert_eq!(size(&word(text)), Ok(bytes), "{text}");
            assert_eq!(size(&Raw::Text(text.to_owned())), Ok(bytes), "{text}");
        }
        assert_eq!(size(&Raw::Whole(7)), Ok(7));
        for text in
            ["", "k", "-1", "+1", "1.5k", "1kk", "1t", "99999999999999999999", "99999999999g"]
        {
            assert!(size(&word(text)).is_err(), "{text}");
        }
        for raw in [Raw::Whole(-1), Raw::Real(1.0), Raw::Truth(true), Raw::List(Vec::new())] {
            assert!(size(&raw).is_err(), "{raw:?}");
        }
    }

    #[test]
    fn times_are_read_as_seconds_within_bounds() {
        assert_eq!(seconds(&word("0.5")), Ok(Duration::from_millis(500)));
        assert_eq!(seconds(&word("25")), Ok(Duration::from_secs(25)));
        assert_eq!(seconds(&Raw::Whole(0)), Ok(Duration::ZERO));
        assert_eq!(seconds(&Raw::Real(1.25)), Ok(Duration::from_millis(1_250)));
        for text in ["", ".", "-1", "nan", "inf", "1e3", "25s", "1.2.3", "2592001"] {
            assert!(seconds(&word(text)).is_err(), "{text}");
        }
        for raw in [Raw::Real(f64::NAN), Raw::Real(f64::INFINITY), Raw::Real(-0.1), Raw::Whole(-1)]
        {
            assert!(seconds(&raw).is_err(), "{raw:?}");
        }
        // A text in place of a number is accepted only from a flag or a variable.
        assert!(seconds(&Raw::Text("25".to_owned())).is_err());
        assert!(count(&Raw::Text("25".to_owned())).is_err());
    }

    #[test]
    fn spans_of_time_are_read_with_a_unit() {
        for (text, seconds) in [("90s", 90), ("30m", 1_800), ("2h", 7_200), ("7d", 604_800)] {
            assert_eq!(span(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "h", "2", "0s", "-1h", "1.5h", "2 h", "2H", "3651d", "99999999999999999d"]
        {
            assert!(span(text).is_err(), "{text}");
        }
    }

    #[test]
    fn lists_are_read_from_arrays_and_from_text_with_commas() {
        let texts =
            |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect::<Vec<_>>();
        assert_eq!(list(&word("a, b")), Ok(texts(&["a", "b"])));
        assert_eq!(list(&Raw::List(vec![word("a,b"), word("c")])), Ok(texts(&["a", "b", "c"])));
        assert_eq!(list(&Raw::Text("unix:a,b".to_owned())), Ok(texts(&["unix:a,b"])));
        assert_eq!(list(&Raw::List(Vec::new())), Ok(Vec::new()));
        assert!(list(&word("a,,b")).is_err());
        assert!(list(&word("")).is_err());
        assert!(list(&Raw::List(vec![Raw::Whole(1)])).is_err());
    }
}
