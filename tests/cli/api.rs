//! The interface for a backend, as the command serves it: at which address, and who may use it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use crate::program::{Folder, Patient, Program, longlink};
use crate::refusals::assert_refused;

const KEY: &str = "0123456789abcdef0123456789abcdef";

/// The answer to a request.
fn ask(mut stream: impl Read + Write, fields: &str) -> String {
    let request =
        format!("GET /api/online HTTP/1.1\r\nHost: localhost\r\n{fields}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn without_a_setting_the_command_has_no_interface_for_a_backend() {
    let program = Program::start(&[]);
    assert_eq!(program.status("/api/online"), 404);
}

#[test]
fn the_address_of_the_backends_listener_is_announced_after_the_others() {
    let folder = Folder::new();
    let socket = format!("unix:{}", folder.path("api").display());
    let args = ["--listen", "127.0.0.1:0", "--api-listen", &socket];
    let mut program = Program::spawn(&mut longlink(&args), 1);
    assert_eq!(program.stdout.next(), Some(format!("api on {socket}")));
    let answer = ask(UnixStream::connect(folder.path("api")).unwrap(), "");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.ends_with(r#"{"count":0,"users":[],"next":null}"#), "{answer}");
    assert_eq!(program.status("/api/online"), 404);
    program.stop();
    assert!(!folder.path("api").exists());
}

#[test]
fn a_request_with_the_key_is_answered_and_the_key_is_not_logged() {
    let folder = Folder::new();
    let file = folder.file("key", &format!("{KEY}\n"));
    let mut program = Program::start(&["--api-key-file", &file, "--log", "trace"]);
    let log = program.log();
    assert_eq!(program.status("/api/online"), 401);
    let field = format!("Authorization: Bearer {KEY}\r\n");
    assert!(ask(program.connect(), &field).starts_with("HTTP/1.1 200 "));
    program.stop();
    let said = log.rest().join("\n");
    assert!(said.contains("api-key-file") && !said.contains(&KEY[8..]), "{said}");
}

#[test]
fn no_client_may_connect_under_a_name_that_a_backend_sends_under() {
    let program = Program::start(&["--api-from", "shop,news", "--reject-delay", "0"]);
    for name in ["system", "shop", "news"] {
        let url = format!("ws://{}/websocket/{name}", program.addr());
        let stream = Patient(program.connect());
        let refused = tungstenite::client(url, stream).unwrap_err().to_string();
        assert!(refused.contains("403"), "{refused}");
    }
    drop(program.user("shopper"));
}

#[test]
fn settings_that_would_let_everyone_use_the_interface_are_refused() {
    let folder = Folder::new();
    assert_refused(&["--api-listen", "0.0.0.0:0"], &["not loopback", "--api-key-file"]);
    let short = folder.file("short", "secret");
    assert_refused(&["--api-key-file", &short], &["--api-key-file", "32 to 1024 bytes"]);
    let words = folder.file("words", &format!("{KEY} {KEY}\n"));
    assert_refused(&["--api-key-file", &words], &["one word"]);
    let three = folder.file("three", &format!("{KEY}\n").repeat(3));
    assert_refused(&["--api-key-file", &three], &["two while they are changed"]);
    assert_refused(&["--api-key-file", "/nowhere"], &["cannot read the file"]);
    assert_refused(&["--api-listen", "localhost"], &["--api-listen"]);
    assert_refused(&["--api-from", "a/b"], &["--api-from", "a/b"]);
    let file = folder.file("key", KEY);
    let args = ["--listen", "127.0.0.1:0", "--api-listen", "0.0.0.0:0", "--api-key-file", &file];
    Program::spawn(&mut longlink(&args), 1).stop();
}
