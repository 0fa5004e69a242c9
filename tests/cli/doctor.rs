//! `longlink doctor` with servers that are well, and with proxies, networks and servers that end silent
//! connections.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::fake;
use crate::program::{Folder, Program, longlink, run};

/// How long a proxy waits for bytes: longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(1);

/// The lines that the command has printed, and its exit code.
pub struct Found {
    pub code: i32,
    pub lines: Vec<String>,
}

/// Runs the command, which must end in time and print nothing on stderr.
pub fn doctor(url: &str, args: &[&str]) -> Found {
    let (code, out, err) = run(&mut longlink(&[&["doctor", url], args].concat()));
    assert_eq!(err, "", "{out}");
    Found { code, lines: out.lines().map(str::to_owned).collect() }
}

impl Found {
    /// The line of a step, which must have this verdict and these words.
    #[track_caller]
    pub fn has(&self, verdict: &str, step: &str, words: &[&str]) -> &Self {
        let start = format!("{verdict:<4}  {step:<12}  ");
        let line = self.lines.iter().find(|line| line.starts_with(&start));
        let line = line.unwrap_or_else(|| panic!("no {start:?} in {:#?}", self.lines));
        for word in words {
            assert!(line.contains(word), "{line} lacks {word:?}");
        }
        assert_eq!(verdict != "ok", line.contains("  -> "), "a remedy where one is needed: {line}");
        self
    }

    /// Checks that so many steps have failed, and that the exit code and the last line say so.
    #[track_caller]
    pub fn failed(&self, count: usize) -> &Self {
        let fails = self.lines.iter().filter(|line| line.starts_with("FAIL")).count();
        assert_eq!((fails, self.code), (count, i32::from(count > 0)), "{:#?}", self.lines);
        assert!(self.lines.last().unwrap().ends_with(&format!("{count} failed")));
        self
    }
}

pub fn url(addr: impl std::fmt::Display) -> String {
    format!("ws://{addr}/websocket/doctor")
}

/// A proxy that passes on bytes both ways until nothing has come from the server for a while. Then it
/// cuts the connection, or it freezes: the connection stays open, and no more bytes are passed on.
fn proxy(server: SocketAddr, patience: Duration, freezes: bool) -> SocketAddr {
    fake::serve(move |client| {
        let upstream = TcpStream::connect(server).unwrap();
        upstream.set_read_timeout(Some(patience)).unwrap();
        let (mut from, mut to) = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
        let up = thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
        });
        let (mut from, mut to, mut bytes) = (&upstream, &client, [0; 4_096]);
        loop {
            match from.read(&mut bytes) {
                Ok(length @ 1..) if to.write_all(&bytes[..length]).is_ok() => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock && freezes => {
                    let _ = upstream.shutdown(std::net::Shutdown::Both);
                    let _ = up.join();
                    // The proxy reads on until the client has gone.
                    let _ = std::io::copy(&mut from, &mut std::io::sink());
                    let _ = std::io::copy(&mut to.try_clone().unwrap(), &mut std::io::sink());
                    return;
                }
                _ => {
                    let _ = client.shutdown(std::net::Shutdown::Both);
                    let _ = upstream.shutdown(std::net::Shutdown::Both);
                    return;
                }
            }
        }
    })
}

#[test]
fn doctor_finds_no_failure_with_a_server_that_is_well() {
    let server = Program::start(&[]);
    let found = doctor(&url(server.addr()), &["--quick"]);
    found
        .has("warn", "url", &["host 127.0.0.1", "path /websocket/doctor", "wss://"])
        .has("ok", "resolve", &["address"])
        .has("ok", "tcp", &[server.addr(), "connected in"])
        .has("ok", "upgrade", &["101"])
        .has("ok", "origin", &["https://servicewechat.com"])
        .has("ok", "subprotocol", &["comes back"])
        .has("ok", "heartbeat", &["5 round trips", "median"])
        .has("ok", "ping", &["answered"])
        .has("ok", "message", &["to doctor"])
        .has("ok", "close", &["1000"])
        .has("ok", "welcome v2", &["epoch", "newest number", "live"])
        .has("ok", "kept", &["queued: a message waits in memory"])
        .has("ok", "resume", &["not acknowledged", "comes again behind"])
        .failed(0);
    assert!(!found.lines.iter().any(|line| line.contains("silence")));
    // The second run finds what the first one has left, and leaves nothing behind either.
    let found = doctor(&url(server.addr()), &["--quick"]);
    found.has("ok", "resume", &["comes again behind"]).failed(0);
}

#[test]
fn doctor_with_json_prints_one_object() {
    let server = Program::start(&[]);
    let found = doctor(&url(server.addr()), &["--quick", "--json"]);
    let [line] = &found.lines[..] else { panic!("{:?}", found.lines) };
    let object: Value = serde_json::from_str(line).unwrap();
    assert_eq!((found.code, &object["verdict"]), (0, &"warn".into()));
    let checks = object["checks"].as_array().unwrap();
    let of = |step: &str| checks.iter().find(|check| check["step"] == step).unwrap();
    assert!(of("heartbeat")["ms"].as_f64().is_some_and(|ms| ms > 0.0));
    assert_eq!(
        (&of("heartbeat")["verdict"], &of("heartbeat")["remedy"]),
        (&"ok".into(), &Value::Null)
    );
    assert!(of("url")["remedy"].as_str().unwrap().contains("wss://"));
}

