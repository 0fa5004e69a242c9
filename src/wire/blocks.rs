//! Searches texts in blocks of bytes. The compiler compares each block with vector instructions.

/// How many bytes a block has.
pub const BLOCK: usize = 16;

/// Returns whether `is` is true of any byte of a text; `None` for a text that is shorter than a
/// block.
///
/// `is` must use `|` and `&`, which compute both sides, and not `||` and `&&`. Otherwise the
/// compiler makes a loop over single bytes of it.
#[inline(always)]
pub fn any(text: &[u8], is: impl Fn(u8) -> bool + Copy) -> Option<bool> {
    // The last block overlaps the one before it, and may be the only one.
    let last = text.last_chunk()?;
    let (before, _) = text[..text.len() - 1].as_chunks();
    for block in before {
        if has(block, is) {
            return Some(true);
        }
    }
    Some(has(last, is))
}

/// Returns whether `is` is true of any byte of a block. It examines every byte.
#[inline(always)]
fn has(block: &[u8; BLOCK], is: impl Fn(u8) -> bool) -> bool {
    block.iter().fold(false, |found, byte| found | is(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_of_a_text_of_at_least_one_block_is_examined() {
        for length in 0..70 {
            let has_x = |text: &[u8]| any(text, |byte| byte == b'x');
            let text = vec![b'a'; length];
            assert_eq!(has_x(&text), (length >= BLOCK).then_some(false));
            for at in 0..length {
                let mut text = text.clone();
                text[at] = b'x';
                assert_eq!(has_x(&text), (length >= BLOCK).then_some(true), "{at} of {length}");
            }
        }
    }
}
