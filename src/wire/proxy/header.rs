//! The PROXY protocol, versions 1 and 2: a load balancer sends a header before the first byte of a
//! connection.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::wire::Peer;
use crate::wire::http::fields::number;

/// The length of the longest header that is accepted, in bytes. Version 1 has at most 107 bytes;
/// version 2 is as long as what its sender adds, rarely more than some hundred bytes.
pub const MAX_HEADER: usize = 4_096;

const V1: &[u8] = b"PROXY ";
const V1_MAX: usize = 107;
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The signature, the command, the family and the length.
const V2_FIXED: usize = 16;

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// There are too few bytes to tell.
    Unfinished,
    /// The bytes are not a PROXY header; they are the beginning of the connection's own data.
    Other,
    /// A PROXY header: its length in bytes, and the client if it names one.
    Header(usize, Option<Peer>),
    /// A header that is broken.
    Broken,
}

/// Examines the first bytes of a connection.
pub fn examine(bytes: &[u8]) -> Opening {
    let starts = |signature: &[u8]| {
        let length = bytes.len().min(signature.len());
        bytes[..length] == signature[..length]
    };
    if starts(V1) {
        version1(bytes)
    } else if starts(V2) {
        version2(bytes)
    } else {
        Opening::Other
    }
}

/// Reads `PROXY TCP4 203.0.113.7 10.0.0.1 51334 443` and CRLF.
fn version1(bytes: &[u8]) -> Opening {
    let most = &bytes[..bytes.len().min(V1_MAX)];
    let Some(end) = memchr::memchr(b'\n', most) else {
        return if most.len() < V1_MAX { Opening::Unfinished } else { Opening::Broken };
    };
    let Some(line) = most[..end].strip_suffix(b"\r") else { return Opening::Broken };
    // A receiver must ignore the rest of this line.
    if line == b"PROXY UNKNOWN" || line.starts_with(b"PROXY UNKNOWN ") {
        return Opening::Header(end + 1, None);
    }
    let Ok(line) = std::str::from_utf8(line) else { return Opening::Broken };
    let words: Vec<&str> = line.split(' ').collect();
    let client = match words[..] {
        [_, family @ ("TCP4" | "TCP6"), source, target, source_port, target_port] => {
            let endpoint = |ip: &str, port: &str| {
                let addr = SocketAddr::new(ip.parse().ok()?, decimal(port)?);
                (addr.is_ipv4() == (family == "TCP4")).then_some(addr)
            };
            let ends = (endpoint(source, source_port), endpoint(target, target_port));
            let (Some(source), Some(_)) = ends else { return Opening::Broken };
            Some(source.into())
        }
        _ => return Opening::Broken,
    };
    Opening::Header(end + 1, client)
}

/// Reads a port of version 1: digits, without a sign and without zeros before them.
fn decimal(port: &str) -> Option<u16> {
    let plain = port == "0" || !port.starts_with('0');
    number(port.as_bytes()).filter(|_| plain)
}

fn version2(bytes: &[u8]) -> Opening {
    let Some((fixed, rest)) = bytes.split_first_chunk::<V2_FIXED>() else {
        return Opening::Unfinished;
    };
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if V2_FIXED + length > MAX_HEADER {
        return Opening::Broken;
    }
    let Some(addresses) = rest.get(..length) else { return Opening::Unfinished };
    let client = match (fixed[12], fixed[13]) {
        // The connection is the proxy's own, such as a health check.
        (0x20, _) => None,
        (0x21, 0x11) => match (addresses.first_chunk::<4>(), addresses.get(8..12)) {
            (Some(ip), Some(ports)) => Some(endpoint(Ipv4Addr::from(*ip).into(), ports)),
            _ => return Opening::Broken,
        },
        (0x21, 0x21) => match (addresses.first_chunk::<16>(), addresses.get(32..36)) {
            (Some(ip), Some(ports)) => Some(endpoint(Ipv6Addr::from(*ip).into(), ports)),
            _ => return Opening::Broken,
        },
        // The address family has no IP addresses.
        (0x21, _) => None,
        _ => return Opening::Broken,
    };
    Opening::Header(V2_FIXED + length, client)
}

