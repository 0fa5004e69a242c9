//! The address of a peer, in the few bytes that a server with a million connections can afford.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The address from which a connection comes. It takes 18 bytes, where a `SocketAddr` takes 32, and
/// can be made from one. Behind a proxy it is the proxy's address, unless the proxy is
/// [trusted](crate::http::TrustedProxies) and says for which client it connects.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// An IPv6 address, or an IPv4 address mapped into IPv6. A peer without an address has `::`. A
    /// peer of which a proxy says that its address is `::` has `0.0.0.0`.
    ip: [u8; 16],
    port: u16,
}

impl Peer {
    /// A peer without an address: a Unix socket, or a simulation.
    pub const UNKNOWN: Peer = Peer { ip: [0; 16], port: 0 };

    /// Returns the address as IPv6, with IPv4 mapped into it; 0 if there is none.
    #[inline]
    pub(crate) fn ip_bits(&self) -> u128 {
        u128::from_be_bytes(self.ip)
    }

    /// Returns the peer's address; `None` if it has none.
    pub fn addr(&self) -> Option<SocketAddr> {
        let ip = Ipv6Addr::from(self.ip);
        let ip = ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4);
        (*self != Peer::UNKNOWN).then_some(SocketAddr::new(ip, self.port))
    }
}

impl From<SocketAddr> for Peer {
    fn from(addr: SocketAddr) -> Self {
        let ip = match addr.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv4Addr::UNSPECIFIED.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        Peer { ip: ip.octets(), port: addr.port() }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.addr() {
            // A proxy has told the address without a port.
            Some(addr) if addr.port() == 0 => addr.ip().fmt(f),
            Some(addr) => addr.fmt(f),
            None => f.write_str("local"),
        }
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_takes_eighteen_bytes() {
        assert!(size_of::<Peer>() <= 18);
    }

    #[test]
    fn an_address_is_printed_alike_in_both_ways() {
        let peer = Peer::from("127.0.0.1:80".parse::<SocketAddr>().unwrap());
        assert_eq!(
            (format!("{peer:?}"), peer.to_string()),
            ("127.0.0.1:80".into(), "127.0.0.1:80".into())
        );
        assert_eq!(format!("{:?}", Peer::UNKNOWN), "local");
    }

    #[test]
    fn an_address_that_is_packed_is_unpacked_unchanged() {
        for text in ["127.0.0.1:80", "[::1]:65535", "[2001:db8::1]:1"] {
            let addr: SocketAddr = text.parse().unwrap();
            assert_eq!(Peer::from(addr).addr(), Some(addr));
            assert_eq!(Peer::from(addr).to_string(), text);
        }
        assert_eq!(Peer::UNKNOWN.to_string(), "local");
        let nowhere = Peer::from(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)));
        assert_ne!(nowhere, Peer::UNKNOWN, "what a proxy says makes nobody local");
        assert!(nowhere.addr().is_some());
    }
}
