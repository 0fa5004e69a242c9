//! A message's number inside its text, to find out whether each arrived once
//! and in order, whatever a server wraps around it.

use memchr::memchr_iter;

/// Bytes of a number: the mark and eight digits.
pub const LENGTH: usize = 9;
const MARK: u8 = b'#';
const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// A text of `size` bytes, at least [`LENGTH`], that begins with a number's
/// place.
pub fn text(size: usize) -> String {
    let mut text = String::from_utf8_lossy(&encode(0)).into_owned();
    // Compressible by nobody: there is no compression.
    text.extend(std::iter::repeat_n('x', size.saturating_sub(LENGTH)));
    text
}

/// A number as it is written; it begins again after 2^32.
#[inline]
pub fn encode(number: u32) -> [u8; LENGTH] {
    let mut bytes = [MARK; LENGTH];
    for (index, slot) in bytes[1..].iter_mut().enumerate() {
        *slot = DIGITS[(number >> (28 - 4 * index) & 0xF) as usize];
    }
    bytes
}

/// Finds numbers in messages. Where one was found the next one is looked for
/// first.
#[derive(Debug, Default)]
pub struct Finder {
    at: usize,
}

impl Finder {
    /// The number in a message; `None` if it holds none.
    #[inline]
    pub fn find(&mut self, payload: &[u8]) -> Option<u32> {
        decode(payload, self.at).or_else(|| {
            let (at, number) = memchr_iter(MARK, payload)
                .find_map(|at| decode(payload, at).map(|number| (at, number)))?;
            self.at = at;
            Some(number)
        })
    }
}

#[inline]
fn decode(payload: &[u8], at: usize) -> Option<u32> {
    let [MARK, digits @ ..] = payload.get(at..at + LENGTH)? else { return None };
    digits.iter().try_fold(0, |number: u32, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u32::from(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_found_wherever_it_is() {
        let mut finder = Finder::default();
        for (prefix, number) in [("", 0), ("a#b", 1), ("a#b", 0xdead_beef), ("##", u32::MAX)] {
            let number_text = String::from_utf8(encode(number).to_vec()).unwrap();
            let payload = format!("{prefix}{number_text}xx");
            assert_eq!(finder.find(payload.as_bytes()), Some(number), "{payload}");
        }
        for payload in ["", "#", "#0000000", "#0000000g", "pong"] {
            assert_eq!(finder.find(payload.as_bytes()), None, "{payload}");
        }
    }

    #[test]
    fn a_text_has_the_size_that_was_asked_for() {
        for size in [LENGTH, 64, 5_000] {
            assert_eq!(text(size).len(), size);
            assert_eq!(Finder::default().find(text(size).as_bytes()), Some(0));
        }
    }
}
