//! Checks the rooms (layers) of `src/`: each room uses only rooms below it, and only names that
//! it may use. The tables are in `rules.rs`, and the reasons in `docs/architecture.md`.

mod rules;
mod source;

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use rules::{NAMES, ROOMS, SHARED};
use source::What;

/// A line that uses something that its room must not use.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Violation {
    file: String,
    line: usize,
    text: String,
    rule: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Violation { file, line, text, rule } = self;
        write!(f, "{file}:{line}: {text}\n    {rule}")
    }
}

/// The module of a file below `src/`: `hub/send.rs` is `hub::send`, `hub/mod.rs` is `hub`, and
/// `main.rs` and `lib.rs` have names that no module has.
fn module(file: &str) -> Vec<String> {
    let name = file.strip_suffix(".rs").expect("a Rust file");
    match name {
        "lib" | "main" => vec!["crate".to_owned()],
        _ => {
            let name = name.strip_suffix("/mod").unwrap_or(name);
            std::iter::once("crate").chain(name.split('/')).map(str::to_owned).collect()
        }
    }
}

fn is_in(module: &str, room: &str) -> bool {
    module.strip_prefix(room).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Returns the room of a module: the one with the longest name that fits.
fn room(module: &str) -> Option<&'static rules::Room> {
    ROOMS.iter().filter(|it| is_in(module, it.module)).max_by_key(|it| it.module.len())
}

/// Returns everything in `text`, the file at `src/{file}`, that breaks a rule.
fn violations(file: &str, text: &str) -> Vec<Violation> {
    let module = module(file);
    let inside = module[1..].join("::");
    let here = if inside.is_empty() { "crate::main" } else { &inside };
    let lines: Vec<&str> = text.lines().collect();
    let mut found = BTreeSet::new();
    for named in source::read(text, &module).named {
        let line = lines.get(named.line - 1).copied().unwrap_or_default().trim();
        let rules = [wrong_room(here, &named.what), wrong_name(here, &named.what)];
        for rule in rules.into_iter().flatten() {
            found.insert(Violation {
                file: format!("src/{file}"),
                line: named.line,
                text: line.to_owned(),
                rule,
            });
        }
    }
    found.into_iter().collect()
}

fn wrong_room(here: &str, what: &What) -> Option<String> {
    let What::Path(path) = what else { return None };
    if here == "crate::main" {
        return None;
    }
    let Some(home) = room(here) else {
        return Some(format!("{here} is in no room of tests/layers/rules.rs"));
    };
    if path[0] != "crate" {
        return None;
    }
    let to = path[1..].join("::");
    match room(&to) {
        None => Some(format!("`crate::{to}` names no room: name where it is, not the root's list")),
        Some(room) if room.module == home.module || home.uses.contains(&room.module) => None,
        Some(room) => Some(format!("{} must not use {}", home.module, room.module)),
    }
}

fn wrong_name(here: &str, what: &What) -> Option<String> {
    let name = NAMES.iter().find(|it| it.name.fits(what))?;
    let may = name.only.iter().any(|room| is_in(here, room))
        || SHARED.iter().any(|(room, names)| {
            is_in(here, room) && names.iter().any(|name| rules::Pattern::Path(name).fits(what))
        });
    (!may).then(|| format!("{here} must not name this: {}", name.why))
}

fn files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, into);
        } else if path.extension().is_some_and(|it| it == "rs") {
            into.push(path);
        }
    }
}

