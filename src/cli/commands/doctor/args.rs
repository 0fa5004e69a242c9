//! The command line of `longlink doctor`.

use std::io::Read;
use std::net::IpAddr;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches};

use crate::cli::settings::units;
use crate::cli::settings::values::Raw;

const ABOUT: &str = "Examine a server from outside, as a mini-program's phone would see it";

const LONG_ABOUT: &str = "Examine a server from outside, as a mini-program's phone would see it

It looks up the host, connects, checks TLS and the certificates, opens WebSockets, sends messages,
and watches how long a silent connection lives. Each check is a line: a verdict, the step, what
was seen, and after `->` what to do about it.";

const AFTER: &str = "\
Use a user id that no real user has, such as `doctor`: while the command runs, it is the newest
connection of this user, and the user's other devices get its message.

Exit codes: 0 no step has failed; 1 a step has failed; 2 wrong arguments.

Examples:
  longlink doctor wss://chat.example.com/websocket/doctor
  longlink doctor wss://chat.example.com/websocket/doctor --quick --json
  longlink doctor wss://chat.example.com/websocket/doctor --address 203.0.113.7
      Use this address, before the name points to it.
  longlink doctor --redis redis://10.0.0.5
      Examine the way from this node to its Redis instead.";

/// The length of the longest ticket in bytes.
const MAX_TICKET: usize = 4096;
/// The longest time for which a silent connection is watched: a day.
const MAX_SILENT: Duration = Duration::from_secs(86_400);
/// The longest time for a step. Nobody waits longer for a page.
const MAX_TIMEOUT: Duration = Duration::from_secs(300);

/// What to examine, and how.
#[derive(Clone, Debug)]
pub struct Options {
    pub url: String,
    /// The address to connect to, in place of the host's addresses.
    pub address: Option<IpAddr>,
    pub ticket: Option<String>,
    /// Root certificates that are trusted in addition to those that phones know.
    #[cfg(feature = "tls")]
    pub roots: Vec<rustls::pki_types::CertificateDer<'static>>,
    /// How long each step may take.
    pub timeout: Duration,
    /// How long a silent connection is watched; `None` means that this step is left out.
    pub silent: Option<Duration>,
    pub json: bool,
}

/// The heading under which the help lists an option.
fn heading(name: &str) -> &'static str {
    match name {
        "ticket" | "address" | "ca" => "The way to the server",
        "redis" | "redis-prefix" | "redis-ca" => "A Redis in place of a server",
        "json" => "The report",
        _ => "How long",
    }
}

/// Returns the subcommand, for the table of the command line.
pub fn command() -> clap::Command {
    let option = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help).help_heading(heading(name))
    };
    let switch = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help).help_heading(heading(name))
    };
    let command = clap::Command::new("doctor")
        .about(ABOUT)
        .long_about(LONG_ABOUT)
        .after_help(AFTER)
        .arg(Arg::new("url").value_name("URL").required(true).help(
            "Such as wss://chat.example.com/websocket/doctor; the last part is the user's id",
        ))
        .arg(option(
            "ticket",
            "TICKET",
            "A ticket of this user. It is never printed; `-` reads it from standard input, so \
             that no list of processes shows it",
        ))
        .arg(option("address", "IP", "Connect to this address instead of looking up the host"))
        .arg(option("timeout", "SECONDS", "How long each step may take").default_value("10"))
        .arg(
            option(
                "silent",
                "SECONDS",
                "How long to watch a silent connection; nginx closes it after 60",
            )
            .default_value("75"),
        )
        .arg(switch("quick", "Leave out the silent connection").conflicts_with("silent"))
        .arg(switch("json", "Print one JSON object at the end"));
    let command = match cfg!(feature = "tls") {
        true => command.arg(option("ca", "FILE", "Trust these root certificates, too (PEM)")),
        false => command,
    };
    #[cfg(feature = "cluster")]
    let command = with_redis(command);
    command
}

/// Adds what examines a Redis in place of a server.
#[cfg(feature = "cluster")]
fn with_redis(command: clap::Command) -> clap::Command {
    let option = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help).help_heading(heading(name))
    };
    let redis = option(
        "redis",
        "URL",
        "Examine the way from a node to this Redis in place of a server: version, policy, \
         persistence, round trip, scripts, a message to itself; `-` reads the URL from standard \
         input, so that no list of processes shows its password",
    );
    let others = ["url", "ticket", "address", "silent", "quick"];
    let command =
        command.mut_arg("url", |url| url.required(false).required_unless_present("redis"));
    let command = command.arg(redis.conflicts_with_all(others)).arg(
        option("redis-prefix", "TEXT", "The beginning of the keys and channels that it uses")
            .default_value("longlink:")
            .requires("redis")
            .conflicts_with("url"),
    );
    match cfg!(feature = "tls") {
        true => command.arg(
            option(
                "redis-ca",
                "FILE",
                "Trust these authorities (PEM) for rediss://, and no others",
            )
            .requires("redis")
            .conflicts_with("url"),
        ),
        false => command,
    }
}

