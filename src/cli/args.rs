//! The command line: help, version, subcommands and the flags of the table.

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches};

#[cfg(feature = "store")]
use super::commands::store;
use super::commands::{bench, check, doctor, manual, tail, ticket};
use super::help::laid_out;
use super::output::print_page;
use super::refusal::{Failure, Refusal};
use super::settings::flags::{Flags, args_of, flags};
use super::settings::table::RUN;

const ABOUT: &str = "WebSocket long connections for WeChat mini-programs.

A client connects to ws://ADDR/websocket/USERID and chats with others by their ids.
Open http://ADDR/ in two browser tabs to see it.";

const AFTER: &str = "\
Protected by default:
  Only this machine can connect: another address is refused without tickets or --open.
  Without tickets, web pages of other sites are refused because of their Origin, and requests
  for other names because of their Host. Every limit and timeout above holds for all clients.

Each setting is also an environment variable (LONGLINK_MAX_CONNECTIONS=5000; lists with
commas) and a key of the configuration file. Flags win over the environment, and the environment
wins over the file, separately for each setting. An empty variable counts as not set.

At SIGINT or SIGTERM longlink stops accepting, closes every connection with code 1001, and exits
with 0. At a second signal it exits at once, with 130 or 143. It exits with 2 if a setting is
wrong or an address is in use, and with 1 if the disk has no room for the file of a new store.

Examples:
  longlink
      Try it: open http://127.0.0.1:8080/ in two tabs.
  longlink --listen 0.0.0.0:443 --tls-cert fullchain.pem --tls-key privkey.pem --secret-file secret
      For a released mini-program: wss, and tickets that its backend signs.
  longlink --listen unix:/run/longlink.sock --config /etc/longlink.toml --log warn
      Behind a reverse proxy that ends TLS, with the settings of a file.";

/// The flag that prints the settings.
const PRINT_CONFIG: &str = "print-config";

/// What the command line asks the program to do.
#[derive(Debug)]
pub enum Command {
    /// The command line asked for the help or the version, which has been printed.
    Shown,
    Serve(Flags),
    /// Prints the settings that `serve` would use.
    Print(Flags),
    /// Only says whether `serve` would refuse these settings.
    Check(Flags),
    /// Prints completions for a shell.
    Completions(Box<ArgMatches>),
    /// Prints a manual page.
    Man(Box<ArgMatches>),
    Bench(Box<ArgMatches>),
    Ticket(Box<ArgMatches>),
    Doctor(Box<ArgMatches>),
    Tail(Box<ArgMatches>),
    #[cfg(feature = "store")]
    Store(Box<ArgMatches>),
}

/// Reads the command line. Without a subcommand it means `serve`.
///
/// # Errors
/// If an argument is wrong, or the help or the version could not be printed.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, Failure> {
    match command().try_get_matches_from(args) {
        Ok(mut matches) => Ok(match matches.remove_subcommand() {
            Some((name, chosen)) if name == "bench" => Command::Bench(Box::new(chosen)),
            Some((name, chosen)) if name == "ticket" => Command::Ticket(Box::new(chosen)),
            Some((name, chosen)) if name == "doctor" => Command::Doctor(Box::new(chosen)),
            Some((name, chosen)) if name == "tail" => Command::Tail(Box::new(chosen)),
            #[cfg(feature = "store")]
            Some((name, chosen)) if name == "store" => Command::Store(Box::new(chosen)),
            Some((name, chosen)) if name == "completions" => Command::Completions(Box::new(chosen)),
            Some((name, chosen)) if name == "man" => Command::Man(Box::new(chosen)),
            Some((_, chosen)) if chosen.get_flag(PRINT_CONFIG) => Command::Print(flags(&chosen)),
            Some((name, chosen)) if name == "check" => Command::Check(flags(&chosen)),
            Some((_, chosen)) => Command::Serve(flags(&chosen)),
            None if matches.get_flag(PRINT_CONFIG) => Command::Print(flags(&matches)),
            None => Command::Serve(flags(&matches)),
        }),
        Err(error)
            if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) =>
        {
            print_page(&error)?;
            Ok(Command::Shown)
        }
        Err(error) => Err(Refusal(one_line(&error.to_string())).into()),
    }
}

/// Returns the command line; both `longlink` and `longlink serve` take the settings.
pub fn command() -> clap::Command {
    let serve = clap::Command::new("serve").about("Run the server; this is the default command");
    let check = clap::Command::new("check").about(check::ABOUT);
    let command = with_settings(clap::Command::new("longlink"))
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .args_conflicts_with_subcommands(true)
        .subcommand(with_settings(serve))
        .subcommand(with_settings(check).after_help(check::AFTER))
        .subcommand(ticket::command())
        .subcommand(bench::command())
        .subcommand(doctor::command())
        .subcommand(tail::command());
    #[cfg(feature = "store")]
    let command = command.subcommand(store::command());
    let command =
        command.subcommand(manual::completions_command()).subcommand(manual::man_command());
    laid_out(command)
}

fn with_settings(command: clap::Command) -> clap::Command {
    let print = Arg::new(PRINT_CONFIG)
        .long(PRINT_CONFIG)
        .action(ArgAction::SetTrue)
        .help_heading(RUN)
        .help(
            "Print the settings that count and where each was set, as a configuration file \
             without secrets, and end",
        );
    command.after_help(AFTER).args(args_of(|_| true)).arg(print)
}

/// Makes one line of clap's error message. clap explains an error over several lines, with the
/// usage and a pointer to the help at the end; only the explanation is kept.
fn one_line(text: &str) -> String {
    let lines = text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:"));
    let kept = lines.filter(|line| !line.is_empty() && !line.starts_with("For more information"));
    let line = kept.collect::<Vec<_>>().join("; ").replace(":; ", ": ").replace("; [", " [");
    line.strip_prefix("error: ").unwrap_or(&line).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_of_the_program_are_consistent() {
        command().debug_assert();
    }

    #[test]
    fn the_explanation_of_a_wrong_argument_is_one_line_and_keeps_the_tip() {
        let refused = |args: &[&str]| {
            let args = ["longlink"].iter().chain(args).map(OsString::from);
            match parse(args).unwrap_err() {
                Failure::Refused(refusal) => refusal.0,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(
            refused(&["--max-mesage", "5"]),
            "unexpected argument '--max-mesage' found; tip: a similar argument exists: '--max-message'"
        );
        assert_eq!(refused(&["foo"]), "unrecognized subcommand 'foo'");
        assert_eq!(
            refused(&["--log"]),
            "a value is required for '--log <LEVEL>' but none was supplied"
        );
    }
}
