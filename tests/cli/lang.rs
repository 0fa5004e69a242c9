//! The language of what the program says: English, and Chinese with `--lang zh` or by the environment.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};

use crate::program::{Program, longlink, run};

/// The tables of the program, which are nothing but texts.
#[path = "../../src/cli/lang/doctor.rs"]
mod doctor;
#[path = "../../src/cli/lang/errors.rs"]
mod errors;
#[path = "../../src/cli/lang/help.rs"]
mod help;
#[path = "../../src/cli/lang/said.rs"]
mod said;

/// What speaks to people: the commands, what they share, and the settings. The server's own log is
/// English.
const SPEAKING: [&str; 9] = [
    "commands/bench",
    "commands/check.rs",
    "commands/doctor",
    "commands/manual.rs",
    "commands/store",
    "commands/tail",
    "commands/ticket.rs",
    "client",
    "settings",
];

/// Texts in the source of these that are not shown to people, or are the same in both languages.
const NOT_TRANSLATED: &[&str] = &[
    // What a server's answer is searched for.
    "has expired",
    "not valid yet",
    "another user",
    "another device",
    "speaks TLS",
    // Names of steps, which scripts read, too.
    "ticket query",
    "ticket offer",
    "no ticket",
    "round trip",
    "tls 1.2",
    "welcome v2",
    "server ping",
    // What is sent, and settings of other programs.
    "Bearer {ticket}",
    "{PROTOCOL}, ticket.{ticket}",
    "longlink doctor {text}",
    "longlink doctor {}",
    "appendonly yes",
    // Figures.
    "{} in {}",
    "{ms:.*} ms",
    // Cannot happen.
    "ring speaks both versions",
    "sound bounds",
    "a string takes everything",
    // What the server calls it, too, and the beginning of a manual page.
    " {bytes} B queued",
    "[{DIM}m{time}[0m  {number:<6}  [{color}m{kind:<8}  {detail}[0m",
    "{before}.SH NOTES\n.nf\n{kept}.fi\n{rest}",
    // Requests.
    "Authorization: Bearer {key}\r\n",
    "{method} {path} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: longlink-bench\r\nAccept: */*\r\n{key}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
    "{method} {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n",
    "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
    // The printed settings are a file of TOML, and a value that is not set stands in the log alone.
    "# The settings of longlink that count, each with the place where it was set. Values that could give\n# somebody access are left out. \"restart\" says that a reload does not change the setting.\n",
    "# {} is set, and not printed.\n",
    "flag --{name}",
    "{place}, restart",
    "# {name} is set, and not printed  # {place}\n",
    "# {name} is set  # {place}\n",
    "{} [default: {default}]",
    "not set",
];

pub fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    if folder.is_file() {
        return vec![folder.to_owned()];
    }
    for entry in fs::read_dir(folder).expect("a folder of the repository") {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(rust_files(&path)),
            false if path.extension().is_some_and(|it| it == "rs") => found.push(path),
            false => {}
        }
    }
    found
}

/// The value of a literal in the source, if it is a text.
fn text_of(literal: &str) -> Option<String> {
    let inner = literal.strip_prefix('"')?.strip_suffix('"')?;
    let (mut text, mut rest) = (String::new(), inner.chars().peekable());
    while let Some(it) = rest.next() {
        if it != '\\' {
            text.push(it);
            continue;
        }
        match rest.next()? {
            'n' => text.push('\n'),
            'r' => text.push('\r'),
            't' => text.push('\t'),
            '0' => text.push('\0'),
            'x' => drop((rest.next(), rest.next())),
            '\n' => while rest.next_if(|it| it.is_whitespace()).is_some() {},
            other => text.push(other),
        }
    }
    Some(text)
}

fn literals(tokens: TokenStream, found: &mut BTreeSet<String>) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => literals(group.stream(), found),
            TokenTree::Literal(literal) => found.extend(text_of(&literal.to_string())),
            _ => {}
        }
    }
}

/// The texts in a file of the program, without its tests.
fn texts(path: &Path) -> BTreeSet<String> {
    let source = fs::read_to_string(path).unwrap();
    let program = source.split("#[cfg(test)]\nmod tests").next().unwrap();
    // The text of a documentation comment would be a literal, too.
    let is_code = |line: &&str| !line.trim_start().starts_with("//");
    let program = program.lines().filter(is_code).collect::<Vec<_>>().join("\n");
    let mut found = BTreeSet::new();
    literals(program.parse().expect("Rust"), &mut found);
    found
}

/// Whether a text has words: letters beside white space, when what stands in braces is left out.
fn has_words(text: &str) -> bool {
    let mut depth = 0_usize;
    let bare: String = text
        .chars()
        .filter(|it| {
            depth += usize::from(*it == '{');
            let is_bare = depth == 0;
            depth -= usize::from(*it == '}' && depth > 0);
            is_bare
        })
        .collect();
    let is_word = |word: &str| word.chars().filter(char::is_ascii_lowercase).count() >= 2;
    bare.trim().contains(' ') && bare.split_whitespace().any(is_word)
}

