//! Invalid requests of many kinds arrive, over TLS and with tickets, while the log is at its most
//! detailed level. No part of a secret, a ticket or a query is in the log, and the clients that
//! were connected before stay connected.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use longlink::tickets::Ticket;
use rustls::ClientConnection;
use socket2::{Domain, Socket, Type};
use tungstenite::{Message, WebSocket};

use crate::certs::Authority;
use crate::program::{DEADLINE, Folder, Lines, Program, longlink, status_of};
use crate::tickets::{NEXT, SECRET, sign};
use crate::tls::{Files, Tls, addr, connect, connect_over};
use longlink::sim::frames::handshake;

/// A secret that queries contain beside tickets.
const MARK: &str = "s3cr3t";
const API_KEY: &str = "fedcba9876543210fedcba9876543210";
const PROXY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

struct Door {
    folder: Folder,
    authority: Authority,
    files: Files,
    program: Program,
    log: Lines,
    /// The lines of the log that were read.
    said: Vec<String>,
    /// Every ticket that was shown.
    shown: Vec<String>,
    good: String,
}

fn ticket(user: &str) -> Ticket {
    Ticket::new(user, SystemTime::now() + Duration::from_secs(3_600))
}

/// Returns a token with the claims of `ticket` and a header that asks for no signature.
fn unsigned(ticket: &str) -> String {
    // {"alg":"none"}
    format!("eyJhbGciOiJub25lIn0.{}.", ticket.split('.').nth(1).unwrap())
}

impl Door {
    fn open() -> Self {
        let (folder, authority) = (Folder::new(), Authority::new());
        let files = Files::new(&folder, &authority.chain());
        let secret = folder.file("secret", SECRET);
        let key = folder.file("key", API_KEY);
        let plain = format!("unix:{}", folder.path("plain").display());
        let mut args = vec!["--listen", "127.0.0.1:0", "--listen", &plain, "--log", "trace"];
        args.extend(["--secret-file", &secret, "--api-key-file", &key]);
        args.extend([
            "--handshake-timeout",
            "0.3",
            "--close-timeout",
            "0.3",
            "--reject-delay",
            "0",
        ]);
        args.extend(["--trust-proxy", "127.0.0.9", "--allow-origin", "app.example.com"]);
        args.extend(files.flags());
        let mut program = Program::spawn(&mut longlink(&args), 2);
        let log = program.log();
        let good = sign(SECRET, &ticket("alice"));
        let (said, shown) = (Vec::new(), vec![good.clone()]);
        Door { folder, authority, files, program, log, said, shown, good }
    }

    fn tls(&self) -> Tls {
        connect(&self.program, &self.authority)
    }

    fn tcp(&self) -> TcpStream {
        let tcp = TcpStream::connect(addr(&self.program)).unwrap();
        tcp.set_read_timeout(Some(DEADLINE)).unwrap();
        tcp
    }

    /// Opens a connection from this address of the machine.
    fn tcp_from(&self, ip: Ipv4Addr) -> TcpStream {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::new(ip.into(), 0).into()).unwrap();
        let server: SocketAddr = addr(&self.program).parse().unwrap();
        socket.connect_timeout(&server.into(), DEADLINE).unwrap();
        socket.into()
    }

    fn plain(&self) -> UnixStream {
        let stream = UnixStream::connect(self.folder.path("plain")).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream
    }

    /// A handshake whose query has the good ticket and [`MARK`].
    fn request(&self) -> Vec<u8> {
        handshake(&format!("/websocket/alice?ticket={}&x={MARK}", self.good), "")
    }

    /// Reads the log until a line contains this text.
    fn find_in_log(&mut self, text: &str) {
        loop {
            let line = self.log.next().expect("it runs");
            let found = line.contains(text);
            self.said.push(line);
            if found {
                return;
            }
        }
    }

    /// Returns the statuses of handshakes that show this ticket, one for each possible place.
    fn show(&mut self, ticket: &str, user: &str, query: &str) -> [u16; 3] {
        self.shown.push(ticket.to_owned());
        let path = format!("/websocket/{user}?x={MARK}{query}");
        [
            handshake(&format!("{path}&ticket={ticket}"), ""),
            handshake(&path, &format!("Authorization: Bearer {ticket}\r\n")),
            handshake(&path, &format!("Sec-WebSocket-Protocol: longlink.v1, ticket.{ticket}\r\n")),
        ]
        .map(|request| status_of(self.tls(), &request))
    }
}

/// Returns the bytes that still arrive on a connection that the server ends.
fn end(mut stream: impl Read) -> Vec<u8> {
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    rest
}

