//! The log as lines of JSON: the values of a line are fields of their own, and the guide names each of
//! them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use serde_json::Value;

use crate::lang::rust_files;
use crate::program::{Folder, Lines, Program, longlink};
use crate::tickets::{SECRET, alice, status_on};

/// Reads on until a line reports this event.
fn event(log: &Lines, name: &str) -> Value {
    loop {
        let line = log.next().unwrap_or_else(|| panic!("no line with the event {name}"));
        let line: Value = serde_json::from_str(&line).expect("a line of JSON");
        for field in ["time", "level", "target", "message"] {
            assert!(line[field].is_string(), "{line}");
        }
        if line["event"] == name {
            return line;
        }
    }
}

#[test]
fn the_values_of_a_line_of_json_are_fields_of_their_own() {
    let folder = Folder::new();
    let file = folder.file("longlink.toml", "log = \"debug\"\nlog-format = \"json\"\n");
    let secret = folder.file("secret", SECRET);
    let args = ["--listen", "127.0.0.1:0", "--config", &file, "--secret-file", &secret];
    let args = [&args[..], &["--reject-delay", "0"]].concat();
    let mut server = Program::spawn(&mut longlink(&args), 1);
    let log = server.log();
    let started = event(&log, "started");
    assert_eq!(started["version"], env!("CARGO_PKG_VERSION"));
    assert!(started["connections"].is_u64() && started["descriptors"].is_u64(), "{started}");

    let stream = server.connect();
    let peer = stream.local_addr().unwrap().to_string();
    assert_eq!(status_on(crate::program::Patient(stream), "bob", &alice(SECRET)), 401);
    let refused = event(&log, "refused");
    let expected = [
        ("level", Value::from("warn")),
        ("user", "bob".into()),
        ("peer", peer.into()),
        ("code", 401.into()),
        ("count", 1.into()),
    ];
    for (name, value) in expected {
        assert_eq!(refused[name], value, "{refused}");
    }
    let message = refused["message"].as_str().unwrap();
    assert!(message.contains(refused["reason"].as_str().unwrap()), "{refused}");

    // The connection ends at once, without a close frame.
    let stream = crate::program::Patient(server.connect());
    assert_eq!(status_on(stream, "alice", &alice(SECRET)), 101);
    let (open, close) = (event(&log, "open"), event(&log, "close"));
    assert_eq!((&open["user"], &close["user"]), (&"alice".into(), &"alice".into()));
    assert_eq!(open["connection"], close["connection"]);
    assert!(open["connection"].is_u64() && open["peer"] == close["peer"], "{open}");
    assert_eq!((&close["reason"], &close["device"]), (&"eof".into(), &Value::Null));

    folder.file("longlink.toml", "log = \"info\"\nlog-format = \"json\"\nmax-message = 10\n");
    server.signal("HUP");
    let changed = event(&log, "reload_changed");
    let of = |name: &str| changed[name].as_str().unwrap().to_owned();
    assert_eq!(
        (of("setting"), of("old"), of("new")),
        ("max-message".into(), "65536".into(), "10".into())
    );
    assert_eq!(event(&log, "reload_done")["count"], 2);
    folder.file("longlink.toml", "max-message = \"soon\"\n");
    server.signal("HUP");
    assert!(event(&log, "reload_problem")["error"].as_str().unwrap().contains("max-message"));
    assert_eq!(event(&log, "reload_refused")["count"], 1);
    server.signal("TERM");
    assert_eq!(event(&log, "stopping")["signal"], "SIGTERM");
    event(&log, "stopped");
    assert_eq!(server.wait(), 0);
}

type Events = BTreeMap<String, BTreeSet<String>>;

/// Finds the lines of the log in a source, by the name of the event that each reports, with the names
/// of its fields.
fn find_events(tokens: TokenStream, found: &mut Events) {
    for token in tokens {
        let TokenTree::Group(group) = token else { continue };
        if group.delimiter() == Delimiter::Parenthesis {
            note_event(group.stream(), found);
        }
        find_events(group.stream(), found);
    }
}

/// Notes the fields if these are the arguments of a macro of the log: `event = "name", field = value; "…"`.
fn note_event(arguments: TokenStream, found: &mut Events) {
    let is = |token: &TokenTree, punct: char| matches!(token, TokenTree::Punct(it) if it.as_char() == punct);
    let tokens: Vec<TokenTree> = arguments.into_iter().collect();
    let Some(end) = tokens.iter().position(|it| is(it, ';')) else { return };
    let parts: Vec<&[TokenTree]> = tokens[..end].split(|it| is(it, ',')).collect();
    let name_of = |part: &[TokenTree]| match part {
        [TokenTree::Ident(name), ..] => Some(name.to_string()),
        _ => None,
    };
    let event = parts.iter().find_map(|part| match part {
        [TokenTree::Ident(name), _, TokenTree::Literal(text)] if name == "event" => {
            Some(text.to_string().trim_matches('"').to_owned())
        }
        _ => None,
    });
    if let Some(event) = event {
        // The level, if the macro takes it, is a part before the event.
        let fields = parts.iter().skip_while(|part| name_of(part).as_deref() != Some("event"));
        found.entry(event).or_default().extend(fields.skip(1).filter_map(|part| name_of(part)));
    }
}

#[test]
fn the_guide_names_each_event_of_the_log_and_its_fields() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut events = Events::new();
    for path in rust_files(&root.join("src")) {
        let source = std::fs::read_to_string(&path).unwrap();
        if source.contains("event = \"") {
            find_events(source.parse().expect("Rust"), &mut events);
        }
    }
    assert!(events.len() > 30, "{events:?}");
    let guide = std::fs::read_to_string(root.join("docs/operations.md")).unwrap();
    let (_, table) = guide.split_once("| `event` | fields | |\n").expect("the table of events");
    let quoted = |cell: &str| -> BTreeSet<String> {
        cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    };
    let mut told = BTreeSet::new();
    for row in table.lines().skip(1).take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.split('|').collect();
        let names = quoted(cells[1]);
        let fields: BTreeSet<String> =
            names.iter().filter_map(|name| events.get(name)).flatten().cloned().collect();
        assert_eq!(quoted(cells[2]), fields, "{row}");
        told.extend(names);
    }
    assert_eq!(told, events.into_keys().collect(), "the events of the guide and of the source");
}