#[test]
fn doctor_looks_up_a_name_and_tries_each_address() {
    let server = Program::start(&[]);
    let port = server.addr().rsplit(':').next().unwrap();
    let found = doctor(&format!("ws://localhost:{port}/websocket/doctor"), &["--quick"]);
    found.has("warn", "resolve", &["A 127.0.0.1", "this network only"]).failed(0);
    found.has("ok", "tcp", &[server.addr()]);

    // No host has such a name (RFC 6761, section 6.4).
    let found = doctor("ws://chat.invalid/websocket/doctor", &[]);
    found.has("FAIL", "resolve", &["chat.invalid"]).failed(1);
}

#[test]
fn doctor_names_the_flag_for_a_host_that_the_server_does_not_allow() {
    let plain = Program::start(&[]);
    let port = plain.addr().rsplit(':').next().unwrap();
    let named = |port: &str| format!("ws://chat.example.com:{port}/websocket/doctor");
    let there = ["--quick", "--address", "127.0.0.1"];
    let found = doctor(&named(port), &there);
    found.has("FAIL", "upgrade", &["403", "--allow-host chat.example.com"]).failed(1);

    let knowing = Program::start(&["--allow-host", "chat.example.com"]);
    let port = knowing.addr().rsplit(':').next().unwrap();
    doctor(&named(port), &there).has("ok", "resolve", &["--address"]).failed(0);
}

#[test]
fn doctor_takes_the_user_from_the_path_and_says_which_path_a_server_has() {
    let server = Program::start(&[]);
    let at = |path: &str| doctor(&format!("ws://{}{path}", server.addr()), &["--quick"]);
    at("/websocket/%E5%BC%A0%20%22?device=x").has("ok", "message", &["张 \""]).failed(0);
    at("/")
        .has("warn", "url", &["/websocket/USER"])
        .has("FAIL", "upgrade", &["web site"])
        .failed(1);
    at("/ws").has("FAIL", "upgrade", &["404", "/websocket/USER"]).failed(1);
}

#[test]
fn doctor_sees_that_pings_of_the_server_keep_a_silent_connection_open() {
    let server = Program::start(&["--ping-after", "0.3", "--idle-timeout", "5"]);
    let through = proxy(server.addr().parse().unwrap(), Duration::from_secs(2), false);
    let found = doctor(&url(through), &["--silent", "3"]);
    found.has("ok", "server ping", &["of silence"]).has("ok", "silence", &["open after", "pings"]);
    found.failed(0);
}

#[test]
fn doctor_finds_a_proxy_that_ends_silent_connections() {
    let server = Program::start(&[]);
    let through = proxy(server.addr().parse().unwrap(), PATIENCE, false);
    let found = doctor(&url(through), &["--silent", "10"]);
    found
        .has("warn", "server ping", &["none in"])
        .has("FAIL", "silence", &["ended after 1.", "0 pings", "proxy_read_timeout"])
        .failed(1);
}

#[test]
fn doctor_finds_a_network_that_forgets_silent_connections() {
    let server = Program::start(&[]);
    let through = proxy(server.addr().parse().unwrap(), PATIENCE, true);
    let found = doctor(&url(through), &["--silent", "2", "--timeout", "1"]);
    found.has("FAIL", "silence", &["dead after 2 s", "--ping-after"]).failed(1);
}

#[test]
fn doctor_finds_a_server_that_ends_silent_connections() {
    let server = Program::start(&["--ping-after", "0", "--idle-timeout", "1"]);
    let found = doctor(&url(server.addr()), &["--silent", "10"]);
    found.has("FAIL", "silence", &["1001", "--idle-timeout"]).failed(1);
}

#[test]
fn doctor_warns_that_a_server_accepts_clients_without_a_ticket() {
    let server = Program::start(&[]);
    let found = doctor(&url(server.addr()), &["--quick", "--ticket", "s3cr3t"]);
    found
        .has("ok", "ticket query", &[])
        .has("ok", "ticket offer", &["comes back"])
        .has("warn", "no ticket", &["is accepted, too"])
        .failed(0);
    assert!(!found.lines.concat().contains("s3cr3t"));

    let folder = Folder::new();
    let file = std::fs::File::open(folder.file("ticket", "s3cr3t\n")).unwrap();
    let url = url(server.addr());
    let mut command = longlink(&["doctor", &url, "--quick", "--ticket", "-"]);
    let (code, out, _) = run(command.stdin(file));
    assert!(code == 0 && out.contains("ticket offer"), "{out}");
}

#[cfg(feature = "store")]
#[test]
fn doctor_says_that_a_server_with_a_store_keeps_messages_on_its_disk() {
    let folder = crate::program::Folder::new();
    let file = crate::program::shown(&folder.path("m.db"));
    let server = Program::start(&["--store", &file]);
    let found = doctor(&url(server.addr()), &["--quick"]);
    found.has("ok", "kept", &["stored", "survives a crash"]).failed(0);
}
