//! Standard output. Every command prints through this file, so that a write that fails is never
//! overlooked; only the server announces its addresses by itself, because it goes on without a reader.

use std::io::{self, ErrorKind, IsTerminal, Write};
#[cfg(feature = "store")]
use std::io::{BufWriter, StdoutLock};

use super::refusal::{Failure, Refusal};

/// The size of the buffer of a long output, in bytes.
#[cfg(feature = "store")]
const BUFFER: usize = 64 * 1024;

/// Prints a text on standard output.
///
/// # Errors
/// If not everything could be written: nobody reads it any more, or its disk is full. The command
/// has failed then, because what it was asked for is nowhere.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(not_written)
}

/// Prints the help or the version that clap has made, with colours on a terminal.
///
/// # Errors
/// Like those of [`print`].
pub fn print_page(page: &clap::Error) -> Result<(), Failure> {
    page.print().and_then(|()| io::stdout().flush()).map_err(not_written)
}

/// Prints a part of an output that a reader may cut off at any place, such as lines of events or of a
/// file. Returns whether there still is a reader.
///
/// # Errors
/// If the part could not be written for another reason than that its reader is gone.
pub fn print_part(text: &str) -> Result<bool, Failure> {
    let mut stdout = io::stdout().lock();
    is_read(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()))
}

/// Standard output with a buffer, for many parts; [`is_read`] judges what came of the writes.
#[cfg(feature = "store")]
pub fn buffered() -> BufWriter<StdoutLock<'static>> {
    BufWriter::with_capacity(BUFFER, io::stdout().lock())
}

/// Whether a part of an output has been written; `false` means that its reader is gone.
///
/// # Errors
/// If it was not written for another reason.
pub fn is_read(written: io::Result<()>) -> Result<bool, Failure> {
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(not_written(error)),
    }
}

/// Whether standard output is a terminal.
pub fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// The failure of a command whose output could not be written.
fn not_written(error: io::Error) -> Failure {
    Failure::NotNow(Refusal(format!("cannot write to standard output: {error}")))
}