/// Reads which Redis is to be examined, if one is.
///
/// # Errors
/// One line that says which argument is wrong; it does not repeat the URL.
#[cfg(feature = "cluster")]
pub fn redis(matches: &ArgMatches) -> Result<Option<super::broker::Asked>, String> {
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    let Some(mut url) = text("redis") else { return Ok(None) };
    if url == "-" {
        url.clear();
        let read = std::io::stdin().take(MAX_TICKET as u64 + 2).read_to_string(&mut url);
        read.map_err(|error| format!("--redis: cannot read standard input: {error}"))?;
    }
    let url =
        longlink::cluster::RedisUrl::parse(url.trim()).map_err(|why| format!("--redis: {why}"))?;
    #[cfg(feature = "tls")]
    let authorities = text("redis-ca")
        .map(|file| crate::cli::client::tls::pem(&file))
        .transpose()
        .map_err(|why| format!("--redis-ca: {why}"))?;
    #[cfg(not(feature = "tls"))]
    let authorities = None;
    Ok(Some(super::broker::Asked {
        url,
        prefix: text("redis-prefix").unwrap_or_default(),
        authorities,
        timeout: time(matches, "timeout", MAX_TIMEOUT)?,
    }))
}

/// Reads a time that is more than 0 and at most `most`.
fn time(matches: &ArgMatches, name: &str, most: Duration) -> Result<Duration, String> {
    let raw = Raw::Word(matches.get_one::<String>(name).cloned().unwrap_or_default());
    match units::seconds(&raw).map_err(|why| format!("--{name}: {why}"))? {
        time if time.is_zero() || time > most => {
            Err(format!("--{name}: expected more than 0 and at most {most:?}, found {raw}"))
        }
        time => Ok(time),
    }
}

impl Options {
    /// Reads the arguments that clap has found.
    ///
    /// # Errors
    /// One line that says which argument is wrong and why.
    pub fn read(matches: &ArgMatches) -> Result<Self, String> {
        let text = |name: &str| matches.get_one::<String>(name).cloned();
        let address = text("address").map(|text| {
            text.parse().map_err(|_| format!("--address: expected an IP address, found {text:?}"))
        });
        Ok(Options {
            url: text("url").ok_or("a URL is missing")?,
            address: address.transpose()?,
            ticket: text("ticket").map(ticket).transpose()?,
            #[cfg(feature = "tls")]
            roots: text("ca")
                .map_or(Ok(Vec::new()), |file| crate::cli::client::tls::roots(&file))?,
            timeout: time(matches, "timeout", MAX_TIMEOUT)?,
            silent: match matches.get_flag("quick") {
                true => None,
                false => Some(time(matches, "silent", MAX_SILENT)?),
            },
            json: matches.get_flag("json"),
        })
    }

    /// Returns the tickets that were given, in the option and in the URL.
    pub fn secrets(&self) -> Vec<String> {
        let query = self.url.split_once('?').map_or("", |(_, query)| query);
        let in_query = query.split('&').filter_map(|pair| pair.strip_prefix("ticket="));
        in_query.map(str::to_owned).chain(self.ticket.clone()).collect()
    }
}

/// Reads a ticket. It has the alphabet of a compact JWT (RFC 7515, section 7.1), which is allowed
/// in a header field, in a query and in a subprotocol's name. An error does not repeat the ticket.
fn ticket(mut text: String) -> Result<String, String> {
    if text == "-" {
        text.clear();
        let read = std::io::stdin().take(MAX_TICKET as u64 + 2).read_to_string(&mut text);
        read.map_err(|error| format!("--ticket: cannot read standard input: {error}"))?;
        text.truncate(text.trim_end().len());
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    match text.len() {
        1..=MAX_TICKET if text.bytes().all(is_plain) => Ok(text),
        _ => Err(format!("--ticket: expected 1 to {MAX_TICKET} letters, digits and -._~")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Result<Options, String> {
        let matches = command().try_get_matches_from([&["doctor"], words].concat());
        Options::read(&matches.map_err(|error| error.to_string())?)
    }

    #[test]
    fn the_options_of_doctor_are_consistent() {
        command().debug_assert();
    }

    #[test]
    fn the_option_quick_leaves_out_the_step_of_silence() {
        assert_eq!(read(&["ws://a"]).unwrap().silent, Some(Duration::from_secs(75)));
        assert_eq!(read(&["ws://a", "--quick"]).unwrap().silent, None);
    }

    #[test]
    fn doctor_treats_a_ticket_as_secret_in_the_option_and_in_the_url() {
        let options = read(&["ws://a/b?x=1&ticket=t1", "--ticket", "t2"]).unwrap();
        assert_eq!(options.secrets(), ["t1", "t2"]);
        assert_eq!(read(&["ws://a/b?x=1"]).unwrap().secrets(), [""; 0]);
    }

    #[test]
    fn the_complaint_about_a_wrong_argument_of_doctor_names_it_and_repeats_no_ticket() {
        for (args, word) in [
            (&[][..], "URL"),
            (&["ws://a", "--silent", "0"], "--silent"),
            (&["ws://a", "--silent", "1", "--quick"], "--quick"),
            (&["ws://a", "--timeout", "x"], "--timeout"),
            (&["ws://a", "--timeout", "301"], "--timeout"),
            (&["ws://a", "--address", "a.b"], "--address"),
            (&["ws://a", "--ticket", "s3cr3t\r\nX: y"], "--ticket"),
            (&["ws://a", "--ticket", ""], "--ticket"),
        ] {
            let why = read(args).unwrap_err();
            assert!(why.contains(word) && !why.contains("s3cr3t"), "{args:?}: {why}");
        }
    }
}
