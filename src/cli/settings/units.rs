//! Reads single values: numbers, sizes, times, switches, as people write them. Flags, environment
//! variables and the configuration file accept the same forms. A refusal says what was expected and
//! what was found.

use std::time::Duration;

use super::similar::did_you_mean;
use super::values::Raw;

/// The longest time that can be set, in seconds: 30 days. More is a mistake in the unit.
const MOST_SECONDS: f64 = 30.0 * 86_400.0;
/// The longest span in seconds: ten years.
const MOST_SPAN: f64 = 3_650.0 * 86_400.0;

/// The units of sizes. One `k` is 1024 bytes, however it is written.
const SIZES: [(&str, usize); 11] = [
    ("", 1),
    ("b", 1),
    ("k", 1 << 10),
    ("kb", 1 << 10),
    ("kib", 1 << 10),
    ("m", 1 << 20),
    ("mb", 1 << 20),
    ("mib", 1 << 20),
    ("g", 1 << 30),
    ("gb", 1 << 30),
    ("gib", 1 << 30),
];

/// The units of times in seconds.
const TIMES: [(&str, f64); 7] = [
    ("ms", 0.001),
    ("s", 1.0),
    ("sec", 1.0),
    ("m", 60.0),
    ("min", 60.0),
    ("h", 3_600.0),
    ("d", 86_400.0),
];

fn expected<T>(what: &str, raw: &Raw) -> Result<T, String> {
    Err(format!("expected {what}, found {raw}"))
}

/// Reads a whole number.
pub fn count(raw: &Raw) -> Result<usize, String> {
    let number = match raw {
        Raw::Word(text) | Raw::Text(text) => digits(text),
        Raw::Whole(number) => usize::try_from(*number).ok(),
        _ => None,
    };
    number.map_or_else(|| expected("a whole number such as 5000", raw), Ok)
}

/// Reads a number of things in each second.
pub fn rate(raw: &Raw) -> Result<u32, String> {
    u32::try_from(count(raw)?).or_else(|_| expected("less than 4294967296 a second", raw))
}

/// Reads a size in bytes: `65536`, `64k`, `64kb`, `16MB`, `1GiB`.
pub fn size(raw: &Raw) -> Result<usize, String> {
    let number = match raw {
        Raw::Word(text) | Raw::Text(text) => {
            let (number, unit) = split_unit(text);
            let unit = unit.to_ascii_lowercase();
            let factor = SIZES.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
            factor.and_then(|factor| digits(number)?.checked_mul(factor))
        }
        Raw::Whole(number) => usize::try_from(*number).ok(),
        _ => None,
    };
    number.map_or_else(|| expected("a size in bytes such as 65536, 64kb, 16mb or 1gb", raw), Ok)
}

/// Splits a text into what stands before its unit, and the unit.
fn split_unit(text: &str) -> (&str, &str) {
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = &text[number.len()..];
    // There may be a space before the unit, but not in place of it.
    (if unit.is_empty() { number } else { number.trim_end_matches(' ') }, unit)
}

/// Reads a number that has only digits, and underscores between them; `parse` would also accept
/// `+5`.
fn digits(text: &str) -> Option<usize> {
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|it| it.is_ascii_digit());
    text.split('_').all(is_digits).then(|| text.replace('_', "").parse().ok())?
}

/// Reads a number of digits with at most one point; `parse` would also accept `inf` and `1e3`,
/// which are mistakes here.
fn decimal(text: &str) -> Option<f64> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    is_plain.then(|| text.parse().ok())?
}

/// Reads a time in seconds, or with units: `25`, `0.5`, `500ms`, `60s`, `5m`, `1h30m`.
pub fn seconds(raw: &Raw) -> Result<Duration, String> {
    let number = match raw {
        Raw::Word(text) | Raw::Text(text) => decimal(text).or_else(|| with_units(text)),
        Raw::Whole(number) => Some(*number as f64),
        Raw::Real(number) => Some(*number),
        _ => None,
    };
    match number {
        // This also refuses NaN.
        Some(number) if (0.0..=MOST_SECONDS).contains(&number) => {
            Ok(Duration::from_secs_f64(number))
        }
        _ => expected(
            "seconds such as 25 or 0.5, or a unit as in 500ms, 60s, 5m, 2h or 7d; at most 30 days",
            raw,
        ),
    }
}

