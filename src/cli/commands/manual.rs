//! `longlink completions` and `longlink man`: what a shell and a reader of manual pages know of the
//! command line. Both are made from the command line itself, so they cannot say anything else.

use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::cli::output::print;
use crate::cli::refusal::{Failure, Refusal};

const SHELLS: [(&str, Shell); 3] =
    [("bash", Shell::Bash), ("zsh", Shell::Zsh), ("fish", Shell::Fish)];

const COMPLETIONS_AFTER: &str = "\
Examples:
  longlink completions bash >/etc/bash_completion.d/longlink
  longlink completions zsh >/usr/local/share/zsh/site-functions/_longlink
  longlink completions fish >~/.config/fish/completions/longlink.fish";

const MAN_AFTER: &str = "\
Examples:
  longlink man >/usr/local/share/man/man1/longlink.1
  longlink man doctor >/usr/local/share/man/man1/longlink-doctor.1";

/// Returns the subcommand for completions, for the table of the command line.
pub fn completions_command() -> Command {
    let shells = SHELLS.map(|(name, _)| name);
    Command::new("completions")
        .about("Print what lets a shell complete longlink's commands and options")
        .after_help(COMPLETIONS_AFTER)
        .arg(Arg::new("shell").value_name("SHELL").required(true).value_parser(shells))
}

/// Returns the subcommand for manual pages, for the table of the command line.
pub fn man_command() -> Command {
    let help = "The command that the page is about; without it the page is about the server";
    Command::new("man")
        .about("Print the manual page of longlink or of one of its commands")
        .after_help(MAN_AFTER)
        .arg(Arg::new("command").value_name("COMMAND").help(help))
}

/// Prints the completions of the whole command line for a shell.
pub fn completions(mut command: Command, matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let asked = matches.get_one::<String>("shell").map_or("", String::as_str);
    let (_, shell) = SHELLS
        .into_iter()
        .find(|(name, _)| *name == asked)
        .ok_or_else(|| Failure::Refused(Refusal(format!("no completions for {asked}"))))?;
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command, "longlink", &mut text);
    print(&String::from_utf8_lossy(&text))?;
    Ok(ExitCode::SUCCESS)
}

/// Prints a manual page.
pub fn man(mut command: Command, matches: &ArgMatches) -> Result<ExitCode, Failure> {
    command.build();
    let page = match matches.get_one::<String>("command") {
        None => Man::new(command),
        Some(name) => {
            let found = command.find_subcommand(name).cloned().ok_or_else(|| {
                Failure::Refused(Refusal(format!(
                    "there is no command {name:?} to print a page of"
                )))
            })?;
            Man::new(found).title(format!("longlink-{name}"))
        }
    };
    let mut text = Vec::new();
    page.render(&mut text)
        .map_err(|error| Failure::Refused(Refusal(format!("cannot make the page: {error}"))))?;
    print(&with_lines_kept(&String::from_utf8_lossy(&text)))?;
    Ok(ExitCode::SUCCESS)
}

/// Keeps the lines of what follows the options as they are: among them are examples, which a reader copies.
fn with_lines_kept(page: &str) -> String {
    let Some((before, after)) = page.split_once(".SH EXTRA\n") else { return page.to_owned() };
    let (kept, rest) = after.split_at(after.find("\n.SH ").map_or(after.len(), |at| at + 1));
    format!("{before}.SH NOTES\n.nf\n{kept}.fi\n{rest}")
}
