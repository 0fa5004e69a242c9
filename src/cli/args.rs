//! The command line: one table of settings, from which the flags, their help,
//! the environment variables and the keys of the configuration file all come.

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches};

use super::Refusal;

/// How often a setting may be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    One,
    /// Repeated, or separated by commas.
    Many,
    /// `--name` alone means on.
    Switch,
}

/// A setting: `--name`, `LONGLINK_NAME` and `name = …`.
#[derive(Debug)]
pub struct Setting {
    pub name: &'static str,
    takes: Takes,
    value: &'static str,
    heading: &'static str,
    help: &'static str,
}

/// The configuration file is named by a flag or the environment only.
pub const CONFIG: &str = "config";

const WHERE: &str = "Where it listens";
const WHO: &str = "Who may connect";
const SIZES: &str = "Limits (bytes; 64k, 16m and 1g mean KiB, MiB and GiB)";
const TIMES: &str = "Times (seconds, fractions allowed; 0 means never)";
const CHAT: &str = "What it serves";
const RUN: &str = "Running";

/// Every setting, in the order of the help.
pub static SETTINGS: &[Setting] = &[
    setting(
        "listen",
        Takes::Many,
        "ADDR",
        WHERE,
        "127.0.0.1:8080, [::1]:8080, localhost:8080 or unix:PATH; port 0 takes a free one; repeatable. \
         Each address is printed as `listening on …` on standard output [default: 127.0.0.1:8080]",
    ),
    setting(
        "open",
        Takes::Switch,
        "on|off",
        WHERE,
        "Listen on other than loopback addresses too, although everyone who reaches them may connect \
         under any user id [default: off]",
    ),
    setting(
        "allow-origin",
        Takes::Many,
        "HOST",
        WHO,
        "Let web pages of this host connect: app.example.com, or exactly https://app.example.com:8443; \
         repeatable [default: pages of loopback and of this server, and mini-programs]",
    ),
    setting(
        "allow-host",
        Takes::Many,
        "HOST",
        WHO,
        "A name under which a loopback address may be reached, for a reverse proxy that passes Host on; \
         repeatable [default: localhost and IP addresses]",
    ),
    setting(
        "devices",
        Takes::One,
        "many|one",
        CHAT,
        "Which of a user's devices get the user's messages: up to five, or the newest alone [default: many]",
    ),
    setting(
        "broadcast",
        Takes::One,
        "on|off",
        CHAT,
        "Whether clients may send to everyone [default: on]",
    ),
    setting("demo", Takes::One, "on|off", CHAT, "Whether / is the demo page [default: on]"),
    setting(
        "max-connections",
        Takes::One,
        "COUNT",
        SIZES,
        "Connections held at once; further ones get 503 [default: the descriptor limit - 64, at most 1000000]",
    ),
    setting(
        "max-message",
        Takes::One,
        "BYTES",
        SIZES,
        "The longest message; a longer one ends its connection with 1009 [default: 65536]",
    ),
    setting(
        "max-queue",
        Takes::One,
        "BYTES",
        SIZES,
        "The most that waits for one peer to read, at least max-message + 14; past it the peer is \
         dropped [default: 262144]",
    ),
    setting(
        "max-buffered",
        Takes::One,
        "BYTES",
        SIZES,
        "The most that waits in all queues and unfinished messages; past it those who hold most are \
         dropped [default: a quarter of the memory]",
    ),
    setting(
        "max-head",
        Takes::One,
        "BYTES",
        SIZES,
        "The longest request head; a longer one gets 431 [default: 16384]",
    ),
    setting(
        "handshake-timeout",
        Takes::One,
        "SECONDS",
        TIMES,
        "From accept to the end of the request head [default: 8]",
    ),
    setting(
        "message-timeout",
        Takes::One,
        "SECONDS",
        TIMES,
        "From the first byte of a message to its last [default: 30]",
    ),
    setting(
        "ping-after",
        Takes::One,
        "SECONDS",
        TIMES,
        "Silence after which a WebSocket ping is sent [default: 25]",
    ),
    setting(
        "idle-timeout",
        Takes::One,
        "SECONDS",
        TIMES,
        "Silence after which a connection is ended [default: 60]",
    ),
    setting(
        "close-timeout",
        Takes::One,
        "SECONDS",
        TIMES,
        "How long a closing connection may take to end its side, at shutdown too; 0 means at once \
         [default: 5]",
    ),
    setting(
        "log",
        Takes::One,
        "LEVEL",
        RUN,
        "What is logged to standard error: error, warn, info, debug (a line per open and close), \
         trace or off [default: info]",
    ),
    setting(
        CONFIG,
        Takes::One,
        "FILE",
        RUN,
        "A TOML file of these settings: max-connections = 5000, listen = [\"127.0.0.1:8080\"]",
    ),
];

