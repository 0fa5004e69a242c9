//! The command line of `longlink store`.

use clap::{Arg, ArgAction, Command};

use crate::cli::client::api::with_flags;

const AFTER: &str = "\
FILE is the file of --store of a server that does not run, or a copy. The file of a running server is
never opened beside it: make a copy with `longlink store backup`, or ask the server's interface.
inspect, export and check change nothing.

Exit codes: 0 done; 1 the file is damaged, or the server could not make a copy; 2 wrong arguments, or
the file cannot be opened.

Examples:
  longlink store inspect messages.db
  longlink store export messages.db | jq -c 'select(.record == \"message\")'
  longlink store backup /backup/messages.db --key-file /etc/longlink/api.key";

/// Returns the subcommand, for the table of the command line.
pub fn command() -> Command {
    let command = Command::new("store")
        .about("Look into the file of --store, or copy it while the server runs")
        .after_help(AFTER)
        .subcommand_required(true)
        .arg_required_else_help(false)
        .subcommand(on_file("inspect", "Show what is in the file").arg(
            Arg::new("json")
                .long("json")
                .help_heading("The report")
                .action(ArgAction::SetTrue)
                .help("Print one JSON object, for scripts"),
        ))
        .subcommand(on_file("export", "Print everything in the file as lines of JSON"))
        .subcommand(on_file("check", "Check the file, and read every row"))
        .subcommand(on_file(
            "vacuum",
            "Write the file anew without its empty pages; it needs as much free space as the file has",
        ));
    command.subcommand(backup())
}

fn on_file(name: &'static str, about: &'static str) -> Command {
    let file = Arg::new("file").value_name("FILE").required(true).help("The file of a store");
    Command::new(name).about(about).arg(file)
}

fn backup() -> Command {
    let command = Command::new("backup")
        .about("Copy the store of a running server, which runs on this machine, to a file")
        .arg(
            Arg::new("dest")
                .value_name("DEST")
                .required(true)
                .help("The file to make; only its owner can read it"),
        )
        .arg(
            Arg::new("force")
                .long("force")
                .action(ArgAction::SetTrue)
                .help("Replace DEST if it exists"),
        );
    with_flags(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_of_store_are_consistent() {
        command().debug_assert();
    }
}
