//! `longlink store`: looks into the file in which a server keeps messages, and copies it while the
//! server runs.

mod args;
mod backup;
mod export;
mod inspect;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ArgMatches;
use longlink::keeping::store::{self, OpenError, OpenErrorKind, ReadError, Reader};

use crate::cli::lang::shown;
use crate::cli::output::print;
use crate::cli::refusal::{Failure, Refusal};
use crate::cli::text::{Bytes, Escaped};
pub use args::command;

/// Runs one of the subcommands.
///
/// # Errors
/// If an argument is wrong, a file cannot be opened or is damaged, or the output could not be printed.
pub fn run(matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let Some((name, matches)) = matches.subcommand() else {
        let why = "name what to do: inspect, export, check, vacuum or backup";
        return Err(why.to_owned().into());
    };
    if name == "backup" {
        backup::run(matches)?;
        return Ok(ExitCode::SUCCESS);
    }
    let path = PathBuf::from(matches.get_one::<String>("file").map_or("", String::as_str));
    if name == "vacuum" {
        let (before, after) = store::vacuum(&path).map_err(|error| hint(&error))?;
        let size = |bytes| Bytes(usize::try_from(bytes).unwrap_or(usize::MAX));
        let text = format!("{}: {} before, {} now\n", path.display(), size(before), size(after));
        print(&shown(&text))?;
        return Ok(ExitCode::SUCCESS);
    }
    let reader = Reader::open(&path).map_err(|error| hint(&error))?;
    match name {
        "check" => check(&path, &reader)?,
        "export" => export::run(&reader).map_err(|error| damage(&path, &error))??,
        _ => {
            let summary = reader.summary().map_err(|error| damage(&path, &error))?;
            match matches.get_flag("json") {
                true => print(&format!("{}\n", inspect::json(&path, &summary)))?,
                false => print(&inspect::text(&path, &summary))?,
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Says why a file was not opened, and what to do if a server has it open.
fn hint(error: &OpenError) -> String {
    match error.kind() {
        OpenErrorKind::Held => format!(
            "{error}: ask the server with GET /api/stats, or look into a copy that longlink store \
             backup makes"
        ),
        _ => error.to_string(),
    }
}

/// The failure of a command that has found damage in a file.
fn damage(path: &Path, error: &ReadError) -> Failure {
    Failure::NotNow(Refusal(format!("{} is damaged: {error}", path.display())))
}

/// Prints what is wrong with a file.
fn check(path: &Path, reader: &Reader) -> Result<(), Failure> {
    let faults = reader.check();
    if faults.is_empty() {
        return print(&shown(&format!("{}: ok\n", path.display())));
    }
    for fault in &faults {
        print(&format!("{}\n", Escaped(&shown(fault))))?;
    }
    Err(Failure::NotNow(Refusal(format!("{} is damaged", path.display()))))
}

/// Prints a notice on stderr, since stdout has what was asked for.
fn complain(what: &str) {
    let _ = writeln!(io::stderr(), "longlink: {}", Escaped(&shown(what)));
}
