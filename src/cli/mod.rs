//! The binary's own layer: command line, environment and configuration file to
//! [`longlink::Config`], the logger, the signals, the service manager.
//!
//! It has threads (one that prints log lines, one that waits for signals, one
//! that looks at the certificate's files), and is the only one that ends the
//! process. Must not know: how anything is served.

mod args;
mod backend;
mod capacity;
#[cfg(feature = "tls")]
pub mod certificate;
mod hosts;
mod inherited;
mod listen;
mod logger;
mod quota;
pub mod secret;
mod serve;
mod settings;
mod signals;
mod supervisor;
mod table;
mod ticket;
pub mod units;
pub mod values;
mod webhooks;

use std::ffi::OsString;
use std::fmt;
use std::io::Write;
use std::process::ExitCode;

/// Wrong flags, a bad value, a taken port: nothing was served.
const REFUSED: u8 = 2;

/// Why nothing is served: what goes on the one line on stderr.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal(pub String);

impl fmt::Display for Refusal {
    /// One line, whatever was typed: control characters are escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        units::Escaped(&self.0).fmt(f)
    }
}

/// Runs the command line and returns the process's exit code.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let done = args::parse(args).and_then(|command| match command {
        args::Command::Shown => Ok(ExitCode::SUCCESS),
        args::Command::Bench(matches) => crate::bench::run(&matches).map_err(Refusal),
        args::Command::Ticket(matches) => ticket::ticket(&matches),
        args::Command::Doctor(matches) => crate::doctor::run(&matches).map_err(Refusal),
        args::Command::Tail(matches) => crate::tail::run(&matches).map_err(Refusal),
        args::Command::Serve(flags) => serve::serve(&flags),
    });
    done.unwrap_or_else(|refusal| {
        // Without a stderr the exit code has to do; `eprintln!` would panic.
        let _ = writeln!(std::io::stderr(), "longlink: {refusal}");
        ExitCode::from(REFUSED)
    })
}
