//! The command with a webhook: what it refuses, what it never prints, and how it stops.

use std::net::TcpListener;

use crate::program::{Folder, Program, longlink, run};
use crate::refusals::assert_refused;

const SECRET: &str = "a-secret-that-nobody-may-see";

/// An address that refuses connections.
fn nobody() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[test]
fn webhooks_that_cannot_be_sent_are_refused() {
    let folder = Folder::new();
    let secret = folder.file("secret", SECRET);
    let short = folder.file("short", "0123456789abcde\n");
    let with = |url| ["--webhook", url, "--webhook-secret-file", secret.as_str()];
    assert_refused(&["--webhook", "http://h/"], &["webhook: it needs webhook-secret-file"]);
    assert_refused(&["--webhook-events", "online"], &["webhook-events: it needs webhook"]);
    assert_refused(&["--webhook-queue", "1m"], &["webhook-queue: it needs webhook"]);
    assert_refused(
        &["--webhook", "http://h/", "--webhook-secret-file", &secret, "--webhook-queue", "1k"],
        &["--webhook-queue", "64k"],
    );
    #[cfg(feature = "tls")]
    assert_refused(
        &["--webhook", "https://h/", "--webhook-secret-file", &secret, "--webhook-ca", &secret],
        &["webhook-ca", "no whole PEM certificate"],
    );
    assert_refused(&with("backend"), &["webhook", "expected a URL"]);
    assert_refused(&with("ftp://backend/"), &["webhook", "http://"]);
    assert_refused(
        &["--webhook", "http://h/", "--webhook-secret-file", &short],
        &["webhook", "shorter than 16 bytes"],
    );
    assert_refused(
        &["--webhook", "http://h/", "--webhook-secret-file", "/no/such/file"],
        &["--webhook-secret-file", "cannot read"],
    );
    let url = with("http://h/");
    let mut args = url.to_vec();
    args.extend(["--webhook-events", "online,lost"]);
    assert_refused(&args, &["--webhook-events", "online, offline, message, undelivered, receipt"]);
    #[cfg(not(feature = "tls"))]
    assert_refused(&with("https://backend/"), &["feature tls"]);
}

#[test]
fn the_refusal_of_a_webhook_contains_neither_the_url_nor_the_secret() {
    let folder = Folder::new();
    let secret = folder.file("secret", SECRET);
    for url in ["http://me:hidden@backend/", "gopher://hidden/", "http://a b/hidden"] {
        let args = ["--webhook", url, "--webhook-secret-file", &secret];
        let (code, out, err) = run(&mut longlink(&args));
        assert_eq!((code, out.as_str()), (2, ""));
        assert!(!err.contains("hidden") && !err.contains(SECRET), "{err}");
    }
}

#[test]
fn the_log_says_that_a_backend_does_not_answer_and_contains_no_secret() {
    let folder = Folder::new();
    let (secret, addr) = (folder.file("secret", SECRET), nobody());
    let mut program = Program::start(&[
        "--webhook",
        &format!("http://{addr}/hidden-path?key=hidden-key"),
        "--webhook-secret-file",
        &secret,
        "--log",
        "trace",
        "--close-timeout",
        "0.2",
    ]);
    let lines = program.log();
    let _user = program.user("alice");
    let told = format!("webhooks: http://{addr} has not accepted 1 events from number 1 on");
    let mut seen = vec![lines.find(&format!("WARN  [longlink::backend::webhooks::worker] {told}"))];
    program.signal("TERM");
    assert_eq!(program.wait(), 0);
    seen.extend(lines.rest());
    let all = seen.join("\n");
    assert!(all.contains("1 events were not taken, and are lost"), "{all}");
    assert!(!all.contains("hidden") && !all.contains(SECRET), "{all}");
}
