//! The hash of the content of a send. A send that comes again is recognised by it, also by a later run
//! and a later version of the server that reads what this one has stored. So it must never change.

use super::command::{Recipients, Send};

/// Odd numbers without a pattern: the digits of pi.
const FACTORS: [u64; 2] = [0x2437_8885_A308_D313, 0x1319_8A2E_0370_7345];

/// Folds the product of two numbers to half of its length.
#[inline]
fn fold(one: u64, two: u64) -> u64 {
    let product = u128::from(one) * u128::from(two);
    product as u64 ^ (product >> 64) as u64
}

/// Adds bytes, and their number, to a hash.
#[inline]
fn add(hash: u64, bytes: &[u8]) -> u64 {
    let mut hash = fold(hash ^ bytes.len() as u64, FACTORS[1]);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        hash = fold(hash ^ u64::from_le_bytes(*word), FACTORS[0]);
    }
    if !rest.is_empty() {
        let mut word = [0; 8];
        word[..rest.len()].copy_from_slice(rest);
        hash = fold(hash ^ u64::from_le_bytes(word), FACTORS[0]);
    }
    hash
}

/// A hash of the recipients and the message of a send. It has 32 bits: they are enough to notice that a `cid` was
/// used for something else, and every row of a store has them.
#[inline]
pub fn content_of(send: &Send<'_>) -> u64 {
    let kind = |kind: u64| FACTORS[0] ^ kind;
    let to = match &send.to {
        Recipients::One(user) => add(kind(0), user.as_bytes()),
        Recipients::Many(users) => {
            users.iter().fold(kind(1), |hash, user| add(hash, user.as_bytes()))
        }
        Recipients::Group(group) => add(kind(2), group.as_bytes()),
        Recipients::All => kind(3),
    };
    let hash = add(to, send.message.as_bytes());
    (hash ^ hash >> 32) & u64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::command::{self, Command};
    use super::*;

    fn content(to: &str, message: &str) -> u64 {
        let frame = format!(r#"{{"type":"send","cid":"c",{to},"message":{message}}}"#);
        match command::read(&frame) {
            Ok(Command::Send(send)) => content_of(&send),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_hash_of_a_content_is_the_same_in_every_version() {
        let known = [
            (r#""toUserId":"bob""#, "\"hi\"", 0xaace_d4d6),
            (r#""toUserId":"张三""#, r#"{"text":"eight..."}"#, 0x213d_854b),
            (r#""toUserIds":["bob","eve"]"#, "[1,2,3]", 0xcaf1_3728),
            (r#""group":"room""#, "null", 0xa148_6204),
            (r#""all":true"#, "12345678", 0x2e87_ca55),
        ];
        let made = known.map(|(to, message, _)| content(to, message));
        assert_eq!(made, known.map(|(.., hash)| hash), "{made:#x?}");
    }

    #[test]
    fn contents_that_differ_in_a_recipient_a_byte_or_a_border_have_different_hashes() {
        let mut all = vec![
            content(r#""toUserId":"bob""#, "1"),
            content(r#""toUserIds":["bob"]"#, "1"),
            content(r#""group":"bob""#, "1"),
            content(r#""toUserIds":["bo","b"]"#, "1"),
            content(r#""toUserIds":["b","ob"]"#, "1"),
            content(r#""toUserIds":["b","o","b"]"#, "1"),
            content(r#""toUserId":"bob1""#, "1"),
            content(r#""toUserId":"bob""#, "11"),
            content(r#""all":true"#, "1"),
        ];
        let long = "x".repeat(100);
        for at in 0..long.len() {
            let text = format!("\"{}y{}\"", &long[..at], &long[at + 1..]);
            all.push(content(r#""toUserId":"bob""#, &text));
        }
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
