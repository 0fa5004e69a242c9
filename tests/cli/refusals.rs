//! Settings that are refused at the start: with one line on stderr, nothing on stdout, and exit code 2.

use std::process::Command;

use crate::program::{Folder, Program, longlink, run};

/// Runs a command that is refused. Returns its one line without the program's name.
pub fn refusal(command: &mut Command) -> String {
    let (code, out, err) = run(command);
    assert_eq!(code, 2, "{err}");
    assert_eq!(out, "");
    let line = err.strip_suffix('\n').expect("a whole line");
    assert!(!line.contains('\n'), "more than one line: {err}");
    line.strip_prefix("longlink: ").expect("the line begins with the program's name").to_owned()
}

pub fn assert_refused(args: &[&str], words: &[&str]) {
    let line = refusal(&mut longlink(args));
    for word in words {
        assert!(line.contains(word), "{args:?}: {line} lacks {word:?}");
    }
}

#[test]
fn an_unknown_or_incomplete_flag_is_refused_with_one_line_that_names_it() {
    assert_refused(&["--frob"], &["--frob"]);
    assert_refused(&["serve", "--frob"], &["--frob"]);
    assert_refused(&["--max-mesage", "1"], &["--max-mesage", "'--max-message'"]);
    assert_refused(&["frob"], &["unrecognized subcommand 'frob'"]);
    assert_refused(&["--listen"], &["--listen", "value is required"]);
    assert_refused(&["--log", "info", "--log", "warn"], &["--log", "multiple times"]);
    assert_refused(&["--open", "serve"], &["--open"]);
    assert_refused(&["--frob\nnext"], &["--frob"]);
    assert_refused(&["\u{1b}[31m\u{202e}"], &["unrecognized"]);
}

#[test]
fn a_wrong_value_is_refused_with_one_line_that_names_its_flag() {
    for (flag, value) in [
        ("--listen", "80800"),
        ("--listen", ":8080"),
        ("--listen", "127.0.0.1:99999"),
        ("--listen", "unix:"),
        ("--listen", ""),
        ("--open=maybe", ""),
        ("--max-connections", "many"),
        ("--max-connections", "0"),
        ("--max-connections", "99999999"),
        ("--max-message", "-1"),
        ("--max-message", "1.5"),
        ("--max-queue", "64kbit"),
        ("--max-queue", "1025m"),
        ("--max-buffered", "999999999999999999999"),
        ("--max-head", "0"),
        ("--handshake-timeout", "-1"),
        ("--message-timeout", "nan"),
        ("--ping-after", "inf"),
        ("--idle-timeout", "1e9"),
        ("--close-timeout", "99999999999"),
        ("--close-timeout", "5 seconds"),
        ("--max-per-address", "-1"),
        ("--max-per-user", "many"),
        ("--message-rate", "1.5"),
        ("--message-rate", "99999999999"),
        ("--broadcast-rate", "fast"),
        ("--accept-rate", ""),
        ("--rate-burst", "-1"),
        ("--reject-delay", "1e9"),
        ("--ticket-at-door-only=maybe", ""),
        ("--devices", "two"),
        ("--broadcast", "maybe"),
        ("--demo", "1"),
        ("--allow-origin", "https://app.example.com/path"),
        ("--allow-origin", "app.example.com:8443"),
        ("--allow-host", "*.example.com"),
        ("--log", "loud"),
        ("--log", "INFO\n"),
    ] {
        let args = [flag, value];
        let args = if value.is_empty() && flag.contains('=') { &args[..1] } else { &args[..] };
        let name = flag.trim_start_matches('-').split('=').next().unwrap();
        assert_refused(args, &[name]);
    }
}

#[test]
fn settings_that_contradict_each_other_are_refused_with_one_line_that_names_both() {
    assert_refused(
        &["--max-message", "1000", "--max-queue", "1013"],
        &["max-queue", "1013", "max-message", "1000"],
    );
    // One of the two settings has its default.
    assert_refused(&["--max-message", "1m"], &["max-queue is 262144", "max-message is 1048576"]);
}

#[test]
fn a_wrong_environment_variable_is_refused_with_one_line_that_names_it() {
    let line = refusal(longlink(&[]).env("LONGLINK_MAX_HEAD", "tall"));
    assert_eq!(
        line,
        "LONGLINK_MAX_HEAD: expected a size in bytes such as 65536, 64kb, 16mb or 1gb, found \"tall\""
    );
}