/// Makes the client's address; the port of the source comes first in `ports`.
fn endpoint(ip: IpAddr, ports: &[u8]) -> Peer {
    SocketAddr::new(ip, u16::from_be_bytes([ports[0], ports[1]])).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(addr: &str) -> Option<Peer> {
        Some(addr.parse::<SocketAddr>().unwrap().into())
    }

    fn v2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let length = (addresses.len() as u16).to_be_bytes();
        [V2, &[command, family], &length, addresses].concat()
    }

    #[test]
    fn both_versions_name_the_client() {
        for (line, client) in [
            ("PROXY TCP4 203.0.113.7 10.0.0.1 51334 443\r\n", peer("203.0.113.7:51334")),
            ("PROXY TCP6 2001:db8::1 ::1 1 2\r\n", peer("[2001:db8::1]:1")),
            ("PROXY UNKNOWN\r\n", None),
            ("PROXY TCP4 203.0.113.7 10.0.0.1 0 443\r\n", peer("203.0.113.7:0")),
            ("PROXY UNKNOWN ffff::1 ffff::1 65535 65535\r\n", None),
        ] {
            let bytes = format!("{line}GET / HTTP/1.1\r\n");
            assert_eq!(examine(bytes.as_bytes()), Opening::Header(line.len(), client), "{line}");
        }
        let unknown = b"PROXY UNKNOWN \xff\r\n";
        assert_eq!(examine(unknown), Opening::Header(unknown.len(), None));
        let v4 = [203, 0, 113, 7, 10, 0, 0, 1, 0xC8, 0x86, 1, 0xBB];
        let mut v6 = [0; 36];
        v6[..4].copy_from_slice(&[0x20, 1, 0x0D, 0xB8]);
        v6[33] = 9;
        let more = [&v4[..], &[3, 0, 4, 1, 2, 3, 4]].concat();
        for (header, client) in [
            (v2(0x21, 0x11, &v4), peer("203.0.113.7:51334")),
            (v2(0x21, 0x11, &more), peer("203.0.113.7:51334")),
            (v2(0x21, 0x21, &v6), peer("[2001:db8::]:9")),
            (v2(0x20, 0x11, &v4), None),
            (v2(0x20, 0, &[]), None),
            (v2(0x21, 0x31, &[0; 216]), None),
        ] {
            let bytes = [&header[..], b"rest"].concat();
            assert_eq!(examine(&bytes), Opening::Header(header.len(), client), "{header:x?}");
        }
    }

    #[test]
    fn an_incomplete_header_is_waited_for() {
        let v1 = b"PROXY TCP4 203.0.113.7 10.0.0.1 51334 443\r\n".to_vec();
        for header in [v1, v2(0x21, 0x11, &[1; 12])] {
            for cut in 0..header.len() {
                assert_eq!(examine(&header[..cut]), Opening::Unfinished, "{cut}");
            }
        }
    }

    #[test]
    fn a_header_that_would_be_too_long_is_refused_before_it_has_arrived() {
        let most = MAX_HEADER - V2_FIXED;
        let longest = v2(0x20, 0, &vec![0; most]);
        assert_eq!(examine(&longest), Opening::Header(MAX_HEADER, None));
        assert_eq!(examine(&longest[..V2_FIXED]), Opening::Unfinished);
        let longer = v2(0x20, 0, &vec![0; most + 1]);
        assert_eq!(examine(&longer[..V2_FIXED]), Opening::Broken);
    }

    #[test]
    fn a_broken_header_is_distinguished_from_bytes_that_are_no_header() {
        for line in [
            "PROXY TCP4 203.0.113.7 10.0.0.1 51334\r\n",
            "PROXY TCP4 203.0.113.7 10.0.0.1 51334 443 1\r\n",
            "PROXY TCP4 203.0.113.7 10.0.0.1 51334 443\n",
            "PROXY TCP4 203.0.113.7 10.0.0.1 65536 443\r\n",
            "PROXY TCP4 2001:db8::1 10.0.0.1 1 443\r\n",
            "PROXY TCP6 203.0.113.7 ::1 1 443\r\n",
            "PROXY TCP4  203.0.113.7 10.0.0.1 1 443\r\n",
            "PROXY TCP4 localhost 10.0.0.1 1 443\r\n",
            "PROXY TCP4 203.0.113.7 10.0.0.1 +80 443\r\n",
            "PROXY TCP4 203.0.113.7 10.0.0.1 80 +443\r\n",
            "PROXY TCP4 203.0.113.7 10.0.0.1 080 443\r\n",
            "PROXY TCP4 203.0.113.07 10.0.0.1 80 443\r\n",
            "PROXY UNKNOWNS\r\n",
            "PROXY UDP4 203.0.113.7 10.0.0.1 1 443\r\n",
            "PROXY / HTTP/1.1\r\n",
            "PROXY \r\n",
        ] {
            assert_eq!(examine(line.as_bytes()), Opening::Broken, "{line}");
        }
        assert_eq!(examine(format!("PROXY TCP4 {}", "1".repeat(200)).as_bytes()), Opening::Broken);
        let long = [V2, &[0x21, 0x11, 0xFF, 0xFF]].concat();
        for header in [
            long,
            v2(0x21, 0x11, &[1; 11]),
            v2(0x21, 0x21, &[1; 35]),
            v2(0x22, 0x11, &[1; 12]),
            v2(0x11, 0x11, &[1; 12]),
        ] {
            assert_eq!(examine(&header), Opening::Broken, "{header:x?}");
        }
        for bytes in [&b"GET / HTTP/1.1\r\n"[..], b"\x16\x03\x01", b"\r\n\r\nG", b"PROXIES"] {
            assert_eq!(examine(bytes), Opening::Other, "{bytes:x?}");
        }
    }
}
