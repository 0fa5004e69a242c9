//! Shows values to people: sizes with a unit, and untrusted text on one line.

use std::fmt;

/// Shows a size in bytes with two or three digits and a unit.
pub struct Bytes(pub usize);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
        match units.iter().find(|(shift, _)| self.0 >> shift > 0) {
            Some((shift, unit)) => {
                let number = self.0 as f64 / (1_u64 << shift) as f64;
                write!(f, "{number:.*} {unit}", usize::from(number < 10.0))
            }
            None => write!(f, "{} bytes", self.0),
        }
    }
}

/// Shows a text on one line: control characters, and characters that change the direction of the
/// text, are escaped.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_printed_with_units() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (1_023, "1023 bytes"),
            (1_024, "1.0 KiB"),
            (65_536, "64 KiB"),
            (5 << 29, "2.5 GiB"),
        ] {
            assert_eq!(Bytes(bytes).to_string(), text);
        }
    }

    #[test]
    fn control_characters_do_not_break_a_line() {
        let text = "a\nb\u{202e}c\u{2028}d\u{1b}[31m张";
        assert_eq!(Escaped(text).to_string(), r"a\u{a}b\u{202e}c\u{2028}d\u{1b}[31m张");
        assert_eq!(Escaped("").to_string(), "");
    }
}
