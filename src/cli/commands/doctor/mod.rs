//! `longlink doctor`: a server examined from outside, step by step, as a phone
//! meets it. Each step is a line with a verdict and, if need be, a remedy.
//!
//! A client with blocking sockets, whose every wait has a deadline. Must not
//! know: anything of the server's code, but for how a chain of certificates is
//! judged.

mod answer;
mod args;
#[cfg(feature = "tls")]
mod certificate;
mod door;
mod reach;
mod report;
mod silence;
mod socket;
mod talk;
#[cfg(feature = "tls")]
mod tls;

use std::process::ExitCode;

use clap::ArgMatches;

use args::Options;
pub use args::command;
use door::Door;
use report::Report;
use socket::Way;

/// Examines what the command line asks for and prints what it finds.
///
/// # Errors
/// One line about an argument that is wrong; nothing was examined.
pub fn run(matches: &ArgMatches) -> Result<ExitCode, String> {
    let options = Options::read(matches)?;
    let mut report = Report::new(options.json, options.secrets());
    examine(&options, &mut report);
    Ok(report.finish())
}

/// Every step that the ones before make possible.
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
    let door = Door { url: &url, way: &way, ticket: options.ticket.as_deref() };
    door.upgrade(report)?;
    door.origin(report);
    door.subprotocol(report);
    door.tickets(report);
    talk::talk(&door, reach::user_of(&url).as_deref(), report);
    if let Some(time) = options.silent {
        silence::watch(&door, time, report);
    }
    Some(())
}
