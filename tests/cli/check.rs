//! `longlink check` says what `longlink serve` would refuse, and `serve` refuses what `check` says.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::program::{Folder, longlink, run};

/// Runs `check` and `serve` with the same arguments, which both refuse, and returns the lines of
/// both. They are the same, and both commands exit with 2.
fn refused(args: &[&str]) -> Vec<String> {
    refused_with(args, |_| {})
}

fn refused_with(args: &[&str], prepare: impl Fn(&mut Command)) -> Vec<String> {
    let lines = |command: &str, prefix: &str| {
        let mut command = longlink(&[&[command], args].concat());
        prepare(&mut command);
        let (code, out, err) = run(&mut command);
        assert_eq!((code, out.as_str()), (2, ""), "{args:?}: {err}");
        let line = |line: &str| line.strip_prefix(prefix).expect(prefix).to_owned();
        err.lines().map(line).collect::<Vec<_>>()
    };
    let (checked, served) = (lines("check", ""), lines("serve", "longlink: "));
    assert_eq!(checked, served, "check and serve find the same");
    checked
}

/// Makes a file of certificates or keys.
fn pem(folder: &Folder, name: &str, text: &str) -> String {
    folder.file(name, text)
}

#[test]
fn check_reports_everything_that_is_wrong_in_a_file_at_once_with_line_and_column() {
    let folder = Folder::new();
    let file = folder.file(
        "longlink.toml",
        "# A comment.\n\
         max-conections = 5\n\
         listen = [\"127.0.0.1\"]\n\
         idle-timeout = \"soon\"   # no time\n\
         log = \"wran\"\n\
         demo = 1\n\
         secret-file = \"/nowhere/secret\"\n\
         max-message = \"1mb\"\n\
         webhook-queue = \"1kb\"\n\
         tls-cert = \"cert.pem\"\n\
         \u{20} history = \"30\"\n",
    );
    let lines = refused(&["--config", &file]);
    let expected = [
        "2:1: unknown key \"max-conections\", did you mean \"max-connections\"?",
        "3:10: listen: expected 127.0.0.1:8080, [::1]:8080, localhost:8080, 8080 or unix:PATH, \
         found \"127.0.0.1\": no port",
        "4:16: idle-timeout: expected seconds such as 25 or 0.5, or a unit as in 500ms, 60s, 5m, \
         2h or 7d; at most 30 days, found \"soon\"",
        "5:7: log: expected error, warn, info, debug, trace, off, found \"wran\", did you mean \
         \"warn\"?",
        "6:8: demo: expected on or off, found 1",
        "7:15: secret-file: cannot read the file: No such file or directory (os error 2)",
        "8:15: max-message: max-queue is less than max-message + 14: max-queue is 262144, \
         max-message is 1048576",
        "9:17: webhook-queue: expected 64k or more",
        "10:12: tls-cert: it needs tls-key, its private key",
        "11:13: history: expected off, or a time such as 12h or 30d, found \"30\"",
    ];
    assert_eq!(lines, expected.map(|line| format!("{file}:{line}")));
}

