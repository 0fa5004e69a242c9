//! Peers that break the rules of TLS: each gets an alert, its connection ends, and no other
//! connection notices it.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustls::version::{TLS12, TLS13};
use rustls::{ClientConnection, pki_types::ServerName};

use crate::certs::NAME;
use crate::client::{BOTH, Client, Secure, Tcp, secure};
use crate::support::client::Raw;
use crate::support::serve;
use longlink::sim::frames;

/// The first bytes of a handshake.
fn hello(secure: &Secure) -> Vec<u8> {
    let name = ServerName::try_from(NAME).unwrap();
    let mut connection = ClientConnection::new(secure.trust(&TLS13).into(), name).unwrap();
    let mut bytes = Vec::new();
    connection.write_tls(&mut bytes).unwrap();
    assert!(!connection.wants_write());
    bytes
}

/// Sends a byte every few milliseconds until the server ends the connection and
/// has only the others.
fn dribble(
    secure: &Secure,
    others: usize,
    bytes: &[u8],
    tcp: &mut Tcp,
    mut meanwhile: impl FnMut(),
) {
    const PACE: Duration = Duration::from_millis(5);
    secure.site.until("it is connected", move |hub| hub.connections() > others);
    for byte in bytes {
        let next = Instant::now() + PACE;
        while Instant::now() < next {
            meanwhile();
        }
        if secure.site.ask(|hub, _| hub.connections()) == others {
            return;
        }
        let _ = tcp.write_all(&[*byte]);
    }
    panic!("never ended");
}

fn only_the_bystander_is_left(secure: &Secure, bystander: &mut Client) {
    bystander.beat();
    secure.site.until("only the bystander is left", |hub| {
        hub.check_invariants();
        hub.connections() == 1 && hub.online() == 1 && hub.buffered() == 0
    });
    bystander.beat();
}

#[test]
fn plain_http_on_a_tls_port_is_answered_with_an_explanation() {
    let secure = secure(|_| {});
    let mut bystander = secure.connect(&TLS13, "bystander");
    for request in [frames::handshake("/websocket/A", ""), b"GET / HTTP/1.0\r\n\r\n".to_vec()] {
        let answer = Raw::connect(secure.site.addr).send(&request).answer().unwrap();
        assert_eq!((answer.status, answer.field("Connection")), (400, Some("close")));
        assert_eq!(answer.body, b"this port speaks TLS: https or wss\n");
        assert!(answer.field("Date").is_some_and(|date| date.ends_with(" GMT")));
    }
    only_the_bystander_is_left(&secure, &mut bystander);
}

#[test]
fn tls_on_a_plain_port_is_refused_at_once() {
    let site = serve::relay(|config| config.handshake_timeout = Duration::ZERO);
    let secure = secure(|_| {});
    for version in BOTH {
        let mut client = Client::dial(site.addr, secure.trust(version));
        assert!(client.shake_hands().is_err());
        drop(client);
    }
    site.until("they are gone", |hub| hub.connections() == 0);
    let mut raw = site.raw();
    assert_eq!(raw.status(&hello(&secure)), 400);
    assert!(raw.end().is_empty());
}

#[test]
fn a_handshake_that_stalls_or_dribbles_is_ended_in_time() {
    let secure = secure(|config| config.handshake_timeout = Duration::from_millis(300));
    let mut bystander = secure.connect(&TLS13, "bystander");
    let hello = hello(&secure);
    for part in [&hello[..0], &hello[..1], &hello[..100], &hello] {
        let mut tcp = Tcp::connect(secure.site.addr);
        tcp.write_all(part).unwrap();
        // The server answers only a whole greeting, and then ends the connection.
        let answered = !tcp.end().is_empty();
        assert_eq!(answered, part.len() == hello.len());
    }
    // After the TLS handshake, the time for the first request counts, too.
    let mut silent = Client::dial(secure.site.addr, secure.trust(&TLS13));
    silent.shake_hands().unwrap();
    assert_eq!(silent.end().unwrap_or_default(), b"");

    let mut dribbling = Tcp::connect(secure.site.addr);
    dribble(&secure, 1, &hello, &mut dribbling, || bystander.beat());
    only_the_bystander_is_left(&secure, &mut bystander);
}

