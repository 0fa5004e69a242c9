//! Addresses to listen on: reading them, refusing dangerous ones, and binding them, unless the
//! service manager has bound them.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use longlink::shared::number;
use longlink::{Config, Listener};

use super::units;
use super::values::Raw;
use crate::cli::refusal::Refusal;
use crate::cli::service::inherited::Inherited;

/// The address of one `--listen`, or one socket of the service manager.
#[derive(Debug)]
pub enum Address {
    /// The text as it was written and the addresses that it means: a name may have several.
    Tcp(String, Vec<SocketAddr>),
    /// The path of a socket file. The permissions of its folder decide who may connect.
    Unix(PathBuf),
    Inherited(Inherited),
    /// A socket of the service manager that this process uses already.
    InUse {
        name: String,
        is_local: bool,
    },
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(text, _) => f.write_str(text),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
            Address::Inherited(socket) => socket.fmt(f),
            Address::InUse { name, .. } => f.write_str(name),
        }
    }
}

impl Address {
    /// Reads `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080`, `8080` or `unix:PATH`. A port alone
    /// means 127.0.0.1. A name is resolved here and only once, so that the addresses that are
    /// checked are those that are bound.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Ok(Address::Unix(path.into()));
        }
        if let Ok(addr) = text.parse::<SocketAddr>() {
            return Ok(Address::Tcp(text.to_owned(), vec![addr]));
        }
        if let Some(port) = number::<u16>(text.as_bytes()) {
            let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            return Ok(Address::Tcp(addr.to_string(), vec![addr]));
        }
        // A text with more colons or brackets is a malformed IPv6 address, and a text with a slash
        // is a URL. Neither is looked up as a name.
        let named = text
            .rsplit_once(':')
            .filter(|(name, _)| !name.is_empty() && !name.contains([':', '/', '[']));
        let port = named.and_then(|(_, port)| number::<u16>(port.as_bytes()));
        let (Some((name, _)), Some(port)) = (named, port) else {
            return Err(refusal(text));
        };
        let resolved = (name, port).to_socket_addrs();
        let mut addrs =
            resolved.map_err(|_| format!("no address for {name:?}"))?.collect::<Vec<_>>();
        addrs.sort_unstable();
        addrs.dedup();
        Ok(Address::Tcp(text.to_owned(), addrs))
    }

    /// Reads a list of addresses as they were written. A number is a port.
    pub fn words(raw: &Raw) -> Result<Vec<String>, String> {
        let text = |raw: &Raw| match raw {
            Raw::Whole(port) => Raw::Text(port.to_string()),
            other => other.clone(),
        };
        match raw {
            Raw::List(parts) => units::list(&Raw::List(parts.iter().map(text).collect())),
            one => units::list(&text(one)),
        }
    }

    /// Returns the address of a socket of the service manager as one that is in use from now on, for
    /// a later look at the settings.
    pub fn in_use(&self) -> Option<Self> {
        match self {
            Address::Inherited(_) | Address::InUse { .. } => {
                Some(Address::InUse { name: self.to_string(), is_local: self.is_local() })
            }
            _ => None,
        }
    }

    /// Whether only this machine can reach the address.
    pub fn is_local(&self) -> bool {
        match self {
            Address::Tcp(_, addrs) => {
                addrs.iter().all(|addr| addr.ip().to_canonical().is_loopback())
            }
            Address::Unix(_) => true,
            Address::Inherited(socket) => socket.is_local(),
            Address::InUse { is_local, .. } => *is_local,
        }
    }

    /// Binds the address. A name may give several listeners.
    fn bind(self, config: &Config, listeners: &mut Vec<Listener>) -> io::Result<()> {
        match self {
            Address::Tcp(_, addrs) => listeners.extend(Listener::bind(&addrs[..], config)?),
            Address::Unix(path) => listeners.push(Listener::unix(&path)?),
            Address::Inherited(socket) => listeners.push(socket.listen(config)?),
            Address::InUse { .. } => {}
        }
        Ok(())
    }
}

