//! The server goes on when the readers of its stdout and stderr stop reading, or go away.

use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::Instant;

use tungstenite::Message;

use crate::program::{DEADLINE, Folder, Patient, Program, longlink, status};

/// Causes more lines than a pipe (64 KiB) and the queue (1,024 lines) can hold: at `trace`, each
/// connection causes three lines of 100 bytes or more.
fn make_noise(program: &Program) {
    for number in 0..800 {
        let mut user = program.user(&format!("{number}-a-name-that-makes-the-line-longer"));
        user.send(Message::text("ping")).unwrap();
        assert_eq!(user.read().unwrap(), Message::text(r#"{"type":"pong"}"#));
    }
}

#[test]
fn a_log_that_nobody_reads_does_not_stop_the_server_and_lost_lines_are_reported() {
    let mut program = Program::start(&["--log", "trace"]);
    make_noise(&program);
    assert_eq!(program.status("/healthz"), 200);

    // The lines that waited come when the log is read at last, and one says that others were lost.
    let log = program.log();
    let told = log.find("log lines were lost");
    assert!(told.contains("WARN"), "{told}");
    program.stop();
    assert!(log.rest().last().unwrap().ends_with("stopped"));
}

#[test]
fn a_log_that_nobody_reads_does_not_delay_the_end_of_the_server() {
    let mut program = Program::start(&["--log", "trace"]);
    make_noise(&program);
    let start = Instant::now();
    program.stop();
    assert!(start.elapsed() < DEADLINE / 2, "{:?}", start.elapsed());
}

#[test]
fn a_log_whose_reader_is_gone_does_not_stop_the_server() {
    let mut program = Program::start(&["--log", "trace"]);
    drop(program.child.stderr.take());
    make_noise(&program);
    assert_eq!(program.status("/healthz"), 200);
    program.stop();
}

#[test]
fn a_closed_or_broken_stdout_does_not_stop_the_server() {
    let folder = Folder::new();
    let path = folder.path("s");
    let listen = format!("unix:{}", path.display());

    let mut broken = longlink(&["--listen", &listen]);
    let mut closed = std::process::Command::new("sh");
    let script = format!("exec {} --listen {listen} >&-", env!("CARGO_BIN_EXE_longlink"));
    closed.args(["-c", &script]).env_clear();
    for command in [&mut broken, &mut closed] {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        drop(child.stdout.take());
        // The address of the server is known, so the test asks until the server answers.
        let until = Instant::now() + DEADLINE;
        let stream = loop {
            match UnixStream::connect(&path) {
                Ok(stream) => break stream,
                Err(_) if Instant::now() < until => std::thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        };
        assert_eq!(status(stream, "/healthz"), 200);
        child.kill().unwrap();
        child.wait().unwrap();
        std::fs::remove_file(&path).unwrap();
    }
}

#[test]
fn repeated_warnings_that_any_client_can_cause_are_held_back() {
    let mut program = Program::start(&["--reject-delay", "0"]);
    let log = program.log();
    for _ in 0..50 {
        let url = "ws://evil.example/websocket/A";
        assert!(tungstenite::client(url, Patient(program.connect())).is_err());
    }
    log.find("more warnings like those");
    program.stop();
}

#[test]
fn with_log_off_nothing_is_logged() {
    let mut program = Program::start(&["--log", "off"]);
    let log = program.log();
    drop(program.user("A"));
    program.stop();
    assert_eq!(log.rest(), Vec::<String>::new());
}

#[test]
fn a_command_whose_output_cannot_be_written_fails_and_says_so() {
    let Ok(full) = std::fs::OpenOptions::new().write(true).open("/dev/full") else { return };
    for args in [&["ticket", "alice", "--ttl", "2h"][..], &["check"], &["--print-config"]] {
        let mut command = crate::program::longlink(args);
        command.env("LONGLINK_SECRET", "0123456789abcdef0123456789abcdef");
        let output = command
            .stdout(full.try_clone().unwrap())
            .stderr(std::process::Stdio::piped())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            said.contains("cannot write to standard output: No space left"),
            "{args:?}: {said}"
        );
    }
}
