//! For which client a trusted proxy has connected, by the field `X-Forwarded-For`. The proxy itself
//! has written the last entry; a client can have sent the first entries.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use ipnet::{IpNet, Ipv4Net};

use crate::wire::Peer;
use crate::wire::http::fields::{number, trim};
use crate::wire::http::head::Request;

const FIELD: &str = "X-Forwarded-For";

/// The proxies that are believed when they say for which client they connect. By default there are
/// none.
///
/// ```
/// use longlink::http::TrustedProxies;
/// use longlink::Config;
///
/// let mut config = Config::default();
/// config.trusted_proxies = TrustedProxies::parse(["127.0.0.1", "10.0.0.0/8"])?;
/// # Ok::<(), longlink::http::BadNetwork>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    networks: Vec<IpNet>,
    unix: bool,
}

/// The error for an entry that is neither an address nor a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadNetwork;

impl fmt::Display for BadNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected an address, a network such as 10.0.0.0/8, or unix")
    }
}

impl std::error::Error for BadNetwork {}

impl TrustedProxies {
    /// Reads addresses (`127.0.0.1`, `::1`), networks (`10.0.0.0/8`), and `unix` for every
    /// connection to a Unix socket.
    ///
    /// # Errors
    /// If an entry is none of these.
    pub fn parse<'a>(entries: impl IntoIterator<Item = &'a str>) -> Result<Self, BadNetwork> {
        let mut trusted = TrustedProxies::default();
        for entry in entries {
            if entry == "unix" {
                trusted.unix = true;
            } else {
                trusted.networks.push(network(entry)?);
            }
        }
        Ok(trusted)
    }

    /// Whether no proxy is trusted.
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty() && !self.unix
    }

    /// Whether this peer is a trusted proxy.
    pub fn trusts(&self, peer: Peer) -> bool {
        if self.networks.is_empty() && !self.unix {
            return false;
        }
        match peer.addr() {
            Some(addr) => self.contains(addr.ip()),
            None => self.unix,
        }
    }

    fn contains(&self, ip: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&ip))
    }

    /// Returns the client for which the proxy `peer` has connected: the last entry that is not
    /// itself the address of a trusted proxy. Entries to the left of an entry that cannot be read
    /// are ignored. The port is 0 if the entry has none.
    pub(crate) fn client_of(&self, peer: Peer, request: &Request<'_>) -> Peer {
        if !self.trusts(peer) {
            return peer;
        }
        let mut client = peer;
        // The values are bytes and not text, because a client may have sent any bytes, and the
        // proxy passes them on in front of its own entry.
        let lines = request.fields().lines(FIELD).rev();
        for entry in lines.flat_map(|value| value.rsplit(|&byte| byte == b',')) {
            let Some(addr) = address(trim(entry)) else { break };
            client = addr.into();
            if !self.contains(addr.ip()) {
                break;
            }
        }
        client
    }
}

/// Reads an address, or an address with the length of a prefix. The address is read strictly in
/// both, because `010.0.0.0/8` means different networks in decimal and in octal.
fn network(entry: &str) -> Result<IpNet, BadNetwork> {
    let address = |text: &str| text.parse::<IpAddr>().map_err(|_| BadNetwork);
    let Some((first, length)) = entry.split_once('/') else {
        return Ok(address(entry)?.to_canonical().into());
    };
    let length = number(length.as_bytes()).ok_or(BadNetwork)?;
    unmapped(IpNet::new(address(first)?, length).map_err(|_| BadNetwork)?)
}

/// Converts a network of IPv4 addresses that are mapped into IPv6 (RFC 4291, section 2.5.5.2) into
/// an IPv4 network, because addresses are compared as IPv4. A mapped network that is wider than all
/// of IPv4 is refused.
fn unmapped(network: IpNet) -> Result<IpNet, BadNetwork> {
    /// The number of bits before a mapped address.
    const MAPPED: u8 = 96;
    let IpNet::V6(v6) = network else { return Ok(network) };
    let Some(address) = v6.addr().to_ipv4_mapped() else { return Ok(network) };
    let length = v6.prefix_len().checked_sub(MAPPED).ok_or(BadNetwork)?;
    Ipv4Net::new(address, length).map(IpNet::V4).map_err(|_| BadNetwork)
}