/// Every file below `src/` that is no test: its name below `src/`, and its text.
fn sources() -> Vec<(String, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    files(&src, &mut paths);
    paths.sort();
    let all: Vec<(String, String)> = paths
        .iter()
        .map(|path| {
            let name = path.strip_prefix(&src).unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect();
    let mut tests = BTreeSet::new();
    for (name, text) in &all {
        let module = module(name);
        for test in source::read(text, &module).test_modules {
            tests.insert([&module[..], &[test]].concat());
        }
    }
    all.into_iter().filter(|(name, _)| !tests.contains(&module(name))).collect()
}

#[test]
fn each_room_uses_only_rooms_below_it_and_names_that_are_its_own() {
    let found: Vec<String> = sources()
        .iter()
        .flat_map(|(file, text)| violations(file, text))
        .map(|violation| violation.to_string())
        .collect();
    assert!(found.is_empty(), "{} lines break a rule:\n{}", found.len(), found.join("\n"));
}

#[test]
fn every_room_of_the_table_is_in_the_tree() {
    let sources = sources();
    assert!(sources.len() > 150, "only {} files were read", sources.len());
    for rules::Room { module: room, .. } in ROOMS {
        let has = |(file, _): &(String, String)| is_in(&module(file)[1..].join("::"), room);
        assert!(sources.iter().any(has), "no file is in {room}");
    }
}

#[test]
fn the_table_names_a_room_only_after_the_rooms_that_it_uses() {
    for (at, room) in ROOMS.iter().enumerate() {
        for used in room.uses {
            let below = ROOMS[..at].iter().any(|it| it.module == *used);
            assert!(below, "{} uses {used}, which is not below it", room.module);
        }
    }
}

/// Returns the only line of `text`, the file at `src/{file}`, that breaks a rule.
fn only(file: &str, text: &str) -> String {
    let found = violations(file, text);
    assert_eq!(found.len(), 1, "{found:#?}");
    found[0].to_string()
}

#[test]
fn a_room_that_uses_one_above_it_is_found_with_its_line() {
    let text = "//! The hub.\n\nuse crate::wire::Peer;\nuse crate::driver::Driver;\n";
    let told = only("hub/mod.rs", text);
    assert_eq!(told, "src/hub/mod.rs:4: use crate::driver::Driver;\n    hub must not use driver");
}

#[test]
fn a_path_upward_is_found_however_it_is_written() {
    let upward = [
        "use crate::{wheel, driver::Driver};",
        "use crate::driver::{self, Driver as Own};",
        "use super::super::driver::Driver;",
        "use crate::{\n    wire::{Peer},\n    driver,\n};",
        "pub(crate) use crate::driver::Driver;",
        "fn f() { crate::driver::run(); }",
        "fn f(at: super::super::driver::Driver) {}",
        "mod inner { fn f() { super::super::super::driver::run() } }",
        "fn f() { log::info!(\"{}\", crate::driver::COUNT); }",
        "impl crate::driver::Transport for Own {}",
        "fn f() { use crate::driver::Driver; }",
    ];
    for text in upward {
        let found = violations("hub/send.rs", text);
        assert!(!found.is_empty(), "nothing was found in {text}");
        assert!(found.iter().all(|it| it.rule == "hub must not use driver"), "{text}: {found:#?}");
    }
}

#[test]
fn a_path_within_a_room_or_downward_is_no_violation() {
    let text = "use super::Context;\nuse crate::wire::{ws::frame, Peer};\nuse crate::wheel::Wheel;\n\
        fn f() { super::flush::all(); frame::put(); self::g(); }\n";
    assert_eq!(violations("hub/send.rs", text), []);
}

#[test]
fn a_command_that_uses_another_one_is_found() {
    let told = only("cli/commands/tail/link.rs", "use crate::cli::commands::doctor::reach;");
    assert!(told.ends_with("cli::commands::tail must not use cli::commands::doctor"), "{told}");
    let told = only("cli/commands/tail/mod.rs", "use super::bench;");
    assert!(told.ends_with("cli::commands::tail must not use cli::commands::bench"), "{told}");
}

#[test]
fn the_program_has_layers_of_its_own() {
    let wrong = [
        ("cli/client/tls.rs", "use crate::cli::commands::doctor;"),
        ("cli/service/logger.rs", "use crate::cli::settings::table;"),
        ("cli/settings/table.rs", "use super::super::commands::serve;"),
        ("cli/text.rs", "use super::refusal::Refusal;"),
        ("cli/commands/serve/mod.rs", "use crate::cli::args::parse;"),
    ];
    for (file, text) in wrong {
        assert!(only(file, text).contains(" must not use "), "{text}");
    }
}

#[test]
fn a_name_that_is_only_listed_at_the_root_is_found() {
    let told = only("relay/mod.rs", "use crate::Server;");
    assert!(told.contains("`crate::Server` names no room"), "{told}");
}

#[test]
fn a_file_in_no_room_is_found() {
    let told = only("cache.rs", "use std::fmt;");
    assert!(told.contains("cache is in no room"), "{told}");
}

#[test]
fn a_name_that_a_room_must_not_know_is_found() {
    let wrong = [
        ("hub/mod.rs", "use mio::Token;"),
        ("hub/mod.rs", "use socket2::SockRef;"),
        ("hub/mod.rs", "use std::net::TcpStream;"),
        ("relay/door.rs", "use std::net::{IpAddr, TcpListener};"),
        ("driver/mod.rs", "use rustls::ServerConfig;"),
        ("server/mod.rs", "use std::thread;"),
        ("server/mod.rs", "fn f() { std::thread::sleep(WAIT); }"),
        ("hub/mod.rs", "fn f() { std::time::Instant::now(); }"),
        ("driver/mod.rs", "fn f() -> SystemTime { std::time::SystemTime::now() }"),
        ("hub/mod.rs", "fn f(at: Instant) -> Duration { at.elapsed() }"),
        ("cli/mod.rs", "fn f() { println!(\"hello\"); }"),
        ("relay/mod.rs", "fn f() { eprintln!(\"hello\"); }"),
        ("wire/json.rs", "fn f() { unsafe { g() } }"),
        ("wire/json.rs", "unsafe impl Send for Own {}"),
        ("hub/trace.rs", "use serde_json::Value;"),
        ("wire/http/head.rs", "use serde_json::Value;"),
        ("hub/receive.rs", "use tungstenite::protocol::frame::coding::OpCode;"),
        ("relay/page.rs", "use httparse::Header;"),
        ("cli/settings/table.rs", "use httparse::Header;"),
        ("hub/send.rs", "fn f(it: Option<u8>) -> u8 { it.unwrap() }"),
        ("hub/send.rs", "fn f(it: Option<u8>) -> u8 { it.expect(\"some\") }"),
        ("relay/v1.rs", "fn f() { panic!(\"no\") }"),
        ("wire/json.rs", "use std::time::*; fn f() {}"),
        ("cli/commands/bench/http.rs", "use longlink::Server;"),
        ("relay/mod.rs", "use std::rc::Rc;"),
        ("main.rs", "fn main() { println!(\"hello\"); }"),
    ];
    for (file, text) in wrong {
        let told = only(file, text);
        assert!(told.contains(" must not name this: "), "{told}");
    }
}

#[test]
fn a_name_is_found_behind_the_import_that_shortens_it() {
    let wrong = [
        "use std::time::Instant;\nfn f() -> Instant { Instant::now() }",
        "use std::time::{Duration, Instant as Moment};\nfn f() -> Moment { Moment::now() }",
        "use std::time;\nfn f() { time::Instant::now(); }",
        "use std::{time::{self}, fmt};\nfn f() { g(time::Instant::now) }",
        "use time::Instant;\nuse std::time;\nfn f() -> Instant { Instant::now() }",
    ];
    for text in wrong {
        let told = only("hub/mod.rs", text);
        assert!(told.contains("time is an argument"), "{told}");
    }
    assert_eq!(violations("hub/mod.rs", "use std::time::Instant;\nfn f(now: Instant) {}"), []);
}

#[test]
fn comments_literals_attributes_and_tests_do_not_count() {
    let text = r##"
        //! Not `mio::Poll`, never `std::thread`.
        /* use mio::Token; */
        /// A doc comment: use crate::driver::Driver;
        #[doc(alias = "mio::Poll")]
        const A: &str = "use mio::Token; unsafe"; // x.unwrap()
        const B: &str = r#"println!("mio::Poll")"#;
        #[cfg(test)]
        use mio::{Token};
        #[cfg(test)]
        mod tests {
            use crate::driver::Driver;
            #[test]
            fn t() { x.unwrap(); println!("{}", std::time::Instant::now()); unsafe {} }
        }
        #[cfg(test)]
        #[allow(dead_code)]
        fn only_for_tests() { x.unwrap() }
        #[cfg(test)]
        mod more;
    "##;
    assert_eq!(violations("hub/mod.rs", text), []);
    let after = format!("{text}\nuse mio::Token;");
    assert!(only("hub/mod.rs", &after).contains("use mio::Token;"));
    assert_eq!(source::read(text, &module("hub/mod.rs")).test_modules, ["more"]);
}

#[test]
fn code_that_also_exists_outside_tests_counts() {
    let text = "#[cfg(any(test, feature = \"sim\"))]\nuse mio::Token;";
    assert!(only("hub/mod.rs", text).contains("use mio::Token;"));
    let text = "#[cfg(not(test))]\nuse mio::Token;";
    assert!(only("hub/mod.rs", text).contains("use mio::Token;"));
}
