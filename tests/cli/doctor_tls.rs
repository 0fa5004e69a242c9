//! `longlink doctor` over wss: which certificates, TLS versions and ports keep phones from connecting.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use longlink::tickets::Ticket;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::{ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion, version};

use crate::certs::{Authority, NAME, Server, self_signed};
use crate::doctor::{Found, doctor};
use crate::fake;
use crate::program::{Folder, Program};
use crate::tickets::{NEXT, SECRET, sign};
use crate::tls::{Files, addr};

const BOTH: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];

/// A web server with this certificate, which may be a wrong one. It answers every request with 404.
fn site(server: &Server) -> SocketAddr {
    site_with(server, BOTH, |_| {})
}

fn site_with(
    server: &Server,
    versions: &[&'static SupportedProtocolVersion],
    change: impl FnOnce(&mut ServerConfig),
) -> SocketAddr {
    let chain = CertificateDer::pem_slice_iter(server.cert.as_bytes());
    let key = PrivateKeyDer::from_pem_slice(server.key.as_bytes()).unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain.collect::<Result<_, _>>().unwrap(), key)
        .unwrap();
    change(&mut config);
    let config = Arc::new(config);
    fake::serve(move |stream| {
        let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
        let mut tls = StreamOwned::new(connection, stream);
        if fake::read_head(&mut tls).is_empty() {
            return;
        }
        let _ = tls.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
        tls.conn.send_close_notify();
        let _ = tls.flush();
    })
}

/// Runs the command for a server, under the name that its certificate is for.
fn look(addr: SocketAddr, args: &[&str]) -> Found {
    let url = format!("wss://{NAME}:{}/websocket/doctor", addr.port());
    doctor(&url, &[&["--address", "127.0.0.1", "--quick"], args].concat())
}

#[test]
fn doctor_finds_no_failure_over_tls_if_the_root_is_trusted_and_the_name_is_right() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let ca = folder.file("ca", &authority.root());
    let files = Files::new(&folder, &authority.chain());
    let server = Program::start(&[&files.flags()[..], &["--allow-host", NAME]].concat());
    let addr = addr(&server).parse().unwrap();
    let found = look(addr, &["--ca", &ca]);
    found
        .has("ok", "url", &["wss", NAME])
        .has("ok", "tls", &["TLS 1.3", "ALPN http/1.1"])
        .has("ok", "name", &[NAME])
        .has("ok", "chain", &["complete", "3 certificates", "--ca"])
        .has("ok", "expiry", &["days left"])
        .has("ok", "resumption", &["resumed"])
        .has("ok", "tls 1.2", &[])
        .has("ok", "message", &[])
        .failed(0);
    // Without the root, the certificate is of an authority that phones do not know.
    look(addr, &[]).has("FAIL", "chain", &["only the server knows", "public"]).failed(1);
    // The certificate is not valid for the address of the server.
    let found = doctor(&format!("wss://{addr}/websocket/doctor"), &["--quick", "--ca", &ca]);
    found.has("warn", "url", &["not to an address"]);
    found.has("FAIL", "name", &[NAME, "not for 127.0.0.1"]).failed(1);
}

#[test]
fn doctor_checks_where_a_ticket_is_accepted_and_says_what_is_wrong_with_it() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let ca = folder.file("ca", &authority.root());
    let files = Files::new(&folder, &authority.chain());
    let secret = folder.file("secret", SECRET);
    let mut args = vec!["--secret-file", &secret, "--reject-delay", "0", "--log", "trace"];
    args.extend(files.flags());
    let mut program = Program::start(&args);
    let log = program.log();
    let addr = addr(&program).parse().unwrap();
    let with = |ticket: &str| look(addr, &["--ca", &ca, "--ticket", ticket]);
    let minute = Duration::from_secs(60);
    let (past, later) = (SystemTime::now() - minute, SystemTime::now() + minute);
    let good = sign(SECRET, &Ticket::new("doctor", later));
    let found = with(&good);
    found
        .has("ok", "upgrade", &["101"])
        .has("ok", "ticket query", &[])
        .has("ok", "ticket offer", &["comes back"])
        .has("ok", "no ticket", &["401"])
        .has("ok", "message", &[])
        .failed(0);
    assert!(!found.lines.concat().contains("warn"), "{:#?}", found.lines);

    look(addr, &["--ca", &ca]).has("FAIL", "upgrade", &["401", "--ticket T"]).failed(1);
    let phone = Ticket::new("doctor", later).device("phone");
    for (ticket, words) in [
        (Ticket::new("doctor", past), ["has expired", "sign a new one"]),
        (Ticket::new("alice", later), ["another user", "last part of the URL"]),
    ] {
        with(&sign(SECRET, &ticket)).has("FAIL", "upgrade", &words).failed(1);
    }
    with(&sign(SECRET, &phone)).has("ok", "upgrade", &[]).failed(0);
    let bad = ["401", "bad ticket", "is it whole", "this server's secret"];
    with(&sign(NEXT, &Ticket::new("doctor", later))).has("FAIL", "upgrade", &bad).failed(1);
    // The ticket may also stand in the URL.
    let url = format!("wss://{NAME}:{}/websocket/doctor?ticket={good}", addr.port());
    let there = ["--address", "127.0.0.1", "--quick", "--ca", &ca];
    let found = doctor(&url, &there);
    found.has("ok", "upgrade", &[]).failed(0);
    assert!(!found.lines.concat().contains(&good));
    doctor(&format!("{url}x"), &there).has("FAIL", "upgrade", &bad).failed(1);
    program.stop();
    assert!(!log.rest().concat().contains("eyJ"));
}

