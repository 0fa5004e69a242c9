//! `longlink ticket`: signs a ticket by hand, to try a server or for a script.

use std::process::ExitCode;
use std::time::SystemTime;

use clap::{Arg, ArgAction, ArgMatches};
use longlink::tickets::Ticket;

use crate::cli::output::print;
use crate::cli::problems::Problems;
use crate::cli::refusal::{Failure, Refusal};
use crate::cli::settings::draft::Draft;
use crate::cli::settings::flags::{args_of, flags};
use crate::cli::settings::secret::{self, Secrets};
use crate::cli::settings::table::{CONFIG, SECRET_FILE, find};
use crate::cli::settings::units;
use crate::cli::settings::values::Values;

const AFTER: &str = "\
The secret must be the server's: the first line of --secret-file, or LONGLINK_SECRET.

Examples:
  longlink ticket alice --ttl 2h --secret-file /etc/longlink.secret
  longlink ticket ops --ttl 5m --broadcast --group staff --config /etc/longlink.toml";

pub fn command() -> clap::Command {
    let value = |name: &'static str, value: &'static str| {
        Arg::new(name).long(name).value_name(value).help_heading("What the ticket says")
    };
    clap::Command::new("ticket")
        .about("Sign a ticket for a user and print it")
        .after_help(AFTER)
        .arg(Arg::new("user").value_name("USER").required(true).help("The id of the user"))
        .arg(
            value("ttl", "TIME")
                .required(true)
                .help("How long the ticket is valid: 90s, 30m, 2h or 7d"),
        )
        .arg(value("device", "NAME").help("The only device that may use it [default: any]"))
        .arg(
            value("group", "NAME")
                .action(ArgAction::Append)
                .help("A group into which its connections are put; repeatable"),
        )
        .arg(
            Arg::new("broadcast")
                .long("broadcast")
                .action(ArgAction::SetTrue)
                .help_heading("What the ticket says")
                .help("The user may send to everyone"),
        )
        .args(args_of(|setting| [CONFIG, SECRET_FILE].contains(&setting.name)))
}

/// Prints the ticket, alone on its line.
///
/// # Errors
/// If the ticket cannot be signed, or could not be written.
pub fn ticket(matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let text = |name| matches.get_one::<String>(name).map(String::as_str);
    let ttl = units::span(text("ttl").unwrap_or_default())
        .map_err(|why| Refusal(format!("--ttl: {why}")))?;
    let mut problems = Problems::default();
    let values = Values::gather(&flags(matches), std::env::vars_os(), &mut problems);
    let mut draft = Draft::default();
    let put = find(SECRET_FILE).map_or(Ok(()), |setting| values.put(setting, &mut draft));
    let read = put.and_then(|()| Secrets::read(draft.secrets, &values));
    let secrets = read.unwrap_or_else(|problem| {
        problems.add(problem);
        None
    });
    if !problems.is_empty() {
        return Err(problems.into());
    }
    let Some(secrets) = secrets else {
        let variable = secret::VARIABLE;
        return Err(Refusal(format!("a secret is needed: --{SECRET_FILE} or {variable}")).into());
    };
    let mut ticket = Ticket::new(text("user").unwrap_or_default(), SystemTime::now() + ttl)
        .broadcast(matches.get_flag("broadcast"));
    if let Some(device) = text("device") {
        ticket = ticket.device(device);
    }
    for group in matches.get_many::<String>("group").into_iter().flatten() {
        ticket = ticket.group(group);
    }
    let signed = secrets.tickets().and_then(|tickets| tickets.sign(&ticket));
    let signed = signed.map_err(|error| Refusal(error.to_string()))?;
    print(&format!("{signed}\n"))?;
    Ok(ExitCode::SUCCESS)
}
