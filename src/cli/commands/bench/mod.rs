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

pub use args::command;
use options::Options;
use report::Report;
use session::{Session, Stop};

/// Measures what the command line asks for and prints the report.
///
/// # Errors
/// One line about an argument that is wrong; then nothing was measured.
pub fn run(matches: &ArgMatches) -> Result<ExitCode, String> {
    let mut session = Session::new(Options::read(matches)?)?;
    let stop = modes::run(&mut session).err();
    session.stop_measuring();
    session.close_all();
    session.end_progress();

    let tally = &session.clients.tally;
    // A run that failed before the measurement began has no figures.
    if stop.is_none() || stop == Some(Stop::Interrupted) || session.spent.time.as_nanos() > 0 {
        let report = Report::new(&session, stop.as_ref());
        let text = match session.options.json {
            true => report.json() + "\n",
            false => report.summary(&session.options),
        };
        // An error means that stdout was closed, so nobody reads the report.
        let _ = std::io::stdout().write_all(text.as_bytes());
    }
    if let Some(Stop::Failed(why)) = &stop {
        let _ = writeln!(std::io::stderr(), "longlink: {why}");
    } else if let Some(why) = tally.first_error() {
        let errors = tally.errors();
        let _ = writeln!(std::io::stderr(), "longlink: {errors} errors, the first: {why}");
    }
    let sound = tally.errors() == 0 && !matches!(stop, Some(Stop::Failed(_)));
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
