//! A message's number inside its text. It shows whether each message arrived once and in order,
//! whatever a server wraps around the message.

use memchr::memchr_iter;

/// The length of a number in bytes: the mark and eight digits.
pub const LENGTH: usize = 9;
const MARK: u8 = b'#';
/// The digits are `@` and `A` to `O`: sixteen adjacent characters, so that eight digits can be
/// written and read at a time.
const ZEROES: u64 = 0x4040_4040_4040_4040;

/// Returns a text of `size` bytes, at least [`LENGTH`], that begins with room for a number.
pub fn text(size: usize) -> String {
    let mut text = String::from_utf8_lossy(&encode(0)).into_owned();
    // The text need not be incompressible, because nothing is compressed.
    text.extend(std::iter::repeat_n('x', size.saturating_sub(LENGTH)));
    text
}

/// Returns the digits of a number. The numbers begin again after 2^32.
#[inline]
pub fn encode(number: u32) -> [u8; LENGTH] {
    // The number is split into halves, quarters and eighths, so that each digit gets its own byte.
    let spread = u64::from(number);
    let spread = (spread | spread << 16) & 0x0000_FFFF_0000_FFFF;
    let spread = (spread | spread << 8) & 0x00FF_00FF_00FF_00FF;
    let spread = (spread | spread << 4) & 0x0F0F_0F0F_0F0F_0F0F;
    let mut bytes = [MARK; LENGTH];
    bytes[1..].copy_from_slice(&(spread | ZEROES).to_be_bytes());
    bytes
}

/// Finds the numbers in messages. It first looks where the last number was found.
#[derive(Debug, Default)]
pub struct Finder {
    at: usize,
}

impl Finder {
    /// Returns the number in a message; `None` if the message contains none.
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
    let [MARK, digits @ ..] = *payload.get(at..at + LENGTH)?.first_chunk::<LENGTH>()? else {
        return None;
    };
    let spread = u64::from_be_bytes(digits);
    if spread & 0xF0F0_F0F0_F0F0_F0F0 != ZEROES {
        return None;
    }
    let packed = spread ^ ZEROES;
    let packed = (packed | packed >> 4) & 0x00FF_00FF_00FF_00FF;
    let packed = (packed | packed >> 8) & 0x0000_FFFF_0000_FFFF;
    Some((packed | packed >> 16) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_a_message_is_found_at_any_place_in_the_frame() {
        let mut finder = Finder::default();
        for (prefix, number) in
            [("", 0), ("a#b", 1), ("a#b", 0xdead_beef), ("##", u32::MAX), ("", 0x0102_0304)]
        {
            let number_text = String::from_utf8(encode(number).to_vec()).unwrap();
            let payload = format!("{prefix}{number_text}xx");
            assert_eq!(finder.find(payload.as_bytes()), Some(number), "{payload}");
        }
        for payload in ["", "#", "#@@@@@@@", "#@@@@@@@P", "#@@@@@@@\u{e9}", "pong"] {
            assert_eq!(finder.find(payload.as_bytes()), None, "{payload}");
        }
    }

    #[test]
    fn the_text_of_a_message_has_the_requested_size() {
        for size in [LENGTH, 64, 5_000] {
            assert_eq!(text(size).len(), size);
            assert_eq!(Finder::default().find(text(size).as_bytes()), Some(0));
        }
    }
}