/// Refuses a socket file whose folder does not exist.
pub fn folders(addresses: &[Address]) -> Result<(), String> {
    for address in addresses {
        if let Address::Unix(path) = address
            && let Some(folder) = path.parent().filter(|it| !it.as_os_str().is_empty())
            && !folder.is_dir()
        {
            return Err(format!("{address}: {} is no directory", folder.display()));
        }
    }
    Ok(())
}

/// Says which forms of an address are accepted, and what is missing in one that is nearly right.
fn refusal(text: &str) -> String {
    let known = "expected 127.0.0.1:8080, [::1]:8080, localhost:8080, 8080 or unix:PATH";
    let is_port = |text: &str| number::<u16>(text.as_bytes()).is_some();
    match text.strip_prefix(':').filter(|port| is_port(port)) {
        Some(port) => format!(
            "{known}, found {text:?}: {port} means 127.0.0.1:{port}, and all addresses of this \
             machine are 0.0.0.0:{port}"
        ),
        None if text.parse::<IpAddr>().is_ok() => format!("{known}, found {text:?}: no port"),
        None => format!("{known}, found {text:?}"),
    }
}

/// Refuses an address that others can reach when clients need no ticket: then anybody can connect
/// as any user. A setting allows it.
pub fn protect(addresses: &[Address]) -> Result<(), String> {
    match addresses.iter().find(|address| !address.is_local()) {
        None => Ok(()),
        Some(address) => Err(format!(
            "{address} is not loopback, and everyone who reaches it could connect as anyone: \
             let in only tickets with --secret-file, say --open if that is meant, or listen on \
             127.0.0.1 or unix:PATH behind a proxy"
        )),
    }
}

/// Refuses an address of the backend's interface that other machines can reach, if no key is
/// required.
pub fn protect_api(addresses: &[Address]) -> Result<(), String> {
    match addresses.iter().find(|address| !address.is_local()) {
        Some(address) => Err(format!(
            "{address} is not loopback, and everyone who reaches it could send as \
             anyone: give it a key with --api-key-file"
        )),
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
        let is_tcp = matches!(address, Address::Tcp(..));
        address.bind(config, &mut listeners).map_err(|error| match error.kind() {
            ErrorKind::AddrInUse => Refusal(format!(
                "cannot listen on {name}: it is taken; choose another with --{setting}, or end what \
                 listens there, which may be a longlink that runs as a service"
            )),
            ErrorKind::AddrNotAvailable => Refusal(format!(
                "cannot listen on {name}: this machine does not have the address; all that it has \
                 are 0.0.0.0 and [::]"
            )),
            ErrorKind::PermissionDenied if is_tcp => Refusal(format!(
                "cannot listen on {name}: {error}: a port below 1024 is for root, or for systemd with \
                 the unit longlink.socket"
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
    fn addresses_are_read_in_all_usual_forms() {
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
    fn a_port_alone_is_an_address_of_loopback_in_flags_and_in_the_file() {
        assert_eq!(Address::parse("8080").unwrap().to_string(), "127.0.0.1:8080");
        let word = Raw::Word("8080,unix:/x".to_owned());
        let file = Raw::List(vec![Raw::Whole(8080), Raw::Text("unix:/x".to_owned())]);
        for raw in [word, file] {
            assert_eq!(Address::words(&raw).unwrap(), ["8080", "unix:/x"]);
        }
        assert_eq!(Address::words(&Raw::Whole(0)).unwrap(), ["0"]);
        assert!(Address::parse("65536").is_err());
        assert!(Address::parse(":80").unwrap_err().contains("0.0.0.0:80"));
        assert!(Address::parse("10.0.0.1").unwrap_err().contains("no port"));
    }

    #[test]
    fn text_that_is_no_address_is_refused() {
        for text in [
            "",
            ":",
            "65536",
            "-1",
            "+80",
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
