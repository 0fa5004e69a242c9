//! The backend's key, which it shows in `Authorization: Bearer KEY` (RFC 6750, section 2.1).

use std::fmt;

use subtle::ConstantTimeEq;

/// A key that has a valid form.
#[derive(Clone)]
pub struct ApiKey(Box<[u8]>);

/// Why a text cannot be a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyError {
    /// The key has fewer than [`ApiKey::LEAST`] bytes, or more than [`ApiKey::MOST`].
    Length,
    /// The key has characters that a word in a header field cannot have. Allowed are letters,
    /// digits and ASCII punctuation.
    Character,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyError::Length => write!(f, "a key has {} to {} bytes", ApiKey::LEAST, ApiKey::MOST),
            KeyError::Character => f.write_str("a key is one word of ASCII characters"),
        }
    }
}

impl std::error::Error for KeyError {}

impl ApiKey {
    /// The smallest number of bytes of a key: 32, as `openssl rand -hex 16` makes.
    pub const LEAST: usize = 32;
    /// The largest number of bytes of a key.
    pub const MOST: usize = 1_024;

    /// Reads a key. White space around it, such as a line break at its end, is ignored.
    ///
    /// # Errors
    /// If the key is too short or too long, or cannot be sent in a header field.
    pub fn new(text: &str) -> Result<Self, KeyError> {
        let key = text.trim_ascii().as_bytes();
        if !(Self::LEAST..=Self::MOST).contains(&key.len()) {
            return Err(KeyError::Length);
        }
        if !key.iter().all(u8::is_ascii_graphic) {
            return Err(KeyError::Character);
        }
        Ok(ApiKey(key.into()))
    }

    /// Whether `shown` is this key. The time that this takes depends on the length at most, not on
    /// the contents.
    pub(super) fn is(&self, shown: &[u8]) -> bool {
        // Words of eight bytes are an eighth of the comparisons. None of them is left out when one
        // differs.
        let ((words, rest), (shown_words, shown_rest)) = (self.0.as_chunks(), shown.as_chunks());
        let word = |bytes: &[u8; 8]| u64::from_ne_bytes(*bytes);
        let same =
            words.iter().zip(shown_words).fold(rest.ct_eq(shown_rest), |same, (one, other)| {
                same & word(one).ct_eq(&word(other))
            });
        (same & self.0.len().ct_eq(&shown.len())).into()
    }
}

impl fmt::Debug for ApiKey {
    /// Does not print the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_the_api_is_one_long_word() {
        let word = "0123456789abcdef0123456789ABCDEF";
        let key = ApiKey::new(&format!("{word}\n")).unwrap();
        assert!(key.is(word.as_bytes()));
        for at in 0..word.len() {
            let other = format!("{}x{}", &word[..at], &word[at + 1..]);
            assert!(!key.is(other.as_bytes()), "{other}");
        }
        let odd = ApiKey::new(&format!("{word}-tail")).unwrap();
        assert!(odd.is(format!("{word}-tail").as_bytes()));
        for other in [format!("{word}-tai"), format!("{word}-taiL"), format!("{word}-tail-")] {
            assert!(!odd.is(other.as_bytes()), "{other}");
        }
        for other in ["", "0", &word[1..], &word.to_lowercase(), &format!("{word}0")] {
            assert!(!key.is(other.as_bytes()), "{other}");
        }
        assert_eq!(ApiKey::new("short").unwrap_err(), KeyError::Length);
        assert_eq!(ApiKey::new(&"x".repeat(1_025)).unwrap_err(), KeyError::Length);
        assert_eq!(ApiKey::new(&format!("{word} {word}")).unwrap_err(), KeyError::Character);
        assert_eq!(ApiKey::new(&format!("{word}é")).unwrap_err(), KeyError::Character);
        assert!(!format!("{key:?}").contains("0123"), "it is never printed");
    }
}
