//! The options, checked: what to measure and how.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use clap::ArgMatches;
use clap::parser::ValueSource;

use super::args::{Api, Churn, Fanout, Flags, MODES, Mode, P2p, ROWS, Resume, Slow};
use super::args::{count, pids, positive_seconds, rate, seconds, share, size, whole};
use super::target::{Sources, Target};
#[cfg(feature = "tls")]
use super::tls::Connector;
use crate::cli::settings::secret::read_file;

/// Descriptors that are kept for everything except connections.
const RESERVED: u64 = 32;
const MAX_CONNECTIONS: usize = 9_000_000;
/// How many digits a user's number has.
pub const USER_DIGITS: usize = 7;
const MAX_USER: usize = 9_999_999;
const MAX_IN_FLIGHT: usize = 65_536;
/// The most messages that longlink accepts in one request.
const MAX_BATCH: usize = 1_000;
/// The most messages that the server writes to a client before one is acknowledged.
const MAX_WAITING: u64 = 64;
/// Options that have no meaning without TLS.
const OF_TLS: [&str; 4] = ["ca", "insecure", "no-resume", "tls"];

/// The options, checked: what to measure and how.
#[derive(Clone, Debug)]
pub struct Options {
    pub mode: Mode,
    pub target: Target,
    /// Makes the TLS sessions, if the URL has `wss://`.
    #[cfg(feature = "tls")]
    pub connector: Option<Connector>,
    pub connections: usize,
    pub in_flight: usize,
    /// The length of a message in bytes.
    pub size: usize,
    /// How long to measure; `None` means until the operations are done.
    pub duration: Option<Duration>,
    pub warmup: Duration,
    pub operations: Option<u64>,
    /// The most operations in a second.
    pub rate: Option<f64>,
    pub rounds: usize,
    pub ping_interval: Duration,
    /// How many receivers read nothing.
    pub stalled: usize,
    /// How many messages a backend's request has.
    pub batch: usize,
    /// Whether the clients speak the dialect v2.
    pub v2: bool,
    /// How many messages a receiver acknowledges at a time.
    pub ack_every: u64,
    /// How many messages wait for each client that comes back.
    pub waiting: usize,
    /// The address to which the backend connects.
    pub api: SocketAddr,
    pub api_key: Option<String>,
    pub timeout: Duration,
    pub sources: Sources,
    pub first_user: usize,
    /// The server's processes.
    pub pids: Vec<u32>,
    pub json: bool,
}

