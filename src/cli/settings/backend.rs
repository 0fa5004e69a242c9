//! Reads the settings of the backend's interface: the keys, and the names under which a backend
//! sends.

use longlink::Relay;
use longlink::backend::{ApiKey, KeyError};

use super::secret::read_file;
use super::units;
use super::values::Raw;

/// Reads the names under which a backend sends.
pub fn names(raw: &Raw) -> Result<Vec<String>, String> {
    let names = units::list(raw)?;
    match names.iter().find(|name| !Relay::is_user_id(name)) {
        Some(name) => Err(format!("expected a user id, found {name:?}")),
        None => Ok(names),
    }
}

/// Reads the file of the keys: one key on each line. Returns the keys and the contents. An error contains nothing of the file's
/// contents, and not the file's name, because some users will pass the key itself in place of the
/// name.
pub fn keys(raw: &Raw) -> Result<(Vec<ApiKey>, Vec<u8>), String> {
    let bytes = read_file(&units::text(raw)?)?;
    let contents = bytes.clone();
    let text = String::from_utf8(bytes).map_err(|_| KeyError::Character.to_string())?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let keys = lines.map(ApiKey::new).collect::<Result<Vec<_>, _>>();
    let keys = keys.map_err(|error| error.to_string())?;
    match keys.len() {
        1 | 2 => Ok((keys, contents)),
        _ => Err("one key is needed, or two while they are changed".to_owned()),
    }
}
