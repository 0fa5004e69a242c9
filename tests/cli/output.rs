//! The server goes on when the readers of its stdout and stderr stop reading, or go away.

use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::Instant;

use tungstenite::Message;

use crate::program::{DEADLINE, Folder, Patient, Program, longlink, run, status};

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

/// The arguments of every command that prints without a server and a store.
const ALONE: &[&str] = &[
    "--version",
    "--help",
    "-h",
    "help",
    "help bench",
    "serve --help",
    "bench -h",
    "--print-config",
    "serve --print-config",
    "check",
    "ticket alice --ttl 2h",
    "completions bash",
    "completions zsh",
    "completions fish",
    "man",
    "man doctor",
    "doctor ws://127.0.0.1:1/websocket/doctor",
    "doctor ws://127.0.0.1:1/websocket/doctor --json",
];

/// Runs a command with this standard output. Returns the exit code and what it says on standard error.
fn with_stdout(args: &[&str], stdout: Stdio) -> (Option<i32>, String) {
    let mut command = longlink(args);
    command.env("LONGLINK_SECRET", "0123456789abcdef0123456789abcdef");
    let output = command.stdout(stdout).stderr(Stdio::piped()).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// Gives a command a full disk, and then a reader that is gone. Only a stream, which a reader may cut
/// off at any place, ends without a complaint then.
fn assert_complains(command: &str) {
    let args: Vec<&str> = command.split_whitespace().collect();
    let is_stream = command.starts_with("tail ") || command.starts_with("store export ");
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let (code, said) = with_stdout(&args, full.into());
    assert_eq!(code, Some(1), "{command}: {said}");
    let expected = "longlink: cannot write to standard output: No space left";
    assert!(said.lines().any(|line| line.starts_with(expected)), "{command}: {said}");

    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let (code, said) = with_stdout(&args, writer.into());
    assert_eq!(code, Some(if is_stream { 0 } else { 1 }), "{command}: {said}");
    assert_eq!(said.contains("standard output: Broken pipe"), !is_stream, "{command}: {said}");
}

#[test]
fn every_command_whose_output_cannot_be_written_fails_and_says_so() {
    ALONE.iter().for_each(|command| assert_complains(command));
    let folder = Folder::new();
    let store = crate::program::shown(&folder.path("messages.db"));
    let backup = crate::program::shown(&folder.path("backup.db"));
    let mut args = vec!["--listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0"];
    if cfg!(feature = "store") {
        args.extend(["--store", &store]);
    }
    let mut server = Program::spawn(&mut longlink(&args), 1);
    let url = format!("ws://{}/websocket", server.addr());
    let api = server.stdout.next().expect("it announces the interface");
    let api = api.strip_prefix("api on ").expect("the announced form");
    let bench = format!("bench pingpong {url}/{{user}} --operations 10 --warmup 0");
    let mut with_server = vec![
        bench.clone(),
        format!("{bench} --json"),
        format!("tail alice --url {api}"),
        format!("tail alice --json --url {api}"),
    ];
    let mut with_store = Vec::new();
    if cfg!(feature = "store") {
        with_server.push(format!("store backup {backup} --force --url {api}"));
        with_store.extend(
            ["inspect", "export", "check", "vacuum"].map(|it| format!("store {it} {store}")),
        );
        with_store.push(format!("store inspect {store} --json"));
    }
    with_server.iter().for_each(|command| assert_complains(command));
    server.stop();
    with_store.iter().for_each(|command| assert_complains(command));

    // No command of the program is left out.
    let (_, help, _) = run(&mut longlink(&["-h"]));
    let (_, commands) = help.split_once("Commands:\n").expect("a list of commands");
    let listed = commands.lines().take_while(|line| line.starts_with("  "));
    let mut listed: Vec<&str> = listed.filter_map(|line| line.split_whitespace().next()).collect();
    assert!(listed.len() > 5, "{help}");
    let printing = ALONE.iter().copied().chain(with_server.iter().map(String::as_str));
    let printing = printing.chain(with_store.iter().map(String::as_str));
    let printing: Vec<&str> = printing.filter_map(|command| command.split(' ').next()).collect();
    listed.retain(|name| !printing.contains(name));
    assert!(listed.is_empty(), "these commands are not tried: {listed:?}");
}

#[test]
fn the_program_writes_to_standard_output_in_two_files_alone() {
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found: Vec<String> = crate::lang::rust_files(&source)
        .into_iter()
        .filter(|path| {
            let text = std::fs::read_to_string(path).unwrap();
            text.lines().map(str::trim_start).any(|line| {
                let prints = line.starts_with("println!(") || line.starts_with("print!(");
                prints || line.contains("stdout()") && !line.starts_with("//")
            })
        })
        .map(|path| path.strip_prefix(&source).unwrap().display().to_string())
        .collect();
    found.sort();
    assert_eq!(found, ["cli/commands/serve/mod.rs", "cli/output.rs"]);
}
