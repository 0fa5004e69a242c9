//! The command line of `longlink bench`: its modes and options, and the reading of their values.

use std::ops::RangeInclusive;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches};

use crate::cli::settings::units;
use crate::cli::settings::values::Raw;

const ABOUT: &str = "Measure a WebSocket server: a load generator in one thread";

const LONG_ABOUT: &str = "Measure a WebSocket server: a load generator in one thread

It loads longlink, or any server that answers `ping` and routes the same messages. It reports
rates, latencies and, with --pid, the processor time and memory of the server's process.";

const AFTER: &str = "\
Modes:
  connect    open --connections and keep them open for --duration; an operation is a handshake
  heartbeat  every connection sends `ping` each --ping-interval; an operation is a pong
  pingpong   every connection keeps --in-flight pings going; an operation is a pong
  p2p        pairs: the first half keeps --in-flight messages going to the second half;
             an operation is a message received
  fanout     one sender keeps --in-flight broadcasts going to --connections receivers;
             an operation is a broadcast received by one of them
  churn      --in-flight connections at a time connect, ping and close; an operation is all of it
  slow       like fanout, but the share --stalled of the receivers reads nothing
  resume     --connections clients of the dialect v2 are cut at once, each with --waiting messages
             that it has not acknowledged, and come back at once; an operation is a return:
             connect, welcome, the messages again, live and an acknowledgement
  api        a backend sends to one user with POST /api/send on one connection,
             --in-flight requests at a time; an operation is a message whose request was answered

{user} in the URL is replaced by the connection's number: 0000001, 0000002 and so on.

Exit codes: 0 measured; 1 failed, or there were errors while measuring; 2 wrong arguments.
SIGINT and SIGTERM end the run; it reports what was measured so far.

Examples:
  longlink bench pingpong ws://127.0.0.1:8080/websocket/{user} --in-flight 16
  longlink bench connect ws://127.0.0.1:8080/websocket/{user} --connections 10000 \\
      --pid $(pidof longlink) --json";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Connect,
    Heartbeat,
    Pingpong,
    P2p,
    Fanout,
    Churn,
    Slow,
    Api,
    Resume,
}

pub use Mode::{Api, Churn, Connect, Fanout, Heartbeat, P2p, Pingpong, Resume, Slow};

pub const MODES: [(&str, Mode); 9] = [
    ("connect", Connect),
    ("heartbeat", Heartbeat),
    ("pingpong", Pingpong),
    ("p2p", P2p),
    ("fanout", Fanout),
    ("churn", Churn),
    ("slow", Slow),
    ("api", Api),
    ("resume", Resume),
];

impl Mode {
    pub fn name(self) -> &'static str {
        MODES.iter().find(|(_, mode)| *mode == self).map_or("", |(name, _)| name)
    }
}

/// The bytes that a message needs for its number.
const MIN_SIZE: usize = super::sequence::LENGTH;
/// The length of the longest message in bytes.
const MAX_SIZE: usize = 16 << 20;

/// An option: its name, its value's name, its default, the modes it is for (none means all), and
/// its help.
pub type Row = (&'static str, &'static str, &'static str, &'static [Mode], &'static str);

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    ("connections", "COUNT", "100", &[Connect, Heartbeat, Pingpong, P2p, Fanout, Slow, Resume],
        "How many connections; in fanout and slow, how many receivers, without the sender"),
    ("in-flight", "COUNT", "1", &[Pingpong, P2p, Fanout, Churn, Slow, Api],
        "How many operations are begun and not finished: for each connection in pingpong, for \
         each pair in p2p, for the sender in fanout and slow, for all in churn; requests in api"),
    ("size", "BYTES", "64", &[P2p, Fanout, Slow, Api, Resume],
        "The length of `message` in a frame, without the JSON around it"),
    ("duration", "SECONDS", "10", &[Connect, Heartbeat, Pingpong, P2p, Fanout, Churn, Slow, Api],
        "How long to measure; in connect, how long the connections stay open"),
    ("warmup", "SECONDS", "1", &[Heartbeat, Pingpong, P2p, Fanout, Churn, Slow, Api],
        "How long to run before measuring"),
    ("operations", "COUNT", "", &[Heartbeat, Pingpong, P2p, Fanout, Churn, Slow, Api],
        "Stop after so many operations; --duration then counts only if it is given, too"),
    ("rate", "COUNT", "", &[Connect, P2p, Fanout, Churn, Slow],
        "The most connections, cycles or messages in a second"),
    ("rounds", "COUNT", "1", &[Connect, Churn, Resume],
        "How often to repeat, with the server's memory after each round"),
    ("v2", "", "", &[P2p],
        "Speak the dialect v2: a message is done when it has arrived and its sender knows that it is \
         kept; the receiver acknowledges it"),
    ("ack-every", "COUNT", "16", &[P2p],
        "How many messages a receiver acknowledges at a time, with --v2; after 1 s it acknowledges \
         fewer"),
    ("waiting", "COUNT", "3", &[Resume], "How many messages wait for each client, 0 to 64"),
    ("ping-interval", "SECONDS", "15", &[Heartbeat], "Time between two pings of a connection"),
    ("stalled", "SHARE", "0.1", &[Slow], "Which share of the receivers reads nothing, 0 to 1"),
    ("batch", "COUNT", "1", &[Api], "Messages in one request; more than 1 go to POST /api/batch"),
    ("api", "HOST:PORT", "", &[Api], "The address to which the backend connects, if it is not the users'"),
    ("api-key-file", "FILE", "", &[Api], "The file with the backend's key"),
    ("timeout", "SECONDS", "10", &[], "An answer that takes longer is a failure"),
    ("source", "LIST", "", &[],
        "Addresses to connect from, with commas: 127.0.0.2 or 127.0.0.0/24. Each has 28,232 \
         ports, unless net.ipv4.ip_local_port_range says otherwise; when half of them are in use \
         connecting becomes slow"),
    ("first-user", "NUMBER", "1", &[], "The number of the first user, if several generators run at once"),
    ("pid", "LIST", "", &[],
        "The server's process on this machine, whose processor time and memory are reported; \
         several processes, with commas, are added up"),
    #[cfg(feature = "tls")]
    ("ca", "FILE", "", &[], "Trust these root certificates, too (PEM)"),
    #[cfg(feature = "tls")]
    ("insecure", "", "", &[], "Accept any certificate"),
    #[cfg(feature = "tls")]
    ("no-resume", "", "", &[],
        "Resume no TLS session"),
    #[cfg(feature = "tls")]
    ("tls", "VERSION", "", &[], "Use only TLS 1.2 or 1.3; without it the server chooses"),
    ("json", "", "", &[], "Print one JSON object instead of a summary"),
];

