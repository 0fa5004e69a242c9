//! Reads the files of certificates and keys, for the settings and for the clients.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The length of the longest file that is read, in bytes. A chain of certificates has some thousand
/// bytes.
const MOST: u64 = 1 << 20;

/// Reads a file of certificates or keys.
///
/// # Errors
/// Says in one line which file could not be read and why. A file of more than 1 MiB is one.
pub fn read(path: &Path) -> Result<Vec<u8>, String> {
    let attempt = || {
        let mut bytes = Vec::new();
        File::open(path)?.take(MOST + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MOST {
            return Err(io::Error::other("it is longer than 1 MiB"));
        }
        Ok(bytes)
    };
    attempt().map_err(|error| format!("cannot read {}: {error}", path.display()))
}
