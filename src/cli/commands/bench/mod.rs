//! `longlink bench`: a load generator for WebSocket servers, in one thread.
//!
//! The generator must never limit a measurement. So frames are made before the run, a batch is one
//! write, messages are told apart by a few bytes, and no message needs an allocation or a JSON
//! parser. The generator must not know the server's code, except how a header field and a number
//! are read (`longlink::shared`).

mod args;
mod client;
mod clients;
mod handshake;
mod http;
mod limits;
mod modes;
mod options;
mod pace;
mod pending;
mod process;
mod progress;
mod report;
mod sequence;
mod session;
mod stream;
mod tally;
mod target;
#[cfg(feature = "tls")]
mod tls;

use std::io::Write;
use std::process::ExitCode;

use clap::ArgMatches;

use crate::cli::lang::shown;
use crate::cli::output::print;
use crate::cli::refusal::Failure;
use crate::cli::text::Escaped;

pub use args::command;
use options::Options;
use report::Report;
use session::{Session, Stop};

/// Measures what the command line asks for and prints the report.
///
/// # Errors
/// If an argument is wrong; then nothing was measured. Or if the report could not be printed.
pub fn run(matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let mut session = Session::new(Options::read(matches)?)?;
    let stop = modes::run(&mut session).err();
    session.stop_measuring();
    session.close_all();
    session.end_progress();

    let tally = &session.clients.tally;
    let mut printed = Ok(());
    // A run that failed before the measurement began has no figures.
    if stop.is_none() || stop == Some(Stop::Interrupted) || session.spent.time.as_nanos() > 0 {
        let report = Report::new(&session, stop.as_ref());
        let text = match session.options.json {
            true => report.json() + "\n",
            false => report.summary(&session.options),
        };
        printed = print(&text);
    }
    if let Some(Stop::Failed(why)) = &stop {
        complain(why);
    } else if let Some(why) = tally.first_error() {
        complain(&format!("{} errors, the first: {why}", tally.errors()));
    }
    printed?;
    let sound = tally.errors() == 0 && !matches!(stop, Some(Stop::Failed(_)));
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Says on standard error why a run has failed.
fn complain(what: &str) {
    let _ = writeln!(std::io::stderr(), "longlink: {}", Escaped(&shown(what)));
}