const fn setting(
    name: &'static str,
    takes: Takes,
    value: &'static str,
    heading: &'static str,
    help: &'static str,
) -> Setting {
    Setting { name, takes, value, heading, help }
}

impl Setting {
    /// `max-head` is `LONGLINK_MAX_HEAD` in the environment.
    pub fn variable(&self) -> String {
        format!("{VARIABLES}{}", self.name.to_uppercase().replace('-', "_"))
    }
}

/// What the names of all environment variables begin with.
pub const VARIABLES: &str = "LONGLINK_";

const ABOUT: &str = "WebSocket long connections for WeChat mini-programs.

A client connects to ws://ADDR/websocket/USERID and chats with others by their ids.
Open http://ADDR/ in two browser tabs to see it.";

const AFTER: &str = "\
Protected by default:
  Only this machine can connect: another address is refused without --open. Web pages of
  other sites are refused by their Origin, other names by their Host. Every limit and
  timeout above holds for everyone.

Each setting is also an environment variable (LONGLINK_MAX_CONNECTIONS=5000; lists with
commas) and a key of the configuration file. Flags win over the environment, and that over
the file, setting by setting. An empty variable counts as not set.

SIGINT and SIGTERM: stop accepting, close every connection with code 1001, exit 0. A second
signal exits at once with 130 or 143. A wrong setting or a taken address: exit 2.

Examples:
  longlink
      Try it: open http://127.0.0.1:8080/ in two tabs.
  longlink --listen unix:/run/longlink.sock --config /etc/longlink.toml --log warn
      Behind a reverse proxy that ends TLS, with the settings of a file.";

/// What the command line asks for.
#[derive(Debug)]
pub enum Command {
    /// Help or version, which has been printed.
    Shown,
    Serve(Flags),
}

/// The flags given: of each setting, its values in their order.
pub type Flags = Vec<(&'static Setting, Vec<String>)>;

/// Reads the command line. Without a subcommand it means `serve`.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, Refusal> {
    match command().try_get_matches_from(args) {
        Ok(matches) => {
            let chosen = matches.subcommand().map_or(&matches, |(_, serve)| serve);
            Ok(Command::Serve(flags(chosen)))
        }
        Err(error)
            if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) =>
        {
            // Whoever closed stdout does not want to read it.
            let _ = error.print();
            Ok(Command::Shown)
        }
        Err(error) => Err(Refusal(one_line(&error.to_string()))),
    }
}

fn command() -> clap::Command {
    let serve = clap::Command::new("serve").about("Serve; what longlink does without a command");
    with_settings(clap::Command::new("longlink"))
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .args_conflicts_with_subcommands(true)
        .subcommand(with_settings(serve))
}

fn with_settings(command: clap::Command) -> clap::Command {
    let command = command.after_help(AFTER).max_term_width(100);
    SETTINGS.iter().fold(command, |command, setting| {
        let arg = Arg::new(setting.name)
            .long(setting.name)
            .value_name(setting.value)
            .help_heading(setting.heading)
            .help(setting.help)
            // A negative number is for us to refuse, with its reason.
            .allow_negative_numbers(true);
        command.arg(match setting.takes {
            Takes::One => arg,
            Takes::Many => arg.action(ArgAction::Append),
            Takes::Switch => arg.num_args(0..=1).require_equals(true).default_missing_value("on"),
        })
    })
}

fn flags(matches: &ArgMatches) -> Flags {
    let given = |setting: &'static Setting| {
        let values = matches.get_many::<String>(setting.name)?;
        Some((setting, values.cloned().collect()))
    };
    SETTINGS.iter().filter_map(given).collect()
}

/// clap explains over several lines, with usage and a pointer to the help at
/// the end; the explanation itself is kept.
fn one_line(text: &str) -> String {
    let lines = text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:"));
    let kept = lines.filter(|line| !line.is_empty() && !line.starts_with("For more information"));
    let line = kept.collect::<Vec<_>>().join("; ").replace(":; ", ": ").replace("; [", " [");
    line.strip_prefix("error: ").unwrap_or(&line).to_owned()
}
