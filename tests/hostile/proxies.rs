//! Which address a client behind a proxy has, and which claims about the address are not believed.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use longlink::Config;
use longlink::http::TrustedProxies;
use socket2::{Domain, Socket as RawSocket, Type};

use crate::bystanders::{Scene, scene};
use crate::support::client::{DEADLINE, Raw};
use crate::support::serve::Site;
use longlink::sim::frames::handshake;

/// The proxy's address; the bystanders have another.
const PROXY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

fn behind(change: impl FnOnce(&mut Config)) -> Scene {
    scene(|config| {
        config.trusted_proxies = TrustedProxies::parse(["127.0.0.9"]).unwrap();
        change(config);
    })
}

/// Opens a connection from this address of the machine.
fn connect_from(ip: Ipv4Addr, site: &Site) -> Raw {
    let socket = RawSocket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(ip.into(), 0).into()).unwrap();
    socket.connect_timeout(&site.addr.into(), DEADLINE).unwrap();
    Raw::from_stream(socket.into())
}

fn v2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
    let length = (addresses.len() as u16).to_be_bytes();
    [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[command, family], &length, addresses].concat()
}

/// Opens the connection. Returns the address that the server has for its client.
fn seen(scene: &Scene, mut raw: Raw, bytes: &[u8]) -> String {
    assert_eq!(raw.status(bytes), 101);
    let peer = scene.site.ask(|hub, _| hub.peer(hub.connections_of("client")[0]).unwrap());
    drop(raw);
    scene.site.until("the connection is gone", |hub| hub.connections_of("client").is_empty());
    peer.to_string()
}

#[test]
fn the_client_address_from_a_trusted_proxy_is_used() {
    let scene = behind(|_| {});
    let from = |header: &[u8], field: &str| {
        let raw = connect_from(PROXY, &scene.site);
        seen(&scene, raw, &[header, &handshake("/websocket/client", field)].concat())
    };
    assert_eq!(from(b"", "X-Forwarded-For: 203.0.113.7\r\n"), "203.0.113.7");
    let line = b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 80\r\n";
    assert_eq!(from(line, ""), "203.0.113.7:4711");
    let header = v2(0x21, 0x11, &[203, 0, 113, 7, 10, 0, 0, 1, 0x12, 0x67, 0, 80]);
    assert_eq!(from(&header, ""), "203.0.113.7:4711");
    // The client that the header names is no trusted proxy, so its `X-Forwarded-For` is ignored.
    assert_eq!(from(line, "X-Forwarded-For: 198.51.100.1\r\n"), "203.0.113.7:4711");
    // The header names no address: the connection is the proxy's own, or of an unknown client.
    for header in [v2(0x20, 0, &[]), b"PROXY UNKNOWN\r\n".to_vec(), Vec::new()] {
        assert!(from(&header, "").starts_with("127.0.0.9:"), "{header:x?}");
    }
    scene.ends_well();
}

#[test]
fn a_client_address_from_an_untrusted_peer_is_ignored() {
    let scene = behind(|_| {});
    let forged = "X-Forwarded-For: 198.51.100.1\r\nX-Forwarded-For: 127.0.0.9\r\n";
    let peer = seen(&scene, scene.site.raw(), &handshake("/websocket/client", forged));
    assert!(peer.starts_with("127.0.0.1:"), "{peer}");
    let line = b"PROXY TCP4 198.51.100.1 10.0.0.1 4711 80\r\n".to_vec();
    let header = v2(0x21, 0x11, &[198, 51, 100, 1, 10, 0, 0, 1, 0x12, 0x67, 0, 80]);
    for header in [line, header] {
        let request = [&header[..], &handshake("/websocket/client", "")].concat();
        assert_eq!(scene.site.raw().status(&request), 400);
    }
    scene.ends_well();
}

#[test]
fn a_proxy_header_may_arrive_in_pieces_but_only_within_its_time() {
    let scene = behind(|config| config.handshake_timeout = Duration::from_millis(500));
    let line = b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 80\r\n";
    let header = v2(0x21, 0x11, &[203, 0, 113, 7, 10, 0, 0, 1, 0x12, 0x67, 0, 80]);
    for header in [&line[..], &header] {
        let mut raw = connect_from(PROXY, &scene.site);
        raw.trickle(header);
        let peer = seen(&scene, raw, &handshake("/websocket/client", ""));
        assert_eq!(peer, "203.0.113.7:4711");
        for cut in [1, 5, header.len() - 1] {
            let mut raw = connect_from(PROXY, &scene.site);
            assert!(raw.send(&header[..cut]).end().is_empty(), "{cut}");
        }
    }
    scene.ends_well();
}

#[test]
fn a_broken_proxy_header_ends_its_connection_at_once() {
    let scene = behind(|config| config.handshake_timeout = Duration::ZERO);
    let long = format!("PROXY TCP4 {}", "1".repeat(5_000)).into_bytes();
    for header in [
        b"PROXY TCP4 nobody nowhere 1 2\r\n".to_vec(),
        long,
        v2(0x21, 0x11, &[1; 11]),
        v2(0x2F, 0x11, &[1; 12]),
        [&v2(0x21, 0x11, &[])[..14], &[0xFF, 0xFF]].concat(),
    ] {
        let mut raw = connect_from(PROXY, &scene.site);
        raw.send(&[&header[..], &handshake("/websocket/client", "")].concat());
        assert!(raw.end().is_empty(), "{header:x?}");
    }
    // A connection that ends without a header is removed.
    drop(connect_from(PROXY, &scene.site));
    scene.ends_well();
}

#[test]
fn a_proxy_may_send_requests_of_several_through_one_connection() {
    let scene = behind(|_| {});
    let mut raw = connect_from(PROXY, &scene.site);
    // The requests of two clients come through one connection of the proxy.
    for client in ["203.0.113.1", "203.0.113.2"] {
        let request = format!(
            "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: {client}\r\n\r\n"
        );
        assert_eq!(raw.status(request.as_bytes()), 200);
    }
    let field = "X-Forwarded-For: 203.0.113.3\r\n";
    assert_eq!(seen(&scene, raw, &handshake("/websocket/client", field)), "203.0.113.3");
    scene.ends_well();
}