#[test]
fn bytes_that_are_no_tls_handshake_end_the_connection_at_once() {
    let secure = secure(|config| config.handshake_timeout = Duration::ZERO);
    let mut bystander = secure.connect(&TLS13, "bystander");
    let record = |kind: u8, length: u16, body: &[u8]| {
        [&[kind, 3, 1][..], &length.to_be_bytes(), body].concat()
    };
    for nonsense in [
        vec![0x16; 4_000],
        vec![0; 100],
        // This greeting claims to be longer than any greeting is.
        record(0x16, 4, &[1, 0xFF, 0xFF, 0xFF]),
        // This record claims to be longer than any record is.
        record(0x16, 0xFFFF, &[0; 40_000]),
        // These records are data before the handshake, an alert, a heartbeat, and an empty one.
        record(0x17, 5, b"hello"),
        record(0x15, 2, &[2, 0]),
        record(0x18, 3, &[1, 0x40, 0]),
        record(0x16, 0, b""),
    ] {
        let mut tcp = Tcp::connect(secure.site.addr);
        let _ = tcp.write_all(&nonsense);
        let answer = tcp.end();
        assert!(answer.len() < 20, "an alert at most: {answer:x?}");
    }
    only_the_bystander_is_left(&secure, &mut bystander);
}

#[test]
fn the_first_message_of_a_tls_client_has_a_bound() {
    let secure = secure(|config| config.handshake_timeout = Duration::ZERO);
    let mut bystander = secure.connect(&TLS13, "bystander");
    let mut tcp = Tcp::connect(secure.site.addr);
    // One message of 60,000 bytes, in records that are each within their bound.
    let mut greeting = vec![1, 0, 0xEA, 0x60];
    greeting.resize(60_004, 0);
    for part in greeting.chunks(4_000) {
        let head = [&[0x16, 3, 1][..], &(part.len() as u16).to_be_bytes()].concat();
        let _ = tcp.write_all(&[&head, part].concat());
    }
    assert!(tcp.end().len() < 20);
    only_the_bystander_is_left(&secure, &mut bystander);
}

#[test]
fn a_record_that_was_tampered_with_ends_its_connection() {
    let secure = secure(|_| {});
    let mut bystander = secure.connect(&TLS13, "bystander");
    for version in BOTH {
        let mut client = secure.connect(version, "victim");
        let mut bytes = Vec::new();
        let message = frames::text(r#"{"toUserId":"bystander","message":"last words"}"#);
        client.tls.conn.writer().write_all(&message).unwrap();
        client.tls.conn.write_tls(&mut bytes).unwrap();
        client.tls.conn.writer().write_all(&frames::text("ping")).unwrap();
        client.tls.conn.write_tls(&mut bytes).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        client.tls.sock.write_all(&bytes).unwrap();
        assert!(bystander.text().contains("last words"));
        let alert = client.end().unwrap_err().to_string();
        assert!(alert.contains("BadRecordMac"), "{alert}");
    }
    only_the_bystander_is_left(&secure, &mut bystander);
}

#[test]
fn half_a_record_does_not_keep_a_silent_connection() {
    let secure = secure(|config| {
        config.ping_after = Duration::from_millis(100);
        config.idle_timeout = Duration::from_millis(400);
        config.close_timeout = Duration::from_millis(200);
    });
    let mut client = secure.connect(&TLS13, "slow");
    let mut bytes = Vec::new();
    client.tls.conn.writer().write_all(&frames::text(&"x".repeat(10_000))).unwrap();
    client.tls.conn.write_tls(&mut bytes).unwrap();
    dribble(&secure, 0, &bytes, &mut client.tls.sock, std::thread::yield_now);
}

#[test]
fn a_client_that_renews_its_tls_keys_without_end_is_ended() {
    let secure = secure(|_| {});
    let mut bystander = secure.connect(&TLS13, "bystander");
    let mut client = secure.connect(&TLS13, "A");
    for _ in 0..1_000 {
        client.tls.conn.refresh_traffic_keys().unwrap();
    }
    let _ = client.tls.flush();
    assert!(client.end().is_err());
    only_the_bystander_is_left(&secure, &mut bystander);
}

#[test]
fn renegotiation_is_refused() {
    let secure = secure(|_| {});
    let mut openssl = Command::new("openssl")
        .args(["s_client", "-tls1_2", "-legacy_renegotiation", "-connect"])
        .arg(secure.site.addr.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl runs");
    let mut stdin = openssl.stdin.take().unwrap();
    secure.site.until("openssl is connected", |hub| hub.connections() == 1);
    stdin.write_all(b"R\n").unwrap();
    secure.site.until("the connection of openssl is gone", |hub| hub.connections() == 0);
    drop(stdin);
    let mut said = String::new();
    openssl.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    openssl.wait().unwrap();
    assert!(said.contains("RENEGOTIATING") && said.contains("no renegotiation"), "{said}");
}

#[test]
fn broken_versions_of_tls_are_refused() {
    let secure = secure(|_| {});
    for version in ["-tls1", "-tls1_1"] {
        let output = Command::new("openssl")
            .args(["s_client", version, "-cipher", "ALL:@SECLEVEL=0", "-connect"])
            .arg(secure.site.addr.to_string())
            .stdin(Stdio::null())
            .output()
            .expect("openssl runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains("SSL alert"), "{version}: {said}");
    }
    secure.site.until("they are gone", |hub| hub.connections() == 0);
    secure.connect(&TLS12, "A").beat();
}
