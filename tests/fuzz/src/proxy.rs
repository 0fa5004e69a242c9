//! The PROXY header of a load balancer, against a reader written from its specification
//! and against itself with fewer bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use longlink::fuzz::{MAX_HEADER, Opening, examine_proxy_header as examine};

use crate::{Target, reached};

pub const TARGET: Target = Target {
    name: "proxy",
    run,
    branches: &["version 1", "version 2", "no client", "unfinished", "other", "broken"],
    words: &[
        b"PROXY ",
        b"TCP4 ",
        b"TCP6 ",
        b"UNKNOWN",
        b"\r\n",
        b"203.0.113.7 ",
        b"2001:db8::1 ",
        b"65535",
        b"+80",
        b"\r\n\r\n\0\r\nQUIT\n",
        b"\x21\x11\0\x0C",
        b"\x21\x21\0\x24",
        b"\x20\0\0\0",
    ],
};

/// The longest header of version 1 (section 2.1).
const MAX_V1: usize = 107;
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

pub fn run(bytes: &[u8]) {
    let whole = examine(bytes);
    match whole {
        Opening::Header(length, client) => {
            reached(if bytes.starts_with(V2) { "version 2" } else { "version 1" });
            assert!(length <= bytes.len() && length <= MAX_HEADER);
            assert_eq!(examine(&bytes[..length]), whole, "what follows a header changes nothing");
            let named = client.and_then(|peer| peer.addr());
            if named.is_none() {
                reached("no client");
            }
            let expected = if bytes.starts_with(V2) {
                version2(&bytes[..length])
            } else {
                version1(&bytes[..length])
            };
            assert_eq!(expected, Some(named), "the specification names another client");
        }
        Opening::Unfinished => reached("unfinished"),
        Opening::Other => reached("other"),
        Opening::Broken => {
            reached("broken");
            for end in 0..=bytes.len().min(MAX_V1) {
                assert_eq!(version1(&bytes[..end]), None, "a header of version 1 was refused");
            }
            if let Some(end) = end_of_version2(bytes) {
                assert_eq!(version2(&bytes[..end]), None, "a header of version 2 was refused");
            }
        }
    }
    // Fewer bytes give the same verdict or none yet, and never another one.
    let end = if let Opening::Header(length, _) = whole { length } else { bytes.len() };
    for cut in 0..end {
        let part = examine(&bytes[..cut]);
        assert!(part == Opening::Unfinished || part == whole, "{part:?} of {cut} bytes");
        if matches!(whole, Opening::Header(..)) {
            assert_eq!(part, Opening::Unfinished, "a header is taken when it is complete");
        }
    }
}

/// Reads a whole header of version 1 (section 2.1 of the specification). Returns the client that it names,
/// if it names one; `None` if the bytes are not one header.
fn version1(bytes: &[u8]) -> Option<Option<SocketAddr>> {
    let line = bytes.strip_prefix(b"PROXY ")?.strip_suffix(b"\r\n")?;
    if bytes.len() > MAX_V1 || line.contains(&b'\n') {
        return None;
    }
    // Whatever follows is ignored.
    if line == b"UNKNOWN" || line.starts_with(b"UNKNOWN ") {
        return Some(None);
    }
    let line = std::str::from_utf8(line).ok()?;
    let words: Vec<&str> = line.split(' ').collect();
    let [family, source, target, source_port, target_port] = words[..] else { return None };
    let ip = |text: &str| -> Option<IpAddr> {
        match family {
            "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
            "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            _ => None,
        }
    };
    let port = |text: &str| {
        let decimal = text.bytes().all(|byte| byte.is_ascii_digit());
        let canonical = text == "0" || !text.starts_with('0');
        (decimal && canonical).then(|| text.parse::<u16>().ok())?
    };
    let client = SocketAddr::new(ip(source)?, port(source_port)?);
    ip(target)?;
    port(target_port)?;
    Some(Some(canonical(client)))
}

/// Reads a whole header of version 2 (section 2.2), as [`version1`] does.
fn version2(bytes: &[u8]) -> Option<Option<SocketAddr>> {
    let rest = bytes.strip_prefix(V2)?;
    let [command, family, high, low, addresses @ ..] = rest else { return None };
    if usize::from(*high) << 8 | usize::from(*low) != addresses.len() {
        return None;
    }
    let port = |at: usize| Some(u16::from_be_bytes([*addresses.get(at)?, *addresses.get(at + 1)?]));
    match (command, family) {
        (0x20, _) => Some(None),
        (0x21, 0x11) => {
            let ip = Ipv4Addr::from(*addresses.first_chunk::<4>()?);
            port(10)?;
            Some(Some(SocketAddr::new(ip.into(), port(8)?)))
        }
        (0x21, 0x21) => {
            let ip = Ipv6Addr::from(*addresses.first_chunk::<16>()?);
            port(34)?;
            Some(Some(canonical(SocketAddr::new(ip.into(), port(32)?))))
        }
        (0x21, _) => Some(None),
        _ => None,
    }
}

/// Where a header of version 2 ends by the length in it, if it is complete and not too long.
fn end_of_version2(bytes: &[u8]) -> Option<usize> {
    let fixed = bytes.first_chunk::<16>().filter(|fixed| fixed.starts_with(V2))?;
    let end = 16 + usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    (end <= bytes.len() && end <= MAX_HEADER).then_some(end)
}

/// An address as a peer keeps it: IPv4 in IPv6 is that IPv4 address, and there is one address
/// that is all zeros.
fn canonical(addr: SocketAddr) -> SocketAddr {
    let ip = match addr.ip().to_canonical() {
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv4Addr::UNSPECIFIED.into(),
        ip => ip,
    };
    SocketAddr::new(ip, addr.port())
}
