//! `longlink doctor` when something is wrong: each fault is reported in a line with its remedy.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use longlink::sim::frames;
use tungstenite::handshake::derive_accept_key;

use crate::doctor::{doctor, url};
use crate::fake;
use crate::program::{Program, longlink, run};
use crate::refusals::assert_refused;

/// A server that answers each request with these bytes and closes the connection.
fn answering(answer: &'static [u8]) -> String {
    url(fake::serve(move |mut stream| {
        fake::read_head(&mut stream);
        let _ = stream.write_all(answer);
    }))
}

/// The value of a field in a request's head.
fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let fields = head.lines().filter_map(|line| line.split_once(": "));
    fields.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// A server that accepts every handshake, echoes its subprotocol, and then calls `act`.
fn speaking(act: impl Fn(TcpStream) + Clone + Send + 'static) -> SocketAddr {
    fake::serve(move |mut stream| {
        let head = fake::read_head(&mut stream);
        accept(&mut stream, &head, field(&head, "Sec-WebSocket-Protocol"));
        act(stream);
    })
}

fn accept(stream: &mut TcpStream, head: &str, protocol: Option<&str>) {
    let key = field(head, "Sec-WebSocket-Key").unwrap_or_default();
    let protocol = protocol.map_or(String::new(), |it| format!("Sec-WebSocket-Protocol: {it}\r\n"));
    let accept = derive_accept_key(key.as_bytes());
    let _ = stream.write_all(
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n{protocol}\r\n"
        )
        .as_bytes(),
    );
}

/// Answers heartbeats, and says goodbye with a close frame when the client has been silent for a while.
fn leaving(mut stream: TcpStream, code: u16, reason: &str) {
    stream.set_read_timeout(Some(std::time::Duration::from_millis(500))).unwrap();
    let mut bytes = [0; 4_096];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return,
            Ok(_) => {
                let _ = stream.write_all(b"\x81\x0f{\"type\":\"pong\"}");
            }
            Err(_) => break,
        }
    }
    let mut close = vec![0x88, 2 + reason.len() as u8];
    close.extend_from_slice(&code.to_be_bytes());
    close.extend_from_slice(reason.as_bytes());
    let _ = stream.write_all(&close);
    let _ = std::io::copy(&mut stream, &mut std::io::sink());
}

#[test]
fn doctor_tells_a_server_that_is_restarted_from_a_silence_that_was_cut() {
    for (code, reason, verdict, word) in [
        (1_001, "going away", "warn", "restarted"),
        (1_012, "", "warn", "restarted"),
        (1_001, "idle", "FAIL", "--idle-timeout"),
    ] {
        let server = speaking(move |stream| leaving(stream, code, reason));
        let found = doctor(&url(server), &["--silent", "10", "--timeout", "1"]);
        found.has(verdict, "silence", &[word]);
    }
}

/// Reads to the end of the stream and sends nothing.
fn deaf(mut stream: TcpStream) {
    let _ = std::io::copy(&mut stream, &mut std::io::sink());
}

#[test]
fn doctor_refuses_wrong_arguments_with_one_line_that_names_them() {
    assert_refused(&["doctor"], &["URL"]);
    assert_refused(&["doctor", "ws://a", "--frob"], &["--frob"]);
    assert_refused(&["doctor", "ws://a", "--silent", "x"], &["--silent", "seconds"]);
    assert_refused(&["doctor", "ws://a", "--ticket", "a b"], &["--ticket"]);
    assert_refused(&["doctor", "ws://a", "--address", "x"], &["--address"]);
}

#[test]
fn doctor_says_what_is_wrong_with_a_url() {
    for (url, word) in [
        ("", "expected ws://"),
        ("https://chat.example.com/websocket/a", "expected ws://"),
        ("wss://chat.example.com:x/websocket/a", "port"),
        ("wss://chat.example.com/websocket/张", "percent-encode"),
    ] {
        doctor(url, &[]).has("FAIL", "url", &[word, "wss://chat.example.com"]).failed(1);
    }
    if cfg!(not(feature = "tls")) {
        let found = doctor("wss://127.0.0.1:1/websocket/a", &[]);
        found.has("FAIL", "url", &["no TLS", "--features tls"]).failed(1);
    }
}

#[test]
fn doctor_says_that_the_connection_was_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = url(listener.local_addr().unwrap());
    drop(listener);
    doctor(&url, &[]).has("FAIL", "tcp", &["refused", "--listen"]).failed(1);
}

#[test]
fn doctor_says_that_a_network_swallows_everything() {
    // The backlog is full with one connection, so the kernel does not answer another one.
    let listener =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let addr = listener.local_addr().unwrap().as_socket().unwrap();
    let _first = TcpStream::connect(addr).unwrap();
    let found = doctor(&url(addr), &["--timeout", "0.5"]);
    found.has("FAIL", "tcp", &["no answer in 500ms", "firewall"]).failed(1);
}