#[test]
fn a_wrong_configuration_file_is_refused_with_one_line_that_says_what_is_wrong() {
    let folder = Folder::new();
    for (text, words) in [
        ("max-conections = 5", &["unknown key", "max-conections"][..]),
        ("max_connections = 5", &["unknown key", "did you mean \"max-connections\"?"]),
        ("config = \"x\"", &["config"]),
        ("[serve]\nlog = \"info\"", &["unknown key", "serve"]),
        ("max-connections = \"many\"", &["max-connections", "whole number"]),
        ("max-connections = 5.5", &["max-connections", "found 5.5"]),
        ("max-connections = -5", &["max-connections", "found -5"]),
        ("idle-timeout = \"soon\"", &["idle-timeout", "seconds", "60s"]),
        ("idle-timeout = nan", &["idle-timeout"]),
        ("idle-timeout = 1979-05-27", &["idle-timeout", "a date"]),
        ("broadcast = 1", &["broadcast", "on or off"]),
        ("listen = [true]", &["listen", "text"]),
        ("listen = { tcp = 1 }", &["listen", "a table"]),
        ("demo = on\n", &[".toml:1:8: "]),
        ("log = \"info\"\nlog = \"warn\"", &[".toml:2:1: ", "duplicate key"]),
        ("a = [\n", &[".toml:1:"]),
    ] {
        let file = folder.file("longlink.toml", text);
        let mut words = words.to_vec();
        words.push(&file);
        assert_refused(&["--config", &file], &words);
    }
    std::fs::write(folder.path("binary"), [0xff, 0xfe]).unwrap();
    let binary = folder.path("binary");
    assert_refused(&["--config", binary.to_str().unwrap()], &["cannot read", "UTF-8"]);
    assert_refused(&["--config", "/nowhere/at/all"], &["cannot read /nowhere/at/all"]);
    assert_refused(&["--config", "/"], &["cannot read /"]);
    assert_refused(&["--config", "/dev/zero"], &["cannot read /dev/zero", "1 MiB"]);
    let line = refusal(longlink(&[]).env("LONGLINK_CONFIG", "/nowhere"));
    assert!(line.contains("cannot read /nowhere"), "{line}");
}

#[test]
fn an_address_that_is_taken_is_refused_and_the_other_addresses_are_given_back() {
    let first = Program::start(&[]);
    assert_refused(&["--listen", first.addr()], &["cannot listen on", first.addr(), "taken"]);
    // One address that is taken is enough, and the free one before it is given back.
    let folder = Folder::new();
    let socket = format!("unix:{}", folder.path("s").display());
    assert_refused(&["--listen", &socket, "--listen", first.addr()], &["taken"]);
    assert!(!folder.path("s").exists());
    assert_refused(
        &["--listen", "unix:/nowhere/at/all"],
        &["unix:/nowhere/at/all", "no directory"],
    );
}

#[test]
fn the_refusal_of_a_taken_address_names_the_flag_of_the_address() {
    let folder = Folder::new();
    let socket = format!("unix:{}", folder.path("s").display());
    let first = Program::start(&["--listen", &socket]);
    for address in [first.addr(), &socket] {
        let taken = format!("cannot listen on {address}: it is taken; choose another with ");
        let free = ["--listen", "127.0.0.1:0"];
        let api = refusal(&mut longlink(&[&free[..], &["--api-listen", address]].concat()));
        assert!(
            api.starts_with(&format!("{taken}--api-listen, or end what listens there")),
            "{api}"
        );
        let free = ["--api-listen", "127.0.0.1:0"];
        let listen = refusal(&mut longlink(&[&free[..], &["--listen", address]].concat()));
        assert!(
            listen.starts_with(&format!("{taken}--listen, or end what listens there")),
            "{listen}"
        );
    }
}

#[test]
fn an_address_beyond_loopback_is_refused_without_the_flag_open() {
    for address in ["0.0.0.0:0", "[::]:0", "[::ffff:0.0.0.0]:0"] {
        assert_refused(&["--listen", address], &[address, "--open", "loopback"]);
    }
    assert_refused(&["--listen", "127.0.0.1:0", "--listen", "0.0.0.0:0"], &["--open"]);
    assert_refused(&["--open=off", "--listen", "0.0.0.0:0"], &["--open"]);
    let line = refusal(longlink(&["--listen", "0.0.0.0:0"]).env("LONGLINK_OPEN", "off"));
    assert!(line.contains("--open"), "{line}");
}
