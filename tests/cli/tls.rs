//! The command with a certificate: what it refuses, and what happens when the
//! certificate is renewed.

use std::io::Write;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::certs::{Authority, NAME, Server, self_signed};
use crate::program::{DEADLINE, Folder, Program, longlink, status};
use crate::refusals::assert_refused;
use crate::service::Manager;
use crate::tickets::{SECRET, alice, status_on};

/// The files of a certificate.
pub struct Files {
    pub cert: String,
    pub key: String,
}

impl Files {
    pub fn new(folder: &Folder, server: &Server) -> Self {
        let cert = folder.file("fullchain.pem", &server.cert);
        Files { cert, key: folder.file("privkey.pem", &server.key) }
    }

    pub fn flags(&self) -> [&str; 4] {
        ["--tls-cert", &self.cert, "--tls-key", &self.key]
    }
}

pub fn addr(program: &Program) -> &str {
    program.addresses[0].strip_prefix("https://").expect("a TLS address")
}

pub type Tls = StreamOwned<ClientConnection, TcpStream>;

/// Opens a TLS connection that trusts this authority.
pub fn connect(program: &Program, authority: &Authority) -> Tls {
    let tcp = TcpStream::connect(addr(program)).unwrap();
    connect_over(tcp, authority, &[])
}

/// Opens a TLS connection over a TCP stream, and offers protocols (ALPN).
pub fn connect_over(tcp: TcpStream, authority: &Authority, offered: &[&str]) -> Tls {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(authority.root_der())).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = offered.iter().map(|it| it.as_bytes().to_vec()).collect();
    let name = ServerName::try_from(NAME).unwrap();
    let connection = ClientConnection::new(config.into(), name).unwrap();
    tcp.set_read_timeout(Some(DEADLINE)).unwrap();
    StreamOwned::new(connection, tcp)
}

/// The certificate that the server shows to a new connection.
fn shown(program: &Program, authority: &Authority) -> Vec<u8> {
    let mut tls = connect(program, authority);
    tls.conn.complete_io(&mut tls.sock).unwrap();
    tls.conn.peer_certificates().unwrap()[0].to_vec()
}

#[test]
fn tcp_addresses_speak_tls_and_unix_sockets_stay_plain() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let files = Files::new(&folder, &authority.chain());
    let path = folder.path("s");
    let listen = format!("unix:{}", path.display());
    let mut args = vec!["--listen", "127.0.0.1:0", "--listen", &listen];
    args.extend(files.flags());
    let mut program = Program::spawn(&mut longlink(&args), 2);
    assert_eq!(program.addresses[1], listen);
    assert_eq!(status(connect(&program, &authority), "/healthz"), 200);
    assert_eq!(status(UnixStream::connect(&path).unwrap(), "/healthz"), 200);
    assert_eq!(status(TcpStream::connect(addr(&program)).unwrap(), "/healthz"), 400);
    program.stop();
}

#[test]
fn with_tls_and_tickets_the_server_listens_on_any_address_without_a_warning() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let files = Files::new(&folder, &authority.chain());
    let mut args = vec!["--listen", "0.0.0.0:0", "--reject-delay", "0"];
    args.extend(files.flags());
    let mut program = Program::spawn(longlink(&args).env("LONGLINK_SECRET", SECRET), 1);
    let ticket = alice(SECRET);
    assert_eq!(status_on(connect(&program, &authority), "alice", &ticket), 101);
    assert_eq!(status_on(connect(&program, &authority), "bob", &ticket), 401);
    program.stop();
    let log = program.log().rest().join("\n");
    assert!(!log.contains("in the clear"), "{log}");
    assert!(!log.contains(&ticket) && !log.contains("ticket="), "{log}");
}

