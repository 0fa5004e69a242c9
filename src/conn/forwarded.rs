//! For whom a proxy has connected, if it is one to be believed:
//! `X-Forwarded-For`, whose last entry was written by the proxy itself and
//! whose first ones anybody may have sent.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::Peer;
use super::head::Request;

const FIELD: &str = "X-Forwarded-For";

/// The proxies whose word is taken for who is behind them. By default none.
///
/// ```
/// use longlink::{Config, TrustedProxies};
///
/// let mut config = Config::default();
/// config.trusted_proxies = TrustedProxies::parse(["127.0.0.1", "10.0.0.0/8"])?;
/// # Ok::<(), longlink::BadNetwork>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    networks: Vec<IpNet>,
    unix: bool,
}

/// What is neither an address nor a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadNetwork;

impl fmt::Display for BadNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected an address, a network such as 10.0.0.0/8, or unix")
    }
}

impl std::error::Error for BadNetwork {}

impl TrustedProxies {
    /// Reads addresses (`127.0.0.1`, `::1`), networks (`10.0.0.0/8`), and `unix`
    /// for whoever connects to a Unix socket.
    ///
    /// # Errors
    /// When an entry is none of these.
    pub fn parse<'a>(entries: impl IntoIterator<Item = &'a str>) -> Result<Self, BadNetwork> {
        let mut trusted = TrustedProxies::default();
        for entry in entries {
            match (entry, entry.parse::<IpAddr>(), entry.parse::<IpNet>()) {
                ("unix", _, _) => trusted.unix = true,
                (_, Ok(address), _) => trusted.networks.push(address.to_canonical().into()),
                (_, _, Ok(network)) => trusted.networks.push(network),
                _ => return Err(BadNetwork),
            }
        }
        Ok(trusted)
    }

    /// Whether nobody is believed.
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty() && !self.unix
    }

    /// Whether this peer is one of them.
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

    /// Who is behind the proxy `peer`, by its own word and that of the trusted
    /// ones behind it: the last entry that is not a trusted proxy. What is left
    /// of an entry that cannot be read is not looked at. The port is 0 where it
    /// was not told.
    pub(crate) fn client_of(&self, peer: Peer, request: &Request<'_>) -> Peer {
        if !self.trusts(peer) {
            return peer;
        }
        let mut client = peer;
        for entry in request.header_values(FIELD).rev().flat_map(|value| value.rsplit(',')) {
            let Some(addr) = address(entry.trim()) else { break };
            client = addr.into();
            if !self.contains(addr.ip()) {
                break;
            }
        }
        client
    }
}

/// An entry: an address, perhaps with a port, an IPv6 one perhaps in brackets.
fn address(entry: &str) -> Option<SocketAddr> {
    let bare = entry.strip_prefix('[').and_then(|entry| entry.strip_suffix(']')).unwrap_or(entry);
    let ip = bare.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 0));
    let addr = ip.or_else(|_| entry.parse::<SocketAddr>()).ok()?;
    Some(SocketAddr::new(addr.ip().to_canonical(), addr.port()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conn::head;

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
    fn the_last_one_that_is_no_proxy_is_the_client() {
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
    fn what_a_client_has_forged_is_not_believed() {
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
        for bad in ["", "10.0.0.0/33", "10.0.0/8", "localhost", "*", "unix:/run/x", "::1/129"] {
            assert_eq!(TrustedProxies::parse([bad]), Err(BadNetwork), "{bad}");
        }
        let trusted = TrustedProxies::parse(["::ffff:10.0.0.1", "::/0"]).unwrap();
        assert!(trusted.contains("10.0.0.1".parse().unwrap()));
        assert!(trusted.contains("2001:db8::1".parse().unwrap()));
        assert!(!trusted.contains("10.0.0.2".parse().unwrap()), "of another family");
    }
}
