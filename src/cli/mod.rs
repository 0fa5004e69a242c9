//! The program around the library: the command line, the settings, the log, the signals and the
//! service manager, and the commands.
//!
//! This room has threads (one prints log lines, one waits for signals, one looks at the
//! certificate's files) and is the only one that ends the process.

mod args;
mod client;
mod commands;
#[cfg(feature = "tls")]
mod files;
mod refusal;
mod service;
mod settings;
mod text;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use refusal::Refusal;

/// The exit code of a command that refused to run.
const REFUSED: u8 = 2;

/// Runs the command line and returns the process's exit code.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let done = args::parse(args).and_then(|command| match command {
        args::Command::Shown => Ok(ExitCode::SUCCESS),
        args::Command::Bench(matches) => commands::bench::run(&matches).map_err(Refusal),
        args::Command::Ticket(matches) => commands::ticket::ticket(&matches),
        args::Command::Doctor(matches) => commands::doctor::run(&matches).map_err(Refusal),
        args::Command::Tail(matches) => commands::tail::run(&matches).map_err(Refusal),
        #[cfg(feature = "store")]
        args::Command::Store(matches) => commands::store::run(&matches).map_err(Refusal),
        args::Command::Serve(flags) => commands::serve::serve(&flags),
    });
    done.unwrap_or_else(|refusal| {
        // A process without a standard error still has its exit code; `eprintln!` would panic.
        let _ = writeln!(std::io::stderr(), "longlink: {refusal}");
        ExitCode::from(REFUSED)
    })
}
