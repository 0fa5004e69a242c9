//! Settings of the backend's interface: where it is, and the key's file.

use longlink::{ApiKey, BackendConfig, KeyError, Relay};

use super::addresses::{self, Address};
use super::secret::read_file;
use super::units;
use super::values::Values;
use crate::cli::refusal::Refusal;

/// What of the interface was chosen.
pub fn config(values: &Values) -> Result<BackendConfig, Refusal> {
    let mut config = BackendConfig::default();
    let keys = values.read("api-key-file", |raw| read_keys(&units::text(raw)?))?;
    config.keys = keys.unwrap_or_default();
    Ok(config)
}

/// Where it listens. An address that others reach needs a key.
pub fn listen(values: &Values, config: &BackendConfig) -> Result<Vec<Address>, Refusal> {
    let addresses = addresses::addresses(values, "api-listen")?.unwrap_or_default();
    match addresses.iter().find(|address| !address.is_local()) {
        Some(address) if config.keys.is_empty() => Err(Refusal(format!(
            "--api-listen {address} is not loopback, and everyone who reaches it could send as \
             anyone: give it a key with --api-key-file"
        ))),
        _ => Ok(addresses),
    }
}

/// The names under which a backend sends.
pub fn names(values: &Values) -> Result<Vec<String>, Refusal> {
    let names = values.read("api-from", |raw| {
        let names = units::list(raw)?;
        match names.iter().find(|name| !Relay::is_user_id(name)) {
            Some(name) => Err(format!("expected a user id, found {name:?}")),
            None => Ok(names),
        }
    })?;
    Ok(names.unwrap_or_default())
}

/// One key on each line. What is wrong is told without a word of what is in the file, or
/// of its name: somebody will pass the key itself.
fn read_keys(path: &str) -> Result<Vec<ApiKey>, String> {
    let bytes = read_file(path)?;
    let text = String::from_utf8(bytes).map_err(|_| KeyError::Character.to_string())?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let keys = lines.map(ApiKey::new).collect::<Result<Vec<_>, _>>();
    let keys = keys.map_err(|error| error.to_string())?;
    match keys.len() {
        1 | 2 => Ok(keys),
        _ => Err("one key is needed, or two while they are changed".to_owned()),
    }
}
