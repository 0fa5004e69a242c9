//! The command line of `longlink bench`.

use std::time::Duration;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches};

use super::target::{Sources, Target};
use crate::cli::units;
use crate::cli::values::Raw;

const ABOUT: &str = "Measure a WebSocket server: a load generator in one thread

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

A connection is user 0000001, 0000002 and so on, in the place of {user} in URL.

Exit codes: 0 measured; 1 failed, or something went wrong while measuring; 2 wrong arguments.
SIGINT and SIGTERM end it with what was measured so far.

Examples:
  longlink bench pingpong ws://127.0.0.1:8080/websocket/{user} --in-flight 16
  longlink bench connect ws://127.0.0.1:8080/websocket/{user} --connections 10000 \\
      --pid $(pidof longlink) --json";

/// Descriptors for all but connections.
const RESERVED: u64 = 32;
/// Bytes a message needs for its number.
const MIN_SIZE: usize = super::sequence::LENGTH;
/// The longest message in bytes.
const MAX_SIZE: usize = 16 << 20;
const MAX_CONNECTIONS: usize = 9_000_000;
/// Digits of a user's number.
pub const USER_DIGITS: usize = 7;
const MAX_USER: usize = 9_999_999;
const MAX_IN_FLIGHT: usize = 65_536;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Connect,
    Heartbeat,
    Pingpong,
    P2p,
    Fanout,
    Churn,
    Slow,
}

use Mode::{Churn, Connect, Fanout, Heartbeat, P2p, Pingpong, Slow};

const MODES: [(&str, Mode); 7] = [
    ("connect", Connect),
    ("heartbeat", Heartbeat),
    ("pingpong", Pingpong),
    ("p2p", P2p),
    ("fanout", Fanout),
    ("churn", Churn),
    ("slow", Slow),
];

impl Mode {
    pub fn name(self) -> &'static str {
        MODES.iter().find(|(_, mode)| *mode == self).map_or("", |(name, _)| name)
    }
}

