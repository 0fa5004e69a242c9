//! Addresses to listen on: reading, protecting and binding them, unless the
//! service manager has bound them.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use longlink::shared::number;
use longlink::{Config, Listener};

use super::units;
use super::values::Raw;
use crate::cli::refusal::Refusal;
use crate::cli::service::inherited::Inherited;

/// One `--listen`, or one socket that was handed over.
#[derive(Debug)]
pub enum Address {
    /// As written, and what it means: a name may have several addresses.
    Tcp(String, Vec<SocketAddr>),
    /// The path of a socket file. Who may connect is what its folder's
    /// permissions say.
    Unix(PathBuf),
    Inherited(Inherited),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(text, _) => f.write_str(text),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
            Address::Inherited(socket) => socket.fmt(f),
        }
    }
}

impl Address {
    /// Reads `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080` or `unix:PATH`.
    /// A name is resolved here and once, so that what is checked is what is
    /// bound.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Ok(Address::Unix(path.into()));
        }
        if let Ok(addr) = text.parse::<SocketAddr>() {
            return Ok(Address::Tcp(text.to_owned(), vec![addr]));
        }
        // Colons and brackets would be an IPv6 address written wrongly, a slash
        // a URL: not to be asked of a name server.
        let named = text
            .rsplit_once(':')
            .filter(|(name, _)| !name.is_empty() && !name.contains([':', '/', '[']));
        let port = named.and_then(|(_, port)| number::<u16>(port.as_bytes()));
        let (Some((name, _)), Some(port)) = (named, port) else {
            return Err(format!(
                "expected 127.0.0.1:8080, [::1]:8080, localhost:8080 or unix:PATH, found {text:?}"
            ));
        };
        let resolved = (name, port).to_socket_addrs();
        let mut addrs =
            resolved.map_err(|_| format!("no address for {name:?}"))?.collect::<Vec<_>>();
        addrs.sort_unstable();
        addrs.dedup();
        Ok(Address::Tcp(text.to_owned(), addrs))
    }

    /// Reads the addresses that a setting lists.
    pub fn list(raw: &Raw) -> Result<Vec<Self>, String> {
        Self::all(&units::list(raw)?)
    }

    /// Reads several addresses.
    pub fn all(words: &[String]) -> Result<Vec<Self>, String> {
        words.iter().map(|text| Address::parse(text)).collect()
    }

    /// Whether nobody but this machine can reach it.
    pub fn is_local(&self) -> bool {
        match self {
            Address::Tcp(_, addrs) => {
                addrs.iter().all(|addr| addr.ip().to_canonical().is_loopback())
            }
            Address::Unix(_) => true,
            Address::Inherited(socket) => socket.is_local(),
        }
    }

    /// Binds what it means, which for a name may be several listeners.
    fn bind(self, config: &Config, listeners: &mut Vec<Listener>) -> io::Result<()> {
        match self {
            Address::Tcp(_, addrs) => listeners.extend(Listener::bind(&addrs[..], config)?),
            Address::Unix(path) => listeners.push(Listener::unix(&path)?),
            Address::Inherited(socket) => listeners.push(socket.listen(config)?),
        }
        Ok(())
    }
}

/// Without tickets, who can connect can be anyone: only this machine may,
/// unless that was asked for.
pub fn protect(addresses: &[Address]) -> Result<(), Refusal> {
    match addresses.iter().find(|address| !address.is_local()) {
        None => Ok(()),
        Some(address) => Err(Refusal(format!(
            "{address} is not loopback, and everyone who reaches it could connect as anyone: \
             let in only tickets with --secret-file, say --open if that is meant, or listen on \
             127.0.0.1 or unix:PATH behind a proxy"
        ))),
    }
}

/// Refuses an address of the backend's interface that others reach, when no key is asked for.
pub fn protect_api(addresses: &[Address]) -> Result<(), Refusal> {
    match addresses.iter().find(|address| !address.is_local()) {
        Some(address) => Err(Refusal(format!(
            "--api-listen {address} is not loopback, and everyone who reaches it could send as \
             anyone: give it a key with --api-key-file"
        ))),
        None => Ok(()),
    }
}

/// Binds all the addresses that a setting names, or none.
pub fn bind(
    addresses: Vec<Address>,
    setting: &str,
    config: &Config,
) -> Result<Vec<Listener>, Refusal> {
    let mut listeners = Vec::new();
    for address in addresses {
        let name = address.to_string();
        address.bind(config, &mut listeners).map_err(|error| match error.kind() {
            ErrorKind::AddrInUse => Refusal(format!(
                "cannot listen on {name}: it is taken; choose another with --{setting}"
            )),
            _ => Refusal(format!("cannot listen on {name}: {error}")),
        })?;
    }
    Ok(listeners)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        for (text, local) in [
            ("127.0.0.1:8080", true),
            ("127.9.9.9:0", true),
            ("[::1]:8080", true),
            ("[::ffff:127.0.0.1]:1", true),
            ("localhost:8080", true),
            ("unix:/run/x.sock", true),
            ("unix:x", true),
            ("0.0.0.0:8080", false),
            ("[::]:8080", false),
            ("[::ffff:0.0.0.0]:1", false),
        ] {
            let address = Address::parse(text).unwrap();
            assert_eq!(address.is_local(), local, "{text}");
            assert_eq!(address.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            ":",
            "8080",
            ":8080",
            "127.0.0.1",
            "127.0.0.1:",
            "127.0.0.1:65536",
            "127.0.0.1:-1",
            "127.0.0.1:+80",
            "localhost:+80",
            "::1:8080",
            "[::1]",
            "http://127.0.0.1:80",
            "localhost:http",
            "unix:",
        ] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }
}
