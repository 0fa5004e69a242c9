//! `longlink doctor`: examines a server from outside, step by step, as a phone connects to it. Each
//! step is a line with a verdict and, if something is wrong, what to do.
//!
//! The doctor is a client with blocking sockets; every wait has a deadline. It must not know the
//! server's code, except how header fields are read (`longlink::shared`), how a chain of
//! certificates is judged, and how a node connects to its Redis.

mod answer;
mod args;
#[cfg(feature = "cluster")]
mod broker;
#[cfg(feature = "tls")]
mod certificate;
mod handshake;
mod reach;
mod report;
mod resume;
mod silence;
mod socket;
mod talk;
#[cfg(feature = "tls")]
mod tls;

use std::process::ExitCode;

use clap::ArgMatches;

use args::Options;
pub use args::command;
use handshake::Handshake;
use report::Report;
use socket::Way;

use crate::cli::refusal::Failure;

/// Examines the server that the command line names, and prints the results.
///
/// # Errors
/// If an argument is wrong; then nothing was examined. Or if the report could not be printed.
pub fn run(matches: &ArgMatches) -> Result<ExitCode, Failure> {
    #[cfg(feature = "cluster")]
    if let Some(asked) = args::redis(matches)? {
        let mut report = Report::new(matches.get_flag("json"), Vec::new());
        broker::examine(&asked, &mut report);
        return report.finish();
    }
    let options = Options::read(matches)?;
    let mut report = Report::new(options.json, options.secrets());
    examine(&options, &mut report);
    report.finish()
}

/// Runs every step for which the earlier steps have succeeded.
fn examine(options: &Options, report: &mut Report) -> Option<()> {
    let url = reach::url(options, report)?;
    let addresses = reach::resolve(&url, options, report)?;
    let address = reach::connect(&addresses, options, report)?;
    let way = Way {
        address,
        authority: url.authority.clone(),
        target: url.target.clone(),
        timeout: options.timeout,
        #[cfg(feature = "tls")]
        tls: match url.tls {
            true => Some(tls::check(&url, address, options, report)?),
            false => None,
        },
    };
    let handshake = Handshake { url: &url, way: &way, ticket: options.ticket.as_deref() };
    handshake.upgrade(report)?;
    if !report.is_read() {
        return None;
    }
    handshake.origin(report);
    handshake.subprotocol(report);
    handshake.tickets(report);
    if let Some(user) = reach::user_of(&url) {
        if talk::talk(&handshake, Some(&user), report) {
            resume::check(&handshake, &user, report);
        }
    } else {
        talk::talk(&handshake, None, report);
    }
    if let Some(time) = options.silent {
        silence::watch(&handshake, time, report);
    }
    Some(())
}
