//! `longlink tail`: shows live what one user's connections do. It asks the backend's interface of a
//! running server.
//!
//! The command is a client with a blocking socket. It must not know the server's code, except the
//! forms of a backend's key and of a user id.

mod args;
mod line;
mod link;

use std::io::{self, Write};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use clap::ArgMatches;

use args::Options;
pub use args::command;
use line::{Lines, Style};
use link::Link;

use crate::cli::lang::shown;
use crate::cli::output;
use crate::cli::refusal::{Failure, Refusal};

/// How long to wait before the server is asked again: the first time, doubled up to the second
/// time.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));

/// Prints what the user's connections do, until the command is ended or a trace is not possible any
/// more.
///
/// # Errors
/// If an argument is wrong; then the server was not asked. Or if the server cannot be asked, or what it
/// tells could not be printed.
pub fn run(matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let options = Options::read(matches)?;
    if let Some(warning) = options.api.warning() {
        complain(&warning);
    }
    let style = match (options.json, output::is_terminal()) {
        (true, _) => Style::Json,
        (false, true) if std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty()) => {
            Style::Coloured
        }
        _ => Style::Plain,
    };
    follow(&options, style)
}

/// Watches the user, and begins again after the server was gone.
fn follow(options: &Options, style: Style) -> Result<ExitCode, Failure> {
    let (mut began, mut wait) = (false, RETRY.0);
    loop {
        let why = match Link::open(options) {
            Ok(link) => {
                (began, wait) = (true, RETRY.0);
                match print(link, style)? {
                    Some(why) => why,
                    // The reader of standard output has closed the pipe, so nobody reads the events any more.
                    None => return Ok(ExitCode::SUCCESS),
                }
            }
            Err(why) => why,
        };
        if !began || why.is_final() {
            return Err(Failure::NotNow(Refusal(why.to_string())));
        }
        complain(&format!("{why}; trying again in {wait:?}"));
        thread::sleep(wait);
        wait = (wait * 2).min(RETRY.1);
    }
}

/// Prints events until there are no more, and returns why; `None` if nobody reads them.
fn print(mut link: Link, style: Style) -> Result<Option<link::Failure>, Failure> {
    let mut lines = Lines::new(style);
    loop {
        let text = match link.event() {
            Ok(event) => lines.of(&event),
            Err(why) => return Ok(Some(why)),
        };
        if !output::print_part(&text)? {
            return Ok(None);
        }
    }
}

/// Prints a notice on stderr, since stdout has events alone.
fn complain(what: &str) {
    let _ = writeln!(io::stderr(), "longlink: {}", crate::cli::text::Escaped(&shown(what)));
}
