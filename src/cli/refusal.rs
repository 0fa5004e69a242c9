//! Why a command refuses to run: a wrong flag, a bad value, an address that is taken.

use std::fmt;

use super::lang;
use super::problems::Problems;
use super::text::Escaped;

/// The exit code of a command that refused to run.
pub const REFUSED: u8 = 2;
/// The exit code of a command that may succeed later.
pub const NOT_NOW: u8 = 1;

/// Why nothing is served: the text of the one line on standard error. The process then ends
/// with exit code 2.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal(pub String);

/// Why a command has ended without success.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// It does not get better by itself: exit code 2.
    Refused(Refusal),
    /// Settings are wrong, which does not get better by itself, either: exit code 2.
    Wrong(Problems),
    /// It may be better at the next start, which a service manager tries: exit code 1.
    NotNow(Refusal),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Failure::Refused(refusal)
    }
}

impl From<String> for Failure {
    /// A wrong argument.
    fn from(why: String) -> Self {
        Failure::Refused(Refusal(why))
    }
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        Failure::Wrong(problems)
    }
}

impl fmt::Display for Refusal {
    /// Writes one line, whatever was typed: control characters are escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(&lang::shown(&self.0)).fmt(f)
    }
}
