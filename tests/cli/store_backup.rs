//! `longlink store backup`: a copy of the file of a running server.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;

use crate::fake::{read_head, serve};
use crate::program::{Folder, longlink, run, shown};
use crate::refusals::assert_refused;
use crate::store_files::Keeper;

/// Runs a backup that fails. Returns its one line.
fn failing(args: &[&str]) -> String {
    let (code, out, err) = run(&mut longlink(&[&["store", "backup"], args].concat()));
    assert_eq!((code, &*out), (1, ""), "{err}");
    assert_eq!(err.matches('\n').count(), 1, "{err}");
    err
}

#[test]
fn a_copy_of_a_running_server_is_a_whole_store_that_only_its_owner_can_read() {
    let folder = Folder::new();
    let (file, copy) = (shown(&folder.path("m.db")), shown(&folder.path("copy.db")));
    let mut keeper = Keeper::start(&file, &[]);
    keeper.send("bob", "1");
    let args = ["store", "backup", &copy, "--url", &keeper.api];
    let (code, out, err) = run(&mut longlink(&args));
    assert_eq!((code, &*err), (0, ""));
    assert!(out.starts_with(&format!("{copy}: ")), "{out}");
    assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!folder.path("m.db.backup").exists(), "the copy was moved");
    keeper.send("bob", "2");

    // A file that exists is replaced only if that is said.
    assert_refused(&args, &[&copy, "--force"]);
    let inspect = |what: &str| {
        let (code, text, _) = run(&mut longlink(&["store", "inspect", &copy]));
        assert!(code == 0 && text.contains(what), "{text}");
    };
    inspect("waiting     1, for 1 users");
    assert_eq!(run(&mut longlink(&[&args[..], &["--force"]].concat())).0, 0);
    inspect("waiting     2, for 1 users");
    assert_eq!(run(&mut longlink(&["store", "check", &copy])).0, 0);
    keeper.program.stop();
    // A server starts with the copy.
    Keeper::start(&copy, &[]).program.stop();
}

#[test]
fn a_destination_that_cannot_be_written_is_refused_before_the_server_is_asked() {
    let folder = Folder::new();
    let here = shown(&folder.path(""));
    // Nobody listens at this address.
    let url = ["--url", "http://127.0.0.1:1"];
    let refused = |dest: &str, word: &str| {
        assert_refused(&[&["store", "backup", dest], &url[..]].concat(), &[dest, word]);
    };
    refused(&here, "is a directory");
    refused("/dev/null", "is no regular file");
    assert_refused(&["store", "backup", "/nowhere/x.db", url[0], url[1]], &["/nowhere"]);
    assert_refused(&["store", "backup", "x", "--url", "ws://a"], &["--url", "http://"]);
    assert_refused(&["store", "backup"], &["DEST"]);
    let err = failing(&[&shown(&folder.path("x.db")), url[0], url[1]]);
    assert!(err.contains("cannot reach 127.0.0.1:1"), "{err}");
}

#[test]
fn a_backup_that_is_not_made_says_in_one_line_why() {
    let folder = Folder::new();
    let dest = shown(&folder.path("copy.db"));
    let with = |status: &'static str, body: String| {
        let addr = serve(move |mut stream| {
            // A connection that is closed while something is unread is reset.
            if read_head(&mut stream).starts_with("POST") {
                stream.read_exact(&mut [0; 2]).expect("the body, {}");
            }
            let length = body.len();
            let _ = write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n{body}");
        });
        failing(&[&dest, "--url", &format!("http://{addr}")])
    };
    let error = |code: &str, message: &str| {
        format!(r#"{{"error":{{"code":"{code}","message":"{message}"}}}}"#)
    };
    let done = |path: &str| format!(r#"{{"state":"done","path":"{path}","bytes":1}}"#);
    let off = with("404", error("store_off", "this server keeps messages in its memory alone"));
    assert!(off.contains("refuses") && off.contains("in its memory alone"), "{off}");
    let busy = with("409", error("backup_running", "the earlier copy is not complete"));
    assert!(busy.contains("wait for the other one"), "{busy}");
    let key = with("401", error("no_key", "no key"));
    assert!(key.contains("--key-file"), "{key}");
    let page = with("404", "no such page".to_owned());
    assert!(page.contains("no backend's interface"), "{page}");
    let failed = with("200", r#"{"state":"failed","why":"no space"}"#.to_owned());
    assert!(failed.contains("could not make a copy: no space"), "{failed}");
    let again = with("200", r#"{"state":"never"}"#.to_owned());
    assert!(again.contains("started again"), "{again}");
    let gone = with("200", done("/nowhere/m.db.backup"));
    assert!(gone.contains("/nowhere/m.db.backup is not on this machine"), "{gone}");
    // Whatever answers there must not make the command move files of the system.
    let passwd = with("200", done("/etc/passwd"));
    assert!(passwd.contains("does not say where"), "{passwd}");
    let text = folder.file("text.backup", &"text ".repeat(99));
    let foreign = with("200", done(&text));
    assert!(foreign.contains("is not a store of longlink"), "{foreign}");
    let link = shown(&folder.path("link.backup"));
    std::os::unix::fs::symlink(&text, &link).unwrap();
    let linked = with("200", done(&link));
    assert!(linked.contains("is no regular file"), "{linked}");
    assert!(!folder.path("copy.db").exists());
}