/// Sends a heartbeat and checks its answer.
fn beat(socket: &mut WebSocket<Tls>) {
    socket.send(Message::text("ping")).unwrap();
    assert_eq!(socket.read().unwrap().to_text().unwrap(), r#"{"type":"pong"}"#);
}

/// The first bytes that a TLS client sends.
fn hello(tls: &mut ClientConnection) -> Vec<u8> {
    let mut bytes = Vec::new();
    tls.write_tls(&mut bytes).unwrap();
    bytes
}

fn show_invalid_tickets(door: &mut Door) {
    assert_eq!(door.show(&door.good.clone(), "alice", ""), [101; 3]);
    assert_eq!(status_of(door.tls(), &handshake(&format!("/websocket/alice?x={MARK}"), "")), 401);
    // This is longer ago than clocks may differ.
    let past = SystemTime::now() - Duration::from_secs(10);
    for ticket in [
        sign(SECRET, &Ticket::new("alice", past)),
        sign(SECRET, &ticket("bob")),
        sign(SECRET, &ticket("alice").device("phone")),
        sign(NEXT, &ticket("alice")),
        unsigned(&door.good),
        format!("{}A", door.good),
        format!("{}{}", door.good, "A".repeat(5_000)),
        "e30.e30.e30".to_owned(),
    ] {
        assert_eq!(door.show(&ticket, "alice", "&device=pad"), [401; 3], "{ticket}");
    }
    assert_eq!(door.show(&door.good.clone(), "bob", ""), [401; 3]);
    // A ticket is the only subprotocol, or stands in a broken query.
    let alone = format!("Sec-WebSocket-Protocol: ticket.{}\r\n", door.good);
    assert_eq!(status_of(door.tls(), &handshake("/websocket/alice", &alone)), 400);
    let broken = format!("/websocket/alice?device=%zz{MARK}&ticket={}", door.good);
    assert_eq!(status_of(door.tls(), &handshake(&broken, "")), 400);
}

fn send_invalid_requests(door: &Door) {
    let query = format!("?ticket={}&x={MARK}", door.good);
    for (path, fields, status) in [
        (format!("/nowhere{query}"), String::new(), 404),
        (format!("/websocket/{query}"), String::new(), 404),
        (format!("/websocket/al%2Fice{query}"), String::new(), 400),
        (format!("/websocket/alice{query}"), format!("X: {}\r\n", "x".repeat(20_000)), 431),
        (format!("/websocket/alice{query}"), format!("Content-Length: {MARK}\r\n"), 400),
        (
            format!("/websocket/alice{query}"),
            format!("Origin: https://other.test/{query}\r\n"),
            403,
        ),
    ] {
        let request = handshake(&path, &fields);
        assert_eq!(status_of(door.tls(), &request), status, "{path}");
    }
    // The requests to the backend's interface show a wrong key, or the right one.
    for (path, key, status) in [("online", MARK, 401), ("", API_KEY, 404), ("online", API_KEY, 400)]
    {
        let request = format!(
            "GET /api/{path}{query} HTTP/1.1\r\nHost: a.test\r\nAuthorization: Bearer {key}\r\n\r\n"
        );
        assert_eq!(status_of(door.tls(), request.as_bytes()), status, "{path}");
    }
}

fn send_protocols_that_the_server_does_not_speak(door: &Door) {
    assert_eq!(status_of(door.tcp(), &door.request()), 400);
    // A client speaks TLS on an address without TLS.
    let mut client = door.tls();
    let greeting = hello(&mut client.conn);
    drop(client);
    let mut plain = door.plain();
    plain.write_all(&greeting).unwrap();
    assert!(end(plain).starts_with(b"HTTP/1.1 400 "));
    // A client offers only a protocol (ALPN) that the server does not speak.
    let mut other = connect_over(door.tcp(), &door.authority, &["h2"]);
    let refused = other.conn.complete_io(&mut other.sock).unwrap_err().to_string();
    assert!(refused.contains("NoApplicationProtocol"), "{refused}");
}

fn leave_handshakes_unfinished(door: &Door) {
    let mut client = door.tls();
    let greeting = hello(&mut client.conn);
    drop(client);
    let mut stalled = door.tcp();
    stalled.write_all(&greeting[..greeting.len() / 2]).unwrap();
    assert_eq!(end(stalled), b"");
    // A client sends one byte now and then, until the server ends the connection.
    let mut dribbling = door.tcp();
    dribbling.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let ended = greeting.iter().any(|byte| {
        let _ = dribbling.write_all(&[*byte]);
        matches!(dribbling.read(&mut [0; 16]), Ok(0)) || dribbling.take_error().unwrap().is_some()
    });
    assert!(ended);
    // A client sends, inside TLS, half a request with a ticket in it.
    let mut half = door.tls();
    let request = door.request();
    half.write_all(&request[..request.len() - 2]).unwrap();
    assert_eq!(end(half), b"");
}

fn ask_for_renegotiation(door: &Door) {
    let mut openssl = Command::new("openssl")
        .args(["s_client", "-tls1_2", "-legacy_renegotiation", "-connect", addr(&door.program)])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl runs");
    let mut stdin = openssl.stdin.take().unwrap();
    stdin.write_all(b"R\n").unwrap();
    // openssl ends when the server ends the connection.
    let mut said = String::new();
    openssl.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    openssl.wait().unwrap();
    drop(stdin);
    assert!(said.contains("RENEGOTIATING") && said.contains("no renegotiation"), "{said}");
}

fn end_without_a_close_notify(door: &Door) {
    for say in [&door.request()[..], b""] {
        let mut client = door.tls();
        client.write_all(say).unwrap();
        client.flush().unwrap();
        client.sock.shutdown(Shutdown::Write).unwrap();
        end(client);
    }
}

fn send_forged_addresses(door: &Door) {
    let forged = format!("X-Forwarded-For: {}\r\nForwarded: for={MARK}\r\n", door.good);
    let line = b"PROXY TCP4 198.51.100.1 10.0.0.1 4711 443\r\n";
    let version_2 =
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0C\x01\x01\x01\x01\x02\x02\x02\x02\0\x01\0\x02";
    let path = format!("/websocket/alice?ticket={}&x={MARK}", door.good);
    for ip in [Ipv4Addr::LOCALHOST, PROXY] {
        let client = connect_over(door.tcp_from(ip), &door.authority, &[]);
        assert_eq!(status_of(client, &handshake(&path, &forged)), 101);
        for header in [&line[..], version_2] {
            let mut tcp = door.tcp_from(ip);
            tcp.write_all(header).unwrap();
            let mut client = connect_over(tcp, &door.authority, &[]);
            let let_in = client.conn.complete_io(&mut client.sock).is_ok();
            assert_eq!(let_in, ip == PROXY);
        }
        // A PROXY header has a ticket at the place of the address.
        let mut tcp = door.tcp_from(ip);
        tcp.write_all(format!("PROXY TCP4 {} {MARK}\r\n", door.good).as_bytes()).unwrap();
        end(tcp);
    }
}

fn reload_half_written_certificates(door: &mut Door) {
    for path in [door.files.cert.clone(), door.files.key.clone()] {
        let whole = std::fs::read_to_string(&path).unwrap();
        // Somebody who has several secrets may write the last text into this file by mistake.
        for text in [&whole[..whole.len() / 2], "", SECRET] {
            std::fs::write(&path, text).unwrap();
            door.program.signal("HUP");
            door.find_in_log("nothing was changed");
        }
        std::fs::write(&path, whole).unwrap();
    }
}

#[test]
fn no_secret_ticket_or_query_is_logged_whatever_requests_come() {
    let mut door = Door::open();
    let url = format!("ws://a.test/websocket/alice?ticket={}&x={MARK}", door.good);
    let (mut inside, _) = tungstenite::client(url, door.tls()).expect("it is let in");
    show_invalid_tickets(&mut door);
    send_invalid_requests(&door);
    send_protocols_that_the_server_does_not_speak(&door);
    leave_handshakes_unfinished(&door);
    ask_for_renegotiation(&door);
    end_without_a_close_notify(&door);
    send_forged_addresses(&door);
    reload_half_written_certificates(&mut door);
    beat(&mut inside);

    let Door { mut program, log, mut said, shown, .. } = door;
    program.stop();
    said.extend(log.rest());
    for line in
        ["open user alice", "a ticket is needed", "refused a page from https://other.test, which"]
    {
        assert!(said.iter().any(|it| it.contains(line)), "the log lacks {line:?}");
    }
    let parts = shown.iter().flat_map(|ticket| ticket.split('.')).filter(|it| it.len() > 9);
    let secrets = parts.chain([SECRET, NEXT, API_KEY, MARK, "ticket=", "ticket.", "eyJ"]);
    for secret in secrets {
        let line = said.iter().find(|line| line.contains(secret));
        assert!(line.is_none(), "{secret} in {line:?}");
    }
}