#[test]
fn doctor_reports_each_certificate_that_phones_refuse() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let ca = folder.file("ca", &authority.root());
    let with_ca = ["--ca", &ca];

    // The upgrade fails, too, because the server behind the certificate is no longlink.
    let found = look(site(&authority.server()), &with_ca);
    found.has("FAIL", "chain", &["incomplete", "works on iOS, fails on Android", "fullchain.pem"]);
    found.has("ok", "name", &[]).failed(2);

    let found = look(site(&authority.expired_server()), &with_ca);
    found.has("FAIL", "expiry", &["expired on 2020-01-01", "renew"]);
    found.has("FAIL", "chain", &["incomplete"]).failed(3);

    let found = look(site(&self_signed()), &with_ca);
    found.has("FAIL", "chain", &["self-signed", "public"]).failed(2);

    // The authority is unknown. With `--ca` it is one that only has the same name as the trusted one.
    let other = Authority::new().server_for(99);
    look(site(&other), &[]).has("FAIL", "chain", &["phones do not know"]).failed(2);
    look(site(&other), &with_ca).has("FAIL", "chain", &["no phone takes them"]).failed(2);
}

#[test]
fn doctor_warns_of_a_certificate_that_expires_soon() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let ca = folder.file("ca", &authority.root());
    for (days, verdict) in [(10, "warn"), (20, "ok")] {
        let found = look(site(&authority.server_for(days)), &["--ca", &ca]);
        let left = format!("{} days left", days - 1);
        found.has(verdict, "expiry", &[&left]).has("ok", "chain", &["2 certificates"]).failed(1);
    }
}

#[test]
fn doctor_warns_of_a_server_without_tls_1_2_or_without_resumption() {
    let server = self_signed();
    let forgetful = |version| {
        site_with(&server, &[version], |config| {
            config.session_storage = Arc::new(NoServerSessionStorage {});
        })
    };
    let found = look(forgetful(&version::TLS13), &[]);
    found.has("ok", "tls", &["TLS 1.3"]);
    found.has("warn", "tls 1.2", &["Android", "ssl_protocols"]);
    found.has("warn", "resumption", &["full", "ssl_session_cache"]);
    let found = look(forgetful(&version::TLS12), &[]);
    found.has("ok", "tls", &["TLS 1.2"]).has("warn", "resumption", &["full"]);
    assert!(!found.lines.iter().any(|line| line.contains("  tls 1.2  ")));
}

#[test]
fn doctor_explains_a_tls_handshake_that_fails() {
    let plain = Program::start(&[]);
    let found = look(plain.addr().parse().unwrap(), &[]);
    found.has("FAIL", "tls", &["not in TLS", "listen 443 ssl"]).failed(1);

    let gone = fake::serve(drop);
    look(gone, &[]).has("FAIL", "tls", &["handshake"]).failed(1);

    let alert = |description: u8| {
        fake::serve(move |mut stream: TcpStream| {
            let _ = stream.write_all(&[0x15, 3, 3, 0, 2, 2, description]);
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        })
    };
    for (description, word) in [
        (70, "ssl_protocols"),
        (40, "cipher"),
        (120, "ALPN"),
        (112, "server_name"),
        (80, "server_name"),
        (51, "log"),
    ] {
        look(alert(description), &[]).has("FAIL", "tls", &[word]).failed(1);
    }
}

#[test]
fn doctor_ends_in_time_when_a_tls_handshake_stalls() {
    let stalling = fake::serve(|mut stream| {
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let short = ["--timeout", "0.5"];
    look(stalling, &short).has("FAIL", "tls", &["not answered in 500ms"]).failed(1);

    // The server sends the start of a long record, and then one byte after another.
    let dribbling = fake::serve(|mut stream| {
        let _ = stream.write_all(&[0x16, 3, 3, 0x3F, 0xFF, 2, 0, 0x3F, 0xFB]);
        stream.set_read_timeout(Some(std::time::Duration::from_millis(20))).unwrap();
        while stream.write_all(&[0]).is_ok() {
            let _ = std::io::Read::read(&mut stream, &mut [0; 512]);
        }
    });
    look(dribbling, &short).has("FAIL", "tls", &["not answered in 500ms"]).failed(1);
}

#[test]
fn doctor_refuses_a_file_of_roots_that_it_cannot_read() {
    let folder = Folder::new();
    for (file, word) in
        [("/nowhere".to_owned(), "cannot read"), (folder.file("ca", "half"), "no whole PEM")]
    {
        crate::refusals::assert_refused(&["doctor", "wss://a", "--ca", &file], &["--ca", word]);
    }
}
