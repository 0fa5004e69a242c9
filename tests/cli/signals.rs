//! How the server stops: politely at the first signal, and at once at the second one.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use tungstenite::Message;

use crate::program::{Folder, Program, status};

#[test]
fn every_client_gets_a_close_frame_before_the_server_stops() {
    for signal in ["TERM", "INT"] {
        let mut program = Program::start(&["--log", "debug"]);
        let log = program.log();
        let users = ["A", "B", "C"].map(|id| program.user(id));
        program.signal(signal);
        for mut user in users {
            match user.read() {
                Ok(Message::Close(Some(frame))) => assert_eq!(u16::from(frame.code), 1001),
                other => panic!("{other:?}"),
            }
            // The next read sends the answer, and then the stream ends.
            while user.read().is_ok() {}
        }
        assert_eq!(program.wait(), 0);
        log.find(&format!("SIG{signal}"));
        log.find("stopped");
    }
}

/// Opens a WebSocket whose frames the test itself writes, so it answers nothing by itself.
fn deaf(program: &Program) -> TcpStream {
    let mut stream = program.connect();
    let head = "GET /websocket/deaf HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
        Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    assert!(answer.starts_with(b"HTTP/1.1 101 "));
    stream
}

/// Reads a close frame with code 1001.
fn expect_going_away(stream: &mut TcpStream) {
    let mut head = [0; 4];
    stream.read_exact(&mut head).unwrap();
    assert_eq!((head[0], &head[2..]), (0x88, &[0x03, 0xe9][..]));
}

#[test]
fn a_second_signal_ends_the_server_at_once() {
    for (first, second, code) in [("TERM", "TERM", 143), ("TERM", "INT", 130)] {
        let mut program = Program::start(&["--close-timeout", "1000"]);
        let mut stream = deaf(&program);
        program.signal(first);
        expect_going_away(&mut stream);
        assert!(program.child.try_wait().unwrap().is_none(), "the server waits for the answer");
        program.signal(second);
        assert_eq!(program.wait(), code);
    }
}

#[test]
fn a_client_that_does_not_answer_holds_a_shutdown_no_longer_than_the_close_timeout() {
    let mut program = Program::start(&["--close-timeout", "0.1"]);
    let mut stream = deaf(&program);
    program.signal("TERM");
    expect_going_away(&mut stream);
    assert_eq!(program.wait(), 0);
}

#[test]
fn no_new_connection_is_accepted_during_a_shutdown() {
    let mut program = Program::start(&["--close-timeout", "1000"]);
    let mut stream = deaf(&program);
    let before = program.connect();
    program.signal("TERM");
    expect_going_away(&mut stream);
    assert!(TcpStream::connect(program.addr()).is_err());
    drop(before);
    // The client answers the close frame, so the shutdown is done.
    stream.write_all(&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe9]).unwrap();
    drop(stream);
    assert_eq!(program.wait(), 0);
}

#[test]
fn sighup_without_a_change_says_that_nothing_has_changed_and_ends_no_connection() {
    let mut program = Program::start(&[]);
    let log = program.log();
    let mut user = program.user("A");
    for _ in 0..2 {
        program.signal("HUP");
        log.find("reload: done, and no setting has changed");
    }
    user.send(Message::text("ping")).unwrap();
    assert_eq!(user.read().unwrap(), Message::text(r#"{"type":"pong"}"#));
    program.stop();
}

#[test]
fn signals_that_do_not_ask_the_server_to_stop_end_no_connection() {
    let mut program = Program::start(&[]);
    let log = program.log();
    let mut user = program.user("A");
    for signal in ["USR1", "USR2"] {
        program.signal(signal);
        let line = log.find(&format!("SIG{signal}"));
        assert!(line.contains("does nothing"), "{line}");
    }
    for signal in ["PIPE", "WINCH", "CHLD", "URG", "CONT", "XFSZ"] {
        program.signal(signal);
        user.send(Message::text("ping")).unwrap();
        assert_eq!(user.read().unwrap(), Message::text(r#"{"type":"pong"}"#), "{signal}");
    }
    program.stop();
}

#[test]
fn sighup_during_a_shutdown_changes_nothing() {
    let mut program = Program::start(&["--close-timeout", "1000"]);
    let log = program.log();
    let mut stream = deaf(&program);
    program.signal("TERM");
    expect_going_away(&mut stream);
    program.signal("HUP");
    assert!(log.find("SIGHUP").contains("going down"));
    program.signal("INT");
    assert_eq!(program.wait(), 130);
}

#[test]
fn a_server_that_was_started_with_sighup_ignored_goes_on_serving() {
    let mut command = std::process::Command::new("/bin/sh");
    let script = "trap '' HUP; exec \"$0\" --listen 127.0.0.1:0";
    command.args(["-c", script, env!("CARGO_BIN_EXE_longlink")]).env_clear();
    let mut program = Program::spawn(&mut command, 1);
    let log = program.log();
    program.signal("HUP");
    log.find("no setting has changed");
    assert_eq!(status(program.connect(), "/healthz"), 200);
    program.stop();
}

#[test]
fn a_log_file_that_may_not_grow_does_not_stop_the_server() {
    let folder = Folder::new();
    let path = folder.file("log", "");
    let mut command = std::process::Command::new("/bin/sh");
    // The log file may have one block of 512 bytes.
    let script = "ulimit -f 1; exec \"$0\" --listen 127.0.0.1:0 --log trace 2>\"$1\"";
    command.args(["-c", script, env!("CARGO_BIN_EXE_longlink"), &path]).env_clear();
    let mut program = Program::spawn(&mut command, 1);
    for number in 0..20 {
        let mut user = program.user(&format!("{number}-a-name-that-makes-the-line-longer"));
        user.send(Message::text("ping")).unwrap();
        assert_eq!(user.read().unwrap(), Message::text(r#"{"type":"pong"}"#));
    }
    program.stop();
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 512, "the log was cut off");
}

#[test]
fn a_server_without_connections_ends_at_once_at_a_signal() {
    let mut program = Program::start(&["--close-timeout", "1000"]);
    assert_eq!(status(program.connect(), "/healthz"), 200);
    program.stop();
}

/// When a process that was stopped goes on, the signal ends its poll without events, however many wait.
#[test]
fn a_process_that_was_stopped_ends_no_connection_whose_heartbeat_waits() {
    let program = Program::start(&["--ping-after", "1", "--idle-timeout", "2"]);
    let mut streams: Vec<TcpStream> = (0..4).map(|_| deaf(&program)).collect();
    program.signal("STOP");
    for stream in &mut streams {
        stream.write_all(b"\x81\x84\0\0\0\0ping").unwrap();
    }
    // Nothing comes for longer than the idle timeout.
    streams[0].set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    let mut byte = [0];
    while streams[0].read(&mut byte).is_ok() {}
    program.signal("CONT");
    for stream in &mut streams {
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut got = Vec::new();
        while !got.ends_with(b"pong\"}") {
            stream.read_exact(&mut byte).unwrap_or_else(|error| panic!("{error} after {got:?}"));
            got.push(byte[0]);
        }
        assert!(!got.contains(&0x88), "a close: {got:?}");
    }
}
