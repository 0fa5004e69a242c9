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

use crate::cli::text::{Bytes, Escaped};
pub use args::command;

/// Runs one of the subcommands.
///
/// # Errors
/// One line about an argument that is wrong, or a file that cannot be opened.
pub fn run(matches: &ArgMatches) -> Result<ExitCode, String> {
    let Some((name, matches)) = matches.subcommand() else {
        return Err("name what to do: inspect, export, check, vacuum or backup".to_owned());
    };
    if name == "backup" {
        return backup::run(matches);
    }
    let path = PathBuf::from(matches.get_one::<String>("file").map_or("", String::as_str));
    if name == "vacuum" {
        let (before, after) = store::vacuum(&path).map_err(|error| hint(&error))?;
        let shown = |bytes| Bytes(usize::try_from(bytes).unwrap_or(usize::MAX));
        let text = format!("{}: {} before, {} now\n", path.display(), shown(before), shown(after));
        return Ok(finish(print(&text)));
    }
    let reader = Reader::open(&path).map_err(|error| hint(&error))?;
    let done =
        match name {
            "check" => check(&path, &reader),
            "export" => match export::run(&reader) {
                Ok(written) => written.map_err(|error| format!("cannot write: {error}")),
                Err(error) => Err(damage(&path, &error)),
            },
            _ => reader.summary().map_err(|error| damage(&path, &error)).and_then(|summary| {
                match matches.get_flag("json") {
                    true => print(&format!("{}\n", inspect::json(&path, &summary))),
                    false => print(&inspect::text(&path, &summary)),
                }
            }),
        };
    Ok(finish(done))
}

/// Says what has failed, if something has, and returns the exit code.
fn finish(done: Result<(), String>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            complain(&why);
            ExitCode::FAILURE
        }
    }
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

fn damage(path: &Path, error: &ReadError) -> String {
    format!("{} is damaged: {error}", path.display())
}

/// Prints what is wrong with a file.
fn check(path: &Path, reader: &Reader) -> Result<(), String> {
    let faults = reader.check();
    if faults.is_empty() {
        return print(&format!("{}: ok\n", path.display()));
    }
    for fault in &faults {
        print(&format!("{}\n", Escaped(fault)))?;
    }
    Err(format!("{} is damaged", path.display()))
}

/// Prints what was asked for. It is an error if that could not be written.
fn print(text: &str) -> Result<(), String> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    written.map_err(|error| format!("cannot write to standard output: {error}"))
}

/// Prints a notice on stderr, since stdout has what was asked for.
fn complain(what: &str) {
    let _ = writeln!(io::stderr(), "longlink: {}", Escaped(what));
}
