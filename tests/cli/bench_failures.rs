//! `longlink bench` when the arguments are wrong, or the server, or what the server sends. The command
//! says so in one line and with its exit code.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Stdio;

use serde_json::Value;

use crate::bench::url;
use crate::fake;
use crate::program::{Lines, Program, longlink, run};

const ACCEPTED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Runs a mode that fails. Returns the exit code, the figures, and the line that says what went wrong.
pub fn failed(mode: &str, url: &str, args: &[&str]) -> (i32, Option<Value>, String) {
    let (code, out, err) = run(&mut longlink(&[&["bench", mode, url, "--json"], args].concat()));
    let line = err.strip_suffix('\n').unwrap_or_else(|| panic!("no line: {out}"));
    assert!(!line.contains('\n'), "more than one line: {err}");
    let line = line
        .strip_prefix("longlink: ")
        .expect("the line begins with the program's name")
        .to_owned();
    let figures = (!out.is_empty()).then(|| serde_json::from_str(&out).expect("one JSON object"));
    (code, figures, line)
}

/// A server that answers each request with these bytes and reads on to a close
/// frame or the end of the stream.
fn fake(answer: &[u8]) -> String {
    let answer = answer.to_vec();
    let addr = fake::serve(move |mut stream| {
        fake::read_head(&mut stream);
        let _ = stream.write_all(&answer);
        let mut rest = [0; 4_096];
        while matches!(stream.read(&mut rest), Ok(1..)) && rest[0] != 0x88 {}
    });
    format!("ws://{addr}/{{user}}")
}

/// A server that accepts a handshake and then sends these bytes.
fn after_handshake(bytes: &[u8]) -> String {
    fake(&[ACCEPTED, bytes].concat())
}

#[test]
fn bench_refuses_wrong_arguments_with_exit_code_2_and_one_line_that_names_them() {
    let url = "ws://127.0.0.1:1/{user}";
    for (mode, url, args, words) in [
        ("frob", url, &[][..], &["frob"][..]),
        ("pingpong", "http://127.0.0.1/", &[], &["URL", "ws://"]),
        ("pingpong", url, &["--frob"], &["--frob"]),
        ("pingpong", url, &["--size", "10"], &["--size", "pingpong"]),
        ("pingpong", url, &["--connections", "0"], &["--connections"]),
        ("p2p", "ws://127.0.0.1:1/x", &[], &["{user}"]),
        // No process has this id, because it is above the highest one of Linux.
        ("pingpong", url, &["--pid", "4194305"], &["--pid 4194305", "no such process"]),
    ] {
        let (code, figures, line) = failed(mode, url, args);
        assert_eq!((code, figures), (2, None), "{line}");
        for word in words {
            assert!(line.contains(word), "{mode} {args:?}: {line} lacks {word:?}");
        }
    }
}

#[test]
fn bench_says_in_every_mode_that_it_cannot_connect() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/{{user}}", listener.local_addr().unwrap());
    drop(listener);
    for mode in ["connect", "heartbeat", "pingpong", "p2p", "fanout", "churn", "slow"] {
        let (code, _, line) = failed(mode, &url, &[]);
        assert_eq!(code, 1, "{line}");
        assert!(line.contains("cannot connect") && line.contains("refused"), "{mode}: {line}");
    }
}

#[test]
fn bench_reports_the_status_of_a_handshake_that_is_refused() {
    let server = Program::start(&[]);
    let url = format!("ws://{}/nowhere/{{user}}", server.addr());
    let (code, figures, line) = failed("pingpong", &url, &[]);
    assert_eq!((code, figures), (1, None));
    assert!(line.contains("HTTP/1.1 404"), "{line}");
}

#[test]
fn bench_names_the_flag_of_a_source_address_that_is_not_of_this_machine() {
    let server = Program::start(&[]);
    // No machine has an address of TEST-NET-1 (RFC 5737, section 3).
    let (code, _, line) = failed("pingpong", &url(&server), &["--source", "192.0.2.1"]);
    assert_eq!(code, 1);
    assert!(line.contains("--source"), "{line}");
}

#[test]
fn bench_reports_how_many_connections_a_full_server_has_accepted() {
    let server = Program::start(&["--max-connections", "5"]);
    let args = ["--connections", "8", "--duration", "0.05"];
    let (code, figures, line) = failed("connect", &url(&server), &args);
    assert!(code == 1 && line.contains("503"), "{line}");
    let figures = figures.unwrap();
    assert_eq!((&figures["operations"], &figures["errors"]), (&5.into(), &3.into()));
    let limits = figures["limits"].as_array().unwrap();
    let only = limits[0].as_str().unwrap();
    assert!(limits.len() == 1 && only.contains("(HTTP 503, Retry-After: 2)"), "{figures}");
    assert!(only.contains("a limit of the server") && only.contains("--max-connections"), "{only}");
}

