//! PROXY headers before a TLS handshake.

use std::io::Write;

use rustls::version::TLS13;

use longlink::http::TrustedProxies;

use crate::client::{BOTH, Client, Tcp, secure};

#[test]
fn a_proxy_header_before_the_tls_handshake_names_the_client() {
    let secure = secure(|config| {
        config.trusted_proxies = TrustedProxies::parse(["127.0.0.0/8"]).unwrap();
    });
    for (version, trickles) in BOTH.into_iter().flat_map(|it| [(it, false), (it, true)]) {
        let mut tcp = Tcp::connect(secure.site.addr);
        tcp.trickles = trickles;
        tcp.write_all(b"PROXY TCP6 2001:db8::7 ::1 4711 443\r\n").unwrap();
        let mut client = Client::over(tcp, secure.trust(version));
        client.upgrade("A");
        client.beat();
        let peer = secure.site.ask(|hub, _| hub.peer(hub.connections_of("A")[0]).unwrap());
        assert_eq!(peer.to_string(), "[2001:db8::7]:4711");
        drop(client);
        secure.site.until("the connection is gone", |hub| hub.connections() == 0);
    }
    // A connection without a header is of the peer itself.
    let mut direct = secure.connect(&TLS13, "B");
    direct.beat();
    let peer = secure.site.ask(|hub, _| hub.peer(hub.connections_of("B")[0]).unwrap());
    assert_eq!(peer.addr(), Some(direct.tls.sock.stream.local_addr().unwrap()));
}

#[test]
fn a_proxy_header_from_an_untrusted_peer_is_no_tls_handshake() {
    let secure = secure(|config| {
        config.trusted_proxies = TrustedProxies::parse(["10.0.0.0/8"]).unwrap();
    });
    let v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0C\x01\x01\x01\x01\x02\x02\x02\x02\0\x01\0\x02";
    for header in [&b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n"[..], v2] {
        let mut tcp = Tcp::connect(secure.site.addr);
        tcp.write_all(header).unwrap();
        let mut client = Client::over(tcp, secure.trust(&TLS13));
        assert!(client.shake_hands().is_err());
    }
    secure.site.until("the connections are gone", |hub| hub.connections() == 0);
}
