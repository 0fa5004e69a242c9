//! The secrets that tickets are signed with. They come from a file or the environment, never from
//! the command line, because every user of the machine can read it. Nothing here prints a secret,
//! or the name of the file, because some users will pass the secret itself in place of the name.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::time::SystemTime;

use longlink::tickets::{TicketError, Tickets};

use super::table::SECRET_FILE;
use super::units;
use super::values::{Raw, Values};
use crate::cli::problems::{Place, Problem};

/// The environment variable that contains the secret itself.
pub const VARIABLE: &str = "LONGLINK_SECRET";
/// The length of the longest file of secrets in bytes.
const MOST_TEXT: u64 = 8 * 1024;

/// One secret, or two while the secret is being changed; the first signs.
#[derive(PartialEq, Eq)]
pub struct Secrets(Vec<Vec<u8>>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({})", self.0.len())
    }
}

impl Secrets {
    /// Reads the secrets, if any are given: one on each line that is not empty. `file` has the
    /// contents of the setting's file.
    pub fn read(file: Option<Vec<u8>>, values: &Values) -> Result<Option<Self>, Problem> {
        let is_file = file.is_some();
        let text = match (file, std::env::var_os(VARIABLE)) {
            (None, None) => return Ok(None),
            (Some(text), None) => text,
            (None, Some(secret)) => secret.into_encoded_bytes(),
            (Some(_), Some(_)) => {
                let why = format!("{SECRET_FILE} and {VARIABLE} are both set: keep one");
                return Err(values.contradict(&[SECRET_FILE], why));
            }
        };
        let refuse = |why: String| match is_file {
            true => values.refuse(SECRET_FILE, format!("in the file, {why}")),
            false => Problem { place: Place::Variable(VARIABLE.to_owned()), why },
        };
        let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        let lines = lines.filter(|line| !line.is_empty());
        if lines.clone().any(|line| !is_text(line)) {
            let why = "a secret is a line of text, as openssl rand -hex 32 makes one";
            return Err(refuse(why.to_owned()));
        }
        let secrets = Secrets(lines.map(<[u8]>::to_vec).collect());
        // An empty variable is refused as well: it was meant to be set, and without a secret
        // everybody could connect.
        match secrets.tickets() {
            Ok(_) => Ok(Some(secrets)),
            Err(error) => Err(refuse(error.to_string())),
        }
    }

    /// Makes the [`Tickets`] that check and sign with these secrets, by the machine's clock.
    pub fn tickets(&self) -> Result<Tickets, TicketError> {
        Tickets::new(&self.0, |_| SystemTime::now())
    }
}

/// Whether a backend that reads this line gets the same bytes. It does not for binary data, in
/// which a line may end anywhere, for UTF-16, and for a byte order mark in front of the text.
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
