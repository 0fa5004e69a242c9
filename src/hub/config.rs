//! Every limit and timeout of the library, with its default.

use std::time::Duration;

use crate::hub::output::arena::MAX_SEGMENT;
use crate::wire::proxy::forwarded::TrustedProxies;
use crate::wire::ws::frame::MAX_HEADER;

/// Limits and timeouts. Start from [`Config::default`] and change what differs.
///
/// A timeout of zero means never, unless it says otherwise. Timeouts are kept
/// in ticks of [`TICK_MS`](crate::run::TICK_MS) milliseconds, rounded up.
///
/// ```
/// use std::time::Duration;
///
/// use longlink::Config;
///
/// let mut config = Config::default();
/// config.max_connections = 50_000;
/// config.idle_timeout = Duration::from_secs(90);
/// config.check()?;
/// # Ok::<(), longlink::limits::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Config {
    /// How many connections are held at once, counted from their accept.
    /// Default 10,000. Room for the records is reserved at start; untouched
    /// pages cost nothing.
    pub max_connections: usize,
    /// The longest message in bytes, all fragments together. A longer one
    /// ends the connection with code 1009. Default 65,536.
    pub max_message: usize,
    /// The most bytes that wait for one peer to read. A connection that would
    /// go past it is dropped; one whose socket still takes bytes may be over by
    /// one message. At least `max_message` + 14, at most [`Config::MOST_QUEUE`].
    /// A message that is longer by itself, as an escaped one may be, is sent to
    /// nobody. Default 262,144.
    pub max_queue: usize,
    /// The most bytes in all queues and partial messages together, shared
    /// encodings counted once, looked at at the end of each turn. Past it the
    /// connections that hold most are ended. Default 256 MiB.
    pub max_buffered: usize,
    /// The longest request head in bytes; a longer one is answered with 431.
    /// Default 16,384.
    pub max_head: usize,
    /// From accept to the end of the request head. Default 8 s.
    pub handshake_timeout: Duration,
    /// From the first byte of a message to its last, also of a request's body. What had
    /// arrived by then is not late, however long the server holds it back. Default 30 s.
    pub message_timeout: Duration,
    /// Silence after which a WebSocket ping is sent. Default 25 s.
    pub ping_after: Duration,
    /// Silence after which a connection is ended. Default 60 s.
    pub idle_timeout: Duration,
    /// How long a closing connection may take to read its last bytes and to
    /// end its side. Zero means at once. Default 5 s.
    pub close_timeout: Duration,
    /// Plain HTTP: how long an idle connection is kept for a next request. Default 5 s.
    pub keep_alive_timeout: Duration,
    /// Plain HTTP: how long an idle connection is kept when its client is [known](crate::http::Response::keep). Default 75 s: longer
    /// than the pools of usual clients keep theirs, so that they, who know whether they
    /// have just sent something, end it.
    pub keep_known_timeout: Duration,
    /// Plain HTTP: requests answered on one connection; with the last answer it
    /// is closed, unless the client is known. Default 100.
    pub max_requests: u8,
    /// Which of a user's devices get the user's messages. Default [`Devices::Many`].
    pub devices: Devices,
    /// Whose word is taken for who is behind them: `X-Forwarded-For`, and on
    /// TCP the PROXY protocol of version 1 and 2. Default none.
    pub trusted_proxies: TrustedProxies,
    /// Connections from one address, an IPv6 one counting as its /64; 0 for no
    /// limit. A few more are answered with 503, others closed. Loopback
    /// addresses and Unix sockets are not limited. Default 1,000.
    pub max_per_address: usize,
    /// Connections of one user, on all devices together; 0 for no limit. A
    /// further one gets 503 after a second. Default 25.
    pub max_per_user: usize,
    /// Messages a second of one connection, heartbeats and control frames
    /// included; 0 for no limit. A fragment of less than 1,024 bytes counts as a message of
    /// its own; longer ones count once, with the message they are parts of.
    /// One that is faster is not read until it is within the rate again: nothing
    /// is dropped. Default 1,000: far more than a page sends, and a hundredth of
    /// what one core handles.
    pub message_rate: u32,
    /// The same for messages to everyone, which cost as many sends; 0 for no
    /// limit but `message_rate`. Default 20.
    pub broadcast_rate: u32,
    /// For how long at these rates a connection may be ahead of them: 5 s at
    /// 1,000 are 5,000 messages at once, or 100 to everyone, or half of each. At
    /// least one message. Default 5 s.
    pub rate_burst: Duration,
    /// How long a handshake that is refused with 401 or 403 waits for the
    /// answer, since pages try again at once. Up to 1,024 wait, and an eighth of
    /// `max_connections`; others are answered at once. Default 1 s.
    pub reject_delay: Duration,
    /// Work per turn: one for each frame and request parsed and each delivery queued.
    /// When it is spent, the rest waits for the next turn. Default 16,384.
    pub work_per_turn: u32,
    /// Writes per turn. Default 128: about 1 ms of the kernel's time.
    pub writes_per_turn: u32,
    /// Connections accepted per turn. Default 128.
    pub accepts_per_turn: u32,
    /// Connections accepted a second, of all listeners together, and as many at
    /// once after a pause; 0 for no limit. The rest waits in the backlog.
    /// Default 10,000.
    pub accept_rate: u32,
    /// The kernel's send buffer of a connection in bytes (`SO_SNDBUF`, which
    /// Linux doubles); 0 leaves it to the kernel, which lets a stalled peer
    /// pin megabytes. Default 65,536.
    pub send_buffer: usize,
}