/// An option, its value's name, its default, the modes it is for (none: all),
/// and its help.
type Row = (&'static str, &'static str, &'static str, &'static [Mode], &'static str);

#[rustfmt::skip]
const ROWS: [Row; 15] = [
    ("connections", "N", "100", &[Connect, Heartbeat, Pingpong, P2p, Fanout, Slow],
        "Connections; in fanout and slow the receivers, without the sender"),
    ("in-flight", "N", "1", &[Pingpong, P2p, Fanout, Churn, Slow],
        "Operations begun and not done: of a connection in pingpong, of a pair in p2p, of the \
         sender in fanout and slow, of all in churn"),
    ("size", "BYTES", "64", &[P2p, Fanout, Slow],
        "The `message` of a frame; the JSON around it comes on top"),
    ("duration", "S", "10", &[], "How long to measure; in connect, how long to hold"),
    ("warmup", "S", "1", &[Heartbeat, Pingpong, P2p, Fanout, Churn, Slow],
        "How long to run before measuring"),
    ("operations", "N", "", &[Heartbeat, Pingpong, P2p, Fanout, Churn, Slow],
        "Stop after so many; then --duration bounds it only if it is given, too"),
    ("rate", "N", "", &[Connect, Fanout, Churn, Slow],
        "At most so many a second: connections, cycles, or broadcasts sent"),
    ("rounds", "N", "1", &[Connect, Churn],
        "Repeat so often and tell the server's memory after each"),
    ("ping-interval", "S", "15", &[Heartbeat], "Time between two pings of a connection"),
    ("stalled", "SHARE", "0.1", &[Slow], "Which share of the receivers reads nothing, 0 to 1"),
    ("timeout", "S", "10", &[], "An answer that takes longer is a failure"),
    ("source", "LIST", "", &[],
        "Addresses to connect from, with commas: 127.0.0.2 or 127.0.0.0/24. Each has the ports \
         of net.ipv4.ip_local_port_range, by default 28,232"),
    ("first-user", "N", "1", &[], "The first user's number, for several generators at once"),
    ("pid", "PID", "", &[], "The server's process, on this machine: its time and memory"),
    ("json", "", "", &[], "Print one JSON object instead of a summary"),
];

/// What to measure, checked.
#[derive(Clone, Debug)]
pub struct Options {
    pub mode: Mode,
    pub target: Target,
    pub connections: usize,
    pub in_flight: usize,
    /// Bytes of a message.
    pub size: usize,
    /// `None`: until the operations are done.
    pub duration: Option<Duration>,
    pub warmup: Duration,
    pub operations: Option<u64>,
    /// A second.
    pub rate: Option<f64>,
    pub rounds: usize,
    pub ping_interval: Duration,
    /// Receivers that read nothing.
    pub stalled: usize,
    pub timeout: Duration,
    pub sources: Sources,
    pub first_user: usize,
    pub pid: Option<u32>,
    pub json: bool,
}

/// The subcommand, for the command line's table.
pub fn command() -> clap::Command {
    let modes = MODES.iter().map(|(name, _)| *name).collect::<Vec<_>>();
    let command = clap::Command::new("bench")
        .about(ABOUT)
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

impl Options {
    /// Reads what clap has found; raises the descriptor limit if need be.
    ///
    /// # Errors
    /// One line that says which argument is wrong and why.
    pub fn read(matches: &ArgMatches) -> Result<Self, String> {
        let text = |name: &str| matches.get_one::<String>(name).map_or("", String::as_str);
        let mode = MODES.iter().find(|(name, _)| *name == text("mode"));
        let mode = mode.map(|(_, mode)| *mode).ok_or("a mode is missing")?;
        let given = |name| matches.value_source(name) == Some(ValueSource::CommandLine);
        for (name, _, _, modes, _) in ROWS {
            if given(name) && !modes.is_empty() && !modes.contains(&mode) {
                return Err(format!("--{name} means nothing in mode {}", mode.name()));
            }
        }
        let flags = Flags(matches);
        let operations = flags.optional("operations", |text| whole(text, 1..=u64::MAX))?;
        let bounded = operations.is_none() || given("duration");
        let target = Target::parse(text("url"))?;
        let connections = flags.value("connections", |text| count(text, MAX_CONNECTIONS))?;
        let share = flags.value("stalled", share)?;
        let options = Options {
            mode,
            connections: if mode == Churn { flags.in_flight()? } else { connections },
            in_flight: flags.in_flight()?,
            size: flags.value("size", size)?,
            duration: bounded.then(|| flags.value("duration", seconds)).transpose()?,
            warmup: flags.value("warmup", seconds)?,
            operations,
            rate: flags.optional("rate", rate)?,
            rounds: flags.value("rounds", |text| count(text, 1_000_000))?,
            ping_interval: flags.value("ping-interval", positive_seconds)?,
            stalled: if mode == Slow { (connections as f64 * share).round() as usize } else { 0 },
            timeout: flags.value("timeout", positive_seconds)?,
            sources: flags.optional("source", Sources::parse)?.unwrap_or_default(),
            first_user: flags.value("first-user", |text| count(text, MAX_USER))?,
            pid: flags
                .optional("pid", |text| whole(text, 1..=u64::from(u32::MAX)))?
                .map(|n| n as u32),
            json: matches.get_flag("json"),
            target,
        };
        options.check()?;
        Ok(options)
    }

    /// Connections to open.
    pub fn sockets(&self) -> usize {
        match self.mode {
            Fanout | Slow => self.connections + 1,
            _ => self.connections,
        }
    }

    /// What does not fit together, or not on this machine.
    fn check(&self) -> Result<(), String> {
        if self.mode == P2p {
            self.target.id_affixes()?;
            if !self.connections.is_multiple_of(2) {
                return Err("--connections: one-to-one messages need an even number".to_owned());
            }
        }
        if self.mode == Slow && self.stalled >= self.connections {
            return Err(format!(
                "--stalled: of {} receivers {} would read nothing, and nobody would be left",
                self.connections, self.stalled
            ));
        }
        if self.first_user + self.sockets() > MAX_USER + 1 {
            return Err(format!("--first-user: the last user's number would pass {MAX_USER}"));
        }
        if !self.sources.fit(self.target.address()) {
            return Err("--source: IPv4 and IPv6 do not reach each other".to_owned());
        }
        let needed = self.sockets() as u64 + RESERVED;
        let limit = rlimit::increase_nofile_limit(needed)
            .or_else(|_| rlimit::Resource::NOFILE.get_soft())
            .unwrap_or(1_024);
        match limit < needed {
            true => Err(format!(
                "--connections: {} need {needed} descriptors and the limit is {limit}: raise it \
                 (`ulimit -Hn {needed}` as root), or run several generators with --first-user",
                self.sockets()
            )),
            false => Ok(()),
        }
    }
}

/// Reads the options, each refusal with its name.
struct Flags<'a>(&'a ArgMatches);

impl Flags<'_> {
    fn optional<T>(
        &self,
        name: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, String> {
        let text = self.0.get_one::<String>(name);
        text.map(|text| read(text).map_err(|why| format!("--{name}: {why}"))).transpose()
    }

    /// An option that has a default.
    fn value<T>(
        &self,
        name: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<T, String> {
        self.optional(name, read)?.ok_or_else(|| format!("--{name} is missing"))
    }

    fn in_flight(&self) -> Result<usize, String> {
        self.value("in-flight", |text| count(text, MAX_IN_FLIGHT))
    }
}

fn word(text: &str) -> Raw {
    Raw::Word(text.to_owned())
}

fn whole(text: &str, range: std::ops::RangeInclusive<u64>) -> Result<u64, String> {
    let number = units::count(&word(text))? as u64;
    match range.contains(&number) {
        true => Ok(number),
        false => Err(format!("expected {} to {}, found {text}", range.start(), range.end())),
    }
}

fn count(text: &str, most: usize) -> Result<usize, String> {
    whole(text, 1..=most as u64).map(|number| number as usize)
}

fn size(text: &str) -> Result<usize, String> {
    let size = units::size(&word(text))?;
    match (MIN_SIZE..=MAX_SIZE).contains(&size) {
        true => Ok(size),
        false => Err(format!(
            "expected {MIN_SIZE} (a message holds its number) to 16m bytes, found {text}"
        )),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    units::seconds(&word(text))
}

fn positive_seconds(text: &str) -> Result<Duration, String> {
    match seconds(text)? {
        Duration::ZERO => Err("it must be more than 0".to_owned()),
        time => Ok(time),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.001..=1e9).contains(&rate) => Ok(rate),
        _ => Err(format!("expected a number a second, found {text:?}")),
    }
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..1.0).contains(&share) => Ok(share),
        _ => Err(format!("expected a share from 0 to less than 1 such as 0.1, found {text:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "ws://127.0.0.1:8080/websocket/{user}";

    fn read(args: &[&str]) -> Result<Options, String> {
        let matches = command().try_get_matches_from([&["bench"], args].concat());
        Options::read(&matches.map_err(|error| error.to_string())?)
    }

    #[test]
    fn clap_finds_nothing_wrong_with_the_table() {
        command().debug_assert();
    }

    #[test]
    fn operations_replace_the_duration() {
        let duration = |args: &[&str]| {
            read(&[&["pingpong", URL], args].concat()).map(|options| options.duration)
        };
        assert_eq!(duration(&[]), Ok(Some(Duration::from_secs(10))));
        assert_eq!(duration(&["--operations", "5"]), Ok(None));
        let both = duration(&["--operations", "5", "--duration", "2.5"]);
        assert_eq!(both, Ok(Some(Duration::from_millis(2_500))));
    }

    #[test]
    fn a_fan_out_has_a_sender_on_top() {
        let options = read(&["slow", URL, "--connections", "30", "--stalled", "0.2"]).unwrap();
        assert_eq!((options.sockets(), options.stalled), (31, 6));
        assert_eq!(read(&["churn", URL, "--in-flight", "7"]).unwrap().sockets(), 7);
        assert_eq!(read(&["fanout", URL, "--size", "1k"]).unwrap().size, 1_024);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (args, words) in [
            (&["frob", URL][..], &["frob", "pingpong"][..]),
            (&["pingpong"], &["URL"]),
            (&["pingpong", "http://x"], &["URL", "ws://"]),
            (&["pingpong", URL, "--size", "5"], &["--size", "mode pingpong"]),
            (&["churn", URL, "--connections", "5"], &["--connections", "mode churn"]),
            (&["connect", URL, "--warmup", "5"], &["--warmup", "mode connect"]),
            (&["pingpong", URL, "--connections", "0"], &["--connections", "1 to"]),
            (&["pingpong", URL, "--connections", "-1"], &["--connections"]),
            (&["pingpong", URL, "--connections", "9999999"], &["descriptors", "ulimit"]),
            (&["pingpong", URL, "--in-flight", "x"], &["--in-flight", "whole number"]),
            (&["pingpong", URL, "--duration", "x"], &["--duration", "seconds"]),
            (&["pingpong", URL, "--timeout", "0"], &["--timeout", "more than 0"]),
            (&["pingpong", URL, "--pid", "0"], &["--pid"]),
            (&["pingpong", URL, "--source", "home"], &["--source", "home"]),
            (&["pingpong", URL, "--source", "::1"], &["--source", "IPv6"]),
            (&["p2p", URL, "--connections", "5"], &["--connections", "even"]),
            (&["p2p", "ws://127.0.0.1:1/x"], &["{user}"]),
            (&["p2p", URL, "--size", "8"], &["--size", "9"]),
            (&["fanout", URL, "--rate", "nan"], &["--rate"]),
            (&["fanout", URL, "--operations", "0"], &["--operations"]),
            (&["slow", URL, "--stalled", "1"], &["--stalled", "share"]),
            (&["slow", URL, "--connections", "1", "--stalled", "0.9"], &["--stalled", "nobody"]),
        ] {
            let why = read(args).map(drop).unwrap_err();
            for word in words {
                assert!(why.contains(word), "{args:?}: {why} lacks {word:?}");
            }
        }
    }
}
