//! Settings of the backend's interface: where it is, and the key's file.

use std::fs::File;
use std::io::Read;

use longlink::{ApiKey, BackendConfig};

use super::Refusal;
use super::listen::{self, Address};
use super::units;
use super::values::Values;

/// What of the interface was chosen.
pub fn config(values: &Values) -> Result<BackendConfig, Refusal> {
    let mut config = BackendConfig::default();
    config.key = values.read("api-key-file", |raw| read_key(&units::text(raw)?))?;
    Ok(config)
}

/// Where it listens. An address that others reach needs a key.
pub fn listen(values: &Values, config: &BackendConfig) -> Result<Vec<Address>, Refusal> {
    let addresses = listen::addresses(values, "api-listen")?.unwrap_or_default();
    match addresses.iter().find(|address| !address.is_local()) {
        Some(address) if config.key.is_none() => Err(Refusal(format!(
            "--api-listen {address} is not loopback, and everyone who reaches it could send as \
             anyone: give it a key with --api-key-file"
        ))),
        _ => Ok(addresses),
    }
}

/// What is wrong is told without a word of what is in the file.
fn read_key(path: &str) -> Result<ApiKey, String> {
    let mut text = String::new();
    let most = ApiKey::MOST as u64 + 64;
    let file = File::open(path).map_err(|error| format!("cannot read {path}: {error}"))?;
    file.take(most)
        .read_to_string(&mut text)
        .map_err(|error| format!("cannot read {path}: {error}"))?;
    ApiKey::new(&text).map_err(|error| format!("{path}: {error}"))
}
