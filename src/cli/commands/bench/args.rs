//! The command line of `longlink bench`: modes, options, and reading their
//! values.

use std::ops::RangeInclusive;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches};

use crate::cli::settings::units;
use crate::cli::settings::values::Raw;

const ABOUT: &str = "Measure a WebSocket server: a load generator in one thread";

const LONG_ABOUT: &str = "Measure a WebSocket server: a load generator in one thread

It drives longlink, or any server that answers `ping` and routes the same messages, and tells
rates, latencies and, with --pid, what the server's process spends on them.";

const AFTER: &str = "\
Modes:
  connect    open --connections and hold them for --duration; an operation is a handshake
  heartbeat  every connection sends `ping` each --ping-interval; an operation is a pong
  pingpong   every connection keeps --in-flight pings going; an operation is a pong
  p2p        pairs: the first half keeps --in-flight messages going to the second half;
             an operation is a message received
  fanout     one sender keeps --in-flight broadcasts going to --connections receivers;
             an operation is a broadcast received by one of them
  churn      --in-flight at a time: connect, ping, pong, close; an operation is all of that
  slow       fanout where a share --stalled of the receivers reads nothing
  api        a backend sends to one user with POST /api/send, by keep-alive on one connection,
             --in-flight requests at a time; an operation is a message whose request was answered

A connection is user 0000001, 0000002 and so on, in the place of {user} in URL.

Exit codes: 0 measured; 1 failed, or something went wrong while measuring; 2 wrong arguments.
SIGINT and SIGTERM end it with what was measured so far.

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
}

pub use Mode::{Api, Churn, Connect, Fanout, Heartbeat, P2p, Pingpong, Slow};

pub const MODES: [(&str, Mode); 8] = [
    ("connect", Connect),
    ("heartbeat", Heartbeat),
    ("pingpong", Pingpong),
    ("p2p", P2p),
    ("fanout", Fanout),
    ("churn", Churn),
    ("slow", Slow),
    ("api", Api),
];

impl Mode {
    pub fn name(self) -> &'static str {
        MODES.iter().find(|(_, mode)| *mode == self).map_or("", |(name, _)| name)
    }
}

/// Bytes a message needs for its number.
const MIN_SIZE: usize = super::sequence::LENGTH;
/// The longest message in bytes.
const MAX_SIZE: usize = 16 << 20;

/// An option, its value's name, its default, the modes it is for (none: all),
/// and its help.
pub type Row = (&'static str, &'static str, &'static str, &'static [Mode], &'static str);

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    ("connections", "N", "100", &[Connect, Heartbeat, Pingpong, P2p, Fanout, Slow],
        "Connections; in fanout and slow the receivers, without the sender"),
    ("in-flight", "N", "1", &[Pingpong, P2p, Fanout, Churn, Slow, Api],
        "Operations begun and not done: of a connection in pingpong, of a pair in p2p, of the \
         sender in fanout and slow, of all in churn; requests in api"),
    ("size", "BYTES", "64", &[P2p, Fanout, Slow, Api],
        "The `message` of a frame; the JSON around it comes on top"),
    ("duration", "S", "10", &[], "How long to measure; in connect, how long to hold"),
    ("warmup", "S", "1", &[Heartbeat, Pingpong, P2p, Fanout, Churn, Slow, Api],
        "How long to run before measuring"),
    ("operations", "N", "", &[Heartbeat, Pingpong, P2p, Fanout, Churn, Slow, Api],
        "Stop after so many; then --duration bounds it only if it is given, too"),
    ("rate", "N", "", &[Connect, P2p, Fanout, Churn, Slow],
        "At most so many a second: connections, cycles, or messages sent"),
    ("rounds", "N", "1", &[Connect, Churn],
        "Repeat so often and tell the server's memory after each"),
    ("ping-interval", "S", "15", &[Heartbeat], "Time between two pings of a connection"),
    ("stalled", "SHARE", "0.1", &[Slow], "Which share of the receivers reads nothing, 0 to 1"),
    ("batch", "N", "1", &[Api], "Messages of a request: more than 1 go to POST /api/batch"),
    ("api", "HOST:PORT", "", &[Api], "Where the backend connects, if not where users do"),
    ("api-key-file", "FILE", "", &[Api], "The file with the backend's key"),
    ("timeout", "S", "10", &[], "An answer that takes longer is a failure"),
    ("source", "LIST", "", &[],
        "Addresses to connect from, with commas: 127.0.0.2 or 127.0.0.0/24. Each has 28,232 \
         ports, unless net.ipv4.ip_local_port_range says otherwise; past half of them \
         connecting becomes slow"),
    ("first-user", "N", "1", &[], "The first user's number, for several generators at once"),
    ("pid", "LIST", "", &[],
        "The server's process, on this machine: its time and memory; several with commas, as a \
         proxy's and the server's, are added up"),
    #[cfg(feature = "tls")]
    ("ca", "FILE", "", &[], "wss: trust these root certificates, too (PEM)"),
    #[cfg(feature = "tls")]
    ("insecure", "", "", &[], "wss: take any certificate"),
    #[cfg(feature = "tls")]
    ("no-resume", "", "", &[],
        "wss: every connection is a newcomer's, and none resumes a session of the one before"),
    #[cfg(feature = "tls")]
    ("tls", "VERSION", "", &[], "wss: speak 1.2 or 1.3 alone; without it the server chooses"),
    ("json", "", "", &[], "Print one JSON object instead of a summary"),
];