#[test]
fn every_kind_of_mistake_that_serve_refuses_is_reported_by_check() {
    let folder = Folder::new();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let cert = pem(&folder, "cert.pem", &made.cert.pem());
    let key = pem(&folder, "key.pem", &made.signing_key.serialize_pem());
    let other = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let other = pem(&folder, "other.pem", &other);
    let short = folder.file("short", "0123456789");
    let secret = folder.file("secret", &"s".repeat(32));
    let binary = folder.path("binary");
    std::fs::write(&binary, [0_u8; 40]).unwrap();
    let binary = binary.to_str().unwrap();
    let directory = folder.path("").to_str().unwrap().to_owned();
    let nowhere = "/nowhere/at/all";
    let in_nowhere = "unix:/nowhere/at/all";
    let hook = "http://127.0.0.1:1/";
    let cases: &[(&[&str], &str)] = &[
        // Values.
        (&["--listen", "example"], "--listen: expected"),
        (&["--max-head", "tall"], "--max-head: expected a size"),
        (&["--max-per-user", "few"], "--max-per-user: expected a whole number"),
        (&["--accept-rate", "99999999999"], "--accept-rate: expected less"),
        (&["--ping-after", "31d"], "--ping-after: expected seconds"),
        (&["--open=maybe"], "--open: expected on or off"),
        (&["--devices", "two"], "--devices: expected many, one"),
        (&["--log", "loud"], "--log: expected error"),
        (&["--allow-origin", "*"], "--allow-origin: "),
        (&["--allow-host", "*"], "--allow-host: "),
        (&["--trust-proxy", "10.0.0.0/99"], "--trust-proxy: "),
        (&["--webhook-events", "onlin"], "did you mean \"online\"?"),
        (&["--api-from", &"x".repeat(1000)], "--api-from: expected a user id"),
        (&["--api-listen", "x"], "--api-listen: expected"),
        (&["--redis", "http://a"], "--redis: "),
        (&["--node", &"x".repeat(65)], "--node: "),
        // Ranges.
        (&["--max-connections", "0"], "--max-connections: max-connections must be at least 1"),
        (&["--max-connections", "99999999"], "--max-connections: max-connections is above"),
        (&["--max-queue", "2gb"], "--max-queue: max-queue is above"),
        (&["--webhook-queue", "1"], "--webhook-queue: expected 64k"),
        (&["--store", "x", "--store-size", "1"], "--store-size: expected 64m"),
        // Contradictions.
        (&["--max-message", "1mb"], "--max-message: max-queue is less than"),
        (&["--listen", "0.0.0.0:0"], "--listen: 0.0.0.0:0 is not loopback"),
        (&["--api-listen", "0.0.0.0:0"], "--api-listen: 0.0.0.0:0 is not loopback"),
        (&["--open", "--secret-file", &secret], "--open: open lets everyone in"),
        (&["--ticket-at-door-only"], "--ticket-at-door-only: there are no tickets"),
        (&["--tls-cert", &cert], "--tls-cert: it needs tls-key"),
        (&["--tls-key", &key], "--tls-key: it needs tls-cert"),
        (&["--webhook", hook], "--webhook: it needs webhook-secret-file"),
        (&["--webhook-secret-file", &secret], "--webhook-secret-file: it needs webhook"),
        (&["--history", "1d"], "--history: it needs store"),
        (&["--store", "x", "--mailbox", "off"], "--store: mailbox is off"),
        (&["--store", "x", "--redis", "redis://a"], "--redis: redis and store"),
        (&["--node", "a"], "--node: it needs redis"),
        (
            &["--redis", "redis://a", "--redis-ca", &cert],
            "--redis-ca: no URL of redis is encrypted",
        ),
        // Files.
        (&["--config", nowhere], "--config: cannot read /nowhere/at/all"),
        (&["--secret-file", nowhere], "--secret-file: cannot read"),
        (&["--secret-file", &short], "--secret-file: in the file, "),
        (&["--secret-file", binary], "--secret-file: in the file, a secret is a line of text"),
        (&["--api-key-file", nowhere], "--api-key-file: cannot read"),
        (&["--api-key-file", &short], "--api-key-file: "),
        (&["--webhook", hook, "--webhook-secret-file", nowhere], "--webhook-secret-file: cannot"),
        (
            &["--webhook", hook, "--webhook-secret-file", &short],
            "--webhook-secret-file: the secret",
        ),
        (&["--webhook", "x", "--webhook-secret-file", &secret], "--webhook: expected a URL"),
        (&["--tls-cert", nowhere, "--tls-key", &key], "--tls-cert: cannot read"),
        (&["--tls-cert", &cert, "--tls-key", nowhere], "--tls-key: cannot read"),
        (&["--tls-cert", &key, "--tls-key", &key], "no whole PEM certificate"),
        (&["--tls-cert", &cert, "--tls-key", &other], "the private key is not the certificate's"),
        (&["--redis", "rediss://a", "--redis-ca", nowhere], "--redis-ca: cannot read"),
        // The store and sockets.
        (&["--store", nowhere], "--store: /nowhere/at/all cannot be made: "),
        (&["--store", &directory], "is a directory"),
        (&["--store", &secret], "is not a store of longlink"),
        (&["--listen", in_nowhere], "--listen: unix:/nowhere/at/all: /nowhere/at is no directory"),
        (&["--api-listen", in_nowhere], "--api-listen: unix:/nowhere/at/all: "),
    ];
    for (args, expected) in cases {
        let lines = refused(args);
        assert_eq!(lines.len(), 1, "{args:?}: {lines:?}");
        assert!(lines[0].contains(expected), "{args:?}: {} lacks {expected:?}", lines[0]);
    }
}

#[test]
fn a_problem_names_the_source_of_its_value_and_all_sources_are_read() {
    let folder = Folder::new();
    let file = folder.file("longlink.toml", "max-head = 0\nlog = [\n");
    let lines = refused_with(&["--config", &file, "--max-per-user", "-1"], |command| {
        command.env("LONGLINK_BROADCAST", "maybe").env("LONGLINK_DEMO", "x");
    });
    let begins = [
        "--max-per-user: ",
        "LONGLINK_BROADCAST: expected on or off",
        "LONGLINK_DEMO: expected on or off",
        &format!("{file}:2:"),
    ];
    assert_eq!(lines.len(), begins.len(), "{lines:?}");
    for (line, begin) in lines.iter().zip(begins) {
        assert!(line.starts_with(begin), "{line} does not begin with {begin}");
    }
    let lines = refused_with(&[], |command| {
        command.env("LONGLINK_SECRET", "short");
    });
    assert!(lines[0].starts_with("LONGLINK_SECRET: "), "{lines:?}");
}

