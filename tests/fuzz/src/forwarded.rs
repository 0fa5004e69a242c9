//! `X-Forwarded-For` and the networks of trusted proxies, against a reader that splits and
//! compares in the plainest way.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Instant;

use longlink::http::TrustedProxies;
use longlink::{Accept, Config, ConnId, Context, Handler, Message, Peer, Reject, Upgrade};

use crate::input::Input;
use crate::stream::Server;
use crate::{Target, reached};

pub const TARGET: Target = Target {
    name: "forwarded",
    run,
    branches: &[
        "networks",
        "no networks",
        "the proxy itself",
        "a client",
        "behind two proxies",
        "not UTF-8",
    ],
    words: &[
        b"10.0.0.0/8",
        b"::ffff:10.0.0.0/104",
        b"2001:db8::/32",
        b"203.0.113.7",
        b"10.1.2.3",
        b"[2001:db9::1]:9",
        b"2001:db8::1",
        b"::ffff:203.0.113.7",
        b", ",
        b";",
        b"\xFF",
        b"unknown",
        b"/33",
        b"/0",
    ],
};

pub fn run(bytes: &[u8]) {
    let mut input = Input(bytes);
    let length = input.below(60);
    let network = input.take(length);
    let parsed = std::str::from_utf8(network).ok().and_then(|network| {
        let parsed = TrustedProxies::parse([network]).ok();
        assert_eq!(parsed.is_some(), network == "unix" || prefix(network).is_some(), "{network:?}");
        parsed
    });
    if let Some(parsed) = parsed {
        reached("networks");
        let network = std::str::from_utf8(network).expect("it was one above");
        let mut probe = [0; 16];
        let bytes = input.take(16);
        probe[..bytes.len()].copy_from_slice(bytes);
        for ip in [IpAddr::from(probe), IpAddr::from(*probe.first_chunk::<4>().expect("16 bytes"))]
        {
            let peer = Peer::from(SocketAddr::new(ip, 1));
            let expected = match peer.addr() {
                Some(addr) => prefix(network).is_some_and(|prefix| prefix.contains(addr.ip())),
                None => network == "unix",
            };
            assert_eq!(parsed.trusts(peer), expected, "{ip} in {network}");
        }
    } else {
        reached("no networks");
    }
    fields(input.0);
}

/// The lines of these bytes are the values of fields that a proxy on 127.0.0.1 sends.
fn fields(bytes: &[u8]) {
    let is_sendable = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~' | 0x80..);
    let values: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').take(8).collect();
    if bytes.len() > 400 || !values.iter().all(|value| value.iter().all(is_sendable)) {
        return;
    }
    let now = Instant::now();
    let mut config = Config::default();
    let trusted = ["127.0.0.1", "10.0.0.0/8", "2001:db8::/32"];
    config.trusted_proxies = TrustedProxies::parse(trusted).expect("three networks");
    let mut server = Server::new(config, Who(None), now);
    let proxy = SocketAddr::from(([127, 0, 0, 1], 4_000));
    let conn = server.hub.open(proxy.into(), true, now).expect("room for one connection");
    // A connection becomes its client's with a handshake.
    let mut head = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        .to_vec();
    for value in &values {
        head.extend_from_slice(b"X-Forwarded-For: ");
        head.extend_from_slice(value);
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    server.receive(conn, &head, now);
    let Who(client) = *server.hub.handler();
    let client = client.expect("a handshake with any such field is taken");
    let expected = behind(proxy, &values);
    assert_eq!(client, Peer::from(expected), "{:?}", String::from_utf8_lossy(bytes));
    reached(if expected == proxy { "the proxy itself" } else { "a client" });
}

/// Returns the address of the client behind the proxy. Entries are read from the last one, as long
/// as trusted proxies have written them.
fn behind(proxy: SocketAddr, values: &[&[u8]]) -> SocketAddr {
    let mut client = proxy;
    let entries: Vec<&[u8]> = values.iter().flat_map(|value| value.split(|b| *b == b',')).collect();
    for (number, entry) in entries.iter().rev().enumerate() {
        let Ok(entry) = std::str::from_utf8(entry) else {
            reached("not UTF-8");
            break;
        };
        let Some(addr) = entry_address(entry.trim_matches([' ', '\t'])) else { break };
        client = addr;
        let is_proxy = match addr.ip() {
            IpAddr::V4(ip) => ip.octets()[0] == 10 || ip == Ipv4Addr::LOCALHOST,
            IpAddr::V6(ip) => ip.segments()[..2] == [0x2001, 0x0DB8],
        };
        if !is_proxy {
            break;
        }
        if number > 0 {
            reached("behind two proxies");
        }
    }
    client
}

/// An address, or one with a port; one of IPv6 may stand in brackets.
fn entry_address(text: &str) -> Option<SocketAddr> {
    let in_brackets = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let ip = in_brackets.unwrap_or(text).parse::<IpAddr>();
    let addr = match ip {
        Ok(ip) => SocketAddr::new(ip, 0),
        Err(_) => text.parse().ok()?,
    };
    Some(SocketAddr::new(addr.ip().to_canonical(), addr.port()))
}

/// The first bits of an address in 128, where IPv4 is mapped into IPv6.
struct Prefix {
    bits: u128,
    length: u32,
    is_v4: bool,
}

/// A network as it is written; one address is a network of its own.
fn prefix(text: &str) -> Option<Prefix> {
    let (ip, length) = match text.split_once('/') {
        Some((ip, length)) => (ip.parse::<IpAddr>().ok()?, Some(length)),
        None => (text.parse::<IpAddr>().ok()?, None),
    };
    let most = if ip.is_ipv4() { 32 } else { 128 };
    let length = match length {
        Some(digits) => {
            let is_plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            is_plain.then(|| digits.parse::<u32>().ok())?.filter(|length| *length <= most)?
        }
        None => most,
    };
    let (bits, is_mapped) = match ip {
        IpAddr::V4(ip) => (ip.to_ipv6_mapped().to_bits(), true),
        IpAddr::V6(ip) => (ip.to_bits(), ip.to_ipv4_mapped().is_some()),
    };
    let length = if ip.is_ipv4() { length + 96 } else { length };
    // A mapped network that is wider than all of IPv4 is a mistake.
    (!is_mapped || length >= 96).then_some(Prefix { bits, length, is_v4: is_mapped })
}

impl Prefix {
    fn contains(&self, ip: IpAddr) -> bool {
        let bits = match ip {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
            IpAddr::V6(ip) => Ipv6Addr::to_bits(ip),
        };
        let differ = (bits ^ self.bits).checked_shr(128 - self.length).unwrap_or(0);
        ip.is_ipv4() == self.is_v4 && differ == 0
    }
}

/// A handler that records the peer of the connection that opened, as the hub reports it.
struct Who(Option<Peer>);

impl Handler for Who {
    type Session = ();
    type Event = ();

    fn on_upgrade(
        &mut self,
        hub: &mut Context,
        conn: ConnId,
        _: Upgrade<'_>,
    ) -> Result<Accept, Reject> {
        self.0 = hub.peer(conn);
        Ok(Accept::anonymous())
    }

    fn on_message(&mut self, _: &mut Context, _: ConnId, _: &mut (), _: Message<'_>) {}
}
