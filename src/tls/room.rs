//! Buffers for what rustls writes: rustls says how much room it needs, and is called again.

use std::io::{self, ErrorKind};

use rustls::unbuffered::{EncodeError, EncryptError};

/// Why rustls has not written into a buffer.
pub enum Refused {
    /// The output needs this many bytes of room.
    Short(usize),
    Exhausted,
}

impl From<EncodeError> for Refused {
    fn from(error: EncodeError) -> Self {
        match error {
            EncodeError::InsufficientSize(size) => Refused::Short(size.required_size),
            EncodeError::AlreadyEncoded => Refused::Exhausted,
        }
    }
}

impl From<EncryptError> for Refused {
    fn from(error: EncryptError) -> Self {
        match error {
            EncryptError::InsufficientSize(size) => Refused::Short(size.required_size),
            EncryptError::EncryptExhausted => Refused::Exhausted,
        }
    }
}

/// Appends what `write` writes, in as much room as it asks for.
pub fn append(
    output: &mut Vec<u8>,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, Refused>,
) -> io::Result<()> {
    let start = output.len();
    loop {
        match write(&mut output[start..]) {
            Ok(length) => {
                output.truncate(start + length);
                return Ok(());
            }
            Err(Refused::Short(size)) => output.resize(start + size, 0),
            Err(Refused::Exhausted) => return Err(ErrorKind::BrokenPipe.into()),
        }
    }
}
