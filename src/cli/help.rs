//! The layout of every help. The commands only say what is told; this file says how: `-h` is short and
//! `--help` is long, and both look alike for all commands. Every text of a help goes through
//! [`laid_out`] after the command line has been put together.

use clap::{Arg, ArgAction, Command};

use super::lang;
use super::settings::table::{self, find};

/// No line of a help is longer, however wide the terminal is.
const WIDTH: usize = 100;

/// Gives a command, and the commands below it, their layout. The text after the options is for
/// `--help` alone; `-h` names it.
pub fn laid_out(command: Command) -> Command {
    let name = command.get_name().to_owned();
    below(command, &name)
}

fn below(command: Command, path: &str) -> Command {
    let command = if lang::is_chinese() { in_chinese(command) } else { command };
    let subcommands: Vec<String> =
        command.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    let after = command.get_after_help().cloned();
    let has_settings =
        table::all().all(|setting| command.get_arguments().any(|arg| arg.get_id() == setting.name));
    let mut command = command.max_term_width(WIDTH).mut_args(short_and_long).arg(language());
    if has_settings {
        command = command.mut_args(|arg| {
            let is_rare = is_rare(&arg);
            arg.hide_short_help(is_rare)
        });
    }
    if let Some(after) = after {
        let more = match (has_settings, lang::is_chinese()) {
            (true, false) => {
                format!("`{path} --help` has all settings, says more, and has examples.")
            }
            (false, false) => format!("`{path} --help` says more, and has examples."),
            (true, true) => format!("`{path} --help` 列出全部设置，有更多说明和例子。"),
            (false, true) => format!("`{path} --help` 有更多说明和例子。"),
        };
        command = command.after_help(more).after_long_help(after);
    }
    for name in subcommands {
        let path = format!("{path} {name}");
        command = command.mut_subcommand(name, |command| below(command, &path));
    }
    command
}

/// The flag that chooses the language. It is told here, and read before anything else is.
fn language() -> Arg {
    let arg = Arg::new("lang").long("lang").value_name("LANGUAGE");
    match lang::is_chinese() {
        true => arg
            .help_heading("选项")
            .help("用中文（zh）或英文（en）；不写时由 LC_ALL、LC_MESSAGES 或 LANG 决定"),
        false => {
            arg.help("Speak English (en) or Chinese (zh); else LC_ALL, LC_MESSAGES or LANG decides")
        }
    }
}

/// Gives a command its help in Chinese: all texts of its own, and the words that clap adds.
fn in_chinese(command: Command) -> Command {
    let text = |text: &clap::builder::StyledStr| lang::help(&text.to_string());
    let about = command.get_about().and_then(text);
    let long_about = command.get_long_about().and_then(text);
    let after = command.get_after_help().and_then(text);
    let has_version = command.get_version().is_some();
    let mut command = command
        .help_template("{before-help}{about-with-newline}\n用法：{usage}\n\n{all-args}{after-help}")
        .subcommand_help_heading("命令")
        .mut_args(|arg| {
            let help = arg.get_help().and_then(text);
            let heading = match arg.get_help_heading() {
                Some(heading) => lang::heading(heading),
                None if arg.is_positional() => Some("参数"),
                None => Some("选项"),
            };
            let arg = match help {
                Some(help) => arg.help(help),
                None => arg,
            };
            match heading {
                Some(heading) => arg.help_heading(heading),
                None => arg,
            }
        })
        .disable_help_flag(true)
        .arg(
            Arg::new("help")
                .short('h')
                .long("help")
                .action(ArgAction::Help)
                .help_heading("选项")
                .help("显示帮助；-h 只显示摘要"),
        );
    if has_version {
        let version = Arg::new("version").short('V').long("version").action(ArgAction::Version);
        command =
            command.disable_version_flag(true).arg(version.help_heading("选项").help("显示版本"));
    }
    if let Some(about) = about {
        command = command.about(about);
    }
    if let Some(about) = long_about {
        command = command.long_about(about);
    }
    match after {
        Some(after) => command.after_help(after),
        None => command,
    }
}

/// Whether an argument is a setting that `-h` leaves out.
fn is_rare(arg: &Arg) -> bool {
    find(arg.get_id().as_str()).is_some_and(|setting| !setting.is_everyday)
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
    let pauses = ["; ", ". ", ": ", "；", "。", "："].iter().filter_map(|pause| text.find(pause));
    let end = pauses.min().unwrap_or(text.len());
    format!("{}{default}", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

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
