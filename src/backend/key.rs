//! The backend's key: what it shows in `Authorization: Bearer KEY` (RFC 6750, section 2.1).

use std::fmt;

use subtle::ConstantTimeEq;

/// A key that was checked to be one.
#[derive(Clone)]
pub struct ApiKey(Box<[u8]>);

/// Why a text cannot be a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyError {
    /// It has fewer than [`ApiKey::LEAST`] bytes, or more than [`ApiKey::MOST`].
    Length,
    /// It has other characters than a header field can carry in one word: letters,
    /// digits and ASCII punctuation.
    Character,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyError::Length => write!(f, "a key has {} to {} bytes", ApiKey::LEAST, ApiKey::MOST),
            KeyError::Character => f.write_str("a key is one word of ASCII"),
        }
    }
}

impl std::error::Error for KeyError {}

impl ApiKey {
    /// The fewest bytes a key has: 32, as `openssl rand -hex 16` gives.
    pub const LEAST: usize = 32;
    /// The most bytes a key has.
    pub const MOST: usize = 1_024;

    /// Takes a key, without white space around it, such as a line's end.
    ///
    /// # Errors
    /// When it is too short to be a secret, or could not be sent.
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

    /// Whether `shown` is this key. How long that takes tells its length at most.
    pub(super) fn is(&self, shown: &str) -> bool {
        self.0.ct_eq(shown.as_bytes()).into()
    }
}

impl fmt::Debug for ApiKey {
    /// Never the key itself.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_long_word() {
        let word = "0123456789abcdef0123456789ABCDEF";
        let key = ApiKey::new(&format!("{word}\n")).unwrap();
        assert!(key.is(word));
        for other in ["", "0", &word[1..], &word.to_lowercase(), &format!("{word}0")] {
            assert!(!key.is(other), "{other}");
        }
        assert_eq!(ApiKey::new("short").unwrap_err(), KeyError::Length);
        assert_eq!(ApiKey::new(&"x".repeat(1_025)).unwrap_err(), KeyError::Length);
        assert_eq!(ApiKey::new(&format!("{word} {word}")).unwrap_err(), KeyError::Character);
        assert_eq!(ApiKey::new(&format!("{word}é")).unwrap_err(), KeyError::Character);
        assert!(!format!("{key:?}").contains("0123"), "it is never printed");
    }
}
