//! The help in its two lengths, the completions and the manual pages. All of them come from the command line
//! itself.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use crate::program::{longlink, run};

const COMMANDS: [&[&str]; 10] = [
    &[],
    &["serve"],
    &["check"],
    &["ticket"],
    &["bench"],
    &["doctor"],
    &["tail"],
    &["store", "backup"],
    &["completions"],
    &["man"],
];

fn printed(args: &[&str]) -> String {
    let (code, out, err) = run(&mut longlink(args));
    assert_eq!((code, err.as_str()), (0, ""), "{args:?}");
    out
}

/// The options that a text names at the beginnings of its lines.
fn options(help: &str) -> BTreeSet<String> {
    let option = |line: &str| {
        let at = line
            .find("--")
            .filter(|at| line[..*at].trim_matches([' ', '-', ',', 'h', 'V']).is_empty())?;
        let name: String =
            line[at + 2..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
        Some(name)
    };
    help.lines().filter_map(option).collect()
}

#[test]
fn the_short_help_of_each_command_fits_a_window_and_the_long_help_says_more() {
    for command in COMMANDS {
        let short = printed(&[command, &["-h"]].concat());
        let long = printed(&[command, &["--help"]].concat());
        assert!(short.lines().count() <= 66, "{command:?} has {} lines", short.lines().count());
        assert!(long.len() > short.len(), "{command:?}");
        assert!(options(&short).is_subset(&options(&long)), "{command:?}");
        for line in short.lines().chain(long.lines()) {
            // An example is copied from its line, so it is not broken.
            assert!(line.chars().count() <= 105, "{command:?}: {line}");
        }
    }
    assert!(printed(&["-h"]).contains("--listen") && !printed(&["-h"]).contains("--max-queue"));
}

#[test]
fn serve_bench_and_doctor_have_one_layout() {
    for command in ["serve", "bench", "doctor"] {
        let help = printed(&[command, "--help"]);
        let headings: Vec<&str> =
            help.lines().filter(|line| line.ends_with(':') && !line.starts_with(' ')).collect();
        let last = headings.last().copied();
        assert_eq!(last, Some("Examples:"), "{command}: {headings:?}");
        let options = headings.iter().position(|heading| *heading == "Options:");
        let rest: Vec<&str> = help.split("Options:").nth(1).unwrap().lines().collect();
        assert!(options.is_some(), "{command}: {headings:?}");
        // No option but these two is without a heading.
        let unheaded = rest.iter().take_while(|line| !line.ends_with(':') || line.starts_with(' '));
        let unheaded = unheaded.filter(|line| {
            line.trim_start().starts_with("--") || line.trim_start().starts_with("-h")
        });
        assert!(unheaded.count() <= 2, "{command}");
        // The name of a value says what it is; one letter does not.
        for letter in ["<N>", "<S>", "<T>"] {
            assert!(!help.contains(letter), "{command}: {letter}");
        }
    }
}

#[test]
fn bash_completes_commands_options_and_values() {
    let script = printed(&["completions", "bash"]);
    let complete = |words: &[&str]| {
        let ask = format!(
            "{script}\nCOMP_WORDS=(longlink {})\nCOMP_CWORD={}\n_longlink longlink '{}' '{}'\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"",
            words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" "),
            words.len(),
            words[words.len() - 1],
            words.len().checked_sub(2).map_or("longlink", |at| words[at]),
        );
        let done =
            Command::new("bash").arg("-c").arg(ask).stdin(Stdio::null()).output().expect("bash");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    };
    assert_eq!(complete(&["do"]), "doctor\n");
    assert_eq!(complete(&["serve", "--max-q"]), "--max-queue\n");
    assert_eq!(complete(&["bench", "ping"]), "pingpong\n");
    let of_help = options(&printed(&["bench", "--help"]));
    let completed = complete(&["bench", "--"]);
    assert_eq!(
        completed.lines().map(|line| line[2..].to_owned()).collect::<BTreeSet<_>>(),
        of_help
    );
}

#[test]
fn the_completions_of_each_shell_name_every_option() {
    for shell in ["bash", "zsh", "fish"] {
        let script = printed(&["completions", shell]);
        for command in COMMANDS {
            for option in options(&printed(&[command, &["--help"]].concat())) {
                let named = match shell {
                    "fish" => script.contains(&format!("-l {option}")),
                    _ => script.contains(&format!("--{option}")),
                };
                assert!(named, "{shell}: --{option}");
            }
        }
    }
    let (code, out, err) = run(&mut longlink(&["completions", "tcsh"]));
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("tcsh"), "{err}");
}

#[test]
fn each_manual_page_has_the_options_of_its_command_and_its_examples() {
    for name in ["", "serve", "bench", "doctor", "ticket", "tail"] {
        let command: &[&str] = if name.is_empty() { &[] } else { &[name] };
        let page = printed(&[&["man"], command].concat());
        let title =
            if name.is_empty() { "longlink".to_owned() } else { format!("longlink-{name}") };
        assert!(page.contains(&format!(".TH {title} 1")), "{name}: {}", &page[..200]);
        for option in options(&printed(&[command, &["--help"]].concat())) {
            let escaped = option.replace('-', "\\-");
            assert!(page.contains(&format!("\\-\\-{escaped}")), "{name}: --{option}");
        }
        // Lines of examples stay as they are, so that they can be copied.
        let notes = page.split(".SH NOTES\n.nf\n").nth(1).expect("a section of notes");
        assert!(notes.split(".fi\n").next().unwrap().contains("\nExamples:\n"), "{name}: {notes}");
    }
    let (code, out, err) = run(&mut longlink(&["man", "nothing"]));
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("nothing"), "{err}");
}