#[test]
fn doctor_explains_each_answer_that_is_no_upgrade() {
    for (answer, words) in [
        (
            &b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>"[..],
            &["HTML", "web site"][..],
        ),
        (b"HTTP/1.1 301 Moved\r\nLocation: https://x/\r\n\r\n", &["301", "https://x/", "wss://"]),
        (b"HTTP/1.1 400 Bad Request\r\nServer: nginx\r\n\r\n", &["nginx", "proxy_set_header"]),
        (b"HTTP/1.1 401 Unauthorized\r\n\r\n", &["401", "--ticket"]),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", &["404", "proxy_pass"]),
        (b"HTTP/1.1 426 Upgrade Required\r\n\r\n", &["426", "proxy_http_version 1.1"]),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", &["502", "is it running"]),
        (b"HTTP/1.1 504 Gateway Timeout\r\n\r\n", &["504", "proxy_pass"]),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", &["101 without Upgrade"]),
        (
            b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
              Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
            &["does not answer the key", "cache"],
        ),
        (b"SSH-2.0-OpenSSH_9.6\r\n", &["no HTTP", "SSH-2.0", "listens there"]),
        (b"\x15\x03\x03\x00\x02\x02\x0a", &["TLS", "wss://"]),
        (b"\x1b[2J\xff\xfe", &["no HTTP", "\\u{1b}"]),
        (b"HTTP/1.1 200", &["no HTTP"]),
        (b"", &["without an answer"]),
    ] {
        doctor(&answering(answer), &[]).has("FAIL", "upgrade", words).failed(1);
    }
}

#[test]
fn doctor_reports_an_answer_that_does_not_come_or_does_not_end() {
    let short = ["--timeout", "0.5"];
    let found = doctor(&url(fake::serve(deaf)), &short);
    found.has("FAIL", "upgrade", &["not answered", "wss://"]).failed(1);

    let dribbling = fake::serve(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nA: ");
        while stream.write_all(b"x").is_ok() {
            std::thread::yield_now();
        }
    });
    doctor(&url(dribbling), &short).has("FAIL", "upgrade", &["does not end"]).failed(1);
}

#[test]
fn doctor_reports_a_server_that_refuses_the_origin_or_echoes_another_subprotocol() {
    let addr = fake::serve(|mut stream| {
        let head = fake::read_head(&mut stream);
        if field(&head, "Origin").is_some() {
            let _ = stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
        } else {
            accept(&mut stream, &head, None);
        }
    });
    let found = doctor(&url(addr), &["--quick"]);
    found
        .has("FAIL", "origin", &["403", "must not check Origin"])
        .has("FAIL", "subprotocol", &["does not come back", "Sec-WebSocket-Protocol"])
        .has("FAIL", "heartbeat", &["the connection"])
        .failed(3);

    let uncalled = fake::serve(|mut stream| {
        let head = fake::read_head(&mut stream);
        accept(&mut stream, &head, Some("other"));
    });
    let found = doctor(&url(uncalled), &["--quick"]);
    found.has("FAIL", "upgrade", &["not offered"]).has("FAIL", "subprotocol", &["another one"]);
}

