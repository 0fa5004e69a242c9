//! The settings of the store, the file in which messages are kept.

use std::path::PathBuf;
use std::time::Duration;

use longlink::RelayConfig;

use super::row::Least;
use super::units;
use super::values::{Raw, Values};
use crate::cli::problems::Problem;

/// The default of the largest size of the file in bytes, 1 GiB: about 3.6 million messages of 200
/// bytes. It fits on the disk of a small machine, on which 10 GB or more are free.
pub const SIZE: usize = 1 << 30;
/// The smallest size that can be set, 64 MiB. A segment of the file has 8 MiB, and the oldest
/// segment is dropped as a whole.
pub const LEAST_SIZE: Least = Least { bytes: 64 << 20, refusal: "expected 64m or more" };
/// How long a message waits for a user who is away, unless something else is set: 7 days.
pub const KEPT: Duration = Duration::from_secs(7 * 86_400);

/// The settings of the store, as they were read.
#[derive(Clone, Debug)]
pub struct Store {
    pub path: Option<PathBuf>,
    pub size: usize,
    /// For how long messages can be read again; `None` if they cannot.
    pub history: Option<Duration>,
}

impl Default for Store {
    fn default() -> Self {
        Store { path: None, size: SIZE, history: None }
    }
}

/// The store that the server opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    pub path: PathBuf,
    pub size: u64,
    pub history: Option<Duration>,
}

/// Reads how long messages can be read again: `off`, or a time such as `30d`.
pub fn history(raw: &Raw) -> Result<Option<Duration>, String> {
    match raw {
        Raw::Truth(false) => Ok(None),
        Raw::Word(text) | Raw::Text(text) if text == "off" => Ok(None),
        Raw::Word(text) | Raw::Text(text) => match units::span(text) {
            Ok(span) => Ok(Some(span)),
            Err(_) => Err(format!("expected off, or a time such as 12h or 30d, found {raw}")),
        },
        _ => Err(format!("expected off, or a time such as 12h or 30d, found {raw}")),
    }
}

/// Checks the settings of the store against each other and against those of the mailboxes, and sets
/// how long messages wait if nothing else was said.
pub fn check(
    store: Store,
    relay: &mut RelayConfig,
    values: &Values,
) -> Result<Option<File>, Problem> {
    let Store { path, size, history } = store;
    let Some(path) = path else { return Ok(None) };
    if !relay.mailbox {
        let why = "mailbox is off and store is set, but what the store keeps are mailboxes: leave \
                   one of them out";
        return Err(values.contradict(&["store", "mailbox"], why));
    }
    if !values.is_given("mailbox-ttl") {
        relay.mailbox_ttl = KEPT;
    }
    Ok(Some(File { path, size: size as u64, history }))
}

/// Refuses a file that cannot be the file of a store. Nothing is opened for writing.
pub fn examine(file: &File, values: &Values) -> Result<(), Problem> {
    longlink::keeping::store::examine(&file.path)
        .map_err(|error| values.refuse("store", error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_is_off_or_a_time_with_a_unit() {
        let word = |text: &str| history(&Raw::Word(text.to_owned()));
        assert_eq!(word("off"), Ok(None));
        assert_eq!(history(&Raw::Truth(false)), Ok(None));
        assert_eq!(word("30d"), Ok(Some(Duration::from_secs(30 * 86_400))));
        for text in ["", "on", "30", "0d", "-1d", "4000d"] {
            assert!(word(text).unwrap_err().contains("30d"), "{text}");
        }
        assert!(history(&Raw::Whole(30)).is_err() && history(&Raw::Truth(true)).is_err());
    }
}