/// The subcommand, for the command line's table.
pub fn command() -> clap::Command {
    let modes = MODES.iter().map(|(name, _)| *name).collect::<Vec<_>>();
    let command = clap::Command::new("bench")
        .about(ABOUT)
        .long_about(LONG_ABOUT)
        .after_help(AFTER)
        .max_term_width(100)
        .arg(Arg::new("mode").value_name("MODE").required(true).value_parser(modes))
        .arg(Arg::new("url").value_name("URL").required(true).help(
            "Such as ws://127.0.0.1:8080/websocket/{user}; without {user} all are the same user",
        ));
    ROWS.iter().fold(command, |command, (name, value, default, modes, help)| {
        let names = modes.iter().map(|mode| mode.name()).collect::<Vec<_>>();
        let help = match names.is_empty() {
            true => (*help).to_owned(),
            false => format!("{help} [{}]", names.join(", ")),
        };
        let arg = Arg::new(*name).long(*name).help(help);
        command.arg(match (value.is_empty(), default.is_empty()) {
            (true, _) => arg.action(ArgAction::SetTrue),
            (_, true) => arg.value_name(*value).allow_negative_numbers(true),
            _ => arg.value_name(*value).allow_negative_numbers(true).default_value(*default),
        })
    })
}

/// Reads the options, each refusal with its name.
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

    /// An option that has a default.
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

/// A whole number of a range.
pub fn whole(text: &str, range: RangeInclusive<u64>) -> Result<u64, String> {
    let number = units::count(&word(text))? as u64;
    match range.contains(&number) {
        true => Ok(number),
        false => Err(format!("expected {} to {}, found {text}", range.start(), range.end())),
    }
}

/// A number from 1 on.
pub fn count(text: &str, most: usize) -> Result<usize, String> {
    whole(text, 1..=most as u64).map(|number| number as usize)
}

/// Processes, with commas.
pub fn pids(text: &str) -> Result<Vec<u32>, String> {
    let each = text.split(',').map(|pid| whole(pid, 1..=u64::from(u32::MAX)));
    each.map(|pid| pid.map(|pid| pid as u32)).collect()
}

/// Bytes of a message.
pub fn size(text: &str) -> Result<usize, String> {
    let size = units::size(&word(text))?;
    match (MIN_SIZE..=MAX_SIZE).contains(&size) {
        true => Ok(size),
        false => Err(format!(
            "expected {MIN_SIZE} (a message holds its number) to 16m bytes, found {text}"
        )),
    }
}

/// A time, 0 included.
pub fn seconds(text: &str) -> Result<Duration, String> {
    units::seconds(&word(text))
}

/// A time that is not 0.
pub fn positive_seconds(text: &str) -> Result<Duration, String> {
    match seconds(text)? {
        Duration::ZERO => Err("it must be more than 0".to_owned()),
        time => Ok(time),
    }
}

/// A number a second.
pub fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.001..=1e9).contains(&rate) => Ok(rate),
        _ => Err(format!("expected a number a second, found {text:?}")),
    }
}

/// A part of a whole, without the whole.
pub fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..1.0).contains(&share) => Ok(share),
        _ => Err(format!("expected a share from 0 to less than 1 such as 0.1, found {text:?}")),
    }
}
