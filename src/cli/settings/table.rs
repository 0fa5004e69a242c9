//! Every setting: the flags, their help, the environment variables and the
//! keys of the configuration file all come from this one table.

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
    pub takes: Takes,
    /// What the help calls its value.
    pub value: &'static str,
    /// Under which the help lists it.
    pub heading: &'static str,
    pub help: &'static str,
}

/// The file of the secrets of tickets.
pub const SECRET_FILE: &str = "secret-file";

/// The configuration file is named by a flag or the environment only.
pub const CONFIG: &str = "config";

// The headings, in the order in which they come up below.
const WHERE: &str = "Where it listens";
const WHO: &str = "Who may connect";
const SIZES: &str = "Limits (bytes; 64k, 16m and 1g mean KiB, MiB and GiB)";
const RATES: &str = "Limits for each (0 means none)";
const TIMES: &str = "Times (seconds, fractions allowed; 0 means never)";
const CHAT: &str = "What it serves";
const BACKEND: &str = "The backend (docs/api.md, docs/webhooks.md)";
const RUN: &str = "Running";

/// Every setting, in the order of the help.
pub static SETTINGS: &[Setting] = &[
    setting(
        "listen",
        Takes::Many,
        "ADDR",
        WHERE,
        "127.0.0.1:8080, [::1]:8080, localhost:8080 or unix:PATH; port 0 takes a free one; repeatable. \
         Sockets that systemd hands over take its place. Each address is printed as `listening on …` on standard output [default: 127.0.0.1:8080]",
    ),
    setting(
        "open",
        Takes::Switch,
        "on|off",
        WHERE,
        "Listen on other than loopback addresses too, although everyone who reaches them may connect \
         under any user id; not together with tickets, which need no such permission [default: off]",
    ),
    setting(
        SECRET_FILE,
        Takes::One,
        "FILE",
        WHO,
        "Let in only clients with a ticket (JWT, HS256) signed with the secret in this file, at least \
         32 bytes; a second line is a second secret. Or LONGLINK_SECRET holds the secret itself",
    ),
    setting(
        "ticket-at-door-only",
        Takes::Switch,
        "on|off",
        WHO,
        "Let a connection live on after its ticket has expired [default: off]",
    ),
    #[cfg(feature = "tls")]
    setting(
        "tls-cert",
        Takes::One,
        "FILE",
        WHERE,
        "Speak TLS (https and wss) on TCP addresses, with this certificate and its chain: PEM, as \
         in fullchain.pem. A renewed file is taken up within a minute, or at SIGHUP [default: none]",
    ),
    #[cfg(feature = "tls")]
    setting(
        "tls-key",
        Takes::One,
        "FILE",
        WHERE,
        "The certificate's private key: PEM [default: none]",
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
        "trust-proxy",
        Takes::Many,
        "CIDR",
        WHO,
        "A proxy that is believed when it says for whom it connects, by X-Forwarded-For or the PROXY \
         protocol: an address, a network, or unix for Unix sockets; repeatable [default: none]",
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
        "Whether clients may send to everyone [default: on; with tickets, those whose ticket says so]",
    ),
    setting("demo", Takes::One, "on|off", CHAT, "Whether / is the demo page [default: on]"),
    setting(
        "api-listen",
        Takes::Many,
        "ADDR",
        BACKEND,
        "Where a backend sends and asks by HTTP, as --listen takes them; repeatable. Other than loopback \
         addresses need --api-key-file. Each is printed as `api on …` on standard output [default: none]",
    ),
    setting(
        "api-key-file",
        Takes::One,
        "FILE",
        BACKEND,
        "The key that a backend has to show, 32 bytes or more, as openssl rand -hex 32 makes it; while it \
         is changed two, each on its line. With it the interface is also below /api/, and \
         metrics at /metrics, of the other addresses [default: none]",
    ),
    setting(
        "api-from",
        Takes::Many,
        "ID",
        BACKEND,
        "A name that the backend sends under: no client connects with that user id; repeatable \
         [default: system]",
    ),
    setting(
        "webhook",
        Takes::One,
        "URL",
        BACKEND,
        "Post to this URL who comes and goes and what could not be delivered, signed; needs \
         webhook-secret-file [default: none]",
    ),
    setting(
        "webhook-secret-file",
        Takes::One,
        "FILE",
        BACKEND,
        "The secret that webhooks are signed with, at least 16 bytes [default: none]",
    ),
    #[cfg(feature = "tls")]
    setting(
        "webhook-ca",
        Takes::One,
        "FILE",
        BACKEND,
        "Trust these authorities, in PEM, for the webhook's https:// [default: those that browsers know]",
    ),
    setting(
        "webhook-events",
        Takes::Many,
        "EVENT",
        BACKEND,
        "Some of online, offline, undelivered, message (all that users send); repeatable \
         [default: online,offline,undelivered]",
    ),
    setting(
        "webhook-queue",
        Takes::One,
        "BYTES",
        BACKEND,
        "The most that waits for the backend; past it events are dropped, and the next one says \
         which [default: 16777216]",
    ),
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
        "The most that waits for one peer to read, from max-message + 14 to 1g; past it the peer is \
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
        "max-per-address",
        Takes::One,
        "COUNT",
        RATES,
        "Connections from one address, or IPv6 /64; not of loopback and Unix sockets. Further ones get \
         503 [default: 1000]",
    ),
    setting(
        "max-per-user",
        Takes::One,
        "COUNT",
        RATES,
        "Connections of one user, on all devices; a further one gets 503 [default: 25]",
    ),
    setting(
        "message-rate",
        Takes::One,
        "COUNT",
        RATES,
        "Messages a second of one connection; a faster one is read at that rate, and nothing is \
         dropped [default: 1000]",
    ),
    setting(
        "broadcast-rate",
        Takes::One,
        "COUNT",
        RATES,
        "The same for messages to everyone [default: 20]",
    ),
    setting(
        "accept-rate",
        Takes::One,
        "COUNT",
        RATES,
        "Connections accepted a second; others wait in the kernel's backlog [default: 10000]",
    ),
    setting(
        "rate-burst",
        Takes::One,
        "SECONDS",
        TIMES,
        "For how long a connection may be ahead of its rates: 5 s at 1000 are 5000 messages at once; \
         0 means one message [default: 5]",
    ),
    setting(
        "reject-delay",
        Takes::One,
        "SECONDS",
        TIMES,
        "How long a refused handshake waits for its 401 or 403; 0 means not at all [default: 1]",
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

/// Settings whose values are not shown: they let somebody in.
pub const UNSHOWN: [&str; 2] = ["webhook", "webhook-secret-file"];

/// What the names of all environment variables begin with.
pub const VARIABLES: &str = "LONGLINK_";

#[cfg(test)]
mod tests {
    use super::*;
    use longlink::Config;

    fn help_of(name: &str) -> &'static str {
        SETTINGS.iter().find(|setting| setting.name == name).unwrap().help
    }

    #[test]
    fn the_help_tells_the_defaults_that_hold() {
        let config = Config::default();
        for (name, default) in [
            ("max-message", config.max_message),
            ("max-queue", config.max_queue),
            ("max-head", config.max_head),
            ("handshake-timeout", config.handshake_timeout.as_secs() as usize),
            ("message-timeout", config.message_timeout.as_secs() as usize),
            ("ping-after", config.ping_after.as_secs() as usize),
            ("idle-timeout", config.idle_timeout.as_secs() as usize),
            ("close-timeout", config.close_timeout.as_secs() as usize),
            ("reject-delay", config.reject_delay.as_secs() as usize),
            ("rate-burst", config.rate_burst.as_secs() as usize),
            ("max-per-address", config.max_per_address),
            ("max-per-user", config.max_per_user),
            ("message-rate", config.message_rate as usize),
            ("broadcast-rate", config.broadcast_rate as usize),
            ("accept-rate", config.accept_rate as usize),
        ] {
            let told = format!("[default: {default}]");
            assert!(help_of(name).ends_with(&told), "{name}: {}", help_of(name));
        }
    }
}
