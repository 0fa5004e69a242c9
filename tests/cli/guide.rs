//! Compares what the guides and the program's own messages say about the command line with the
//! command line.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::program::{longlink, run};

mod commands;
mod languages;
mod text;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(Path::new(ROOT).join(path)).expect("a file of the repository")
}

/// All files below a folder whose names have this ending.
fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(ROOT).join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder of the repository") {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false if path.to_string_lossy().ends_with(ending) => found.push(path),
                false => {}
            }
        }
    }
    found
}

/// Whether the name of a flag ends before this character.
fn ends_name(c: char) -> bool {
    !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

/// The flags that stand in a text, without their dashes.
fn flags(text: &str) -> BTreeSet<String> {
    let begins = |at: usize| !text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '-');
    let flag = |(at, _): (usize, &str)| {
        let name = text[at + 2..].split(ends_name).next()?;
        let name = name.trim_end_matches('-');
        // `--max-per-…` stands for several flags.
        let is_one = !text[at + 2 + name.len()..].starts_with("-…");
        (begins(at) && name.len() > 1 && is_one).then(|| name.to_owned())
    };
    text.match_indices("--").filter_map(flag).collect()
}

fn help(command: &[&str]) -> String {
    let (code, out, err) = run(&mut longlink(&[command, &["--help"]].concat()));
    assert_eq!((code, err.as_str()), (0, ""));
    out
}

/// The settings of `--help`, each with the default that the help names.
fn settings() -> BTreeMap<String, Option<String>> {
    let help = help(&[]);
    let mut settings = BTreeMap::new();
    for part in help.split("\n      --").skip(1) {
        let end = part.find(ends_name).unwrap();
        let told = part.split_whitespace().collect::<Vec<_>>().join(" ");
        let default = told.rsplit_once("[default: ").and_then(|(_, rest)| rest.split_once(']'));
        settings.insert(part[..end].to_owned(), default.map(|(default, _)| default.to_owned()));
    }
    assert!(settings.len() > 30, "{settings:?}");
    settings
}

#[test]
fn the_guide_has_each_setting_with_the_default_that_the_help_names() {
    let guide = read("docs/operations.md");
    let table = guide.split("## Settings").nth(1).unwrap().split("\n\n").nth(1).unwrap();
    let settings = settings();
    let mut told = BTreeSet::new();
    for row in table.lines().skip(2) {
        let cells: Vec<&str> = row.split(" | ").collect();
        let default = cells[1].trim_matches('`');
        for flag in flags(cells[0]) {
            let Some(in_help) = settings.get(&flag) else { panic!("--{flag} is no setting") };
            assert!(told.insert(flag.clone()), "--{flag} is told twice");
            // A default that is a number or a word stands in the guide as it is. The guide describes
            // any other default in words of its own.
            let is_word = |text: &str| !text.contains(' ') && text != "none";
            if let Some(in_help) = in_help.as_deref().filter(|text| is_word(text)) {
                assert_eq!(default, in_help, "the default of --{flag}");
            } else {
                assert!(!default.contains(|c: char| c.is_ascii_digit()) || default.contains(' '));
            }
        }
    }
    assert_eq!(
        told,
        settings.into_keys().filter(|name| name != "help" && name != "print-config").collect()
    );
}

#[test]
fn the_guide_names_the_settings_that_need_a_restart() {
    let (code, out, err) = run(&mut longlink(&["--print-config"]));
    assert_eq!((code, err.as_str()), (0, ""));
    let lines = out.lines().filter(|line| line.ends_with(", restart"));
    let name = |line: &str| {
        let line = line.trim_start_matches("# ").to_owned();
        line.split([' ', ':']).next().unwrap_or_default().to_owned()
    };
    let restart = lines.map(name).collect::<BTreeSet<_>>();
    for (file, begin) in [
        ("docs/operations.md", "These settings need a restart: "),
        ("docs/operations.zh-CN.md", "下列设置需要重启："),
    ] {
        let guide = read(file);
        let list = guide.split(begin).nth(1).expect(begin).split(['.', '。']).next().unwrap();
        let named = list.split('`').skip(1).step_by(2).map(str::to_owned);
        assert_eq!(named.collect::<BTreeSet<_>>(), restart, "{file}");
    }
}

/// What a text says of the command line of longlink: code that begins with a flag or with the
/// command. Other programs are named with their own flags.
fn commands_in(guide: &str) -> Vec<&str> {
    let begins = |code: &&str| {
        let code = code.trim_start_matches(['$', ' ']);
        code.starts_with("--") || code.starts_with("longlink ")
    };
    let (mut found, mut fenced) = (Vec::new(), false);
    for line in guide.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced {
            // A line that begins with a flag goes on with the command of the line before it.
            found.extend(
                [line].iter().filter(|line| begins(line) && !line.trim().starts_with("--")),
            );
        } else {
            found.extend(line.split('`').skip(1).step_by(2).filter(begins));
        }
    }
    found
}

/// The lines of a source file that are no comments and no tests.
fn program_of(source: &str) -> impl Iterator<Item = &str> {
    let source = source.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    source.lines().filter(|line| !line.trim_start().starts_with("//"))
}

#[test]
fn each_flag_that_a_guide_or_a_message_names_exists() {
    let commands: [&[&str]; 7] = [
        &[],
        &["bench"],
        &["doctor"],
        &["store", "inspect"],
        &["store", "backup"],
        &["tail"],
        &["ticket"],
    ];
    let mut known: BTreeSet<String> =
        commands.iter().flat_map(|command| flags(&help(command))).collect();
    // Messages of a build without TLS name this flag of cargo.
    known.insert("features".to_owned());
    let mut unknown = BTreeSet::new();
    let mut named = 0;
    let mut look = |path: &Path, text: &str| {
        for flag in flags(text) {
            named += 1;
            if !known.contains(&flag) {
                unknown.insert(format!("--{flag} in {}", path.display()));
            }
        }
    };
    let guides = files("docs", ".md").into_iter().chain([Path::new(ROOT).join("README.md")]);
    for path in guides {
        for command in commands_in(&read(&path)) {
            look(&path, command);
        }
    }
    // A folder of tests starts other programs, which have flags of their own.
    let is_test = |path: &PathBuf| path.components().any(|part| part.as_os_str() == "tests");
    let sources = files("src", ".rs").into_iter();
    for path in sources.filter(|path| !is_test(&path.strip_prefix(ROOT).unwrap().to_owned())) {
        for line in program_of(&read(&path)) {
            look(&path, line);
        }
    }
    assert!(named > 200, "{named}");
    assert!(unknown.is_empty(), "{unknown:#?}");
}

/// Each row of `docs/promises.md` has a promise, and the tests that check it.
#[test]
fn each_promise_names_a_test_that_exists() {
    let list = read("docs/promises.md");
    let is_head = |line: &str| line.starts_with("| promise") || line.starts_with("| ---");
    let mut rows = 0;
    for row in list.lines().filter(|line| line.starts_with("| ") && !is_head(line)) {
        let held = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        let mut tests = held.split('`').skip(1).step_by(2).peekable();
        assert!(tests.peek().is_some(), "no test is named: {row}");
        for test in tests {
            let (file, name) =
                test.split_once("::").unwrap_or_else(|| panic!("{test}: file::name"));
            let text = read(file);
            let named = match file.ends_with(".rs") {
                true => text.contains(&format!("fn {name}(")),
                false => text.contains(name),
            };
            assert!(named, "{file} has no {name}");
        }
        rows += 1;
    }
    assert!(rows > 100, "{rows}");
}