/// The limits of the server that the figures name, in one text.
fn limits(figures: &Value) -> String {
    let limits = figures["limits"].as_array().expect("a list").iter();
    limits.map(|limit| limit.as_str().unwrap()).collect::<Vec<_>>().join("\n")
}

#[test]
fn bench_says_that_it_measures_the_rate_to_which_a_server_holds_its_clients() {
    // The server lets each connection run ahead for a fifth of a second, which the warm-up uses up.
    let args = ["--connections", "2", "--in-flight", "16", "--warmup", "0.5", "--duration", "1.2"];
    let run_at = |rate: &str| {
        let server = Program::start(&["--message-rate", rate, "--rate-burst", "0.2"]);
        crate::bench::measured(&server, "pingpong", &args)
    };
    let held = limits(&run_at("1000"));
    assert!(held.contains("exactly 1000 messages of each connection a second"), "{held}");
    assert!(held.contains("--message-rate 0"), "{held}");
    // The bench cannot know the rate of a server whose rate is not the default one of longlink.
    assert_eq!(limits(&run_at("700")), "");
}

#[test]
fn bench_names_the_limit_behind_an_answer_or_a_frame_of_the_server() {
    let often = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 60\r\nContent-Length: 0\r\n\r\n";
    let (code, _, line) = failed("pingpong", &fake(often), &["--connections", "1"]);
    assert!(code == 1 && line.contains("(HTTP 429, Retry-After: 60)"), "{line}");

    let head = String::from_utf8_lossy(ACCEPTED);
    let head = head.replace("\r\n\r\n", "\r\nSec-WebSocket-Protocol: longlink.v2\r\n\r\n");
    let error = br#"{"type":"error","code":"rate","reason":"256 sends have no answer yet"}"#;
    let answer = [head.as_bytes(), &[0x81, error.len() as u8], error].concat();
    let (code, _, line) = failed("p2p", &fake(&answer), &["--v2", "--connections", "2"]);
    assert!(code == 1 && line.contains("lower --in-flight"), "{line}");

    // The first connection is answered, and all others wait.
    let answered = std::sync::atomic::AtomicBool::new(false);
    let answered = std::sync::Arc::new(answered);
    let addr = fake::serve(move |mut stream| {
        fake::read_head(&mut stream);
        if !answered.swap(true, std::sync::atomic::Ordering::Relaxed) {
            let _ = stream.write_all(ACCEPTED);
        }
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let args = ["--connections", "3", "--timeout", "0.3", "--duration", "0"];
    let (code, figures, line) = failed("connect", &format!("ws://{addr}/{{user}}"), &args);
    let figures = figures.unwrap();
    assert_eq!((code, &figures["operations"], &figures["errors"]), (1, &1.into(), &2.into()));
    assert!(line.contains("lets a further one wait") && line.contains("--accept-rate"), "{line}");
}

#[test]
fn bench_ends_with_an_error_when_the_server_is_killed_during_a_run() {
    for mode in ["connect", "heartbeat", "pingpong", "p2p", "fanout", "churn"] {
        let mut server = Program::start(&["--log", "debug"]);
        let log = server.log();
        let pid = server.child.id().to_string();
        let args = ["bench", mode, &url(&server), "--json", "--duration", "1000", "--pid", &pid];
        let mut bench = longlink(&args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let (out, err) =
            (Lines::of(bench.stdout.take().unwrap()), Lines::of(bench.stderr.take().unwrap()));
        // The server is killed when the last connection of the mode is open; with `churn`, when any is.
        log.find(match mode {
            "churn" => "open user",
            "fanout" => "open user 0000101",
            _ => "open user 0000100",
        });
        // `log` still reads the log of the server here, so that the server can write on until it is
        // killed.
        server.child.kill().unwrap();
        let line = err.next().expect("a line that says why the run failed");
        assert_eq!(bench.wait().unwrap().code(), Some(1), "{mode}: {line}");
        assert!(line.contains("connection") || line.contains("connect"), "{mode}: {line}");
        // If the server was killed before anything was measured, there are no figures.
        if let Some(figures) = out.next() {
            let figures: Value = serde_json::from_str(&figures).unwrap();
            assert!(figures["error"].is_string(), "{mode}: {figures}");
        }
    }
}

#[test]
fn bench_reports_an_answer_that_does_not_come_in_time() {
    let deaf = after_handshake(b"");
    let short = ["--timeout", "0.3", "--warmup", "0", "--connections", "2"];
    for (mode, word) in [
        ("pingpong", "ping was not answered in 0.3 s"),
        ("heartbeat", "ping was not answered in 0.3 s"),
        ("p2p", "message did not arrive in 0.3 s"),
        ("fanout", "broadcast did not arrive in 0.3 s"),
    ] {
        let often = ["--ping-interval", "0.1"];
        let args = [&short[..], if mode == "heartbeat" { &often } else { &[] }].concat();
        let (code, _, line) = failed(mode, &deaf, &args);
        assert!(code == 1 && line.contains(word), "{mode}: {line}");
    }
    let silent = fake(b"");
    let (code, _, line) = failed("pingpong", &silent, &["--timeout", "0.3"]);
    assert!(code == 1 && line.contains("not answered in time"), "{line}");
}

#[test]
fn bench_fails_when_a_server_sends_what_it_must_not() {
    for (bytes, word) in [
        (&b"HTTP/1.1 200 OK\r\n\r\n"[..], "HTTP/1.1 200 OK"),
        (b"\r\n\r\n", "refused the handshake"),
        (b"\xff\xfe\r\n\r\n", "refused the handshake"),
        (&[b'x'; 20_000], "does not end"),
        (b"HTTP/1.1 101 X\r\nSec-WebSocket-Accept: x\r\n\r\n", "Sec-WebSocket-Accept"),
    ] {
        let (code, figures, line) = failed("pingpong", &fake(bytes), &["--connections", "1"]);
        assert_eq!((code, figures), (1, None), "{line}");
        assert!(line.contains(word), "{line} lacks {word:?}");
    }
    for (bytes, word) in [
        (&[0x81, 0x81, 0, 0, 0, 0, b'x'][..], "masked"),
        (&[0xF1, 0x00], "reserved bit"),
        (&[0x83, 0x00], "reserved opcode"),
        (&[0x89, 0x7E, 0, 200], "control frame"),
        (&[0x82, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF], "longer than 64 MiB"),
        (&[0x80, 0x00], "out of order"),
        (&[0x01, 0x00, 0x01, 0x00], "out of order"),
        (&[0x88, 0x02, 0x03, 0xE9], "code 1001"),
        (&[0x88, 0x00], "code 1005"),
        (&[0x88, 0x02, 0x03, 0xF6], "code 1014"),
        (&[0x88, 0x01, 0x03], "bad code"),
        (&[0x88, 0x02, 0x03, 0xED], "bad code"),
        (&[0x88, 0x02, 0x07, 0xD0], "bad code"),
    ] {
        let url = after_handshake(bytes);
        let (code, _, line) = failed("pingpong", &url, &["--connections", "1", "--warmup", "0"]);
        assert!(code == 1 && line.contains(word), "{bytes:?}: {line} lacks {word:?}");
    }
}

/// The server sends fragments with a ping between them, pongs that nobody asked for, and texts that are
/// no answers.
#[test]
fn bench_accepts_unusual_frames_that_a_server_may_send() {
    let url = after_handshake(
        &[
            &[0x01, 2, b'p', b'o', 0x89, 1, b'!', 0x80, 2, b'n', b'g'][..],
            &[0x8A, 0, 0x81, 0, 0x82, 3, 1, 2, 3, 0x81, 4, b'p', b'o', b'n', b'g'],
        ]
        .concat(),
    );
    let args = ["--connections", "1", "--duration", "0.05"];
    let (code, out, err) = run(&mut longlink(&[&["bench", "connect", &url], &args[..]].concat()));
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
}

#[test]
fn bench_counts_a_message_out_of_order_as_an_error() {
    let message = b"{\"message\":\"#@@@@@@@E\"}";
    let url = after_handshake(&[&[0x81, message.len() as u8], &message[..]].concat());
    for mode in ["p2p", "fanout"] {
        let args = ["--connections", "2", "--timeout", "0.3", "--warmup", "0"];
        let (code, figures, line) = failed(mode, &url, &args);
        assert!(code == 1 && line.contains("no connection") || line.contains("in 0.3 s"), "{line}");
        let why = figures.unwrap()["errors"].as_u64();
        assert!(
            why >= Some(2),
            "an error for the wrong message and one for the missing one: {why:?}"
        );
    }
}