fn source(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli").join(folder)
}

#[test]
fn each_text_that_a_command_shows_to_people_has_a_chinese_version() {
    let tables = [doctor::TEXTS, errors::TEXTS, said::TEXTS, help::TEXTS];
    let known: BTreeSet<&str> = tables.into_iter().flatten().map(|(english, _)| *english).collect();
    let mut unused: BTreeSet<&str> = NOT_TRANSLATED.iter().copied().collect();
    let mut missing = Vec::new();
    let files: Vec<PathBuf> = SPEAKING.iter().flat_map(|it| rust_files(&source(it))).collect();
    // The help has a test of its own.
    let is_help = |path: &Path| path.ends_with("args.rs") || path.ends_with("table.rs");
    for path in files.iter().filter(|path| !is_help(path)) {
        for text in texts(path) {
            unused.remove(text.as_str());
            // A sentence whose subject is put before it has a hole for the subject.
            let is_known = known.contains(text.as_str())
                || known.contains(&*format!("{{}} {text}"))
                || NOT_TRANSLATED.contains(&&*text);
            if has_words(&text) && !is_known {
                missing.push(format!("{}: {text:?}", path.display()));
            }
        }
    }
    assert!(missing.is_empty(), "src/cli/lang/ needs these: {missing:#?}");
    assert!(unused.is_empty(), "no such text: {unused:#?}");
}

#[test]
fn each_translation_is_of_a_text_that_the_program_has() {
    let mut all = BTreeSet::new();
    let lang = source("lang");
    // The library has texts, too, such as what is wrong with a certificate.
    let program = source("").join("..");
    for path in
        rust_files(&program.canonicalize().unwrap()).iter().filter(|path| !path.starts_with(&lang))
    {
        all.extend(texts(path));
    }
    all.extend(texts(&lang.join("mod.rs")));
    let has = |english: &str| {
        all.contains(english) || english.strip_prefix("{} ").is_some_and(|rest| all.contains(rest))
    };
    let tables = [doctor::TEXTS, errors::TEXTS, said::TEXTS, help::TEXTS];
    let gone: Vec<&str> = tables
        .into_iter()
        .flatten()
        .map(|(english, _)| *english)
        .filter(|english| !has(english))
        .collect();
    assert!(gone.is_empty(), "the program does not say: {gone:#?}");
}

/// Lines of a Chinese help that are English for a reason.
fn may_be_english(line: &str) -> bool {
    let line = line.trim_start();
    // clap's own command, and what `tail` prints.
    line.starts_with("help ")
        || line.starts_with("longlink ")
        || line.starts_with("--pid ")
        || line.starts_with("[possible values")
        || line.starts_with(|it: char| it.is_ascii_digit())
}

#[test]
fn each_help_is_in_chinese() {
    let commands: [&[&str]; 14] = [
        &[],
        &["serve"],
        &["check"],
        &["ticket"],
        &["bench"],
        &["doctor"],
        &["tail"],
        &["completions"],
        &["man"],
        &["store"],
        &["store", "inspect"],
        &["store", "export"],
        &["store", "vacuum"],
        &["store", "backup"],
    ];
    for command in commands {
        for flag in ["-h", "--help"] {
            let args = [&["--lang", "zh"], command, &[flag]].concat();
            let (code, out, err) = run(&mut longlink(&args));
            assert_eq!((code, err.as_str()), (0, ""), "{args:?}");
            assert!(out.contains("用法：longlink") && out.contains("选项"), "{out}");
            for line in out.lines().filter(|line| !may_be_english(line)) {
                let words = line.split_whitespace();
                let is_word =
                    |it: &str| it.len() > 1 && it.chars().all(|it| it.is_ascii_lowercase());
                let english = words.fold((0, 0), |(run, most), word| {
                    let run = if is_word(word) { run + 1 } else { 0 };
                    (run, run.max(most))
                });
                assert!(english.1 < 3, "{args:?}: {line}");
            }
        }
    }
}

#[test]
fn doctor_speaks_chinese_with_the_flag_or_the_environment_and_scripts_get_english() {
    let url = "ws://127.0.0.1:1/websocket/doctor";
    let (code, out, _) = run(&mut longlink(&["--lang", "zh", "doctor", url]));
    assert_eq!(code, 1);
    assert!(out.contains("那里没有程序在监听"), "{out}");
    assert!(out.ends_with("1 项通过，1 项需要注意，1 项失败\n"), "{out}");
    let (_, by_environment, _) = run(longlink(&["doctor", url]).env("LANG", "zh_CN.UTF-8"));
    assert_eq!(by_environment, out);
    for args in [&["doctor", url, "--lang=en"][..], &["doctor", url, "--json"]] {
        let (_, english, _) = run(longlink(args).env("LANG", "zh_CN.UTF-8"));
        assert!(english.contains("nothing listens there"), "{english}");
    }
}

