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
mod help;
mod lang;
mod output;
mod problems;
mod refusal;
mod service;
mod settings;
mod text;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use problems::Problem;
use refusal::{Failure, NOT_NOW, REFUSED};

/// Runs the command line and returns the process's exit code.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = lang::choose(args).map_err(Failure::from);
    let done = args.and_then(args::parse).and_then(|command| match command {
        args::Command::Shown => Ok(ExitCode::SUCCESS),
        args::Command::Bench(matches) => commands::bench::run(&matches),
        args::Command::Ticket(matches) => commands::ticket::ticket(&matches),
        args::Command::Doctor(matches) => commands::doctor::run(&matches),
        args::Command::Tail(matches) => commands::tail::run(&matches),
        #[cfg(feature = "store")]
        args::Command::Store(matches) => commands::store::run(&matches),
        args::Command::Completions(matches) => {
            commands::manual::completions(args::command(), &matches)
        }
        args::Command::Man(matches) => commands::manual::man(args::command(), &matches),
        args::Command::Print(flags) => commands::check::print_config(&flags),
        args::Command::Check(flags) => commands::check::check(&flags),
        args::Command::Serve(flags) => commands::serve::serve(&flags),
    });
    done.unwrap_or_else(|failure| {
        let (lines, code) = match failure {
            Failure::Refused(refusal) => (vec![refusal.to_string()], REFUSED),
            Failure::Wrong(problems) => {
                (problems.iter().map(Problem::to_string).collect(), REFUSED)
            }
            Failure::NotNow(refusal) => (vec![refusal.to_string()], NOT_NOW),
        };
        // A process without a standard error still has its exit code; `eprintln!` would panic.
        let mut stderr = std::io::stderr().lock();
        for line in lines {
            let _ = writeln!(stderr, "longlink: {line}");
        }
        ExitCode::from(code)
    })
}