/// Which of a user's devices get the user's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Devices {
    /// Each of them, at most [`Devices::MOST`].
    Many,
    /// The newest alone.
    One,
}

impl Devices {
    /// The most devices of one user that are active at once.
    pub const MOST: usize = 5;

    pub(crate) fn limit(self) -> usize {
        match self {
            Devices::Many => Self::MOST,
            Devices::One => 1,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Config {
            max_connections: 10_000,
            max_message: 65_536,
            max_queue: 262_144,
            max_buffered: 256 << 20,
            max_head: 16_384,
            handshake_timeout: Duration::from_secs(8),
            message_timeout: Duration::from_secs(30),
            ping_after: Duration::from_secs(25),
            idle_timeout: Duration::from_secs(60),
            close_timeout: Duration::from_secs(5),
            keep_alive_timeout: Duration::from_secs(5),
            keep_known_timeout: Duration::from_secs(75),
            max_requests: 100,
            devices: Devices::Many,
            trusted_proxies: TrustedProxies::default(),
            max_per_address: 1_000,
            max_per_user: super::MAX_PER_USER,
            message_rate: 1_000,
            broadcast_rate: 20,
            rate_burst: Duration::from_secs(5),
            reject_delay: Duration::from_secs(1),
            work_per_turn: 16_384,
            writes_per_turn: 128,
            accepts_per_turn: 128,
            accept_rate: 10_000,
            send_buffer: 65_536,
        }
    }
}

/// A setting that contradicts another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// `max_queue` is less than `max_message` + 14: a message could be
    /// received that can never be sent.
    QueueBelowMessage,
    /// A limit that must be at least 1 is 0.
    Zero(&'static str),
    /// `max_connections` is above [`Config::MOST_CONNECTIONS`].
    TooManyConnections,
    /// `max_queue` is above [`Config::MOST_QUEUE`].
    QueueTooLong,
}

impl std::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ConfigError::QueueBelowMessage => {
                f.write_str("max-queue is less than max-message + 14")
            }
            ConfigError::Zero(name) => write!(f, "{name} must be at least 1"),
            ConfigError::TooManyConnections => {
                write!(f, "max-connections is above {}", Config::MOST_CONNECTIONS)
            }
            ConfigError::QueueTooLong => write!(f, "max-queue is above {}", Config::MOST_QUEUE),
        }
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// The most connections one loop is built for.
    pub const MOST_CONNECTIONS: usize = 16_000_000;

    /// The most bytes that one queue is built for: 1 GiB. No message is longer
    /// than a queue, and where its bytes lie is kept in 32 bits.
    pub const MOST_QUEUE: usize = 1 << 30;

    /// Checks what must hold between settings.
    ///
    /// # Errors
    /// The first contradiction found.
    pub fn check(&self) -> Result<(), ConfigError> {
        let counts = [
            ("max-connections", self.max_connections),
            ("max-message", self.max_message),
            ("max-head", self.max_head),
            ("work-per-turn", self.work_per_turn as usize),
            ("writes-per-turn", self.writes_per_turn as usize),
            ("accepts-per-turn", self.accepts_per_turn as usize),
        ];
        if let Some((name, _)) = counts.iter().find(|(_, value)| *value == 0) {
            return Err(ConfigError::Zero(name));
        }
        if self.max_connections > Self::MOST_CONNECTIONS {
            return Err(ConfigError::TooManyConnections);
        }
        if self.max_queue > Self::MOST_QUEUE {
            return Err(ConfigError::QueueTooLong);
        }
        if self.max_queue < self.max_message.saturating_add(MAX_HEADER) {
            return Err(ConfigError::QueueBelowMessage);
        }
        Ok(())
    }
}

const _: () = assert!(Config::MOST_QUEUE <= MAX_SEGMENT);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_holds_a_message_and_fits_where_it_is_kept() {
        let check =
            |max_message, max_queue| Config { max_message, max_queue, ..Config::default() }.check();
        assert_eq!(check(100, 114), Ok(()));
        assert_eq!(check(100, 113), Err(ConfigError::QueueBelowMessage));
        assert_eq!(check(usize::MAX, 1000), Err(ConfigError::QueueBelowMessage));
        assert_eq!(check(100, Config::MOST_QUEUE), Ok(()));
        assert_eq!(check(Config::MOST_QUEUE - 14, Config::MOST_QUEUE), Ok(()));
        assert_eq!(check(100, Config::MOST_QUEUE + 1), Err(ConfigError::QueueTooLong));
        assert_eq!(check(usize::MAX, usize::MAX), Err(ConfigError::QueueTooLong));
    }

    #[test]
    fn sixteen_million_connections_are_the_most_and_each_contradiction_is_told() {
        let check = |max_connections| Config { max_connections, ..Config::default() }.check();
        assert_eq!(check(Config::MOST_CONNECTIONS), Ok(()));
        let error = check(Config::MOST_CONNECTIONS + 1).unwrap_err();
        assert_eq!(error, ConfigError::TooManyConnections);
        assert!(error.to_string().contains("max-connections"), "{error}");
        assert!(ConfigError::Zero("max-head").to_string().contains("max-head"));
    }
}