#[test]
fn a_wrong_value_causes_no_second_complaint_about_what_follows_from_it() {
    for args in [
        // Without the secret the address would be refused, too.
        &["--listen", "0.0.0.0:0", "--secret-file", "/nowhere"][..],
        &["--api-listen", "0.0.0.0:0", "--api-key-file", "/nowhere"],
        &["--max-queue", "big", "--max-message", "1mb"],
        &["--ticket-at-door-only", "--secret-file", "/nowhere"],
        &["--history", "1d", "--store-size", "x", "--store", "/tmp/x"],
    ] {
        assert_eq!(refused(args).len(), 1, "{args:?}");
    }
}

#[test]
fn every_mistake_of_toml_is_reported_and_other_keys_are_checked_nevertheless() {
    let folder = Folder::new();
    let file = folder.file("longlink.toml", "demo = on\nmax-haed = 1\nlog = \"info\"\nlog = 1\n");
    let lines = refused(&["--config", &file]);
    for (line, begin) in lines.iter().zip(["1:8: ", "2:1: unknown key \"max-haed\"", "4:1: "]) {
        assert!(line.starts_with(&format!("{file}:{begin}")), "{lines:?}");
    }
    assert_eq!(lines.len(), 3, "{lines:?}");
}

#[test]
fn check_accepts_what_serve_accepts_and_changes_nothing() {
    let folder = Folder::new();
    let store = folder.path("messages.db");
    let socket = folder.path("s");
    let file = folder.file(
        "longlink.toml",
        &format!(
            "listen = [8080, \"unix:{}\"]\nmax-queue = \"512KB\"\nidle-timeout = \"1m30s\"\n\
             ping-after = \"20s\"\nmessage-rate = 1_000\ndemo = \"no\"\nlog = \"INFO\"\n\
             store = {store:?}\n",
            socket.display()
        ),
    );
    let (code, out, err) = run(&mut longlink(&["check", "--config", &file]));
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(out, format!("{file}: nothing is wrong\n"));
    assert!(!store.exists() && !socket.exists());

    let (code, _, err) = run(&mut longlink(&["check", "--open", "--listen", "0.0.0.0:80"]));
    assert_eq!(code, 0, "{err}");
    assert!(err.starts_with("warning: 0.0.0.0:80 is open"), "{err}");
}

#[test]
fn check_reports_a_file_that_may_not_be_read_and_a_directory_that_may_not_be_written() {
    let folder = Folder::new();
    let secret = folder.file("secret", &"s".repeat(32));
    std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o000)).unwrap();
    if std::fs::read(&secret).is_ok() {
        // The test runs as root, to whom nothing is forbidden.
        return;
    }
    assert!(refused(&["--secret-file", &secret])[0].contains("Permission denied"));
    std::fs::create_dir(folder.path("d")).unwrap();
    std::fs::set_permissions(folder.path("d"), PermissionsExt::from_mode(0o555)).unwrap();
    let store = folder.path("d/messages.db");
    let lines = refused(&["--store", store.to_str().unwrap()]);
    assert!(lines[0].contains("needs a directory that can be written"), "{lines:?}");
}

#[test]
fn the_printed_settings_are_a_configuration_file_with_sources_and_without_secrets() {
    let folder = Folder::new();
    let secret = folder.file("secret", &"s".repeat(32));
    let password = "hidden-password";
    let file = folder.file(
        "longlink.toml",
        &format!(
            "secret-file = {secret:?}\n# A comment.\nidle-timeout = \"2m\"\n\
             allow-origin = [\"a.example\", \"b.example\"]\n\
             redis = \"redis://:{password}@127.0.0.1:1/0\"\ndemo = \"no\"\n"
        ),
    );
    let print = |file: &str, flags: &[&str]| {
        let args = [&["--config", file, "--print-config"], flags].concat();
        let mut command = longlink(&args);
        let (code, out, err) = run(command.env("LONGLINK_MAX_HEAD", "8kb"));
        assert_eq!((code, err.as_str()), (0, ""));
        out
    };
    let out = print(&file, &["--max-message", "1kb"]);
    for line in [
        "max-message = 1024  # flag --max-message",
        "max-head = 8192  # variable LONGLINK_MAX_HEAD",
        &format!("idle-timeout = 120  # {file:?}:3"),
        &format!("allow-origin = [\"a.example\", \"b.example\"]  # {file:?}:4"),
        &format!("demo = false  # {file:?}:6"),
        &format!("secret-file = {secret:?}  # {file:?}:1"),
        &format!("# redis is set, and not printed  # {file:?}:5, restart"),
        "ping-after = 25  # default",
        "mailbox-messages = 64  # default, restart",
        "listen = [\"127.0.0.1:8080\"]  # default, restart",
    ] {
        assert!(out.lines().any(|it| it == line), "{line}\n{out}");
    }
    assert!(!out.contains(password) && !out.contains(&"s".repeat(32)));

    // What was printed, taken as a file, means the same.
    let again = folder.file("printed.toml", &out);
    let values = |text: &str| {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| line.split("  # ").next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(values(&print(&again, &[])), values(&out));
}
