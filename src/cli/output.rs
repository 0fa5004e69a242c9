//! Prints what a command was asked for.

use std::io::{self, Write};

use super::refusal::{Failure, Refusal};

/// Prints a text on standard output.
///
/// # Errors
/// If not everything could be written: nobody reads it any more, or its disk is full. The command
/// has failed then, because what it was asked for is nowhere.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(not_written)
}

/// The failure of a command whose output could not be written.
pub fn not_written(error: io::Error) -> Failure {
    Failure::NotNow(Refusal(format!("cannot write to standard output: {error}")))
}