/// Reads an entry: an address, with or without a port; an IPv6 address may be in brackets.
fn address(entry: &[u8]) -> Option<SocketAddr> {
    let entry = std::str::from_utf8(entry).ok()?;
    let bare = entry.strip_prefix('[').and_then(|entry| entry.strip_suffix(']')).unwrap_or(entry);
    let ip = bare.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 0));
    let addr = ip.or_else(|_| entry.parse::<SocketAddr>()).ok()?;
    Some(SocketAddr::new(addr.ip().to_canonical(), addr.port()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::http::head;

    fn client(trusted: &[&str], peer: &str, fields: &[&str]) -> String {
        let trusted = TrustedProxies::parse(trusted.iter().copied()).unwrap();
        let peer = match peer {
            "unix" => Peer::UNKNOWN,
            peer => peer.parse::<SocketAddr>().unwrap().into(),
        };
        let mut request = "GET / HTTP/1.1\r\nHost: a\r\n".to_owned();
        for field in fields {
            request += &format!("{field}\r\n");
        }
        request += "\r\n";
        let client = head::parse(request.as_bytes(), |it| trusted.client_of(peer, it)).unwrap();
        client.to_string()
    }

    #[test]
    fn the_client_is_the_last_forwarded_address_that_is_no_trusted_proxy() {
        let trusted = &["127.0.0.1", "10.0.0.0/8", "2001:db8::/32"];
        let of = |fields: &[&str]| client(trusted, "127.0.0.1:4000", fields);
        assert_eq!(of(&["X-Forwarded-For: 203.0.113.7"]), "203.0.113.7");
        assert_eq!(of(&["x-forwarded-for:203.0.113.7:81"]), "203.0.113.7:81");
        assert_eq!(of(&["X-Forwarded-For: 203.0.113.7, 10.1.2.3 ,10.0.0.1"]), "203.0.113.7");
        assert_eq!(of(&["X-Forwarded-For: 2001:db9::1"]), "2001:db9::1");
        assert_eq!(of(&["X-Forwarded-For: [2001:db9::1]:9, 2001:db8::1"]), "[2001:db9::1]:9");
        assert_eq!(of(&["X-Forwarded-For: ::ffff:203.0.113.7"]), "203.0.113.7");
        let two = ["X-Forwarded-For: 203.0.113.7", "X-Forwarded-For: 10.0.0.1"];
        assert_eq!(of(&two), "203.0.113.7");
        assert_eq!(of(&["X-Forwarded-For: 10.0.0.2, 10.0.0.1"]), "10.0.0.2");
        assert_eq!(client(&["unix"], "unix", &["X-Forwarded-For: 203.0.113.7"]), "203.0.113.7");
    }

    #[test]
    fn a_list_is_empty_only_without_networks_and_without_unix() {
        let is_empty = |entries: &[&str]| {
            TrustedProxies::parse(entries.iter().copied()).map(|trusted| trusted.is_empty())
        };
        assert_eq!(is_empty(&[]), Ok(true));
        for entries in [&["unix"][..], &["127.0.0.1"], &["10.0.0.0/8", "unix"]] {
            assert_eq!(is_empty(entries), Ok(false), "{entries:?}");
        }
        assert!(is_empty(&["x"]).unwrap_err().to_string().contains("10.0.0.0/8"));
    }

    #[test]
    fn addresses_that_a_client_has_forged_are_ignored() {
        let trusted = &["127.0.0.1", "10.0.0.0/8"];
        let of = |fields: &[&str]| client(trusted, "127.0.0.1:4000", fields);
        // Before what the proxy has added.
        assert_eq!(of(&["X-Forwarded-For: 10.0.0.1, 198.51.100.1, 203.0.113.7"]), "203.0.113.7");
        let two = ["X-Forwarded-For: 198.51.100.1", "X-Forwarded-For: 203.0.113.7"];
        assert_eq!(of(&two), "203.0.113.7");
        // Behind something unreadable.
        for bad in ["unknown", "", "203.0.113.7.9", "_hidden", "203.0.113.7;", "é"] {
            let field = format!("X-Forwarded-For: 198.51.100.1, {bad}, 10.0.0.1");
            assert_eq!(of(&[&field]), "10.0.0.1", "{bad}");
            assert_eq!(of(&[&format!("X-Forwarded-For: {bad}")]), "127.0.0.1:4000");
        }
        assert_eq!(of(&[]), "127.0.0.1:4000");
        // By one who is no proxy of ours.
        let forged = &["X-Forwarded-For: 10.0.0.1"];
        assert_eq!(client(trusted, "203.0.113.7:1", forged), "203.0.113.7:1");
        assert_eq!(client(&[], "127.0.0.1:1", forged), "127.0.0.1:1");
        assert_eq!(client(trusted, "unix", forged), "local");
    }

    #[test]
    fn networks_are_read_or_refused() {
        for bad in [
            "",
            "10.0.0.0/33",
            "010.0.0.0/8",
            "10.0.0.0/+8",
            "10.0.0/8",
            "localhost",
            "*",
            "unix:/run/x",
            "::1/129",
        ] {
            assert_eq!(TrustedProxies::parse([bad]), Err(BadNetwork), "{bad}");
        }
        let trusted = TrustedProxies::parse(["::ffff:10.0.0.1", "::/0"]).unwrap();
        assert!(trusted.contains("10.0.0.1".parse().unwrap()));
        assert!(trusted.contains("2001:db8::1".parse().unwrap()));
        assert!(!trusted.contains("10.0.0.2".parse().unwrap()), "of another family");
    }

    #[test]
    fn a_mapped_network_is_the_one_of_ipv4_that_it_maps() {
        let trusts = |network: &str, ip: &str| {
            TrustedProxies::parse([network]).unwrap().contains(ip.parse().unwrap())
        };
        assert!(trusts("::ffff:10.0.0.0/104", "10.1.2.3"));
        assert!(!trusts("::ffff:10.0.0.0/104", "11.1.2.3"));
        assert!(trusts("::ffff:a00:0/104", "10.1.2.3"));
        assert!(trusts("::ffff:10.0.0.1/128", "10.0.0.1"));
        assert!(trusts("::ffff:0:0/96", "203.0.113.7"));
        for bad in ["::ffff:10.0.0.0/8", "::ffff:10.0.0.0/95", "10.0.0.0/+8", "10.0.0.0/"] {
            assert_eq!(TrustedProxies::parse([bad]), Err(BadNetwork), "{bad}");
        }
    }

    #[test]
    fn a_byte_that_is_no_utf8_does_not_hide_the_address_that_the_proxy_has_added() {
        let trusted = TrustedProxies::parse(["127.0.0.1"]).unwrap();
        let peer: Peer = "127.0.0.1:4000".parse::<SocketAddr>().unwrap().into();
        for lines in [
            &b"X-Forwarded-For: \xff, 203.0.113.7\r\n"[..],
            b"X-Forwarded-For: \xff\r\nX-Forwarded-For:203.0.113.7\r\n",
            b"X-Forwarded-For: \xe9,203.0.113.7\t\r\n",
            b"X-Forwarded-For: \"203.0.113.9, 203.0.113.7\r\n",
        ] {
            let head = [&b"GET / HTTP/1.1\r\nHost: a\r\n"[..], lines, b"\r\n"].concat();
            let client = head::parse(&head, |request| trusted.client_of(peer, request)).unwrap();
            assert_eq!(client.to_string(), "203.0.113.7");
        }
    }
}