#[test]
fn a_renewed_certificate_is_taken_up_and_a_broken_one_is_not() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let (first, second) = (authority.chain(), authority.chain());
    let files = Files::new(&folder, &first);
    let mut program = Program::start(&files.flags());
    let log = program.log();
    let before = shown(&program, &authority);
    let mut open = connect(&program, &authority);
    open.conn.complete_io(&mut open.sock).unwrap();

    program.signal("HUP");
    log.find("the certificate has not changed");

    // The certificate is half written first; then the old key is still beside it; then the key is gone.
    let half = &second.cert[..second.cert.len() / 2];
    for (cert, why) in [(half, "no whole PEM certificate"), (&second.cert, "private key is not")] {
        folder.file("fullchain.pem", cert);
        program.signal("HUP");
        let line = log.find(why);
        assert!(line.contains("ERROR") && line.contains("reload: --tls-cert"), "{line}");
        log.find("nothing was changed");
        assert!(!line.contains("BEGIN"));
        assert_eq!(shown(&program, &authority), before);
    }
    std::fs::remove_file(&files.key).unwrap();
    program.signal("HUP");
    log.find(&format!("cannot read {}", files.key));
    assert_eq!(shown(&program, &authority), before);

    folder.file("privkey.pem", &second.key);
    program.signal("HUP");
    log.find("a new certificate is in use");
    let after = shown(&program, &authority);
    assert_ne!(after, before);
    // A client that was connected before notices nothing.
    assert_eq!(status(open, "/healthz"), 200);
    program.stop();
}

#[test]
fn the_service_manager_is_told_that_a_reload_is_done_when_the_new_certificate_is_used() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let files = Files::new(&folder, &authority.chain());
    let manager = Manager::at(&folder);
    let mut args = vec!["--listen", "127.0.0.1:0"];
    args.extend(files.flags());
    let mut command = longlink(&args);
    let mut program = Program::spawn(command.env("NOTIFY_SOCKET", folder.path("notify")), 1);
    assert_eq!(manager.told(), "READY=1\n");
    let before = shown(&program, &authority);
    Files::new(&folder, &authority.chain());
    program.signal("HUP");
    assert!(manager.told().starts_with("RELOADING=1\n"));
    assert_eq!(manager.told(), "READY=1\n");
    assert_ne!(shown(&program, &authority), before);
    program.stop();
}

#[test]
fn certificates_that_clients_would_refuse_are_refused_at_the_start() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let Server { cert, key } = authority.server();
    let cases = [
        (cert.clone(), key.clone(), "the chain is incomplete"),
        (authority.chain().cert, key.clone(), "the private key is not the certificate's"),
        (cert[..cert.len() / 2].to_owned(), key.clone(), "no whole PEM certificate"),
        (authority.chain().cert, key[..key.len() / 2].to_owned(), "no whole PEM private key"),
        (String::new(), key, "no whole PEM certificate"),
    ];
    for (cert, key, why) in cases {
        let files = Files::new(&folder, &Server { cert, key });
        assert_refused(&files.flags(), &["tls-cert", &files.cert, &files.key, why]);
    }
    let files = Files::new(&folder, &self_signed());
    assert_refused(&files.flags()[..2], &["tls-cert: it needs tls-key"]);
    assert_refused(&files.flags()[2..], &["tls-key: it needs tls-cert"]);
    assert_refused(&["--tls-cert", "/nowhere", "--tls-key", &files.key], &["cannot read /nowhere"]);
    assert_refused(
        &["--tls-cert", "/dev/zero", "--tls-key", &files.key],
        &["cannot read /dev/zero", "1 MiB"],
    );
}

#[test]
fn a_self_signed_certificate_is_used_with_a_warning() {
    let folder = Folder::new();
    let mut file = std::fs::File::create(folder.path("longlink.toml")).unwrap();
    let files = Files::new(&folder, &self_signed());
    writeln!(file, "tls-cert = \"{}\"\ntls-key = \"{}\"", files.cert, files.key).unwrap();
    let config = folder.path("longlink.toml");
    let mut program = Program::start(&["--config", config.to_str().unwrap()]);
    program.log().find("self-signed");
    program.stop();
}
