//! The buffers that all TLS connections of a listener share, because only the connection that is read or written
//! now needs them.

use std::io::IoSlice;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many bytes of ciphertext one call reads at most. It is not less than the size of the
/// driver's buffer, which limits the read too.
const INPUT: usize = 64 * 1024;
/// The most plaintext in one record (RFC 8446, section 5.1). No more than this is encrypted before
/// the socket has taken the previous record.
const MAX_PLAINTEXT: usize = 1 << 14;

/// Buffers that only the connection that is read or written now needs.
pub struct Scratch {
    /// Ciphertext, as it was read.
    pub input: Box<[u8]>,
    /// The plaintext of a record, put together from several pieces.
    pub record: Vec<u8>,
    /// Ciphertext to be sent.
    pub output: Vec<u8>,
}

impl Default for Scratch {
    fn default() -> Self {
        let input = vec![0; INPUT].into_boxed_slice();
        Scratch { input, record: Vec::new(), output: Vec::new() }
    }
}

/// Returns the plaintext of the next record, which follows the first `skip` bytes. It is copied
/// only if it is in several slices.
pub fn next_record<'a>(
    slices: &'a [IoSlice<'_>],
    skip: usize,
    record: &'a mut Vec<u8>,
) -> &'a [u8] {
    let mut skip = skip;
    let rest = slices.iter().filter_map(move |slice| {
        let from = skip.min(slice.len());
        skip -= from;
        Some(&slice[from..]).filter(|rest| !rest.is_empty())
    });
    let mut rest = rest.peekable();
    let first = rest.next().unwrap_or_default();
    if first.len() >= MAX_PLAINTEXT || rest.peek().is_none() {
        return &first[..first.len().min(MAX_PLAINTEXT)];
    }
    record.clear();
    record.extend_from_slice(first);
    for piece in rest {
        let room = MAX_PLAINTEXT - record.len();
        record.extend_from_slice(&piece[..piece.len().min(room)]);
    }
    record
}

/// A panic of another holder is ignored, because the buffers contain no state.
pub fn lock(scratch: &Mutex<Scratch>) -> MutexGuard<'_, Scratch> {
    scratch.lock().unwrap_or_else(PoisonError::into_inner)
}