/// Reads a time with its unit: `90s`, `30m`, `2h`, `7d`. A number alone has no meaning, because its
/// unit would have to be guessed.
pub fn span(text: &str) -> Result<Duration, String> {
    match with_units(text).filter(|seconds| (1.0..=MOST_SPAN).contains(seconds)) {
        Some(seconds) => Ok(Duration::from_secs_f64(seconds)),
        None => Err(format!("expected a time such as 90s, 30m, 2h or 7d, found {text:?}")),
    }
}

/// Reads numbers with units, the larger units first: `90s`, `1h30m`, `1.5h`, `5 min`. Returns the
/// sum in seconds.
fn with_units(text: &str) -> Option<f64> {
    let (mut rest, mut sum, mut smallest) = (text, 0.0, f64::INFINITY);
    while !rest.is_empty() || sum == 0.0 && smallest.is_infinite() {
        let length = rest.find(|c: char| c.is_ascii_alphabetic())?;
        let number = decimal(rest[..length].trim_matches(' '))?;
        let word = &rest[length..];
        let end = word.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(word.len());
        let (_, unit) = TIMES.iter().find(|(name, _)| *name == &word[..end])?;
        if *unit >= smallest {
            return None;
        }
        (sum, smallest, rest) = (sum + number * unit, *unit, &word[end..]);
    }
    Some(sum)
}

/// Reads a text that is not empty, such as the path of a file.
pub fn text(raw: &Raw) -> Result<String, String> {
    match raw {
        Raw::Word(text) | Raw::Text(text) if !text.is_empty() => Ok(text.clone()),
        // The message does not repeat the value, which may be a secret.
        _ => Err("expected text".to_owned()),
    }
}

/// Reads `on` or `off`, which may also be written as `true` or `false`, and `yes` or `no`.
pub fn switch(raw: &Raw) -> Result<bool, String> {
    let word = match raw {
        Raw::Truth(truth) => return Ok(*truth),
        Raw::Word(text) | Raw::Text(text) => text.to_ascii_lowercase(),
        _ => return expected("on or off", raw),
    };
    match word.as_str() {
        "on" | "true" | "yes" => Ok(true),
        "off" | "false" | "no" => Ok(false),
        _ => expected("on or off", raw),
    }
}