/// The heading under which the help lists an option.
fn heading(name: &str) -> &'static str {
    match name {
        "duration" | "warmup" | "operations" | "rounds" | "timeout" => "How long",
        "source" | "first-user" => "From where",
        "api" | "api-key-file" | "batch" => "The backend",
        "ca" | "insecure" | "no-resume" | "tls" => "TLS (wss)",
        "pid" | "json" => "The report",
        _ => "The load",
    }
}

/// Returns the subcommand, for the table of the command line.
pub fn command() -> clap::Command {
    let modes = MODES.iter().map(|(name, _)| *name).collect::<Vec<_>>();
    let command = clap::Command::new("bench")
        .about(ABOUT)
        .long_about(LONG_ABOUT)
        .after_help(AFTER)
        .arg(Arg::new("mode").value_name("MODE").required(true).value_parser(modes))
        .arg(Arg::new("url").value_name("URL").required(true).help(
            "Such as ws://127.0.0.1:8080/websocket/{user}; without {user} all connections are one user",
        ));
    ROWS.iter().fold(command, |command, (name, value, default, modes, help)| {
        let names = modes.iter().map(|mode| mode.name()).collect::<Vec<_>>();
        let help = match names.is_empty() {
            true => (*help).to_owned(),
            false => format!("{help} [{}]", names.join(", ")),
        };
        let arg = Arg::new(*name).long(*name).help(help).help_heading(heading(name));
        command.arg(match (value.is_empty(), default.is_empty()) {
            (true, _) => arg.action(ArgAction::SetTrue),
            (_, true) => arg.value_name(*value).allow_negative_numbers(true),
            _ => arg.value_name(*value).allow_negative_numbers(true).default_value(*default),
        })
    })
}

/// Reads options; a refusal contains the option's name.
pub struct Flags<'a>(pub &'a ArgMatches);

impl Flags<'_> {
    pub fn optional<T>(
        &self,
        name: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, String> {
        let text = self.0.get_one::<String>(name);
        text.map(|text| read(text).map_err(|why| format!("--{name}: {why}"))).transpose()
    }

    /// Reads an option that has a default.
    pub fn value<T>(
        &self,
        name: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<T, String> {
        self.optional(name, read)?.ok_or_else(|| format!("--{name} is missing"))
    }
}

fn word(text: &str) -> Raw {
    Raw::Word(text.to_owned())
}

/// Reads a whole number within a range.
pub fn whole(text: &str, range: RangeInclusive<u64>) -> Result<u64, String> {
    let number = units::count(&word(text))? as u64;
    match range.contains(&number) {
        true => Ok(number),
        false => Err(format!("expected {} to {}, found {text}", range.start(), range.end())),
    }
}

/// Reads a number from 1 to `most`.
pub fn count(text: &str, most: usize) -> Result<usize, String> {
    whole(text, 1..=most as u64).map(|number| number as usize)
}

/// Reads a list of processes, separated by commas.
pub fn pids(text: &str) -> Result<Vec<u32>, String> {
    let each = text.split(',').map(|pid| whole(pid, 1..=u64::from(u32::MAX)));
    each.map(|pid| pid.map(|pid| pid as u32)).collect()
}

/// Reads the length of a message in bytes.
pub fn size(text: &str) -> Result<usize, String> {
    let size = units::size(&word(text))?;
    match (MIN_SIZE..=MAX_SIZE).contains(&size) {
        true => Ok(size),
        false => Err(format!(
            "expected {MIN_SIZE} (a message holds its number) to 16m bytes, found {text}"
        )),
    }
}

/// Reads a time, which may be 0.
pub fn seconds(text: &str) -> Result<Duration, String> {
    units::seconds(&word(text))
}

/// Reads a time, which must not be 0.
pub fn positive_seconds(text: &str) -> Result<Duration, String> {
    match seconds(text)? {
        Duration::ZERO => Err("it must be more than 0".to_owned()),
        time => Ok(time),
    }
}

/// Reads a number of operations in each second.
pub fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.001..=1e9).contains(&rate) => Ok(rate),
        _ => Err(format!("expected a number a second, found {text:?}")),
    }
}

/// Reads a share from 0 to less than 1.
pub fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..1.0).contains(&share) => Ok(share),
        _ => Err(format!("expected a share from 0 to less than 1 such as 0.1, found {text:?}")),
    }
}
