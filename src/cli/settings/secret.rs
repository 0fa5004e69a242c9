//! The secrets that tickets are signed with: from a file or the environment,
//! never from the command line, where every user of the machine could read
//! them. Nothing here prints one, or the name of the file: somebody will pass
//! the secret itself where the file is meant.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::time::SystemTime;

use longlink::tickets::{TicketError, Tickets};

use super::table::SECRET_FILE;
use super::units;
use super::values::Raw;
use crate::cli::refusal::Refusal;

/// The variable that holds the secret itself.
pub const VARIABLE: &str = "LONGLINK_SECRET";
/// The longest file of secrets in bytes.
const MOST_TEXT: u64 = 8 * 1024;

/// One secret, or two while they are changed; the first signs.
pub struct Secrets(Vec<Vec<u8>>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({})", self.0.len())
    }
}

impl Secrets {
    /// The secrets, if any are given: one on each line that is not empty.
    /// `file` is what the setting's file holds.
    pub fn read(file: Option<Vec<u8>>) -> Result<Option<Self>, Refusal> {
        let (source, text) = match (file, std::env::var_os(VARIABLE)) {
            (None, None) => return Ok(None),
            (Some(text), None) => ("the secret file", text),
            (None, Some(secret)) => (VARIABLE, secret.into_encoded_bytes()),
            (Some(_), Some(_)) => {
                return Err(Refusal(format!(
                    "{SECRET_FILE} and {VARIABLE} are both set: keep one"
                )));
            }
        };
        let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        let lines = lines.filter(|line| !line.is_empty());
        if lines.clone().any(|line| !is_text(line)) {
            return Err(Refusal(format!(
                "{source}: a secret is a line of text, as openssl rand -hex 32 makes one"
            )));
        }
        let secrets = Secrets(lines.map(<[u8]>::to_vec).collect());
        // An empty variable is refused as well: it was meant to be set, and
        // without it everybody would be let in.
        match secrets.tickets() {
            Ok(_) => Ok(Some(secrets)),
            Err(error) => Err(Refusal(format!("{source}: {error}"))),
        }
    }

    /// What checks and signs tickets with them, by the machine's clock.
    pub fn tickets(&self) -> Result<Tickets, TicketError> {
        Tickets::new(&self.0, |_| SystemTime::now())
    }
}

/// Whether a backend that reads the same line has the same bytes: nothing binary, whose lines end
/// anywhere, no UTF-16, and no mark of a byte order before it.
fn is_text(line: &[u8]) -> bool {
    std::str::from_utf8(line)
        .is_ok_and(|text| !text.contains(|c: char| c.is_control() || c == '\u{FEFF}'))
}

/// Reads the file of secrets that a setting names.
pub fn of_file(raw: &Raw) -> Result<Vec<u8>, String> {
    read_file(&units::text(raw)?)
}

/// Reads a file of secrets.
pub fn read_file(path: &str) -> Result<Vec<u8>, String> {
    let mut text = Vec::new();
    let length = File::open(path).and_then(|file| file.take(MOST_TEXT + 1).read_to_end(&mut text));
    match length {
        Ok(length) if length as u64 > MOST_TEXT => Err("the file is longer than 8 KiB".to_owned()),
        Ok(_) => Ok(text),
        Err(error) => Err(format!("cannot read the file: {error}")),
    }
}