impl Options {
    /// Reads the arguments that clap has found, and raises the descriptor limit if that is needed.
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
        for (name, ..) in ROWS {
            if OF_TLS.contains(name) && given(name) && !target.tls {
                return Err(format!("--{name} means nothing for ws://"));
            }
        }
        let connections = flags.value("connections", |text| count(text, MAX_CONNECTIONS))?;
        let in_flight = flags.value("in-flight", |text| count(text, MAX_IN_FLIGHT))?;
        let share = flags.value("stalled", share)?;
        if given("ack-every") && !matches.get_flag("v2") {
            return Err("--ack-every means nothing without --v2".to_owned());
        }
        let options = Options {
            mode,
            connections: match mode {
                Churn => in_flight,
                Api => 1,
                _ => connections,
            },
            in_flight,
            size: flags.value("size", size)?,
            duration: bounded.then(|| flags.value("duration", seconds)).transpose()?,
            warmup: flags.value("warmup", seconds)?,
            operations,
            rate: flags.optional("rate", rate)?,
            rounds: flags.value("rounds", |text| count(text, 1_000_000))?,
            ping_interval: flags.value("ping-interval", positive_seconds)?,
            stalled: if mode == Slow { (connections as f64 * share).round() as usize } else { 0 },
            batch: flags.value("batch", |text| count(text, MAX_BATCH))?,
            v2: mode == Resume || matches.get_flag("v2"),
            ack_every: flags.value("ack-every", |text| whole(text, 1..=MAX_WAITING))?,
            waiting: flags.value("waiting", |text| whole(text, 0..=MAX_WAITING))? as usize,
            api: flags.optional("api", address)?.unwrap_or(target.address()),
            api_key: flags.optional("api-key-file", first_key)?,
            timeout: flags.value("timeout", positive_seconds)?,
            sources: flags.optional("source", Sources::parse)?.unwrap_or_default(),
            first_user: flags.value("first-user", |text| count(text, MAX_USER))?,
            pids: flags.optional("pid", pids)?.unwrap_or_default(),
            json: matches.get_flag("json"),
            #[cfg(feature = "tls")]
            connector: match target.tls {
                true => Some(Connector::read(&flags, &target.host)?),
                false => None,
            },
            target,
        };
        options.check()?;
        Ok(options)
    }

    /// Returns how many connections are opened.
    pub fn sockets(&self) -> usize {
        match self.mode {
            Fanout | Slow => self.connections + 1,
            // The user's connection and the backend's connection.
            Api => 2,
            _ => self.connections,
        }
    }

    /// Refuses options that contradict each other, or that this machine cannot provide.
    fn check(&self) -> Result<(), String> {
        if matches!(self.mode, P2p | Api | Resume) {
            self.target.id_affixes()?;
        }
        if self.mode == P2p && !self.connections.is_multiple_of(2) {
            return Err("--connections: one-to-one messages need an even number".to_owned());
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
        let limit = rlimit::increase_nofile_limit(self.sockets() as u64 + RESERVED)
            .or_else(|_| rlimit::Resource::NOFILE.get_soft())
            .unwrap_or(1_024);
        shortage(self.sockets(), limit).map_or(Ok(()), Err)
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let found = text.to_socket_addrs().ok().and_then(|mut found| found.next());
    found.ok_or_else(|| format!("expected HOST:PORT, found {text:?}"))
}

/// Returns the first key of a file, because the server's key file may have two. An error does not
/// repeat the key.
fn first_key(path: &str) -> Result<String, String> {
    let text = String::from_utf8(read_file(path)?).map_err(|_| "it is no text".to_owned())?;
    let mut words = text.split_whitespace();
    words.next().map(str::to_owned).ok_or_else(|| "it is empty".to_owned())
}

/// Returns what to do if the descriptor limit is too low for this many sockets.
fn shortage(sockets: usize, limit: u64) -> Option<String> {
    let needed = sockets as u64 + RESERVED;
    (limit < needed).then(|| {
        format!(
            "--connections: {sockets} need {needed} descriptors and the limit is {limit}: raise \
             it (`ulimit -Hn {needed}` as root), or run several generators with --first-user"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::commands::bench::args;

    const URL: &str = "ws://127.0.0.1:8080/websocket/{user}";

    fn read(words: &[&str]) -> Result<Options, String> {
        let matches = args::command().try_get_matches_from([&["bench"], words].concat());
        Options::read(&matches.map_err(|error| error.to_string())?)
    }

    #[test]
    fn the_complaint_about_too_few_descriptors_has_the_number_that_is_needed() {
        assert_eq!(shortage(100, 132), None);
        let why = shortage(101, 132).unwrap();
        assert!(why.contains("need 133") && why.contains("ulimit -Hn 133"), "{why}");
    }

    #[test]
    fn the_options_of_bench_are_consistent() {
        args::command().debug_assert();
    }

    #[test]
    fn the_option_operations_replaces_the_duration() {
        let duration = |args: &[&str]| {
            read(&[&["pingpong", URL], args].concat()).map(|options| options.duration)
        };
        assert_eq!(duration(&[]), Ok(Some(Duration::from_secs(10))));
        assert_eq!(duration(&["--operations", "5"]), Ok(None));
        let both = duration(&["--operations", "5", "--duration", "2.5"]);
        assert_eq!(both, Ok(Some(Duration::from_millis(2_500))));
    }

    #[test]
    fn a_fan_out_has_one_sender_beyond_the_receivers() {
        let options = read(&["slow", URL, "--connections", "30", "--stalled", "0.2"]).unwrap();
        assert_eq!((options.sockets(), options.stalled), (31, 6));
        assert_eq!(read(&["churn", URL, "--in-flight", "7"]).unwrap().sockets(), 7);
        assert_eq!(read(&["fanout", URL, "--size", "1k"]).unwrap().size, 1_024);
    }

    #[test]
    fn the_complaint_about_a_wrong_argument_of_bench_names_it() {
        for (args, words) in [
            (&["frob", URL][..], &["frob", "pingpong"][..]),
            (&["pingpong"], &["URL"]),
            (&["pingpong", "http://x"], &["URL", "ws://"]),
            (&["pingpong", URL, "--size", "5"], &["--size", "mode pingpong"]),
            (&["churn", URL, "--connections", "5"], &["--connections", "mode churn"]),
            (&["connect", URL, "--warmup", "5"], &["--warmup", "mode connect"]),
            (&["pingpong", URL, "--connections", "0"], &["--connections", "1 to"]),
            (&["pingpong", URL, "--connections", "-1"], &["--connections"]),
            (&["pingpong", URL, "--connections", "9999999"], &["--connections", "9000000"]),
            (&["pingpong", URL, "--first-user", "9999999"], &["--first-user", "9999999"]),
            (&["pingpong", URL, "--in-flight", "x"], &["--in-flight", "whole number"]),
            (&["pingpong", URL, "--duration", "x"], &["--duration", "seconds"]),
            (&["pingpong", URL, "--timeout", "0"], &["--timeout", "more than 0"]),
            (&["pingpong", URL, "--pid", "0"], &["--pid"]),
            (&["pingpong", URL, "--pid", "1,"], &["--pid"]),
            #[cfg(feature = "tls")]
            (&["pingpong", URL, "--insecure"], &["--insecure", "ws://"]),
            #[cfg(feature = "tls")]
            (&["pingpong", "wss://127.0.0.1/", "--tls", "1.1"], &["--tls", "1.2 or 1.3"]),
            #[cfg(feature = "tls")]
            (&["pingpong", "wss://127.0.0.1/", "--ca", "/nowhere"], &["--ca", "/nowhere"]),
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
