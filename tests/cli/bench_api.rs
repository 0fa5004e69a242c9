//! `longlink bench api`, which sends messages as a backend does, and why it may not be able to send.

use crate::bench::{assert_sound, measured, url, whole};
use crate::bench_failures::failed;
use crate::program::{Folder, Program};

const KEY: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn bench_api_keeps_the_given_number_of_requests_in_flight() {
    let folder = Folder::new();
    // The file has two keys, as it has while a key is changed.
    let file = folder.file("key", &format!("{KEY}\n{}\n", KEY.to_uppercase()));
    let server = Program::start(&["--api-key-file", &file]);
    for (batch, in_flight, size) in [("1", "1", "9"), ("1", "16", "1k"), ("100", "3", "64")] {
        let args = ["--batch", batch, "--in-flight", in_flight, "--size", size];
        let args = [&args[..], &["--api-key-file", &file], &["--operations", "3000"]].concat();
        let args = [&args[..], &["--warmup", "0.01"]].concat();
        let figures = measured(&server, "api", &args);
        assert_sound(&figures);
        let most = 3_000 + batch.parse::<u64>().unwrap() * in_flight.parse::<u64>().unwrap();
        assert!((3_000..=most).contains(&whole(&figures, "operations")), "{figures}");
        assert_eq!(whole(&figures, "batch").to_string(), batch);
        assert_eq!(whole(&figures, "unmatched"), 0);
    }
}

#[test]
fn bench_api_can_use_the_listener_that_is_only_for_a_backend() {
    let args = ["--listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0"];
    let server = Program::spawn(&mut crate::program::longlink(&args), 1);
    let line = server.stdout.next().expect("a line with the address of the interface");
    let api = line.strip_prefix("api on http://").expect("an address");
    let args = ["--api", api, "--operations", "100", "--warmup", "0"];
    assert_eq!(whole(&measured(&server, "api", &args), "operations"), 100);
}

#[test]
fn bench_api_says_in_one_line_why_it_cannot_send() {
    let folder = Folder::new();
    let (file, wrong) = (folder.file("key", KEY), folder.file("wrong", &KEY.replace('0', "1")));
    let server = Program::start(&["--api-key-file", &file, "--max-message", "1k"]);
    for (args, words) in [
        (&[][..], &["401", "no_key"][..]),
        (&["--api-key-file", &wrong], &["401", "bad_key"]),
        (&["--api-key-file", &file, "--size", "2k"], &["413", "message_too_long"]),
        (&["--api-key-file", &file, "--api", "127.0.0.1:1"], &["cannot connect"]),
    ] {
        let (code, _, line) = failed("api", &url(&server), args);
        assert_eq!(code, 1, "{line}");
        assert!(words.iter().all(|word| line.contains(word)), "{args:?}: {line}");
        assert!(!line.contains(&KEY[1..]), "{line}");
    }
    let (code, _, line) = failed("api", &url(&server), &["--api-key-file", "/nowhere"]);
    assert!(code == 2 && line.contains("--api-key-file"), "{line}");
}
