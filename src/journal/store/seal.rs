//! The checksums of a row. A disk may change a bit and tell nobody, and SQLite does not notice it in a value.
//!
//! A row's head is written behind eight bytes:
//!
//! ```text
//! sum        4 bytes: a hash of the row's number, of the sum of the text, and of the head
//! of text    4 bytes: a hash of the text
//! ```
//!
//! So a head can be checked without the text, and a text or a row that is whole but belongs elsewhere is noticed, too.

use super::rows::Bytes;
use crate::journal::stable_hash;

/// A head of which the checksum was right.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sealed<'a> {
    pub head: &'a [u8],
    of_text: [u8; 4],
}

impl Sealed<'_> {
    /// Whether a text is the one that was written with the head.
    pub fn is_of(&self, text: &[u8]) -> bool {
        self.of_text == sum_of_text(text)
    }
}

/// Appends a head with its checksums.
pub(super) fn seal(first: u64, head: &[u8], text: &[u8], out: &mut Vec<u8>) {
    let of_text = sum_of_text(text);
    out.extend_from_slice(&sum(first, head, of_text));
    out.extend_from_slice(&of_text);
    out.extend_from_slice(head);
}

/// Reads what [`seal`] has written into the row with this number; `None` if it is damaged.
pub(super) fn unseal(first: u64, row: &[u8]) -> Option<Sealed<'_>> {
    let mut bytes = Bytes(row);
    let (written, of_text) = (bytes.array()?, bytes.array()?);
    let head = bytes.0;
    (written == sum(first, head, of_text)).then_some(Sealed { head, of_text })
}

fn sum(first: u64, head: &[u8], of_text: [u8; 4]) -> [u8; 4] {
    four(stable_hash(&[&first.to_le_bytes(), &of_text, head]))
}

fn sum_of_text(text: &[u8]) -> [u8; 4] {
    four(stable_hash(&[text]))
}

fn four(hash: u64) -> [u8; 4] {
    (hash as u32).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_with_a_changed_bit_or_under_another_number_or_with_another_text_is_damaged() {
        let (head, text) = (b"a head of some length", "\"给小明\"".as_bytes());
        let mut row = Vec::new();
        seal(7, head, text, &mut row);
        let read = unseal(7, &row).unwrap();
        assert_eq!(read.head, head);
        assert!(read.is_of(text));
        assert!(unseal(8, &row).is_none());
        for place in 0..row.len() * 8 {
            row[place / 8] ^= 1 << (place % 8);
            assert!(unseal(7, &row).is_none(), "bit {place}");
            row[place / 8] ^= 1 << (place % 8);
        }
        let mut other = text.to_vec();
        for place in 0..text.len() * 8 {
            other[place / 8] ^= 1 << (place % 8);
            assert!(!unseal(7, &row).unwrap().is_of(&other), "bit {place} of the text");
            other[place / 8] ^= 1 << (place % 8);
        }
        for length in 0..row.len() {
            assert!(unseal(7, &row[..length]).is_none(), "{length}");
        }
    }

    #[test]
    fn the_checksums_in_a_file_never_change() {
        let mut row = Vec::new();
        seal(1, b"head", b"text", &mut row);
        assert_eq!(row, [171, 170, 195, 85, 226, 251, 114, 44, 104, 101, 97, 100]);
    }
}
