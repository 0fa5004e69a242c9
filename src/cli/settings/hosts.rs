//! Reading the settings that are lists of hosts: `--allow-origin`, `--allow-host` and
//! `--trust-proxy`.

use longlink::http::TrustedProxies;

use super::units;
use super::values::Raw;

/// Reads a list, each entry of it as `read` understands it.
pub fn list(raw: &Raw, read: fn(&str) -> Result<String, String>) -> Result<Vec<String>, String> {
    units::list(raw)?.iter().map(|entry| read(entry)).collect()
}

/// Reads the addresses and networks of trusted proxies. Returns them also as they were written.
pub fn proxies(raw: &Raw) -> Result<(TrustedProxies, Vec<String>), String> {
    let entries = units::list(raw)?;
    let proxies = TrustedProxies::parse(entries.iter().map(String::as_str));
    Ok((proxies.map_err(|error| error.to_string())?, entries))
}
