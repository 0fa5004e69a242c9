//! Settings come from flags, from the environment and from a file, and the server uses them.

use tungstenite::{Error, Message};

use crate::program::{Folder, Patient, Program, longlink, run};

#[test]
fn help_and_version_go_to_stdout() {
    for args in [&["--help"][..], &["serve", "--help"], &["help"]] {
        let (code, out, err) = run(&mut longlink(args));
        assert_eq!((code, err.as_str()), (0, ""), "{args:?}");
        for word in ["--max-connections", "--open", "seconds", "LONGLINK_", "Examples:", "65536"] {
            assert!(out.contains(word), "{args:?}: {word}");
        }
    }
    let (code, out, err) = run(&mut longlink(&["--version"]));
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(out, format!("longlink {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn without_a_command_the_program_serves() {
    for args in [&["--listen", "127.0.0.1:0"][..], &["serve", "--listen", "127.0.0.1:0"]] {
        let mut program = Program::spawn(&mut longlink(args), 1);
        assert_eq!(program.status("/healthz"), 200);
        program.stop();
    }
}

/// Whether the server takes a text of this length, and does not close the connection with 1009.
fn takes(program: &Program, length: usize) -> bool {
    let mut user = program.user("A");
    user.send(Message::text("x".repeat(length))).unwrap();
    match user.read() {
        Ok(Message::Text(_)) => true,
        Ok(Message::Close(Some(frame))) => {
            assert_eq!(u16::from(frame.code), 1009);
            false
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_flag_wins_over_the_environment_and_the_environment_wins_over_the_file() {
    let folder = Folder::new();
    let file = folder.file(
        "longlink.toml",
        "listen = [\"127.0.0.1:0\"]\nmax-message = 10\nmax-head = 1000\ndemo = false\nlog = \"debug\"\n",
    );

    let mut program = Program::spawn(&mut longlink(&["--config", &file]), 1);
    assert!(takes(&program, 10) && !takes(&program, 11));
    assert_eq!(program.status("/"), 404);
    assert_eq!(program.status(&format!("/{}", "x".repeat(1000))), 431);
    program.stop();

    let mut command = longlink(&[]);
    command.env("LONGLINK_CONFIG", &file).env("LONGLINK_MAX_MESSAGE", "20");
    command.env("LONGLINK_DEMO", "on").env("LONGLINK_MAX_HEAD", "");
    let mut program = Program::spawn(&mut command, 1);
    assert!(takes(&program, 20) && !takes(&program, 21));
    assert_eq!(program.status("/"), 200);
    assert_eq!(program.status(&format!("/{}", "x".repeat(1000))), 431, "empty means not set");
    program.stop();

    let flags = ["--max-message", "30", "--demo", "off", "--config", &file, "--max-head", "2k"];
    let mut command = longlink(&flags);
    command.env("LONGLINK_MAX_MESSAGE", "20").env("LONGLINK_DEMO", "on");
    let mut program = Program::spawn(&mut command, 1);
    assert!(takes(&program, 30) && !takes(&program, 31));
    assert_eq!(program.status("/"), 404);
    assert_eq!(program.status(&format!("/{}", "x".repeat(1000))), 404);
    let set = program.log().find("set: ");
    assert!(set.contains("log = \"debug\" (file), max-head = \"2k\" (flag)"), "{set}");
    program.stop();
}

#[test]
fn a_switch_that_the_file_turns_on_can_be_turned_off_by_a_flag() {
    let folder = Folder::new();
    let file = folder.file("longlink.toml", "open = true\nlisten = \"0.0.0.0:0\"\n");
    let mut program = Program::spawn(&mut longlink(&["--config", &file]), 1);
    assert!(program.log().find("is open").contains("WARN"));
    program.stop();
    let (code, _, err) = run(&mut longlink(&["--config", &file, "--open=off"]));
    assert_eq!(code, 2, "{err}");
}

#[test]
fn a_list_is_given_by_repeated_flags_or_with_commas() {
    let hosts = ["--allow-host", "a.example,b.example", "--allow-host", "c.example"];
    let program = Program::start(&hosts);
    for (host, admitted) in [("b.example", true), ("c.example", true), ("d.example", false)] {
        let url = format!("ws://{host}/websocket/A");
        match tungstenite::client(url, Patient(program.connect())) {
            Ok(_) => assert!(admitted, "{host}"),
            Err(tungstenite::HandshakeError::Failure(Error::Http(response))) => {
                assert!(!admitted, "{host}");
                assert_eq!(response.status(), 403);
            }
            Err(other) => panic!("{host}: {other:?}"),
        }
    }
}

#[test]
fn the_server_pings_and_ends_silent_connections_at_the_configured_times() {
    let program = Program::start(&["--ping-after", "0.05"]);
    let pinged = program.user("A").read();
    assert!(matches!(pinged, Ok(Message::Ping(_))), "no ping but {pinged:?}");

    // The connection of a silent user who is never pinged is ended.
    let program = Program::start(&["--ping-after", "0", "--idle-timeout", "0.1"]);
    let mut stream = program.user("A").into_inner();
    std::io::copy(&mut stream, &mut std::io::sink()).unwrap();
}

#[test]
fn harmless_mistakes_in_settings_cause_a_warning() {
    let args = ["--listen", "127.0.0.1:0", "--ping-after", "60"];
    let mut program = Program::spawn(longlink(&args).env("LONGLINK_MAX_MESAGE", "5"), 1);
    let log = program.log();
    log.find("ping-after is not below idle-timeout");
    log.find("LONGLINK_MAX_MESAGE is set, but there is no such setting");
    program.stop();
}

/// The command under descriptor limits that the shell sets.
fn limited(limits: &str, args: &str) -> Program {
    let binary = env!("CARGO_BIN_EXE_longlink");
    let script = format!("{limits}; exec {binary} --listen 127.0.0.1:0 {args}");
    let mut shell = std::process::Command::new("sh");
    Program::spawn(shell.args(["-c", &script]).env_clear(), 1)
}

#[test]
fn the_number_of_connections_follows_from_the_limit_of_descriptors() {
    let mut program = limited("ulimit -Sn 100; ulimit -Hn 300", "");
    program.log().find("up to 236 connections (descriptor limit 300)");
    program.stop();

    let mut program = limited("ulimit -n 300", "--max-connections 1000");
    let warning = program.log().find("WARN");
    assert!(warning.contains("max-connections 1000 needs 1064 descriptors"), "{warning}");
    assert!(warning.contains("LimitNOFILE=1064"), "{warning}");
    assert_eq!(program.status("/healthz"), 200);
    program.stop();
}
