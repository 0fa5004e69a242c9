//! `--store`: which files and settings are refused, and `longlink store`, which looks into a file.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::program::{DEADLINE, Folder, Program, longlink, run, shown};
use crate::refusals::{assert_refused, refusal};

const LISTEN: [&str; 2] = ["--listen", "127.0.0.1:0"];

/// A server with this store and an interface for a backend without a key.
pub struct Keeper {
    pub program: Program,
    pub api: String,
}

impl Keeper {
    pub fn start(file: &str, args: &[&str]) -> Self {
        let all = [&LISTEN[..], &["--api-listen", "127.0.0.1:0", "--store", file], args].concat();
        let program = Program::spawn(&mut longlink(&all), 1);
        let line = program.stdout.next().expect("the address of the interface");
        let api = line.strip_prefix("api on ").expect("the announced form").to_owned();
        Keeper { program, api }
    }

    /// Asks the interface. Returns the status and the answer.
    pub fn ask(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let (status, body) = self.request(method, path, body);
        (status, serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}")))
    }

    /// Reads a text of the interface.
    pub fn text(&self, path: &str) -> String {
        let (status, text) = self.request("GET", path, "");
        assert_eq!(status, 200, "{text}");
        text
    }

    fn request(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        use std::io::{Read, Write};
        let addr = self.api.strip_prefix("http://").expect("TCP");
        let mut stream = std::net::TcpStream::connect(addr).expect("it accepts");
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").expect("a whole head");
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    /// Sends a message of the backend, which the server says to have stored.
    pub fn send(&self, user: &str, message: &str) {
        let body = format!(r#"{{"user":"{user}","message":{message},"keep":true}}"#);
        let (status, answer) = self.ask("POST", "/api/send", &body);
        assert_eq!((status, &answer["results"][0]["state"]), (200, &json!("stored")), "{answer}");
    }
}

/// Makes a store with some messages, whose server has stopped in order.
fn filled(folder: &Folder) -> String {
    let file = shown(&folder.path("messages.db"));
    let mut keeper = Keeper::start(&file, &[]);
    for message in ["1", "2.50", r#"{"a":"ü\n"}"#] {
        keeper.send("bob", message);
    }
    keeper.ask("PUT", "/api/groups/room/members/carol", "");
    keeper.program.stop();
    file
}

/// What must not change of a file, and of everything beside it but the ballast and an empty log, which
/// SQLite makes when it opens a file.
fn state(file: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(file).parent().unwrap();
    let entries = fs::read_dir(folder).unwrap().map(|it| it.unwrap().path());
    let mut all: Vec<_> = entries
        .filter(|path| path.is_file() && !shown(path).ends_with("-ballast"))
        .map(|path| (path.clone(), fs::read(&path).unwrap()))
        .filter(|(_, bytes)| !bytes.is_empty())
        .collect();
    all.sort();
    all
}

/// Checks that a file is refused by a start and by each look into it, with one line, and that nothing
/// has changed then.
fn assert_untouched(file: &str, words: &[&str]) {
    let before = state(file);
    assert_refused(&[&LISTEN[..], &["--store", file]].concat(), &[words, &[file]].concat());
    for look in ["inspect", "export", "check", "vacuum"] {
        assert_refused(&["store", look, file], &[words, &[file]].concat());
    }
    assert!(state(file) == before, "the files of {file} have changed");
}

#[test]
fn a_file_that_is_no_store_of_this_version_is_refused_and_left_as_it_was() {
    let folder = Folder::new();
    let text = folder.file("text", &"not a store of anything, but somebody's text\n".repeat(99));
    assert_untouched(&text, &["is not a store of longlink"]);

    let whole = filled(&Folder::new());
    let bytes = fs::read(filled(&folder)).unwrap();
    drop(whole);
    let patched = |name: &str, at: usize, with: &[u8]| {
        let mut bytes = bytes.clone();
        bytes[at..at + with.len()].copy_from_slice(with);
        let path = folder.path(name);
        fs::write(&path, bytes).unwrap();
        shown(&path)
    };
    assert_untouched(&patched("newer", 60, &9_u32.to_be_bytes()), &["newer version (9)"]);
    assert_untouched(&patched("older", 60, &1_u32.to_be_bytes()), &["older version (1)"]);
    assert_untouched(&patched("other", 68, b"gpkg"), &["is not a store of longlink"]);
}

#[test]
fn a_damaged_file_is_refused_and_left_as_it_was() {
    let folder = Folder::new();
    let bytes = fs::read(filled(&folder)).unwrap();
    fs::remove_file(folder.path("messages.db")).unwrap();
    let damaged = shown(&folder.path("damaged.db"));
    // All pages but the first one, which has the tables.
    let mut torn = bytes.clone();
    torn[4_096..].fill(0x5A);
    fs::write(&damaged, torn).unwrap();
    let before = state(&damaged);
    assert_refused(&[&LISTEN[..], &["--store", &damaged]].concat(), &[&damaged, "damaged"]);
    let (code, _, err) = run(&mut longlink(&["store", "check", &damaged]));
    assert!(code == 1 && err.contains("is damaged"), "{code}: {err}");
    let (code, _, err) = run(&mut longlink(&["store", "inspect", &damaged]));
    assert!(code == 1 && err.contains("is damaged"), "{code}: {err}");
    assert_refused(&["store", "vacuum", &damaged], &[&damaged, "is damaged"]);
    assert!(state(&damaged) == before);
}

#[test]
fn a_path_at_which_no_file_can_be_kept_is_refused_and_nothing_is_left_behind() {
    let folder = Folder::new();
    let is_refused = |path: &str, words: &[&str]| {
        assert_refused(&[&LISTEN[..], &["--store", path]].concat(), &[words, &[path]].concat());
    };
    is_refused(&shown(&folder.path("")), &["is a directory"]);
    is_refused("/nowhere/at/all.db", &["/nowhere/at is no directory"]);
    is_refused("", &["--store"]);
    assert_eq!(fs::read_dir(folder.path("")).unwrap().count(), 0);
}

#[test]
fn a_directory_that_the_server_may_not_write_is_refused() {
    let folder = Folder::new();
    let sealed = folder.path("sealed");
    fs::create_dir(&sealed).unwrap();
    fs::set_permissions(&sealed, fs::Permissions::from_mode(0o555)).unwrap();
    let path = shown(&sealed.join("m.db"));
    // An unprivileged user may not read the directory of the build.
    let program = folder.path("longlink");
    fs::copy(env!("CARGO_BIN_EXE_longlink"), &program).unwrap();
    fs::set_permissions(folder.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(&program);
    command.args([&LISTEN[..], &["--store", &path]].concat()).env_clear().stdin(Stdio::null());
    if is_root() {
        command.uid(65_534);
    }
    let line = refusal(&mut command);
    assert!(line.contains(&path) && line.contains("Permission denied"), "{line}");
    fs::set_permissions(&sealed, fs::Permissions::from_mode(0o755)).unwrap();
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().expect("id");
    id.stdout.trim_ascii() == b"0"
}

#[test]
fn the_file_of_a_running_server_is_refused_to_everybody_else() {
    let folder = Folder::new();
    let file = shown(&folder.path("m.db"));
    let mut keeper = Keeper::start(&file, &[]);
    let another = [&LISTEN[..], &["--store", &file]].concat();
    assert_refused(&another, &[&file, "is held by another process"]);
    for look in ["inspect", "export", "check", "vacuum"] {
        let words = [&file, "is held by another process", "longlink store backup"];
        assert_refused(&["store", look, &file], &words);
    }
    keeper.send("bob", "1");
    keeper.program.stop();
    Keeper::start(&file, &[]).program.stop();
}

#[test]
fn settings_of_the_store_that_contradict_each_other_are_refused() {
    let folder = Folder::new();
    let file = shown(&folder.path("m.db"));
    assert_refused(&["--store", &file, "--store", &file], &["--store", "multiple times"]);
    assert_refused(&["--history", "30d"], &["--history", "store"]);
    assert_refused(&["--store-size", "1g"], &["--store-size", "store"]);
    for (args, word) in [
        (&["--store-size", "63m"][..], "64m or more"),
        (&["--history", "30"], "30d"),
        (&["--mailbox", "off"], "mailbox is off"),
    ] {
        assert_refused(&[&["--store", &file], args].concat(), &[word]);
    }
    let config = folder.file("c.toml", "store = [\"a\", \"b\"]\n");
    assert_refused(&["--config", &config], &["store", "text"]);
    assert!(!folder.path("m.db").exists());
}

#[test]
fn a_server_with_a_store_says_what_is_in_it_and_stops_with_everything_written() {
    let folder = Folder::new();
    let file = filled(&folder);
    assert!(!folder.path("messages.db-wal").exists(), "a stop in order leaves no log behind");
    let mut keeper = Keeper::start(&file, &[]);
    let line = keeper.program.log().find("store ");
    for word in [&*file, "3 messages", "epoch "] {
        assert!(line.contains(word), "{line}");
    }
    assert_eq!(keeper.program.status("/healthz"), 200);
    keeper.program.signal("TERM");
    assert_eq!(keeper.program.wait(), 0);
}

#[test]
fn inspect_and_export_show_what_is_in_a_file_and_change_nothing() {
    let folder = Folder::new();
    let file = filled(&folder);
    let before = state(&file);
    let (code, text, err) = run(&mut longlink(&["store", "inspect", &file]));
    assert_eq!((code, &*err), (0, ""));
    for line in ["messages    3, with numbers up to 3", "waiting     3, for 1 users"] {
        assert!(text.lines().any(|it| it == line), "{line:?} is missing in {text}");
    }
    let (code, text, _) = run(&mut longlink(&["store", "inspect", "--json", &file]));
    let summary: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(code, 0);
    for (name, value) in [
        ("version", 2),
        ("messages", 3),
        ("waiting", 3),
        ("waitingUsers", 1),
        ("seq", 3),
        ("walBytes", 0),
    ] {
        assert_eq!(summary[name], value, "{name} of {summary}");
    }
    assert_eq!(summary["epochs"].as_array().map(Vec::len), Some(1));

    let (code, text, err) = run(&mut longlink(&["store", "export", &file]));
    assert_eq!((code, &*err), (0, ""));
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let messages: Vec<&Value> = lines.iter().filter(|it| it["record"] == "message").collect();
    assert_eq!(messages.len(), 3);
    assert_eq!(messages[2]["message"], json!({"a": "ü\n"}));
    assert!(text.contains(r#""message":2.50}"#), "a message is written as it was sent: {text}");
    let to = json!([{"user": "bob", "seq": 1, "as": "user", "state": "waiting"}]);
    assert_eq!((&messages[0]["to"], &messages[0]["from"]), (&to, &json!("system")));
    let id = messages[0]["id"].as_str().unwrap();
    assert!(id.len() == 26 && messages[1]["id"].as_str().unwrap() > id, "{text}");
    let member = json!({"record": "member", "group": "room", "user": "carol"});
    assert!(lines.contains(&member), "{text}");
    let (code, text, err) = run(&mut longlink(&["store", "check", &file]));
    assert_eq!((code, text, &*err), (0, format!("{file}: ok\n"), ""));
    assert!(state(&file) == before, "looking has changed something");
}

#[test]
fn a_file_that_a_killed_server_has_left_is_shown_with_its_log_and_stays_as_it_was() {
    let folder = Folder::new();
    let file = shown(&folder.path("m.db"));
    let mut keeper = Keeper::start(&file, &[]);
    keeper.send("bob", "1");
    keeper.program.child.kill().unwrap();
    keeper.program.child.wait().unwrap();
    assert!(fs::metadata(folder.path("m.db-wal")).unwrap().len() > 0, "the message is in the log");
    let before = state(&file);
    let (code, text, err) = run(&mut longlink(&["store", "inspect", &file]));
    assert!(code == 0 && text.contains("waiting     1, for 1 users"), "{text}{err}");
    let (code, text, _) = run(&mut longlink(&["store", "export", &file]));
    assert!(code == 0 && text.contains(r#""message":1}"#), "{text}");
    assert_eq!(run(&mut longlink(&["store", "check", &file])).0, 0);
    assert!(state(&file) == before, "looking has changed something");
    // Writing the file anew takes the log in.
    assert_eq!(run(&mut longlink(&["store", "vacuum", &file])).0, 0);
    assert!(!folder.path("m.db-wal").exists());
    let (_, text, _) = run(&mut longlink(&["store", "inspect", &file]));
    assert!(text.contains("waiting     1, for 1 users"), "{text}");
    Keeper::start(&file, &[]).program.stop();
}

#[test]
fn an_export_ends_quietly_when_its_output_is_closed() {
    let folder = Folder::new();
    let file = shown(&folder.path("m.db"));
    let mut keeper = Keeper::start(&file, &[]);
    // More than a pipe and the buffer of the export hold.
    let text = format!("\"{}\"", "x".repeat(30_000));
    for user in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        keeper.send(user, &text);
    }
    keeper.program.stop();
    let mut command = longlink(&["store", "export", &file]);
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), &*output.stderr), (Some(0), &b""[..]));
}