/// Reads one of a few words.
pub fn choice<T: Copy>(raw: &Raw, choices: &[(&str, T)]) -> Result<T, String> {
    let words = || choices.iter().map(|(word, _)| *word);
    let listed = words().collect::<Vec<_>>().join(", ");
    let (Raw::Word(text) | Raw::Text(text)) = raw else { return expected(&listed, raw) };
    match choices.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)) {
        Some((_, chosen)) => Ok(*chosen),
        None => Err(format!("expected {listed}, found {raw}{}", did_you_mean(text, words()))),
    }
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

    fn text(text: &str) -> Raw {
        Raw::Text(text.to_owned())
    }

    #[test]
    fn sizes_are_read_with_units() {
        for (written, bytes) in [
            ("0", 0),
            ("65536", 65_536),
            ("65_536", 65_536),
            ("64k", 65_536),
            ("64kb", 65_536),
            ("64KB", 65_536),
            ("64KiB", 65_536),
            ("64 kb", 65_536),
            ("512b", 512),
            ("16M", 16 << 20),
            ("16mb", 16 << 20),
            ("16MiB", 16 << 20),
            ("1g", 1 << 30),
            ("1GB", 1 << 30),
        ] {
            assert_eq!(size(&word(written)), Ok(bytes), "{written}");
            assert_eq!(size(&text(written)), Ok(bytes), "{written}");
        }
        assert_eq!(size(&Raw::Whole(7)), Ok(7));
        for written in [
            "",
            "k",
            "-1",
            "+1",
            "1.5k",
            "1kk",
            "1t",
            "1 ",
            "1k ",
            "_1",
            "1__0",
            "64bk",
            "99999999999999999999",
            "99999999999g",
        ] {
            assert!(size(&word(written)).is_err(), "{written}");
        }
        for raw in [Raw::Whole(-1), Raw::Real(1.0), Raw::Truth(true), Raw::List(Vec::new())] {
            assert!(size(&raw).is_err(), "{raw:?}");
        }
    }

    #[test]
    fn times_are_read_as_seconds_or_with_units_within_bounds() {
        for (written, millis) in [
            ("0", 0),
            ("0.5", 500),
            ("25", 25_000),
            ("60s", 60_000),
            ("60 s", 60_000),
            ("60sec", 60_000),
            ("0s", 0),
            ("500ms", 500),
            ("0.5s", 500),
            ("5m", 300_000),
            ("5min", 300_000),
            ("2h", 7_200_000),
            ("1h30m", 5_400_000),
            ("1m 30s", 90_000),
            ("7d", 604_800_000),
        ] {
            let time = Ok(Duration::from_millis(millis));
            assert_eq!(seconds(&word(written)), time, "{written}");
            assert_eq!(seconds(&text(written)), time, "{written}");
        }
        assert_eq!(seconds(&Raw::Whole(0)), Ok(Duration::ZERO));
        assert_eq!(seconds(&Raw::Real(1.25)), Ok(Duration::from_millis(1_250)));
        for written in [
            "", ".", "-1", "nan", "inf", "1e3", "1.2.3", "2592001", "31d", "s", "5M", "5x", "5s5",
            "1m1h", "1s1s", "5 s ", "-5s", "soon",
        ] {
            assert!(seconds(&word(written)).is_err(), "{written}");
        }
        for raw in [Raw::Real(f64::NAN), Raw::Real(f64::INFINITY), Raw::Real(-0.1), Raw::Whole(-1)]
        {
            assert!(seconds(&raw).is_err(), "{raw:?}");
        }
    }

    #[test]
    fn a_number_means_the_same_in_a_flag_and_as_a_text_of_the_file() {
        for raw in [word("25"), text("25"), Raw::Whole(25)] {
            assert_eq!((count(&raw), rate(&raw), size(&raw)), (Ok(25), Ok(25), Ok(25)));
            assert_eq!(seconds(&raw), Ok(Duration::from_secs(25)));
        }
        assert_eq!(count(&word("50_000")), Ok(50_000));
        for wrong in ["10k", "1e3", "+5", "1,000", " 5", ""] {
            assert!(count(&word(wrong)).is_err() && count(&text(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn spans_of_time_are_read_with_a_unit() {
        for (text, seconds) in
            [("90s", 90), ("30m", 1_800), ("2h", 7_200), ("7d", 604_800), ("1h30m", 5_400)]
        {
            assert_eq!(span(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "h", "2", "0s", "-1h", "2H", "3651d", "99999999999999999d"] {
            assert!(span(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_misspelt_word_is_refused_with_the_words_that_are_accepted_and_the_nearest_one() {
        let words = [("error", 1), ("warn", 2), ("info", 3)];
        for raw in [word("warn"), text("WARN"), word("Warn")] {
            assert_eq!(choice(&raw, &words), Ok(2));
        }
        let refused = |raw: Raw| choice(&raw, &words).unwrap_err();
        assert_eq!(
            refused(text("wran")),
            "expected error, warn, info, found \"wran\", did you mean \"warn\"?"
        );
        assert_eq!(refused(word("loud")), "expected error, warn, info, found \"loud\"");
        assert_eq!(refused(Raw::Whole(1)), "expected error, warn, info, found 1");
    }

    #[test]
    fn a_switch_is_read_in_the_usual_words() {
        for (on, off) in [("on", "off"), ("true", "false"), ("Yes", "NO")] {
            assert_eq!((switch(&word(on)), switch(&text(off))), (Ok(true), Ok(false)));
        }
        for raw in [word("1"), word(""), text("maybe"), Raw::Whole(1)] {
            assert!(switch(&raw).unwrap_err().contains("expected on or off"), "{raw:?}");
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
