//! The layout of every help. The commands only say what is told; this file says how: `-h` is short and
//! `--help` is long, and both look alike for all commands. Every text of a help goes through
//! [`laid_out`] after the command line has been put together.

use clap::{Arg, Command};

use super::settings::table::{SETTINGS, find};

/// The settings that `-h` shows: with these a server is set up. `--help` shows all.
const EVERYDAY: [&str; 14] = [
    "listen",
    "open",
    "tls-cert",
    "tls-key",
    "secret-file",
    "allow-origin",
    "trust-proxy",
    "store",
    "redis",
    "api-listen",
    "api-key-file",
    "webhook",
    "log",
    "config",
];

/// No line of a help is longer, however wide the terminal is.
const WIDTH: usize = 100;

/// Gives a command, and the commands below it, their layout. The text after the options is for
/// `--help` alone; `-h` names it.
pub fn laid_out(command: Command) -> Command {
    let name = command.get_name().to_owned();
    below(command, &name)
}

fn below(command: Command, path: &str) -> Command {
    let subcommands: Vec<String> =
        command.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    let after = command.get_after_help().cloned();
    let has_settings = SETTINGS
        .iter()
        .all(|setting| command.get_arguments().any(|arg| arg.get_id() == setting.name));
    let mut command = command.max_term_width(WIDTH).mut_args(short_and_long);
    if has_settings {
        command = command.mut_args(|arg| {
            let is_rare = is_rare(&arg);
            arg.hide_short_help(is_rare)
        });
    }
    if let Some(after) = after {
        let more = match has_settings {
            true => format!("`{path} --help` has all settings, says more, and has examples."),
            false => format!("`{path} --help` says more, and has examples."),
        };
        command = command.after_help(more).after_long_help(after);
    }
    for name in subcommands {
        let path = format!("{path} {name}");
        command = command.mut_subcommand(name, |command| below(command, &path));
    }
    command
}

/// Whether an argument is a setting that `-h` leaves out.
fn is_rare(arg: &Arg) -> bool {
    let name = arg.get_id().as_str();
    !EVERYDAY.contains(&name) && find(name).is_some()
}

/// Keeps the whole help of an option for `--help`; `-h` shows its first clause.
fn short_and_long(arg: Arg) -> Arg {
    match arg.get_help().map(ToString::to_string) {
        Some(help) if arg.get_long_help().is_none() => {
            arg.help(first_clause(&help)).long_help(help)
        }
        _ => arg,
    }
}

/// Returns the beginning of a help up to the first pause, and the default that stands at its end.
fn first_clause(help: &str) -> String {
    let is_remark = |at: &usize| help[at + 2..].starts_with(|c: char| c.is_ascii_lowercase());
    let remark = help.match_indices(" [").map(|(at, _)| at).find(is_remark);
    let (text, _) = help.split_at(remark.unwrap_or(help.len()));
    let default = help.rfind(" [default: ").map_or("", |at| &help[at..]);
    let pauses = ["; ", ". ", ": "].iter().filter_map(|pause| text.find(pause));
    let end = pauses.min().unwrap_or(text.len());
    format!("{}{default}", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_setting_of_every_day_is_a_setting() {
        // A build without some features lacks their settings.
        let features = ["tls-cert", "tls-key", "store", "redis"];
        for name in EVERYDAY.iter().filter(|name| !features.contains(name)) {
            assert!(find(name).is_some(), "{name}");
        }
    }

    #[test]
    fn the_short_help_of_an_option_ends_at_its_first_pause_and_keeps_the_default() {
        for (help, short) in [
            (
                "The longest head; a longer one gets 431 [default: 16384]",
                "The longest head [default: 16384]",
            ),
            ("A network: 10.0.0.0/8", "A network"),
            (
                "127.0.0.1:8080, [::1]:8080 or unix:PATH. Repeatable",
                "127.0.0.1:8080, [::1]:8080 or unix:PATH",
            ),
            ("The user's id", "The user's id"),
            ("How long to watch [connect, churn]", "How long to watch"),
            ("A file: listen = [\"127.0.0.1:8080\"]", "A file"),
        ] {
            assert_eq!(first_clause(help), short);
        }
    }
}
