//! Webhooks over TLS, to a backend with a certificate of a private authority.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use longlink::backend::WebhookConfig;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::backend::SECRET;
use super::serve_with;
use super::support::client::DEADLINE;

/// A backend that takes one request: its URL, its certificate in PEM, and a thread
/// that gives the head of what it took.
fn backend() -> (String, String, JoinHandle<String>) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (pem, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let chain = vec![CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()];
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap())
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/hook", listener.local_addr().unwrap());
    let serve = move || {
        loop {
            let (tcp, _) = listener.accept().unwrap();
            tcp.set_read_timeout(Some(DEADLINE)).unwrap();
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut tls = BufReader::new(StreamOwned::new(connection, tcp));
            let mut head = String::new();
            // This fails for a client that does not trust the certificate.
            while tls.read_line(&mut head).is_ok_and(|read| read > 2) {}
            if let Some((_, rest)) = head.split_once("content-length: ") {
                let length = rest.lines().next().unwrap().parse().unwrap();
                tls.read_exact(&mut vec![0; length]).unwrap();
                tls.get_mut().write_all(b"HTTP/1.1 204 Taken\r\n\r\n").unwrap();
                return head;
            }
        }
    };
    (url, pem, spawn(serve))
}

#[test]
fn only_a_backend_with_a_trusted_certificate_gets_events() {
    let (url, pem, taken) = backend();
    let mut strict = WebhookConfig::new(&url, SECRET).unwrap();
    (strict.retry_min, strict.retry_max) = (Duration::from_millis(5), Duration::from_millis(50));
    let trusting = strict.clone().trust(pem.as_bytes()).unwrap();
    assert!(strict.clone().trust(b"no certificate").is_err());

    let (site, webhooks) = serve_with(strict);
    let mut alice = site.connect("alice");
    while webhooks.stats().failures < 3 {
        alice.texts();
    }
    assert_eq!((webhooks.stats().delivered, webhooks.stop(Duration::ZERO)), (0, 1));

    let (site, webhooks) = serve_with(trusting);
    let _bob = site.connect("bob");
    let head = taken.join().unwrap();
    assert!(head.starts_with("POST /hook HTTP/1.1\r\n"), "{head}");
    assert_eq!(webhooks.stop(DEADLINE), 0);
    assert_eq!(webhooks.stats().delivered, 1);
}