#[test]
fn doctor_never_prints_a_ticket_that_is_refused() {
    let addr = fake::serve(|mut stream| {
        let head = fake::read_head(&mut stream);
        if field(&head, "Authorization").is_some() {
            accept(&mut stream, &head, field(&head, "Sec-WebSocket-Protocol"));
            return deaf(stream);
        }
        // The server repeats everything that it gets.
        let line = head.lines().next().unwrap_or_default();
        let offer = field(&head, "Sec-WebSocket-Protocol").unwrap_or_default();
        let body = format!("{line} {offer}\n");
        let _ = write!(
            stream,
            "HTTP/1.1 401 {offer}\r\nServer: {offer}\r\nLocation: /s3cr3t?s3cr3t\r\n\
             Content-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
    });
    for form in [&[][..], &["--json"]] {
        let args = ["--quick", "--timeout", "1", "--ticket", "s3cr3t"];
        let found = doctor(&(url(addr) + "?ticket=h1dd3n"), &[&args, form].concat());
        let text = found.lines.join("\n");
        assert!(!text.contains("s3cr3t") && !text.contains("h1dd3n"), "{text}");
        if form.is_empty() {
            found.has("FAIL", "ticket query", &["401", "this server's secret"]);
            found.has("FAIL", "ticket offer", &["401"]);
            found.has("ok", "no ticket", &["401"]);
        }
    }
    let (_, out, err) = run(&mut longlink(&["doctor", "ws://a", "--ticket", "s3 cr3t"]));
    assert!(!(out + &err).contains("s3"));
}

#[test]
fn doctor_reports_a_server_that_does_not_speak_the_protocol() {
    let short = ["--quick", "--timeout", "0.5"];
    doctor(&url(speaking(deaf)), &short)
        .has("FAIL", "heartbeat", &["no answer in 500ms", "pong"])
        .has("FAIL", "ping", &["no answer", "control frames"])
        .has("FAIL", "message", &["no answer", "id of its own"])
        .has("warn", "close", &["no answer"])
        .failed(3);

    for (bytes, word) in [
        (&[0x81, 0x81, 0, 0, 0, 0, b'x'][..], "masked"),
        (&[0x88, 0x02, 0x03, 0xF0], "code 1008"),
        (&[0x88, 0x00], "code 1005"),
        (&[0x80, 0x00], "out of order"),
        (&[0x82, 0x7F, 0, 0, 0, 0, 0, 0x20, 0, 0], "ended without a close frame"),
        (&[0x82, 0x7F, 0xFF, 0, 0, 0, 0, 0, 0, 0], "longer than"),
    ] {
        let addr = speaking(move |mut stream| {
            let _ = stream.write_all(bytes);
            // The server reads what the client still sends. Otherwise the sent bytes could be lost.
            let _ = stream.shutdown(std::net::Shutdown::Write);
            deaf(stream);
        });
        doctor(&url(addr), &short).has("FAIL", "heartbeat", &[word]).failed(1);
    }
}

#[test]
fn doctor_ends_in_time_with_a_server_that_never_stops_sending() {
    let meet = |bytes: &'static [u8]| {
        let addr = speaking(move |mut stream| {
            let mut reader = stream.try_clone().unwrap();
            std::thread::spawn(move || while matches!(reader.read(&mut [0; 4096]), Ok(1..)) {});
            while stream.write_all(bytes).is_ok() {}
        });
        let found = doctor(&url(addr), &["--silent", "0.5", "--timeout", "1"]);
        found.has("FAIL", "heartbeat", &[]);
        assert_eq!(found.code, 1);
    };
    std::thread::scope(|scope| {
        for bytes in
            [&b"\x81\x01x"[..], b"\x89\x00", b"\x01\x01x\x00\x01x", b"\x01\x01x", b"\x8a\x00"]
        {
            scope.spawn(move || meet(bytes));
        }
    });
}

/// Starts a proxy that passes everything on to a server. Only handshakes with these words in their
/// head are accepted by the proxy itself, and get this text and nothing else.
fn in_front_of(server: &Program, words: &'static [&'static str], text: String) -> SocketAddr {
    let server: SocketAddr = server.addr().parse().unwrap();
    fake::serve(move |mut client| {
        let head = fake::read_head(&mut client);
        if words.iter().all(|word| head.contains(word)) {
            accept(&mut client, &head, field(&head, "Sec-WebSocket-Protocol"));
            let _ = client.write_all(&frames::server_frame(frames::TEXT, text.as_bytes()));
            return deaf(client);
        }
        let mut upstream = TcpStream::connect(server).unwrap();
        upstream.write_all(head.as_bytes()).unwrap();
        let (mut from, mut to) = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(std::net::Shutdown::Write);
        });
        let _ = std::io::copy(&mut upstream, &mut client);
        let _ = client.shutdown(std::net::Shutdown::Both);
    })
}

#[test]
fn doctor_warns_of_a_server_that_does_not_speak_v2() {
    let server = Program::start(&["--mailbox", "off"]);
    let found = doctor(&url(server.addr()), &["--quick"]);
    found.has("warn", "welcome v2", &["does not come back", "is lost", "--mailbox on"]).failed(0);
    assert!(!found.lines.iter().any(|line| line.contains("resume")));
}

#[test]
fn doctor_reports_a_welcome_that_is_missing_or_incomplete() {
    let server = Program::start(&[]);
    for (text, words) in [
        ("hello", &["no answer in 1s"][..]),
        (r#"{"type":"pong"}"#, &["the first frame is no welcome"]),
        (r#"{"type":"welcome","epoch":"k3f9"}"#, &["the welcome has no seq"]),
        (
            r#"{"type":"error","code":"full","reason":"no room","retry":true}"#,
            &["refused with full", "no room"],
        ),
    ] {
        let through = in_front_of(&server, &["longlink.v2"], text.to_owned());
        let found = doctor(&url(through), &["--quick", "--timeout", "1"]);
        found.has("ok", "message", &[]).has("FAIL", "welcome v2", words).failed(1);
    }
}

#[test]
fn doctor_reports_a_server_that_forgets_a_device() {
    let server = Program::start(&[]);
    let welcome = |resumed: bool, cursor: u64| {
        format!(
            r#"{{"type":"welcome","epoch":"other","seq":1,"cursor":{cursor},"resumed":{resumed},
            "ping":1,"idle":1,"maxMessage":1,"window":1,"now":1}}"#
        )
    };
    let resumes = &["longlink.v2", "last="];
    let through = in_front_of(&server, resumes, welcome(false, 0));
    let found = doctor(&url(through), &["--quick", "--timeout", "1"]);
    found.has("ok", "welcome v2", &["epoch"]).has("FAIL", "resume", &["does not know"]).failed(1);
}
