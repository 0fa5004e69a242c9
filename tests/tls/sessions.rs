//! TLS sessions: a client that connects again needs no full handshake.

use std::sync::Arc;

use rustls::HandshakeKind;
use rustls::version::TLS13;

use crate::client::{BOTH, Client, certificate, secure};

#[test]
fn a_client_that_comes_back_resumes_its_tls_session() {
    let secure = secure(|_| {});
    for version in BOTH {
        let config = Arc::new(secure.trust(version));
        for visit in 0..4 {
            let mut client = Client::dial(secure.site.addr, Arc::clone(&config));
            client.upgrade("A");
            client.beat();
            let kind = client.tls.conn.handshake_kind().unwrap();
            let expected = if visit == 0 { HandshakeKind::Full } else { HandshakeKind::Resumed };
            assert_eq!(kind, expected, "{version:?}, visit {visit}");
        }
    }
}

#[test]
fn a_tls_session_outlives_a_new_certificate_which_new_clients_see() {
    let secure = secure(|_| {});
    let returning = Arc::new(secure.trust(&TLS13));
    let mut open = Client::dial(secure.site.addr, Arc::clone(&returning));
    open.upgrade("A");
    let before = shown(&open);

    secure.acceptor.replace(certificate(&secure.authority.chain()));
    open.beat();
    let mut newcomer = secure.connect(&TLS13, "B");
    newcomer.beat();
    assert_ne!(shown(&newcomer), before);
    let mut again = Client::dial(secure.site.addr, returning);
    again.upgrade("A");
    assert_eq!(again.tls.conn.handshake_kind(), Some(HandshakeKind::Resumed));
    open.beat();
}

/// The server's certificate as this client saw it.
fn shown(client: &Client) -> Vec<u8> {
    client.tls.conn.peer_certificates().expect("it was shown one")[0].to_vec()
}

#[test]
fn only_http_1_1_is_negotiated_inside_tls() {
    let secure = secure(|_| {});
    for version in BOTH {
        let offering = |protocols: &[&str]| {
            let mut config = secure.trust(version);
            config.alpn_protocols = protocols.iter().map(|it| it.as_bytes().to_vec()).collect();
            let mut client = Client::dial(secure.site.addr, config);
            let done = client.shake_hands();
            (client.tls.conn.alpn_protocol().map(<[u8]>::to_vec), done)
        };
        let http = Some(b"http/1.1".to_vec());
        assert_eq!(offering(&["h2", "http/1.1"]).0, http);
        assert_eq!(offering(&["http/1.1"]).0, http);
        let (chosen, done) = offering(&[]);
        assert_eq!(chosen, None);
        done.unwrap();
        let (_, refused) = offering(&["h2", "spdy/3"]);
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("NoApplicationProtocol"), "{refused}");
    }
}