#[test]
fn errors_of_the_command_line_and_of_settings_are_in_chinese() {
    for (args, said) in [
        (&["--opne"][..], "longlink: 不认识的参数 '--opne'；是不是 '--open'？\n"),
        (
            &["check", "--max-message", "abc"],
            "--max-message: 应为 字节数，例如 65536、64kb、16mb 或 1gb，实际是 \"abc\"\n",
        ),
        (&["check", "--tls-cert", "x"], "--tls-cert: 它还需要 tls-key，即证书的私钥\n"),
        (&["doctor"], "longlink: 缺少参数 <URL>\n"),
        (
            &["check", "--tls-cert", "/dev/null", "--tls-key", "/dev/null"],
            "--tls-cert: tls-cert /dev/null，tls-key /dev/null：里面没有完整的 PEM 证书\n",
        ),
    ] {
        let args = [&["--lang", "zh"], args].concat();
        let (code, _, err) = run(&mut longlink(&args));
        assert_eq!((code, err.as_str()), (2, said), "{args:?}");
    }
    let (code, _, err) = run(&mut longlink(&["--lang", "de"]));
    assert_eq!((code, err.as_str()), (2, "longlink: --lang: expected en or zh, found \"de\"\n"));
}

#[test]
fn bench_tail_and_store_speak_chinese_and_json_is_english() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = listener.local_addr().unwrap().to_string();
    drop(listener);
    let url = format!("ws://{nobody}/{{user}}");
    let zh = |args: &[&str]| run(&mut longlink(&[&["--lang", "zh"], args].concat()));

    let (code, _, err) = zh(&["bench", "pingpong", &url]);
    assert!(code == 1 && err.contains("无法连接"), "{err}");
    let (code, _, err) = zh(&["bench", "pingpong", &url, "--size", "10"]);
    assert_eq!((code, &*err), (2, "longlink: --size 在模式 pingpong 里没有意义\n"));
    let (code, _, err) = zh(&["tail", "alice", "--url", &format!("http://{nobody}")]);
    assert!(code == 1 && err.starts_with(&format!("longlink: 连不上 {nobody}")), "{err}");

    let server = Program::start(&["--max-connections", "5"]);
    let url = crate::bench::url(&server);
    let bench = ["bench", "connect", &url, "--connections", "8", "--duration", "0"];
    let (code, out, err) = zh(&bench);
    assert_eq!(code, 1);
    assert!(out.starts_with("connect：8 条连接\n  操作         5 次"), "{out}");
    assert!(out.contains("\n  限制         服务器满了") && out.contains("不是它的速度"), "{out}");
    assert!(err.starts_with("longlink: 3 个错误，第一个是：连接 "), "{err}");
    let has_english = |line: &str| line.contains(" a ") || line.contains(" of ");
    assert!(!out.lines().chain(err.lines()).any(has_english), "{out}{err}");
    let (_, out, _) = zh(&[&bench[..], &["--json"]].concat());
    assert!(out.contains("this is a limit of the server"), "{out}");
}

#[cfg(feature = "store")]
#[test]
fn store_shows_a_file_and_what_is_wrong_with_one_in_chinese() {
    let folder = crate::program::Folder::new();
    let file = crate::program::shown(&folder.path("messages.db"));
    Program::start(&["--store", &file]).stop();
    let zh = |args: &[&str]| run(&mut longlink(&[&["--lang", "zh", "store"], args].concat()));
    let (code, out, err) = zh(&["inspect", &file]);
    assert_eq!((code, &*err), (0, ""));
    assert!(out.starts_with(&format!("文件        {file}\n")), "{out}");
    for line in ["消息        0 条，编号最大是 0\n", "：没有消息\n", "：最新的一个\n"]
    {
        assert!(out.contains(line), "{out}");
    }
    assert_eq!(zh(&["check", &file]), (0, format!("{file}：正常\n"), String::new()));
    let (code, out, _) = zh(&["vacuum", &file]);
    assert!(code == 0 && out.contains("：之前 "), "{out}");
    let other = folder.file("other.db", "this is no file of a store");
    let (code, _, err) = zh(&["inspect", &other]);
    assert_eq!((code, err), (2, format!("longlink: {other} 不是 longlink 的存储\n")));
    let (code, _, err) = zh(&["backup", &file, "--url", "http://127.0.0.1:1"]);
    assert_eq!((code, err), (2, format!("longlink: {file} 已存在：请换一个，或者加上 --force\n")));
}
