//! Going down: politely at the first signal, at once at the second.

use std::io::{Read, Write};
use std::net::TcpStream;

use tungstenite::Message;

use crate::program::{Program, status};

#[test]
fn everybody_is_told_before_it_goes() {
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
            // The answer goes out with the next call, and then the end comes.
            while user.read().is_ok() {}
        }
        assert_eq!(program.wait(), 0);
        log.find(&format!("SIG{signal}"));
        log.find("stopped");
    }
}

/// A WebSocket by hand: it answers nothing by itself.
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
fn a_second_signal_does_not_wait_for_anybody() {
    for (first, second, code) in [("TERM", "TERM", 143), ("TERM", "INT", 130)] {
        let mut program = Program::start(&["--close-timeout", "1000"]);
        let mut stream = deaf(&program);
        program.signal(first);
        expect_going_away(&mut stream);
        assert!(program.child.try_wait().unwrap().is_none(), "it waits for the answer");
        program.signal(second);
        assert_eq!(program.wait(), code);
    }
}

#[test]
fn who_does_not_answer_is_left_after_the_close_timeout() {
    let mut program = Program::start(&["--close-timeout", "0.1"]);
    let mut stream = deaf(&program);
    program.signal("TERM");
    expect_going_away(&mut stream);
    assert_eq!(program.wait(), 0);
}

#[test]
fn nobody_new_gets_in_while_it_goes_down() {
    let mut program = Program::start(&["--close-timeout", "1000"]);
    let mut stream = deaf(&program);
    let before = program.connect();
    program.signal("TERM");
    expect_going_away(&mut stream);
    assert!(TcpStream::connect(program.addr()).is_err());
    drop(before);
    // Answered, the close is done.
    stream.write_all(&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe9]).unwrap();
    drop(stream);
    assert_eq!(program.wait(), 0);
}

#[test]
fn a_signal_without_connections_ends_it_at_once() {
    let mut program = Program::start(&["--close-timeout", "1000"]);
    assert_eq!(status(program.connect(), "/healthz"), 200);
    program.stop();
}
